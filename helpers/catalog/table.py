"""The catalog: a table with one row per image, used by every step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import CatalogError
from helpers.base.files import read_csv, write_csv

#: Columns of every catalog, in their order. All but `positive` hold strings.
COLUMNS = (
    "image_id",  # unique: the file's name without ending, or original + transform for a copy
    "path",  # absolute path of the file that holds the pixels
    "label",  # a class name, or "unlabelled"
    "positive",  # Int64: 1 for the positive class, 0 for the others, missing where unlabelled
    "subject",  # the person (or the block of files used in place of one)
    "fold",  # the release's own fold, "" where it has none
    "sha256",  # of the file's bytes
    "group",  # subjects that share a file are one group; splits keep groups whole
    "split",  # "train", "val", "test" or "" before a split
    "original",  # image_id of the image that an augmented copy was made from, else ""
    "transform",  # how it was made from it; "identity" for an image itself
)
SPLITS = ("train", "val", "test")
#: Columns that a training depends on: the pixels, the truth and the split.
TRAINED_ON = ("sha256", "transform", "label", "positive", "split")
UNLABELLED = "unlabelled"
_NAMED = tuple(column for column in COLUMNS if column != "positive")


def make(
    rows: Iterable[dict] | pd.DataFrame, positive: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """Return a checked catalog from rows that hold at least an id, a path and a label.

    Parameters
    ----------
    rows : iterable of dict, or pandas.DataFrame
        Missing columns are filled: `subject` with the image's own id, `group`
        with the subject, `transform` with ``identity``, others with ``""``.
    positive : str or iterable of str, optional
        Name of the positive class, or names of several. It fills the column
        `positive`; every other labelled class is negative. Without it the rows
        have that column already, or it stays empty: such a catalog can be split
        and displayed, but no model can be trained on it (see :func:`target`).

    Returns
    -------
    pandas.DataFrame
        Sorted by `image_id`, with a fresh index, the columns of `COLUMNS` first.

    Raises
    ------
    CatalogError
        As :func:`check`; also when no row has a class named in `positive`, or a
        class is positive in one row and negative in another.
    """
    try:
        table = pd.DataFrame(rows)
    except (TypeError, ValueError) as error:
        raise CatalogError(
            f"The rows of a catalog must be a table or dicts, but are {arguments.shown(rows)}."
        ) from error
    table = arguments.table(table, ("image_id", "path", "label"), "catalog", CatalogError).copy()
    defaults = {"subject": table["image_id"], "transform": "identity"}
    for column in _NAMED:
        if column not in list(table.columns):
            table[column] = table["subject"] if column == "group" else defaults.get(column, "")
    arguments.table(table, _NAMED, "catalog", CatalogError)
    table[list(_NAMED)] = table[list(_NAMED)].astype(str).astype(object)
    if positive is not None:
        positive = [positive] if isinstance(positive, str) else positive
        positive = arguments.names("The positive classes", positive, CatalogError)
        table["positive"] = _is_positive(table["label"], positive)
    if "positive" not in table:
        table["positive"] = pd.NA
    table["positive"] = truth(table["positive"])
    sides = table.groupby("label")["positive"].nunique()
    if (sides > 1).any():
        raise CatalogError(
            f"The class {sides.idxmax()!r} is positive in some rows and negative in others."
        )
    others = [column for column in table.columns if column not in COLUMNS]
    table = table[[*COLUMNS, *others]].sort_values("image_id", kind="stable", ignore_index=True)
    return check(table)


def truth(column: pd.Series) -> pd.Series:
    """Return a column `positive` as Int64: 0, 1, or missing where unknown.

    Numbers, booleans and digits from a text file are all accepted.

    Raises
    ------
    CatalogError
        When an entry is neither 0 nor 1 nor missing.
    """
    if not isinstance(column, pd.Series):
        raise CatalogError(
            f"The column `positive` must be a pandas.Series, but is {arguments.shown(column)}."
        )
    numbers = arguments.column(column)
    wrong = column[(numbers != 0) & (numbers != 1)].dropna()
    wrong = wrong[[not isinstance(entry, str) or entry != "" for entry in wrong]]
    if len(wrong):
        first = arguments.shown(wrong.iloc[0])
        raise CatalogError(
            f"{len(wrong)} rows have a `positive` that is neither 0 nor 1, first {first}."
        )
    return pd.Series(numbers, column.index, name=column.name).astype("Int64")


def check(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return `catalog` if it is valid; raise an error otherwise.

    Returns
    -------
    pandas.DataFrame
        `catalog` itself, or a copy where names are stored as categories or `positive`
        as text or booleans: there they are plain text, and Int64.

    Raises
    ------
    CatalogError
        When it is no table or has no rows, a column is missing, stands twice or holds
        something else than text, an id occurs twice, a split is unknown, or an augmented
        copy is outside training.
    """
    cure = "; helpers.catalog.make adds them"
    arguments.table(catalog, COLUMNS, "catalog", CatalogError, cure)
    if catalog.empty:
        raise CatalogError("The catalog has no rows: no image was found or all were left out.")
    holes = [column for column in _NAMED if catalog[column].isna().any()]
    if holes:
        raise CatalogError(f"The catalog's columns {holes} hold missing values.")
    catalog = arguments.text(catalog, _NAMED, "catalog", CatalogError)
    positive = truth(catalog["positive"])
    if catalog["positive"].dtype != "Int64":
        catalog = catalog.assign(positive=positive)
    repeated = catalog["image_id"][catalog["image_id"].duplicated()].unique()
    if len(repeated):
        raise CatalogError(
            f"{len(repeated)} image ids occur more than once in the catalog, first {repeated[0]!r}."
        )
    unknown = sorted(set(catalog["split"]) - {"", *SPLITS})
    if unknown:
        raise CatalogError(f"Unknown splits {unknown} in the catalog; known are {SPLITS}.")
    stray = catalog[(catalog["original"] != "") & ~catalog["split"].isin(["", "train"])]
    if len(stray):
        raise CatalogError(
            f"{len(stray)} augmented copies are outside the training split, "
            f"first {stray['image_id'].iloc[0]!r}: augment after splitting."
        )
    return catalog


