"""Calibration: known answers, slow definitions, and what fitting may and may not change."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn import metrics as sk

from helpers.base.errors import PredictionsError
from helpers.predictions import calibration, metrics
from helpers.predictions.table import check
from tests.unit.evaluation_tables import study, table

some = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60)


def made(rows):
    return table([row[0] for row in rows], [row[1] / 20 for row in rows])


def overconfident(seed, images=4000, factor=3.0):
    """Return scores whose logits are `factor` times as large as the truth bears out."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.02, 0.98, images)
    truth = rng.random(images) < probability
    return table(truth, expit(factor * logit(probability)), [f"s{k % 50}" for k in range(images)])


def slow_ece(truth, score, edges):
    """Sum over the bins as published: share of images x distance."""
    total = 0.0
    for k, (left, right) in enumerate(itertools.pairwise(edges)):
        last = k == len(edges) - 2
        inside = (score >= left) & ((score <= right) if last else (score < right))
        if inside.any():
            total += inside.mean() * abs(truth[inside].mean() - score[inside].mean())
    return total


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(some, st.integers(1, 12))
def test_ece_is_its_slow_definition(rows, count):
    predictions = made(rows)
    truth = (predictions["label"] == "all").to_numpy(float)
    score = predictions["score"].to_numpy()
    wanted = slow_ece(truth, score, np.linspace(0, 1, count + 1).round(12))
    assert calibration.ece(predictions, count) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(some, st.integers(1, 12))
def test_bins_hold_each_image_once_and_make_up_the_ece(rows, count):
    predictions = made(rows)
    bins = calibration.reliability(predictions, count, resamples=5)
    assert 1 <= len(bins) <= count
    assert bins["images"].sum() == len(rows)
    assert (bins["left"] < bins["right"]).all()
    assert bins["score"].between(bins["left"] - 1e-12, bins["right"] + 1e-12).all()
    gap = (bins["images"] * (bins["share"] - bins["score"]).abs()).sum() / len(rows)
    assert gap == pytest.approx(calibration.ece(predictions, count), abs=1e-12)


def test_ece_of_a_sum_on_paper():
    # Bin 0.2-0.4: mean score 0.3, one of two positive; bin 0.8-1: 0.9, both positive.
    predictions = table([1, 0, 1, 1], [0.25, 0.35, 0.85, 0.95])
    assert calibration.ece(predictions, 5) == pytest.approx((2 * 0.2 + 2 * 0.1) / 4)
    bins = calibration.reliability(predictions, 5)
    assert bins[["left", "right"]].to_numpy() == pytest.approx(np.array([[0.2, 0.4], [0.8, 1]]))
    assert bins["share"].tolist() == [0.5, 1]


def test_scores_of_exactly_one_and_zero_have_a_bin():
    bins = calibration.reliability(table([0, 1, 1], [0, 1, 1]), 10, 5)
    assert bins["images"].tolist() == [1, 2]
    assert bins["right"].tolist() == [0.1, 1]
    assert calibration.ece(table([0, 1, 1], [0, 1, 1])) == 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(some)
def test_brier_and_log_loss_are_scikit_learns(rows):
    predictions = made(rows)
    truth = (predictions["label"] == "all").to_numpy(int)
    score = predictions["score"].to_numpy()
    assert calibration.brier(predictions) == pytest.approx(np.mean((score - truth) ** 2))
    clipped = np.clip(score, calibration.CLIP, 1 - calibration.CLIP)
    wanted = sk.log_loss(truth, clipped, labels=[0, 1])
    assert calibration.log_loss(predictions) == pytest.approx(wanted)


