"""Drawing whole subjects again and again, and every figure of each draw at once.

A resample is a row of counts: how often each cluster of rows (a subject, say)
was drawn. No table is copied; figures of all resamples are sums weighted by
these counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

#: How an interval is read off the resampled values.
METHODS = ("t", "percentile", "bca")
_BLOCK = 1 << 20  # weights held at once: resamples x rows, eight megabytes
_NOTHING = 1e-9  # a standard error below this is rounding


def clusters(column: pd.Series) -> tuple[np.ndarray, int]:
    """Return the number of each row's cluster, int64, and how many there are.

    Clusters are numbered in the order of their names, whatever that of the rows.
    """
    codes, names = pd.factorize(column.astype(str), sort=True)
    return codes.astype(np.int64), len(names)


def draw(count: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each of `count` clusters stands in each resample, (resamples, count)."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, count), dtype=np.int64)
    for row in drawn:  # several times as fast as one multinomial draw, and no larger in memory
        row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
    return drawn


def without_one(count: int) -> np.ndarray:
    """Return the draws of the jackknife: every cluster once, but for one."""
    return np.ones((count, count), dtype=np.int64) - np.eye(count, dtype=np.int64)


def sums(cell: np.ndarray, width: int, cluster: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Count the rows by `cell` (0..width-1) in each resample, float64 (resamples, width)."""
    count = draws.shape[1]
    per_cluster = np.bincount(width * cluster + cell, minlength=width * count)
    # Whole numbers in floats are exact, and their product is BLAS's.
    return draws.astype(float) @ per_cluster.reshape(count, width).astype(float)