def classes(catalog: pd.DataFrame) -> list[str]:
    """Return the class names of the labelled rows, negative classes first, each side sorted."""
    catalog = _labels(catalog)
    _, positive = sides(catalog)
    present = set(catalog["label"]) - {UNLABELLED}
    return sorted(present, key=lambda name: (name in positive, name))


def sides(catalog: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of the negative classes and those of the positive ones, each sorted.

    Works on predictions as well. A side without rows is an empty list.
    """
    catalog = _labels(catalog)
    column = truth(catalog["positive"])
    negative, positive = (sorted(set(catalog["label"][column == side])) for side in (0, 1))
    return negative, positive


def class_names(catalog: pd.DataFrame) -> tuple[str, str]:
    """Return names for the negative and the positive class: ``("hem", "all")``.

    Several classes of one side are joined: ``early/pre/pro``. A side without
    rows is called ``negative`` or ``positive``. Works on predictions as well.
    """
    negative, positive = ("/".join(names) for names in sides(catalog))
    return negative or "negative", positive or "positive"


def target(catalog: pd.DataFrame) -> np.ndarray:
    """Return the column `positive` as an array: 1 or 0 for each row, int8, shape (n,).

    Works on predictions as well. The reader of the data set decides which
    class is positive: this does not depend on the other rows.

    Raises
    ------
    CatalogError
        When the column is missing, or a row is unlabelled or has no entry in it.
    """
    arguments.table(catalog, (), "table", CatalogError)
    if "positive" not in list(catalog.columns):
        raise CatalogError(
            "The table lacks the column `positive`, 1 for rows of the positive class and 0 for "
            "the others: catalog.make(rows, positive=...) adds it."
        )
    columns = [name for name in ("positive", "label") if name in catalog]
    arguments.table(catalog, columns, "table", CatalogError)
    column = truth(catalog["positive"])
    blank = int((catalog["label"] == UNLABELLED).sum()) if "label" in catalog else 0
    if blank:
        raise CatalogError(f"{blank} rows of the catalog are unlabelled: leave them out first.")
    if column.isna().any():
        raise CatalogError(
            f"For {int(column.isna().sum())} rows it is unknown whether their class is the "
            "positive one: set it by catalog.make(rows, positive=...)."
        )
    return column.to_numpy(dtype=np.int8)


def fingerprint(catalog: pd.DataFrame, columns: Iterable[str] = ("sha256", "transform")) -> str:
    """Return a hash of the named columns in row order, 16 hexadecimal digits.

    The default names the pixels: same files in the same order, in any folder.
    """
    columns = arguments.names("The columns", columns, CatalogError)
    arguments.table(catalog, columns, "catalog", CatalogError)
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"\x1e{column}\x1e".encode())
        entries = "\x1f".join(map(str, catalog[column]))
        digest.update(entries.encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


def read(path: str | os.PathLike) -> pd.DataFrame:
    """Return the checked catalog that :func:`write` wrote to `path`."""
    try:
        return check(read_csv(path, CatalogError))
    except CatalogError as error:
        raise CatalogError(
            f"{' '.join(str(path).split())} does not hold a catalog. {error}"
        ) from error


def write(path: str | os.PathLike, catalog: pd.DataFrame) -> None:
    """Write `catalog` as CSV, completely or not at all."""
    write_csv(path, check(catalog))


def _labels(table: pd.DataFrame) -> pd.DataFrame:
    """Return a catalog or predictions, checked for the columns `label` and `positive`."""
    cure = "; helpers.catalog.make adds them"
    arguments.table(table, ("label", "positive"), "table", CatalogError, cure)
    return arguments.text(table, ("label",), "table", CatalogError)


def _is_positive(labels: pd.Series, positive: list[str]) -> pd.Series:
    """Return 1 for labels in `positive`, 0 for other classes, missing for unlabelled rows."""
    names = set(positive)
    present = set(labels) - {UNLABELLED}
    if not names & present:
        raise CatalogError(
            f"No row is of the positive class {', '.join(sorted(names))!r}; "
            f"the classes are {', '.join(map(repr, sorted(present)))}."
        )
    return labels.isin(names).astype("Int64").mask(labels == UNLABELLED)
