"""Figures of merit and their intervals, computed from predictions alone.

A table of predictions has one row an image and the columns `image_id`,
`subject`, `label`, `split` and `score`, the probability of the positive class.
A figure that the table cannot give (the sensitivity where no image is
positive) is NaN; a table that is not one of predictions is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.errors import CourseError

#: Columns of every table of predictions, in their order.
COLUMNS = ("image_id", "subject", "label", "split", "score")


class MetricsError(CourseError, ValueError):
    """A table that is not one of predictions, or a figure that is not known."""


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return `predictions` as it is when it is sound, raise otherwise.

    Raises
    ------
    MetricsError
        When it is empty, a column is missing, an image stands twice, or a
        score is missing or outside 0..1.
    """
    missing = [column for column in COLUMNS if column not in predictions]
    if missing:
        raise MetricsError(
            f"The predictions lack the columns {missing}; helpers.zoo.predict makes them."
        )
    if predictions.empty:
        raise MetricsError("The predictions have no rows: was the split left empty?")
    repeated = predictions["image_id"][predictions["image_id"].duplicated()]
    if len(repeated):
        raise MetricsError(
            f"{len(repeated)} rows of the predictions repeat an image, first "
            f"{repeated.iloc[0]!r}: each image counts once."
        )
    scores = pd.to_numeric(predictions["score"], errors="coerce").to_numpy(dtype=float)
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        row = predictions.iloc[int(np.argmax(wrong))]
        raise MetricsError(
            f"{int(wrong.sum())} scores are not probabilities from 0 to 1, first "
            f"{row['score']!r} of {row['image_id']!r}: did the training diverge?"
        )
    return predictions


def confusion_counts(predictions: pd.DataFrame, threshold: float = 0.5) -> np.ndarray:
    """Count images by truth (rows) and prediction (columns), negative class first.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions.
    threshold : float
        From this score up an image counts as positive.

    Returns
    -------
    numpy.ndarray
        int64, shape (2, 2): ``[[tn, fp], [fn, tp]]``.
    """
    truth, positive = _truth(predictions), _positive(predictions, threshold)
    return np.bincount(2 * truth + positive, minlength=4).reshape(2, 2)


