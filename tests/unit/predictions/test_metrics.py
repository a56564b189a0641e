"""Metrics and intervals: scikit-learn's, known answers, and undefined ones."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from tests.unit.evaluation_tables import table


def clustered(subjects=20, each=30, seed=0):
    """Subjects whose own score shifts all their cells: cells are not independent."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), each)
    truth = subject < subjects // 2
    score = 0.45 + 0.1 * truth + rng.normal(0, 0.2, subjects)[subject]
    score = np.clip(score + rng.normal(0, 0.05, len(subject)), 0, 1)
    return table(truth, score, [f"s{name}" for name in subject])


REFERENCE = {
    "accuracy": lambda y, p, s: sk.accuracy_score(y, p),
    "balanced_accuracy": lambda y, p, s: sk.balanced_accuracy_score(y, p),
    "sensitivity": lambda y, p, s: sk.recall_score(y, p),
    "specificity": lambda y, p, s: sk.recall_score(y, p, pos_label=0),
    "precision": lambda y, p, s: sk.precision_score(y, p),
    "f1": lambda y, p, s: sk.f1_score(y, p),
    "weighted_f1": lambda y, p, s: sk.f1_score(y, p, average="weighted"),
    "mcc": lambda y, p, s: sk.matthews_corrcoef(y, p),
    "auc": lambda y, p, s: sk.roc_auc_score(y, s),
    "average_precision": lambda y, p, s: sk.average_precision_score(y, s),
}


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40).filter(
        lambda rows: len({truth for truth, _ in rows}) == 2 and any(s >= 4 for _, s in rows)
    )
)
def test_every_figure_is_scikit_learns(rows):
    assert set(REFERENCE) == set(metrics.METRICS)
    truth = np.array([row[0] for row in rows], dtype=int)
    score = np.array([row[1] for row in rows]) / 8  # coarse, so that there are ties
    predictions = table(truth, score)
    for name, reference in REFERENCE.items():
        got = metrics.METRICS[name](predictions)
        assert got == pytest.approx(reference(truth, score >= 0.5, score)), name


def test_the_figures_of_gohil():
    # papers/gohil_cnn: [[1049, 42], [26, 483]] of `all` (rows) and `hem`; ours has hem first.
    truth = [1] * 1091 + [0] * 509
    score = [0.9] * 1049 + [0.1] * 42 + [0.9] * 26 + [0.1] * 483
    predictions = table(truth, score)
    assert metrics.specificity(predictions) == 483 / 509
    assert metrics.sensitivity(predictions) == 1049 / 1091
    assert metrics.accuracy(predictions) == pytest.approx(0.9575)


def test_a_threshold_moves_the_figures():
    predictions = table([0, 0, 1, 1], [0.1, 0.6, 0.6, 0.9])
    assert metrics.specificity(predictions) == 0.5
    assert metrics.specificity(predictions, threshold=0.7) == 1
    assert metrics.sensitivity(predictions, threshold=0.7) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_the_fast_interval_is_the_slow_one(name):
    """Sums over subjects give what resampling the rows themselves gives."""
    predictions = clustered(subjects=8, each=6)
    slow = metrics.bootstrap_interval(
        predictions, lambda rows: metrics.METRICS[name](rows), resamples=40, method="percentile"
    )
    for metric in (name, metrics.METRICS[name]):
        quick = metrics.bootstrap_interval(predictions, metric, resamples=40, method="percentile")
        assert quick == pytest.approx(slow)


def test_an_interval_over_subjects_is_wider_than_one_over_their_cells():
    predictions = clustered()
    low, high = metrics.bootstrap_interval(predictions, "auc")
    narrow = metrics.bootstrap_interval(predictions, "auc", by="image_id")
    assert low < metrics.auc(predictions) < high
    assert high - low > 2 * (narrow[1] - narrow[0])


def test_an_interval_does_not_depend_on_the_order_of_rows():
    predictions = clustered()
    shuffled = predictions.sample(frac=1, random_state=1)
    for name in ("accuracy", "auc"):
        assert metrics.bootstrap_interval(predictions, name) == pytest.approx(
            metrics.bootstrap_interval(shuffled, name)
        )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["t", "percentile"])
