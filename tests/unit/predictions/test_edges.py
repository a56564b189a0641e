"""Statistics at the edge: a handful of images, one class, all right, all wrong, all the same.

A number is right or it is NaN: no p-value is 0, and no interval is without width.
"""

from __future__ import annotations

import itertools
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from helpers.base.errors import PredictionsError
from helpers.predictions import calibration, comparing, curves, ensembling, metrics, thresholds
from helpers.report.templates import number
from tests.unit.evaluation_tables import table

#: Truth, scores and subjects of small studies.
STUDIES = {
    "one image": ([1], [0.9], ["a"]),
    "two images": ([0, 1], [0.2, 0.9], ["a", "b"]),
    "one subject": ([0, 1, 1], [0.2, 0.9, 0.4], ["a", "a", "a"]),
    "two subjects": ([0, 0, 1, 1], [0.2, 0.6, 0.9, 0.4], ["a", "a", "b", "b"]),
    "a class of one subject": ([0, 1, 1, 1], [0.2, 0.9, 0.8, 0.3], ["a", "b", "c", "d"]),
    "all right": ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], ["a", "b", "c", "d"]),
    "all wrong": ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], ["a", "b", "c", "d"]),
    "one class": ([1, 1, 1], [0.2, 0.9, 0.8], ["a", "b", "c"]),
    "the other class": ([0, 0, 0], [0.2, 0.9, 0.8], ["a", "b", "c"]),
    "constant": ([0, 1, 0, 1], [0.5] * 4, ["a", "b", "c", "d"]),
    "constant 0": ([0, 1, 0, 1], [0.0] * 4, ["a", "b", "c", "d"]),
    "constant 1": ([0, 1, 0, 1], [1.0] * 4, ["a", "b", "c", "d"]),
    "ties": ([0, 1, 0, 1, 1, 0], [0.3, 0.3, 0.7, 0.7, 0.3, 0.7], list("abcdef")),
    "half right in each subject": ([0, 1] * 3, [0.2, 0.2, 0.9, 0.9, 0.1, 0.1], list("aabbcc")),
    "zeros and ones": ([0, 1, 0, 1], [0.0, 1.0, 1.0, 0.0], ["a", "b", "c", "d"]),
}


def a(name):
    return table(*STUDIES[name])


def sound(low, value, high, least=0, most=1):
    """Return whether an interval holds its value and has a width, or is undefined as a whole."""
    if np.isnan(low) and np.isnan(high):
        return True
    return least <= low <= value <= high <= most and high - low > 1e-6


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.slow
@pytest.mark.parametrize("method", ["t", "percentile"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_interval_of_a_report_has_a_width_or_is_undefined(name, method):
    predictions = a(name)
    for by in ("subject", "image_id"):
        report = metrics.report(predictions, resamples=60, by=by, method=method)
        for row in report.itertuples():
            least = -1 if row.metric == "mcc" else 0
            assert sound(row.low, row.value, row.high, least), (row, by)
            assert np.isnan(row.low) == np.isnan(row.high)
        for texts in report[["value", "low", "high"]].map(number).to_numpy():
            assert all(text == "undefined" or float(text) >= -1 for text in texts)
    for row in metrics.per_subject(predictions).itertuples():
        assert sound(row.low, row.accuracy, row.high)
        wilson = stats.binomtest(row.right, row.images).proportion_ci(method="wilson")
        assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_value_is_scikit_learns_or_undefined(name):
    predictions = a(name)
    truth, score = predictions["positive"].to_numpy(), predictions["score"].to_numpy()
    called = (score >= 0.5).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {
            "accuracy": sk.accuracy_score(truth, called),
            "sensitivity": sk.recall_score(truth, called, zero_division=np.nan),
            "specificity": sk.recall_score(truth, called, pos_label=0, zero_division=np.nan),
            "precision": sk.precision_score(truth, called, zero_division=np.nan),
        }
        if len(set(truth)) == 2:
            theirs |= {
                "auc": sk.roc_auc_score(truth, score),
                "average_precision": sk.average_precision_score(truth, score),
                "mcc": sk.matthews_corrcoef(truth, called),
                "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
            }
    for metric, value in theirs.items():
        assert metrics.METRICS[metric](predictions) == pytest.approx(value, nan_ok=True), metric
    if len(set(truth)) < 2:
        assert np.isnan(metrics.auc(predictions))
        assert np.isnan(metrics.mcc(predictions))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_curves_calibration_and_thresholds_at_the_edge(name):
    predictions = a(name)
    for row in calibration.reliability(predictions, resamples=60).itertuples():
        assert sound(row.low, row.share, row.high)
        assert row.left - 1e-9 <= row.score <= row.right + 1e-9
    for row in calibration.report({"t": predictions}, resamples=60).itertuples():
        assert sound(row.brier_low, row.brier, row.brier_high)
        assert np.isfinite(row.log_loss)
        truth, score = predictions["positive"], predictions["score"]
        assert row.brier == pytest.approx(sk.brier_score_loss(truth, score))
    if predictions["positive"].nunique() < 2:
        for ask in (curves.band, thresholds.by_prevalence, thresholds.by_threshold):
            with pytest.raises(PredictionsError, match="both classes"):
                ask(predictions)
        return
    for kind in ("roc", "precision_recall"):
        for row in curves.band(predictions, kind, resamples=60, points=11).itertuples():
            known = kind == "roc" and row.x == 1  # called positive, all are found: no estimate
            assert known or sound(row.low, row.value, row.high), row
    for row in thresholds.by_prevalence(predictions, resamples=60).to_dict("records"):
        for what in ("ppv", "npv"):
            assert sound(row[f"{what}_low"], row[what], row[f"{what}_high"]), row
    grid = [0.0, 0.2, 0.5, 0.9, 1.0]
    for row in thresholds.by_threshold(predictions, grid, resamples=60).to_dict("records"):
        for what in thresholds.RATES:
            assert sound(row[f"{what}_low"], row[what], row[f"{what}_high"]), row
    assert 0.02 <= calibration.fit_temperature(predictions).value <= 50.01


@pytest.mark.slow
@pytest.mark.parametrize("first", STUDIES)
def test_no_comparison_is_certain(first):
    """Every other score on the same images, and the same ones."""
    one = a(first)
    rng = np.random.default_rng(1)
    others = [
        1 - one["score"],
        0.5,
        one["score"] * 0.5,
        one["score"],
        rng.random(len(one)).round(1),
    ]
    for score in others:
        other = one.assign(score=score)
        for compare, metric, span in (
            (comparing.paired_bootstrap, "accuracy", 1),
            (comparing.unpaired_bootstrap, "mcc", 2),
        ):
            got = compare(one, other, metric, resamples=20)
            assert np.isnan(got.p_value) or 0 < got.p_value <= 1
            same = compare is comparing.paired_bootstrap and one["score"].equals(other["score"])
            zero = (got.low, got.difference, got.high) == (0, 0, 0)
            assert (same and zero) or sound(got.low, got.difference, got.high, -span, span), got
        if one["positive"].value_counts().reindex([0, 1], fill_value=0).min() >= 2:
            got = comparing.delong(one, other)
            assert np.isnan(got.p_value) or 0 < got.p_value <= 1
            same = one["score"].equals(other["score"])
            assert same or sound(got.low, got.difference, got.high, -9, 9), got
    found = comparing.compare({"a": one, "b": one.assign(score=others[0])}, resamples=20)
    ps = found.filter(like="p_").to_numpy(dtype=float)
    assert (np.isnan(ps) | ((ps > 0) & (ps <= 1))).all()


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), itertools.product(range(4), range(4)))
def test_mcnemar_is_statsmodels_also_without_a_discordant_pair(one, other):
    truth = [1] * 8 + [0] * 2
    first = table(truth, [0.9] * one + [0.1] * other + [0.9] * (8 - one - other) + [0.1, 0.1])
    second = table(truth, [0.1] * one + [0.9] * other + [0.9] * (8 - one - other) + [0.1, 0.1])
    got = comparing.compare({"a": first, "b": second}, "accuracy", 20)["p_mcnemar"][0]
    assert got == pytest.approx(mcnemar([[0, one], [other, 0]], exact=True).pvalue)


