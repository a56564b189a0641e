"""The bootstrap over clusters: whole subjects are resampled, and all resamples computed at once.

A resample is a row of counts: how often each cluster of rows (a subject, for
example) was drawn. No table is copied; the metrics of all resamples are sums
weighted by these counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import PredictionsError

#: How an interval is computed from the resampled values.
METHODS = ("t", "percentile")
#: The share of studies like this one whose interval should contain the true value.
LEVEL = 0.95
_BLOCK = 1 << 20  # weights in memory at once: resamples x rows, eight megabytes
_ROUNDING = 1e-9  # a standard error below this is rounding
#: No p-value is smaller: far out, the tail of a distribution would be rounded to 0.
SMALLEST = float(np.finfo(float).tiny)


class Undefined(float):
    """NaN that a page shows as a word: ``f"{low:.3f}"`` is ``undefined``."""

    def __format__(self, spec: str) -> str:
        return "undefined"

    def __str__(self) -> str:
        return "undefined"


UNDEFINED = Undefined("nan")


def figure(value: float) -> float:
    """Return a number as a float, NaN as `UNDEFINED`."""
    return UNDEFINED if np.isnan(value) else float(value)


def clusters(column: pd.Series) -> tuple[np.ndarray, int]:
    """Return the number of each row's cluster, int64, and how many there are.

    Clusters are numbered in the order of their names, for any order of the rows.
    """
    codes, names = pd.factorize(column.astype(str), sort=True)
    return codes.astype(np.int64), len(names)


def draw(count: int, resamples: int, seed: int) -> np.ndarray:
    """Return how often each of `count` clusters is in each resample, int64 (resamples, count)."""
    rng = np.random.default_rng(seed)
    draws = np.empty((resamples, count), dtype=np.int64)
    for row in draws:  # several times as fast as one multinomial draw, and no larger in memory
        row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
    return draws


def sums(cell: np.ndarray, width: int, cluster: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Count the rows by `cell` (0..width-1) in each resample, float64 (resamples, width)."""
    count = draws.shape[1]
    per_cluster = np.bincount(width * cluster + cell, minlength=width * count)
    # Integers are exact in float64, and BLAS multiplies floats only.
    return draws.astype(float) @ per_cluster.reshape(count, width).astype(float)


