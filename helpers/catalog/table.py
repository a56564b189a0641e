"""The catalog: a table with one row an image, which every step hands on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers.base.errors import CatalogError
from helpers.base.files import write_csv

#: Columns of every catalog, in their order. All hold strings.
COLUMNS = (
    "image_id",  # unique: the file's name without ending, or original + transform for a copy
    "path",  # absolute path of the file that holds the pixels
    "label",  # a class name in lower case, or "unlabelled"
    "subject",  # the person (or the block of files that stands in for one)
    "fold",  # the release's own fold, "" where it has none
    "sha256",  # of the file's bytes
    "group",  # subjects that share a file are one group; splits keep groups whole
    "split",  # "train", "val", "test" or "" before a split
    "original",  # image_id of the image that an augmented copy was made from, else ""
    "transform",  # how it was made from it; "identity" for an image itself
)
SPLITS = ("train", "val", "test")
UNLABELLED = "unlabelled"

# Class sets of the course and, of each, the classes that count as positive (1).
_POSITIVE = {
    frozenset({"all", "hem"}): ("all",),
    frozenset({"all", "mm"}): ("mm",),
    frozenset({"benign", "early", "pre", "pro"}): ("early", "pre", "pro"),
}


def make(rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Return a checked catalog from rows that hold at least an id, a path and a label.

    Parameters
    ----------
    rows : iterable of dict, or pandas.DataFrame
        Missing columns are filled: `subject` with the image's own id, `group`
        with the subject, `transform` with ``identity``, others with ``""``.

    Returns
    -------
    pandas.DataFrame
        Sorted by `image_id`, with a fresh index, the columns of `COLUMNS` first.

    Raises
    ------
    CatalogError
        As :func:`check`.
    """
    table = pd.DataFrame(rows).copy()
    for column in ("image_id", "path", "label"):
        if column not in table:
            raise CatalogError(f"A catalog needs a column {column!r}; found {list(table.columns)}.")
    defaults = {"subject": table["image_id"], "transform": "identity"}
    for column in COLUMNS:
        if column not in table:
            table[column] = table["subject"] if column == "group" else defaults.get(column, "")
    table[list(COLUMNS)] = table[list(COLUMNS)].astype(str).astype(object)
    others = [column for column in table.columns if column not in COLUMNS]
    table = table[[*COLUMNS, *others]].sort_values("image_id", kind="stable", ignore_index=True)
    return check(table)


def check(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return `catalog` as it is when it is sound, raise otherwise.

    Raises
    ------
    CatalogError
        When it is empty, a column is missing or holds missing values, an id
        stands twice, a split is unknown, or an augmented copy is outside training.
    """
    missing = [column for column in COLUMNS if column not in catalog]
    if missing:
        raise CatalogError(
            f"The catalog lacks the columns {missing}; helpers.catalog.make adds them."
        )
    if catalog.empty:
        raise CatalogError("The catalog has no rows: no image was found or all were left out.")
    holes = [column for column in COLUMNS if catalog[column].isna().any()]
    if holes:
        raise CatalogError(f"The catalog's columns {holes} hold missing values.")
    repeated = catalog["image_id"][catalog["image_id"].duplicated()].unique()
    if len(repeated):
        raise CatalogError(
            f"{len(repeated)} image ids stand more than once in the catalog, first {repeated[0]!r}."
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
    """Return the class names of the labelled rows, negative classes first.

    A loaded part of a known data set may lack a class: the result then still
    is in the same order, without it.
    """
    present = set(catalog["label"]) - {UNLABELLED}
    positive = positive_classes(catalog)
    return sorted(present - set(positive)) + [name for name in sorted(present) if name in positive]


def positive_classes(catalog: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes that count as positive: ``all`` against ``hem``, ``mm`` against ``all``.

    Raises
    ------
    CatalogError
        When the labels are not those of one of the course's questions.
    """
    present = frozenset(catalog["label"].unique()) - {UNLABELLED}
    for names, positive in _POSITIVE.items():
        if present <= names:
            return tuple(name for name in positive if name in present)
    raise CatalogError(
        f"The labels {sorted(present)} are not those of one of the course's questions: "
        + "; ".join("/".join(sorted(names)) for names in _POSITIVE)
    )


def target(catalog: pd.DataFrame) -> np.ndarray:
    """Return 1 for each row of a positive class and 0 for each other, int8, shape (n,).

    Raises
    ------
    CatalogError
        When a row is unlabelled.
    """
    blank = int((catalog["label"] == UNLABELLED).sum())
    if blank:
        raise CatalogError(f"{blank} rows of the catalog are unlabelled: leave them out first.")
    return catalog["label"].isin(positive_classes(catalog)).to_numpy(dtype=np.int8)


def fingerprint(catalog: pd.DataFrame, columns: Iterable[str] = ("sha256", "transform")) -> str:
    """Return a hash of the named columns in row order, 16 hexadecimal digits.

    The default names the pixels: same files in the same order, wherever they lie.
    """
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"\x1e{column}\x1e".encode())
        digest.update("\x1f".join(catalog[column].astype(str)).encode())
    return digest.hexdigest()[:16]


def read(path: str | os.PathLike) -> pd.DataFrame:
    """Return the checked catalog that :func:`write` wrote to `path`."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return check(table.astype(object))


def write(path: str | os.PathLike, catalog: pd.DataFrame) -> None:
    """Write `catalog` as CSV, whole or not at all."""
    write_csv(path, check(catalog))