@pytest.mark.parametrize("by", ["subject", "image_id"])
def test_a_report_holds_every_figure_inside_its_interval(method, by):
    predictions = clustered(subjects=20, each=10)
    report = metrics.report(predictions, resamples=300, method=method, by=by)
    assert list(report.columns) == ["metric", "value", "low", "high"]
    assert list(report["metric"]) == list(metrics.METRICS)
    assert (report["low"] <= report["value"]).all()
    assert (report["value"] <= report["high"]).all()
    for row in report.itertuples():
        alone = metrics.bootstrap_interval(predictions, row.metric, 300, by=by, method=method)
        assert (row.low, row.high) == pytest.approx(alone)
        assert row.value == pytest.approx(metrics.METRICS[row.metric](predictions))


def test_a_resample_draws_as_many_subjects_as_there_are_with_replacement():
    draws = resampling.draw(30, 4000, 1)
    assert draws.shape == (4000, 30)
    assert (draws.sum(axis=1) == 30).all()
    assert draws.mean(axis=0) == pytest.approx(1, abs=0.06)
    assert draws.var() == pytest.approx(1 - 1 / 30, abs=0.02)
    np.testing.assert_array_equal(draws[:5], resampling.draw(30, 5, 1))


def test_blocks_of_resamples_give_what_all_at_once_give(monkeypatch):
    predictions = clustered(subjects=10, each=8)
    whole = metrics.report(predictions, resamples=50)
    monkeypatch.setattr(resampling, "_BLOCK", 7 * len(predictions))
    pd.testing.assert_frame_equal(metrics.report(predictions, resamples=50), whole)


@pytest.mark.parametrize("by", ["subject", "image_id"])
def test_speed_of_a_report_of_2000_cells_and_2000_resamples(benchmark, by):
    """All ten figures with their intervals; wanted: under a second."""
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    predictions = clustered(subjects=40, each=50)
    report = benchmark(metrics.report, predictions, resamples=2000, by=by)
    assert len(report) == len(metrics.METRICS)


def test_the_interval_by_t_of_a_mean_is_the_textbooks():
    """Mean and t times standard error, where each subject is one number."""
    numbers = np.random.default_rng(0).beta(5, 5, 25)
    draws = resampling.draw(25, 10_000, 0)
    drawn = resampling.Resampled(numbers.mean(), draws @ numbers / 25, freedom=24)
    wanted = stats.t.interval(0.95, 24, numbers.mean(), stats.sem(numbers))
    assert drawn.interval("t") == pytest.approx(wanted, abs=0.002)
    shifted = resampling.Resampled(numbers.mean() - 0.4, draws @ numbers / 25 - 0.4, 24)
    assert shifted.p_value() == pytest.approx(stats.ttest_1samp(numbers, 0.4).pvalue, rel=0.1)


def test_intervals_by_t_stay_inside_what_a_figure_can_be():
    predictions = table([1] * 8 + [0] * 8, [0.9] * 8 + [0.1] * 7 + [0.6])
    report = metrics.report(predictions, resamples=300).set_index("metric")
    assert report[["low", "high"]].stack().between(-1, 1).all()
    assert report.loc["sensitivity", ["value", "high"]].tolist() == [1, 1]
    assert report.loc["specificity", "low"] > 0.3


@pytest.mark.parametrize("subjects", [2, 9, 40])
def test_without_a_failure_the_interval_is_that_of_as_many_subjects(subjects):
    truth = [0, 1] * subjects
    people = [f"s{row // 2}" for row in range(2 * subjects)]
    right = table(truth, [0.1 + 0.8 * one for one in truth]).assign(subject=people)
    wrong = right.assign(score=1 - right["score"])
    limit = stats.binomtest(subjects, subjects).proportion_ci(0.95).low
    for metric in ("accuracy", "sensitivity", "auc"):
        low, high = metrics.bootstrap_interval(right, metric, resamples=100)
        assert (low, high) == (pytest.approx(limit), 1)
        low, high = metrics.bootstrap_interval(wrong, metric, resamples=100)
        assert (low, high) == (0, pytest.approx(1 - limit))
    low, _ = metrics.bootstrap_interval(right, "mcc", resamples=100)
    assert low == pytest.approx(2 * limit - 1)


