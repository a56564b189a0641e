"""The user's own images: one folder per class, with any names, and perhaps a table of subjects.

::

    my_cells/
        healthy/    a.png  b.png  slide_2/c.png ...
        sick/       d.png ...
        subjects.csv                        image,subject
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from helpers.base.errors import DatasetError
from helpers.catalog.table import UNLABELLED
from helpers.datasets.files import IMAGE_ENDINGS, File, LeftOut, readable_name
from helpers.datasets.origins import Origin
from helpers.datasets.sampling import of_one_class
from helpers.datasets.tables import Tables

EXPECTED = "one folder per class with its images, such as healthy/1.png and sick/2.png"
#: What the pages and cards say about it.
ORIGIN = Origin(
    "Images of one's own, one folder per class",
    "the folder that the course was given",
    "not told",
    "what the images in the class folders show",
    "those of a CSV file beside the images, or else single images",
    (
        "Without a table of subjects a split cannot keep the images of a person together.",
        "Both classes may differ by where they were taken and not only by disease.",
    ),
    who="A subject is what the table of subjects says.",
    banner="a folder of images, one folder per class",
)
SIZES = None  # images of any size
#: Why an image without light is left out: `load_images` would look for its cell in vain.
BLACK = "black all over"
settle = of_one_class
_NO_CLASS = (UNLABELLED, "unlabeled")
#: Names of folders that are parts of a data set and not classes.
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def read(files: list[File], positive: str = "") -> tuple[list[dict], list[LeftOut]]:
    """Return a row for each image whose class is given by a folder or a table.

    The class folders are those next to each other at the top. If only one folder
    with images is there, its sub-folders are the classes; if the folders at the
    top are parts (``train``, ``test``), the ones below are, and the part becomes
    the `fold`. Images deeper down belong to their class folder. A folder called
    ``unlabelled``, in capitals or not, holds images whose class is not known.

    Any CSV file with a column ``image`` (a file name, or a path below the data
    folder) may give the ``subject`` and the ``label`` of each image. If one gives
    labels, folders are not used. Images without a line in it are left out. Without
    a table of subjects each image is its own subject.

    Parameters
    ----------
    files : list of File
    positive : str
        Name of the positive class; all others are negative. Capitals do not matter.

    Returns
    -------
    rows : list of dict
        Catalog columns without `path` and `sha256`, the `file`, and `label_source`: the
        column of a table that gives the classes, in words, ``""`` where folders do.
    left_out : list of (path, reason)

    Raises
    ------
    DatasetError
        When `positive` is empty or no class has that name, or a table contradicts itself or
        cannot be read.
    """
    images = [file for file in files if file.ending in IMAGE_ENDINGS]
    tables = Tables([file for file in files if file.ending not in IMAGE_ENDINGS], images)
    by_folder = "label" not in tables.told
    depth, parted = _class_level(images, positive) if by_folder else (0, False)
    rows, left_out = [], tables.left_out
    for file in images:
        entry = tables.known.get(file.relative, {})
        if by_folder and len(file.folders) <= depth:
            left_out.append((file.relative, "in no class folder"))
        elif tables.told - entry.keys():
            left_out.append((file.relative, f"not in {' or '.join(tables.names)}"))
        else:
            name = file.relative.split("/", depth - parted)[-1]
            label = file.folders[depth] if by_folder else entry["label"]
            label = (
                UNLABELLED if _plain(label) in _NO_CLASS else unicodedata.normalize("NFC", label)
            )
            row = {"image_id": name[: -len(file.ending)], "subject": entry.get("subject")}
            row |= {"label": label, "label_source": tables.label_source}
            row |= {"split": "", "file": file}
            rows.append(row | {"fold": file.folders[depth - 1].lower() if parted else ""})
    counts = Counter(row["image_id"] for row in rows)
    classes = Counter(row["label"] for row in rows)
    chosen = _positive_label(classes, positive, tables.label_source) if rows else ""
    for row in rows:
        if counts[row["image_id"]] > 1:  # two names that differ only in their ending
            row["image_id"] += row["file"].name[-len(row["file"].ending) :]
        row["subject"] = row["subject"] or row["image_id"]
        row["positive"] = None if row["label"] == UNLABELLED else int(row["label"] == chosen)
    return rows, left_out


def notes(rows: list[dict]) -> list[str]:
    """Return notes to print about the rows that :func:`read` returned, at least one."""
    lines = []
    if all(row["subject"] == row["image_id"] for row in rows):
        lines.append(
            "No subjects are known (there is no CSV file with the columns image and subject): "
            "each image counts as its own subject, so no split can keep those of a person together."
        )
    if people := _alike({row["subject"] for row in rows if row["subject"] != row["image_id"]}):
        lines.append(
            f"The subjects {people} differ only in capitals or leading zeros and count as "
            "different people: if they are one, write them alike in the table."
        )
    labels = sorted({row["label"] for row in rows} - {UNLABELLED})
    source = rows[0]["label_source"]  # the same in all rows
    if source:
        lines.append(f"The classes are those of {source}; the folders give none.")
    if alike := _alike(labels):
        cure = "write them alike in the table" if source else "rename a folder"
        lines.append(
            f"The classes {alike} differ only in capitals, spaces or leading zeros and "
            f"count as different ones: if they are one class, {cure}."
        )
    if len(labels) == 1:
        lines.append(f"All images are of one class, {labels[0]!r}: no network can learn from them.")
    return lines


def _class_level(images: list[File], positive: str) -> tuple[int, bool]:
    """Return how many folders are above the class folders, and whether the last one is a part."""
    depth = 0
    while True:
        level = {file.folders[depth] for file in images if len(file.folders) > depth}
        below = any(len(file.folders) > depth + 1 for file in images)
        if level and below and {name.lower() for name in level} <= PARTS:
            return depth + 1, True
        if len(level) != 1 or not below or _plain(*level) == _plain(positive):
            return depth, False
        depth += 1


def _alike(names: Iterable[str]) -> str:
    """Return, in words, the names of which another one differs in capitals or zeros only."""
    groups = defaultdict(list)
    for name in sorted(names):
        groups[re.sub(r"(?<!\d)0+(?=\d)", "", _plain(name))].append(name)
    alike = [name for group in groups.values() if len(group) > 1 for name in group]
    return ", ".join(map(repr, alike[:6])) + (", ..." if len(alike) > 6 else "")


def _positive_label(classes: Counter, positive: str, source: str) -> str:
    """Return the class called `positive`, or raise an error that lists the classes."""
    named = [name for name in classes if name != UNLABELLED]
    counts = ", ".join(f"{name!r} ({classes[name]} images)" for name in sorted(named))
    counts += f"; they are those of {source}" if source else ""
    if not positive:
        raise DatasetError(
            "The data set folders needs the name of the positive class, the one to be found: "
            f"set POSITIVE (positive) to one of the classes, {counts}."
        )
    same = [name for name in named if _plain(name) == _plain(positive)]
    exact = [name for name in same if name == unicodedata.normalize("NFC", positive)]
    if len(same) != 1 and len(exact) != 1:
        raise DatasetError(
            f"No class with images is called {positive!r} (POSITIVE); there are {counts}."
        )
    return (exact or same)[0]


def _plain(name: str) -> str:
    # Some systems write é as one character, others as e and an accent.
    return " ".join(unicodedata.normalize("NFC", readable_name(name)).casefold().split())
