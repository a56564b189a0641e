"""Does a score of 0.8 mean four times out of five? Reliability, and two ways to mend it.

What mends is fitted on one table (validation data) and applied to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.table import check

#: Scores are taken as no nearer to 0 and 1 than this where a logarithm is drawn. A sigmoid in
#: single precision says exactly 0 or 1 beyond about 1e-7; its logarithm would be infinite.
CLIP = 1e-6
#: Temperatures are sought between these: below, a perfect validation table would go to 0.
TEMPERATURES = (0.02, 50.0)

How = Literal["width", "count"]


def reliability(
    predictions: pd.DataFrame,
    count: int = 10,
    how: How = "width",
    resamples: int = 1000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
) -> pd.DataFrame:
    """Return mean score and share of positives in each bin of scores.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions.
    count : int
        Bins asked for. Empty ones are left out; with ``how="count"`` images of
        equal scores stay together, so there may be fewer.
    how : {"width", "count"}
        Bins of equal width from 0 to 1, or of about equally many images. A bin
        holds its left edge, the last one also 1.
    resamples, level, by, seed
        Of the intervals, as in :func:`helpers.predictions.metrics.bootstrap_interval`.

    Returns
    -------
    pandas.DataFrame
        `left`, `right` (edges), `images`, `score` (mean), `share` (of
        positives) with `low` and `high`; NaN where one subject fills a bin.
    """
    truth, score = _read(predictions)
    place, edges = _bins(score, count, how)
    cluster, draws = metrics.draw(predictions, resamples, level, by, seed, "percentile")
    width = len(edges) - 1
    sums = resampling.sums(2 * place + truth, 2 * width, cluster, draws)
    with np.errstate(invalid="ignore"):
        shares = sums[:, 1::2] / (sums[:, ::2] + sums[:, 1::2])
    rows = []
    for each in range(width):
        inside = place == each
        if not inside.any():
            continue
        share = float(truth[inside].mean())
        held = len(np.unique(cluster[inside]))
        found = resampling.Resampled(
            share, shares[:, each], held - 1, (0, 1), 0.5 / (inside.sum() + 1)
        )
        limits = found.interval(level, "t")
        rows.append(
            (edges[each], edges[each + 1], inside.sum(), score[inside].mean(), share, *limits)
        )
    columns = ["left", "right", "images", "score", "share", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def ece(predictions: pd.DataFrame, count: int = 10, how: How = "width") -> float:
    """Return the expected calibration error: the mean distance of score and share over the bins.

    Bins weigh as their images. The value depends on the bins: state them. Even
    a perfect model's ECE is above 0, the more so the fewer images a bin has.
    Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602.
    """
    truth, score = _read(predictions)
    place, _ = _bins(score, count, how)
    return float(np.abs(np.bincount(place, weights=score - truth)).sum() / len(score))


def brier(predictions: pd.DataFrame) -> float:
    """Return the Brier score, the mean squared distance of score and truth (0 is perfect).

    Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    truth, score = _read(predictions)
    return float(np.mean((score - truth) ** 2))


def log_loss(predictions: pd.DataFrame) -> float:
    """Return the mean cross-entropy in nats, of scores held `CLIP` away from 0 and 1."""
    truth, score = _read(predictions)
    return float(_cross_entropy(truth, _logit(score)))


