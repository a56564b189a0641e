"""Figures as the tables of a page show them: rounded, and without ``nan``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import ReportError

#: What a page shows in place of a figure that cannot be computed.
UNDEFINED = "not defined"
_NOTE = (
    f'Where the table below says "{UNDEFINED}", no image was called positive, or too few\n'
    "subjects were tested, or the figure is the same in every resample. A larger test set\n"
    "would tell."
)


def explained(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as text for a page; where a figure is not defined, print why.

    Parameters
    ----------
    table : pandas.DataFrame
        Its floats become text with three decimals, NaN becomes :data:`UNDEFINED`; everything
        else stays.

    Raises
    ------
    ReportError
        When it is no table.
    """
    text = arguments.table(table, (), "table", ReportError).map(_text)
    if (text == UNDEFINED).any(axis=None):
        print(_NOTE)
    return text


def _text(entry: object) -> object:
    if not isinstance(entry, float | np.floating):
        return entry
    return UNDEFINED if np.isnan(entry) else f"{entry:z.3f}"
