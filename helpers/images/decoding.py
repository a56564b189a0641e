"""From an image file to its pixels; the error for a damaged file has its name."""

from __future__ import annotations

import math
import os
import threading
from typing import BinaryIO

import cv2
import numpy as np

from helpers.base.errors import ImageError
from helpers.base.image_files import sniff


class ScratchBuffers(threading.local):
    """Arrays that a thread reuses from image to image.

    New memory for each image takes longer than all work on it: the operating
    system provides it page by page, and takes it back each time.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """Return a uint8 array of that shape, valid until `name` is requested again."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size, np.uint8)
        return buffer[:size].reshape(shape)


SCRATCH = ScratchBuffers()


def decode(path: str | os.PathLike) -> np.ndarray:
    """Return the pixels of an image file, valid until this thread decodes the next one.

    Parameters
    ----------
    path : path-like
        A BMP, JPEG, PNG or TIFF file.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        BGR. See :func:`helpers.images.read_image` for grey, transparent and
        16-bit files.

    Raises
    ------
    ImageError
        When the file is missing, holds no image, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            info = sniff(file)
            content = _content(file)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if info.problem:
        raise ImageError(f"{path} cannot be used as an image: {info.problem}.")
    if info.bgr_rows:  # the pixels can be used as stored in the file
        start, row_length = info.bgr_rows
        rows = content[start : start + info.height * row_length].reshape(info.height, row_length)
        pixels = rows[:, : info.width * 3].reshape(info.height, info.width, 3)
        return pixels[::-1]
    try:
        image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(
            f"{path} cannot be decoded: its header is that of a {info.format} image of "
            f"{info.width}x{info.height} pixels, but the rest is damaged or of a rare kind."
        )
    return _bgr(image, path)


def _content(file: BinaryIO) -> np.ndarray:
    """Return all bytes of an open file, in scratch memory."""
    content = SCRATCH.array("content", file.seek(0, os.SEEK_END))
    file.seek(0)
    if file.readinto(content) < content.size:
        raise OSError("it became shorter while it was read")
    return content


def _bgr(image: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """Return a decoded image of any kind as BGR uint8."""
    if image.dtype == np.uint16:
        if 0 < image.max() < 4096:
            raise ImageError(
                f"{path} is nearly black: it holds 16-bit values of at most {image.max()}, as "
                "12-bit cameras write them. Multiply its values by 16 and save it again."
            )
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError(
            f"{path} holds {image.dtype} values, but the course reads images of 8 or 16 bits."
        )
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:  # transparent: drawn on black
        color, alpha = image[..., :3].astype(np.uint16), image[..., 3:].astype(np.uint16)
        return ((color * alpha + 127) // 255).astype(np.uint8)
    return image
