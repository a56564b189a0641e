"""From one file to one square image: the hot loop behind `images`, without pandas.

The processes of `_image_workers` import this and little else, so that they are
there at once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from helpers.base.errors import ImageError
from helpers.catalog import augmentation
from helpers.images import cropping
from helpers.images.decoding import Desk, decode
from helpers.images.frame_rows import read_cell

DESK = Desk()
_ONE_AT_A_TIME = threading.Lock()  # builds of one process, for the sake of OpenCV's one setting


@contextlib.contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Keep OpenCV to one thread: each worker has its own image, OpenCV's would only compete."""
    with _ONE_AT_A_TIME:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            cv2.setNumThreads(threads)


def prepare_part(
    rows: Sequence[tuple[str, str]], size: int, crop: bool
) -> tuple[np.ndarray, list[ImageError | None]]:
    """Return the images of (path, transform) rows, and what is wrong with each or None."""
    images = np.empty((len(rows), size, size, 3), np.uint8)
    problems: list[ImageError | None] = [None] * len(rows)
    for i, (path, transform) in enumerate(rows):
        try:
            read_and_prepare(path, size, crop, images[i])
        except ImageError as error:
            problems[i] = error
            continue
        if transform != "identity":
            images[i] = augmentation.apply(images[i], transform)
    return images, problems


def read_and_prepare(path: str, size: int, crop: bool, out: np.ndarray) -> None:
    """Write ``prepare(read_image(path), size, crop)`` to `out`, faster.

    Memory is used again, of a frame only the rows that hold the cell are read, and
    only what is left after crop and resize is put into RGB order.
    """
    cell = read_cell(path, DESK) if crop else None
    try:
        if cell is None:
            prepared = prepare(decode(DESK.read(path), path), size, crop)
        else:
            prepared = resize(cell, size)
    except ImageError as error:
        raise ImageError(f"{path} cannot be cropped. {error}") from error
    cv2.cvtColor(prepared, cv2.COLOR_BGR2RGB, dst=out)


def prepare(image: np.ndarray, size: int, crop: bool) -> np.ndarray:
    """Return the square image, in memory that the next call may write over."""
    if not crop:
        return resize(image, size)
    if is_frame(image):
        x, y, width, height = cropping.find_cell(image)
        return resize(image[y : y + height, x : x + width], size)
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(image[top : top + side, left : left + side], size)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image in the middle of a black square, scaled to `size`.

    First each block of whole pixels is averaged, then what is left of the
    scale (less than 2) is interpolated: every pixel counts, so that fine
    chromatin does not turn into noise, at a quarter of the time that
    ``cv2.INTER_AREA`` takes for scales that are no whole numbers.
    """
    side = max(image.shape[:2])
    block = max(1, side // size)
    whole = -(-side // block)
    square = cropping.pad_to_square(image, DESK.square_of(whole * block))
    if block > 1:
        square = cv2.resize(square, (whole, whole), interpolation=cv2.INTER_AREA)
    if whole != size:
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
    return square


def is_frame(image: np.ndarray) -> bool:
    """Return whether the image's edge is mostly pure black, as around a segmented cell."""
    edges = (image[0], image[-1], image[:, 0], image[:, -1])
    return 2 * sum(map(np.count_nonzero, edges)) < sum(edge.size for edge in edges)
