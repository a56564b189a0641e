"""Single white cells with a label each: a folder for each kind, or a table of labels.

For data sets of one's own and for published ones in common layouts
(``TRAIN/EOSINOPHIL/_0_207.jpeg``, ``basophil/BA_100102.jpg``, ``001.bmp`` with a
table of class numbers). Image files of other classes, broken files, masks and
copies are left out, named and counted.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers import catalog as catalogs
from helpers.base.errors import DatasetError
from helpers.datasets import files as data_files
from helpers.datasets.drawn.leukocytes import KINDS
from helpers.datasets.files import IMAGE_ENDINGS, File, LeftOut
from helpers.datasets.readers import tables
from helpers.datasets.readers.folders import PARTS

#: Names under which each kind goes in folders and tables, in lower case and without plural s.
NAMES = {
    "neutrophil": (
        "neutrophil neut neu ne n segmented_neutrophil seg_neutrophil neutrophil_segmented "
        "segmented band_neutrophil neutrophil_band band banded_neutrophil bne sne ngs ngb"
    ),
    "eosinophil": "eosinophil eosino eos eo e",
    "basophil": "basophil baso bas ba b",
    "lymphocyte": "lymphocyte lymph lym lyt ly l typical_lymphocyte lymphocyte_typical",
    "monocyte": "monocyte mono mon mo m",
}
_KIND = {name: kind for kind, names in NAMES.items() for name in names.split()}
_PARTS = PARTS | {"test_simple"}
_LABEL_COLUMNS = ("label", "class", "class_label", "category", "kind", "type", "cell_type")


def load(
    folder: str | os.PathLike,
    table: str | os.PathLike | None = None,
    names: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Return the catalog of labelled single cells; print one line if files were left out.

    Parameters
    ----------
    folder : path-like
        Searched with all its sub-folders. A folder is named after its kind, in
        words or abbreviations (`NAMES`), capitals or not.
    table : path-like, optional
        A CSV file, from here or from `folder`, with a column of file names (with
        or without ending, with or without folders) and one of labels; a column
        ``subject`` is used too. Then folders' names do not count. Where no
        folder is named after a kind, the only CSV file in `folder` is taken.
    names : dict of str to str, optional
        Further names or numbers of classes, each with the kind that it means:
        ``{"1": "neutrophil"}``. Kinds other than the five are taken as they are.

    Returns
    -------
    pandas.DataFrame
        A catalog. Its column `positive` is empty: five kinds ask no question of
        two classes. `fold` is the release's own part (``train``, ``test``) where
        folders say so. Without subjects each image counts as its own subject,
        which is an assumption: see Notes.

    Raises
    ------
    DatasetError
        When the folder or the table is missing, the table lacks a column, or no
        image of a known kind is found.

    Notes
    -----
    Most collections do not tell which cells are of one person, and some hold
    several augmented versions of one photograph under different names. A split
    by such a catalog's `subject` then leaks, and nothing in the files shows it.
    """
    catalog, report = load_with_report(folder, table, names)
    if len(report):
        from helpers.datasets import summary

        print(summary(report))
    return catalog


