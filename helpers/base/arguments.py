"""What functions require of their arguments, each kind checked in one place.

A check returns the argument, or raises the error of the caller's room with one sentence that
names the argument, what it is and what it must be.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def table(
    value: Any, columns: Iterable[str], what: str, error: type[Exception], cure: str = ""
) -> pd.DataFrame:
    """Return a table that has each of the columns once, and an index that is no column.

    Parameters
    ----------
    value : Any
        What was given as the table; it is not changed.
    columns : iterable of str
        The columns that are needed, in any order, among any others.
    what : str
        What the sentence calls the table: ``"catalog"``.
    error : type
        The error of the room.
    cure : str
        What makes such a table, as the end of the sentence on a missing column.
    """
    many = what.endswith("s")
    if not isinstance(value, pd.DataFrame):
        verb = "are" if many else "is"
        raise error(f"The {what} must be a pandas.DataFrame, but {verb} {shown(value)}.")
    columns, found = list(columns), list(value.columns)
    if missing := [column for column in columns if column not in found]:
        verb = "lack" if many else "lacks"
        raise error(f"The {what} {verb} the columns {missing}; found are {shown(found)}{cure}.")
    if twice := [column for column in columns if found.count(column) > 1]:
        raise error(f"The {what} must have each column once; {twice} occur more than once.")
    if value.index.nlevels > 1 or any(isinstance(n, str) and n in found for n in value.index.names):
        raise error(
            f"The {what} must have a plain index, not one of {list(value.index.names)}: "
            "call reset_index(drop=True)."
        )
    return value


def text(
    value: pd.DataFrame, columns: Iterable[str], what: str, error: type[Exception]
) -> pd.DataFrame:
    """Return a table whose columns of names hold text and nothing else.

    Categories become the plain text that they stand for: a class without a row must not
    appear. A table without categories is returned as it is.
    """
    columns = list(columns)
    categories = [name for name in columns if isinstance(value[name].dtype, pd.CategoricalDtype)]
    if categories:
        value = value.astype(dict.fromkeys(categories, object))
    for name in columns:
        entries = value[name]  # every entry is looked at: a millisecond for 15,000 rows
        kind = pd.api.types.infer_dtype(entries, skipna=False)
        if kind not in ("string", "empty") or entries.hasnans:
            other = next(entry for entry in entries if not isinstance(entry, str))
            raise error(
                f"The column {name!r} of the {what} must hold text, but holds {shown(other)}: "
                "fill in what is missing, then call .astype(str)."
            )
    return value


def column(values: pd.Series) -> np.ndarray:
    """Return the numbers of a column, float64; NaN where an entry is none. ``"0.5"`` is one."""
    kind = values.dtype.kind
    if kind in "biuf":
        return values.to_numpy(dtype=float, na_value=np.nan)
    if kind in "cmM":  # complex numbers and times
        return np.full(len(values), np.nan)
    return np.array([_number(entry) for entry in values], dtype=float)


def array(
    name: str,
    value: Any,
    error: type[Exception],
    low: float = -np.inf,
    high: float = np.inf,
    missing: bool = False,
) -> np.ndarray:
    """Return one or many numbers as float64, each from `low` to `high`, NaN only if `missing`."""
    try:
        given = np.asarray(value)
        result = given.astype(float) if given.dtype.kind in "biufO" else None
    except (TypeError, ValueError, OverflowError):
        result = None
    if result is None:
        raise error(f"{name} must be real numbers, not {shown(value)}.")
    wrong = result[~((result >= low) & (result <= high) | (missing & np.isnan(result)))]
    if wrong.size:
        raise error(f"{name} must be from {low:g} to {high:g}, but one is {wrong[0]:g}.")
    return result


def number(
    name: str,
    value: Any,
    error: type[Exception],
    low: float = -np.inf,
    high: float = np.inf,
    missing: bool = False,
) -> float:
    """Return one real number from `low` to `high`, NaN only if `missing`."""
    real = isinstance(value, Real | np.ndarray) and np.ndim(value) == 0
    result = _number(value) if real and not isinstance(value, bool) else np.nan
    if not (low <= result <= high or (missing and real and np.isnan(result))):
        bounds = "" if np.isinf(low) and np.isinf(high) else f" from {low:g} to {high:g}"
        raise error(f"{name} must be a number{bounds}, but is {shown(value)}.")
    return result


def whole(
    name: str, value: Any, error: type[Exception], low: int = 0, high: int | None = None
) -> int:
    """Return one whole number from `low` up, or to `high`."""
    proper = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not proper or value < low or (high is not None and value > high):
        bounds = f"from {low} up" if high is None else f"from {low} to {high}"
        raise error(f"{name} must be a whole number {bounds}, but is {shown(value)}.")
    return int(value)


def one_of(what: str, value: Any, known: Iterable[str], error: type[Exception]) -> str:
    """Return one of the known names."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise error(f"There is no {what} {shown(value)}; known are {', '.join(known)}.")
    return value


def string(name: str, value: Any, error: type[Exception]) -> str:
    """Return one text."""
    if not isinstance(value, str):
        raise error(f"{name} must be text, but is {shown(value)}.")
    return value


def path(name: str, value: Any, error: type[Exception]) -> Path:
    """Return the path of a file: text or a path, and not empty."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise error(f"{name} must be text or a pathlib.Path, but is {shown(value)}.")
    if not os.fspath(value) or "\0" in os.fspath(value):
        raise error(f"{name} must name a file, but is {os.fspath(value)!r}.")
    return Path(value)


def switch(name: str, value: Any, error: type[Exception]) -> bool:
    """Return True or False. Other values are refused: ``"no"`` would count as True."""
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} must be True or False, but is {shown(value)}.")
    return bool(value)


def names(name: str, value: Any, error: type[Exception]) -> list[str]:
    """Return a list of names."""
    try:
        result = None if isinstance(value, str) else list(value)
    except TypeError:
        result = None
    if result is None or not all(isinstance(entry, str) for entry in result):
        raise error(f"{name} must be a list of names, but are {shown(value)}.")
    return result


def pixels(value: Any, error: type[Exception], side: int = 1) -> np.ndarray:
    """Return images as one array: uint8, RGB, shape (n, h, w, 3), at least `side` wide and high."""
    try:
        result = np.asarray(value)
    except ValueError:  # a list of images of several sizes
        result = np.empty(0, object)
    fits = result.ndim == 4 and result.shape[-1] == 3 and min(result.shape[1:3]) >= side
    if not fits or result.dtype != np.uint8:
        small = f" (the sides must be {side} or more)" if side > 1 else ""
        raise error(
            f"The images must be uint8 of shape (n, height, width, 3), but are {result.dtype} of "
            f"shape {result.shape}{small}; helpers.images.load_images makes uint8 RGB."
        )
    return result


def shown(value: Any) -> str:
    """Return a value for the end of a sentence: itself if it is short, else its type."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | Real):
        return reprlib.repr(value)
    if isinstance(value, list | tuple) and len(value) < 30:
        text = repr(value)
        if len(text) < 400 and "\n" not in text:
            return text
    return f"of type {type(value).__name__}"


def few(names: Sequence[str]) -> str:
    """Return names with commas for a sentence; of more than 12, the first ones and the last."""
    if len(names) <= 12:
        return ", ".join(names)
    return f"{', '.join(names[:3])}, ... {names[-1]} ({len(names)} in all)"


def _number(entry: Any) -> float:
    try:
        return float(entry) if isinstance(entry, Real | Decimal | str | np.bool_) else np.nan
    except (ValueError, OverflowError):
        return np.nan
