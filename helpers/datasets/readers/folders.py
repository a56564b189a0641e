"""Anybody's own images: one folder a class, with any names, and perhaps a table of subjects.

::

    my_cells/
        healthy/    a.png  b.png  slide_2/c.png ...
        sick/       d.png ...
        subjects.csv                        image,subject
"""

from __future__ import annotations

import unicodedata
from collections import Counter

from helpers.base.errors import DatasetError
from helpers.catalog.table import UNLABELLED
from helpers.datasets.files import IMAGE_ENDINGS, File, LeftOut, Memory
from helpers.datasets.readers import tables
from helpers.datasets.sampling import of_one_class

EXPECTED = "one folder a class with its images, such as healthy/1.png and sick/2.png"
SIZES = None  # images of any size
#: Every file is looked at: one that is no image is named in the report.
EVERY_FILE = True
#: Folders that part a data set and are no classes.
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def read(files: list[File], positive: str = "") -> tuple[list[dict], list[LeftOut]]:
    """Return a row for each image in a class folder.

    The class folders are those next to each other at the top. If only one folder
    with images is there, its sub-folders are the classes; if the folders at the
    top are parts (``train``, ``test``), the ones below are, and the part becomes
    the `fold`. Images deeper down belong to their class folder. A folder called
    ``unlabelled`` holds images whose class is not known.

    Subjects come from any CSV file with a column ``image`` (a file name, or a path
    below the data folder) and a column ``subject``. Images without a line in it are left
    out. Without such a table each image is its own subject.

    Parameters
    ----------
    files : list of File
    positive : str
        Name of the class folder that is the positive class; all others are
        negative. Capitals do not matter.

    Returns
    -------
    rows : list of dict
        Catalog columns without `path` and `sha256`, and the `file`.
    left_out : list of (path, reason)

    Raises
    ------
    DatasetError
        When `positive` is empty or no class folder is called so, or a table of
        subjects contradicts itself.
    """
    images = [file for file in files if file.ending in IMAGE_ENDINGS]
    depth, parted = _class_level(images, positive)
    rows, left_out = [], []
    for file in images:
        if len(file.folders) <= depth:
            left_out.append((file.relative, "in no class folder"))
            continue
        label = unicodedata.normalize("NFC", file.folders[depth])
        fold = file.folders[depth - 1].lower() if parted else ""
        name = file.relative.split("/", depth - parted)[-1]
        row = {"image_id": name.removesuffix(name[-len(file.ending) :]), "label": label}
        rows.append(row | {"fold": fold, "split": "", "file": file})
    _tell_apart(rows)
    if rows:
        chosen = _positive_label(Counter(row["label"] for row in rows), positive)
        for row in rows:
            known = row["label"] != UNLABELLED
            row["positive"] = int(row["label"] == chosen) if known else None
            row["subject"] = row["image_id"]
    return _with_subjects(rows, left_out, files)


def settle(rows: list[dict], memory: Memory) -> tuple[list[dict], list[LeftOut]]:
    """Leave out images that lie there under two classes: nobody knows which one is right."""
    return of_one_class(rows, memory)


def notes(rows: list[dict]) -> list[str]:
    """Return what a reader must know about what was read."""
    lines = []
    if all(row["subject"] == row["image_id"] for row in rows):
        lines.append(
            "No subjects are known (there is no CSV file with the columns image and subject): "
            "each image counts as its own subject, so no split can keep those of a person together."
        )
    labels = sorted({row["label"] for row in rows} - {UNLABELLED})
    if len(labels) == 1:
        lines.append(f"All images are of one class, {labels[0]!r}: no network can learn from them.")
    return lines


