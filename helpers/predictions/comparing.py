"""Comparison of two models by their tables of predictions: tests and intervals.

A difference is always the first model's metric minus the second's. Cells of one
subject are not independent. McNemar's and DeLong's tests assume that they are, so
their p-values are too small; the bootstrap over subjects does not assume it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics
from helpers.predictions.alignment import align
from helpers.predictions.resampling import LEVEL, SMALLEST, Resampled, figure
from helpers.predictions.table import check


class Difference(NamedTuple):
    """A metric of two models, their difference and its interval."""

    first: float
    second: float
    difference: float  #: first - second
    low: float
    high: float
    p_value: float  #: two-sided, of no difference


def paired(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables sorted by `image_id`, after a check that they have the same images.

    Raises
    ------
    PredictionsError
        When one table lacks images of the other, or the label, the truth, the split or the
        subject of an image differs; the message names the first such image.
    """
    align({"first": first, "second": second})
    return tuple(
        table.assign(positive=catalog.truth(table["positive"])).sort_values(
            "image_id", ignore_index=True
        )
        for table in map(check, (first, second))
    )


def delong(first: pd.DataFrame, second: pd.DataFrame) -> Difference:
    """Compare two areas under the ROC curve on the same images, assuming independent cells.

    The variance is computed from ranks, in n log n time. Where it is estimated as zero
    (perfect models, for example), the interval is undefined (NaN) unless the scores are the
    same, and the p-value is undefined unless the areas are the same: then it is 1.

    Raises
    ------
    PredictionsError
        When a class has fewer than two images.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595; by midranks:
    Sun, Xu 2014, doi:10.1109/LSP.2014.2337313.
    """
    from scipy import stats

    tables = paired(first, second)
    truth = catalog.target(tables[0]) == 1
    few = min(int(truth.sum()), int((~truth).sum()))
    if few < 2:
        raise PredictionsError(
            f"DeLong's test needs at least two images of each class; one class has {few}."
        )
    scores = np.stack([table["score"].to_numpy(dtype=float) for table in tables])
    positives, negatives = scores[:, truth], scores[:, ~truth]
    # An image's midrank among all images, minus that within its class, is the number of images
    # of the other class that it outranks.
    ranks = stats.rankdata(np.hstack([positives, negatives]), axis=1)
    m, n = positives.shape[1], negatives.shape[1]
    wins = (ranks[:, :m] - stats.rankdata(positives, axis=1)) / n
    losses = (ranks[:, m:] - stats.rankdata(negatives, axis=1)) / m
    areas = wins.mean(axis=1)
    variance = np.cov(wins) / m + np.cov(losses) / n
    difference = areas[0] - areas[1]
    error = np.sqrt(max(variance[0, 0] + variance[1, 1] - 2 * variance[0, 1], 0))
    if error < 1e-12:  # no variance to judge the difference by
        p_value = 1.0 if abs(difference) < 1e-12 else np.nan
        reach = 0.0 if (scores[0] == scores[1]).all() else np.nan
    else:
        p_value = max(2 * stats.norm.sf(abs(difference) / error), SMALLEST)
        reach = stats.norm.ppf((1 + LEVEL) / 2) * error
    values = (*areas, difference, difference - reach, difference + reach, p_value)
    return Difference(*map(figure, values))


def paired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metric: str = "auc",
    resamples: int = 2000,
    seed: int = 24,
) -> Difference:
    """Compare a metric of two models on the same images; whole subjects are resampled.

    Both models are evaluated on the same resamples.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Labelled predictions of the same images.
    metric : str
        A name in :data:`helpers.predictions.metrics.METRICS`.
    resamples, seed
        As in :func:`helpers.predictions.metrics.bootstrap_interval`, by ``t``.

    Returns
    -------
    Difference
        Interval and p-value are NaN with one subject only, and where the difference is
        the same in every resample; of equal scores the interval is 0 to 0, of equal
        values the p-value 1.

    Raises
    ------
    PredictionsError
        When the tables have not the same images (:func:`paired`) or an argument is not valid.

    Notes
    -----
    In simulated studies of 40 subjects the test finds a difference in accuracy between
    two equally good models in 5 of 100 studies, as it should, and in AUC in 2: for AUC
    it is conservative (test_coverage.py).
    """
    tables = paired(first, second)
    one, other = (_resample(each, metric, resamples, seed) for each in tables)
    return _paired_difference(tables, one, other)


