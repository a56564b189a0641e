"""Of a frame in a plain BMP file, the rows that hold its cell: half of the reading is spared.

Most of a frame is black ground. The rows around its middle are read until there is
black above and below them; of the rest, rows so far apart that nothing between
them can be as large as the cell. Where anything else comes up than a cell on black
ground, nothing is returned, and the caller reads the whole file.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

from helpers.images import cropping
from helpers.images.decoding import Desk, plain_bmp

_BLACK = bytes(1 << 16)
_PARTS = 9  # of a frame's height; the five in the middle hold most cells of C-NMC
_HEADER = 54  # bytes


def read_cell(path: str | os.PathLike, desk: Desk) -> np.ndarray | None:
    """Return the pixels in the cell's box, or None of a file that has to be read whole.

    Parameters
    ----------
    path : path-like
    desk : Desk
        Its memory is written over and holds what is returned.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3), or None
        BGR, a view: the rows and columns of :func:`helpers.images.cropping.find_cell`'s box in
        the decoded file, whose edge is mostly black (:func:`helpers.images.is_frame`).
    """
    if not hasattr(os, "preadv"):  # Windows
        return None
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _read_cell(file, desk)
    except OSError:
        return None
    finally:
        os.close(file)


def _read_cell(file: int, desk: Desk) -> np.ndarray | None:
    header = plain_bmp(os.pread(file, _HEADER, 0))
    if header is None or os.fstat(file).st_size < header.end:
        return None
    start, stride, width, height = header.start, header.stride, header.width, header.height
    used = 3 * width
    black = _BLACK[:used]
    memory = desk.memory(height * stride)

    def is_black(row: int) -> bool:
        return os.pread(file, used, start + row * stride) == black

    def read(first: int, last: int) -> None:
        part = memory[first * stride : last * stride]
        if os.preadv(file, [part], start + first * stride) != part.size:
            raise OSError

    def ends_black(row: int) -> bool:
        return memory[row * stride : row * stride + used].tobytes() == black

    # In the file the last row comes first; here rows are counted as they lie in it.
    step = -(-height // _PARTS)
    first, last = 2 * step, height - 2 * step
    if used > len(_BLACK) or first >= last:
        return None
    read(first, last)
    while first > 0 and not ends_black(first):
        read(max(0, first - step), first)
        first = max(0, first - step)
    while last < height and not ends_black(last - 1):
        read(last, min(height, last + step))
        last = min(height, last + step)
    # The frame's edge would be mostly black even if all that is unread were lit.
    if 2 * (height - (last - first)) >= width + height:
        return None

    rows = memory[first * stride : last * stride].reshape(-1, stride)[:, :used]
    rows = rows.reshape(-1, width, 3)
    planes = [plane[: last - first] for plane in desk.planes_of(height, width)]
    mask = cropping.brightest_channel(rows, planes)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = sorted((cv2.contourArea(contour), i) for i, contour in enumerate(contours))
    if not areas or (len(areas) > 1 and areas[-2][0] == areas[-1][0]):
        return None
    boxes = [cv2.boundingRect(contour) for contour in contours]
    if any(x == 0 or x + w == width for x, _, w, _ in boxes):
        return None
    if any(first + y == 0 or first + y + h == height for _, y, _, h in boxes):
        return None
    area, largest = areas[-1]
    # What lies between two black rows `gap` apart is at most gap - 1 rows high, and its
    # contour, which runs through the middles of pixels, encloses less than gap * width.
    gap = int(area) // width
    if gap * width < cropping.SMALLEST_SHARE * width * height or gap == 0:
        return None
    unread = {0, height - 1, *range(first - gap, 0, -gap), *range(last - 1 + gap, height, gap)}
    if not all(is_black(row) for row in unread if not first <= row < last):
        return None
    x, y, w, h = boxes[largest]
    return rows[y : y + h, x : x + w][::-1]
