"""Whether a file is an image: Pillow reads its header and does not decode the pixels."""

from __future__ import annotations

import os
import string
import struct
from typing import BinaryIO, NamedTuple

from PIL import Image

#: File name endings and the format that each stands for.
IMAGE_ENDINGS = {
    ".bmp": "BMP",
    ".dib": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
#: Larger images are refused: a small file may unpack to more pixels than fit into memory.
MOST_PIXELS = 100_000_000
_FORMATS = ("BMP", "JPEG", "PNG", "TIFF")
# A complete file has this end mark, mostly in its last bytes.
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL = 4096
_TOO_LARGE = f"more than {MOST_PIXELS // 1_000_000} megapixels"
_TEXT = string.printable.encode()


class ImageInfo(NamedTuple):
    """What the header of an image file says.

    Attributes
    ----------
    problem : str
        Why the file cannot be used, in a few words, or ``""``.
    format : str
        ``BMP``, ``JPEG``, ``PNG`` or ``TIFF``; ``""`` for anything else.
    width, height : int
        In pixels; 0 when unknown.
    bgr_rows : tuple of int, or None
        For an uncompressed BMP of 24 bits, bottom row first: where its pixels
        start in the file, and the length of a row, both in bytes.
    """

    problem: str
    format: str = ""
    width: int = 0
    height: int = 0
    bgr_rows: tuple[int, int] | None = None


def sniff(file: BinaryIO) -> ImageInfo:
    """Return what an open file holds, judged by its content and not by its name.

    Parameters
    ----------
    file : binary file
        Must allow `seek`. Only the header and, for JPEG and PNG, the last
        bytes are read. The position in the file changes.

    Raises
    ------
    OSError
        When the disk cannot read the file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if info := _plain_bmp(file.read(54), size):
        return info
    file.seek(0)
    try:
        image = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        return ImageInfo(_TOO_LARGE)
    except Exception as error:  # on damaged headers, Pillow's parsers raise errors of many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return ImageInfo(_what_else(file, size))
    # Cameras store several pictures in one JPEG file, which Pillow calls MPO.
    kind = "JPEG" if image.format == "MPO" else image.format
    bgr_rows = None
    if image.width * image.height > MOST_PIXELS:
        problem = _TOO_LARGE
    else:
        complete = True
        if kind in _END_MARKS:
            file.seek(max(0, size - _TAIL))
            complete = _END_MARKS[kind] in file.read(_TAIL) or _ends_before_a_tail(file, kind)
        elif kind == "BMP":
            ((codec, _, start, arguments),) = image.tile
            if codec == "raw":  # not compressed
                mode, row_length, direction = arguments
                complete = size >= start + row_length * image.height
                bgr_rows = (start, row_length) if (mode, direction) == ("BGR", -1) else None
        problem = "" if complete else "cut off before its end"
    return ImageInfo(problem, kind, image.width, image.height, bgr_rows)


def _plain_bmp(header: bytes, size: int) -> ImageInfo | None:
    """Return what `sniff` returns for an uncompressed BMP of 24 bits, None for other files.

    Data sets have such files by the ten thousand, and Pillow takes longer to open one than
    OpenCV to crop it.
    """
    if len(header) < 54 or not header.startswith(b"BM"):
        return None
    start, kind, width, height, planes, bits, coding = struct.unpack_from("<IIiiHHI", header, 10)
    if (planes, bits, coding) != (1, 24, 0) or kind not in (40, 108, 124) or min(width, height) < 1:
        return None
    row_length = (width * 3 + 3) // 4 * 4
    problem = "" if size >= start + row_length * height else "cut off before its end"
    if width * height > MOST_PIXELS:
        return ImageInfo(_TOO_LARGE, "BMP", width, height)
    return ImageInfo(problem, "BMP", width, height, (start, row_length))


def _ends_before_a_tail(file: BinaryIO, kind: str) -> bool:
    """Return whether the end mark comes anywhere: phones append a film to a photograph."""
    file.seek(0)
    content, start = file.read(), 0
    if kind == "JPEG":  # segments with a length, in one of which a preview may end, then the pixels
        start = 2
        while content[start : start + 1] == b"\xff" and content[start + 1 : start + 2] != b"\xda":
            start += 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    return content.find(_END_MARKS[kind], start) >= 0


def _what_else(file: BinaryIO, size: int) -> str:
    """Return a few words that describe a file without an image."""
    if size == 0:
        return "empty file"
    file.seek(0)
    start = file.read(512)
    if start.startswith(b"version https://git-lfs"):
        return "git-lfs pointer, to be fetched with `git lfs pull`"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "web page, not an image"  # the result of a download without a login
    if not start.translate(None, _TEXT):
        return "text, not an image"
    return "no readable BMP, JPEG, PNG or TIFF image"
