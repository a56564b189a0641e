"""Thresholds and predictive values: known answers, definitions checked by brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import PredictionsError
from helpers.predictions import calibration, metrics, thresholds
from tests.unit.evaluation_tables import study, table

mixed = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=40).filter(
    lambda rows: len({row[0] for row in rows}) == 2
)


def made(rows):
    return table([row[0] for row in rows], [row[1] / 10 for row in rows])


def test_a_threshold_on_paper():
    validation = table([1] * 5 + [0] * 5, [0.9, 0.8, 0.6, 0.4, 0.1, 0.7, 0.5, 0.3, 0.2, 0.05])
    assert thresholds.threshold_for(validation, sensitivity=0.8) == 0.4
    assert thresholds.threshold_for(validation, sensitivity=0.81) == 0.1
    assert thresholds.threshold_for(validation, sensitivity=1) == 0.1


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(mixed, st.integers(1, 100))
def test_the_threshold_is_the_largest_that_reaches_the_sensitivity(rows, percent):
    validation, wanted = made(rows), percent / 100
    cut = thresholds.threshold_for(validation, sensitivity=wanted)
    assert metrics.sensitivity(validation, cut) >= wanted - 1e-9
    assert metrics.sensitivity(validation, np.nextafter(cut, 2)) < wanted - 1e-9
    # Any threshold that reaches it leaves no more negatives alone.
    for other in np.arange(0, 12) / 10:
        if metrics.sensitivity(validation, other) >= wanted - 1e-9:
            assert metrics.specificity(validation, other) <= metrics.specificity(validation, cut)


def test_tied_positives_are_found_together():
    validation = table([1, 1, 1, 1, 0], [0.9, 0.5, 0.5, 0.5, 0.5])
    cut = thresholds.threshold_for(validation, sensitivity=0.5)
    assert cut == 0.5
    assert metrics.sensitivity(validation, cut) == 1
    assert metrics.specificity(validation, cut) == 0


def test_a_wish_of_seven_in_a_hundred_is_seven():
    # 0.07 x 100 is 7.000000000000001: eight positives would be one too many.
    validation = table([1] * 100 + [0], [*np.arange(1, 101) / 100, 0])
    assert thresholds.threshold_for(validation, sensitivity=0.07) == 0.94


def test_all_scores_equal_leave_one_threshold():
    validation = table([0, 1, 1], [0.4, 0.4, 0.4])
    assert thresholds.threshold_for(validation, sensitivity=0.9) == 0.4


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (0, "sensitivity must be above 0"),
        (95, "sensitivity must be above 0 and at most 1; got 95"),
        (float("nan"), "got nan"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(wish, message):
    with pytest.raises(PredictionsError, match=message):
        thresholds.threshold_for(table([0, 1], [0.1, 0.9]), wish)


@pytest.mark.parametrize(
    "choose",
    [
        lambda rows: thresholds.threshold_for(rows, sensitivity=0.9),
        calibration.fit_temperature,
    ],
)
def test_nothing_is_chosen_on_test_rows(choose):
    rows = table([0, 1, 0, 1], [0.1, 0.9, 0.4, 0.6])
    choose(rows)
    mixed = rows.assign(split=["val", "val", "val", "test"])
    with pytest.raises(PredictionsError, match="chosen on validation rows, but 1 of 4 rows are of"):
        choose(mixed)


def test_a_missing_class_or_row_is_told():
    with pytest.raises(PredictionsError, match="is positive, so its sensitivity is undefined"):
        thresholds.threshold_for(table([0, 0], [0.1, 0.9]), sensitivity=0.9)
    with pytest.raises(PredictionsError, match="no rows"):
        thresholds.threshold_for(table([], []), sensitivity=0.9)
    for figure in (thresholds.by_prevalence, thresholds.by_threshold):
        with pytest.raises(PredictionsError, match="both classes; all 2 rows are positive"):
            figure(table([1, 1], [0.1, 0.9]))


def test_predictive_values_of_a_textbook():
    # Sensitivity 0.9, specificity 0.91, one in a hundred ill: 9 in 98.1 alarms are true.
    ppv, npv = thresholds.predictive_values(0.9, 0.91, 0.01)
    assert ppv == pytest.approx(0.009 / (0.009 + 0.0891))
    assert npv == pytest.approx(0.9009 / (0.9009 + 0.001))
    assert thresholds.predictive_values(1, 1, 0.3) == (1, 1)
    assert thresholds.predictive_values(0.5, 0.5, 0.2) == pytest.approx((0.2, 0.8))
    assert np.isnan(thresholds.predictive_values(0, 1, 0.5)[0])
    with pytest.raises(PredictionsError, match="prevalence must be from 0 to 1"):
        thresholds.predictive_values(0.9, 0.9, 20)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 50), st.integers(0, 50))
def test_bayes_gives_back_the_counted_values_at_the_tables_own_prevalence(tp, fn, tn, fp):
    predictions = table([1] * (tp + fn) + [0] * (tn + fp), [1] * tp + [0] * (fn + tn) + [1] * fp)
    share = (tp + fn) / len(predictions)
    ppv, npv = thresholds.predictive_values(
        metrics.sensitivity(predictions), metrics.specificity(predictions), share
    )
    assert ppv == pytest.approx(metrics.precision(predictions))
    assert npv == pytest.approx(tn / (tn + fn))


def test_predictive_values_by_prevalence_have_intervals_that_hold_them():
    predictions = study(3)
    told = thresholds.by_prevalence(predictions, 0.6, resamples=300)
    assert told["prevalence"].tolist() == list(thresholds.PREVALENCES)
    sensitivity = metrics.sensitivity(predictions, 0.6)
    specificity = metrics.specificity(predictions, 0.6)
    wanted = thresholds.predictive_values(sensitivity, specificity, told["prevalence"].to_numpy())
    for name, values in zip(("ppv", "npv"), wanted, strict=True):
        assert told[name].tolist() == pytest.approx(values.tolist())
        assert (told[f"{name}_low"] < told[name]).all()
        assert (told[name] < told[f"{name}_high"]).all()
        assert told[[f"{name}_low", f"{name}_high"]].stack().between(0, 1).all()
    assert told["ppv"].is_monotonic_increasing
    assert told["npv"].is_monotonic_decreasing


def test_the_share_of_positives_in_the_table_plays_no_part():
    predictions = study(4)
    doubled = predictions[predictions["label"] == "all"]
    more = doubled.assign(image_id="more" + doubled["image_id"])
    both = pd.concat([predictions, more])
    one, other = (thresholds.by_prevalence(t, resamples=20)["ppv"] for t in (predictions, both))
    assert one.tolist() == pytest.approx(other.tolist())


def test_the_table_by_threshold_is_the_report_at_each_threshold():
    predictions = study(5)
    told = thresholds.by_threshold(predictions, [0.3, 0.5, 0.8], resamples=100)
    for row in told.to_dict("records"):
        report = metrics.report(
            predictions, ["sensitivity", "specificity"], 100, threshold=row["threshold"]
        ).set_index("metric")
        for name in ("sensitivity", "specificity"):
            assert [row[name], row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(
                report.loc[name].tolist()
            )
    assert told["sensitivity"].is_monotonic_decreasing
    assert told["specificity"].is_monotonic_increasing
    assert len(thresholds.by_threshold(predictions, resamples=10)) == 49
