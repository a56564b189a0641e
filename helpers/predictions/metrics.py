"""Figures of merit and their intervals, computed from predictions alone.

A figure that the table cannot give (the sensitivity where no image is
positive) is NaN; a table that is not one of predictions is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base.errors import PredictionsError
from helpers.predictions import resampling
from helpers.predictions.table import check

#: How intervals are read off the resamples unless another way is asked for.
METHOD = "t"


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


def mcc(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return Matthews' correlation of truth and prediction, -1..1; guessing gives 0.

    As in scikit-learn, 0 where every image is predicted one class; NaN where
    every image *is* of one class. Matthews 1975, doi:10.1016/0005-2795(75)90109-9.
    """
    return _value("mcc", predictions, threshold)


def auc(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the area under the ROC curve: how often a positive image outscores a negative one.

    `threshold` is taken like everywhere and not used.
    """
    return _value("auc", predictions, threshold)


def average_precision(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the average precision, the area under the precision-recall curve as steps.

    Guessing gives the share of positive images. `threshold` is not used.
    """
    return _value("average_precision", predictions, threshold)


def bootstrap_interval(
    predictions: pd.DataFrame,
    metric: str | Callable[[pd.DataFrame], float],
    resamples: int = 1000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    threshold: float = 0.5,
    method: str = METHOD,
) -> tuple[float, float]:
    """Return the bootstrap interval of a figure, resampling whole subjects.

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
        Share of studies like this one whose interval shall hold the truth.
    by : str
        Column whose equal rows are drawn together; ``"image_id"`` draws images,
        which takes the cells of a person for independent and is too narrow.
    seed : int
        Of the draw.
    threshold : float
        Passed on to a named metric.
    method : {"t", "percentile", "bca"}
        ``percentile`` takes the middle `level` of the resampled values: easy to
        understand, and too narrow with few subjects. ``t`` goes as many
        standard errors (of the resamples) to both sides as Student's t asks
        for with so few subjects, for named figures on the logit scale, so that
        it stays inside 0..1. ``bca`` shifts the percentiles for bias and
        skewness.

    Returns
    -------
    low, high : float
        Both NaN when there is one subject only, and with ``t`` also when a
        class that the figure needs has one subject only. Resamples without a
        value (of one class, say) are left out.

    Notes
    -----
    Where every image is predicted right, so is it in every resample. With ``t``
    the interval then reaches down to what n subjects without a failure leave
    possible (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404); with the
    other methods it has no width.

    In simulated studies of 40 subjects ``t`` holds the truth in 93 to 97 of 100
    (tests/unit/test_coverage.py). It promises too much of a nearly perfect model: an
    AUC of 0.99 is held in about 85, and with 20 subjects in 70. Such a figure rests on
    the few subjects that are misread, and there may be none of them in the test.

    References
    ----------
    Efron, Tibshirani: An Introduction to the Bootstrap, 1993 (percentile, BCa);
    Hesterberg 2015, doi:10.1080/00031305.2015.1089789 (few clusters);
    Field, Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x (clusters).
    """
    cluster, draws = draw(predictions, resamples, level, by, seed, method)
    if callable(metric):
        metric = next((name for name, known in METRICS.items() if known is metric), metric)
    if callable(metric):
        found = resampling.of_any(predictions, metric, cluster, draws, method)
    else:
        found = study(predictions, [metric], cluster, draws, threshold, method)[metric]
    return found.interval(level, method)


def report(
    predictions: pd.DataFrame,
    metrics: Iterable[str] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    threshold: float = 0.5,
    method: str = METHOD,
) -> pd.DataFrame:
    """Return a table of figures with their intervals: `metric`, `value`, `low`, `high`.

    Parameters are those of :func:`bootstrap_interval`; `metrics` are names in
    :data:`METRICS`, by default all. Every figure sees the same resamples.
    """
    names = list(METRICS if metrics is None else metrics)
    cluster, draws = draw(predictions, resamples, level, by, seed, method)
    found = study(predictions, names, cluster, draws, threshold, method)
    rows = [(name, found[name].value, *found[name].interval(level, method)) for name in names]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])


