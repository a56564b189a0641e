"""Calibration of scores: reliability in bins, and recalibration by a temperature.

A temperature is fitted on one table (validation data) and applied to another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.alignment import checked
from helpers.predictions.table import check, check_fitting

#: Scores are clipped to this distance from 0 and 1 before a logarithm is taken. A sigmoid in
#: single precision returns exactly 0 or 1 beyond about 1e-7; its logarithm would be infinite.
CLIP = 1e-6
#: The range of fitted temperatures. Without it, a perfect validation table would give 0.
TEMPERATURES = (0.02, 50.0)


def reliability(
    predictions: pd.DataFrame, count: int = 10, resamples: int = 1000, seed: int = 24
) -> pd.DataFrame:
    """Return mean score and share of positives in each of `count` bins of equal width.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions.
    count : int
        Number of bins; empty ones are left out. A bin contains its left edge, the
        last one also 1.
    resamples, seed
        Of the intervals, as in :func:`helpers.predictions.metrics.bootstrap_interval`.

    Returns
    -------
    pandas.DataFrame
        `left`, `right` (edges), `images`, `score` (mean), `share` (of
        positives) with `low` and `high`; NaN where a bin has images of one subject only.
    """
    predictions = check(predictions)
    truth, score = _read(predictions)
    bins = bins_of(score, count)
    edges = np.linspace(0, 1, count + 1)
    cluster, draws = metrics.draw(predictions, resamples, seed)
    sums = resampling.sums(2 * bins + truth, 2 * count, cluster, draws)
    with np.errstate(invalid="ignore"):
        shares = sums[:, 1::2] / (sums[:, ::2] + sums[:, 1::2])
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        share = resampling.Resampled(
            float(truth[inside].mean()),
            shares[:, number],
            len(np.unique(cluster[inside])) - 1,
            (0, 1),
            0.5 / (inside.sum() + 1),
        )
        limits = share.interval()
        bin_edges = edges[number], edges[number + 1]
        rows.append((*bin_edges, inside.sum(), score[inside].mean(), share.value, *limits))
    columns = ["left", "right", "images", "score", "share", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def ece(predictions: pd.DataFrame, count: int = 10) -> float:
    """Return the expected calibration error: mean distance of mean score and share of positives.

    The mean is over `count` bins of equal width, weighted by their images. The value
    depends on the bins, so report their number. The ECE of a perfectly calibrated
    model is above 0 as well, and the more so the fewer images a bin has.
    Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602.
    """
    truth, score = _read(predictions)
    bins = bins_of(score, count)
    return float(np.abs(np.bincount(bins, weights=score - truth)).sum() / len(score))


def brier(predictions: pd.DataFrame) -> float:
    """Return the Brier score: mean squared difference of score and truth (0 is perfect).

    Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    truth, score = _read(predictions)
    return float(np.mean((score - truth) ** 2))


def log_loss(predictions: pd.DataFrame) -> float:
    """Return the mean cross-entropy in nats; scores are clipped to `CLIP` from 0 and 1."""
    truth, score = _read(predictions)
    return float(_cross_entropy(truth, logit(score)))


@dataclass(frozen=True)
class Temperature:
    """Divides logits by one number; above 1, scores move towards 0.5. Their order stays."""

    value: float

    def apply(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return the table with its scores rescaled; an exact 0.5 stays 0.5."""
        from scipy import special

        score = _scores(predictions)
        return predictions.assign(score=special.expit(logit(score) / self.value))


def fit_temperature(validation: pd.DataFrame) -> Temperature:
    """Return the temperature with the smallest log loss on `validation`.

    It is 1 where every score is 0.5, because no temperature changes them.

    Raises
    ------
    PredictionsError
        When the table has one class only, or a row of the split ``test``.

    References
    ----------
    Guo et al. 2017, https://proceedings.mlr.press/v70/guo17a.html.
    """
    from scipy import optimize

    validation = check_fitting(validation, "A temperature")
    truth = metrics.truth_of_both_classes(validation, "The fit of a temperature")
    logits = logit(_scores(validation))
    if not logits.any():
        return Temperature(1.0)
    result = optimize.minimize_scalar(
        # The loss is convex in the inverse temperature, so there is one minimum.
        lambda log: _cross_entropy(truth, logits * np.exp(-log)),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return Temperature(float(np.exp(result.x)))


def report(
    tables: dict[str, pd.DataFrame], count: int = 10, resamples: int = 1000, seed: int = 24
) -> pd.DataFrame:
    """Return ECE, Brier score and log loss of named tables (before, after), one row per table.

    Columns are `table`, `ece`, `brier`, `brier_low`, `brier_high`, `log_loss`.
    The interval is over subjects. ECE has none: noise within the bins increases
    it, and resampling adds more noise, so a bootstrap interval would be too high.
    """
    rows = []
    for name, table in checked(tables).items():
        truth, score = _read(table)
        cluster, draws = metrics.draw(table, resamples, seed)
        loss, clusters = (score - truth) ** 2, draws.shape[1]
        total = np.bincount(cluster, weights=loss, minlength=clusters)
        values = draws @ total / (draws @ np.bincount(cluster, minlength=clusters))
        brier_score = resampling.Resampled(
            float(loss.mean()), values, clusters - 1, (0, 1), 0.5 / (len(loss) + 1)
        )
        limits = brier_score.interval()
        rows.append((name, ece(table, count), loss.mean(), *limits, log_loss(table)))
    columns = ["table", "ece", "brier", "brier_low", "brier_high", "log_loss"]
    return pd.DataFrame(rows, columns=columns)


def _read(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    predictions = check(predictions)
    return catalog.target(predictions).astype(np.int64), _scores(predictions)


def _scores(predictions: pd.DataFrame) -> np.ndarray:
    return check(predictions)["score"].to_numpy(dtype=float)


def logit(score: np.ndarray) -> np.ndarray:
    """Return the logit of each score; scores are clipped to `CLIP` from 0 and 1."""
    from scipy import special

    score = arguments.array("The scores", score, PredictionsError, 0, 1)
    return special.logit(np.clip(score, CLIP, 1 - CLIP))


def _cross_entropy(truth: np.ndarray, logits: np.ndarray) -> float:
    # log(1 + exp(-x)), where x is the logit of the true class, without overflow.
    return np.mean(np.logaddexp(0, np.where(truth == 1, -logits, logits)))


def bins_of(score: np.ndarray, count: int) -> np.ndarray:
    """Return the bin of each score, int64; a bin contains its left edge, the last one also 1."""
    score = arguments.array("The scores", score, PredictionsError, 0, 1)
    arguments.whole("The number of bins", count, PredictionsError, 1, 10_000)
    # Rounded: 0.3 belongs to the bin that begins there, though linspace has 0.30000000000000004.
    edges = np.linspace(0, 1, count + 1).round(12)
    return np.minimum(np.searchsorted(edges, score.round(12), side="right"), count) - 1