def unpaired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metric: str = "auc",
    resamples: int = 2000,
    seed: int = 24,
) -> Difference:
    """Compare a metric on two sets of images, those of two splits for example.

    The subjects of each table are resampled independently. Parameters are those of
    :func:`paired_bootstrap`. If the tables have subjects in common, the two values
    are correlated, and the interval is wider than necessary.
    """
    arguments.whole("The seed", seed, PredictionsError)
    one = _resample(first, metric, resamples, seed)
    other = _resample(second, metric, resamples, seed + 1)
    difference = Resampled(
        one.value - other.value, one.values - other.values, _welch(one, other), widest=one.range
    )
    return _difference(one, other, difference)


def compare(
    tables: Mapping[str, pd.DataFrame], metric: str = "auc", resamples: int = 2000, seed: int = 24
) -> pd.DataFrame:
    """Compare each pair of models on the same images by three tests, with Holm's correction.

    Parameters are those of :func:`paired_bootstrap`; `tables` has one table for each
    model name.

    Returns
    -------
    pandas.DataFrame
        One row for each pair: `first`, `second`, `difference` of `metric` with `low`
        and `high` (bootstrap over subjects); the p-values `p_mcnemar`,
        `p_delong` (always of AUC), `p_subjects` (of the bootstrap); and
        `p_holm`, which is `p_subjects` corrected for the number of pairs.

    Raises
    ------
    PredictionsError
        When there are fewer than two models, or as :func:`paired_bootstrap`.

    References
    ----------
    McNemar 1947, doi:10.1007/BF02295996; Edwards 1948, doi:10.1007/BF02289261;
    Holm 1979, https://www.jstor.org/stable/4615733.
    """
    from statsmodels.stats.multitest import multipletests

    if not isinstance(tables, Mapping) or len(tables) < 2:
        shown = list(tables) if isinstance(tables, Mapping) else arguments.shown(tables)
        raise PredictionsError(f"A comparison needs a dict of at least two models; got {shown}.")
    # Each model is evaluated on the resamples once, not once for each of its pairs.
    values = {name: _resample(table, metric, resamples, seed) for name, table in tables.items()}
    rows = []
    for first, second in combinations(tables, 2):
        pair = paired(tables[first], tables[second])
        one, other = values[first], values[second]
        _, _, *interval, p_subjects = _paired_difference(pair, one, other)
        rows.append((first, second, *interval, _p_mcnemar(*pair), _p_delong(*pair), p_subjects))
    columns = ["first", "second", "difference", "low", "high", "p_mcnemar", "p_delong"]
    table = pd.DataFrame(rows, columns=[*columns, "p_subjects"])
    known = table["p_subjects"].dropna()  # a test that was not possible needs no correction
    if known.empty:
        return table.assign(p_holm=np.nan)
    holm = multipletests(known, method="holm")[1]
    return table.assign(p_holm=pd.Series(holm, known.index))


def _resample(table: pd.DataFrame, metric: str, resamples: int, seed: int) -> Resampled:
    """Return a metric in all resamples: tables of the same subjects and seed have the same ones."""
    table = check(table)
    cluster, draws = metrics.draw(table, resamples, seed)
    (result,) = metrics.resample(table, [metric], cluster, draws).values()
    return result


def _paired_difference(
    tables: tuple[pd.DataFrame, pd.DataFrame], one: Resampled, other: Resampled
) -> Difference:
    result = _difference(one, other, one - other)
    if not np.isnan(result.p_value) and tables[0]["score"].equals(tables[1]["score"]):
        return result._replace(low=0.0, high=0.0)  # equal scores: nothing was estimated
    return result


def _difference(one: Resampled, other: Resampled, difference: Resampled) -> Difference:
    values = map(figure, (one.value, other.value, difference.value))
    return Difference(*values, *difference.interval(), difference.p_value())


def _welch(one: Resampled, other: Resampled) -> float:
    """Return the degrees of freedom of the difference of two independent values.

    Satterthwaite 1946, doi:10.2307/3002019.
    """
    if one.undefined or other.undefined:
        return 0
    parts = one.error**2, other.error**2
    if sum(parts) == 0:
        return one.freedom + other.freedom
    return sum(parts) ** 2 / (parts[0] ** 2 / one.freedom + parts[1] ** 2 / other.freedom)


def _p_mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Return McNemar's p-value; exact with fewer than 25 images that only one model has right."""
    from statsmodels.stats.contingency_tables import mcnemar

    one, other = (
        (table["score"].to_numpy(dtype=float) >= 0.5) == catalog.target(table)
        for table in paired(first, second)
    )
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    exact = only_one + only_other < 25
    p_value = mcnemar([[0, only_one], [only_other, 0]], exact=exact).pvalue
    return max(float(p_value), SMALLEST)


def _p_delong(first: pd.DataFrame, second: pd.DataFrame) -> float:
    try:
        return delong(first, second).p_value
    except PredictionsError:
        return float("nan")  # too few images of a class: the other tests are still valid
