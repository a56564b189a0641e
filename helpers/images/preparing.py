"""From one file to one square image: the inner loop behind :func:`helpers.images.load_images`.

Processes that share a large build import this module, so it imports no pandas.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from helpers.base.errors import ImageError
from helpers.images import cropping
from helpers.images.decoding import SCRATCH, decode

_OPENCV_LOCK = threading.Lock()  # OpenCV's number of threads is one setting for the whole process


@contextlib.contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Let OpenCV use one thread: the workers already keep all cores busy."""
    with _OPENCV_LOCK:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            cv2.setNumThreads(threads)


def prepare_rows(
    rows: Sequence[tuple[str, str, str]],
    size: int,
    crop: bool,
    target: tuple[str | os.PathLike, int] | None = None,
) -> list[ImageError | None]:
    """Prepare the images of some rows of a catalog, and write them to a file if asked.

    Parameters
    ----------
    rows : sequence of (path, transform, sha256)
        An empty `sha256` is one that nobody knows.
    size, crop
        As in :func:`helpers.images.load_images`.
    target : (path, int), optional
        An existing file, and the position of the first image in it in bytes.

    Returns
    -------
    list of ImageError or None
        For each row, why its image cannot be used, or None.
    """
    images = SCRATCH.array("batch", len(rows), size, size, 3)
    problems: list[ImageError | None] = [None] * len(rows)
    for i, (path, transform, sha256) in enumerate(rows):
        try:
            square = read_and_prepare(path, size, crop, sha256)
        except ImageError as error:
            problems[i] = error
            continue
        cv2.cvtColor(square, cv2.COLOR_BGR2RGB, dst=images[i])
        if transform != "identity":
            from helpers.catalog import augmentation

            images[i] = augmentation.apply(images[i], transform)
    if target is not None:
        path, position = target
        # A writable memory map would count as memory of this process until it is closed.
        with open(path, "r+b") as file:
            file.seek(position)
            file.write(images)
    return problems


def read_and_prepare(path: str, size: int, crop: bool, sha256: str = "") -> np.ndarray:
    """Return ``prepare(read_image(path), size, crop)`` in BGR order, in scratch memory."""
    image = decode(path, sha256)
    try:
        return prepare(image, size, crop)
    except ImageError as error:
        raise ImageError(
            f"{path} cannot be cropped. {error} Remove the file, or go on without it with "
            "images.readable(catalog)."
        ) from error


def prepare(image: np.ndarray, size: int, crop: bool) -> np.ndarray:
    """Return the square image, which may lie in scratch memory."""
    if not crop:
        return resize(image, size)
    if is_frame(image):
        x, y, width, height = cropping.box_of_largest(_lit_pixels(image))
        return resize(image[y : y + height, x : x + width], size)
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(image[top : top + side, left : left + side], size)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image in the middle of a black square, scaled to `size`.

    First, blocks of whole pixels are averaged; then the remaining scale, which
    is less than 2, is interpolated. So every pixel counts and fine chromatin
    does not turn into noise, in a quarter of the time that ``cv2.INTER_AREA``
    takes for scales that are not whole numbers.
    """
    side = max(image.shape[:2])
    block = max(1, side // size)
    blocks = -(-side // block)
    square = SCRATCH.array("square", blocks * block, blocks * block, 3)
    cropping.pad_to_square(image, square)
    if block > 1:
        square = cv2.resize(square, (blocks, blocks), interpolation=cv2.INTER_AREA)
    if blocks != size:
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
    return square


def is_frame(image: np.ndarray) -> bool:
    """Return whether most of the image's edge is pure black, as around a segmented cell."""
    edges = (image[0], image[-1], image[:, 0], image[:, -1])
    return 2 * sum(map(np.count_nonzero, edges)) < sum(edge.size for edge in edges)


def _lit_pixels(image: np.ndarray) -> np.ndarray:
    """Return :func:`helpers.images.cropping.brightest_channel`, in scratch memory."""
    height, width = image.shape[:2]
    bottom_up = image.strides[0] < 0  # as BMP files are; OpenCV would copy such an array first
    planes = [SCRATCH.array(f"plane {i}", height, width) for i in range(3)]
    cv2.split(image[::-1] if bottom_up else image, planes)
    cv2.max(planes[0], planes[1], dst=planes[0])
    cv2.max(planes[0], planes[2], dst=planes[0])
    return cv2.flip(planes[0], 0, dst=planes[1]) if bottom_up else planes[0]
