"""Only training images are fitted; the smaller class is filled up evenly; alarms and gains."""

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers import images as image_files
from helpers.base import settings
from helpers.base.errors import StudyError
from helpers.studies import generative, lineup
from tests.unit.squares import make_squares

SIDE = 16
TINY = generative.Budget(SIDE, 3, 1, SIDE, 2, 2, 1)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Replace the data set by squares, and make all budgets tiny."""
    table, pixels = make_squares()
    # Fewer positive ones in training, so that one class has to be filled up.
    keep = ~((table["split"] == "train") & (catalogs.target(table) == 1) & (table.index % 3 == 0))
    table, pixels = table[keep].reset_index(drop=True), pixels[keep.to_numpy()][:, ::2, ::2]
    held = {"pixels": np.ascontiguousarray(pixels)}
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(lineup, "catalog", lambda *_: table.copy())
    monkeypatch.setattr(image_files, "load_images", lambda *_: held["pixels"])
    monkeypatch.setattr(generative, "budget", lambda _: TINY)
    made = settings.Settings("phantom", settings.PROFILES["smoke"], 24, None, tmp_path)
    return made, table, held


def test_which_class_is_smaller_and_what_it_lacks(course):
    _, table, _ = course
    rows, target = generative.smaller_class(table), catalogs.target(table)
    train = (table["split"] == "train").to_numpy()
    assert set(target[rows]) == {1}
    assert (rows <= train).all()
    assert generative.missing(table) == (train & (target == 0)).sum() - rows.sum() > 0
    one = table[(table["split"] != "train") | (target == 1)]
    with pytest.raises(StudyError, match="one class"):
        generative.smaller_class(one.reset_index(drop=True))


@pytest.mark.slow
def test_a_marker_in_validation_and_test_images_reaches_no_fitted_object(course):
    course, table, held = course
    pytest.importorskip("keras")
    train = (table["split"] == "train").to_numpy()

    def fitted():
        codes = generative.latents(course)
        return codes, generative.drawn_cells(course, "subject", 5)

    codes, cells = fitted()
    np.testing.assert_array_equal(generative.latents(course), codes)  # from disk
    held["pixels"] = held["pixels"].copy()
    held["pixels"][~train] = 255
    marked_codes, marked_cells = fitted()
    np.testing.assert_array_equal(marked_codes[train], codes[train])
    assert not np.array_equal(marked_codes[~train], codes[~train])
    np.testing.assert_array_equal(marked_cells, cells)
    held["pixels"][train] = 0
    other_codes, other_cells = fitted()
    assert not np.array_equal(other_codes[train], codes[train])
    assert not np.array_equal(other_cells, cells)


@pytest.fixture
def shown(monkeypatch):
    """Replace the classifier by one that notes what it is trained on."""
    seen = []

    class Model:
        def predict(self, pixels, **_):
            return np.linspace(0.1, 0.9, len(pixels))[:, None]

    def train(pixels, truth, rounds, seed):
        seen.append((pixels, truth))
        return Model()

    monkeypatch.setattr(generative, "_classifier", train)
    return seen


def test_both_ways_train_on_as_many_images_of_each_class(course, shown):
    course, table, held = course
    lacking = generative.missing(table)
    cells = np.full((lacking + 3, SIDE, SIDE, 3), 77, np.uint8)
    scores = generative.help_of_drawn_cells(course, cells)
    assert set(scores["split"]) == {"test"}
    assert {f"{way}-{seed}" for way in generative.WAYS for seed in (24, 25)} <= set(scores)
    assert len(shown) == 4
    train = (table["split"] == "train").to_numpy()
    for number, (pixels, truth) in enumerate(shown):
        assert truth.sum() * 2 == len(truth) == train.sum() + lacking
        drawn = (pixels == 77).all(axis=(1, 2, 3)).sum()
        assert drawn == (lacking if number % 2 else 0)
        known = {image.tobytes() for image in held["pixels"][train]}
        new = [image for image in pixels if image.tobytes() not in known]
        assert len(new) == drawn  # no image of another split
    generative.help_of_drawn_cells(course, cells)
    assert len(shown) == 4  # from disk


def test_too_few_cells_and_other_ways_are_refused(course):
    course, *_ = course
    with pytest.raises(StudyError, match="are missing"):
        generative.filled_up(course, "subject", "drawn", 1, np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(StudyError, match="copies, drawn"):
        generative.filled_up(course, "subject", "bought", 1)


def people(gain):
    """Return scores of ten subjects: copies guess, drawn cells rank by the truth if `gain`."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({
        "image_id": [f"i{n}" for n in range(60)],
        "subject": [f"s{n % 10}" for n in range(60)],
        "positive": [n % 2 for n in range(60)],
        "split": "test",
    })  # fmt: skip
    rows["label"] = np.where(rows["positive"] == 1, "all", "hem")
    for seed in ("1", "2"):
        rows[f"copies-{seed}"] = rng.random(60)
        drawn = 0.5 * rng.random(60) + 0.5 * rows["positive"]
        rows[f"drawn-{seed}"] = drawn if gain else rows[f"copies-{seed}"]
    return rows


