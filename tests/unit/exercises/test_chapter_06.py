"""Chapter 06: its plain training is the helper's, its searches keep their budget, its checkers."""

import itertools

import numpy as np
import pandas as pd
import pytest

from helpers.base import settings
from helpers.studies import taguchi, tuning
from tests.unit.chapter_page import code_cells, functions, missed, run, solutions, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
SIDE = 32
FEW = {"optimiser": ("sgd", "adam"), "batch": (16,), "epochs": (1, 2), "rate": (1e-3,)}


@pytest.fixture(scope="module")
def drawn():
    """Thirty images, the positive ones brighter, in three folds."""
    rng = np.random.default_rng(5)
    target = np.arange(30) % 2
    pixels = rng.integers(40, 120, (30, SIDE, SIDE, 3)).astype("uint8")
    pixels[target == 1] += 60
    return pixels, target, np.arange(30) // 10


@pytest.fixture(scope="module")
def page(drawn):
    pixels, target, fold = drawn
    names = run("06", "def build(", size=SIDE)
    names |= {"np": np, "tuning": tuning, "SEED": 24, "pixels": pixels, "target": target}
    return functions("06", "train", **names, fold=fold)


def test_parts_are_apart_and_every_fold_is_each_part_once(drawn):
    *_, fold = drawn
    for name in ("test", "val", "train"):
        rows = np.concatenate([tuning.parts(fold, repeat)[name] for repeat in range(3)])
        assert sorted(rows) == list(range(30))
    for repeat in range(3):
        parts = tuning.parts(fold, repeat)
        assert len(set().union(*parts.values())) == sum(map(len, parts.values())) == 30


@pytest.mark.slow
def test_the_table_has_what_the_training_of_the_page_gives(page, drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(tuning, "FACTORS", FEW)
    course = settings.read("phantom", "smoke")
    found = tuning.table(course, page["build"], *drawn, repeats=2)
    assert len(found) == 2 * 2 * 2
    again = tuning.table(course, page["build"], *drawn, repeats=2)
    pd.testing.assert_frame_equal(found, again)
    assert len(list(tmp_path.rglob("settings-*.csv"))) == 1  # read, not trained again
    pixels, target, fold = drawn
    for row in found.itertuples(index=False):
        network = page["train"](row.repeat, *row[1:5])
        for part, value in (("val", row.val), ("test", row.test)):
            at = tuning.parts(fold, row.repeat)[part]
            area = tuning.auc(target[at], network.predict(pixels[at], verbose=0)[:, 0])
            assert area == pytest.approx(value, abs=0.05)  # sums in another order


@pytest.mark.slow
def test_nothing_of_validation_or_test_people_is_in_a_trained_network(page, drawn):
    """A marker: with other pixels and classes there, the weights stay the same."""
    pixels, target, fold = drawn
    weights = page["train"](0, "adam", 16, 2, 1e-3).get_weights()
    train = tuning.parts(fold, 0)["train"]
    marked, turned = np.full_like(pixels, 255), 1 - target
    marked[train], turned[train] = pixels[train], target[train]
    there = page["train"].__globals__
    before = there["pixels"], there["target"]
    there["pixels"], there["target"] = marked, turned
    try:
        again = page["train"](0, "adam", 16, 2, 1e-3).get_weights()
    finally:
        there["pixels"], there["target"] = before
    for one, other in zip(weights, again, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_the_network_of_the_page_is_saved_and_loaded_safely_and_takes_odd_sides(page, tmp_path):
    augment = [keras.layers.RandomFlip(), keras.layers.RandomErasing(fill_value=0)]
    network = page["build"](33, 4, augment, True, 0.5)
    images = np.random.default_rng(1).integers(0, 255, (3, 33, 33, 3)).astype("float32")
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    one, other = (np.asarray(model.predict_on_batch(images)) for model in (network, loaded))
    np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(tuning.logits(network, images), one[:, 0], atol=1e-6)


def test_a_loss_below_that_of_the_shares_of_the_classes_is_not_called_underfitting(capsys):
    curves = {
        "first": {"loss": [0.49, 0.49], "val_loss": [0.7, 0.6]},
        "second": {"loss": [0.9, 0.69], "val_loss": [0.7, 0.9]},
    }
    run("06", "it underfits", np=np, y=np.array([0, 1, 0, 1]), logs=curves)
    said = capsys.readouterr().out
    first, second = said.split("second network")
    assert "71% of the loss of the program: it does not underfit" in first
    assert "it does not overfit" in first
    assert "100% of the loss of the program: it underfits" in second
    assert "0.200 above its lowest: it overfits" in second


def test_searches_are_named_in_words():
    cell = next(cell.source for cell in code_cells("06") if "SEARCHES = " in cell.source)
    assert "__name__" not in cell


@pytest.fixture(scope="module")
def searches():
    names = {"np": np, "taguchi": taguchi, "FACTORS": tuning.FACTORS, "BUDGET": 42}
    return functions("06", "by_taguchi", "at_random", "by_halving", **names)


@pytest.mark.parametrize("name", ["by_taguchi", "at_random", "by_halving"])
def test_each_search_returns_a_setting_and_keeps_to_the_budget(searches, name):
    asked = []

    class Asked(dict):
        def __getitem__(self, key):
            asked.append(key)
            return super().__getitem__(key)

        def get(self, key, default=None):
            return self[key]

    every = list(itertools.product(*tuning.FACTORS.values()))
    value = Asked(zip(every, np.random.default_rng(2).random(81), strict=True))
    winner = searches[name](value, np.random.default_rng(3))
    assert winner in value
    longest = {}
    for rule, batch, epochs, rate in asked:  # a longer training passes through the shorter ones
        key = (rule, batch, rate) if name == "by_halving" else (rule, batch, epochs, rate)
        longest[key] = max(epochs, longest.get(key, 0))
    assert sum(longest.values()) <= 42


def test_where_effects_add_up_taguchi_finds_the_best_of_all(searches):
    rng = np.random.default_rng(4)
    worth = [dict(zip(levels, rng.random(3), strict=True)) for levels in tuning.FACTORS.values()]
    every = itertools.product(*tuning.FACTORS.values())
    value = {
        key: sum(w[level] for w, level in zip(worth, key, strict=True)) for key in every
    }  # fmt: skip
    for seed in range(5):
        found = searches["by_taguchi"](value, np.random.default_rng(seed))
        assert found == max(value, key=value.get)


def test_an_area_without_both_classes_tells_nothing():
    assert tuning.auc(np.ones(3, dtype=int), np.arange(3)) == 0.5
    assert tuning.auc(np.array([0, 1]), np.array([0.1, 0.2])) == 1


def broken(**change):
    """Return a function that makes a network with one of the three faults of exercise 06-c."""
    parts = {"scale": 1 / 64, "dropout": 0.5, "last": None, **change}

    def build():
        layers = keras.layers
        scale = [layers.Rescaling(parts["scale"])] if parts["scale"] else []
        return keras.Sequential([
            keras.Input((32, 32, 3)), *scale, layers.Conv2D(2, 3), layers.Flatten(),
            layers.Dropout(parts["dropout"]), layers.Dense(1, activation=parts["last"]),
        ])  # fmt: skip

    return build


def even(plan, one, other):
    """Return whether all pairs of two columns occur equally often, and each of them does."""
    counts = pd.crosstab(plan[one], plan[other]).to_numpy()
    return bool(counts.min() == counts.max() > 0)


WRONG = {
    "06-a": [
        lambda step, steps, warm, peak: peak * step / steps,
        lambda step, steps, warm, peak: peak,
        lambda step, steps, warm, peak: (
            peak * (step + 1) / warm if step < warm else peak * (steps - step) / (steps - warm)
        ),
    ],
    "06-b": [
        lambda values: 10 * np.log10(np.mean(1 / np.asarray(values) ** 2)),
        lambda values: -10 * np.log(np.mean(1 / np.asarray(values) ** 2)),
        lambda values: 10 * np.log10(np.mean(np.asarray(values) ** 2)),
        lambda values: -20 * np.log10(np.mean(1 / np.asarray(values))),
    ],
    "06-c": [
        broken(scale=None),
        broken(last="relu"),
        broken(last="sigmoid"),
        broken(dropout=0.9),
        lambda: 1,
    ],
    "06-d": [
        lambda plan: True,
        lambda plan: all(
            (pd.crosstab(plan[a], plan[b]) > 0).all(axis=None) for a in plan for b in plan if a != b
        ),
        lambda plan: bool((pd.crosstab(plan.iloc[:, 0], plan.iloc[:, 1]) == 1).all(axis=None)),
        lambda plan: all(even(plan, plan.columns[0], other) for other in plan.columns[1:]),
        lambda plan: all(even(plan, *two) for two in itertools.pairwise(plan.columns)),
        lambda plan: all(even(plan, one, plan.columns[-1]) for one in plan.columns[:-1]),
    ],
}


def test_the_solutions_solve_the_exercises():
    answers = solutions("06", keras=keras, layers=keras.layers, pd=pd)
    assert set(answers) == set(WRONG)
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."
    assert verdict("06-b", lambda values: -10 * np.log10((1 / values**2).mean())) == "solved."


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_told_from_right_ones(name):
    for place, wrong in enumerate(WRONG[name]):
        assert verdict(name, wrong) == "not solved yet.", place


def adapted():
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).integers(0, 200, (20, 32, 32, 3)).astype("float32"))
    return layer


