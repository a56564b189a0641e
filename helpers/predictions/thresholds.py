"""Thresholds chosen on validation data, and predictive values at a given prevalence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.table import check

#: Default prevalences for predictive values: shares of people who have the disease.
PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

_RATES = ("sensitivity", "specificity")


def threshold_for(
    validation: pd.DataFrame, sensitivity: float | None = None, specificity: float | None = None
) -> float:
    """Return the threshold that just reaches a required sensitivity, or specificity.

    An image is predicted positive from the threshold up. For a sensitivity the
    result is the *largest* threshold that reaches it on `validation`, so that
    specificity is as high as possible; for a specificity the *smallest*. Images of
    equal score are on the same side, so the value reached may exceed the required one.

    Parameters
    ----------
    validation : pandas.DataFrame
        Labelled predictions, not those of the test set.
    sensitivity, specificity : float
        The required value, above 0 and up to 1; give one of the two.

    Returns
    -------
    float
        For a sensitivity a score of `validation`; for a specificity the smallest
        number above a score.

    Raises
    ------
    PredictionsError
        When both or neither is given, the value is not in (0, 1], or the class
        that it needs is missing.
    """
    if (sensitivity is None) == (specificity is None):
        raise PredictionsError("Give either a sensitivity or a specificity, not both or neither.")
    name = "sensitivity" if specificity is None else "specificity"
    required = sensitivity if specificity is None else specificity
    if not 0 < required <= 1:
        raise PredictionsError(f"A {name} must be above 0 and at most 1; got {required}.")
    truth = catalog.target(check(validation))
    positive = name == "sensitivity"
    scores = np.sort(validation["score"].to_numpy(dtype=float)[truth == int(positive)])
    if not len(scores):
        raise PredictionsError(
            f"No image of the validation table is {'positive' if positive else 'negative'}, "
            f"so its {name} is undefined."
        )
    # The number of images that must be right; in floating point 0.07 * 100 is above 7.
    count = int(np.ceil(required * len(scores) - 1e-9))
    if positive:
        return float(scores[len(scores) - count])
    return float(np.nextafter(scores[count - 1], np.inf))


def carried_over(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    sensitivity: float | None = None,
    specificity: float | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 24,
) -> pd.DataFrame:
    """Choose a threshold on `validation` and return its sensitivity and specificity on `test`.

    Parameters are those of :func:`threshold_for` and of
    :func:`helpers.predictions.metrics.bootstrap_interval`.

    Returns
    -------
    pandas.DataFrame
        `metric` ("sensitivity", "specificity"), `threshold`, `value`, `low`,
        `high` (interval over subjects).
    """
    threshold = threshold_for(validation, sensitivity, specificity)
    table = metrics.report(
        test, _RATES, resamples=resamples, level=level, seed=seed, threshold=threshold
    )
    table.insert(1, "threshold", threshold)
    return table


def predictive_values(
    sensitivity: float | np.ndarray,
    specificity: float | np.ndarray,
    prevalence: float | np.ndarray,
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
        When a prevalence is outside 0..1.
    """
    ill, healthy = np.asarray(prevalence, dtype=float), 1 - np.asarray(prevalence, dtype=float)
    if (ill < 0).any() or (ill > 1).any():
        raise PredictionsError(f"A prevalence must be from 0 to 1; got {prevalence!r}.")
    tp, fp = sensitivity * ill, (1 - np.asarray(specificity)) * healthy
    fn, tn = (1 - np.asarray(sensitivity)) * ill, specificity * healthy
    with np.errstate(invalid="ignore"):
        return tp / (tp + fp), tn / (tn + fn)


def by_prevalence(
    predictions: pd.DataFrame,
    threshold: float = 0.5,
    prevalences: Iterable[float] = PREVALENCES,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 24,
) -> pd.DataFrame:
    """Return the predictive values at each prevalence, with intervals over subjects.

    Sensitivity and specificity are computed from `predictions` and assumed to be the
    same at every prevalence; the share of positive images in the table has no effect.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of both classes.
    prevalences : iterable of float
        Each 0..1.
    threshold, resamples, level, seed
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
    prevalences = [float(prevalence) for prevalence in prevalences]
    (rates,) = _rates(predictions, [threshold], resamples, level, seed)
    freedom, grain = (min(getattr(rate, name) for rate in rates) for name in ("freedom", "grain"))
    rows = []
    for prevalence in prevalences:
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
            row += [result.value, *result.interval(level)]
        rows.append(row)
    return pd.DataFrame(rows, columns=["prevalence", *_with_limits(("ppv", "npv"))])


def by_threshold(
    predictions: pd.DataFrame,
    thresholds: Iterable[float] = tuple(np.linspace(0.02, 0.98, 49).round(2)),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 24,
) -> pd.DataFrame:
    """Return sensitivity and specificity at each threshold, with intervals over subjects.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions of both classes.
    thresholds : iterable of float
    resamples, level, seed
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
    thresholds = [float(threshold) for threshold in thresholds]
    rows = []
    for threshold, rates in zip(
        thresholds, _rates(predictions, thresholds, resamples, level, seed), strict=True
    ):
        row = [threshold]
        for rate in rates:
            row += [rate.value, *rate.interval(level)]
        rows.append(row)
    return pd.DataFrame(rows, columns=["threshold", *_with_limits(_RATES)])


def _with_limits(names: Iterable[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def _rates(
    predictions: pd.DataFrame, thresholds: list[float], resamples: int, level: float, seed: int
) -> Iterator[list[resampling.Resampled]]:
    """Yield sensitivity and specificity at each threshold, from the same resamples."""
    cluster, draws = metrics.draw(predictions, resamples, level, "subject", seed)
    metrics.truth_of_both_classes(predictions, "A pair of sensitivity and specificity")
    for threshold in thresholds:
        rates = metrics.resample(predictions, _RATES, cluster, draws, threshold)
        yield [rates[name] for name in _RATES]
