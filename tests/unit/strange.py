"""Sound tables, what can be strange about them, and strange arguments."""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base.errors import CourseError

#: Text that would act as markup where it is not escaped.
HOSTILE = [
    "a|b | c",
    "two\nlines\r\n\r\n# and a heading\u2028- and a list",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://elsewhere/track.png)",
    "<http://elsewhere>",
    "`code` **bold** _slanted_ &lt;b&gt; &amp;",
    "a backslash before \\| and at the end \\",
    "# heading",
    "- list",
    "1. list",
    "> quote",
    "$x$ {{ 7 * 7 }} {role}`x`",  # of the Markdown that the book speaks
]
N = 12


def catalog() -> pd.DataFrame:
    """Return a sound catalog: six subjects, two classes, split and in folds."""
    rows = pd.DataFrame(
        {
            "image_id": [f"i{row:02d}" for row in range(N)],
            "path": [f"/nowhere/i{row:02d}.bmp" for row in range(N)],
            "label": ["all", "hem"] * (N // 2),
            "subject": [f"s{row % 6}" for row in range(N)],
            "fold": [str(row % 3) for row in range(N)],
            "sha256": [f"{row:064x}" for row in range(N)],
            "split": ["train", "train", "val", "val", "test", "test"] * (N // 6),
        }
    )
    return catalogs.make(rows, positive="all")


def unsplit() -> pd.DataFrame:
    return catalog().assign(split="")


def predictions(shift: float = 0.0, split: str | None = None) -> pd.DataFrame:
    """Return sound predictions of the same images."""
    table = catalog()[["image_id", "subject", "label", "positive", "split"]]
    score = np.clip(np.linspace(0.05, 0.95, N)[::-1] * 0.6 + 0.4 * table["positive"] - shift, 0, 1)
    table = table.assign(score=score.astype(float))
    return table if split is None else table.assign(split=split)


def tables() -> dict[str, pd.DataFrame]:
    return {"a": predictions(), "b": predictions(0.1)}


# --- what can be wrong with a table ------------------------------------------------------------


def _entry(column: str, value: object) -> Callable:
    """Put one strange value into a column."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        if column not in table or not len(table):
            return table
        values = list(table[column].astype(object))
        values[len(values) // 2] = value
        return table.assign(**{column: pd.Series(values, index=table.index, dtype=object)})

    return change


def _column(column: str, make: Callable[[pd.Series], object]) -> Callable:
    """Replace a column."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{column: make(table[column])}) if column in table else table

    return change


def _twice(column: str) -> Callable:
    return lambda table: (
        pd.concat([table, table[[column]]], axis=1) if column in table.columns else table
    )


def _without(column: str) -> Callable:
    return lambda table: table.drop(columns=column, errors="ignore")


_TEXT = ("image_id", "subject", "label", "split", "fold", "original")
_VALUES = {
    "None": None,
    "nan": float("nan"),
    "NA": pd.NA,
    "a number": 1.0,
    "a list": ["a"],
    "complex": 0.5 + 0j,
    "infinity": float("inf"),
    "minus one": -1,
    "bytes": b"i1",
    "a dict": {},
    "a tuple": ("a", 1),
    "nothing": "",
    "a word": "0,5",
    "a half character": "\udc80",
    "a zero": "a\x00b",
    "markup": "<img src=x onerror=alert(1)>|\n",
    "a date": pd.Timestamp("2020-01-01"),
    "huge": 10**400,
}
_COLUMNS = (*_TEXT, "positive", "score")

CHANGES: dict[str, Callable[[pd.DataFrame], object]] = {
    "nothing": lambda table: table,
    **{f"{name} in {c}": _entry(c, value) for name, value in _VALUES.items() for c in _COLUMNS},
    **{f"{c} twice": _twice(c) for c in _COLUMNS},
    **{f"no {c}": _without(c) for c in _COLUMNS},
    **{f"{c} categorical": _column(c, lambda s: s.astype("category")) for c in _COLUMNS},
    **{f"{c} of dtype string": _column(c, lambda s: s.astype("string")) for c in _TEXT},
    **{f"{c} of objects": _column(c, lambda s: s.astype(object)) for c in _COLUMNS},
    **{f"{c} all the same": _column(c, lambda s: s.iloc[0] if len(s) else s) for c in _COLUMNS},
    **{f"{c} all missing": _column(c, lambda s: None) for c in _COLUMNS},
    **{f"{c} numbers": _column(c, lambda s: range(len(s))) for c in _COLUMNS},
    **{f"{c} dates": _column(c, lambda s: pd.Timestamp(0)) for c in _COLUMNS},
    **{f"{c} complex": _column(c, lambda s: np.zeros(len(s), complex)) for c in _COLUMNS},
    "positive boolean": _column("positive", lambda s: s.astype("Int64") == 1),
    "positive int64": _column("positive", lambda s: s.to_numpy(dtype=int)),
    "positive float": _column("positive", lambda s: s.to_numpy(dtype=float)),
    "positive text": _column("positive", lambda s: s.astype(str)),
    "score Float64": _column("score", lambda s: s.astype("Float64")),
    "score Float64 with NA": _column("score", lambda s: s.astype("Float64").where(s > 0.5)),
    "score float32": _column("score", lambda s: s.astype("float32")),
    "score text": _column("score", lambda s: s.astype(str)),
    "score text with commas": _column("score", lambda s: s.astype(str).str.replace(".", ",")),
    "score boolean": _column("score", lambda s: s > 0.5),
    "score sparse": _column("score", lambda s: pd.array(s, dtype="Sparse[float]")),
    "score constant": _column("score", lambda s: 0.5),
    "score above 1": _column("score", lambda s: s * 100),
    "no rows": lambda table: table.iloc[:0],
    "one row": lambda table: table.iloc[:1],
    "two rows": lambda table: table.iloc[:2],
    "one class": lambda table: table[::2],
    "one subject": lambda table: table.assign(subject="s0"),
    "rows twice": lambda table: pd.concat([table, table]),
    "backwards": lambda table: table[::-1],
    "unlabelled": lambda table: table.assign(label=catalogs.UNLABELLED, positive=pd.NA),
    "index named image_id": lambda table: table.set_index("image_id", drop=False),
    "index is image_id": lambda table: table.set_index("image_id"),
    "index of score": lambda table: table.rename_axis("score"),
    "index of two levels": lambda table: table.set_index(["subject", "image_id"], drop=False),
    "index of two unnamed levels": lambda table: table.set_axis(
        pd.MultiIndex.from_arrays([[0] * len(table), range(len(table))])
    ),
    "index repeated": lambda table: table.set_axis([0] * len(table)),
    "index mixed": lambda table: table.set_axis(
        [i if i % 2 else str(i) for i in range(len(table))]
    ),
    "index of dates": lambda table: table.set_axis(pd.date_range("2020", periods=len(table))),
    "index missing": lambda table: table.set_axis([None] * len(table)),
    "columns of two levels": lambda table: pd.concat({"x": table}, axis=1),
    "columns of two levels, ours first": lambda table: pd.concat({c: table for c in table}, axis=1),
    "columns of numbers": lambda table: table.set_axis(range(table.shape[1]), axis=1),
    "more columns": lambda table: table.assign(**{"more": 1}).rename(columns={"more": ("x", 1)}),
    "columns named": lambda table: table.rename_axis(columns="image_id"),
    "columns categorical": lambda table: table.set_axis(pd.CategoricalIndex(table.columns), axis=1),
    "attrs": lambda table: _with_attrs(table),
    "a dict": lambda table: table.to_dict(),
    "a dict of lists": lambda table: table.to_dict("list"),
    "a list": lambda table: [table],
    "rows": lambda table: table.to_dict("records"),
    "a series": lambda table: table[table.columns[0]],
    "an array": lambda table: table.to_numpy(),
    "a record array": lambda table: table.to_records(),
    "transposed": lambda table: table.T,
    "None": lambda table: None,
    "a number": lambda table: 3,
    "a word": lambda table: "table",
    "a class": lambda table: pd.DataFrame,
    "a group": lambda table: table.groupby(table.columns[0]),
    "empty": lambda table: pd.DataFrame(),
}


def _with_attrs(table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    table.attrs = {"frame": table.copy()}
    return table


# --- what can be wrong with another argument ---------------------------------------------------

STRANGE: dict[str, object] = {
    "None": None,
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus one": -1,
    "zero": 0,
    "one": 1,
    "a half": 0.5,
    "one and a half": 1.5,
    "True": True,
    "huge": 10**400,
    "complex": 1 + 1j,
    "numpy int": np.int64(3),
    "numpy float": np.float32(0.25),
    "NA": pd.NA,
    "a word": "word",
    "digits": "3",
    "empty text": "",
    "a half character": "\udc80",
    "bytes": b"x",
    "a list": [],
    "a list of words": ["a", "b"],
    "a list of numbers": [1, 2, 3],
    "a nested list": [[1], [2, 3]],
    "a tuple": (0.5, 0.25, 0.25),
    "a dict": {},
    "a dict of words": {"a": "b"},
    "a dict of numbers": {1: 2},
    "a set": {1, "a"},
    "an array": np.arange(4.0),
    "an array of objects": np.array([None, "a", 1], dtype=object),
    "an array without axes": np.array(2.0),
    "an empty array": np.empty((0, 3)),
    "an array of texts": np.array(["a", "b"]),
    "an array of many texts": np.array(["a"] * N),
    "a series of many texts": pd.Series(["a"] * N, index=range(N, 0, -1)),
    "an array of complex": np.ones(3, complex),
    "nan array": np.full(N, np.nan),
    "a series": pd.Series([1, 2]),
    "a frame": pd.DataFrame({"a": [1]}),
    "a range": range(3),
    "a function": len,
    "an object": object(),
    "a class": dict,
    "a date": pd.Timestamp("2020-01-01"),
    "a slice": slice(2),
    "a path": Path("/nowhere/at/all"),
}


def differs(before: object, after: object) -> bool:
    """Return whether an argument is another one after the call."""
    if isinstance(before, pd.DataFrame):
        return not (
            isinstance(after, pd.DataFrame)
            and before.index.equals(after.index)
            and list(before.columns) == list(after.columns)
            and list(before.dtypes) == list(after.dtypes)
            and all(
                str(a) == str(b)
                for a, b in zip(before.to_numpy().flat, after.to_numpy().flat, strict=True)
            )
        )
    if isinstance(before, dict):
        return list(before) != list(after) or any(differs(before[k], after[k]) for k in before)
    return isinstance(before, list | tuple | np.ndarray) and repr(before) != repr(after)


def attempt(call: Callable, **arguments: object) -> str | None:
    """Return what is wrong with how `call` takes these arguments, None if nothing is."""
    try:
        before = copy.deepcopy(arguments)
    except Exception:
        before = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # one library's words to another
        try:
            result = call(**arguments)
            if inspect.isgenerator(result):
                for _ in zip(range(5), result, strict=False):
                    pass
        except CourseError as error:
            text = str(error)
            if "\n" in text or not text.endswith((".", "?", ")")):
                return f"no sentence: {text!r}"
        except Exception as error:
            return f"bare {type(error).__name__}: {str(error)[:150]}"
    if caught:
        return f"warning {caught[0].category.__name__}: {str(caught[0].message)[:150]}"
    if before is not None and any(differs(before[k], v) for k, v in arguments.items()):
        return "an argument was changed"
    return None


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)


def changed(table: pd.DataFrame, names: list[str]) -> object:
    """Return the table after the named changes; one that no longer applies is left out."""
    for name in names:
        with contextlib.suppress(Exception):
            table = CHANGES[name](table)
    return table
