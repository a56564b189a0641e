"""Where to cut: thresholds chosen on validation data, and what they promise at a prevalence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.table import check

#: Shares of patients with the disease to tell predictive values at, from rare to common.
PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

_RATES = ("sensitivity", "specificity")


def threshold_for(
    validation: pd.DataFrame, sensitivity: float | None = None, specificity: float | None = None
) -> float:
    """Return the threshold that just reaches the wanted sensitivity, or specificity.

    An image counts as positive from the threshold up. For a sensitivity the
    *largest* threshold that reaches it on `validation` is returned, which keeps
    specificity as high as it can be; for a specificity the *smallest*. Tied
    images fall on the same side, so more than what was wanted may be reached.

    Parameters
    ----------
    validation : pandas.DataFrame
        Labelled predictions, not those of the test set.
    sensitivity, specificity : float
        One of the two, above 0 and up to 1.

    Returns
    -------
    float
        For a sensitivity a score of `validation`; for a specificity the next
        number above one.

    Raises
    ------
    PredictionsError
        When both or none is wanted, the wish is not in (0, 1], or the class it
        speaks of is missing.
    """
    if (sensitivity is None) == (specificity is None):
        raise PredictionsError("Give either a sensitivity or a specificity, not both or none.")
    name = "sensitivity" if specificity is None else "specificity"
    wanted = sensitivity if specificity is None else specificity
    if not 0 < wanted <= 1:
        raise PredictionsError(f"A wanted {name} lies above 0 and up to 1; got {wanted}.")
    truth = catalog.target(check(validation))
    side = int(name == "sensitivity")
    scores = np.sort(validation["score"].to_numpy(dtype=float)[truth == side])
    if not len(scores):
        raise PredictionsError(
            f"No image of the validation table is {('negative', 'positive')[side]}: "
            f"no {name} to reach."
        )
    # As many images must be right; 0.07 x 100 is a little more than 7 in floating point.
    needed = int(np.ceil(wanted * len(scores) - 1e-9))
    if side:
        return float(scores[len(scores) - needed])
    return float(np.nextafter(scores[needed - 1], np.inf))


def carried_over(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    sensitivity: float | None = None,
    specificity: float | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 24,
) -> pd.DataFrame:
    """Choose a threshold on `validation` and return what it gives there and on `test`.

    Returns
    -------
    pandas.DataFrame
        One row a table and figure: `on` ("validation", "test"), `metric`
        ("sensitivity", "specificity"), `threshold`, `wanted` (NaN for the
        figure that was not chosen), `value`, `low`, `high` (over subjects).
        On validation the value was made to fit; only that on test is a finding.
    """
    cut = threshold_for(validation, sensitivity, specificity)
    wishes = {"sensitivity": sensitivity, "specificity": specificity}
    parts = []
    for name, table in (("validation", validation), ("test", test)):
        part = metrics.report(
            table, list(wishes), resamples=resamples, level=level, seed=seed, threshold=cut
        )
        part.insert(0, "on", name)
        part.insert(2, "threshold", cut)
        part.insert(3, "wanted", [np.nan if w is None else w for w in wishes.values()])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def predictive_values(
    sensitivity: float | np.ndarray,
    specificity: float | np.ndarray,
    prevalence: float | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positive and the negative predictive value by Bayes' rule.

    Parameters broadcast. NaN where nothing is called positive (or negative).
    Of a hundred people called positive, the first times a hundred are ill.
    """
    sick, well = np.asarray(prevalence, dtype=float), 1 - np.asarray(prevalence, dtype=float)
    if (sick < 0).any() or (sick > 1).any():
        raise PredictionsError(f"A prevalence lies from 0 to 1; got {prevalence!r}.")
    hits, alarms = sensitivity * sick, (1 - np.asarray(specificity)) * well
    misses, rests = (1 - np.asarray(sensitivity)) * sick, specificity * well
    with np.errstate(invalid="ignore"):
        return hits / (hits + alarms), rests / (rests + misses)


def by_prevalence(
    predictions: pd.DataFrame,
    threshold: float = 0.5,
    prevalences: Iterable[float] = PREVALENCES,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 24,
    method: str = metrics.METHOD,
) -> pd.DataFrame:
    """Return the predictive values at each prevalence, with intervals over subjects.

    Sensitivity and specificity are those of `predictions`, taken to hold at
    every prevalence; the share of positives in the table plays no part.

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
    (rates,) = _rates(predictions, [threshold], resamples, level, seed, method)
    rows = []
    for prevalence in prevalences:
        row = [prevalence]
        for place in range(2):
            value, values, left = (
                predictive_values(*(getattr(rate, part) for rate in rates), prevalence)[place]
                for part in ("value", "values", "left")
            )
            found = resampling.Resampled(
                float(value),
                values,
                min(rate.freedom for rate in rates),
                (0, 1),
                min(rate.grain for rate in rates) * min(prevalence, 1 - prevalence),
                left,
            )
            row += [found.value, *found.interval(level, method)]
        rows.append(row)
    return pd.DataFrame(
        rows,
        columns=["prevalence", "ppv", "ppv_low", "ppv_high", "npv", "npv_low", "npv_high"],
    )


def sweep(
    predictions: pd.DataFrame,
    thresholds: Iterable[float] = tuple(np.linspace(0.02, 0.98, 49).round(2)),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 24,
    method: str = metrics.METHOD,
) -> pd.DataFrame:
    """Return sensitivity and specificity at each threshold: what an interactive plot moves over.

    Returns
    -------
    pandas.DataFrame
        `threshold`, `sensitivity`, `sensitivity_low`, `sensitivity_high`,
        `specificity`, `specificity_low`, `specificity_high`; all resamples
        are the same at each threshold.
    """
    thresholds = [float(threshold) for threshold in thresholds]
    rows = []
    for threshold, rates in zip(
        thresholds,
        _rates(predictions, thresholds, resamples, level, seed, method),
        strict=True,
    ):
        row = [threshold]
        for rate in rates:
            row += [rate.value, *rate.interval(level, method)]
        rows.append(row)
    columns = [f"{name}{end}" for name in _RATES for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["threshold", *columns])


def _rates(
    predictions: pd.DataFrame,
    thresholds: list[float],
    resamples: int,
    level: float,
    seed: int,
    method: str,
) -> Iterator[list[resampling.Resampled]]:
    """Yield sensitivity and specificity at each threshold, from the same draws."""
    cluster, draws = metrics.draw(predictions, resamples, level, "subject", seed, method)
    truth = catalog.target(predictions)
    if truth.min() == truth.max():
        raise PredictionsError(
            f"Sensitivity and specificity need images of both classes; all {len(truth)} rows are "
            f"{'positive' if truth[0] else 'negative'}."
        )
    for threshold in thresholds:
        found = metrics.study(predictions, _RATES, cluster, draws, threshold, method)
        yield [found[name] for name in _RATES]
