"""Rules that are fitted: weights, stacking, bagging, and who may see whom."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import PredictionsError
from helpers.predictions import ensembling
from tests.unit.member_tables import binary, catalog_like, matrix, several

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
    assert ensembling.fit_weights({"a": a, "b": b}, balanced=False)["a"] > 0.9


def test_weights_look_at_the_validation_rows_only():
    rng = np.random.default_rng(5)
    labels = ["hem", "all"] * 30
    splits = ["val"] * 30 + ["test"] * 30
    a, b = (binary(rng.random(60), labels, splits) for _ in range(2))
    before = ensembling.fit_weights({"a": a, "b": b})
    a.loc[30:, "score"] = 1 - a.loc[30:, "score"]
    assert ensembling.fit_weights({"a": a, "b": b}) == before


def test_weights_of_three_classes():
    good = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    labels = ["benign", "early", "pre"]
    tables = {
        "good": several(good, labels=labels).assign(split="val"),
        "bad": several(good[::-1], labels=labels).assign(split="val"),
    }
    assert ensembling.fit_weights(tables)["good"] == pytest.approx(1, abs=1e-6)


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
    before = ensembling.stack(tables, folds=6)
    # What the labels of its own subject are changes no score of a validation row.
    subject = tables["good"]["subject"].iloc[0]
    own = tables["good"]["subject"] == subject
    swapped = {
        name: t.assign(label=t["label"].where(~own, t["label"].map({"all": "hem", "hem": "all"})))
        for name, t in tables.items()
    }
    after = ensembling.stack(swapped, folds=6)
    assert np.allclose(before["score"][own], after["score"][own])
    others = (before["split"] == "val") & ~own
    assert not np.allclose(before["score"][others], after["score"][others])


def test_stacking_of_three_classes():
    rng = np.random.default_rng(2)
    labels = ["benign", "early", "pre"] * 20
    truth = np.array([0, 1, 2] * 20)
    rows = 0.6 * np.eye(3)[truth] + 0.4 * rng.dirichlet([1] * 3, 60)
    table = several(rows, labels=labels)
    table["split"] = ["val"] * 30 + ["test"] * 30
    found = ensembling.stack({"a": table, "b": table.copy()})
    assert np.allclose(matrix(found).sum(axis=1), 1)
    assert (matrix(found).argmax(axis=1) == truth).mean() > 0.9


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


# -- bagging and out-of-fold ------------------------------------------------------------------


def test_a_bag_draws_whole_subjects_with_replacement():
    table, seen = catalog_like(), []

    def fit(rows):
        seen.append(rows)
        return np.full(len(table), 0.5)

    made = ensembling.bag(table, fit, bags=30, seed=3)
    assert list(made) == [f"bag {number}" for number in range(1, 31)]
    sizes = set()
    for rows in seen:
        assert len(rows) == 36  # nine training subjects of four
        times = pd.Series(rows).value_counts()
        by_subject = times.groupby(table["subject"].iloc[times.index].to_numpy())
        assert (by_subject.nunique() == 1).all()  # all four cells as often
        assert (by_subject.size() == 4).all()
        assert set(table["split"].iloc[rows]) == {"train"}
        assert set(table["label"].iloc[rows]) == {"all", "hem"}
        sizes.add(by_subject.ngroups)
    assert len(sizes) > 1  # some are drawn twice, others not at all
    again = []
    ensembling.bag(table, lambda rows: again.append(rows) or np.zeros(len(table)), 30, 3)
    assert all(np.array_equal(a, b) for a, b in zip(seen, again, strict=True))


def test_linked_subjects_are_drawn_together():
    table = catalog_like().assign(
        group=lambda t: t["subject"].replace({"s1": "s3+s1", "s3": "s3+s1"})
    )
    seen = []
    ensembling.bag(table, lambda rows: seen.append(rows) or np.zeros(len(table)), 20)
    for rows in seen:
        drawn = table["subject"].iloc[rows].value_counts()
        assert drawn.get("s1", 0) == drawn.get("s3", 0)


def test_too_few_subjects_to_bag_are_refused():
    table = catalog_like(groups=3, each=2)
    table["label"] = ["hem", "all", "hem", "hem", "hem", "hem"]
    table["subject"] = ["a", "a", "b", "b", "c", "c"]
    made = ensembling.bag(table, lambda rows: np.zeros(len(table)), 3)
    assert len(made) == 3
    table["label"] = "hem"
    table.loc[0, "label"] = "all"
    table["group"] = [f"g{row}" for row in range(6)]
    assert len(ensembling.bag(table, lambda rows: np.zeros(6), 3)) == 3


def test_a_fit_of_the_wrong_shape_is_refused():
    table = catalog_like()
    with pytest.raises(PredictionsError, match=r"shape \(3,\)"):
        ensembling.bag(table, lambda rows: np.zeros(3), 1)


def test_out_of_fold_rows_are_scored_by_who_did_not_see_their_subject():
    table = catalog_like(groups=11, each=3)
    subjects = table["subject"].to_numpy()

    def fit(rows):  # the share of a row's own subject among the rows fitted on
        return np.array([float((subjects[rows] == one).any()) for one in subjects])

    found = ensembling.out_of_fold(table, fit, folds=4)
    assert (found["score"] == 0).all()  # training rows held out, the others in no fit at all
    assert list(found["image_id"]) == list(table["image_id"])


def test_out_of_fold_uses_all_training_rows_for_the_others():
    table = catalog_like()
    found = ensembling.out_of_fold(table, lambda rows: np.full(len(table), len(rows) / 100))
    assert (found["score"][table["split"] == "test"] == 0.36).all()
    assert (found["score"][table["split"] == "train"] < 0.36).all()