def test_mcc_where_one_side_is_empty():
    assert metrics.mcc(table([0, 1], [0.9, 0.9])) == 0  # all called positive, as scikit-learn
    assert np.isnan(metrics.mcc(table([1, 1], [0.1, 0.9])))  # all are positive
    assert metrics.mcc(table([0, 1], [0.1, 0.9])) == 1
    assert metrics.mcc(table([0, 1], [0.9, 0.1])) == -1


def test_all_scores_equal():
    predictions = table([0, 1, 1, 0, 1], [0.5] * 5)
    assert metrics.auc(predictions) == 0.5
    assert metrics.average_precision(predictions) == pytest.approx(0.6)
    for method in ("t", "percentile"):  # five images do not make it certain
        assert np.isnan(metrics.bootstrap_interval(predictions, "auc", 50, method=method)).all()


def test_two_thousand_subjects():
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.3
    score = np.clip(0.3 * truth + rng.random(4000) * 0.7, 0, 1)
    predictions = table(truth, score, [f"s{k // 2}" for k in range(4000)])
    for method in ("t", "percentile"):
        report = metrics.report(predictions, resamples=100, method=method).set_index("metric")
        assert (report["high"] - report["low"]).between(0.005, 0.1).all()
    assert len(metrics.per_subject(predictions)) == 2000


def test_each_subject_has_its_row():
    predictions = table(
        [1, 1, 1, 0, 0, 1], [0.9, 0.8, 0.1, 0.2, 0.3, 0.7], ["b", "b", "b", "H1", "H1", "H1"]
    )
    got = metrics.per_subject(predictions)
    assert got["subject"].tolist() == ["H1", "b"]
    assert got["label"].tolist() == ["all/hem", "all"]
    assert got["images"].tolist() == [3, 3]
    assert got["right"].tolist() == [3, 2]
    assert got["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    assert got["score"].tolist() == pytest.approx([0.4, 0.6])
    assert got["predicted_positive"].tolist() == pytest.approx([1 / 3, 2 / 3])
    for row in got.itertuples():
        limits = proportion_confint(row.right, row.images, 0.05, method="wilson")
        assert (row.low, row.high) == pytest.approx(limits)
    high = metrics.per_subject(predictions, threshold=0.85)
    assert high["accuracy"].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_wilsons_interval_stays_inside_0_to_1():
    truth = [1] * 7 + [0] * 3
    got = metrics.per_subject(table(truth, [0.9] * 10, ["a"] * 7 + ["b"] * 3))
    assert got["high"][0] == 1
    assert f"{got['low'][1]:.3f}" == "0.000"  # and not -0.000


def test_accuracy_over_all_subjects_is_the_mean_by_images():
    predictions = clustered(subjects=7, each=9)
    got = metrics.per_subject(predictions)
    mean = np.average(got["accuracy"], weights=got["images"])
    assert mean == pytest.approx(metrics.accuracy(predictions))


def test_one_class_leaves_open_what_needs_two():
    predictions = table([1, 1, 1, 1], [0.9, 0.8, 0.2, 0.7])
    report = metrics.report(predictions, resamples=50).set_index("metric")["value"]
    assert report["accuracy"] == report["sensitivity"] == 0.75
    assert report[["specificity", "balanced_accuracy", "auc"]].isna().all()
    assert np.isnan(metrics.bootstrap_interval(predictions, "auc")).all()


def test_a_class_of_one_subject_has_no_interval():
    """How much subjects differ cannot be told from one; the percentiles do not notice."""
    predictions = table([0, 0, 1, 1, 1, 1], [0.2, 0.6, 0.9, 0.4, 0.7, 0.8], list("aabbcc"))
    report = metrics.report(predictions, resamples=50).set_index("metric")["low"]
    assert report[["specificity", "auc", "balanced_accuracy", "average_precision"]].isna().all()
    assert report[["accuracy", "sensitivity", "weighted_f1"]].notna().all()


def test_one_class_of_all_against_mm_is_not_taken_for_that_of_all_against_hem():
    """`all` is negative beside `mm`; a resample without `mm` must not turn it positive."""
    predictions = table([0, 0, 1], [0.1, 0.2, 0.9]).assign(label=["all", "all", "mm"])

    def called(rows):
        return metrics.specificity(rows)

    cluster, draws = metrics.draw(predictions, 60, 24)
    assert (resampling.of_any(predictions, called, cluster, draws).known == 1).all()


def test_one_subject_has_no_interval():
    predictions = table([0, 1], [0.2, 0.8], ["s1", "s1"])
    assert np.isnan(metrics.bootstrap_interval(predictions, "accuracy")).all()
    assert metrics.accuracy(predictions) == 1


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda t: t.assign(score=[0.5, np.nan]), r"not probabilities.* first nan of 'i1'"),
        (lambda t: t.assign(score=[0.5, 1.5]), "not probabilities"),
        (lambda t: t.assign(image_id="same"), "repeat an image"),
        (lambda t: t.drop(columns="score"), r"lack the columns \['score'\]"),
        (lambda t: t[:0], "no rows"),
        (lambda t: t.assign(label="unlabelled"), "unlabelled"),
        (lambda t: t.assign(label=["all", np.nan]), r"1 rows .* no label, first 'i1'"),
        (lambda t: t.assign(subject=[None, "b"]), r"1 rows .* no subject, first 'i0'"),
        (lambda t: t.assign(score=["0.5", "high"]), "not probabilities.* high of 'i1'"),
        (lambda t: t.assign(positive=[0, 2]), "neither 0 nor 1, first 2"),
        (lambda t: t.assign(positive=[0, None]), "For 1 rows it is unknown"),
        (lambda t: t.drop(columns="positive"), r"lack the columns \['positive'\]"),
    ],
)
def test_what_is_not_a_table_of_predictions_is_refused(broken, message):
    predictions = table([0, 1], [0.2, 0.8])
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(broken(predictions))
    for figure in (metrics.report, metrics.per_subject):
        with pytest.raises(ValueError, match=message):
            figure(broken(predictions))
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(broken(predictions), "accuracy")


