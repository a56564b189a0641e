"""Is one model better than another? Tests and intervals from tables of predictions alone.

A difference is always the first table's figure less the second's. Cells of one
subject are not independent: McNemar's and DeLong's tests take them for
independent and are too sure; the bootstrap over subjects stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base.errors import PredictionsError
from helpers.predictions import metrics, resampling
from helpers.predictions.table import check

Values = TypeVar("Values", pd.Series, dict, np.ndarray, list)


class McNemar(NamedTuple):
    """McNemar's test: the images that only one of two models predicts right."""

    first_only: int  #: images that only the first model predicts right
    second_only: int  #: images that only the second model predicts right
    statistic: float  #: the smaller count (exact) or chi-square
    p_value: float


class Difference(NamedTuple):
    """A figure of two models, their difference and its interval."""

    first: float
    second: float
    difference: float  #: first - second
    low: float
    high: float
    p_value: float  #: two-sided, of no difference


def paired(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables in the order of their ids, once they hold the same images.

    Raises
    ------
    PredictionsError
        When one lacks images of the other, or label, truth or subject of an image
        differ; the first such image is named.
    """
    tables = [
        check(table).assign(positive=catalog.truth(table["positive"])).sort_values("image_id")
        for table in (first, second)
    ]
    names = [set(table["image_id"]) for table in tables]
    for place, (one, other) in enumerate((names, names[::-1])):
        lost = sorted(other - one)
        if lost:
            raise PredictionsError(
                f"The {('first', 'second')[place]} table lacks {len(lost)} images of the other, "
                f"first {lost[0]!r}: compare two models on the same images."
            )
    for column in ("label", "positive", "subject"):
        one, other = (table[column].astype(str).to_numpy() for table in tables)
        wrong = np.flatnonzero(one != other)
        if len(wrong):
            row = wrong[0]
            raise PredictionsError(
                f"The {column} of {len(wrong)} images differs between the tables, first "
                f"{tables[0]['image_id'].iloc[row]!r}: {one[row]!r} and {other[row]!r}."
            )
    return tuple(table.reset_index(drop=True) for table in tables)


def mcnemar(
    first: pd.DataFrame,
    second: pd.DataFrame,
    threshold: float | tuple[float, float] = 0.5,
    exact: bool | None = None,
) -> McNemar:
    """Test whether two models are wrong equally often on the same images.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Labelled predictions of the same images.
    threshold : float or pair of float
        From this score up an image counts as positive; a pair gives each
        model its own.
    exact : bool, optional
        Binomial test of the images that only one predicts right; otherwise
        chi-square with Edwards' correction. By default exact below 25 of them.

    References
    ----------
    McNemar 1947, doi:10.1007/BF02295996; Edwards 1948, doi:10.1007/BF02289261.
    """
    from scipy import stats

    tables, limits = paired(first, second), _two(threshold)
    right = [_right(table, limit) for table, limit in zip(tables, limits, strict=True)]
    ours = int((right[0] & ~right[1]).sum())
    theirs = int((right[1] & ~right[0]).sum())
    if exact is None:
        exact = ours + theirs < 25
    if ours + theirs == 0:
        return McNemar(0, 0, 0.0, 1.0)
    if exact:
        p_value = stats.binomtest(ours, ours + theirs).pvalue
        return McNemar(ours, theirs, float(min(ours, theirs)), float(p_value))
    statistic = max(abs(ours - theirs) - 1, 0) ** 2 / (ours + theirs)
    return McNemar(ours, theirs, statistic, float(stats.chi2.sf(statistic, 1)))


def delong(first: pd.DataFrame, second: pd.DataFrame, level: float = 0.95) -> Difference:
    """Compare the areas under two ROC curves over the same images, cells taken as independent.

    The variance comes from ranks, in n log n time.

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

    tables = paired(check(first), check(second))
    truth = catalog.target(tables[0]) == 1
    few = min(int(truth.sum()), int((~truth).sum()))
    if few < 2:
        raise PredictionsError(
            f"DeLong's test needs two images of each class at least; one class has {few}."
        )
    scores = np.stack([table["score"].to_numpy(dtype=float) for table in tables])
    positives, negatives = scores[:, truth], scores[:, ~truth]
    # How many of the others each image beats: its midrank among all less that among its own.
    ranks = stats.rankdata(np.hstack([positives, negatives]), axis=1)
    many = positives.shape[1]
    wins = (ranks[:, :many] - stats.rankdata(positives, axis=1)) / negatives.shape[1]
    losses = (ranks[:, many:] - stats.rankdata(negatives, axis=1)) / many
    areas = wins.mean(axis=1)
    variance = np.cov(wins) / many + np.cov(losses) / negatives.shape[1]
    difference = areas[0] - areas[1]
    error = np.sqrt(max(variance[0, 0] + variance[1, 1] - 2 * variance[0, 1], 0))
    if error < 1e-12:  # the same order of images: nothing can differ
        p_value = 1.0 if abs(difference) < 1e-12 else 0.0
    else:
        p_value = 2 * stats.norm.sf(abs(difference) / error)
    reach = stats.norm.ppf((1 + level) / 2) * error
    return Difference(
        *(float(area) for area in areas),
        float(difference),
        float(difference - reach),
        float(difference + reach),
        float(p_value),
    )


def paired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metric: str = "auc",
    resamples: int = 2000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    threshold: float | tuple[float, float] = 0.5,
    method: str = metrics.METHOD,
) -> Difference:
    """Compare a figure of two models on the same images; whole subjects are drawn, for both alike.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Labelled predictions of the same images.
    metric : str
        A name in :data:`helpers.predictions.metrics.METRICS`.
    resamples, level, by, seed, method
        As in :func:`helpers.predictions.metrics.bootstrap_interval`.
    threshold : float or pair of float
        From this score up an image counts as positive; a pair gives each
        model its own.

    Returns
    -------
    Difference
        Interval and p-value are NaN with one subject only.

    Notes
    -----
    By ``t`` two equally good models differ in accuracy in 5 of 100 simulated
    studies of 40 subjects, as they should, and in AUC in 2: for AUC the test
    errs on the safe side (tests/unit/test_coverage.py).
    """
    tables, limits = paired(first, second), _two(threshold)
    cluster, draws = metrics.draw(tables[0], resamples, level, by, seed, method)
    one, other = (
        metrics.study(table, [metric], cluster, draws, limit, method)[metric]
        for table, limit in zip(tables, limits, strict=True)
    )
    return _difference(one, other, one - other, level, method)