@pytest.mark.slow
def test_a_gain_is_found_and_no_gain_is_zero():
    each, (value, low, high) = generative.gains(people(True), 300, 24)
    assert list(each.index) == ["1", "2"]
    assert value == pytest.approx(each.mean())
    assert low <= value <= high
    assert value > 0.1
    each, (value, *_) = generative.gains(people(False), 300, 24)
    assert value == 0
    assert (each == 0).all()


def test_the_mean_score_of_a_subject_is_judged():
    rows = people(True)
    rows["score"] = np.where(rows["positive"] == 1, 0.6, 0.4)
    rows.loc[0, "score"] = 1.0  # one negative cell of six is very wrong: their mean is 0.5
    assert generative.subject_auc(rows, "score") == 1.0
    assert np.isnan(generative.subject_auc(rows[rows["positive"] == 1], "score"))


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_by_ranks_is_that_of_scikit_learn_with_ties_too(seed):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, 6, 30) / 5, rng.permutation(np.arange(30) % 3 == 0).astype(int)
    subjects = [f"p{n}" for n in range(30)]
    rows = pd.DataFrame({"subject": subjects, "positive": truth, "score": scores})
    assert np.isclose(generative.subject_auc(rows, "score"), roc_auc_score(truth, scores))


def test_an_alarm_that_always_and_one_that_never_rings():
    errors, subjects = np.linspace(0, 1, 40), pd.Series([f"s{n % 8}" for n in range(40)])
    value, low, high = generative.alarm(errors, subjects, errors + 2, 300, 24)
    assert value == 1
    assert not low > value
    assert generative.alarm(errors, subjects, errors - 2, 300, 24)[0] == 0
    middle, low, high = generative.alarm(errors, subjects, errors, 300, 24)
    assert middle == pytest.approx(0.5)
    assert low < middle < high


@pytest.mark.parametrize("kind", generative.STRANGERS)
def test_strangers_are_as_many_and_as_large_and_each_is_another(kind):
    cells = np.full((5, 21, 21, 3), 9, np.uint8)
    drawn = generative.strangers(kind, cells)
    assert drawn.shape == cells.shape
    assert drawn.dtype == np.uint8
    assert len({image.tobytes() for image in drawn}) == 5
    np.testing.assert_array_equal(drawn, generative.strangers(kind, cells))
    if kind != "noise":  # the background is that of the cells
        assert (drawn == 9).all(axis=-1).mean() > 0.1
    with pytest.raises(StudyError, match="red cells, text, noise"):
        generative.strangers("dust", cells)


def test_there_are_eight_flips_and_turns():
    image = np.arange(27, dtype=np.uint8).reshape(1, 3, 3, 3)
    turned = generative.turned(image)
    assert len({one.tobytes() for one in turned}) == 8
    np.testing.assert_array_equal(turned[0], image[0])
