"""The origin and the defects of each data set, for its data sheet."""

from __future__ import annotations

import importlib
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import pandas as pd

from helpers.base.errors import DatasetError
from helpers.base.settings import check_dataset

#: Where a person who writes a reader finds what it needs.
NEEDS = "The page of data sets says what a reader and its rows need."


@dataclass(frozen=True)
class Origin:
    """What a data set is, as its authors describe it.

    Attributes
    ----------
    title, source, licence : str
    content : str
        What an image shows.
    subjects : str
        What the catalog's subjects are.
    know : tuple of str
        What is known to be wrong or missing.
    who : str
        What a subject is, as a sentence of a page.
    get : str
        How to get it, as a part of a sentence; without it, the sentence names the source.
    banner : str
        Its name in the banner of a chapter; the title without it.
    """

    title: str
    source: str
    licence: str
    content: str
    subjects: str
    know: tuple[str, ...] = ()
    who: str = "A subject is a person."
    get: str = ""
    banner: str = ""


def origin(dataset: str) -> Origin:
    """Return the origin of a data set, which its module in ``readers`` tells.

    Raises
    ------
    SettingsError
        When the course knows no data set of that name.
    """
    check_dataset(dataset)
    return reader(dataset).ORIGIN


def reader(dataset: str) -> ModuleType:
    """Return the module that reads a data set.

    Raises
    ------
    DatasetError
        When its file cannot be imported, or lacks a part.
    """
    file = f"helpers/datasets/readers/{dataset}.py"
    try:
        module = importlib.import_module(f"helpers.datasets.readers.{dataset}")
    except Exception as error:
        syntax = isinstance(error, SyntaxError)
        line = error.lineno if syntax else traceback.extract_tb(error.__traceback__)[-1].lineno
        why = f"{type(error).__name__} in line {line}: {error.msg if syntax else error}"
        raise DatasetError(f"{file} cannot be imported: {why}. {NEEDS}") from error
    sizes = getattr(module, "SIZES", 0)
    parts = {
        "EXPECTED, a text": isinstance(getattr(module, "EXPECTED", 0), str),
        "ORIGIN = Origin(...)": isinstance(getattr(module, "ORIGIN", 0), Origin),
        "SIZES = None, or pairs in a tuple as in ((450, 450),)": sizes is None
        or (isinstance(sizes, tuple) and all(isinstance(s, tuple) and len(s) == 2 for s in sizes)),
        "a function read": callable(getattr(module, "read", 0)),
    }
    if lacks := [what for what, there in parts.items() if not there]:
        raise DatasetError(f"{file} needs {lacks[0]}. {NEEDS}")
    return module


_NOBODY = "No file says whose images these are: each image counts as a subject of its own."


def described(dataset: str, catalog: pd.DataFrame) -> str:
    """Return the size of a catalog, and what its images and subjects are, for a page.

    Examples
    --------
    >>> print(described("cnmc", catalog))  # doctest: +SKIP
    1,200 images of 73 subjects, 2 to 78 images each.
    Each image shows one real cell of bone marrow; a subject is a person.
    """
    sizes = catalog["subject"].value_counts()
    single = sizes.max() == 1
    each = "" if single else f", {span(sizes, 'image')} each"
    who = _NOBODY if single and dataset == "folders" else origin(dataset).who
    counted = f"{len(catalog):,} images of {len(sizes):,} subjects{each}."
    return f"{counted}\n{textwrap.fill(who, 88)}"


def span(sizes: Sequence[int], what: str) -> str:
    """Return the smallest and the largest of some sizes, with the name of what was counted.

    Examples
    --------
    >>> span([2, 78, 5], "image"), span([5, 5], "image"), span([1], "cell")
    ('2 to 78 images', '5 images', '1 cell')
    """
    fewest, most = min(sizes), max(sizes)
    counted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return f"{counted} {what}" if most == 1 else f"{counted} {what}s"


def section(dataset: str) -> str:
    """Return the section of a data set for the page of data sets, as Markdown."""
    about = origin(dataset)
    known = "\n".join(f"- {sentence}" for sentence in about.know)
    know = f"\n\n**Know before you train**\n\n{known}" if known else ""
    return (
        f"## {about.title}\n\nTake `DATASET={dataset}`. An image shows {about.content}. "
        f"{about.who}\n\n**From** {about.source}. **Licence**: {about.licence}.{know}\n"
    )