def unpaired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metric: str = "auc",
    resamples: int = 2000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    threshold: float | tuple[float, float] = 0.5,
    method: str = metrics.METHOD,
) -> Difference:
    """Compare a figure on two sets of images (a random and a subject split, say).

    The subjects of each table are drawn on their own. Parameters are those of
    :func:`paired_bootstrap`. Where the same subjects stand in both tables the
    two figures vary together, and the interval is wider than it need be.
    """
    limits = _two(threshold)
    sides = []
    for table, limit, own in zip((first, second), limits, (seed, seed + 1), strict=True):
        cluster, draws = metrics.draw(table, resamples, level, by, own, method)
        sides.append(metrics.study(table, [metric], cluster, draws, limit, method)[metric])
    one, other = sides
    both = resampling.Resampled(
        one.value - other.value,
        one.values - other.values,
        _welch(one, other),
        # Leaving out a subject of one table leaves the other table whole.
        left=np.concatenate([one.left - other.value, one.value - other.left]),
        widest=one.range,
    )
    return _difference(one, other, both, level, method)


def holm(p_values: Values) -> Values:
    """Return the p-values corrected for their number: the largest family-wise error stays as said.

    Parameters
    ----------
    p_values : pandas.Series, dict, numpy.ndarray or list
        From 0 to 1; NaN (a test that could not be made) stays NaN and is not
        counted.

    Returns
    -------
    same type
        In the same order.

    References
    ----------
    Holm 1979, https://www.jstor.org/stable/4615733.
    """
    if isinstance(p_values, Mapping):
        return dict(zip(p_values, holm(list(p_values.values())), strict=True))
    raw = np.asarray(p_values, dtype=float)
    if raw.ndim != 1 or ((raw < 0) | (raw > 1)).any():
        raise PredictionsError(f"P-values lie between 0 and 1 in one row; got {p_values!r}.")
    made = np.flatnonzero(~np.isnan(raw))
    order = made[np.argsort(raw[made], kind="stable")]
    corrected = raw.copy()
    corrected[order] = np.minimum(
        np.maximum.accumulate(raw[order] * np.arange(len(order), 0, -1)), 1
    )
    if isinstance(p_values, pd.Series):
        return pd.Series(corrected, index=p_values.index, name=p_values.name)
    return corrected.tolist() if isinstance(p_values, list) else corrected


def compare(
    tables: Mapping[str, pd.DataFrame],
    metric: str = "auc",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 24,
    threshold: float = 0.5,
) -> pd.DataFrame:
    """Compare each pair of models on the same images by every test, with Holm's correction.

    Returns
    -------
    pandas.DataFrame
        One row a pair: `first`, `second`, `difference` of `metric` with `low`
        and `high` (bootstrap over subjects); the p-values `p_mcnemar`,
        `p_delong` (always of AUC), `p_subjects` (the bootstrap's); and
        `p_holm`, which is `p_subjects` corrected for the number of pairs.
    """
    names = list(tables)
    if len(names) < 2:
        raise PredictionsError(f"A comparison needs two models at least; got {names}.")
    rows = []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            two = tables[first], tables[second]
            found = paired_bootstrap(
                *two, metric, resamples=resamples, level=level, seed=seed, threshold=threshold
            )
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "difference": found.difference,
                    "low": found.low,
                    "high": found.high,
                    "p_mcnemar": mcnemar(*two, threshold).p_value,
                    "p_delong": _p_delong(*two),
                    "p_subjects": found.p_value,
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p_subjects"]))


def _right(table: pd.DataFrame, threshold: float) -> np.ndarray:
    return (table["score"].to_numpy(dtype=float) >= threshold) == catalog.target(table)


def _difference(
    one: resampling.Resampled,
    other: resampling.Resampled,
    both: resampling.Resampled,
    level: float,
    method: str,
) -> Difference:
    limits = both.interval(level, method)
    return Difference(one.value, other.value, both.value, *limits, both.p_value(method))


def _welch(one: resampling.Resampled, other: resampling.Resampled) -> float:
    """Return the degrees of freedom of the difference of two independent figures.

    Satterthwaite 1946, doi:10.2307/3002019.
    """
    if one.hopeless or other.hopeless:
        return 0
    parts = one.error**2, other.error**2
    if sum(parts) == 0:
        return one.freedom + other.freedom
    return sum(parts) ** 2 / (parts[0] ** 2 / one.freedom + parts[1] ** 2 / other.freedom)


def _p_delong(first: pd.DataFrame, second: pd.DataFrame) -> float:
    try:
        return delong(first, second).p_value
    except PredictionsError:
        return float("nan")  # a class is missing, or there are several; the others still stand


def _two(threshold: float | tuple[float, float]) -> tuple[float, float]:
    one, other = np.broadcast_to(np.asarray(threshold, dtype=float), 2)
    return float(one), float(other)
