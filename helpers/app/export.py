"""Exports of the records: as a table for spreadsheets, and as a data set for the course."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from PIL import Image

from helpers.app.store import Store, ending_of
from helpers.base.errors import AppError
from helpers.base.files import begin, told
from helpers.datasets.tables import NOBODY, NOTHING

#: From the bytes of an uploaded file to RGB: `helpers.app.uploads.read`.
Reader = Callable[[bytes], np.ndarray]
# With one of these in front a spreadsheet takes a text for a formula. In countries that
# write decimal commas, it takes a semicolon for the end of an entry.
_FORMULA = re.compile(r"(^|[;,\t\r\n])( *[=+\-@＝＋－＠])")


def to_csv(store: Store, **filters: str | bool) -> Iterator[str]:
    """Return a CSV file of the records that fit the filters of :meth:`Store.page`, in pieces.

    A text that a spreadsheet would run as a formula has a ``'`` in front.
    """
    table = store.table(**filters).drop(columns="verdict_id")
    starts = range(0, max(len(table), 1), 500)
    return (_csv(table[start : start + 500], header=start == 0) for start in starts)


def to_folder(store: Store, folder: str | os.PathLike, read: Reader, **filters: str | bool) -> Path:
    """Write the verified cells as a data set: ``datasets.load("folders", folder, ...)`` reads it.

    Parameters
    ----------
    store : Store
    folder : path-like
        Missing or empty. It appears with all its files or not at all.
    read : callable
        The function with which the pictures were read when their boxes were found.
    **filters
        As for :meth:`Store.page`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    AppError
        When no cell fits, or the folder is not empty.

    Notes
    -----
    A cell with a box is cut out of its picture; one that is a whole picture is the file as
    uploaded. The label is that of the newest verdict on this place in the picture, whichever
    model drew the box; without a label (unsure) the cell is left out.
    ``subjects.csv`` gives the subject and the label of each image. All cells of a picture are of
    one subject: the one named last for it. Where none was named, the picture counts as a person of
    its own, so no split can part its cells; two pictures of one unknown person can still be
    parted, which is why the subject should be named with the upload.
    """
    folder = Path(folder)
    pieces = files(store, read, **filters)
    with told(folder):
        if folder.exists() and any(folder.iterdir()):
            raise AppError(f"{folder} is not empty: choose a new folder for the data set.")
        beside = {"prefix": f".{folder.name[-80:]}-", "dir": folder.parent}
        work = Path(begin(folder, lambda: tempfile.mkdtemp(**beside)))
        try:
            (work / "images").mkdir()
            for name, content in pieces:
                (work / name).write_bytes(content)
            work.chmod(0o755)
            os.replace(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def to_zip(store: Store, read: Reader, **filters: str | bool) -> Iterator[bytes]:
    """Return the data set of :func:`to_folder` as a ZIP file, piece by piece as it is made."""
    return _zip(files(store, read, **filters))


def files(store: Store, read: Reader, **filters: str | bool) -> Iterator[tuple[str, bytes]]:
    """Return the files of :func:`to_folder` one after the other: relative path and content."""
    table = store.table(**filters)
    rows = table[table["verdict"] != "none"].sort_values("verdict_id")
    rows = rows.drop_duplicates(["image", "box"], keep="last")
    rows = rows[~rows["right_label"].str.lower().isin(NOTHING)]
    if rows.empty:
        raise AppError("No cell that fits has a verdict with a label: verify some cells first.")
    everything = store.table()
    named = everything[~everything["subject"].str.lower().isin(NOBODY)]
    subjects = dict(zip(named["image"], named["subject"], strict=True))  # the newest comes last
    return _files(store, read, rows.sort_values(["image", "id"]), subjects)


def _files(
    store: Store, read: Reader, rows: pd.DataFrame, subjects: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    lines = []
    for digest, cells in itertools.groupby(rows.itertuples(), lambda cell: cell.image):
        content, pixels = store.image(digest), None
        for cell in cells:
            if cell.box:
                pixels = read(content) if pixels is None else pixels
                ending, piece = ".png", _cut(pixels, *json.loads(cell.box))
            else:
                ending, piece = ending_of(content), content
            name = f"images/{digest[:12]}-{cell.id}{ending}"
            lines.append((name, subjects.get(digest, f"unknown-{digest[:12]}"), cell.right_label))
            yield name, piece
    table = pd.DataFrame(lines, columns=["image", "subject", "label"])
    yield "subjects.csv", _csv(table).encode()


def _cut(pixels: np.ndarray, top: int, left: int, bottom: int, right: int) -> bytes:
    cell = pixels[max(top, 0) : bottom, max(left, 0) : right]
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(cell)).save(file, "PNG")
    return file.getvalue()


def _csv(table: pd.DataFrame, header: bool = True) -> str:
    texts = [name for name, kind in table.dtypes.items() if not is_numeric_dtype(kind)]
    table = table.assign(**{name: [_harmless(text) for text in table[name]] for name in texts})
    return table.to_csv(
        index=False, header=header, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    )


def _harmless(text: str | None) -> str:
    return _FORMULA.sub(r"\1'\2", text or "")


class _Pieces(list[bytes]):
    """A file that is written from its beginning to its end and handed on in pieces."""

    def write(self, piece: bytes) -> int:
        self.append(piece)
        return len(piece)

    def flush(self) -> None:
        pass


def _zip(pieces: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    file = _Pieces()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in pieces:
            archive.writestr(name, content)
            yield b"".join(file)
            file.clear()
    yield b"".join(file)
