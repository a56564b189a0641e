"""Taguchi's L9: nine runs that try each level of four factors three times.

Any two columns of the array hold each pair of levels once, so the mean of the three runs
with one level of a factor has every level of the other factors in it. Chen et al. (2021,
doi:10.1186/s12859-022-04558-5) chose the hyper-parameters of a ResNet-101 in this way.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import StudyError

#: Levels, counted from 0; a row is a run, a column a factor.
L9 = np.array(
    [
        [0, 0, 0, 0],
        [0, 1, 1, 1],
        [0, 2, 2, 2],
        [1, 0, 1, 2],
        [1, 1, 2, 0],
        [1, 2, 0, 1],
        [2, 0, 2, 1],
        [2, 1, 0, 2],
        [2, 2, 1, 0],
    ]
)


def plan(factors: Mapping[str, Sequence[Hashable]]) -> pd.DataFrame:
    """Return the nine runs for up to four factors of three levels each.

    Parameters
    ----------
    factors : mapping of str to three values
        The name of a factor and its levels.

    Returns
    -------
    pandas.DataFrame
        One row for each run, one column for each factor.

    Raises
    ------
    StudyError
        When there are no factors, more than four, or one has not three different levels.
    """
    if not isinstance(factors, Mapping) or not 1 <= len(factors) <= L9.shape[1]:
        raise StudyError("The L9 needs one to four factors, each with its three levels.")
    for name, levels in factors.items():
        if isinstance(levels, str) or len(set(levels)) != 3 or len(levels) != 3:
            raise StudyError(
                f"The factor {name!r} has the levels {arguments.shown(levels)}, but the L9 needs "
                "three different ones."
            )
    columns = zip(factors.items(), L9.T, strict=False)
    return pd.DataFrame({name: [levels[i] for i in column] for (name, levels), column in columns})


def main_effects(runs: pd.DataFrame, result: str) -> pd.DataFrame:
    """Return the mean result of the runs with each level of each factor.

    Parameters
    ----------
    runs : pandas.DataFrame
        The rows of :func:`plan`, with the column `result` beside the factors.
    result : str
        The column of results; a larger one is better.

    Returns
    -------
    pandas.DataFrame
        `factor`, `level`, `mean`; in the order of the columns and of the levels' first runs.

    Raises
    ------
    StudyError
        When the column is missing or holds something else than finite numbers.
    """
    arguments.table(runs, (result,), "runs", StudyError)
    values = pd.to_numeric(runs[result], errors="coerce")
    if not len(runs) or not np.isfinite(values).all():
        raise StudyError(f"Each run needs a number as its {result!r}.")
    rows = [
        (factor, level, values[rows].mean())
        for factor in runs.columns.drop(result)
        for level, rows in runs.groupby(factor, sort=False).groups.items()
    ]
    return pd.DataFrame(rows, columns=["factor", "level", "mean"])


def best(effects: pd.DataFrame) -> dict[str, Hashable]:
    """Return the level with the highest mean, for each factor; of equal ones the first."""
    rows = effects.loc[effects.groupby("factor", sort=False)["mean"].idxmax()]
    return dict(zip(rows["factor"], rows["level"], strict=True))


def predicted(effects: pd.DataFrame, setting: Mapping[str, Hashable]) -> float:
    """Return the result that the main effects predict: the mean, and each factor's part above it.

    It holds only if the factors do not interact, which nine runs cannot show.

    Raises
    ------
    StudyError
        When the setting names a level that was not tried.
    """
    mean = effects.groupby("factor")["mean"].mean().mean()  # that of all runs
    known = effects.set_index(["factor", "level"])["mean"]
    missing = [pair for pair in setting.items() if pair not in known.index]
    if missing:
        raise StudyError(f"No run tried {missing[0][0]} = {missing[0][1]!r}.")
    return float(mean + sum(known[pair] - mean for pair in setting.items()))