def _class_level(images: list[File], positive: str) -> tuple[int, bool]:
    """Return how many folders lie above the class folders, and whether the last one is a part."""
    depth = 0
    while True:
        here = {file.folders[depth] for file in images if len(file.folders) > depth}
        below = any(len(file.folders) > depth + 1 for file in images)
        if here and below and {name.lower() for name in here} <= PARTS:
            return depth + 1, True
        if len(here) != 1 or not below or _plain(*here) == _plain(positive):
            return depth, False
        depth += 1


def _positive_label(classes: Counter, positive: str) -> str:
    """Return the class folder called `positive`, or say which ones there are."""
    named = [name for name in classes if name != UNLABELLED]
    counts = ", ".join(f"{name!r} ({classes[name]} images)" for name in sorted(named))
    if not positive:
        raise DatasetError(
            "The data set folders needs the name of the positive class, the one to be found: "
            f"set POSITIVE (positive) to one of the class folders, {counts}."
        )
    same = [name for name in named if _plain(name) == _plain(positive)]
    exact = [name for name in same if name == unicodedata.normalize("NFC", positive)]
    if len(same) != 1 and len(exact) != 1:
        raise DatasetError(
            f"No class folder with images is called {positive!r} (POSITIVE); there are {counts}."
        )
    return (exact or same)[0]


def _plain(name: str) -> str:
    # Some systems write é as one character, others as e and an accent.
    return unicodedata.normalize("NFC", name).strip().casefold()


def _tell_apart(rows: list[dict]) -> None:
    """Give images whose names differ in their ending alone an id with the ending."""
    counts = Counter(row["image_id"] for row in rows)
    for row in rows:
        if counts[row["image_id"]] > 1:
            row["image_id"] += row["file"].name[-len(row["file"].ending) :]


def _with_subjects(
    rows: list[dict], left_out: list[LeftOut], files: list[File]
) -> tuple[list[dict], list[LeftOut]]:
    """Return the rows with their subjects, if a table tells them, and what is left out."""
    subjects: dict[str, tuple[str, str]] = {}
    sources = []
    names = tables.Names(row["file"] for row in rows)
    for file in files:
        if file.ending in IMAGE_ENDINGS:
            continue
        found = _subjects(file, names, subjects) if file.ending == ".csv" else None
        if found is None:
            left_out.append((file.relative, "no image, and no table of images and subjects"))
        else:
            sources.append(file.name)
            left_out += found
    if not sources:
        return rows, left_out
    known = [row for row in rows if row["file"].relative in subjects]
    left_out += [
        (row["file"].relative, f"not in {' or '.join(sources)}")
        for row in rows
        if row["file"].relative not in subjects
    ]
    for row in known:
        row["subject"] = subjects[row["file"].relative][0]
    return known, left_out


def _subjects(
    file: File, names: tables.Names, subjects: dict[str, tuple[str, str]]
) -> list[LeftOut] | None:
    """Add the subjects that a table tells to `subjects`; None if it is no table of subjects."""
    try:
        table = tables.read(file.path)
    except DatasetError:
        return None
    image = tables.column(table, tables.IMAGE_COLUMNS)
    subject = tables.column(table, tables.SUBJECT_COLUMNS)
    if image is None or subject is None:
        return None
    left_out = []
    for line, (name, who) in enumerate(zip(table[image], table[subject], strict=True), start=2):
        name, who, where = name.strip(), who.strip(), f"{file.relative}, row {line}"
        if not name and not who:
            continue  # an empty line
        if not name or not who:
            raise DatasetError(f"{where}: the {'subject' if name else 'image'} is missing.")
        meant = names[name]
        if len(meant) > 1:
            both = " and ".join(repr(one.relative) for one in meant[:2])
            raise DatasetError(f"{where}: {name!r} may be {both}; write it with its folder.")
        if not meant:
            left_out.append((where, "row that names no image in a class folder"))
            continue
        before = subjects.setdefault(meant[0].relative, (who, where))
        if before[0] != who:
            raise DatasetError(
                f"{where}: {name!r} is of subject {who!r}, but {before[1]} says {before[0]!r}."
            )
    return left_out
