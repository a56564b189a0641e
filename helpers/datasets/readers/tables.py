"""CSV tables beside the images, with the class or the subject of each image."""

from __future__ import annotations

import io
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

import pandas as pd

from helpers.base.errors import DatasetError
from helpers.datasets.files import File, LeftOut

#: What a table may contain, and possible names of each column: lower case, words joined by ``_``.
COLUMNS = {
    "image": ("image", "file", "filename", "file_name", "image_id", "path", "img", "name"),
    "label": ("label", "class", "class_label", "category", "kind", "type", "cell_type"),
    "subject": ("subject", "patient", "patient_id", "subject_id", "slide", "donor"),
}


#: What tables write, in lower case, where they know nothing.
NOTHING = {"", "nan", "null", "<na>", "#n/a", "#value!"}
#: What they write besides where they do not know the person.
NOBODY = NOTHING | {"-", "--", "?", "n/a", "na", "nil", "none", "missing", "not available", "unk",
                    "unknown"}  # fmt: skip


class Tables:
    """What the CSV tables of a data folder say about its images.

    A table has a column of images and one of labels or of subjects, or both. Its
    columns are separated by commas, semicolons or tabs.

    Parameters
    ----------
    files : iterable of File
        The files beside the images.
    images : list of File

    Attributes
    ----------
    known : dict
        By an image's relative path, its ``label`` and ``subject`` where given.
    told : set of str
        What the tables contain: ``label``, ``subject``, both or nothing.
    names : list of str
        The tables' names.
    left_out : list of (path, reason)
        Files that are not such a table, and rows that name no image.

    Raises
    ------
    DatasetError
        When a row lacks an entry, may mean several images or contradicts another row.
    """

    def __init__(self, files: Iterable[File], images: list[File]):
        self.known: dict[str, dict[str, str]] = defaultdict(dict)
        self.told: set[str] = set()
        self.names: list[str] = []
        self.left_out: list[LeftOut] = []
        self._rows: dict[tuple[str, str], str] = {}
        self._images = _by_name(images, str)
        self._in_any_case = _by_name(images, str.lower)
        for file in files:
            table = _read(file) if file.ending == ".csv" else None
            if table is None:
                self.left_out.append((file.relative, "no image, and no table of images"))
                continue
            self.names.append(file.name)
            self.told |= set(table) - {"image"}
            _refuse_gaps(file, table)
            folder = "/".join(file.folders)
            for line, entry in enumerate(table.to_dict("records"), start=2):
                if any(entry.values()):
                    self._add(f"{file.relative}, row {line}", entry, folder)

    def _add(self, where: str, entry: dict[str, str], folder: str) -> None:
        name = entry.pop("image")
        meant = self._find(name, folder)
        if not meant:
            self.left_out.append((where, "row that names no image"))
            return
        if len(meant) > 1:
            both = " and ".join(map(repr, meant[:2]))
            raise DatasetError(f"{where}: {name!r} may be {both}; write it with its folder.")
        for column, value in entry.items():
            before = self.known[meant[0]].setdefault(column, value)
            row = self._rows.setdefault((meant[0], column), where)
            if before != value:
                raise DatasetError(
                    f"{where}: {name!r} is of {column} {value!r}, but {row} says {before!r}."
                )

    def _find(self, name: str, folder: str) -> list[str]:
        """Return the relative paths of the images that `name`, in a table in `folder`, may mean.

        A table made on another machine holds absolute paths of that machine: the
        longest end of such a path that fits an image is used.
        """
        name = _same_accents(name).replace("\\", "/").removeprefix("./")
        if name.startswith("../"):
            name = posixpath.normpath(posixpath.join(folder, name))
        ends = [name]
        if place := re.match(r"/|~|\.\./|[A-Za-z]\w*:/*", name):
            parts = name.removeprefix(place[0]).split("/")
            ends += ["/".join(parts[start:]) for start in range(len(parts))]
        for end in ends:
            # Spreadsheets drop zeros that file names keep: 7 for 007.
            padded = end.zfill(3) if end.isdigit() else end
            if found := (
                self._images.get(end)
                or self._in_any_case.get(end.lower())
                or self._in_any_case.get(padded)
            ):
                return found
        return []


def _refuse_gaps(file: File, table: pd.DataFrame) -> None:
    """Raise an error if rows name no image, class or person: nobody is guessed or merged."""
    filled = table[(table != "").any(axis=1)]
    for column in filled:
        nothing = NOBODY if column == "subject" else NOTHING
        gaps = filled[column][filled[column].str.lower().isin(nothing)]
        if len(gaps):
            words = ", ".join(repr(word) if word else "blank" for word in sorted(set(gaps)))
            many = f", as in {len(gaps)} rows" if len(gaps) > 1 else ""
            each = "; for each image of a stranger, write an id of its own"
            raise DatasetError(
                f"{file.relative}, row {gaps.index[0] + 2}: the {column} is missing ({words})"
                f"{many}{each if column == 'subject' else ''}."
            )


def _same_accents(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # é is one character or two, from system to system


def _by_name(images: list[File], case: Callable[[str], str]) -> dict[str, list[str]]:
    """Return images by all their names: with folders or not, with ending or not."""
    names: dict[str, dict[str, None]] = defaultdict(dict)  # a dict keeps the order, a set does not
    for file in images:
        parts = case(_same_accents(file.relative)).split("/")
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            names[name][file.relative] = None
            names[name[: -len(file.ending)]][file.relative] = None
    return {name: list(paths) for name, paths in names.items()}


def _read(file: File) -> pd.DataFrame | None:
    """Return the columns named in `COLUMNS`; None if `file` is not such a table."""
    try:
        text = _text(file)
        head = text.partition("\n")[0]
        table = pd.read_csv(
            io.StringIO(text),
            dtype=str,
            keep_default_na=False,
            sep=max(",;\t", key=head.count),
            skip_blank_lines=False,  # so that a row's number is its line in the file
        )
    except (OSError, ValueError):  # pandas' own errors are ValueErrors
        return None
    plain = {re.sub(r"[\W_]+", "_", name.lower()).strip("_"): name for name in table.columns}
    columns = {
        what: next(plain[name] for name in names if name in plain)
        for what, names in COLUMNS.items()
        if plain.keys() & set(names)
    }
    if "image" not in columns or len(columns) == 1:
        return None
    return pd.DataFrame({what: table[name].str.strip() for what, name in columns.items()})


def _text(file: File) -> str:
    """Return the text of a table, in one of the encodings that spreadsheets write."""
    with open(file.path, "rb") as stream:
        content = stream.read()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")