def load_with_report(
    folder: str | os.PathLike,
    table: str | os.PathLike | None = None,
    names: dict[str, str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the catalog as :func:`load` does, and a table (`path`, `reason`) of what was left out.

    Files that bear no label are counted in it as well.
    """
    if not folder or not isinstance(folder, str | os.PathLike):
        raise DatasetError(
            f"{folder!r} is not a folder: give the one that holds the labelled cells."
        )
    folder = data_files.absolute(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: give the one that holds the labelled cells.")
    known = _KIND | {_plain(name): kind for name, kind in (names or {}).items()}
    found, left_out = data_files.scan(folder)
    images = [file for file in found if file.ending in IMAGE_ENDINGS]
    rows, unfit = _by_folder(images, known) if table is None else ([], [])
    if table is None and not rows:
        table = _only_table(found)
    if table is not None:
        rows, unfit = _by_table(images, _found_table(folder, table), known)
    left_out += unfit
    memory = data_files.Memory(folder, progress=True)
    contents = memory.contents(row["file"] for row in rows)
    left_out += [
        (row["file"].relative, content.problem)
        for row, content in zip(rows, contents, strict=True)
        if content.problem
    ]
    rows = [row for row, content in zip(rows, contents, strict=True) if not content.problem]
    hashes = memory.hashes(row["file"] for row in rows)
    for row, digest in zip(rows, hashes, strict=True):
        row["sha256"] = digest
    rows, repeated = _once_each(rows)
    left_out += repeated
    report = pd.DataFrame(sorted(left_out), columns=["path", "reason"], dtype=object)
    if not rows:
        raise DatasetError(_nothing(folder, table, images, report))
    for row in rows:
        file = row.pop("file")
        row["path"] = file.path
        row["image_id"] = file.relative.removesuffix(Path(file.name).suffix).replace("/", "_")
    _tell_apart(rows)
    return catalogs.make(rows), report


def _plain(name: str) -> str:
    """Return a class's name in lower case, words joined by ``_``, without number and plural s."""
    text = tables.plain(name)
    if not text.isdigit():
        text = re.sub(r"^\d+_", "", text)
    return text[:-1] if len(text) > 3 and text.endswith("s") else text


def _kind_of(file: File, known: dict[str, str]) -> tuple[str | None, str]:
    """Return the kind that the nearest telling folder names, and the release's part."""
    kind, part = None, ""
    for name in reversed(file.folders):
        if kind is None:
            kind = known.get(_plain(name))
        if not part and name.lower() in _PARTS:
            part = name.lower()
    return kind, part


def _by_folder(images: list[File], known: dict[str, str]) -> tuple[list[dict], list[LeftOut]]:
    rows, left_out = [], []
    for file in images:
        kind, part = _kind_of(file, known)
        if kind is None:
            place = file.folders[-1] if file.folders else ""
            reason = f"in folder {place!r}, no known kind" if place else "in no folder of a kind"
            left_out.append((file.relative, reason))
        else:
            rows.append({"label": kind, "fold": part, "file": file})
    return rows, left_out


def _by_table(
    images: list[File], table: Path, known: dict[str, str]
) -> tuple[list[dict], list[LeftOut]]:
    if not table.is_file():
        raise DatasetError(f"{table} is not a file: give the CSV table of the labels.")
    listed = tables.read(table)
    file_column = _column(table, listed, tables.IMAGE_COLUMNS, "file names")
    label_column = _column(table, listed, _LABEL_COLUMNS, "labels")
    subject_column = tables.column(listed, tables.SUBJECT_COLUMNS)
    names = tables.Names(images)
    rows, left_out, used = [], [], set()
    for line in listed.to_dict("records"):
        if not line[file_column].strip():
            continue
        kind = known.get(_plain(line[label_column]))
        files = names[line[file_column]]
        file = _best(files)
        if file is None:
            reason = "named by the table, ambiguous" if files else "named by the table, not there"
            left_out.append((line[file_column], reason))
        elif kind is None:
            left_out.append((file.relative, f"labelled {line[label_column]!r}, no known kind"))
            used.add(file.relative)
        elif file.relative in used:
            left_out.append((file.relative, "named twice by the table"))
        else:
            used.add(file.relative)
            row = {"label": kind, "file": file}
            if subject_column:
                row["subject"] = line[subject_column]
            rows.append(row)
    left_out += [(f.relative, "not in the table") for f in images if f.relative not in used]
    return rows, left_out


def _only_table(found: list[File]) -> str | None:
    tables = [file.path for file in found if file.ending == ".csv"]
    return tables[0] if len(tables) == 1 else None


def _found_table(folder: Path, table: str | os.PathLike) -> Path:
    """Return the table's absolute path: as given, or below the folder of the images."""
    given = data_files.absolute(table)
    inside = folder / table
    return inside if inside.is_file() and not given.is_file() else given


def _column(table: Path, listed: pd.DataFrame, wanted: tuple[str, ...], what: str) -> str:
    found = tables.column(listed, wanted)
    if found is None:
        raise DatasetError(
            f"{table} has no column of {what}: found {', '.join(map(repr, listed.columns))}, "
            f"looked for one called {', '.join(wanted[:4])} or the like."
        )
    return found


def _best(files: list[File]) -> File | None:
    """Return the one file meant; beside a photograph, a PNG of the same name is its mask."""
    if len(files) > 1:
        photographs = [file for file in files if file.ending != ".png"]
        files = photographs or files
    return files[0] if len({file.relative for file in files}) == 1 else None


def _once_each(rows: list[dict]) -> tuple[list[dict], list[LeftOut]]:
    """Return one row for each content; the same bytes under two labels are both left out."""
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(row["sha256"], set()).add(row["label"])
    kept, left_out, seen = [], [], set()
    for row in rows:
        if len(labels[row["sha256"]]) > 1:
            names = " and ".join(sorted(labels[row["sha256"]]))
            left_out.append((row["file"].relative, f"same bytes as {names}"))
        elif row["sha256"] in seen:
            left_out.append((row["file"].relative, "second copy"))
        else:
            seen.add(row["sha256"])
            kept.append(row)
    return kept, left_out


def _tell_apart(rows: list[dict]) -> None:
    """Give files that differ in their ending alone names of their own."""
    counts = Counter(row["image_id"] for row in rows)
    for row in rows:
        if counts[row["image_id"]] > 1:
            row["image_id"] += "_" + Path(row["path"]).suffix.lower().lstrip(".")


def _nothing(
    folder: Path, table: str | os.PathLike | None, images: list[File], report: pd.DataFrame
) -> str:
    kinds = ", ".join(KINDS)
    if table is not None:
        wanted = f"No image that {Path(table).name} gives a known kind ({kinds}) to"
    else:
        wanted = f"No image in a folder named after a kind of white cell ({kinds})"
    places = Counter(file.folders[-1] for file in images if file.folders)
    if places:
        shown = ", ".join(f"{name!r} ({count})" for name, count in places.most_common(6))
        seen = f"image folders there: {shown}"
    else:
        seen = f"{len(images)} images lie there in no sub-folder" if images else "no image is there"
    from helpers.datasets import summary

    left = f" {summary(report)}" if len(report) else ""
    return f"{wanted} was found in {folder}; {seen}. Further names can be given as `names`.{left}"
