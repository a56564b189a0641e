"""ROC and precision-recall curves as tables, and bands of what other subjects would have given."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.table import check

Kind = Literal["roc", "precision_recall"]


def roc(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the ROC curve: a row for each distinct score, from the highest down.

    Returns
    -------
    pandas.DataFrame
        `threshold` (first infinity: nothing is called positive),
        `false_positive_rate` (1 - specificity), `sensitivity`.

    Raises
    ------
    PredictionsError
        When a class is missing.
    """
    thresholds, positives, negatives = _whole(predictions)
    return pd.DataFrame(
        {
            "threshold": np.append(np.inf, thresholds),
            "false_positive_rate": np.append(0, negatives / negatives[-1]),
            "sensitivity": np.append(0, positives / positives[-1]),
        }
    )


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
    thresholds, positives, negatives = _whole(predictions)
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "sensitivity": positives / positives[-1],
            "precision": positives / (positives + negatives),
        }
    )


def band(
    predictions: pd.DataFrame,
    kind: Kind = "roc",
    resamples: int = 1000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    points: int = 101,
    method: str = metrics.METHOD,
) -> pd.DataFrame:
    """Return a curve with its band: at each place along x, the interval of its height.

    Each place has its own interval, so of the whole curve less than `level`
    lies inside the band. How often a place is inside: tests/unit/test_coverage.py.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of both classes.
    kind : {"roc", "precision_recall"}
        Sensitivity over false positive rate, straight between the scores; or
        precision over sensitivity, at the first score that reaches it.
    resamples, level, by, seed, method
        As in :func:`helpers.predictions.metrics.bootstrap_interval`.
    points : int
        Places along x, evenly from 0 to 1 (a precision-recall curve has none at 0).

    Returns
    -------
    pandas.DataFrame
        `x`, `value`, `low`, `high`, each 0..1.

    References
    ----------
    Fawcett 2006, doi:10.1016/j.patrec.2005.10.010 (vertical averaging).
    """
    if kind not in ("roc", "precision_recall") or points < 2:
        raise PredictionsError(
            f'A band is of a "roc" or a "precision_recall" curve at two points or more; '
            f"got {kind!r} at {points}."
        )
    cluster, draws = metrics.draw(predictions, resamples, level, by, seed, method)
    truth = _both(predictions)
    score, count = predictions["score"].to_numpy(dtype=float), draws.shape[1]
    place = np.linspace(0, 1, points)[int(kind != "roc") :]
    weights = [np.ones((1, count), dtype=np.int64), draws]
    if method == "bca":
        weights.append(resampling.without_one(count))
    heights = np.full((sum(map(len, weights)), len(place)), np.nan)
    blocks = resampling.cumulated(score, truth, cluster, np.concatenate(weights))
    read = _sensitivities if kind == "roc" else _precisions
    for rows, positives, negatives in blocks:
        for row, found, missed in zip(
            range(rows.start, rows.stop), positives, negatives, strict=True
        ):
            if found[-1] and missed[-1]:
                heights[row] = read(place, found, missed)
    freedom = resampling.freedom(truth, cluster, (0, 1))
    rows = []
    for x, column in zip(place, heights.T, strict=True):
        drawn, left = column[1 : len(draws) + 1], column[len(draws) + 1 :]
        # A sensitivity is a share of all positives, a precision one of those called so far.
        grain = 0.5 / (truth.sum() * (1 if kind == "roc" else x) + 1)
        found = resampling.Resampled(float(column[0]), drawn, freedom, (0, 1), grain, left)
        limits = found.interval(level, method)
        if kind == "roc" and x == 1 and not np.isnan(limits[0]):
            limits = (1.0, 1.0)  # who calls every image positive finds every positive one
        rows.append((x, found.value, *limits))
    made = pd.DataFrame(rows, columns=["x", "value", "low", "high"])
    return made.assign(low=_mended(made["low"], made["value"] == 1, kind))


def _mended(low: pd.Series, top: pd.Series, kind: Kind) -> pd.Series:
    """Return the lower edge of a band, smoothed where the curve is at its top.

    There it hangs on chance whether any resample holds a failure, and neighbouring
    places, judged one by one, would contradict each other.
    """
    if kind == "roc":
        # At more false alarms a sensitivity is no lower: what holds on the left holds here.
        return low.where(~top, np.fmax(low, low.mask(top).ffill()))
    # A precision with failures is no surer than one without, further left.
    return np.fmin(low, low.where(top).ffill())


def _sensitivities(place: np.ndarray, found: np.ndarray, missed: np.ndarray) -> np.ndarray:
    # Where the curve rises upright its upper end counts, as for the step at 0.
    return np.interp(place, np.append(0, missed / missed[-1]), np.append(0, found / found[-1]))


def _precisions(place: np.ndarray, found: np.ndarray, missed: np.ndarray) -> np.ndarray:
    reached = np.searchsorted(found, place * found[-1] - 1e-9, side="left")
    return found[reached] / (found[reached] + missed[reached])


def _both(predictions: pd.DataFrame) -> np.ndarray:
    truth = catalog.target(check(predictions)).astype(np.int64)
    if truth.min() == truth.max():
        raise PredictionsError(
            f"A curve needs images of both classes; all {len(truth)} rows are "
            f"{'positive' if truth[0] else 'negative'}."
        )
    return truth


def _whole(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct scores from high to low, and what stands at or above each."""
    truth = _both(predictions)
    score = predictions["score"].to_numpy(dtype=float)
    once, all_rows = np.ones((1, 1), dtype=np.int64), np.zeros(len(score), dtype=np.int64)
    (_, positives, negatives), *_ = resampling.cumulated(score, truth, all_rows, once)
    return np.unique(score)[::-1], positives[0], negatives[0]
