"""From a catalog's files to one array of square images, made once and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import catalog as catalogs
from helpers.base import code, settings
from helpers.base.errors import ImageError
from helpers.base.files import kept, read_array
from helpers.base.runtime import cores
from helpers.images import preparing
from helpers.images import workers as processes
from helpers.images.decoding import decode
from helpers.images.preparing import DESK, is_frame

_BATCH = 64  # images that a thread hands over at once

__all__ = [
    "ImageError",
    "is_frame",
    "load_images",
    "prepare",
    "read_image",
    "readable",
]


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Return the image in a BMP, JPEG, PNG or TIFF file.

    Parameters
    ----------
    path : path-like
        The content decides what the file is, not its ending.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        RGB. 16 bits are scaled to 8 (65535 becomes 255), grey is repeated in
        three channels, a transparent image is laid on black. Pixels are as
        stored: a photograph's EXIF orientation is not applied, so that
        coordinates measured on the file (ALL-IDB's centroids) hold. Of a file
        with several pages, the first.

    Raises
    ------
    ImageError
        When the file is missing, is something else, or ends too early.
    """
    return cv2.cvtColor(decode(DESK.read(path), path), cv2.COLOR_BGR2RGB)


def prepare(image: np.ndarray, size: int = 96, crop: bool = True) -> np.ndarray:
    """Return `image` as the square that a model sees; what :func:`load_images` does to each.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
    size : int
        Side of the result in pixels.
    crop : bool
        Whether to cut: a frame (most of its edge is black) to its cell, see
        :func:`helpers.images.cropping.crop_to_cell`; a field to the square in its
        middle. Otherwise the whole image is padded with black to a square.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)

    Raises
    ------
    ImageError
        When a frame holds no cell.
    """
    return preparing.prepare(image, size, crop).copy()


def load_images(
    catalog: pd.DataFrame, size: int = 96, crop: bool = True, workers: int | None = None
) -> np.ndarray:
    """Return the images of a catalog, in its order, from disk where they were made before.

    Parameters
    ----------
    catalog : pandas.DataFrame
        As :func:`helpers.catalog.check` wants it. Rows with a `transform` are
        turned or mirrored after crop and resize.
    size : int
        Side of the images in pixels.
    crop : bool
        As in :func:`prepare`.
    workers : int, optional
        Threads; one for each core by default.

    Returns
    -------
    numpy.memmap of uint8, shape (n, size, size, 3)
        RGB, read-only. Row i of the array is row i of the catalog.

    Raises
    ------
    ImageError
        When an image cannot be read or a frame holds no cell: the first such
        file in the catalog's order, by name. Nothing is kept then.
        :func:`readable` returns the catalog without such rows.
    """
    catalogs.check(catalog)
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ImageError(f"The size is {size!r}, but must be a whole number of pixels from 1 up.")
    shape = (len(catalog), size, size, 3)
    return kept(
        settings.artifacts_folder() / "images" / f"{_key(catalog, size, crop)}.npy",
        lambda path: read_array(path, shape, "uint8"),
        lambda path: _build(path, catalog, shape, crop, workers),
    )


def readable(
    catalog: pd.DataFrame, crop: bool = True, workers: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the catalog without the images that :func:`load_images` would stop at.

    Returns
    -------
    usable : pandas.DataFrame
        The rows whose image can be used, in their order, with a fresh index.
    left_out : pandas.DataFrame
        `image_id`, `path` and `problem` (one sentence) of each other row.
    """
    problems = [
        problem for batch in _batches(_rows(catalog), 8, crop, workers) for problem in batch[1]
    ]
    bad = np.array([problem is not None for problem in problems], bool)
    left_out = catalog.loc[bad, ["image_id", "path"]].reset_index(drop=True)
    left_out["problem"] = [str(problem) for problem in problems if problem is not None]
    return catalog[~bad].reset_index(drop=True), left_out


def _build(path: Path, catalog: pd.DataFrame, shape: tuple, crop: bool, workers: int | None):
    rows, size = _rows(catalog), shape[1]
    workers = workers or cores()
    many = workers > 1 and len(rows) >= processes.WORTH
    # Written part by part and not through a writable map: what is in a map
    # counts as memory of this process until the system takes it back.
    with (
        open(path, "wb") as file,
        tqdm(total=shape[0], desc="images", unit="", delay=1, disable=None) as bar,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        if many:
            file.flush()
            for problem in processes.write(path, rows, size, crop, workers, bar.update):
                raise problem
            return
        for images, problems in _batches(rows, size, crop, workers):
            for problem in problems:
                if problem is not None:
                    raise problem
            file.write(images)
            bar.update(len(images))


def _batches(
    rows: list[tuple[str, str]], size: int, crop: bool, workers: int | None
) -> Iterator[tuple[np.ndarray, list[ImageError | None]]]:
    """Yield batches of (images, what is wrong with each or None), in the rows' order.

    Threads help where files come slowly; what is in memory already is worked on
    by hardly more than one at a time, since each step is too short to let go of
    Python's lock.
    """
    workers = workers or cores()
    with preparing.single_threaded_opencv():
        pool = ThreadPoolExecutor(workers)
        try:
            waiting = []
            for first in range(0, len(rows), _BATCH):
                part = rows[first : first + _BATCH]
                waiting.append(pool.submit(preparing.prepare_part, part, size, crop))
                if len(waiting) > workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(cancel_futures=True)


def _rows(catalog: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(catalog["path"], catalog["transform"], strict=True))


def _key(catalog: pd.DataFrame, size: int, crop: bool) -> str:
    content = catalogs.fingerprint(catalog)
    unknown = catalog.loc[catalog["sha256"] == "", "path"]
    if len(unknown):  # a catalog made by hand: what is in the files is known only by reading
        digest = hashlib.sha256(content.encode())
        for path in unknown:
            digest.update(hashlib.sha256(DESK.read(path)).digest())
        content = digest.hexdigest()[:16]
    return f"{content}-{size}-{'crop' if crop else 'whole'}-{code.version(__name__)}"
