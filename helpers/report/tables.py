"""Figures as the tables of a page show them: rounded, and without ``nan``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import ReportError

#: What a page shows in place of a figure that cannot be computed.
UNDEFINED = "not defined"
_NOTE = (
    f"{UNDEFINED}: no image was called positive, or too few subjects, or the same figure in every "
    "resample; a larger test set would tell."
)


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return a figure and its interval as text: ``0.812  [0.750, 0.874]``.

    Raises
    ------
    ReportError
        When one of them is no number; NaN is one, and is shown as :data:`UNDEFINED`.
    """
    given = (value, low, high)
    numbers = [arguments.number("A figure", each, ReportError, missing=True) for each in given]
    digits = arguments.whole("The number of digits", digits, ReportError, 0, 15)
    if np.isnan(numbers[0]):
        return UNDEFINED
    if np.isnan(numbers[1:]).any():
        return f"{numbers[0]:.{digits}f}  [{UNDEFINED}]"
    return "{:.{d}f}  [{:.{d}f}, {:.{d}f}]".format(*numbers, d=digits)


def explained(table: pd.DataFrame, digits: int | Mapping[str, int] = 3) -> pd.DataFrame:
    """Return a table as text for a page; where a figure is not defined, print why.

    Parameters
    ----------
    table : pandas.DataFrame
        Its floats are rounded, and NaN becomes :data:`UNDEFINED`; everything else stays.
    digits : int or mapping of str to int
        Decimals, for all columns or by column (3 for the others).

    Raises
    ------
    ReportError
        When it is no table, or the digits are no whole numbers from 0 to 15.
    """
    table = arguments.table(table, (), "table", ReportError).copy()
    each = digits if isinstance(digits, Mapping) else dict.fromkeys(table.columns, digits)
    for place, column in enumerate(table.columns):
        places = arguments.whole("The number of digits", each.get(column, 3), ReportError, 0, 15)
        values = table.iloc[:, place]
        if values.dtype.kind == "f":
            text = [UNDEFINED if np.isnan(v) else f"{v:.{places}f}" for v in values.to_numpy(float)]
            table.isetitem(place, pd.Series(text, table.index, dtype=object))
    if any(UNDEFINED in str(entry) for entry in table.to_numpy(object).flat):
        print(_NOTE)
    return table
