"""The two readings of chapter 10: rows and columns of one cell, and a subject as a bag of cells."""

import numpy as np
import pandas as pd
import pytest

from helpers import training
from helpers.base import settings
from helpers.models import bags

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

from helpers.base.errors import ModelError  # noqa: E402
from helpers.models import cnn_lstm, cost  # noqa: E402
from helpers.models.layers import require_classifier  # noqa: E402
from tests.unit.squares import make_squares  # noqa: E402

RNG = np.random.default_rng(24)
KINDS = {"attention": bags.attention, "lstm": bags.lstm}


def answer(model, cells):
    return keras.ops.convert_to_numpy(model(cells, training=False))


@pytest.mark.slow
@pytest.mark.parametrize("size", [18, 27, 49, 97])
def test_odd_sides_are_read_row_by_row_and_column_by_column(size):
    model, steps = cnn_lstm.build(size), size // 3 // 3
    assert model.get_layer("by_rows").output.shape == (None, steps, steps * cnn_lstm.MAPS)
    assert model.get_layer("by_columns").output.shape == (None, steps, steps * cnn_lstm.MAPS)
    scores = answer(model, RNG.integers(0, 256, (2, size, size, 3), dtype=np.uint8))
    assert scores.shape == (2, 1)
    assert ((scores > 0) & (scores < 1)).all()


def test_a_step_is_a_row_and_its_turned_twin_a_column():
    model = cnn_lstm.build(27)
    maps = model.get_layer("one_scale").output
    look = keras.Model(
        model.input, [maps, *(model.get_layer(f"by_{n}").output for n in ("rows", "columns"))]
    )
    images = RNG.integers(0, 256, (1, 27, 27, 3), dtype=np.uint8)
    whole, rows, columns = (keras.ops.convert_to_numpy(x)[0] for x in look(images))
    for place in range(3):
        np.testing.assert_array_equal(rows[place], whole[place].ravel())
        np.testing.assert_array_equal(columns[place], whole[:, place].ravel())