def accuracy(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of images predicted right."""
    return _value("accuracy", predictions, threshold)


def balanced_accuracy(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the mean of sensitivity and specificity; guessing gives 0.5."""
    return _value("balanced_accuracy", predictions, threshold)


def sensitivity(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of positive images that are found."""
    return _value("sensitivity", predictions, threshold)


def specificity(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of negative images that are left alone."""
    return _value("specificity", predictions, threshold)


def precision(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of true positives among the images called positive."""
    return _value("precision", predictions, threshold)


def f1(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the harmonic mean of precision and sensitivity of the positive class."""
    return _value("f1", predictions, threshold)


def weighted_f1(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the F1 of both classes, weighted by their images (the C-NMC challenge's figure)."""
    return _value("weighted_f1", predictions, threshold)


def auc(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the area under the ROC curve: how often a positive image outscores a negative one.

    `threshold` is taken like everywhere and not used.
    """
    return _value("auc", predictions, threshold)


def bootstrap_interval(
    predictions: pd.DataFrame,
    metric: str | Callable[[pd.DataFrame], float],
    resamples: int = 1000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    threshold: float = 0.5,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a figure, resampling whole subjects.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions.
    metric : str or callable
        A name in :data:`METRICS`, or any function from predictions to a
        number (slower: it is called once a resample).
    resamples : int
        How often as many subjects as there are are drawn with replacement.
    level : float
        Share of the resampled values inside the interval.
    by : str
        Column whose equal rows are drawn together; ``"image_id"`` draws images,
        which takes the cells of a person for independent and is too narrow.
    seed : int
        Of the draw.
    threshold : float
        Passed on to a named metric.

    Returns
    -------
    low, high : float
        Both NaN when there is one subject only. Resamples without a value
        (of one class, say) are left out.

    References
    ----------
    Efron, Tibshirani: An Introduction to the Bootstrap, 1993. Resampling of
    clusters: Field, Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x.
    """
    check(predictions)
    if not 0 < level < 1 or resamples < 1:
        raise MetricsError(
            f"An interval needs a level between 0 and 1 and at least one resample; "
            f"got level {level} and {resamples} resamples."
        )
    if by not in predictions:
        raise MetricsError(
            f"The predictions have no column {by!r} to resample by; "
            f"they have {list(predictions.columns)}."
        )
    names, cluster = np.unique(predictions[by].astype(str), return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=resamples
    )
    if callable(metric):
        metric = next((name for name, known in METRICS.items() if known is metric), metric)
    if callable(metric):
        values = _resample_any(predictions, metric, cluster, draws)
    else:
        values = _resample_known(predictions, _known(metric), cluster, draws, threshold)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def report(
    predictions: pd.DataFrame,
    metrics: Iterable[str] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    threshold: float = 0.5,
) -> pd.DataFrame:
    """Return a table of figures with their intervals: `metric`, `value`, `low`, `high`.

    Parameters are those of :func:`bootstrap_interval`; `metrics` are names in
    :data:`METRICS`, by default all. Every figure sees the same resamples.
    """
    rows = []
    for name in METRICS if metrics is None else metrics:
        low, high = bootstrap_interval(predictions, name, resamples, level, by, seed, threshold)
        rows.append((name, _value(name, predictions, threshold), low, high))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])


#: The figures by name, in the order of a report.
METRICS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        accuracy,
        balanced_accuracy,
        sensitivity,
        specificity,
        precision,
        f1,
        weighted_f1,
        auc,
    )
}


def _known(name: str) -> str:
    if name not in METRICS:
        raise MetricsError(f"There is no figure {name!r}; known are {', '.join(METRICS)}.")
    return name


def _truth(predictions: pd.DataFrame) -> np.ndarray:
    return catalog.target(check(predictions)).astype(np.int64)


def _positive(predictions: pd.DataFrame, threshold: float) -> np.ndarray:
    return (predictions["score"].to_numpy(dtype=float) >= threshold).astype(np.int64)


def _value(name: str, predictions: pd.DataFrame, threshold: float) -> float:
    everything = np.zeros(len(predictions), dtype=np.int64)
    once = np.ones((1, 1), dtype=np.int64)
    return float(_resample_known(predictions, _known(name), everything, once, threshold)[0])


def _resample_known(
    predictions: pd.DataFrame, name: str, cluster: np.ndarray, draws: np.ndarray, threshold: float
) -> np.ndarray:
    """Return the figure of each resample; `draws[b, c]` tells how often b holds cluster c."""
    truth = _truth(predictions)
    if name == "auc":
        return _resample_auc(predictions["score"].to_numpy(dtype=float), truth, cluster, draws)
    # A resample's counts are sums of its clusters' counts: one matrix product for all.
    cell = 4 * cluster + 2 * truth + _positive(predictions, threshold)
    counts = np.bincount(cell, minlength=4 * draws.shape[1]).reshape(-1, 4)
    return _from_counts(name, *(draws @ counts).T.astype(float))


def _from_counts(
    name: str, tn: np.ndarray, fp: np.ndarray, fn: np.ndarray, tp: np.ndarray
) -> np.ndarray:
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
        positive = 2 * tp / (2 * tp + fp + fn)
        if name == "f1":
            return positive
        negative = 2 * tn / (2 * tn + fp + fn)
        # A class without images weighs nothing, whatever its F1.
        shares = (tp + fn) / (tp + tn + fp + fn)
        return np.where(shares > 0, shares * positive, 0) + np.where(
            shares < 1, (1 - shares) * negative, 0
        )


def _resample_auc(
    score: np.ndarray, truth: np.ndarray, cluster: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Return the AUC of each resample, as a quadratic form in the clusters' multiplicities.

    The Mann-Whitney count adds up over pairs of clusters, so the pairs are
    compared once and not once a resample.
    """
    positives, row = np.unique(cluster[truth == 1], return_inverse=True)
    negatives = np.unique(cluster[truth == 0])
    if not len(positives) or not len(negatives):
        return np.full(len(draws), np.nan)
    wins = np.empty((len(positives), len(negatives)))
    for column, name in enumerate(negatives):
        others = np.sort(score[(truth == 0) & (cluster == name)])
        below = np.searchsorted(others, score[truth == 1], side="left")
        not_above = np.searchsorted(others, score[truth == 1], side="right")
        wins[:, column] = np.bincount(row, weights=(below + not_above) / 2)
    many = np.bincount(cluster[truth == 1], minlength=draws.shape[1])
    few = np.bincount(cluster[truth == 0], minlength=draws.shape[1])
    total = np.einsum("bi,bi->b", draws[:, positives] @ wins, draws[:, negatives])
    with np.errstate(invalid="ignore"):
        return total / ((draws @ many) * (draws @ few))


def _resample_any(
    predictions: pd.DataFrame,
    metric: Callable[[pd.DataFrame], float],
    cluster: np.ndarray,
    draws: np.ndarray,
) -> np.ndarray:
    values = []
    for draw in draws:
        rows = np.repeat(np.arange(len(cluster)), draw[cluster])
        sample = predictions.iloc[rows].copy()
        # Drawn twice, an image counts as two.
        sample["image_id"] = np.arange(len(sample)).astype(str)
        values.append(float(metric(sample)))
    return np.array(values)