def keep_as_it_is(x):
    return x


@pytest.mark.slow
@pytest.mark.parametrize("place", range(6))
def test_every_usual_way_to_scale_is_right(place):
    layers = keras.layers
    scale = (
        adapted,
        layers.BatchNormalization,
        lambda: layers.Rescaling(1 / 255),
        lambda: layers.Lambda(lambda x: x / 255),
        lambda: lambda x: x / 255,
        lambda: lambda x: keras.ops.subtract(x / 64, 1),
    )[place]

    def build(scale):
        image = keras.Input((32, 32, 3))
        x = layers.MaxPooling2D(2)(layers.Conv2D(2, 3, activation="relu")(scale(image)))
        return keras.Model(image, layers.Dense(1)(layers.Dropout(0.2)(layers.Flatten()(x))))

    assert verdict("06-c", lambda: build(scale())) == "solved."
    for wrong in (keep_as_it_is, layers.Normalization(), layers.Rescaling(1 / 2)):
        assert "no number above ten" in missed("06-c", lambda wrong=wrong: build(wrong))


HINTS = {
    "06-a": {0: "at step `warm`", 2: "The rate is 0 at step 0"},
    "06-b": {0: "Mind the sign", 1: "base 10", 3: "right for the results 1 and 2"},
    "06-c": {0: "pixels are scaled", 1: "a logit may be negative", 3: "more than half"},
    "06-d": {0: "Two equal columns", 1: "to occur at all is not enough", 3: "All pairs of columns"},
}


@pytest.mark.parametrize("name", HINTS)
def test_a_wrong_answer_is_told_what_to_look_at(name):
    for place, hint in HINTS[name].items():
        assert hint in missed(name, WRONG[name][place])
