"""From a catalog's files to one array of square images, made once and kept."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from helpers import _decoding, augmentation, cropping, settings
from helpers import catalog as catalogs
from helpers._decoding import Desk, ImageError, decode
from helpers.cropping import CropError
from helpers.files import atomic_path

_BATCH = 64  # images that a thread hands over at once
_ONE_AT_A_TIME = threading.Lock()  # builds of one process, for the sake of OpenCV's one setting
_DESK = Desk()


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
    return cv2.cvtColor(decode(_DESK.read(path), path), cv2.COLOR_BGR2RGB)


def prepare(image: np.ndarray, size: int = 96, crop: bool = True) -> np.ndarray:
    """Return `image` as the square that a model sees; what :func:`load_images` does to each.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
    size : int
        Side of the result in pixels.
    crop : bool
        Whether to cut: a frame (most of its edge is black) to its cell, see
        :func:`helpers.cropping.crop_to_cell`; a field to the square in its
        middle. Otherwise the whole image is padded with black to a square.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)

    Raises
    ------
    CropError
        When a frame holds no cell.
    """
    return _prepare(image, size, crop).copy()


def is_frame(image: np.ndarray) -> bool:
    """Return whether the image's edge is mostly pure black, as around a segmented cell."""
    edges = (image[0], image[-1], image[:, 0], image[:, -1])
    return 2 * sum(map(np.count_nonzero, edges)) < sum(edge.size for edge in edges)


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
    folder = settings.artifacts_folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_key(catalog, size, crop)}.npy"
    shape = (len(catalog), size, size, 3)
    images = _open(path, shape)
    if images is None:
        with FileLock(path.with_suffix(".lock")):
            images = _open(path, shape)  # another process may have made it meanwhile
            if images is None:
                for stale in folder.glob(f".{path.stem}-*"):
                    stale.unlink(missing_ok=True)  # of a build that was killed
                with atomic_path(path) as temporary:
                    _build(temporary, catalog, shape, crop, workers)
                images = _open(path, shape)
    return images


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
    problems = [problem for batch in _batches(catalog, 8, crop, workers) for problem in batch[1]]
    bad = np.array([problem is not None for problem in problems], bool)
    left_out = catalog.loc[bad, ["image_id", "path"]].reset_index(drop=True)
    left_out["problem"] = [str(problem) for problem in problems if problem is not None]
    return catalog[~bad].reset_index(drop=True), left_out


def _build(path: Path, catalog: pd.DataFrame, shape: tuple, crop: bool, workers: int | None):
    # Written batch by batch and not through a writable map: what is in a map
    # counts as memory of this process until the system takes it back.
    with open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        with tqdm(total=shape[0], desc="images", unit="", delay=1, disable=None) as bar:
            for images, problems in _batches(catalog, shape[1], crop, workers):
                for problem in problems:
                    if problem is not None:
                        raise problem
                file.write(images)
                bar.update(len(images))


def _batches(
    catalog: pd.DataFrame, size: int, crop: bool, workers: int | None
) -> Iterator[tuple[np.ndarray, list[ImageError | None]]]:
    """Yield batches of (images, what is wrong with each or None), in the catalog's order."""
    rows = list(zip(catalog["path"], catalog["transform"], strict=True))
    workers = workers or _cores()

    def work(first: int) -> tuple[np.ndarray, list[ImageError | None]]:
        part = rows[first : first + _BATCH]
        images = np.empty((len(part), size, size, 3), np.uint8)
        problems: list[ImageError | None] = [None] * len(part)
        for i, (path, transform) in enumerate(part):
            try:
                _read_and_prepare(path, size, crop, images[i])
            except ImageError as error:
                problems[i] = error
                continue
            if transform != "identity":
                images[i] = augmentation.apply(images[i], transform)
        return images, problems

    with _ONE_AT_A_TIME:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # each of our threads has its own image: OpenCV's would only compete
        pool = ThreadPoolExecutor(workers)
        try:
            waiting = []
            for first in range(0, len(rows), _BATCH):
                waiting.append(pool.submit(work, first))
                if len(waiting) > workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(cancel_futures=True)
            cv2.setNumThreads(threads)


def _read_and_prepare(path: str, size: int, crop: bool, out: np.ndarray) -> None:
    """Write ``prepare(read_image(path), size, crop)`` to `out`, faster.

    Memory is used again, and only what is left after crop and resize is put
    into RGB order.
    """
    image = decode(_DESK.read(path), path)
    try:
        prepared = _prepare(image, size, crop)
    except CropError as error:
        raise ImageError(f"{path} cannot be cropped. {error}") from error
    cv2.cvtColor(prepared, cv2.COLOR_BGR2RGB, dst=out)


def _prepare(image: np.ndarray, size: int, crop: bool) -> np.ndarray:
    """Return what :func:`prepare` returns, in memory that the next call may write over."""
    if not crop:
        return _resize(image, size)
    if is_frame(image):
        x, y, width, height = cropping.find_quickly(image, _DESK.planes_for(image))
        return _resize(image[y : y + height, x : x + width], size)
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(image[top : top + side, left : left + side], size)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image in the middle of a black square, scaled to `size`.

    First each block of whole pixels is averaged, then what is left of the
    scale (less than 2) is interpolated: every pixel counts, so that fine
    chromatin does not turn into noise, at a quarter of the time that
    ``cv2.INTER_AREA`` takes for scales that are no whole numbers.
    """
    side = max(image.shape[:2])
    block = max(1, side // size)
    whole = -(-side // block)
    square = cropping.pad_to_square(image, _DESK.square_of(whole * block))
    if block > 1:
        square = cv2.resize(square, (whole, whole), interpolation=cv2.INTER_AREA)
    if whole != size:
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
    return square


def _open(path: Path, shape: tuple) -> np.ndarray | None:
    try:
        images = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _key(catalog: pd.DataFrame, size: int, crop: bool) -> str:
    content = catalogs.fingerprint(catalog)
    unknown = catalog.loc[catalog["sha256"] == "", "path"]
    if len(unknown):  # a catalog made by hand: what is in the files is known only by reading
        digest = hashlib.sha256(content.encode())
        for path in unknown:
            digest.update(hashlib.sha256(_DESK.read(path)).digest())
        content = digest.hexdigest()[:16]
    return f"{content}-{size}-{'crop' if crop else 'whole'}-{_code_version()}"


@cache
def _code_version() -> str:
    """Return a hash of the code that decides what the pixels are."""
    digest = hashlib.sha256()
    for module in (_decoding, cropping, augmentation):
        digest.update(Path(module.__file__).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:8]


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