def cumulated(
    score: np.ndarray, truth: np.ndarray, cluster: np.ndarray, draws: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield blocks of resamples with what lies at or above each distinct score, from the top.

    Parameters
    ----------
    score : numpy.ndarray
        float64, shape (n,).
    truth : numpy.ndarray
        0 or 1, shape (n,).
    cluster : numpy.ndarray
        int64, shape (n,).
    draws : numpy.ndarray
        int64, shape (resamples, clusters).

    Yields
    ------
    rows : slice
        The resamples of the block.
    positives, negatives : numpy.ndarray
        float64, shape (block, distinct scores): true and false positives at
        each threshold, which are the distinct scores from high to low.
    """
    order = np.argsort(-score, kind="stable")
    # Equal scores fall together: only where the score changes is a threshold.
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    truth, cluster = truth[order], cluster[order]
    block = max(1, _BLOCK // len(score))
    for begin in range(0, len(draws), block):
        rows = slice(begin, min(begin + block, len(draws)))
        weight = draws[rows].astype(float)[:, cluster]
        positives = np.cumsum(weight * truth, axis=1)
        np.cumsum(weight, axis=1, out=weight)
        if len(last) < len(score):
            positives, weight = positives[:, last], weight[:, last]
        yield rows, positives, weight - positives


def areas(
    score: np.ndarray, truth: np.ndarray, cluster: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the area under the ROC curve and the average precision of each resample.

    Parameters are those of :func:`cumulated`. A resample without a positive or
    without a negative row has no area under the ROC curve (NaN), one without a
    positive row no average precision.
    """
    area, precision = np.empty((2, len(draws)))
    for rows, positives, negatives in cumulated(score, truth, cluster, draws):
        found, missed = positives[:, -1].copy(), negatives[:, -1]
        steps = np.diff(positives, axis=1, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Positives at a score beat all negatives below it and tie with those at it.
            beaten = missed[:, np.newaxis] - negatives
            beaten[:, 0] += negatives[:, 0] / 2
            beaten[:, 1:] += np.diff(negatives, axis=1) / 2
            area[rows] = np.einsum("bk,bk->b", steps, beaten) / (found * missed)
            above = positives + negatives
            above[above == 0] = 1  # nothing drawn yet, so nothing found either: the step is 0
            positives /= above
            precision[rows] = np.einsum("bk,bk->b", steps, positives) / found
    return area, precision


def from_counts(
    name: str, tn: np.ndarray, fp: np.ndarray, fn: np.ndarray, tp: np.ndarray
) -> np.ndarray:
    """Return a figure of both classes from the four counts of each resample, NaN for 0 / 0."""
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: there is no such figure
        if name == "accuracy":
            return (tp + tn) / (tp + tn + fp + fn)
        if name == "balanced_accuracy":
            return (tp / (tp + fn) + tn / (tn + fp)) / 2
        if name == "sensitivity":
            return tp / (tp + fn)
        if name == "specificity":
            return tn / (tn + fp)
        if name == "precision":
            return tp / (tp + fp)
        if name == "mcc":
            truths, calls = (tp + fn) * (tn + fp), (tp + fp) * (tn + fn)
            value = (tp * tn - fp * fn) / np.sqrt(truths * np.where(calls == 0, 1, calls))
            return np.where(truths == 0, np.nan, value)
        positive = 2 * tp / (2 * tp + fp + fn)
        if name == "f1":
            return positive
        negative = 2 * tn / (2 * tn + fp + fn)
        # A class without images weighs nothing, whatever its F1.
        shares = (tp + fn) / (tp + tn + fp + fn)
        return np.where(shares > 0, shares * positive, 0) + np.where(
            shares < 1, (1 - shares) * negative, 0
        )


@dataclass(frozen=True, eq=False)
class Resampled:
    """A figure, what it is in every resample, and what an interval of it rests on."""

    value: float
    #: float64, shape (resamples,); NaN where a resample has no such figure.
    values: np.ndarray
    #: Degrees of freedom: the clusters that the figure rests on at least (for AUC, those of the
    #: scarcer class), less one.
    freedom: float
    #: Lowest and highest possible value, or None where nothing is known.
    bounds: tuple[float, float] | None = None
    #: Half an image's share of the figure's range: nearer to a bound no value is taken to be.
    grain: float = 1e-4
    #: The figure with each cluster left out, float64 (clusters,), for ``bca`` alone.
    left: np.ndarray | None = None
    #: Of a difference: how far it can be from 0 at most, or None where nothing is known.
    widest: float | None = None

    def __sub__(self, other: Resampled) -> Resampled:
        """Return the difference of two figures over the same draws."""
        return Resampled(
            self.value - other.value,
            self.values - other.values,
            min(self.freedom, other.freedom),
            left=None if self.left is None else self.left - other.left,
            widest=self.range,
        )

    @property
    def range(self) -> float | None:
        """How far apart two such figures can be, or None where nothing is known."""
        return None if self.bounds is None else float(self.bounds[1] - self.bounds[0])

    @property
    def known(self) -> np.ndarray:
        """The values of those resamples that have one."""
        return self.values[~np.isnan(self.values)]

    @property
    def error(self) -> float:
        """Standard error of the figure."""
        return float(self.known.std() * self._correction)

    @property
    def _correction(self) -> float:
        # n clusters drawn from n vary by 1 - 1/n of the variance of fresh ones.
        return float(np.sqrt((self.freedom + 1) / self.freedom))

    @property
    def hopeless(self) -> bool:
        """Whether there is nothing to read an interval off."""
        return bool(np.isnan(self.value) or len(self.known) == 0 or self.freedom < 1)

    def interval(self, level: float, method: str) -> tuple[float, float]:
        """Read an interval off the resamples by one of `METHODS`; NaN where there is none."""
        if self.hopeless:
            return float("nan"), float("nan")
        if method == "t":
            return self._by_error(level)
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        if method == "bca":
            tails = self._corrected(tails)
        low, high = np.quantile(self.known, tails)
        return float(low), float(high)

    def p_value(self, method: str) -> float:
        """Return the two-sided p-value of a true value of 0, in step with the interval.

        With ``t`` from the standard error, otherwise from the share of resamples
        beyond 0, which can be no smaller than two in as many as there are.
        """
        from scipy import special

        if self.hopeless:
            return float("nan")
        if method != "t":
            values = self.known
            lesser = min(np.sum(values <= 0), np.sum(values >= 0))
            return float(min(1, 2 * (lesser + 1) / (len(values) + 1)))
        error = self.error
        if error < _NOTHING:
            return 1.0 if abs(self.value) < _NOTHING else 0.0
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / error))

    def _by_error(self, level: float) -> tuple[float, float]:
        from scipy import special  # `scipy.stats` would take most of a second to import

        error = self.error
        if error < _NOTHING:
            return self._without_error(level)
        distance = special.stdtrit(self.freedom, (1 + level) / 2)
        if self.bounds is None:
            ends = self.value + distance * error * np.array([-1, 1])
            if self.widest is not None:
                ends = np.clip(ends, -self.widest, self.widest)
            return float(ends[0]), float(ends[1])
        # On the logit scale no interval leaves the bounds; near one it is lopsided as it ought to
        # be. That the truth is held as often as it should: tests/unit/test_coverage.py.
        low, high = self.bounds

        def logit(value: np.ndarray | float) -> np.ndarray:
            share = (np.asarray(value) - low) / (high - low)
            return special.logit(np.clip(share, self.grain, 1 - self.grain))

        reach = distance * logit(self.known).std() * self._correction
        ends = low + (high - low) * special.expit(logit(self.value) + np.array([-reach, reach]))
        ends = [*ends, self.value]
        if self.value in self.bounds:
            # Few resamples hold the failure that the subjects do not: their spread is too small.
            ends += self._without_error(level)
        return float(min(ends)), float(max(ends))

    def _without_error(self, level: float) -> tuple[float, float]:
        """Return the interval of a figure that every resample has alike.

        At a bound (no subject with a failure) it reaches as far as a share of
        subjects may be from it by chance: Clopper and Pearson 1934,
        doi:10.1093/biomet/26.4.404.
        """
        if self.bounds is None:
            return self.value, self.value
        low, high = self.bounds
        reach = (high - low) * (1 - ((1 - level) / 2) ** (1 / (self.freedom + 1)))
        if self.value >= high - _NOTHING:
            return float(high - reach), float(high)
        if self.value <= low + _NOTHING:
            return float(low), float(low + reach)
        return self.value, self.value

    def _corrected(self, tails: np.ndarray) -> np.ndarray:
        """Return BCa's percentiles: moved for the bias and skewness of the resamples."""
        from scipy import special

        values, left = self.known, self.left[~np.isnan(self.left)]
        below = np.mean(values < self.value) + np.mean(values == self.value) / 2
        left = left.mean() - left if len(left) else np.zeros(1)
        scale = np.sum(left**2) ** 1.5
        if not 0 < below < 1 or scale < _NOTHING**3:
            return tails
        bias, speed = special.ndtri(below), np.sum(left**3) / (6 * scale)
        moved = bias + special.ndtri(tails)
        return special.ndtr(bias + moved / (1 - speed * moved))


def freedom(truth: np.ndarray, cluster: np.ndarray, classes: Iterable[int] = ()) -> int:
    """Return one less than the clusters with rows of the scarcest of `classes`; none: of all."""
    counts = [len(np.unique(cluster[truth == name])) for name in classes]
    return min(counts, default=len(np.unique(cluster))) - 1


def of_any(
    predictions: pd.DataFrame,
    metric: Callable[[pd.DataFrame], float],
    cluster: np.ndarray,
    draws: np.ndarray,
    method: str,
) -> Resampled:
    """Return any function from predictions to a number, called once a resample."""
    count = draws.shape[1]

    def of(draw: np.ndarray) -> float:
        rows = np.repeat(np.arange(len(cluster)), draw[cluster])
        sample = predictions.iloc[rows].copy()
        # Drawn twice, an image counts as two.
        sample["image_id"] = np.arange(len(sample)).astype(str)
        return float(metric(sample))

    values = np.array([of(draw) for draw in draws if count > 1])
    left = without_one(count) if method == "bca" and count > 1 else ()
    return Resampled(
        float(metric(predictions)),
        values,
        count - 1,
        left=np.array([of(draw) for draw in left]),
    )
