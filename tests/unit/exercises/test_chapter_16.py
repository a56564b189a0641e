"""What chapter 16 builds is what `explaining` has, and its checkers know right from wrong."""

import numpy as np
import pytest

from helpers.exercises.checking import exercises
from tests.unit.chapter_page import run, solutions, verdict


def test_the_solutions_solve_the_exercises():
    answers = solutions("16")
    assert sorted(answers) == exercises("16")
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", name


def occlude(score, image, side, colour, turned=False, inside=False):
    image = image if inside else image.copy()
    falls = np.zeros(image.shape[:2])
    for top in range(0, image.shape[0], side):
        for left in range(0, image.shape[1], side):
            there = slice(top, top + side), slice(left, left + side)
            covered = image if inside else image.copy()
            before = score(image)
            covered[there] = colour
            falls[there] = (before - score(covered)) * (-1 if turned else 1)
    return falls


def at_the_ends(slope, image, baseline, steps):
    way = image - baseline
    return way * np.mean([slope(baseline + a * way) for a in np.linspace(0, 1, steps)], axis=0)


WRONG = {
    "16-a": [
        np.maximum,
        lambda maps, slopes: np.maximum((maps * slopes).sum(axis=-1), 0),  # by place
        lambda maps, slopes: (maps * slopes.mean(axis=(0, 1))).sum(axis=-1),  # no ReLU
        lambda maps, slopes: np.maximum((maps * slopes.sum(axis=(0, 1))).sum(axis=-1), 0),
        lambda maps, slopes: np.maximum(maps * slopes.mean(axis=(0, 1)), 0).sum(axis=-1),
        7,
    ],
    "16-b": [
        lambda *given: occlude(*given, turned=True),
        lambda *given: occlude(*given, inside=True),
        lambda score, image, side, colour: np.zeros(image.shape[:2]),
        7,
    ],
    "16-c": [
        at_the_ends,
        lambda slope, image, baseline, steps: image * slope(image),
        lambda slope, image, baseline, steps: (image - baseline) * slope(image),
        lambda slope, image, baseline, steps: slope(image),
        7,
    ],
    "16-d": [
        lambda m, mask: np.abs(m)[mask].sum() / np.abs(m).sum(),  # the share alone
        lambda m, mask: m[mask].sum() / m.sum() / mask.mean(),  # with signs
        lambda m, mask: np.abs(m[mask]).mean() / max(np.abs(m).mean(), 1e-9),  # 0, not NaN
        7,
    ],
    "16-e": [96, 54, 100, 162, 216, 99],
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_not_solved(name):
    for place, answer in enumerate(WRONG[name]):
        assert verdict(name, answer) == "not solved yet.", place


def test_the_pages_interval_is_over_subjects():
    interval = run("16", "def interval(values, groups)", np=np, SEED=24)["interval"]
    rng = np.random.default_rng(0)
    offset = rng.normal(size=12)
    groups = np.repeat(np.arange(12), 30)
    values = offset[groups] + 0.01 * rng.normal(size=len(groups))
    mean, low, high = interval(values, groups)
    assert mean == pytest.approx(values.mean())
    assert low < mean < high
    # Twelve subjects decide, not 360 images.
    assert high - low == pytest.approx(2 * 1.96 * offset.std() / 12**0.5, rel=0.25)
    values[5] = np.nan
    assert np.isfinite(interval(values, groups)).all()
    assert np.isnan(interval([1.0, 2.0], ["a", "a"])[1:]).all()
    assert np.isnan(interval([np.nan], ["a"])).all()


def test_the_pages_pointing_has_known_ends():
    pointing = run(
        "16", "from sklearn.metrics import roc_auc_score", "def pointing(", np=np, SEED=24
    )["pointing"]
    cell = np.ones((6, 6), bool)
    cell[0] = False
    changed = np.zeros((6, 6), bool)
    changed[3:5, 2:4] = True
    assert pointing(changed * -3.0, changed, cell) == 1  # without the sign
    assert pointing(1.0 - changed, changed, cell) == 0
    assert pointing(np.ones((6, 6)), changed, cell) == 0.5
    assert np.isnan(pointing(np.ones((6, 6)), np.zeros((6, 6), bool), cell))
