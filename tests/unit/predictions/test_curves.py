"""Curves are scikit-learn's, and their bands hold what resampling the rows gives."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from helpers.base.errors import PredictionsError
from helpers.predictions import curves, metrics, resampling
from tests.unit.evaluation_tables import study, table

mixed = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40).filter(
    lambda rows: len({row[0] for row in rows}) == 2
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(mixed)
def test_both_curves_are_scikit_learns(rows):
    truth, score = np.array([r[0] for r in rows], int), np.array([r[1] for r in rows]) / 8
    ours = curves.roc(table(truth, score))
    missed, found, cuts = sk.roc_curve(truth, score, drop_intermediate=False)
    assert ours["false_positive_rate"].tolist() == pytest.approx(missed.tolist())
    assert ours["sensitivity"].tolist() == pytest.approx(found.tolist())
    assert ours["threshold"].tolist() == cuts.tolist()
    ours = curves.precision_recall(table(truth, score))[::-1]
    precision, recall, cuts = sk.precision_recall_curve(truth, score)
    assert ours["precision"].tolist() == pytest.approx(precision[:-1].tolist())
    assert ours["sensitivity"].tolist() == pytest.approx(recall[:-1].tolist())
    assert ours["threshold"].tolist() == cuts.tolist()


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(mixed)
def test_the_areas_of_the_tables_are_the_metrics(rows):
    predictions = table([r[0] for r in rows], [r[1] / 8 for r in rows])
    roc = curves.roc(predictions)
    area = np.sum(
        np.diff(roc["false_positive_rate"])
        * (roc["sensitivity"].to_numpy()[1:] + roc["sensitivity"].to_numpy()[:-1])
        / 2
    )
    assert area == pytest.approx(metrics.auc(predictions))
    steps = curves.precision_recall(predictions)
    rises = np.diff(steps["sensitivity"], prepend=0)
    total = np.sum(rises * steps["precision"])
    assert total == pytest.approx(metrics.average_precision(predictions))


def test_the_height_of_a_curve_on_paper():
    predictions = table([1, 0, 1, 0], [0.9, 0.7, 0.6, 0.2])
    roc = curves.band(predictions, "roc", resamples=5, points=5)
    assert roc["x"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert roc["value"].tolist() == pytest.approx([0.5, 0.5, 1, 1, 1])
    pr = curves.band(predictions, "precision_recall", resamples=5, points=5)
    assert pr["x"].tolist() == [0.25, 0.5, 0.75, 1]
    assert pr["value"].tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["roc", "precision_recall"])
def test_a_band_is_what_curves_of_drawn_subjects_are(kind, monkeypatch):
    """The percentiles at each place, of tables made row by row."""
    by_percentiles = functools.partialmethod(resampling.Resampled.interval, "percentile")
    monkeypatch.setattr(resampling.Resampled, "interval", by_percentiles)
    monkeypatch.setattr(curves, "_smoothed", lambda low, *_: low)
    predictions = study(0, subjects=12, each=(3, 8), parting=0.2)
    band = curves.band(predictions, kind, resamples=60, points=11)
    cluster, draws = metrics.draw(predictions, 60, 24)
    heights = []
    for draw in draws:
        rows = np.repeat(np.arange(len(cluster)), draw[cluster])
        part = predictions.iloc[rows].assign(image_id=[str(k) for k in range(len(rows))])
        if part["label"].nunique() < 2:
            continue  # has no curve
        one = curves.band(part, kind, resamples=1, points=11)
        heights.append(one["value"].to_numpy())
    low, high = np.quantile(heights, [0.025, 0.975], axis=0)
    wide = high > low  # an interval without width is another one, or none
    assert wide.sum() > 6
    assert band["low"][wide].tolist() == pytest.approx(low[wide].tolist())
    assert band["high"][wide].tolist() == pytest.approx(high[wide].tolist())


@pytest.mark.parametrize("kind", ["roc", "precision_recall"])
def test_a_band_lies_about_its_curve(kind):
    predictions = study(1)
    band = curves.band(predictions, kind, resamples=200)
    assert band[["value", "low", "high"]].stack().between(0, 1).all()
    inside = (band["low"] <= band["value"]) & (band["value"] <= band["high"])
    assert inside.mean() > 0.95
    each_its_own = predictions.assign(subject=predictions["image_id"])
    naive = curves.band(each_its_own, kind, resamples=200)
    wide = (band["high"] - band["low"]).mean()
    assert wide > 1.5 * (naive["high"] - naive["low"]).mean()


@pytest.mark.parametrize(("subjects", "parting"), [(60, 1.5), (14, 2), (20, 1.2)])
def test_where_a_curve_is_at_its_top_the_band_is_neither_pinched_nor_torn(subjects, parting):
    """There hardly a resample holds a failure: their spread says nothing of what may come."""
    predictions = study(0, subjects=subjects, parting=parting)
    roc = curves.band(predictions, resamples=200)
    top = roc["value"] == 1
    assert top.sum() > 10
    # A sensitivity at more false alarms is no lower than at fewer.
    assert (np.diff(roc["low"])[top[1:]] >= 0).all()
    pure = curves.band(predictions, "precision_recall", resamples=200)
    top = pure["value"] == 1
    assert top.sum() > 10
    classes = predictions.groupby("label")["subject"].nunique().min()
    limit = stats.binomtest(classes, classes).proportion_ci(0.95).low
    # Where images were called wrongly one is no surer than where none was.
    assert (pure["low"] <= limit + 1e-9).all()


def test_who_calls_all_positive_finds_all_for_sure():
    """Where no subject is missed, an interval leaves room below 1; here there is none to leave."""
    band = curves.band(study(3, subjects=9), resamples=50)
    assert band.iloc[-1].tolist() == [1, 1, 1, 1]


def test_scores_all_equal_make_the_diagonal():
    predictions = table([0, 1, 0, 1], [0.5] * 4)
    assert curves.roc(predictions)["sensitivity"].tolist() == [0, 1]
    band = curves.band(predictions, resamples=20, points=3)
    assert band["value"].tolist() == [0, 0.5, 1]


def test_what_has_no_curve_is_told():
    for ask in (curves.roc, curves.precision_recall, curves.band):
        with pytest.raises(PredictionsError, match="both classes; all 2 rows are positive"):
            ask(table([1, 1], [0.2, 0.8]))
    with pytest.raises(PredictionsError, match="no kind of curve 'det'"):
        curves.band(table([0, 1], [0.2, 0.8]), "det")
    one_subject = curves.band(table([0, 1], [0.2, 0.8], ["s", "s"]), points=3)
    assert one_subject["low"].isna().all()
    assert one_subject["value"].notna().all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["roc", "precision_recall"])
def test_speed_of_a_band_of_2000_cells_and_2000_resamples(benchmark, kind):
    predictions = study(0, each=(50, 51))
    assert len(benchmark(curves.band, predictions, kind, resamples=2000)) >= 100