def test_unknown_names_are_refused():
    predictions = table([0, 1], [0.2, 0.8])
    with pytest.raises(PredictionsError, match="no metric 'acuracy'; known are accuracy"):
        metrics.bootstrap_interval(predictions, "acuracy")
    with pytest.raises(PredictionsError, match="no column 'patient'"):
        metrics.bootstrap_interval(predictions, "accuracy", by="patient")
    with pytest.raises(PredictionsError, match="no interval by 'bayes'"):
        metrics.report(predictions, method="bayes")
    with pytest.raises(PredictionsError, match=r"resamples must be a whole number from 1 .* 0"):
        metrics.bootstrap_interval(predictions, "accuracy", resamples=0)


def test_several_positive_classes_are_one_side():
    predictions = table([0, 1, 1], [0.1, 0.9, 0.8]).assign(label=["benign", "early", "pro"])
    assert metrics.sensitivity(predictions) == metrics.specificity(predictions) == 1


def test_the_auc_within_folds_does_not_compare_scores_of_different_folds():
    truth, fold = np.tile([0, 1], 20), np.repeat([0, 1, 2, 3], 10)
    own = np.random.default_rng(4).uniform(0.1, 0.3, 40) + 0.05 * truth
    found, moved = (
        table(truth, own + shift, ["s"] * 40).assign(fold=fold) for shift in (0, 0.2 * fold)
    )
    assert metrics.auc_within(moved) == pytest.approx(metrics.auc_within(found))
    assert metrics.auc(moved) < metrics.auc(found)
    each = [sk.roc_auc_score(truth[fold == n], own[fold == n]) for n in range(4)]
    assert metrics.auc_within(found) == pytest.approx(np.mean(each))


def test_a_fold_of_one_class_has_no_auc_within():
    mixed = table([0, 1, 1, 1], [0.2, 0.9, 0.1, 0.1], ["s"] * 4).assign(fold=[0, 0, 1, 1])
    assert metrics.auc_within(mixed) == 1
    assert np.isnan(metrics.auc_within(mixed[2:]))
    with pytest.raises(PredictionsError, match="no column 'part' to group by"):
        metrics.auc_within(mixed, "part")
