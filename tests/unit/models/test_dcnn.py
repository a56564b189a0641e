"""The DCNN: its size, what it may see, and a training that reads only its own rows."""

import functools

import numpy as np
import pytest

from helpers.models.selection import ChiSquareSelection

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

from helpers.base.errors import ModelError  # noqa: E402
from helpers.models import cost, dcnn  # noqa: E402

SIZE = 12
RNG = np.random.default_rng(24)
IMAGES = RNG.integers(0, 256, (60, SIZE, SIZE, 3), dtype=np.uint8)
TARGET = np.tile([0, 1], 30).astype(np.int8)
IMAGES[TARGET == 1, 3:6, 3:6] //= 3  # what there is to learn
TRAIN, VAL, TEST = np.arange(32), np.arange(32, 44), np.arange(44, 60)


@pytest.mark.parametrize("size", [10, 48, 65])
def test_parameters_are_those_counted_by_hand(size):
    model = dcnn.build(size)
    once = (size - 2) // 2
    twice = (once - 2) // 2
    learned = (27 + 1) * 16 + (9 * 16 + 1) * 32 + (twice**2 * 32 + 1) * 64 + 65
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == learned
    assert model.count_params() == learned + size * size * 3
    assert (model.input_shape, model.output_shape) == ((None, size, size, 3), (None, 1))
    assert cost.multiply_adds(model) > 0


def test_first_weights_follow_from_the_seed_alone():
    one, same, other = (dcnn.build(SIZE, seed).get_weights() for seed in (24, 24, 25))
    assert all(map(np.array_equal, one, same))
    assert not all(map(np.array_equal, one, other))


def test_what_was_not_selected_is_not_seen():
    keep = np.random.default_rng(0).uniform(size=SIZE * SIZE * 3) < 0.4
    model = dcnn.build(SIZE, 24, keep)
    changed = IMAGES.copy()
    changed[:, ~keep.reshape(SIZE, SIZE, 3)] = 7
    scores = model.predict_on_batch(IMAGES)
    assert np.array_equal(model.predict_on_batch(changed), scores)
    changed[:, keep.reshape(SIZE, SIZE, 3)] = 7
    assert not np.allclose(model.predict_on_batch(changed), scores)
    zeroed = IMAGES * keep.reshape(SIZE, SIZE, 3)
    assert dcnn.build(SIZE, 24).predict_on_batch(zeroed) == pytest.approx(scores, abs=1e-6)


@pytest.fixture(scope="module")
def trained():
    """A network that sees two fifths of the numbers, how it was trained, and what it sees."""
    keep = np.random.default_rng(0).uniform(size=SIZE * SIZE * 3) < 0.4
    model = dcnn.build(SIZE, 24, keep)
    history = dcnn.train(model, IMAGES, TARGET, TRAIN, VAL, iterations=30, look=7, batch_size=16)
    return model, history, keep


@pytest.mark.slow
def test_the_selection_is_saved_with_the_network_and_never_trained(trained, tmp_path):
    model, _, keep = trained
    kept = model.get_layer("selected").get_weights()[0]
    assert np.array_equal(kept, keep.reshape(SIZE, SIZE, 3))
    model.save(tmp_path / "dcnn.keras")
    again = keras.saving.load_model(tmp_path / "dcnn.keras", safe_mode=True)
    assert np.array_equal(again.predict_on_batch(IMAGES), model.predict_on_batch(IMAGES))


@pytest.mark.parametrize(
    ("size", "keep", "sentence"),
    [(9, None, "at least 10 pixels, got 9"), (12, np.ones(10), "of 10 numbers.*has 432")],
)
def test_what_cannot_be_built_is_told(size, keep, sentence):
    with pytest.raises(ModelError, match=sentence):
        dcnn.build(size, 24, keep)


def test_training_learns_and_ends_with_its_best_weights(trained):
    model, history, _ = trained
    assert history["iteration"].tolist() == list(range(1, 31))
    assert history["val_loss"].notna().to_numpy().nonzero()[0].tolist() == [6, 13, 20, 27, 29]
    assert history["loss"].tail(5).mean() < history["loss"].head(5).mean()
    score = model.predict_on_batch(IMAGES[VAL])[:, 0]
    loss = -np.log(np.where(TARGET[VAL] == 1, score, 1 - score)).mean()
    assert loss == pytest.approx(history["val_loss"].min(), rel=1e-3)


@pytest.mark.slow
def test_each_loss_is_of_its_own_batch(untraced):
    """Keras gives the running mean of all steps unless its metrics are reset."""
    model = dcnn.build(SIZE)
    score = model.predict_on_batch(IMAGES)[:, 0]
    each = -np.log(np.where(TARGET == 1, score, 1 - score))
    # Next to no step, so that the network stays what it was, and each batch has a loss of its own.
    history = dcnn.train(
        model, IMAGES, TARGET, TRAIN, VAL, iterations=8, batch_size=2, learning_rate=1e-12
    )
    draws = np.random.default_rng(24)
    wanted = [each[draws.choice(TRAIN, 2, replace=False)].mean() for _ in range(8)]
    assert history["loss"].to_numpy() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
def test_training_is_repeated_exactly_and_a_marker_in_the_test_split_leaves_no_trace(untraced):
    marked, turned = IMAGES.copy(), TARGET.copy()
    marked[TEST, 0, 0] = np.where(TARGET[TEST, None] == 1, 255, 0)
    turned[TEST] = 1 - TARGET[TEST]
    ends, same = [], functools.partial(np.array_equal, equal_nan=True)
    for images, target in ((IMAGES, TARGET), (marked, turned)):
        flat = images.reshape(len(images), -1)
        selection = ChiSquareSelection(100).fit(flat[TRAIN], target[TRAIN])
        model = dcnn.build(SIZE, 24, selection.support_)
        history = dcnn.train(model, images, target, TRAIN, VAL, iterations=4, look=2)
        ends.append([selection.scores_, history.to_numpy(), *model.get_weights()])
    assert all(map(same, *ends))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "val", "options", "sentence"),
    [
        (np.arange(0, 32, 2), VAL, {}, "16 training rows of 1 class"),
        (TRAIN, VAL[:0], {}, "0 validation rows"),
        (TRAIN, VAL, {"iterations": 0}, "iterations is 0"),
        (TRAIN, VAL, {"look": 0}, "look is 0"),
        (TRAIN, VAL, {"learning_rate": 1e30, "iterations": 20}, "lower the learning rate"),
    ],
)
def test_trainings_that_cannot_be_are_told(untraced, rows, val, options, sentence):
    with pytest.raises(ModelError, match=sentence):
        dcnn.train(dcnn.build(SIZE), IMAGES, TARGET, rows, val, **options)


def test_the_published_figure_carries_its_source():
    assert dcnn.PUBLISHED.accuracy == 0.972
    assert (dcnn.PUBLISHED.images, dcnn.PUBLISHED.iterations) == (424, 1000)
    assert dcnn.PUBLISHED.doi in dcnn.__doc__