def cumulated(
    score: np.ndarray, truth: np.ndarray, cluster: np.ndarray, draws: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield blocks of resamples with the true and false positives at each distinct score.

    Parameters
    ----------
    score : numpy.ndarray
        float64, shape (n,).
    truth : numpy.ndarray
        0 or 1, shape (n,).
    cluster, draws : numpy.ndarray
        As in :func:`helpers.predictions.metrics.resample`.

    Yields
    ------
    rows : slice
        The resamples of the block.
    positives, negatives : numpy.ndarray
        float64, shape (block, distinct scores): true and false positives at
        each threshold, which are the distinct scores from high to low.
    """
    order = np.argsort(-score, kind="stable")
    # Images of equal score are on the same side of every threshold.
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
        all_positives, all_negatives = positives[:, -1].copy(), negatives[:, -1]
        steps = np.diff(positives, axis=1, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            # A positive image outranks all negatives of lower score, and half of those of equal.
            beaten = all_negatives[:, np.newaxis] - negatives
            beaten[:, 0] += negatives[:, 0] / 2
            beaten[:, 1:] += np.diff(negatives, axis=1) / 2
            area[rows] = np.einsum("bk,bk->b", steps, beaten) / (all_positives * all_negatives)
            above = positives + negatives
            above[above == 0] = 1  # no image so far: `positives` and the step are 0 as well
            positives /= above
            precision[rows] = np.einsum("bk,bk->b", steps, positives) / all_positives
    return area, precision


def from_counts(
    tn: np.ndarray, fp: np.ndarray, fn: np.ndarray, tp: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the metrics of each resample by name from its four counts; undefined ones are NaN."""
    images, positives, negatives = tp + tn + fp + fn, tp + fn, tn + fp
    truth, predicted = positives * negatives, (tp + fp) * (tn + fn)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: the metric is undefined
        sensitivity, specificity = tp / positives, tn / negatives
        f1, other_f1 = 2 * tp / (2 * tp + fp + fn), 2 * tn / (2 * tn + fp + fn)
        shares = positives / images
        mcc = (tp * tn - fp * fn) / np.sqrt(truth * np.where(predicted == 0, 1, predicted))
        return {
            "accuracy": (tp + tn) / images,
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "precision": tp / (tp + fp),
            "f1": f1,
            # A class without images has weight 0, although its F1 is NaN.
            "weighted_f1": np.where(shares > 0, shares * f1, 0)
            + np.where(shares < 1, (1 - shares) * other_f1, 0),
            "mcc": np.where(truth == 0, np.nan, mcc),
        }


@dataclass(frozen=True, eq=False)
class Resampled:
    """The value of a metric, its value in every resample, and what its interval depends on."""

    value: float
    #: float64, shape (resamples,); NaN where the metric is undefined for a resample.
    values: np.ndarray
    #: Degrees of freedom: the number of clusters, less one. For a metric that needs a class (AUC
    #: needs both), the clusters of that class are counted, and of two classes the fewer ones.
    freedom: float
    #: Lowest and highest possible value, or None if unknown.
    bounds: tuple[float, float] | None = None
    #: Half of one image's share of the range. On the logit scale, values are kept at least this
    #: far from a bound, where the logit is infinite.
    grain: float = 1e-4
    #: Of a difference: the largest possible absolute value, or None if unknown.
    widest: float | None = None

    def __sub__(self, other: Resampled) -> Resampled:
        """Return the difference of two metrics over the same draws."""
        return Resampled(
            self.value - other.value,
            self.values - other.values,
            min(self.freedom, other.freedom),
            widest=self.range,
        )

    @property
    def range(self) -> float | None:
        """The largest possible difference of two such values, or None if unknown."""
        return None if self.bounds is None else float(self.bounds[1] - self.bounds[0])

    @property
    def known(self) -> np.ndarray:
        """The values of the resamples for which the metric is defined."""
        return self.values[~np.isnan(self.values)]

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return float(self.known.std() * self._correction)

    @property
    def _correction(self) -> float:
        # Resampling n clusters gives 1 - 1/n of the variance of n new clusters.
        return float(np.sqrt((self.freedom + 1) / self.freedom))

    @property
    def undefined(self) -> bool:
        """Whether the value has no interval: it is NaN, or there are too few clusters."""
        return bool(np.isnan(self.value) or len(self.known) == 0 or self.freedom < 1)

    def interval(self, method: str = "t") -> tuple[float, float]:
        """Return the interval of `LEVEL` by one of `METHODS`; NaN where it is undefined.

        It is also undefined where the value is the same in every resample, but not at a
        bound: a handful of clusters that agree by chance does not make a value certain.

        Raises
        ------
        PredictionsError
            When there is no such method.
        """
        arguments.one_of("interval by", method, METHODS, PredictionsError)
        if self.undefined:
            return UNDEFINED, UNDEFINED
        if self.error < _ROUNDING:
            return self._without_error()
        if method == "t":
            return self._by_error()
        low, high = np.quantile(self.known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return (float(low), float(high)) if high - low > _ROUNDING else self._without_error()

    def p_value(self) -> float:
        """Return the two-sided p-value of a true value of 0, by Student's t; never 0.

        It is NaN where the value is the same in every resample, unless that value is 0.
        """
        from scipy import special

        if self.undefined:
            return UNDEFINED
        error = self.error
        if error < _ROUNDING:
            return 1.0 if abs(self.value) < _ROUNDING else UNDEFINED
        return max(float(2 * special.stdtr(self.freedom, -abs(self.value) / error)), SMALLEST)

    def _by_error(self) -> tuple[float, float]:
        """Return the interval of as many standard errors as Student's t asks for."""
        from scipy import special  # importing `scipy.stats` would take most of a second

        error = self.error
        distance = special.stdtrit(self.freedom, (1 + LEVEL) / 2)
        if self.bounds is None:
            ends = self.value + distance * error * np.array([-1, 1])
            if self.widest is not None:
                ends = np.clip(ends, -self.widest, self.widest)
            return float(ends[0]), float(ends[1])
        # On the logit scale an interval stays inside the bounds, and is asymmetric near a bound.
        # How often it contains the true value: test_coverage.py.
        low, high = self.bounds

        def logit(value: np.ndarray | float) -> np.ndarray:
            share = (np.asarray(value) - low) / (high - low)
            return special.logit(np.clip(share, self.grain, 1 - self.grain))

        reach = distance * logit(self.known).std() * self._correction
        ends = low + (high - low) * special.expit(logit(self.value) + np.array([-reach, reach]))
        ends = [*ends, self.value]
        if self.value in self.bounds:
            # At a bound (all images right) the resamples vary too little.
            ends += self._without_error()
        return float(min(ends)), float(max(ends))

    def _without_error(self) -> tuple[float, float]:
        """Return the interval of a value that is the same in every resample.

        At a bound (no subject with an error) it is the exact binomial interval of
        as many subjects: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
        Elsewhere it is undefined.
        """
        if self.bounds is None:
            return UNDEFINED, UNDEFINED
        low, high = self.bounds
        reach = (high - low) * (1 - ((1 - LEVEL) / 2) ** (1 / (self.freedom + 1)))
        if self.value >= high - _ROUNDING:
            return float(high - reach), float(high)
        if self.value <= low + _ROUNDING:
            return float(low), float(low + reach)
        return UNDEFINED, UNDEFINED


def freedom(truth: np.ndarray, cluster: np.ndarray, classes: Iterable[int] = ()) -> int:
    """Return the degrees of freedom: the number of clusters, less one.

    With `classes` (0, 1), the clusters with images of the class are counted, and
    of two classes the fewer ones.
    """
    counts = [len(np.unique(cluster[truth == name])) for name in classes]
    return min(counts, default=len(np.unique(cluster))) - 1


def of_any(
    predictions: pd.DataFrame,
    metric: Callable[[pd.DataFrame], float],
    cluster: np.ndarray,
    draws: np.ndarray,
) -> Resampled:
    """Return any function of predictions, called once for each resample."""
    count = draws.shape[1]
    most = int((draws @ np.bincount(cluster)).max())
    names = np.arange(most).astype(str).astype(object)

    def of(table: pd.DataFrame) -> float:
        return arguments.number("The metric's value", metric(table), PredictionsError, missing=True)

    def of_draw(draw: np.ndarray) -> float:
        rows = np.repeat(np.arange(len(cluster)), draw[cluster])
        # An image that is drawn twice counts as two images.
        return of(predictions.iloc[rows].assign(image_id=names[: len(rows)]))

    values = np.array([of_draw(draw) for draw in draws if count > 1])
    return Resampled(of(predictions), values, count - 1)
