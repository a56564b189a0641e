"""The tables of ``course run --grid``: which trials to run, and what came out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.base import files
from helpers.base.errors import CourseError, RunError
from helpers.studies.trials import METRICS, Trial

if TYPE_CHECKING:
    import pandas as pd

#: The attributes of a trial: the columns of a table.
FIELDS = {field.name: field for field in dataclasses.fields(Trial)}
_NEEDED = ("recipe", "fold", "seed")
_KINDS = {"str": str, "int": int, "float": float}


def read_table(path: Path, defaults: Mapping[str, Any]) -> dict[Trial, str]:
    """Return the trials of a table with commas, each with its line in words.

    The table has a column for each attribute of a trial.

    Parameters
    ----------
    path : pathlib.Path
        The columns `recipe`, `fold` and `seed` are needed.
    defaults : mapping
        Attributes that have no column, or no entry.

    Raises
    ------
    RunError
        When the table cannot be read, or a column or a row is wrong.
    """
    try:
        table = files.read_csv(path, RunError)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error
    table = table.rename(columns=str.strip).map(str.strip)
    missing = [name for name in _NEEDED if name not in table]
    unknown = [name for name in table if name not in FIELDS]
    if missing or unknown:
        what = f"has a column {unknown[0]!r}" if unknown else ""
        if missing:
            what = f"has no column {missing[0]!r}, only {', '.join(map(repr, table))}"
        raise RunError(f"{path} {what}; the columns may be {', '.join(FIELDS)}.")
    if table.empty:
        raise RunError(f"{path} has no rows.")
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.strip()][1:]
    if len(lines) != len(table):  # an entry in quotation marks has lines of its own
        lines = range(2, len(table) + 2)
    return _distinct(
        (f"{path}, line {line}", {**defaults, **{k: v for k, v in row.items() if v}})
        for line, row in zip(lines, table.to_dict("records"), strict=True)
    )


def product(recipes: str, seeds: str, defaults: Mapping[str, Any]) -> dict[Trial, str]:
    """Return the trials of all recipes, in all folds, with all seeds, each with its origin.

    Names are split at commas.
    """
    folds = range(max(1, defaults["folds"]))  # a trial refuses less than 3
    parts = [[name.strip() for name in names.split(",")] for names in (recipes, seeds)]
    for option, names in zip(("--recipes", "--seeds"), parts, strict=True):
        if twice := [name for name in names if names.count(name) > 1]:
            raise RunError(f"{option} has {twice[0]!r} more than once; name it once.")
    return _distinct(
        ("--recipes and --seeds", {**defaults, "recipe": recipe, "fold": fold, "seed": seed})
        for recipe, fold, seed in itertools.product(parts[0], folds, parts[1])
    )


def _distinct(rows: Iterable[tuple[str, dict]]) -> dict[Trial, str]:
    found: dict[Trial, str] = {}
    for where, row in rows:
        values = {}
        for name, value in row.items():
            try:
                values[name] = _KINDS[FIELDS[name].type](value)
            except ValueError:
                raise RunError(f"{where}: {name} is {value!r}, but must be a number.") from None
        missing = [name for name in _NEEDED if name not in values]
        if missing:
            raise RunError(f"{where}: {missing[0]} is empty.")
        if values.get("epochs", 1) < 1:
            raise RunError(
                f"{where}: epochs is {values['epochs']}, but must be 1 or more; without an entry, "
                "the profile sets them."
            )
        try:
            trial = Trial(**values)
        except CourseError as error:
            raise RunError(f"{where}: {error}") from error
        if trial in found:
            raise RunError(f"{where}: the same as {found[trial]}; leave out one of them.")
        found[trial] = where
    return found


def summary(results: list[dict], test: bool = False) -> pd.DataFrame:
    """Return the mean of each metric for each recipe, and how much it varies.

    Parameters
    ----------
    results : list of dict
        As from :func:`run`.
    test : bool
        Show the test figures too; without it, only the validation figures.

    Returns
    -------
    pandas.DataFrame
        `recipe`, settings that differ, `trials`, `failed`, `figure`, its `mean` over the trials,
        and two standard deviations: `sd of seeds` within a fold, and `sd of folds` between the
        means of the folds. That of a single value is missing.
    """
    import pandas as pd

    table = pd.DataFrame(results)
    by = [name for name in FIELDS if name not in ("fold", "seed")]
    by = [name for name in by if name == "recipe" or table[name].nunique() > 1]
    rows = []
    for names, part in table.groupby(by, sort=False):
        fine = part[part["error"].isna()] if "error" in part else part
        for side, metric in itertools.product(("val", "test") if test else ("val",), METRICS):
            values = [figures[metric] for figures in fine[side]] if len(fine) else []
            values = pd.Series(values, dtype=float)
            folds = values.groupby(fine["fold"].to_numpy())
            counts = [len(part), len(part) - len(fine)]
            spread = [values.mean(), folds.var().mean() ** 0.5, folds.mean().std()]
            rows.append([*names, *counts, f"{side} {metric}", *spread])
    figures = ["trials", "failed", "figure", "mean", "sd of seeds", "sd of folds"]
    return pd.DataFrame(rows, columns=[*by, *figures])
