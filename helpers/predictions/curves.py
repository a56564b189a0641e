"""ROC and precision-recall curves as tables, and their confidence bands over subjects."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.table import check

Kind = Literal["roc", "precision_recall"]


def roc(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the ROC curve: a row for each distinct score, from the highest down.

    Returns
    -------
    pandas.DataFrame
        `threshold` (the first is infinity: no image is predicted positive),
        `false_positive_rate` (1 - specificity), `sensitivity`, each 0..1.

    Raises
    ------
    PredictionsError
        When a class is missing.
    """
    from sklearn.metrics import roc_curve

    predictions = check(predictions)
    truth = metrics.truth_of_both_classes(predictions, "A curve")
    fpr, tpr, threshold = roc_curve(truth, predictions["score"], drop_intermediate=False)
    return pd.DataFrame({"threshold": threshold, "false_positive_rate": fpr, "sensitivity": tpr})


def precision_recall(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the precision-recall curve: a row for each distinct score, from the highest down.

    Returns
    -------
    pandas.DataFrame
        `threshold`, `sensitivity` (the recall), `precision`.

    Raises
    ------
    PredictionsError
        When a class is missing.
    """
    from sklearn.metrics import precision_recall_curve

    predictions = check(predictions)
    truth = metrics.truth_of_both_classes(predictions, "A curve")
    precision, recall, threshold = precision_recall_curve(truth, predictions["score"])
    # Scikit-learn goes from the lowest threshold up, and adds a point that no score reaches.
    columns = {"threshold": threshold, "sensitivity": recall[:-1], "precision": precision[:-1]}
    return pd.DataFrame(columns)[::-1].reset_index(drop=True)


def band(
    predictions: pd.DataFrame,
    kind: Kind = "roc",
    resamples: int = 1000,
    seed: int = 24,
    points: int = 101,
) -> pd.DataFrame:
    """Return a curve with its confidence band: at each x, the interval of its height.

    The intervals are pointwise: the band contains the true height at an x, but
    not the whole true curve, with confidence 0.95 (test_coverage.py).

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of both classes.
    kind : {"roc", "precision_recall"}
        Sensitivity against false positive rate, interpolated between the scores; or
        precision against sensitivity, at the highest score that reaches the sensitivity.
    resamples, seed
        As in :func:`helpers.predictions.metrics.bootstrap_interval`.
    points : int
        Values of x, evenly from 0 to 1 (a precision-recall curve has none at 0).

    Returns
    -------
    pandas.DataFrame
        `x`, `value`, `low`, `high`, each 0..1.

    References
    ----------
    Fawcett 2006, doi:10.1016/j.patrec.2005.10.010 (vertical averaging).
    """
    arguments.one_of("kind of curve", kind, ("roc", "precision_recall"), PredictionsError)
    arguments.whole("The number of points", points, PredictionsError, 2, 100_000)
    predictions = check(predictions)
    cluster, draws = metrics.draw(predictions, resamples, seed)
    truth = metrics.truth_of_both_classes(predictions, "A curve")
    score, count = predictions["score"].to_numpy(dtype=float), draws.shape[1]
    x_values = np.linspace(0, 1, points)[int(kind != "roc") :]
    original = np.ones((1, count), dtype=np.int64)
    heights = np.full((1 + len(draws), len(x_values)), np.nan)
    blocks = resampling.cumulated(score, truth, cluster, np.concatenate([original, draws]))
    height_at = _sensitivities if kind == "roc" else _precisions
    for rows, positives, negatives in blocks:
        for row, tp, fp in zip(range(rows.start, rows.stop), positives, negatives, strict=True):
            if tp[-1] and fp[-1]:
                heights[row] = height_at(x_values, tp, fp)
    freedom = resampling.freedom(truth, cluster, (0, 1))
    rows = []
    for x, column in zip(x_values, heights.T, strict=True):
        # The denominator: all positives for a sensitivity, those found for a precision.
        grain = 0.5 / (truth.sum() * (1 if kind == "roc" else x) + 1)
        height = resampling.Resampled(float(column[0]), column[1:], freedom, (0, 1), grain)
        limits = height.interval()
        if kind == "roc" and x == 1 and not np.isnan(limits[0]):
            limits = (1.0, 1.0)  # with every image predicted positive, sensitivity is 1
        rows.append((x, height.value, *limits))
    result = pd.DataFrame(rows, columns=["x", "value", "low", "high"])
    return result.assign(low=_smoothed(result["low"], result["value"] == 1, kind))


def _smoothed(low: pd.Series, top: pd.Series, kind: Kind) -> pd.Series:
    """Return the lower edge of a band, smoothed where the curve has a height of 1.

    There few resamples contain an error, or none, by chance; without smoothing,
    the intervals at neighbouring x would contradict each other.
    """
    if kind == "roc":
        # Sensitivity does not fall with the false positive rate: a lower limit on the left holds.
        return low.where(~top, np.fmax(low, low.mask(top).ffill()))
    # A precision with errors is not more certain than one without errors further left.
    return np.fmin(low, low.where(top).ffill())


def _sensitivities(x_values: np.ndarray, tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    # Where the curve is vertical, `np.interp` takes its upper end.
    return np.interp(x_values, np.append(0, fp / fp[-1]), np.append(0, tp / tp[-1]))


def _precisions(x_values: np.ndarray, tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    index = np.searchsorted(tp, x_values * tp[-1] - 1e-9, side="left")
    return tp[index] / (tp[index] + fp[index])
