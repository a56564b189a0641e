"""From a catalog's files to one array of square images, built once and cached on disk."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from helpers.base import arguments, code, progress, settings
from helpers.base.errors import ImageError
from helpers.base.files import kept, read_array
from helpers.base.runtime import cores
from helpers.images import preparing
from helpers.images.decoding import decode
from helpers.images.preparing import prepare_rows

if TYPE_CHECKING:  # the processes that share a large build start without pandas
    import pandas as pd

#: From this many images on, processes do the work: they take most of a second to start.
PROCESSES_FROM = 3000
_BATCH = 64  # images that a thread or a process prepares, and holds in memory, at a time


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Return the image in a BMP, JPEG, PNG or TIFF file.

    Parameters
    ----------
    path : path-like
        The content decides what the file is, not its ending.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        RGB. Of 16 bits the upper 8 are taken (65535 becomes 255), grey is repeated in
        three channels, a transparent image is drawn on black. The EXIF
        orientation is not applied, so that coordinates measured on the file
        (ALL-IDB's centroids) remain valid. A file with several pages gives the first.

    Raises
    ------
    ImageError
        When the file is missing, holds no image, is damaged, has more than 100
        megapixels, or is of a kind with no certain translation into RGB of 8 bits:
        printing or Lab colours, floats, signed values, planes of 16 bits.
    """
    return cv2.cvtColor(decode(path), cv2.COLOR_BGR2RGB)


def prepare(image: np.ndarray, size: int = 96, crop: bool = True) -> np.ndarray:
    """Return an image as the square that a model sees, as :func:`load_images` does.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
    size : int
        Side of the result in pixels.
    crop : bool
        Whether to crop: a frame (most of its edge is black) to its cell, see
        :func:`helpers.images.cropping.crop_to_cell`; a field to the square in its
        middle. If False, the whole image is padded with black to a square.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)

    Raises
    ------
    ImageError
        When a frame holds no cell, or an argument is not as above.
    """
    pixels = arguments.pixels(np.asarray(image)[np.newaxis], ImageError)
    size = arguments.whole("The size in pixels", size, ImageError, 1)
    return preparing.prepare(pixels[0], size, arguments.switch("crop", crop, ImageError)).copy()


def load_images(catalog: pd.DataFrame, size: int = 96, crop: bool = True) -> np.ndarray:
    """Return the images of a catalog, in its order; from disk if they were prepared before.

    Parameters
    ----------
    catalog : pandas.DataFrame
        In the form that :func:`helpers.catalog.check` requires. Rows with a
        `transform` are rotated or mirrored after crop and resize.
    size : int
        Side of the images in pixels.
    crop : bool
        As in :func:`prepare`.

    Returns
    -------
    numpy.memmap of uint8, shape (n, size, size, 3)
        RGB, read-only. Row i of the array is row i of the catalog.

    Raises
    ------
    ImageError
        When an image cannot be read, has other bytes than the catalog's `sha256` tells,
        or a frame holds no cell: the message names the first one in the catalog's order.
        No array stays on disk.
        :func:`readable` returns the catalog without such rows.
    """
    from helpers import catalog as catalogs

    catalog = catalogs.check(catalog)
    size = arguments.whole("The size in pixels", size, ImageError, 1)
    crop = arguments.switch("crop", crop, ImageError)
    shape = (len(catalog), size, size, 3)
    return kept(
        settings.artifacts_folder() / "images" / f"{_key(catalog, size, crop)}.npy",
        lambda path: read_array(path, shape, "uint8"),
        lambda path: _build(path, catalog, shape, crop),
        needs=math.prod(shape),
    )


