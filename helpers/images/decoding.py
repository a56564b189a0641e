"""From an image file to its pixels; the error for a damaged file has its name."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from typing import BinaryIO

import cv2
import numpy as np

from helpers.base import arguments
from helpers.base.errors import ImageError
from helpers.base.image_files import open_file, open_image


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


def decode(path: str | os.PathLike, sha256: str = "") -> np.ndarray:
    """Return the pixels of an image file, valid until this thread decodes the next one.

    Parameters
    ----------
    path : path-like
        A BMP, JPEG, PNG or TIFF file.
    sha256 : str, optional
        That of the file's bytes, if it is known.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        BGR. See :func:`helpers.images.read_image` for grey, transparent and
        16-bit files.

    Raises
    ------
    ImageError
        When the file is missing, holds no image, is damaged, or has other bytes than told.
    """
    path = arguments.path("The path of an image", path, ImageError)
    try:
        with open_file(path) as file:
            found = open_image(file)
            content = _content(file) if found.bgr_rows and not found.problem else None
            if sha256 and not found.problem and _sha256(file, content) != sha256:
                raise ImageError(
                    f"{path} is not the file that the catalog was made of (its SHA-256 is "
                    "another one): load the data set again; if this comes back, the file changed "
                    "without a new time, so delete the folder hashes among the artifacts first."
                )
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        cure = (
            " If it was deleted while the notebook was open, run it from the top." if gone else ""
        )
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.{cure}") from error
    if found.problem:
        raise ImageError(f"{path} cannot be used as an image: {found.problem}.")
    height, width = found.height, found.width
    if found.image is None:  # the pixels can be used as stored in the file
        start, row_length = found.bgr_rows
        rows = content[start : start + height * row_length].reshape(height, row_length)
        return rows[:, : width * 3].reshape(height, width, 3)[::-1]
    pixels = SCRATCH.array("content", height, width, 3)
    return cv2.cvtColor(np.asarray(found.image), cv2.COLOR_RGB2BGR, dst=pixels)


def _sha256(file: BinaryIO, content: np.ndarray | None) -> str:
    """Return the SHA-256 of an open file, of which `content` is all that was read, or None."""
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _content(file: BinaryIO) -> np.ndarray:
    """Return all bytes of an open file, in scratch memory."""
    content = SCRATCH.array("content", file.seek(0, os.SEEK_END))
    file.seek(0)
    if file.readinto(content) < content.size:
        raise OSError("it became shorter while it was read")
    return content