def test_parameters_and_cost_are_those_counted_by_hand():
    def lstm(inputs, units):
        return 4 * units * (inputs + units + 1)

    model = cnn_lstm.build(48)
    convolutions = (27 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + (128 + 1) * 32
    assert model.count_params() == convolutions + 4 * lstm(5 * 32, 32) + 4 * 32 + 1
    table = cost.layers(model).set_index("layer")
    assert table.loc["rows", "multiply_adds"] == 5 * 2 * 4 * 32 * (5 * 32 + 32)


@pytest.mark.slow
def test_first_weights_follow_from_the_seed_alone():
    for build in (lambda seed: cnn_lstm.build(27, seed), *(
        lambda seed, make=make: make(4, seed) for make in KINDS.values()
    )):  # fmt: skip
        one, same, other = (build(seed).get_weights() for seed in (24, 24, 25))
        assert all(map(np.array_equal, one, same))
        assert not all(map(np.array_equal, one, other))


def test_too_small_images_are_refused():
    with pytest.raises(ModelError, match="at least 18 pixels, got 17"):
        cnn_lstm.build(17)
    with pytest.raises(ModelError, match="at least one number, got 0"):
        bags.attention(0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are using a softmax")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("count", [1, 2, 9])
def test_only_the_lstm_sees_the_order_of_a_bag(name, count):
    model, cells = KINDS[name](6), RNG.normal(size=(1, count, 6)).astype("float32")
    moved = [np.abs(answer(model, cells[:, order]) - answer(model, cells)).max()
             for order in (RNG.permutation(count) for _ in range(8))]  # fmt: skip
    if name == "attention" or count == 1:
        assert max(moved) < 1e-6
    else:
        assert max(moved) > 1e-4


def test_weights_of_attention_sum_to_one_and_make_the_mean():
    model = bags.attention(6)
    inner = [model.get_layer(name).output for name in ("weights", "cell", "subject")]
    cells = RNG.normal(size=(3, 5, 6)).astype("float32")
    weights, hidden, pooled = (
        keras.ops.convert_to_numpy(x) for x in keras.Model(model.input, inner)(cells)
    )
    assert weights.shape == (3, 5, 1)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((weights * hidden).sum(axis=1), pooled, atol=1e-5)


def many_bags(count=20, width=4):
    rows = np.split(RNG.permutation(count * 6), count)
    target = np.arange(count) % 2
    numbers = RNG.normal(size=(count * 6, width)).astype("float32")
    for cells, side in zip(rows, target, strict=True):
        numbers[cells, 0] += 2 * side
    return numbers, rows, target


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_bags_are_learned_without_a_look_at_other_subjects(name):
    """A marker in the cells of other subjects leaves no trace in the weights."""
    numbers, rows, target = many_bags()
    marked = numbers.copy()
    marked[np.concatenate(rows[14:])] = 1000.0 * target[14:].repeat(6)[:, None]
    ends = []
    for given in (numbers, marked):
        model = KINDS[name](4)
        losses = bags.train(model, given, rows[:14], target[:14], steps=40, learning_rate=0.02)
        ends.append([np.array(losses), *model.get_weights()])
    assert all(map(np.array_equal, *ends))
    assert np.mean(ends[0][0][-5:]) < np.mean(ends[0][0][:5])
    found = bags.scores(model, numbers, rows[14:])
    assert found.shape == (6,)
    assert found[target[14:] == 1].min() > found[target[14:] == 0].max()


@pytest.mark.filterwarnings("error:You are using a softmax")
def test_a_bag_of_one_cell_is_answered_without_a_warning():
    numbers = RNG.normal(size=(3, 4)).astype("float32")
    for make in KINDS.values():
        model = make(4)
        found = bags.scores(model, numbers, [np.array([2]), np.array([0, 1, 2])])
        logit = answer(model, numbers[None, [0, 1, 2]]).item()
        assert found[1] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def test_bags_of_one_class_or_without_classes_are_refused():
    numbers, rows, target = many_bags()
    with pytest.raises(ModelError, match="1 of them different"):
        bags.train(bags.attention(4), numbers, rows[::2], target[::2])
    with pytest.raises(ModelError, match="20 bags and 19 classes"):
        bags.train(bags.attention(4), numbers, rows, target[1:])


def test_drawn_bags_hold_only_cells_of_their_subject():
    rows, target = [np.arange(3), np.arange(3, 40), np.array([40])], np.array([0, 1, 1])
    cells, truth = next(bags.draw(rows, target, np.random.default_rng(1)))
    assert cells.shape == (3, bags.CELLS)
    for drawn, side in zip(cells, truth, strict=True):
        (owner,) = [i for i, own in enumerate(rows) if set(drawn) <= set(own)]
        assert side == target[owner]
        assert len(set(drawn)) == min(len(rows[owner]), bags.CELLS)


def test_a_subject_is_positive_if_one_cell_is():
    table = pd.DataFrame({"subject": ["B", "A", "B", "A"], "positive": [0, 0, 1, 0],
                          "image_id": list("wxyz")}, index=[7, 8, 9, 10])  # fmt: skip
    subjects, places = bags.of_subjects(table)
    assert subjects["subject"].tolist() == ["A", "B"]
    assert subjects["positive"].tolist() == [0, 1]
    assert [list(rows) for rows in places] == [[1, 3], [0, 2]]
    with pytest.raises(ModelError, match="no rows"):
        bags.of_subjects(table[:0])


@pytest.mark.slow
def test_networks_are_kept_and_loaded_in_safe_mode(tmp_path):
    given = {
        "cnn_lstm": (cnn_lstm.build(27), RNG.integers(0, 256, (2, 27, 27, 3), dtype=np.uint8)),
        **{name: (make(4), RNG.normal(size=(2, 5, 4)).astype("float32"))
           for name, make in KINDS.items()},
    }  # fmt: skip
    for name, (model, cells) in given.items():
        model.save(tmp_path / f"{name}.keras")
        again = keras.saving.load_model(tmp_path / f"{name}.keras", safe_mode=True)
        np.testing.assert_array_equal(answer(again, cells), answer(model, cells))
    require_classifier(given["cnn_lstm"][0])


@pytest.mark.slow
def test_training_reads_no_marker_of_other_subjects(tmp_path, monkeypatch):
    """One epoch: what stands in validation and test images leaves no trace in the weights."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    course = settings.read("phantom", "smoke")
    table, images = make_squares()
    marked = images.copy()
    others = (table["split"] != "train").to_numpy()
    marked[others, :4, :4] = np.where(table["label"][others] == "all", 255, 0)[:, None, None, None]
    ends = [
        training.fit(cnn_lstm.build(images.shape[1]), table, given, course, "one", epochs=1)
        for given in (images, marked)
    ]
    assert ends[0].folder != ends[1].folder
    assert all(map(np.array_equal, *(run.model.get_weights() for run in ends)))
