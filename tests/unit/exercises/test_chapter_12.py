"""Chapter 12 shows what is shipped, sees nothing of its test split, and knows right from wrong."""

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from tests.unit.chapter_page import code_cells, solutions, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

from helpers.models import dcnn  # noqa: E402
from helpers.models.selection import ChiSquareSelection  # noqa: E402

CELLS = code_cells("12")
SIDE = 12


def cell(text):
    return next(c.source for c in CELLS if text in c.source)


def drawn(seed=3):
    """Return crops, their pixels and target: noise, and something to learn."""
    rng = np.random.default_rng(seed)
    target = np.tile([0, 1], 24)
    pixels = rng.integers(40, 220, (48, SIDE, SIDE, 3), dtype=np.uint8)
    pixels[target == 1, 4:7, 4:7] //= 2
    crops = catalogs.make(
        {
            "image_id": f"c{place:02d}",
            "path": "none",
            "label": "mm" if positive else "all",
            "positive": positive,
            "subject": f"f{place // 4:02d}",
        }
        for place, positive in enumerate(target)
    )
    crops["split"] = np.repeat(["train", "val", "test"], [24, 12, 12])
    return crops, pixels, target


def namespace(crops, pixels, target):
    return {
        "keras": keras, "layers": keras.layers, "np": np, "pd": pd, "dcnn": dcnn,
        "ChiSquareSelection": ChiSquareSelection, "catalogs": catalogs, "SEED": 24,
        "PROFILE": "smoke", "side": SIDE, "k": 120, "target": target, "pixels": pixels,
        "flat": pixels.reshape(len(pixels), -1), "published": dcnn.PUBLISHED,
        "splits": {"field split": crops}, "crops": crops, "origin": "RANDOM weights",
        "features": pixels.reshape(len(pixels), -1)[:, :50].astype("float32"),
    }  # fmt: skip


def test_the_chapter_shows_the_network_and_the_training_that_are_shipped(untraced):
    crops, pixels, target = drawn()
    page = namespace(crops, pixels, target)
    exec(cell("def build("), page)
    exec(cell("def train_steps("), page)
    keep = np.random.default_rng(0).uniform(size=pixels[0].size) < 0.5
    shown, shipped = page["build"](SIDE, 25, keep), dcnn.build(SIDE, 25, keep)
    assert shown.get_config() == shipped.get_config()
    assert all(map(np.array_equal, shown.get_weights(), shipped.get_weights()))
    rows, val = np.arange(24), np.arange(24, 36)
    here = page["train_steps"](shown, rows, val, 6, batch_size=8, look=4)
    there = dcnn.train(shipped, pixels, target, rows, val, iterations=6, batch_size=8, look=4)
    assert here.equals(there)
    assert all(map(np.array_equal, shown.get_weights(), shipped.get_weights()))


def test_chi_square_by_hand_is_the_shipped_score():
    crops, pixels, target = drawn()
    page = namespace(crops, pixels, target)
    exec(cell("def chi_square("), page)
    scores = ChiSquareSelection(5).fit(page["flat"], target).scores_
    for place in (0, 17, 200):
        assert page["chi_square"](page["flat"][:, place], target) == pytest.approx(scores[place])


@pytest.mark.slow
def test_nothing_on_the_page_is_fitted_outside_of_training():
    """A marker that gives away the class in the test split, and turned labels, change nothing."""
    seen = []
    for planted in (False, True):
        crops, pixels, target = drawn()
        if planted:
            pixels[36:, 0, 0] = 255 * target[36:, None]
            target[36:] = 1 - target[36:]
            crops.loc[36:, "label"] = np.where(target[36:] == 1, "mm", "all")
        page = namespace(crops, pixels, target)
        for text in ("def build(", "def train_steps(", "histories, networks, selections ="):
            exec(cell(text), page)
        for text in ("def linear(", "def scores_of(", "tables = {}"):
            exec(cell(text), page)
        selection = page["selections"]["field split"]
        known = [page["tables"][key]["score"][:36].to_numpy() for key in page["tables"]]
        weights = page["networks"]["field split"].get_weights()
        seen.append([selection.scores_, selection.support_, *weights, *known])
    assert len(seen[0]) > 12
    assert all(map(np.array_equal, *seen))
    assert not np.array_equal(page["flat"][36:, :3], drawn()[1].reshape(48, -1)[36:, :3])


def test_selecting_before_the_split_finds_something_where_there_is_nothing():
    rng = np.random.default_rng(0)
    crops, _, target = drawn()
    crops["subject"] = crops["image_id"]
    page = namespace(crops, rng.integers(0, 256, (48, 20, 20, 3), dtype=np.uint8), target)
    exec(cell("def linear("), page)
    exec(cell("def in_turn("), page)
    exec(cell("def two_ways("), page)
    page["few"], page["best_k"] = 40, 100
    values = np.array([page["two_ways"](seed, shuffled=True) for seed in range(8)])
    before, inside = values.mean(axis=0)
    assert before > 0.7
    assert 0.4 < inside < 0.6


def test_the_solutions_solve_the_exercises():
    page = namespace(*drawn())
    exec(cell("from sklearn.ensemble import"), page)
    exec(cell("def in_turn("), page)
    answers = solutions("12", **page)
    assert sorted(answers) == ["12-a", "12-b", "12-c", "12-d"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."


def colour_by(grouped, balanced, features=lambda p: p.reshape(len(p), -1, 3).mean(axis=1)):
    """Return a solution of 12-c, right or with a part left out."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    def answer(pictures, labels, groups):
        kind = StratifiedGroupKFold if grouped else StratifiedKFold
        folds = kind(5, shuffle=True, random_state=0)
        model = LogisticRegression() if grouped else KNeighborsClassifier(3)
        groups = groups if grouped else None
        called = cross_val_predict(model, features(pictures), labels, groups=groups, cv=folds)
        if not balanced:
            return (called == labels).mean()
        return np.mean([(called[labels == label] == label).mean() for label in (0, 1)])

    return answer


def spoil(pictures, labels, groups):
    pictures //= 2
    return colour_by(True, True)(pictures, labels, groups)


def squares(numbers, keep, transposed=False, kind=None):
    count = int(keep.sum())
    width = int(np.ceil(np.sqrt(count)))
    result = np.zeros((len(numbers), width * width), kind or numbers.dtype)
    result[:, :count] = numbers[:, keep]
    result = result.reshape(-1, width, width)
    return result.swapaxes(1, 2) if transposed else result


WRONG = {
    "12-a": [
        lambda iterations, batch, images, validation: iterations,
        lambda iterations, batch, images, validation: iterations * batch / images,
        lambda i, b, n, v: i * b / (n * (1 - v)),
        lambda i, b, n, v: i * b // int(n * (1 - v)),
    ],
    "12-b": [
        lambda own, shuffled: np.mean(np.asarray(shuffled) >= own),
        lambda own, shuffled: (1 + np.sum(np.asarray(shuffled) > own)) / (1 + len(shuffled)),
        lambda own, shuffled: 0.05,
    ],
    "12-c": [
        colour_by(False, True),
        colour_by(True, False),
        spoil,
        lambda pictures, labels, groups: 0.5,
    ],
    "12-d": [
        lambda numbers, keep: numbers[:, keep],
        lambda numbers, keep: squares(numbers, keep, transposed=True),
        lambda numbers, keep: squares(numbers, keep, kind=float),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_not_called_solved(name):
    for answer in WRONG[name]:
        assert verdict(name, answer) == "not solved yet."
