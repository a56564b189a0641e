"""Rules that fit nothing: known answers, plain loops, and what must hold always."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import PredictionsError
from helpers.catalog import augmentation
from helpers.predictions import ensembling
from tests.unit.member_tables import binary, models

# Few examples of many rows: what costs is a call, not its rows.
SETTINGS = settings(max_examples=10, deadline=None)


# -- known answers, by hand -------------------------------------------------------------------


def test_majority_of_three_is_the_share_of_votes():
    found = ensembling.majority_vote(models([0.9, 0.2, 0.6], [0.8, 0.1, 0.4], [0.1, 0.3, 0.2]))
    assert np.allclose(found["score"], [2 / 3, 0, 1 / 3])


def test_a_score_of_one_half_is_a_vote_for_the_positive_class():
    found = ensembling.majority_vote(models([0.5], [0.5], [0.0]))
    assert np.allclose(found["score"], [2 / 3])


def test_a_tie_goes_where_the_mean_score_is():
    # Mean scores 0.6, 0.4 and exactly 0.5: positive, negative, positive.
    tables = models([0.9, 0.6, 0.7], [0.3, 0.2, 0.3])
    assert np.allclose(ensembling.majority_vote(tables)["score"], [0.75, 0.25, 0.75])


def test_two_against_two_never_gives_one_half():
    tables = models([0.9], [0.9], [0.1], [0.3])  # mean 0.55
    assert np.allclose(ensembling.majority_vote(tables)["score"], [0.625])


def test_majority_and_soft_vote_may_differ():
    tables = models([0.55], [0.55], [0.05])
    assert ensembling.majority_vote(tables)["score"][0] > 0.5
    assert np.isclose(ensembling.soft_vote(tables)["score"][0], 1.15 / 3)


def test_soft_vote_with_weights():
    tables = models([0.2, 1.0], [0.8, 0.0])
    by_name = ensembling.soft_vote(tables, {"m1": 3, "m0": 1})
    assert np.allclose(by_name["score"], [0.65, 0.25])
    assert np.allclose(ensembling.soft_vote(tables, {"m0": 0, "m1": 2})["score"], [0.8, 0.0])


def test_a_mean_that_is_one_half_on_paper_is_one_half():
    for scores in ([0.1, 0.7, 0.7], [0.3, 0.7], [0.2, 0.3, 1.0], [0.1, 0.2, 0.8, 0.9]):
        tables = models(*([score] for score in scores))
        assert ensembling.soft_vote(tables)["score"][0] == 0.5


def test_a_vote_over_the_eight_turns_forgets_how_an_image_was_turned():
    """Test-time augmentation: a model that knows up from down becomes one that does not."""
    images = np.random.default_rng(0).random((20, 6, 6, 3))

    def vote(shown, transforms):
        turned = {t: augmentation.apply(shown, t) for t in transforms}
        tables = {t: binary(each[:, :2, :4].mean((1, 2, 3))) for t, each in turned.items()}
        return ensembling.soft_vote(tables)["score"]

    upright = vote(images, augmentation.TRANSFORMS)
    for turn in augmentation.TRANSFORMS[1:]:
        turned = augmentation.apply(images, turn)
        assert np.allclose(vote(turned, augmentation.TRANSFORMS), upright)
        assert not np.allclose(vote(turned, ["identity"]), vote(images, ["identity"]))


def test_fuzzy_ranks_of_two_models_by_hand():
    # Probabilities of the positive class 0.9 and 0.6, of the negative one 0.1 and 0.4.
    def rank(p):
        u = (p - 1) ** 2 / 2
        return (1 - math.exp(-u)) * (1 - math.tanh(u))

    positive, negative = rank(0.9) + rank(0.6), rank(0.1) + rank(0.4)
    assert math.isclose(rank(0.6), 0.0769 * 0.9202, rel_tol=1e-3)  # 1-e^-0.08, 1-tanh 0.08
    by_rank = ensembling.fuzzy_rank(models([0.9], [0.6]), "rank")["score"][0]
    assert math.isclose(by_rank, negative / (negative + positive), abs_tol=1e-9)
    positive, negative = positive * 0.25, negative * 0.75
    fused = ensembling.fuzzy_rank(models([0.9], [0.6]), "fused")["score"][0]
    assert math.isclose(fused, negative / (negative + positive), abs_tol=1e-9)


@pytest.mark.parametrize("form", ["fused", "rank"])
def test_fuzzy_ranks_tie_where_the_models_are_mirror_images(form):
    tables = models([0.5, 0.3, 0.0, 0.9], [0.5, 0.7, 1.0, 0.1])
    assert (ensembling.fuzzy_rank(tables, form)["score"] == 0.5).all()


def test_the_two_forms_of_fuzzy_fusion_can_differ():
    # RS prefers the positive class a little; the mean probability is for the negative one.
    grid = np.linspace(0, 1, 21)
    first, second, third = (part.ravel() for part in np.meshgrid(grid, grid, grid))
    tables = models(first, second, third)
    fused = ensembling.fuzzy_rank(tables, "fused")["score"] >= 0.5
    by_rank = ensembling.fuzzy_rank(tables, "rank")["score"] >= 0.5
    soft = ensembling.soft_vote(tables)["score"] >= 0.5
    assert 0 < (fused != by_rank).mean() < 0.2
    assert (by_rank != soft).mean() > (fused != soft).mean() > 0


# -- against an independent implementation ----------------------------------------------------

probabilities = st.integers(1, 4).flatmap(
    lambda count: st.lists(
        st.lists(
            st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 0.62, 0.75, 0.9, 1]), min_size=14, max_size=14
        ),
        min_size=count,
        max_size=count,
    )
)


def loop_majority(columns):
    result = []
    for scores in zip(*columns, strict=True):
        yes = sum(1 for score in scores if score >= 0.5)
        no = len(scores) - yes
        if yes == no:
            average = math.fsum(scores) / len(scores)
            yes += 0.5 if average >= 0.5 - 1e-12 else -0.5
        result.append(yes / len(scores))
    return result


def loop_fuzzy(columns, form):
    result = []
    for scores in zip(*columns, strict=True):
        final = []
        for of_class in ([1 - p for p in scores], list(scores)):
            rank = 0.0
            for p in of_class:
                first = 1 - math.exp(-((p - 1) ** 2) / 2)
                second = 1 - math.tanh((p - 1) ** 2 / 2)
                rank += first * second
            complement = 1 - sum(of_class) / len(of_class)
            final.append(rank * complement if form == "fused" else rank)
        result.append(final[0] / (final[0] + final[1]))
    return result


@SETTINGS
@given(probabilities)
def test_majority_vote_is_what_the_loop_says(columns):
    found = ensembling.majority_vote(models(*columns))["score"]
    assert np.allclose(found, loop_majority(columns))


@SETTINGS
@given(probabilities, st.sampled_from(["fused", "rank"]))
def test_fuzzy_rank_is_what_the_loop_says(columns, form):
    found = ensembling.fuzzy_rank(models(*columns), form)["score"]
    assert np.allclose(found, loop_fuzzy(columns, form))


# -- what must hold whatever the scores -------------------------------------------------------

RULES = {
    "majority": ensembling.majority_vote,
    "soft": ensembling.soft_vote,
    "fused": ensembling.fuzzy_rank,
    "rank": lambda tables: ensembling.fuzzy_rank(tables, "rank"),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@SETTINGS
@given(columns=probabilities, data=st.data())
def test_the_order_of_the_models_changes_no_digit(rule, columns, data):
    order = data.draw(st.permutations(range(len(columns))))
    tables = models(*columns)
    turned = {f"m{place}": tables[f"m{place}"] for place in order}
    pd.testing.assert_frame_equal(rule(turned), rule(tables), check_exact=True)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@SETTINGS
@given(column=st.lists(st.floats(0, 1, width=32), min_size=8, max_size=24))
def test_an_ensemble_of_one_calls_what_the_model_calls(rule, column):
    found = rule(models(column))["score"] >= 0.5
    assert (found == (np.array(column) >= 0.5)).all()


@SETTINGS
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=24))
def test_the_soft_vote_of_one_model_is_that_model(column):
    assert (ensembling.soft_vote(models(column))["score"] == column).all()


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@SETTINGS
@given(columns=probabilities)
def test_models_of_one_mind_are_followed(rule, columns):
    values = np.array(columns)
    found = (rule(models(*columns))["score"] >= 0.5).to_numpy()
    assert found[(values >= 0.5).all(axis=0)].all()
    assert not found[(values < 0.5).all(axis=0)].any()


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@SETTINGS
@given(columns=probabilities, model=st.integers(0, 3), step=st.floats(0, 1))
def test_more_trust_of_a_model_never_turns_a_positive_call(rule, columns, model, step):
    raised = [list(column) for column in columns]
    model %= len(columns)
    raised[model] = [score + step * (1 - score) for score in raised[model]]
    before, after = (rule(models(*c))["score"] >= 0.5 for c in (columns, raised))
    assert (after | ~before).all()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_order_of_rows_is_the_first_models(rule):
    tables = models([0.1, 0.8, 0.6], [0.2, 0.9, 0.4], [0.3, 0.3, 0.9])
    turned = {**tables, "m1": tables["m1"].iloc[::-1], "m2": tables["m2"].sample(frac=1)}
    pd.testing.assert_frame_equal(rule(turned), rule(tables), check_exact=True)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_tables_stay_as_they_are(rule):
    tables = models([0.1, 0.8], [0.6, 0.4])
    before = {name: table.copy() for name, table in tables.items()}
    rule(tables)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, before[name], check_exact=True)


# -- what is refused --------------------------------------------------------------------------


def test_a_missing_image_is_refused_by_its_name_and_the_models():
    tables = models([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    tables["m1"] = tables["m1"].drop(index=[0, 1])
    with pytest.raises(PredictionsError, match=r"'m1' lacks 2 images that 'm0' has, first 'i0'"):
        ensembling.soft_vote(tables)
    turned = {"m1": tables["m1"], "m0": tables["m0"]}
    with pytest.raises(PredictionsError, match=r"'m1' lacks 2 images that 'm0' has, first 'i0'"):
        ensembling.soft_vote(turned)


@pytest.mark.parametrize("column", ["label", "subject", "split"])
def test_tables_of_different_splits_or_labels_are_refused(column):
    tables = models([0.1, 0.2], [0.1, 0.2])
    tables["m1"].loc[1, column] = "val" if column == "split" else "mm"
    with pytest.raises(PredictionsError, match=f"differ in the {column} of 1 images, first 'i1'"):
        ensembling.majority_vote(tables)


def test_broken_scores_are_refused_with_the_models_name():
    for wrong in (np.nan, 1.5, -0.1):
        tables = models([0.1, 0.2], [0.1, wrong])
        with pytest.raises(PredictionsError, match=r"'m1'.*'i1'"):
            ensembling.fuzzy_rank(tables)
    doubled = models([0.1, 0.2])
    doubled["m0"]["image_id"] = "same"
    with pytest.raises(PredictionsError, match=r"'m0'.*repeat"):
        ensembling.soft_vote(doubled)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ensembling.soft_vote({}), "no table"),
        (lambda: ensembling.soft_vote(models([0.1]), {"m0": 0}), "not all zero"),
        (lambda: ensembling.soft_vote(models([0.1]), {"m0": -1}), "none negative"),
        (lambda: ensembling.soft_vote(models([0.1]), {"m0": np.nan}), "weights are"),
        (lambda: ensembling.soft_vote(models([0.1]), {"x": 1}), "weights for"),
        (lambda: ensembling.fuzzy_rank(models([0.1]), "both"), "'both'"),
        (lambda: ensembling.fit_weights(models([0.1])), "in the split 'val'"),
        (lambda: ensembling.stack(models([0.1])), "in the split 'val'"),
        (lambda: ensembling.stack({"a": binary([0.1], splits="val")}), "only \\['hem'\\]"),
        (lambda: ensembling.stack(models([0.1]), "test"), "not be fitted on the split 'test'"),
        (lambda: ensembling.fit_weights(models([0.1]), "test"), "fit it on 'val'"),
        (lambda: ensembling.soft_vote({"a": binary([0.1]).drop(columns="split")}), "split"),
        (lambda: ensembling.soft_vote({"a": binary([0.1]).drop(columns="score")}), "score"),
        (lambda: ensembling.soft_vote({"a": binary([])}), "no rows"),
    ],
)
def test_what_cannot_be_combined_is_told_in_a_sentence(call, words):
    with pytest.raises(PredictionsError, match=words):
        call()


def test_all_rules_agree_on_every_pattern_of_votes_of_confident_models():
    for pattern in itertools.product([0.0, 1.0], repeat=3):
        tables = models(*([score] for score in pattern))
        votes = {name: rule(tables)["score"][0] >= 0.5 for name, rule in RULES.items()}
        assert set(votes.values()) == {sum(pattern) >= 2}


def test_speed_of_a_vote(benchmark):
    rng = np.random.default_rng(1)
    tables = models(*(rng.random(10_000) for _ in range(7)))
    benchmark(lambda: ensembling.majority_vote(tables))
