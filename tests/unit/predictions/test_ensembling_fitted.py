"""Rules that are fitted: weights, stacking, and which rows they are fitted on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.predictions import ensembling
from tests.unit.member_tables import binary

# -- weights ----------------------------------------------------------------------------------


def test_weights_go_to_the_model_that_knows():
    labels, splits = ["hem", "all"] * 10, ["val"] * 20
    knows = binary([0.1, 0.9] * 10, labels, splits)
    guesses = binary([0.5] * 20, labels, splits)
    lies = binary([0.9, 0.1] * 10, labels, splits)
    found = ensembling.fit_weights({"lies": lies, "knows": knows, "guesses": guesses})
    assert found == pytest.approx({"lies": 0, "knows": 1, "guesses": 0}, abs=1e-6)


def test_weights_of_two_models_by_hand():
    # A truth probability of 0.9 and 0.3 on half of the images, 0.1 and 0.7 on the others:
    # (0.3 + 0.6 w)(0.7 - 0.6 w) is largest at w = 1/3.
    labels, splits = ["hem", "all"] * 2, ["val"] * 4
    a = binary([0.1, 0.1, 0.1, 0.1], labels, splits)
    b = binary([0.7, 0.7, 0.7, 0.7], labels, splits)
    # hem images: truth has 0.9 by a and 0.3 by b; all images: 0.1 by a and 0.7 by b.
    found = ensembling.fit_weights({"a": a, "b": b})
    assert found["a"] == pytest.approx(1 / 3, abs=1e-4)


def test_balanced_weights_do_not_count_images():
    labels, splits = ["hem"] * 9 + ["all"], ["val"] * 10
    a, b = (binary([score] * 10, labels, splits) for score in (0.1, 0.7))
    assert ensembling.fit_weights({"a": a, "b": b})["a"] == pytest.approx(1 / 3, abs=1e-4)


def test_weights_look_at_the_validation_rows_only():
    rng = np.random.default_rng(5)
    labels = ["hem", "all"] * 30
    splits = ["val"] * 30 + ["test"] * 30
    a, b = (binary(rng.random(60), labels, splits) for _ in range(2))
    before = ensembling.fit_weights({"a": a, "b": b})
    a.loc[30:, "score"] = 1 - a.loc[30:, "score"]
    assert ensembling.fit_weights({"a": a, "b": b}) == before


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_weights_are_those_of_expectation_maximisation(seed):
    """The likelihood of a mixture can also be climbed by EM, which knows no constraint."""
    rng = np.random.default_rng(seed)
    labels = ["hem", "all"] * 20
    truth = np.array([0, 1] * 20)
    columns = [np.clip(truth * rng.random() + rng.normal(0, 0.4, 40), 0.02, 0.98) for _ in range(3)]
    tables = {f"m{i}": binary(column, labels, "val") for i, column in enumerate(columns)}
    of_truth = np.array([np.where(truth == 1, column, 1 - column) for column in columns])
    weights = np.full(3, 1 / 3)
    for _ in range(3000):
        share = weights[:, None] * of_truth
        weights = (share / share.sum(axis=0)).mean(axis=1)
    found = np.array(list(ensembling.fit_weights(tables).values()))

    def loss(weights):
        return -np.log(weights @ of_truth).mean()

    assert math.isclose(found.sum(), 1, abs_tol=1e-9)
    assert (found >= 0).all()
    assert loss(found) <= loss(weights) + 1e-6
    assert loss(found) >= loss(weights) - 1e-3


# -- stacking ---------------------------------------------------------------------------------


def noisy(seed=1, count=120, groups=12, parts=("val", "test")):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count)
    labels = ["all" if one else "hem" for one in truth]
    subjects = [f"s{row * groups // count:02}" for row in range(count)]
    splits = [parts[row * len(parts) // count] for row in range(count)]

    def model(skill):
        logit = skill * (2 * truth - 1) + rng.normal(size=count)
        return binary(1 / (1 + np.exp(-logit)), labels, splits, subjects)

    return {"good": model(1.5), "blind": model(0.0), "liar": model(-1.5)}


def test_stacking_turns_a_liar_round_which_no_vote_can():
    tables = noisy()
    test = (tables["good"]["split"] == "test").to_numpy()
    truth = (tables["good"]["label"] == "all").to_numpy()
    found = {
        "stack": ensembling.stack(tables),
        "soft": ensembling.soft_vote(tables),
        "good": tables["good"],
    }
    share = {name: ((t["score"] >= 0.5) == truth)[test].mean() for name, t in found.items()}
    assert share["stack"] > share["good"] > share["soft"]


def test_stacking_scores_other_splits_as_scikit_learn_would():
    from sklearn.linear_model import LogisticRegression

    tables = noisy()
    scores = np.array([table["score"] for table in tables.values()]).T
    logits = np.log(scores / (1 - scores))
    truth = (tables["good"]["label"] == "all").to_numpy()
    val = (tables["good"]["split"] == "val").to_numpy()
    model = LogisticRegression(class_weight="balanced").fit(logits[val], truth[val])
    found = ensembling.stack(tables)["score"]
    assert np.allclose(found[~val], model.predict_proba(logits[~val])[:, 1], atol=1e-4)


def test_a_stacked_validation_row_is_scored_without_its_subject():
    tables = noisy()
    before = ensembling.stack(tables)
    # The truth of its own subject changes no score of a validation row.
    subject = tables["good"]["subject"].iloc[0]
    own = tables["good"]["subject"] == subject
    other = tables["good"]["label"].map({"all": "hem", "hem": "all"})
    swapped = {
        name: t.assign(
            positive=t["positive"].where(~own, 1 - t["positive"]),
            label=t["label"].where(~own, other),
        )
        for name, t in tables.items()
    }
    after = ensembling.stack(swapped)
    assert np.allclose(before["score"][own], after["score"][own])
    others = (before["split"] == "val") & ~own
    assert not np.allclose(before["score"][others], after["score"][others])


def test_where_the_other_folds_hold_one_class_the_soft_vote_scores():
    labels = ["hem", "hem", "all", "all", "hem", "all"]
    splits = ["val"] * 4 + ["test"] * 2
    subjects = ["h", "h", "a", "a", "t", "t"]
    tables = {
        name: binary(scores, labels, splits, subjects)
        for name, scores in {
            "x": [0.2, 0.4, 0.8, 0.9, 0.3, 0.7],
            "y": [0.4, 0.4, 0.6, 1, 0.1, 0.5],
        }.items()
    }
    found = ensembling.stack(tables)["score"]
    assert np.allclose(found[:4], [0.3, 0.4, 0.7, 0.95])