def test_the_bars_of_a_bin_are_over_subjects():
    """One subject a bin has no bar; and cells as like as twins count as one."""
    lone = table([0, 1, 1, 0], [0.1, 0.1, 0.9, 0.9], ["a", "a", "b", "c"])
    bins = calibration.reliability(lone, 2)
    assert np.isnan(bins["low"][0])
    assert not np.isnan(bins["low"][1])
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.random(40) < 0.5, 25)
    predictions = table(truth, np.full(1000, 0.5), [f"s{k // 25}" for k in range(1000)])
    by_subject = calibration.reliability(predictions, 1)
    each_its_own = predictions.assign(subject=predictions["image_id"])
    by_cell = calibration.reliability(each_its_own, 1)
    width = [float((bins["high"] - bins["low"]).iloc[0]) for bins in (by_subject, by_cell)]
    assert width[0] == pytest.approx(5 * width[1], rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found_and_mends(factor):
    validation, test = overconfident(0, factor=factor), overconfident(1, factor=factor)
    fitted = calibration.fit_temperature(validation)
    assert fitted.value == pytest.approx(factor, rel=0.08)
    mended = fitted.apply(test)
    assert calibration.ece(mended) < 0.03
    assert metrics.auc(mended) == pytest.approx(metrics.auc(test))
    for threshold_free in (metrics.accuracy, metrics.mcc):  # 0.5 stays 0.5
        assert threshold_free(mended) == threshold_free(test)
    if factor == 3:
        told = calibration.report({"before": test, "after": mended}).set_index("table")
        assert told.loc["after", "ece"] < 0.2 * told.loc["before", "ece"]
        assert told.loc["after", "brier_high"] < told.loc["before", "brier"]
        assert told.loc["after", "log_loss"] < told.loc["before", "log_loss"]


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_no_other_temperature_has_a_smaller_loss(seed):
    validation = study(seed, subjects=8, each=(2, 9))
    best = calibration.fit_temperature(validation)
    least = calibration.log_loss(best.apply(validation))
    for value in np.geomspace(*calibration.TEMPERATURES, 25):
        assert (
            least <= calibration.log_loss(calibration.Temperature(value).apply(validation)) + 1e-7
        )


def test_a_perfect_table_stops_at_the_lowest_temperature():
    fitted = calibration.fit_temperature(table([0, 0, 1, 1], [0.2, 0.4, 0.6, 0.8]))
    assert fitted.value == pytest.approx(calibration.TEMPERATURES[0], rel=0.01)


def test_scores_that_no_temperature_moves_are_left_alone():
    assert calibration.fit_temperature(table([0, 1, 1], [0.5, 0.5, 0.5])).value == 1


def test_scores_of_zero_and_one_are_held_off_by_the_clip():
    """A sure miss costs what the clip allows, not infinity, and can be cooled."""
    predictions = table([0, 1, 1, 0] * 5, [0, 1, 0, 1] * 5)
    assert calibration.log_loss(predictions) == pytest.approx(-np.log(calibration.CLIP) / 2)
    fitted = calibration.fit_temperature(predictions)
    assert fitted.value == pytest.approx(calibration.TEMPERATURES[1], rel=0.01)
    score = fitted.apply(predictions)["score"]
    assert ((score > 0) & (score < 1)).all()
    halved = calibration.Temperature(2).apply(predictions)["score"]
    assert halved[0] == pytest.approx(expit(logit(calibration.CLIP) / 2))


def test_what_was_fitted_leaves_the_rest_of_the_table_alone():
    validation, test = study(0), study(1)
    kept = test.copy()
    mended = calibration.fit_temperature(validation).apply(test)
    assert test.equals(kept)
    assert mended.drop(columns="score").equals(test.drop(columns="score"))
    assert check(mended) is mended
    blank = test.assign(label="unlabelled", positive=pd.NA)
    unlabelled = calibration.fit_temperature(validation).apply(blank)
    assert unlabelled["score"].equals(mended["score"])


def test_nothing_is_fitted_on_one_class_or_on_what_is_no_table():
    with pytest.raises(PredictionsError, match=r"both classes.*all 3 rows.*positive"):
        calibration.fit_temperature(table([1, 1, 1], [0.2, 0.6, 0.7]))
    with pytest.raises(PredictionsError, match="no rows"):
        calibration.fit_temperature(table([], []))
    with pytest.raises(PredictionsError, match="not probabilities"):
        calibration.fit_temperature(table([0, 1], [0.2, np.nan]))


def test_bins_that_are_none_are_refused():
    predictions = table([0, 1], [0.2, 0.8])
    for figure in (calibration.ece, calibration.reliability):
        with pytest.raises(PredictionsError, match=r"bins must be a whole number from 1 .* 0"):
            figure(predictions, 0)


def test_one_class_and_one_subject_still_have_a_brier_score():
    one = calibration.report({"x": table([1, 1], [0.5, 0.5], ["a", "a"])})
    assert one["brier"][0] == 0.25
    assert np.isnan(one["brier_low"][0])


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_score_on_an_edge_belongs_to_the_bin_that_begins_there(tenth):
    bins = calibration.reliability(table([0, 1] * 4, [tenth / 10] * 8), count=10, resamples=50)
    assert bins["left"].tolist() == pytest.approx([tenth / 10])
