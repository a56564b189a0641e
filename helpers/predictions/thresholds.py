"""Thresholds chosen on validation data, and predictive values at a given prevalence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.table import check, check_fitting

#: Prevalences for predictive values: shares of people who have the disease.
PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
#: The metrics that a threshold trades for each other.
RATES = ("sensitivity", "specificity")


def threshold_for(validation: pd.DataFrame, sensitivity: float) -> float:
    """Return the largest threshold that reaches a required sensitivity.

    An image is predicted positive from the threshold up. The threshold is the largest,
    so that specificity is as high as possible. Images of equal score are on the same
    side, so the sensitivity on `validation` may exceed the required one.

    Parameters
    ----------
    validation : pandas.DataFrame
        Labelled predictions, none of them of the split ``test``.
    sensitivity : float
        The required value, above 0 and up to 1.

    Returns
    -------
    float
        A score of `validation`.

    Raises
    ------
    PredictionsError
        When the sensitivity is not in (0, 1], no image is positive, or a row is a test row.
    """
    if not 0 < arguments.number("A sensitivity", sensitivity, PredictionsError, missing=True) <= 1:
        raise PredictionsError(f"A sensitivity must be above 0 and at most 1; got {sensitivity}.")
    validation = check_fitting(validation, "A threshold")
    truth = catalog.target(validation)
    scores = np.sort(validation["score"].to_numpy(dtype=float)[truth == 1])
    if not len(scores):
        raise PredictionsError(
            "No image of the validation table is positive, so its sensitivity is undefined."
        )
    # The number of images that must be right; in floating point 0.07 * 100 is above 7.
    count = int(np.ceil(sensitivity * len(scores) - 1e-9))
    return float(scores[len(scores) - count])


def predictive_values(
    sensitivity: float | np.ndarray, specificity: float | np.ndarray, prevalence: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positive and the negative predictive value by Bayes' rule.

    The positive predictive value is the share of ill people among those predicted
    positive, the negative one the share of healthy people among the others.

    Parameters
    ----------
    sensitivity, specificity, prevalence : float or numpy.ndarray
        Each 0..1; arrays broadcast.

    Returns
    -------
    tuple of numpy.ndarray
        NaN where no image is predicted positive (or negative).

    Raises
    ------
    PredictionsError
        When one of them is outside 0..1, or the arrays are not of shapes that broadcast.
    """
    sensitivity, specificity = (
        arguments.array(name, value, PredictionsError, 0, 1, missing=True)
        for name, value in (("A sensitivity", sensitivity), ("A specificity", specificity))
    )
    ill = arguments.array("A prevalence", prevalence, PredictionsError, 0, 1)
    try:
        sensitivity, specificity, ill = np.broadcast_arrays(sensitivity, specificity, ill)
    except ValueError as error:
        raise PredictionsError(f"The arrays of rates do not belong together: {error}.") from error
    tp, fp = sensitivity * ill, (1 - specificity) * (1 - ill)
    fn, tn = (1 - sensitivity) * ill, specificity * (1 - ill)
    with np.errstate(invalid="ignore"):
        return tp / (tp + fp), tn / (tn + fn)


def by_prevalence(
    predictions: pd.DataFrame, threshold: float = 0.5, resamples: int = 1000, seed: int = 24
) -> pd.DataFrame:
    """Return the predictive values at each of `PREVALENCES`, with intervals over subjects.

    Sensitivity and specificity are computed from `predictions` and assumed to be the
    same at every prevalence; the share of positive images in the table has no effect.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of both classes.
    threshold, resamples, seed
        As in :func:`helpers.predictions.metrics.bootstrap_interval`.

    Returns
    -------
    pandas.DataFrame
        `prevalence`, `ppv`, `ppv_low`, `ppv_high`, `npv`, `npv_low`,
        `npv_high`.

    Raises
    ------
    PredictionsError
        When a class is missing from `predictions`.
    """
    threshold = arguments.number("The threshold", threshold, PredictionsError)
    (rates,) = _rates(predictions, [threshold], resamples, seed)
    freedom, grain = (min(getattr(rate, name) for rate in rates) for name in ("freedom", "grain"))
    rows = []
    for prevalence in PREVALENCES:
        row = [prevalence]
        values = predictive_values(*(rate.value for rate in rates), prevalence)
        resampled = predictive_values(*(rate.values for rate in rates), prevalence)
        for value, in_resamples in zip(values, resampled, strict=True):
            result = resampling.Resampled(
                float(value),
                in_resamples,
                freedom,
                (0, 1),
                grain * min(prevalence, 1 - prevalence),
            )
            row += [result.value, *result.interval()]
        rows.append(row)
    return pd.DataFrame(rows, columns=["prevalence", *_with_limits(("ppv", "npv"))])


def by_threshold(
    predictions: pd.DataFrame,
    thresholds: Iterable[float] = tuple(np.linspace(0.02, 0.98, 49).round(2)),
    resamples: int = 1000,
    seed: int = 24,
) -> pd.DataFrame:
    """Return sensitivity and specificity at each threshold, with intervals over subjects.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of both classes.
    thresholds : iterable of float
    resamples, seed
        As in :func:`helpers.predictions.metrics.bootstrap_interval`; the resamples are
        the same at each threshold.

    Returns
    -------
    pandas.DataFrame
        `threshold`, `sensitivity`, `sensitivity_low`, `sensitivity_high`,
        `specificity`, `specificity_low`, `specificity_high`.

    Raises
    ------
    PredictionsError
        When a class is missing from `predictions`.
    """
    try:
        thresholds = np.asarray(list(thresholds))
    except (TypeError, ValueError) as error:
        raise PredictionsError(
            f"The thresholds must be a list of numbers, not {arguments.shown(thresholds)}."
        ) from error
    thresholds = arguments.array("The thresholds", thresholds, PredictionsError).ravel().tolist()
    rows = []
    for one, other in _rates(predictions, thresholds, resamples, seed):
        rows.append((one.value, *one.interval(), other.value, *other.interval()))
    table = pd.DataFrame(rows, columns=_with_limits(RATES))
    table.insert(0, "threshold", thresholds)
    return table


def _with_limits(names: Iterable[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def _rates(
    predictions: pd.DataFrame, thresholds: list[float], resamples: int, seed: int
) -> Iterator[list[resampling.Resampled]]:
    """Yield sensitivity and specificity at each threshold, from the same resamples."""
    predictions = check(predictions)
    cluster, draws = metrics.draw(predictions, resamples, seed)
    metrics.truth_of_both_classes(predictions, "A pair of sensitivity and specificity")
    for threshold in thresholds:
        rates = metrics.resample(predictions, RATES, cluster, draws, threshold)
        yield [rates[name] for name in RATES]
