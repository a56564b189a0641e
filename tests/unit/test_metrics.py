"""Figures and intervals: scikit-learn's, known answers, and what cannot be answered."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from helpers import metrics


def table(truth, score, subject=None):
    truth = np.asarray(truth, dtype=int)
    return pd.DataFrame(
        {
            "image_id": [f"i{place}" for place in range(len(truth))],
            "subject": [f"s{place}" for place in range(len(truth))] if subject is None else subject,
            "label": np.where(truth == 1, "all", "hem"),
            "split": "test",
            "score": np.asarray(score, dtype=float),
        }
    )


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
    "auc": lambda y, p, s: sk.roc_auc_score(y, s),
}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40).filter(
        lambda rows: len({truth for truth, _ in rows}) == 2 and any(s >= 4 for _, s in rows)
    )
)
def test_every_figure_is_scikit_learns(rows):
    truth = np.array([row[0] for row in rows], dtype=int)
    score = np.array([row[1] for row in rows]) / 8  # coarse, so that there are ties
    predictions = table(truth, score)
    for name, reference in REFERENCE.items():
        got = metrics.METRICS[name](predictions)
        assert got == pytest.approx(reference(truth, score >= 0.5, score)), name


def test_the_confusion_counts_of_gohil():
    # papers/gohil_cnn: [[1049, 42], [26, 483]] of `all` (rows) and `hem`; ours has hem first.
    truth = [1] * 1091 + [0] * 509
    score = [0.9] * 1049 + [0.1] * 42 + [0.9] * 26 + [0.1] * 483
    predictions = table(truth, score)
    assert metrics.confusion_counts(predictions).tolist() == [[483, 26], [42, 1049]]
    assert metrics.accuracy(predictions) == pytest.approx(0.9575)


def test_a_threshold_moves_the_counts():
    predictions = table([0, 0, 1, 1], [0.1, 0.6, 0.6, 0.9])
    assert metrics.confusion_counts(predictions, 0.7).tolist() == [[2, 0], [1, 1]]
    assert metrics.sensitivity(predictions, threshold=0.7) == 0.5


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


def test_an_interval_covers_as_often_as_it_says():
    """Of 200 studies with 30 subjects, about 95 % of the intervals hold the truth."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        right = rng.random((30, 20)) < rng.beta(8, 2, 30)[:, np.newaxis]  # 0.8 on average
        subject = np.repeat([f"s{k}" for k in range(30)], 20)
        predictions = table(np.ones(600), np.where(right.ravel(), 0.9, 0.1), subject)
        low, high = metrics.bootstrap_interval(predictions, "accuracy", resamples=400)
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_an_interval_does_not_depend_on_the_order_of_rows():
    predictions = clustered()
    shuffled = predictions.sample(frac=1, random_state=1)
    for name in ("accuracy", "auc"):
        assert metrics.bootstrap_interval(predictions, name) == pytest.approx(
            metrics.bootstrap_interval(shuffled, name)
        )


def test_a_report_of_2000_rows_and_2000_resamples_is_quick():
    predictions = clustered(subjects=40, each=50)
    begin = time.perf_counter()
    report = metrics.report(predictions, resamples=2000)
    assert time.perf_counter() - begin < 3
    assert list(report.columns) == ["metric", "value", "low", "high"]
    assert list(report["metric"]) == list(metrics.METRICS)
    assert (report["low"] <= report["value"]).all()
    assert (report["value"] <= report["high"]).all()


def test_one_class_leaves_open_what_needs_two():
    predictions = table([1, 1, 1, 1], [0.9, 0.8, 0.2, 0.7])
    report = metrics.report(predictions, resamples=50).set_index("metric")["value"]
    assert report["accuracy"] == report["sensitivity"] == 0.75
    assert report[["specificity", "balanced_accuracy", "auc"]].isna().all()
    assert np.isnan(metrics.bootstrap_interval(predictions, "auc")).all()


def test_one_subject_has_no_interval():
    predictions = table([0, 1], [0.2, 0.8], ["s1", "s1"])
    assert np.isnan(metrics.bootstrap_interval(predictions, "accuracy")).all()
    assert metrics.accuracy(predictions) == 1


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda t: t.assign(score=[0.5, np.nan]), r"not probabilities.*'?i1"),
        (lambda t: t.assign(score=[0.5, 1.5]), "not probabilities"),
        (lambda t: t.assign(image_id="same"), "repeat an image"),
        (lambda t: t.drop(columns="score"), r"lack the columns \['score'\]"),
        (lambda t: t[:0], "no rows"),
        (lambda t: t.assign(label="unlabelled"), "unlabelled"),
        (lambda t: t.assign(label=["cat", "dog"]), "cat"),
    ],
)
def test_what_is_not_a_table_of_predictions_is_refused(broken, message):
    predictions = table([0, 1], [0.2, 0.8])
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(broken(predictions))
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(broken(predictions), "accuracy")


def test_unknown_names_are_refused():
    predictions = table([0, 1], [0.2, 0.8])
    with pytest.raises(metrics.MetricsError, match="no figure 'acuracy'; known are accuracy"):
        metrics.bootstrap_interval(predictions, "acuracy")
    with pytest.raises(metrics.MetricsError, match="no column 'patient'"):
        metrics.bootstrap_interval(predictions, "accuracy", by="patient")
    with pytest.raises(metrics.MetricsError, match="level 95"):
        metrics.bootstrap_interval(predictions, "accuracy", level=95)


def test_several_positive_classes_are_one_side():
    predictions = table([0, 1, 1], [0.1, 0.9, 0.8]).assign(label=["benign", "early", "pro"])
    assert metrics.confusion_counts(predictions).tolist() == [[1, 0], [0, 2]]