def per_subject(
    predictions: pd.DataFrame, threshold: float = 0.5, level: float = 0.95
) -> pd.DataFrame:
    """Return how each subject fared: one row a subject, in the order of their names.

    Returns
    -------
    pandas.DataFrame
        `subject`; `label` (``"hem"``; of a subject with several classes
        ``"all/hem"``); `images`; `right`, the images predicted right;
        `accuracy`; `low` and `high`, Wilson's interval for the accuracy on
        further images of this subject; `score`, the mean; `called_positive`,
        the share of images called positive.

    References
    ----------
    Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    called = _positive(check(predictions), threshold)
    told = pd.DataFrame(
        {
            "subject": predictions["subject"].astype(str).to_numpy(),
            "label": predictions["label"].to_numpy(),
            "right": called == _truth(predictions),
            "score": predictions["score"].to_numpy(dtype=float),
            "called": called,
        }
    )
    each = told.groupby("subject", sort=True)
    table = each.agg(
        label=("label", lambda names: "/".join(sorted(set(names)))),
        images=("right", "size"),
        right=("right", "sum"),
        accuracy=("right", "mean"),
        score=("score", "mean"),
        called_positive=("called", "mean"),
    ).reset_index()
    low, high = wilson(table["right"].to_numpy(), table["images"].to_numpy(), level)
    table.insert(5, "low", low)
    table.insert(6, "high", high)
    return table


def wilson(
    hits: np.ndarray, trials: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's interval of a share of independent trials; NaN where there is none."""
    from scipy import stats

    hits, trials = np.asarray(hits, dtype=float), np.asarray(trials, dtype=float)
    square = stats.norm.ppf((1 + level) / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = hits / trials
        middle = share + square / (2 * trials)
        reach = np.sqrt(square * (share * (1 - share) + square / (4 * trials)) / trials)
        whole = 1 + square / trials
        return np.maximum((middle - reach) / whole, 0), np.minimum((middle + reach) / whole, 1)


def resampled(
    predictions: pd.DataFrame,
    names: Iterable[str],
    cluster: np.ndarray,
    draws: np.ndarray,
    threshold: float = 0.5,
) -> dict[str, np.ndarray]:
    """Return the named figures of each resample, float64 (resamples,), all from one pass.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of n images.
    names : iterable of str
        Of :data:`METRICS`.
    cluster : numpy.ndarray
        int64, shape (n,): the number of each image's cluster.
    draws : numpy.ndarray
        int64, shape (resamples, clusters): how often each cluster was drawn.
    threshold : float
        From this score up an image counts as positive.
    """
    names = [_known(name) for name in names]
    truth = _truth(predictions)
    values = {}
    if {"auc", "average_precision"} & set(names):
        score = predictions["score"].to_numpy(dtype=float)
        areas = resampling.areas(score, truth, cluster, draws)
        values.update(zip(("auc", "average_precision"), areas, strict=True))
    # A resample's counts are sums of its clusters' counts: one matrix product for all.
    cell = 2 * truth + _positive(predictions, threshold)
    counts = resampling.sums(cell, 4, cluster, draws).T
    for name in names:
        if name not in values:
            values[name] = resampling.from_counts(name, *counts)
    return {name: values[name] for name in names}


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
        mcc,
        auc,
        average_precision,
    )
}

# The classes (0, 1) whose subjects a figure rests on; the others rest on all subjects alike.
_RESTS_ON = {
    "balanced_accuracy": (0, 1),
    "sensitivity": (1,),
    "specificity": (0,),
    "mcc": (0, 1),
    "auc": (0, 1),
    "average_precision": (0, 1),
}


def draw(
    predictions: pd.DataFrame, resamples: int, level: float, by: str, seed: int, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's cluster and how often each cluster is drawn, once the wishes are sound.

    Parameters are those of :func:`bootstrap_interval`; what is returned is what
    :func:`resampled` takes.
    """
    check(predictions)
    if not 0 < level < 1 or resamples < 1:
        raise PredictionsError(
            f"An interval needs a level between 0 and 1 and at least one resample; "
            f"got level {level} and {resamples} resamples."
        )
    if method not in resampling.METHODS:
        raise PredictionsError(
            f"There is no interval by {method!r}; known are {', '.join(resampling.METHODS)}."
        )
    if by not in predictions:
        raise PredictionsError(
            f"The predictions have no column {by!r} to resample by; "
            f"they have {list(predictions.columns)}."
        )
    cluster, count = resampling.clusters(predictions[by])
    return cluster, resampling.draw(count, resamples, seed)


def study(
    predictions: pd.DataFrame,
    names: Iterable[str],
    cluster: np.ndarray,
    draws: np.ndarray,
    threshold: float,
    method: str,
) -> dict[str, resampling.Resampled]:
    """Return the named figures with all that their intervals by `method` need."""
    names, count = [_known(name) for name in names], draws.shape[1]
    weights = [draws, np.ones((1, count), dtype=np.int64)]
    if method == "bca":
        weights.append(resampling.without_one(count))
    found = resampled(predictions, names, cluster, np.concatenate(weights), threshold)
    truth, drawn = _truth(predictions), len(draws)
    return {
        name: resampling.Resampled(
            float(found[name][drawn]),
            found[name][:drawn],
            resampling.freedom(truth, cluster, _RESTS_ON.get(name, ())),
            (-1, 1) if name == "mcc" else (0, 1),
            _grain(truth, _RESTS_ON.get(name, ())),
            found[name][drawn + 1 :],
        )
        for name in names
    }


# The classes (0, 1) whose subjects a figure rests on; the others rest on all subjects alike.
_RESTS_ON = {
    "balanced_accuracy": (0, 1),
    "sensitivity": (1,),
    "specificity": (0,),
    "mcc": (0, 1),
    "auc": (0, 1),
    "average_precision": (0, 1),
}


def _grain(truth: np.ndarray, classes: tuple[int, ...]) -> float:
    images = min((int(np.sum(truth == name)) for name in classes), default=len(truth))
    return 0.5 / (images + 1)


def _known(name: str) -> str:
    if name not in METRICS:
        raise PredictionsError(f"There is no figure {name!r}; known are {', '.join(METRICS)}.")
    return name


def _truth(predictions: pd.DataFrame) -> np.ndarray:
    return catalog.target(check(predictions)).astype(np.int64)


def _positive(predictions: pd.DataFrame, threshold: float) -> np.ndarray:
    return (predictions["score"].to_numpy(dtype=float) >= threshold).astype(np.int64)


def _value(name: str, predictions: pd.DataFrame, threshold: float) -> float:
    everything = np.zeros(len(predictions), dtype=np.int64)
    once = np.ones((1, 1), dtype=np.int64)
    return float(resampled(predictions, [name], everything, once, threshold)[name][0])
