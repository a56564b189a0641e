"""CSV tables that lie beside images and tell something of each: its label or its subject."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from helpers.base.errors import DatasetError
from helpers.datasets.files import File

#: Names of columns, as :func:`plain` writes them.
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "image_id", "path", "img", "name")
SUBJECT_COLUMNS = ("subject", "patient", "patient_id", "subject_id", "slide", "donor")


def plain(name: str) -> str:
    """Return a name in lower case, its words joined by ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).strip().lower()).strip("_")


def read(path: str | Path) -> pd.DataFrame:
    """Return a table whose columns are parted by commas, semicolons or tabs; all are strings.

    Raises
    ------
    DatasetError
        When the file is missing or is not such a table.
    """
    try:
        with open(path, encoding="utf-8-sig") as stream:
            head = stream.readline()
        separator = max(",;\t", key=head.count)
        return pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            sep=separator,
            encoding="utf-8-sig",
            skip_blank_lines=False,  # so that a row's number is its line in the file
        )
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(f"{path} cannot be read as a table: {problem}.") from error


def column(table: pd.DataFrame, wanted: Iterable[str]) -> str | None:
    """Return the table's first column that is called by one of the `wanted` names."""
    names = {plain(name): name for name in table.columns}
    return next((names[name] for name in wanted if name in names), None)


class Names:
    """The images of a folder by the names that a table may call them.

    A name may have its folders or not, its ending or not, and capitals or not.
    """

    def __init__(self, images: Iterable[File]):
        self._files: dict[str, list[File]] = {}
        for file in images:
            parts = file.relative.lower().split("/")
            for start in range(len(parts)):
                name = "/".join(parts[start:])
                self._files.setdefault(name, []).append(file)
                self._files.setdefault(name.removesuffix(file.ending), []).append(file)

    def __getitem__(self, name: str) -> list[File]:
        """Return the files that `name` may mean; none, or more than one where it is unclear."""
        name = name.strip().replace("\\", "/").removeprefix("./").lower()
        # Tables drop zeros that file names keep: 7 for 007.
        padded = name.zfill(3) if name.isdigit() else name
        for one in (name, name.lstrip("/"), padded):
            if one in self._files:
                return list({file.relative: file for file in self._files[one]}.values())
        return []
