"""What chapter 14 shows is what ships, and its checkers know right from wrong."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from helpers.exercises.checking import exercises
from helpers.predictions import calibration, metrics, thresholds
from tests.unit.chapter_page import code_cells, solutions, verdict

CELLS = code_cells("14")


def page(*texts):
    """Run the functions that begin with the texts, as they stand on the page."""
    names = {"np": np, "pd": pd}
    for text in texts:
        source = next(cell.source for cell in CELLS if text in cell.source)
        body = re.search(rf"(?ms)^{re.escape(text)}.*?(?=\n\n\n\S|\n\n\S|\n(?=\w)|\Z)", source)[0]
        exec(body, names)
    return names


def table(count=200, seed=1, decimals=2):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count)
    logit = 1.3 * (2 * truth - 1) + 1.5 * rng.normal(size=count)
    return pd.DataFrame(
        {
            "image_id": [f"i{row:03}" for row in range(count)],
            "subject": [f"s{row // 10}" for row in range(count)],
            "label": np.where(truth == 1, "all", "hem"),
            "positive": truth,
            "split": "val",
            "score": (1 / (1 + np.exp(-logit))).round(decimals),
        }
    )


@pytest.mark.parametrize("case", ["mixed", "all called positive", "one class"])
def test_the_figures_on_the_page_are_those_that_ship(case):
    shown = page("def figures(tn, fp, fn, tp)")["figures"]
    made = table()
    if case == "all called positive":
        made["score"] = 0.9
    if case == "one class":
        made = made[made["label"] == "all"]
    ours = shown(*metrics.confusion_counts(made).ravel())
    assert set(ours) == set(metrics.METRICS) - {"auc", "average_precision"}
    for name, value in ours.items():
        assert np.isclose(value, metrics.METRICS[name](made), equal_nan=True), name


def test_the_bootstrap_on_the_page_agrees_with_the_one_that_ships():
    shown = page("def bootstrap(right, units")["bootstrap"]
    made = table(400)
    right = (made["score"] >= 0.5) == (made["label"] == "all")
    for by in ("subject", "image_id"):
        values = shown(right.to_numpy(), made[by], 4000, 3)
        theirs = metrics.bootstrap_interval(
            made, "accuracy", 4000, by=by, method="percentile", seed=5
        )
        assert np.allclose(np.percentile(values, [2.5, 97.5]), theirs, atol=0.01)
    # All images of a subject alike: as many images as one likes, no narrower.
    wide = [
        np.std(shown(np.repeat([1, 0, 1, 1], m), np.repeat(range(4), m), 2000, 1)) for m in (1, 50)
    ]
    assert np.isclose(*wide)


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 1.0])
def test_the_threshold_on_the_page_is_the_one_that_ships(wanted):
    shown = page("def threshold_for(scores, target")["threshold_for"]
    for seed in range(5):
        made = table(150, seed, decimals=1)  # many ties
        ours = shown(made["score"].to_numpy(), (made["label"] == "all").to_numpy(), wanted)
        assert ours == thresholds.threshold_for(made, sensitivity=wanted)


def test_the_temperature_on_the_page_is_the_one_that_ships():
    names = page("def temperature(scores, target)")
    from scipy.optimize import minimize_scalar

    names["minimize_scalar"] = minimize_scalar
    made = table()
    ours = names["temperature"](made["score"].to_numpy(), (made["label"] == "all").to_numpy())
    assert np.isclose(ours, calibration.fit_temperature(made).value, rtol=1e-3)


def test_independent_cells_raise_no_false_alarms_and_alike_ones_do():
    from scipy import stats

    names = page("def false_alarms(studies")
    names["stats"] = stats
    cells, people = names["false_alarms"](600, 20, 30, 0, 1)
    assert cells < 0.08
    assert 0.02 < people < 0.08
    cells, people = names["false_alarms"](600, 20, 30, 1, 1)
    assert cells > 0.25
    assert 0.02 < people < 0.09


def test_another_stain_leaves_black_black_and_the_order_of_pixels():
    source = next(cell.source for cell in CELLS if "def restain(pixels)" in cell.source)
    names = {"np": np}
    exec(re.search(r"(?s)DENSITY = .*?\n\n\ndef restain.*?\n\n\n", source)[0], names)
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)[None]
    stained = names["restain"](levels)
    assert stained.dtype == np.uint8
    assert stained[0, 0].tolist() == [0, 0, 0]
    assert stained[0, -1].tolist() == [255, 255, 255]
    assert (np.diff(stained[0].astype(int), axis=0) >= 0).all()
    assert len(set(stained[0, 128].tolist())) == 3


def test_the_solutions_solve_the_exercises():
    answers = solutions("14")
    assert sorted(answers) == exercises("14") == ["14-a", "14-b", "14-c", "14-d", "14-e"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."
        assert verdict(name, ...).startswith("not answered yet")


def test_holm_by_hand_is_that_of_statsmodels():
    ours = solutions("14")["14-e"]
    rng = np.random.default_rng(5)
    for _ in range(50):
        p = rng.random(rng.integers(1, 8)).round(1).tolist()
        assert np.allclose(ours(p), multipletests(p, method="holm")[1])


def rows_of(subjects, names):
    return np.concatenate([np.flatnonzero(subjects == name) for name in names])


def one_seed(subjects, rng):
    names = np.unique(subjects)
    return rows_of(subjects, np.random.default_rng().choice(names, size=len(names)))


WRONG = {
    "14-a": [
        (0.9575, 0.9552, 0.9036),
        (0.681875, 0.9575, 0.9036),
        (0.681875, 0.95523, 0.5),
        (0.681875, 0.95523),
        "no",
    ],
    "14-b": [1000, 10, 30.7, 1000 / (1 + 100 * 0.5), 100, "x"],
    "14-c": [
        lambda subjects, rng: rng.integers(len(subjects), size=len(subjects)),  # cells
        lambda subjects, rng: rows_of(subjects, rng.permutation(np.unique(subjects))),
        lambda subjects, rng: rows_of(subjects, rng.choice(subjects, size=5)),  # by their size
        lambda subjects, rng: rows_of(subjects, rng.choice(np.unique(subjects), size=4)),
        lambda subjects, rng: rows_of(subjects, set(rng.choice(np.unique(subjects), size=5))),
        lambda subjects, rng: rng.choice(np.unique(subjects), size=5),
        one_seed,
        3,
    ],
    "14-d": [0.5, 0.1 / 0.95, 0.09, 0.0, 1.2, 1 - 0.1 / 1.05],
    "14-e": [
        lambda p: [min(1, len(p) * one) for one in p],  # Bonferroni
        lambda p: sorted(min(1, len(p) * one) for one in p),
        lambda p: p,
        lambda p: [one * (len(p) - sorted(p).index(one)) for one in p],
        lambda p: 0.05,
        0.05,
    ],
}


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, wrong in WRONG.items() for answer in wrong]
)
def test_wrong_answers_are_told_so(name, answer):
    assert verdict(name, answer) == "not solved yet."
