"""How alike models err, by hand and against plain counting."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.predictions import diversity


def table(scores, labels):
    return pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(len(scores))],
            "subject": "s",
            "label": labels,
            "positive": [int(label == "all") for label in labels],
            "split": "test",
            "score": np.asarray(scores, dtype=float),
        }
    )


LABELS = ["all"] * 8
#: right, right, right, right, wrong, wrong, wrong, wrong
A = table([0.9] * 4 + [0.1] * 4, LABELS)
#: right on three that A has right and on one that it has wrong
B = table([0.9, 0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1], LABELS)


def test_a_pair_by_hand():
    # Both right 3, A alone 1, B alone 1, neither 3 of 8.
    found = diversity.pairs({"a": A, "b": B}).iloc[0]
    assert (found["first"], found["second"]) == ("a", "b")
    assert found["disagreement"] == 2 / 8
    assert found["double_fault"] == 3 / 8
    assert math.isclose(found["q"], (9 - 1) / (9 + 1))
    assert math.isclose(found["correlation"], (9 - 1) / 16)
    assert diversity.oracle_accuracy({"a": A, "b": B}) == 5 / 8


def test_what_each_model_predicts_and_has_right():
    labels = ["hem", "all", "hem"]
    tables = {"a": table([0.5, 0.5, 0.1], labels), "b": table([0.4, 0.9, 0.8], labels)}
    assert diversity.predicted_positive(tables).to_numpy().tolist() == [
        [True, False],
        [True, True],
        [False, True],
    ]
    found = diversity.correct(tables)
    assert found.to_numpy().tolist() == [[False, True], [True, True], [True, False]]
    assert list(found.index) == ["i0", "i1", "i2"]
    assert list(found) == ["a", "b"]


def test_a_model_and_itself_and_its_opposite():
    other = A.assign(score=1 - A["score"])
    alike = diversity.pairs({"a": A, "same": A.copy()}).iloc[0]
    assert (alike["disagreement"], alike["correlation"], alike["q"]) == (0, 1, 1)
    opposite = diversity.pairs({"a": A, "other": other}).iloc[0]
    assert (opposite["disagreement"], opposite["correlation"], opposite["q"]) == (1, -1, -1)
    assert diversity.oracle_accuracy({"a": A, "other": other}) == 1


def test_a_model_that_is_always_right_has_no_correlation():
    found = diversity.pairs({"a": A, "perfect": table([0.9] * 8, LABELS)}).iloc[0]
    assert np.isnan(found["correlation"])
    assert np.isnan(found["q"])
    assert found["double_fault"] == 0


def test_one_model_has_no_pair():
    found = diversity.pairs({"a": A})
    assert found.empty
    assert list(found) == ["first", "second", "disagreement", "double_fault", "correlation", "q"]


bits = st.lists(st.booleans(), min_size=2, max_size=12)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(*[st.lists(st.booleans(), min_size=n, max_size=n)] * 2)
    )
)
def test_counting_agrees(pair):
    first, second = pair
    labels = ["all"] * len(first)
    tables = {
        name: table([0.9 if one else 0.2 for one in right], labels)
        for name, right in (("a", first), ("b", second))
    }
    found = diversity.pairs(tables).iloc[0]
    counts = {(x, y): 0 for x in (True, False) for y in (True, False)}
    for x, y in zip(first, second, strict=True):
        counts[x, y] += 1
    n = len(first)
    assert math.isclose(found["double_fault"], counts[False, False] / n)
    assert math.isclose(found["disagreement"], (counts[True, False] + counts[False, True]) / n)
    cross = counts[True, True] * counts[False, False] - counts[True, False] * counts[False, True]
    total = counts[True, True] * counts[False, False] + counts[True, False] * counts[False, True]
    if total:
        assert math.isclose(found["q"], cross / total, abs_tol=1e-12)
    if len(set(first)) == len(set(second)) == 2:
        assert math.isclose(found["correlation"], np.corrcoef(first, second)[0, 1], abs_tol=1e-9)
    else:
        assert np.isnan(found["correlation"])
    best = max(np.mean(first), np.mean(second))
    assert best <= diversity.oracle_accuracy(tables) <= 1
