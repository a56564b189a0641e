"""Comparisons of two models: statsmodels', slow definitions, and invalid tables."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats import contingency_tables, multitest

from helpers.base.errors import PredictionsError
from helpers.predictions import comparing, metrics
from tests.unit.evaluation_tables import study, table

scores = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), max_size=60)


def two(rows):
    truth, one, other = (np.array(column, dtype=int) for column in zip(*rows, strict=True))
    return table(truth, one / 6), table(truth, other / 6)


def slow_delong(truth, one, other):
    """DeLong et al. 1988 as written: every positive beside every negative."""
    wins = []
    for score in (np.asarray(one, float), np.asarray(other, float)):
        up, down = score[truth == 1][:, None], score[truth == 0][None, :]
        wins.append((up > down) + (up == down) / 2)
    v10 = np.cov([w.mean(axis=1) for w in wins])
    v01 = np.cov([w.mean(axis=0) for w in wins])
    covariance = v10 / wins[0].shape[0] + v01 / wins[0].shape[1]
    contrast = np.array([1, -1])
    return [w.mean() for w in wins], contrast @ covariance @ contrast


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(scores.filter(lambda rows: min(sum(r[0] for r in rows), sum(not r[0] for r in rows)) >= 2))
def test_delong_is_its_slow_definition(rows):
    from scipy import stats

    first, second = two(rows)
    areas, variance = slow_delong(
        np.array([r[0] for r in rows]), *list(zip(*rows, strict=True))[1:]
    )
    got = comparing.delong(first, second)
    assert [got.first, got.second] == pytest.approx(areas)
    assert got.first == pytest.approx(metrics.auc(first))
    assert got.difference == pytest.approx(areas[0] - areas[1])
    if variance > 1e-12:
        z = got.difference / np.sqrt(variance)
        assert got.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
        assert (got.high - got.low) / 2 == pytest.approx(1.959964 * np.sqrt(variance))
    elif abs(got.difference) < 1e-12:
        assert got.p_value == 1


@pytest.mark.slow
def test_delong_and_the_bootstrap_agree_where_cells_are_independent():
    rng = np.random.default_rng(3)
    truth = rng.random(600) < 0.5
    first = table(truth, 1 / (1 + np.exp(-(truth + rng.normal(0, 1, 600)))))
    second = first.assign(score=1 / (1 + np.exp(-(truth * 0.6 + rng.normal(0, 1, 600)))))
    exact, drawn = comparing.delong(first, second), comparing.paired_bootstrap(first, second)
    assert drawn.difference == pytest.approx(exact.difference)
    assert drawn.high - drawn.low == pytest.approx(exact.high - exact.low, rel=0.1)


@pytest.mark.slow
def test_where_cells_are_not_independent_the_cellwise_tests_are_too_sure():
    """Two models that are equally good: 5 % of the tests should find a difference."""
    pairs = [
        comparing.compare(dict(zip("ab", study(seed, models=2), strict=True)), "auc", 200)
        for seed in range(30)
    ]
    found = (pd.concat(pairs)[["p_mcnemar", "p_delong", "p_subjects"]] < 0.05).sum()
    assert found["p_mcnemar"] > 6
    assert found["p_delong"] > 6
    assert found["p_subjects"] <= 4


def test_a_models_difference_from_itself_is_nothing():
    predictions = study(2)
    got = comparing.paired_bootstrap(predictions, predictions, resamples=100)
    assert got[2:5] == (0, 0, 0)
    assert got.p_value == 1


@pytest.mark.parametrize("metric", ["auc", "accuracy"])
def test_the_difference_turns_its_sign_with_its_order(metric):
    first, second = study(3, models=2)
    one = comparing.paired_bootstrap(first, second, metric, 200)
    other = comparing.paired_bootstrap(second, first, metric, 200)
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.low < one.difference < one.high
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_the_p_value_is_small_where_the_interval_leaves_zero_out(seed):
    first, second = study(seed, models=2)
    for better in (first, first.assign(score=first["score"] ** 0.5)):
        got = comparing.paired_bootstrap(better, second, "accuracy", 300)
        assert (got.p_value < 0.05) == (not got.low <= 0 <= got.high)


@pytest.mark.slow
def test_the_order_of_rows_plays_no_part():
    first, second = study(4, models=2)
    shuffled = second.sample(frac=1, random_state=0)
    for test in (comparing.delong, comparing.paired_bootstrap):
        assert test(first, shuffled) == pytest.approx(test(first, second))


def test_pairing_is_worth_its_while():
    """The shift a subject has under both models falls out of the paired difference alone."""
    first = study(5)
    noise = np.random.default_rng(0).normal(0, 0.1, len(first))
    second = first.assign(score=np.clip(first["score"] + noise, 0, 1))
    paired = comparing.paired_bootstrap(first, second)
    apart = comparing.unpaired_bootstrap(first, second)
    assert paired.difference == pytest.approx(apart.difference)
    assert apart.high - apart.low > 2 * (paired.high - paired.low)


def test_two_splits_are_compared_with_the_subjects_of_each():
    random, subject = study(6, subjects=60, parting=2), study(7, subjects=25, parting=0.6)
    got = comparing.unpaired_bootstrap(random, subject, "accuracy")
    assert got.low > 0
    assert got.p_value < 0.05
    own = [metrics.bootstrap_interval(t, "accuracy") for t in (random, subject)]
    wide = np.hypot(*(high - low for low, high in own))
    assert got.high - got.low == pytest.approx(wide, rel=0.15)


@pytest.mark.slow
def test_every_pair_is_compared_and_corrected():
    models = dict(zip("abcd", study(8, models=4), strict=True))
    found = comparing.compare(models, resamples=100)
    assert len(found) == 6
    wanted = multitest.multipletests(found["p_subjects"], method="holm")[1]
    assert found["p_holm"].tolist() == pytest.approx(wanted.tolist())
    alone = comparing.paired_bootstrap(models["b"], models["d"], resamples=100)
    pair = found[(found["first"] == "b") & (found["second"] == "d")].iloc[0]
    assert tuple(pair[["difference", "low", "high", "p_subjects"]]) == alone[2:]
    a, b = ((one["score"] >= 0.5) == (one["label"] == "all") for one in (models["a"], models["b"]))
    counts = [[sum(a & b), sum(a & ~b)], [sum(~a & b), sum(~a & ~b)]]
    exact = contingency_tables.mcnemar(counts, exact=counts[0][1] + counts[1][0] < 25)
    assert found["p_mcnemar"][0] == pytest.approx(exact.pvalue)
    with pytest.raises(PredictionsError, match="two models"):
        comparing.compare({"a": models["a"]})


def test_speed_of_comparing_eleven_models(benchmark):
    """As chapter 14 does in the profile `full`, on its 60 subjects."""
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    models = {str(place): one for place, one in enumerate(study(9, 60, models=11))}
    found = benchmark.pedantic(comparing.compare, (models,), {"resamples": 2000}, rounds=1)
    assert len(found) == 55


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[1:], r"'second' lacks 1 images that 'first' has, first 'i0'"),
        (
            lambda t: t.assign(image_id=["x", *t["image_id"][1:]]),
            "'second' lacks 1 images that 'first' has, first 'i0'",
        ),
        (
            lambda t: t.assign(label=["mm", *t["label"][1:]]),
            r"label of 1 images.*'i0' \('mm' and 'all'",
        ),
        (lambda t: t.assign(split="test"), "split of 4 images.*'i0'.*not of the same split"),
        (lambda t: t.assign(subject=["z", *t["subject"][1:]]), "subject of 1 images.*'i0'"),
        (lambda t: t.assign(score=[np.nan, *t["score"][1:]]), "not probabilities"),
        (lambda t: t.assign(image_id="same"), "repeat an image"),
        (lambda t: t[:0], "no rows"),
    ],
)
@pytest.mark.parametrize(
    "test",
    [
        comparing.delong,
        comparing.paired_bootstrap,
        lambda *t: comparing.compare(dict(enumerate(t))),
    ],
    ids=lambda f: f.__name__,
)
def test_tables_that_do_not_match_are_refused_by_name(test, change, message):
    predictions = table([1, 0, 1, 0], [0.9, 0.2, 0.6, 0.4])
    with pytest.raises(ValueError, match=message):
        test(predictions, change(predictions))


def test_surplus_rows_of_the_second_are_named_as_the_firsts_lack():
    predictions = table([1, 0, 1, 0], [0.9, 0.2, 0.6, 0.4])
    with pytest.raises(PredictionsError, match=r"'first' lacks 1 .*'i3'"):
        comparing.paired(predictions[:3], predictions)


@pytest.mark.slow
def test_mcnemar_counts_the_images_that_one_model_alone_has_right():
    truth = np.ones(236)
    # Agresti, Categorical Data Analysis, 10.1.1: 150 and 86 changed their mind.
    first = table(truth, np.repeat([1, 0], [150, 86]))
    got = comparing.compare({"a": first, "b": first.assign(score=1 - first["score"])}, "accuracy")
    assert got["p_mcnemar"][0] == pytest.approx(4.1e-5, rel=0.02)
    # Three and one: by the binomial distribution 5 of 8 outcomes are as far apart.
    few = table(np.ones(9), [1, 1, 1, 0, 1, 1, 1, 0, 0])
    other = few.assign(score=[0, 0, 0, 1, 1, 1, 1, 0, 0])
    assert comparing.compare({"a": few, "b": other}, "accuracy")["p_mcnemar"][0] == 0.625
    assert comparing.compare({"a": few, "b": few}, "accuracy")["p_mcnemar"][0] == 1


def test_what_one_class_or_one_subject_leaves_open():
    one_class = table([1, 1, 1], [0.9, 0.2, 0.8])
    with pytest.raises(PredictionsError, match="two images of each class"):
        comparing.delong(one_class, one_class)
    open_auc = comparing.paired_bootstrap(one_class, one_class, resamples=20)
    assert np.isnan(open_auc.difference)
    assert np.isnan(open_auc.p_value)
    one_subject = table([1, 0, 1, 0], [0.9, 0.2, 0.6, 0.4], ["s"] * 4)
    got = comparing.paired_bootstrap(one_subject, one_subject, "accuracy", resamples=20)
    assert got.difference == 0
    assert np.isnan([got.low, got.high, got.p_value]).all()
    pairs = comparing.compare({"a": one_subject, "b": one_subject}, "accuracy", resamples=20)
    assert np.isnan(pairs["p_holm"][0])
    apart = comparing.unpaired_bootstrap(one_subject, study(1), "accuracy", resamples=20)
    assert np.isnan([apart.low, apart.high, apart.p_value]).all()


def test_no_difference_reaches_further_than_it_can():
    """Two subjects of a class make the bounds of a small study run far beyond 1."""
    truth = [0, 0, 1, 1] * 3
    people = ["a", "a", "b", "b", "c", "c", "d", "d", "a", "a", "b", "b"]
    people = [f"{who}{label}" for who, label in zip(people, truth, strict=True)]
    first = table(truth, [0.1, 0.9, 0.8, 0.2] * 3, people)
    second = table(truth, [0.9, 0.2, 0.4, 0.7, 0.1, 0.6, 0.9, 0.2, 0.8, 0.7, 0.1, 0.6], people)
    for compare in (comparing.paired_bootstrap, comparing.unpaired_bootstrap):
        found = compare(first, second, "accuracy", resamples=200)
        assert -1 <= found.low <= found.difference <= found.high <= 1


def test_few_images_without_variance_prove_nothing():
    perfect = table([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    for scores in ([0.5] * 4, [0.1, 0.2, 0.8, 0.9]):
        found = comparing.delong(perfect, table([1, 1, 0, 0], scores))
        assert found.difference in (0.5, 1.0)
        assert np.isnan([found.p_value, found.low, found.high]).all()
