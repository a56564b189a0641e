"""Metrics of a table of predictions, and their intervals over subjects.

A metric that is undefined (the sensitivity where no image is positive) is NaN;
a table that is not one of predictions raises an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions import resampling
from helpers.predictions.table import check


def accuracy(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of images predicted right."""
    return _value("accuracy", predictions, threshold)


def balanced_accuracy(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the mean of sensitivity and specificity; guessing gives 0.5."""
    return _value("balanced_accuracy", predictions, threshold)


def sensitivity(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of positive images that are predicted positive."""
    return _value("sensitivity", predictions, threshold)


def specificity(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of negative images that are predicted negative."""
    return _value("specificity", predictions, threshold)


def precision(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the share of positive images among those predicted positive."""
    return _value("precision", predictions, threshold)


def f1(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the harmonic mean of precision and sensitivity of the positive class."""
    return _value("f1", predictions, threshold)


def weighted_f1(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the F1 of both classes, weighted by their images (metric of the C-NMC challenge)."""
    return _value("weighted_f1", predictions, threshold)


def mcc(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return Matthews' correlation of true and predicted class, -1..1; guessing gives 0.

    It is 0, as in scikit-learn, where all predictions are of one class, and NaN
    where all images are of one class. Matthews 1975, doi:10.1016/0005-2795(75)90109-9.
    """
    return _value("mcc", predictions, threshold)


def auc(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the area under the ROC curve: how often a positive image outscores a negative one.

    `threshold` is not used.
    """
    return _value("auc", predictions, threshold)


def auc_within(predictions: pd.DataFrame, by: str = "fold") -> float:
    """Return the mean of the AUCs within the parts of a column, of those with both classes.

    Scores of different models, such as those of a cross-validation, are not always comparable;
    the AUC of all of them in one list can then be too low. Parker, Guenter and Bedo 2007,
    doi:10.1186/1471-2105-8-326.
    """
    predictions = check(predictions)
    part, count = _clusters(predictions, by)
    areas = np.array([auc(predictions[part == number]) for number in range(count)])
    return float(areas[~np.isnan(areas)].mean()) if not np.isnan(areas).all() else np.nan


def average_precision(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    """Return the average precision: the area under the precision-recall curve, in steps.

    Guessing gives the share of positive images. `threshold` is not used.
    """
    return _value("average_precision", predictions, threshold)


def bootstrap_interval(
    predictions: pd.DataFrame,
    metric: str | Callable[[pd.DataFrame], float],
    resamples: int = 1000,
    by: str = "subject",
    seed: int = 24,
    threshold: float = 0.5,
    method: str = "t",
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a metric; whole subjects are resampled.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions.
    metric : str or callable
        A name in :data:`METRICS`, or any function from predictions to a
        number (slower: it is called once for each resample).
    resamples : int
        Number of resamples; each draws as many subjects as there are, with replacement.
    by : str
        Column that defines the clusters: rows of the same value are drawn together.
        ``"image_id"`` draws single images; that treats the cells of a person as
        independent, and the interval is too narrow.
    seed : int
        For the resampling.
    threshold : float
        From this score up an image is predicted positive; not used for a callable.
    method : {"t", "percentile"}
        ``percentile`` takes the middle 95 % of the resampled values: easy to
        understand, but too narrow with few subjects. ``t`` takes as many
        standard errors to both sides as Student's t asks for with so few
        subjects; named metrics are transformed to the logit scale for it, so
        that the interval stays inside 0..1.

    Returns
    -------
    low, high : float
        Both NaN when there is only one subject, or a class that the metric needs has
        only one subject. Resamples for which the metric
        is undefined (of one class, for example) are left out.

    Raises
    ------
    PredictionsError
        When the table, the metric, `by`, `resamples` or `method` is not valid.

    Notes
    -----
    If every image is predicted right, the same holds in every resample. The interval
    is then the exact binomial one of n subjects without an error (Clopper and Pearson
    1934, doi:10.1093/biomet/26.4.404). Where another value is the same in every resample
    (all scores are equal, for example), it is undefined: NaN, never without width.

    In simulated studies of 40 subjects ``t`` contains the true value in 93 to 97 of
    100 (test_coverage.py). For a nearly perfect model it is too narrow: an
    AUC of 0.99 is contained in about 85, and with 20 subjects in 70. Such a value
    depends on the few subjects that are misclassified, and the test set may have none.

    References
    ----------
    Hesterberg 2015, doi:10.1080/00031305.2015.1089789 (few clusters);
    Field, Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x (clusters).
    """
    predictions = check(predictions)
    cluster, draws = draw(predictions, resamples, seed, by)
    if callable(metric):
        metric = next((name for name, value in METRICS.items() if value is metric), metric)
    if callable(metric):
        result = resampling.of_any(predictions, metric, cluster, draws)
    else:
        result = resample(predictions, [metric], cluster, draws, threshold)[metric]
    return result.interval(method)


def report(
    predictions: pd.DataFrame,
    metrics: Iterable[str] | None = None,
    resamples: int = 1000,
    by: str = "subject",
    seed: int = 24,
    threshold: float = 0.5,
    method: str = "t",
) -> pd.DataFrame:
    """Return a table of metrics with their intervals: `metric`, `value`, `low`, `high`.

    Parameters are those of :func:`bootstrap_interval`; `metrics` are names in
    :data:`METRICS`, by default all. All metrics are of the same resamples.
    """
    names = arguments.names(
        "The metrics", METRICS if metrics is None else metrics, PredictionsError
    )
    predictions = check(predictions)
    cluster, draws = draw(predictions, resamples, seed, by)
    results = resample(predictions, names, cluster, draws, threshold)
    rows = [(name, results[name].value, *results[name].interval(method)) for name in names]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])


def per_subject(predictions: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """Return the predictions of each subject summed up: one row per subject, sorted by name.

    Returns
    -------
    pandas.DataFrame
        `subject`; `label` (``"hem"``; of a subject with several classes
        ``"all/hem"``); `images`; `right`, the images predicted right;
        `accuracy`; `low` and `high`, Wilson's interval for the accuracy on
        further images of this subject; `score`, the mean; `predicted_positive`,
        the share of images predicted positive.

    References
    ----------
    Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    from statsmodels.stats.proportion import proportion_confint

    predictions = check(predictions)
    predicted_positive = _positive(predictions, threshold)
    images = pd.DataFrame(
        {
            "subject": predictions["subject"].astype(str).to_numpy(),
            "label": predictions["label"].to_numpy(),
            "right": predicted_positive == _truth(predictions),
            "score": predictions["score"].to_numpy(dtype=float),
            "predicted_positive": predicted_positive,
        }
    )
    table = (
        images.groupby("subject", sort=True)
        .agg(
            label=("label", lambda names: "/".join(sorted(set(names)))),
            images=("right", "size"),
            right=("right", "sum"),
            accuracy=("right", "mean"),
            score=("score", "mean"),
            predicted_positive=("predicted_positive", "mean"),
        )
        .reset_index()
    )
    interval = proportion_confint(
        table["right"], table["images"], 1 - resampling.LEVEL, method="wilson"
    )
    for index, name, limit in zip((5, 6), ("low", "high"), interval, strict=True):
        table.insert(index, name, limit.clip(0, 1))  # rounding may leave 0..1
    return table


_MOST = 1_000_000  # resamples; ten thousand leave no error that a page would show

#: The metrics by name, in the order of a report.
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

# The classes (0, 1) that a metric needs images of; the others need any images.
_NEEDS = {
    "balanced_accuracy": (0, 1),
    "sensitivity": (1,),
    "specificity": (0,),
    "mcc": (0, 1),
    "auc": (0, 1),
    "average_precision": (0, 1),
}


def draw(
    predictions: pd.DataFrame, resamples: int, seed: int, by: str = "subject"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster of each row, and how often each cluster is in each resample.

    Parameters are those of :func:`bootstrap_interval`, `predictions` checked; the
    result is what :func:`resample` takes.
    """
    arguments.whole("The number of resamples", resamples, PredictionsError, 1, _MOST)
    arguments.whole("The seed", seed, PredictionsError)
    cluster, count = _clusters(predictions, by)
    return cluster, resampling.draw(count, resamples, seed)


def _clusters(predictions: pd.DataFrame, by: str) -> tuple[np.ndarray, int]:
    """Return the number of each row's part by a column, and how many parts there are."""
    if not isinstance(by, str) or list(predictions.columns).count(by) != 1:
        raise PredictionsError(
            f"The predictions have no column {arguments.shown(by)} to group by; "
            f"they have {list(predictions.columns)}."
        )
    return resampling.clusters(predictions[by])


def resample(
    predictions: pd.DataFrame,
    names: Iterable[str],
    cluster: np.ndarray,
    draws: np.ndarray,
    threshold: float = 0.5,
) -> dict[str, resampling.Resampled]:
    """Return the named metrics with their values in all resamples, ready for an interval.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of n images, checked.
    names : iterable of str
        Of :data:`METRICS`.
    cluster : numpy.ndarray
        int64, shape (n,): the number of each image's cluster.
    draws : numpy.ndarray
        int64, shape (resamples, clusters): how often each cluster was drawn.
    threshold : float
        From this score up an image is predicted positive.
    """
    names = [arguments.one_of("metric", name, METRICS, PredictionsError) for name in names]
    truth = _truth(predictions)
    draws = np.vstack([np.ones((1, draws.shape[1]), dtype=np.int64), draws])  # first the original
    # The counts of a resample are sums of its clusters' counts: one matrix product for all.
    cell = 2 * truth + _positive(predictions, threshold)
    values = resampling.from_counts(*resampling.sums(cell, 4, cluster, draws).T)
    if {"auc", "average_precision"} & set(names):
        score = predictions["score"].to_numpy(dtype=float)
        areas = resampling.areas(score, truth, cluster, draws)
        values.update(zip(("auc", "average_precision"), areas, strict=True))
    return {
        name: resampling.Resampled(
            float(values[name][0]),
            values[name][1:],
            resampling.freedom(truth, cluster, _NEEDS.get(name, ())),
            (-1, 1) if name == "mcc" else (0, 1),
            _grain(truth, _NEEDS.get(name, ())),
        )
        for name in names
    }


def truth_of_both_classes(predictions: pd.DataFrame, what: str) -> np.ndarray:
    """Return 1 for positive and 0 for negative rows, int64 (n,); both must be there.

    Raises
    ------
    PredictionsError
        When a class is missing; the message names `what` needs both.
    """
    truth = _truth(check(predictions))
    if truth.min() == truth.max():
        raise PredictionsError(
            f"{what} needs images of both classes; all {len(truth)} rows are "
            f"{'positive' if truth[0] else 'negative'}."
        )
    return truth


def _grain(truth: np.ndarray, classes: tuple[int, ...]) -> float:
    images = min((int(np.sum(truth == name)) for name in classes), default=len(truth))
    return 0.5 / (images + 1)


def _truth(predictions: pd.DataFrame) -> np.ndarray:
    return catalog.target(predictions).astype(np.int64)


def _positive(predictions: pd.DataFrame, threshold: float) -> np.ndarray:
    arguments.number("The threshold", threshold, PredictionsError)
    return (predictions["score"].to_numpy(dtype=float) >= threshold).astype(np.int64)


def _value(name: str, predictions: pd.DataFrame, threshold: float) -> float:
    predictions = check(predictions)
    everything = np.zeros(len(predictions), dtype=np.int64)
    none = np.empty((0, 1), dtype=np.int64)
    return resampling.figure(resample(predictions, [name], everything, none, threshold)[name].value)