@pytest.mark.slow
def test_far_out_a_p_value_is_tiny_and_not_0():
    rng = np.random.default_rng(0)
    truth = np.arange(6000) % 2
    good = table(truth, 0.05 + 0.9 * (truth ^ (rng.random(6000) < 0.01)) + rng.random(6000) / 100)
    bad = table(truth, rng.random(6000))
    assert 0 < comparing.delong(good, bad).p_value < 1e-100
    found = comparing.compare({"a": good, "b": bad}, "accuracy", 100)
    assert (found.filter(like="p_").to_numpy(dtype=float) > 0).all()


@pytest.mark.slow
def test_holm_counts_the_tests_that_were_possible():
    """As `p.adjust` of R: a pair without a p-value is no test."""
    rng = np.random.default_rng(5)
    truth = np.tile([0, 0, 1, 1], 10)
    tables = {name: table(truth, rng.random(40)) for name in "ab"}
    tables["c"] = table(truth, truth.astype(float))
    tables["d"] = table(truth, 1.0 - truth)  # c and d differ by 1 in every resample
    found = comparing.compare(tables, "accuracy", 200)
    known = found["p_subjects"].notna()
    assert 0 < (~known).sum() < len(found)
    assert found["p_holm"].isna().equals(~known)
    wanted = multipletests(found["p_subjects"][known], method="holm")[1]
    assert found["p_holm"][known].tolist() == pytest.approx(wanted.tolist())


@pytest.mark.parametrize("count", [1, 3, 7, 10, 20, 30])
def test_scores_on_every_edge_are_in_the_bin_that_begins_there(count):
    edges = [step / count for step in range(count + 1)]  # the numbers as a person writes them
    votes = [sum([1 / count] * step) for step in range(count + 1)]  # as an ensemble adds them up
    wanted = [*range(count), count - 1]
    assert calibration.bins_of(edges, count).tolist() == wanted
    assert calibration.bins_of(np.clip(votes, 0, 1), count).tolist() == wanted


def test_votes_of_ten_models_on_an_edge_are_called_positive():
    """0.1 ten times is not 1, and five times is 0.5 only by luck."""
    tables = {f"m{k}": table([0, 1], [0.1 * k, 1 - 0.1 * k]) for k in range(11)}
    assert ensembling.soft_vote(tables)["score"].tolist() == [0.5, 0.5]
    assert metrics.sensitivity(ensembling.soft_vote(tables)) == 1


def test_undefined_is_a_word():
    one = a("one image")
    low, high = metrics.bootstrap_interval(one, "auc", resamples=20)
    found = comparing.paired_bootstrap(one, one, resamples=20)
    assert f"{metrics.auc(one):.3f} [{low:+.2f}, {high}]" == "undefined [undefined, undefined]"
    assert f"{found.difference:+.3f}, p = {found.p_value:.4f}" == "undefined, p = undefined"
    assert np.isnan([low, high, pickle.loads(pickle.dumps(low))]).all()
    assert json.loads(json.dumps([low]))[0] != 0
    assert number(float("nan")) == "undefined"
    assert number(pd.Series([np.nan])[0]) == "undefined"
