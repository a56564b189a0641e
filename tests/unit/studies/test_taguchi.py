"""Taguchi's L9: the array is orthogonal, and its effects are those of an example done by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest

from helpers.base.errors import StudyError
from helpers.studies import taguchi

FACTORS = {"a": (1, 2, 3), "b": ("x", "y", "z"), "c": (0.1, 0.2, 0.3), "d": (10, 20, 30)}
#: Nine results, and the means of three that follow from them by hand.
RESULTS = [20, 10, 30, 25, 45, 65, 45, 65, 70]
MEANS = {
    "a": (20, 45, 60),
    "b": (30, 40, 55),
    "c": (50, 35, 40),
    "d": (45, 40, 40),
}


@pytest.fixture
def runs():
    return taguchi.plan(FACTORS).assign(result=RESULTS)


def test_each_pair_of_levels_occurs_once_in_any_two_columns():
    for one, other in itertools.combinations(taguchi.L9.T, 2):
        assert sorted(zip(one, other, strict=True)) == list(itertools.product(range(3), repeat=2))


def test_main_effects_of_the_worked_example(runs):
    effects = taguchi.main_effects(runs, "result")
    for factor, rows in effects.groupby("factor"):
        assert list(rows["level"]) == list(FACTORS[factor])
        np.testing.assert_allclose(rows["mean"], MEANS[factor])


def test_the_best_levels_and_their_prediction(runs):
    effects = taguchi.main_effects(runs, "result")
    chosen = taguchi.best(effects)
    assert chosen == {"a": 3, "b": "z", "c": 0.1, "d": 10}
    mean = sum(RESULTS) / 9
    by_hand = mean + (60 - mean) + (55 - mean) + (50 - mean) + (45 - mean)
    assert taguchi.predicted(effects, chosen) == pytest.approx(by_hand)
    assert taguchi.predicted(effects, {"a": 3}) == pytest.approx(60)


def test_effects_that_add_up_are_found_and_predicted_exactly():
    rng = np.random.default_rng(0)
    worth = {name: dict(zip(levels, rng.normal(size=3), strict=True))
             for name, levels in FACTORS.items()}  # fmt: skip
    plan = taguchi.plan(FACTORS)
    runs = plan.assign(result=sum(plan[name].map(worth[name]) for name in FACTORS))
    effects = taguchi.main_effects(runs, "result")
    chosen = taguchi.best(effects)
    assert chosen == {name: max(values, key=values.get) for name, values in worth.items()}
    true = sum(worth[name][level] for name, level in chosen.items())
    assert taguchi.predicted(effects, chosen) == pytest.approx(true)


def test_fewer_factors_use_the_first_columns():
    assert taguchi.plan({"a": (1, 2, 3)})["a"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    "factors",
    [{}, {"a": (1, 2)}, {"a": (1, 1, 2)}, {"a": "xyz"}, dict.fromkeys("abcde", (1, 2, 3))],
)
def test_other_numbers_of_factors_or_levels_are_refused(factors):
    with pytest.raises(StudyError, match="L9 needs"):
        taguchi.plan(factors)


def test_a_missing_result_or_level_is_refused(runs):
    with pytest.raises(StudyError, match="number"):
        taguchi.main_effects(runs.assign(result=np.nan), "result")
    with pytest.raises(StudyError):
        taguchi.main_effects(runs, "no such column")
    with pytest.raises(StudyError, match="No run tried a = 9"):
        taguchi.predicted(taguchi.main_effects(runs, "result"), {"a": 9})
    assert isinstance(runs, pd.DataFrame)
