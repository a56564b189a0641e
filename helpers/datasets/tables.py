"""CSV tables beside the images, with the class or the subject of each image."""

from __future__ import annotations

import csv
import io
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

import pandas as pd

from helpers.base.errors import DatasetError
from helpers.base.image_files import open_file
from helpers.datasets.files import NAMES_NO_IMAGE, File, LeftOut

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
    label_source : str
        The first column of classes and its table, in words; ``""`` without one.
    left_out : list of (path, reason)
        Files that are not such a table, and rows that name no image.

    Raises
    ------
    DatasetError
        When a CSV file cannot be read as a table, or seems to be a table of images but lacks a
        column; when a row lacks an entry, may mean several images or contradicts another row.
    """

    def __init__(self, files: Iterable[File], images: list[File]):
        self.known: dict[str, dict[str, str]] = defaultdict(dict)
        self.told: set[str] = set()
        self.names: list[str] = []
        self.label_source = ""
        self.left_out: list[LeftOut] = []
        self._rows: dict[tuple[str, str], str] = {}
        self._images = _by_name(images, str)
        self._in_any_case = _by_name(images, str.lower)
        for file in files:
            table = self._read(file) if file.ending == ".csv" else None
            if table is None:
                self.left_out.append((file.relative, "no image, and no table of images"))
                continue
            self.names.append(file.name)
            self.told |= set(table) - {"image"}
            _refuse_gaps(file, table)
            folder = "/".join(file.folders)
            for line, entry in table.to_dict("index").items():
                self._add(f"{file.relative}, row {line}", entry, folder)

    def _read(self, file: File) -> pd.DataFrame | None:
        """Return the columns named in `COLUMNS`, by line; None if `file` is not such a table."""
        (number, header), *lines = _lines(file)
        columns = _columns(file, header, number)
        if "image" not in columns or len(columns) == 1:
            folder = "/".join(file.folders)
            if "image" not in columns and any(self._find(entry, folder) for entry in header):
                cause = "it names an image, where the columns must be named, as in image,subject"
                raise _refusal(file, number, cause)
            if file.stem.lower().rstrip("s") in COLUMNS["subject"] + COLUMNS["label"]:
                found = ", ".join(map(repr, header))
                cause = f"the columns are {found}; one must be image, and one subject or label"
                raise _refusal(file, number, cause)
            return None
        if not lines:
            raise _refusal(file, number, "no rows follow the names of the columns")
        if "label" in columns and not self.label_source:
            self.label_source = f"the column {header[columns['label']]!r} of {file.relative}"
        for number, entries in lines:
            for what, place in columns.items():
                if re.search(r"[\r\n]", entries[place].strip()):
                    cause = f"the {what} goes over several lines, as if a quote were not closed"
                    raise _refusal(file, number, cause)
        table = pd.DataFrame(
            {what: [entries[place] for _, entries in lines] for what, place in columns.items()},
            index=[number for number, _ in lines],
            dtype=object,
        )
        for what in table:  # in a file name, every blank counts
            table[what] = table[what].map(str.strip if what == "image" else _in_one_way)
        return table[(table != "").any(axis=1)]

    def _add(self, where: str, entry: dict[str, str], folder: str) -> None:
        name = entry.pop("image")
        meant = self._find(name, folder)
        if not meant:
            self.left_out.append((where, NAMES_NO_IMAGE))
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

        An image in the table's own folder comes first, then one at that place below the data
        folder, then any whose path ends so. A table made on another machine holds absolute
        paths of that machine: the longest end of such a path that fits an image is used.
        """
        name = _same_accents(name).replace("\\", "/").removeprefix("./")
        own = posixpath.normpath(posixpath.join(folder, name))
        name = own if name.startswith("../") else name
        ends = [f"/{own}", f"/{name}", name]
        if place := re.match(r"/|~|\.\./|[A-Za-z]\w*:/*", name):
            parts = name.removeprefix(place[0]).split("/")
            ends += ["/".join(parts[start:]) for start in range(len(parts))]
        for end in ends:
            # Spreadsheets drop zeros that file names keep: 7 for 007.
            above, slash, last = end.rpartition("/")
            padded = above + slash + last.zfill(3) if last.isdigit() else end
            if found := (
                self._images.get(end)
                or self._in_any_case.get(end.lower())
                or self._in_any_case.get(padded.lower())
            ):
                return found
        return []