def readable(catalog: pd.DataFrame, crop: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the catalog without the images that :func:`load_images` cannot use.

    Returns
    -------
    usable : pandas.DataFrame
        The rows whose image can be used, in their order, with a fresh index.
    left_out : pandas.DataFrame
        `image_id`, `path` and `problem` (one sentence) of each other row.
    """
    from helpers import catalog as catalogs

    catalog = catalogs.check(catalog)
    crop = arguments.switch("crop", crop, ImageError)
    batches = _problems(_rows(catalog), 8, crop)
    problems = [problem for batch in batches for problem in batch]
    bad = np.array([problem is not None for problem in problems], bool)
    left_out = catalog.loc[bad, ["image_id", "path"]].reset_index(drop=True)
    left_out["problem"] = [str(problem) for problem in problems if problem is not None]
    return catalog[~bad].reset_index(drop=True), left_out


def _build(path: Path, catalog: pd.DataFrame, shape: tuple, crop: bool):
    """Write the array of all images to an existing, empty file."""
    with open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
    with (
        progress.bar(total=shape[0], desc="images", unit="") as bar,
        # After an error, no worker may still write to the file when it is removed.
        contextlib.closing(_problems(_rows(catalog), shape[1], crop, path)) as batches,
    ):
        for problems in batches:
            for problem in problems:
                if problem is not None:
                    raise problem
            bar.update(len(problems))


def _problems(
    rows: list[tuple[str, str, str]], size: int, crop: bool, path: Path | None = None
) -> Iterator[list[ImageError | None]]:
    """Prepare all images in batches; yield the error of each image or None, in order.

    Where `path` is given, an ``.npy`` file with its header, the images are appended to it.
    """
    workers = cores()
    start = 0 if path is None else path.stat().st_size
    jobs = []
    for first in range(0, len(rows), _BATCH):
        target = None if path is None else (path, start + first * size * size * 3)
        jobs.append((rows[first : first + _BATCH], size, crop, target))
    processes = workers > 1 and len(rows) >= PROCESSES_FROM
    with preparing.single_threaded_opencv():
        yield from (_by_processes if processes else _by_threads)(jobs, workers)


def _by_threads(jobs: list[tuple], workers: int) -> Iterator[list[ImageError | None]]:
    """Run :func:`prepare_rows` in threads, which helps most where the disk is slow.

    On files in the page cache, two threads are hardly faster than one: the
    steps of an image are so short that the threads mostly wait for the GIL.
    """
    pool = ThreadPoolExecutor(workers)
    futures = [pool.submit(prepare_rows, *job) for job in jobs]
    try:
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _by_processes(jobs: list[tuple], workers: int) -> Iterator[list[ImageError | None]]:
    """Run :func:`prepare_rows` in this process and `workers` - 1 others."""
    from joblib.externals.loky import ProcessPoolExecutor  # works in notebooks, without fork

    pool = ProcessPoolExecutor(
        workers - 1,
        timeout=10,  # seconds: if this process is killed, idle ones end by themselves
        initializer=cv2.setNumThreads,
        initargs=(1,),
    )
    futures = [pool.submit(prepare_rows, *job) for job in jobs]
    try:
        done_here = {}
        last = len(jobs) - 1
        for i, future in enumerate(futures):
            # While the others start or are busy, this process takes jobs from the end.
            while not future.done() and futures[last].cancel():
                done_here[last] = prepare_rows(*jobs[last])
                last -= 1
            if i in done_here:
                problems = done_here.pop(i)
            else:
                try:
                    problems = future.result()
                except BrokenExecutor:  # a process was killed: its jobs are done here
                    problems = prepare_rows(*jobs[i])
            yield problems
    finally:
        for future in futures:
            future.cancel()
        pool.shutdown()


def _rows(catalog: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(zip(catalog["path"], catalog["transform"], catalog["sha256"], strict=True))


def _key(catalog: pd.DataFrame, size: int, crop: bool) -> str:
    """Return a name for the array, made from everything that the array depends on."""
    from helpers import catalog as catalogs

    content = catalogs.fingerprint(catalog)
    unknown = catalog.loc[catalog["sha256"] == "", "path"]
    if len(unknown):  # in a catalog made by hand: the files must be read to know their content
        digest = hashlib.sha256(content.encode())
        for path in unknown:
            try:
                with open(path, "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise ImageError(f"{path} cannot be read: {error.strerror}.") from error
        content = digest.hexdigest()[:16]
    return f"{content}-{size}-{'crop' if crop else 'whole'}-{code.version(__name__)}"