@dataclass(frozen=True)
class Temperature:
    """Divides logits by one number; above 1 it makes scores humbler. The order stays."""

    value: float

    def apply(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return the table with its scores rescaled; an exact 0.5 stays 0.5."""
        from scipy import special

        score = _scores(predictions)
        return predictions.assign(score=special.expit(_logit(score) / self.value))


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A rising curve from score to share of positives, straight between its `x`, `y` (n,)."""

    x: np.ndarray
    y: np.ndarray

    def apply(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return the table with its scores read off the curve; beyond its ends it is level.

        Different scores may become equal (the curve has steps), and even 0 or 1:
        AUC can change, and the log loss of a single miss is as large as `CLIP` allows.
        """
        return predictions.assign(score=np.interp(_scores(predictions), self.x, self.y))


def fit_temperature(validation: pd.DataFrame) -> Temperature:
    """Return the temperature that gives the least log loss on `validation`.

    Where none helps, because every score is one half, it is 1.

    Raises
    ------
    PredictionsError
        When the table holds one class only.

    References
    ----------
    Guo et al. 2017, https://proceedings.mlr.press/v70/guo17a.html.
    """
    from scipy import optimize

    truth, score = _both_classes(validation, "a temperature")
    logits = _logit(score)
    if not logits.any():
        return Temperature(1.0)
    found = optimize.minimize_scalar(
        # Convex in the inverse temperature, so the one minimum is found.
        lambda log: _cross_entropy(truth, logits * np.exp(-log)),
        bounds=np.log(TEMPERATURES),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return Temperature(float(np.exp(found.x)))


def fit_isotonic(validation: pd.DataFrame) -> Isotonic:
    """Return the rising curve nearest to the truth of `validation` (least squares).

    It bends wherever the data ask for it, so it needs more of them than a temperature does.

    Raises
    ------
    PredictionsError
        When the table holds one class only.

    References
    ----------
    Zadrozny, Elkan 2002, doi:10.1145/775047.775151.
    """
    from sklearn.isotonic import IsotonicRegression

    truth, score = _both_classes(validation, "a curve")
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, truth)
    return Isotonic(curve.X_thresholds_, curve.y_thresholds_)


def report(
    tables: dict[str, pd.DataFrame],
    count: int = 10,
    how: How = "width",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 24,
) -> pd.DataFrame:
    """Return ECE, Brier score and log loss of named tables (before, after), one row a table.

    Columns are `table`, `ece`, `brier`, `brier_low`, `brier_high`, `log_loss`.
    The interval is over subjects. ECE has none: noise inside the bins raises
    it, and raises it once more in every resample, so that a bootstrap interval
    would lie too high.
    """
    rows = []
    for name, table in tables.items():
        truth, score = _read(table)
        cluster, draws = metrics.draw(table, resamples, level, "subject", seed, "t")
        loss, clusters = (score - truth) ** 2, draws.shape[1]
        total = np.bincount(cluster, weights=loss, minlength=clusters)
        values = draws @ total / (draws @ np.bincount(cluster, minlength=clusters))
        found = resampling.Resampled(
            float(loss.mean()), values, clusters - 1, (0, 1), 0.5 / (len(loss) + 1)
        )
        limits = found.interval(level, "t")
        rows.append((name, ece(table, count, how), loss.mean(), *limits, log_loss(table)))
    columns = ["table", "ece", "brier", "brier_low", "brier_high", "log_loss"]
    return pd.DataFrame(rows, columns=columns)


def _read(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    truth = catalog.target(check(predictions)).astype(np.int64)
    return truth, _scores(predictions)


def _scores(predictions: pd.DataFrame) -> np.ndarray:
    return check(predictions)["score"].to_numpy(dtype=float)


def _both_classes(validation: pd.DataFrame, what: str) -> tuple[np.ndarray, np.ndarray]:
    truth, score = _read(validation)
    if truth.min() == truth.max():
        raise PredictionsError(
            f"To fit {what}, images of both classes are needed; all {len(truth)} rows of the "
            f"validation table are {'positive' if truth[0] else 'negative'}."
        )
    return truth, score


def _logit(score: np.ndarray) -> np.ndarray:
    from scipy import special

    return special.logit(np.clip(score, CLIP, 1 - CLIP))


def _cross_entropy(truth: np.ndarray, logits: np.ndarray) -> float:
    # log(1 + exp(-x)) of the logit towards the truth, without overflow.
    return np.mean(np.logaddexp(0, np.where(truth == 1, -logits, logits)))


def _bins(score: np.ndarray, count: int, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the bin of each score, int64, and the edges."""
    if count < 1 or how not in ("width", "count"):
        raise PredictionsError(
            f'Bins are one or more, of equal "width" or "count"; got {count} of equal {how!r}.'
        )
    if how == "width":
        edges = np.linspace(0, 1, count + 1)
    else:
        # Equal scores fall together: an edge lies midway between two scores that differ, where
        # that is nearest to an equal share.
        ordered = np.sort(score)
        breaks = np.flatnonzero(np.diff(ordered)) + 1
        edges = np.array([0.0, 1.0])
        if len(breaks) and count > 1:
            wanted = np.arange(1, count)[:, np.newaxis] * len(score) / count
            chosen = breaks[np.unique(np.abs(breaks - wanted).argmin(axis=1))]
            middle = (ordered[chosen - 1] + ordered[chosen]) / 2
            edges = np.concatenate([[0.0], middle, [1.0]])
    place = np.searchsorted(edges, score, side="right") - 1
    return np.minimum(place, len(edges) - 2), edges