def _refuse_gaps(file: File, table: pd.DataFrame) -> None:
    """Raise an error if rows name no image, class or person: nobody is guessed or merged."""
    for column in table:
        nothing = NOBODY if column == "subject" else NOTHING
        gaps = table[column][table[column].str.lower().isin(nothing)]
        if len(gaps):
            words = ", ".join(repr(word) if word else "blank" for word in sorted(set(gaps)))
            many = f", as in {len(gaps)} rows" if len(gaps) > 1 else ""
            each = "; for each image of a stranger, write an id of its own"
            raise DatasetError(
                f"{file.relative}, row {gaps.index[0]}: the {column} is missing ({words})"
                f"{many}{each if column == 'subject' else ''}."
            )


def _same_accents(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # é is one character or two, from system to system


def _by_name(images: list[File], case: Callable[[str], str]) -> dict[str, list[str]]:
    """Return images by all their names: with folders or not, with ending or not.

    A name that begins with ``/`` is the whole path from the data folder.
    """
    names: dict[str, dict[str, None]] = defaultdict(dict)  # a dict keeps the order, a set does not
    for file in images:
        parts = ["", *case(_same_accents(file.relative)).split("/")]
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            names[name][file.relative] = None
            names[name[: -len(file.ending)]][file.relative] = None
    return {name: list(paths) for name, paths in names.items()}


def _lines(file: File) -> list[tuple[int, list[str]]]:
    """Return number and entries of each line that is not blank, all as many as in the first."""
    text = _text(file)
    first, *others = [*text.splitlines(), ""]
    # Spreadsheets write such a line in front of the header.
    told = re.fullmatch(r'"?sep=([^"])"?[,;\t]*', first, re.IGNORECASE)
    head = next((line for line in (first, *others)[bool(told) :] if line.strip()), "")
    separator = told[1] if told else max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[tuple[int, list[str]]] = []
    number = 1
    try:
        for entries in reader:
            if any(map(str.strip, entries)) and not (told and number == 1):
                lines.append((number, entries))
            number = reader.line_num + 1  # a quoted entry may go over several lines
    except csv.Error as error:
        raise _refusal(file, number, f"its quotes do not fit together ({error})") from error
    if not lines:
        raise DatasetError(f"{file.relative} is an empty table: fill it in, or remove it.")
    wide = len(lines[0][1])
    for number, entries in lines:
        if any(map(str.strip, entries[wide:])):
            cause = f"it has {len(entries)} entries, but the header has {wide}"
            cure = f"an entry with {separator!r} in it needs quotes around it"
            raise _refusal(file, number, f"{cause}; {cure}")
        entries.extend([""] * (wide - len(entries)))
    return lines


def _columns(file: File, header: list[str], number: int) -> dict[str, int]:
    """Return where each column named in `COLUMNS` stands."""
    plain = [re.sub(r"[\W_]+", "_", name.lower()).strip("_") for name in header]
    columns = {}
    for what, names in COLUMNS.items():
        found = sorted((name for name in plain if name in names), key=names.index)
        people = [name for name in found if what == "subject" and name != "slide"]
        if len(found) > len(set(found)) or len(people) > 1:
            given = " and ".join(repr(header[plain.index(name)]) for name in people or found)
            raise _refusal(file, number, f"several columns tell the {what} ({given}); keep one")
        if found:
            columns[what] = plain.index(found[0])
    return columns


def _in_one_way(entry: str) -> str:
    """Return an entry without blanks around it and with single blanks in it, accents composed."""
    return " ".join(_same_accents(entry).split())


def _refusal(file: File, line: int, cause: str) -> DatasetError:
    return DatasetError(
        f"{file.relative}, line {line}: {cause}. Correct the file, or move it out of the folder "
        "if it is not about these images."
    )


def _text(file: File) -> str:
    """Return the text of a table, in one of the encodings that spreadsheets write."""
    try:
        with open_file(file.path) as stream:
            content = stream.read()
    except OSError as error:
        raise DatasetError(
            f"{file.relative} cannot be opened ({error.strerror}), and may tell subjects or "
            "classes: make it readable, or remove it."
        ) from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content:
        raise DatasetError(
            f"{file.relative} holds no text: save the table as CSV from the program that made it, "
            "or remove the file."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")
