"""Whether a file is an image, and its pixels: Pillow decides, or the file is refused by name."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
import string
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
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
#: The formats that the course reads, by Pillow's names.
FORMATS = ("BMP", "JPEG", "PNG", "TIFF")
_TOO_LARGE = f"more than {MOST_PIXELS // 1_000_000} megapixels"
_CUT_OFF = "cut off before its end"
_DAMAGED = "damaged: its header is sound, but not all of its pixels can be decoded"
_DARK = (
    "nearly black: 16-bit values below 4096, as 12-bit cameras write them "
    "(multiply them by 16 and save the image again)"
)
_TEXT = string.printable.encode()
#: The EXIF tag that says how an image is turned.
ORIENTATION = 0x0112
#: Colour models that have no single translation into RGB, or a rare layout of the pixels.
_REFUSED = {
    "CMYK": "in printing colours (CMYK); save it as RGB",
    "LAB": "in Lab colours; save it as RGB",
    "YCbCr": "in uncompressed YCbCr colours; save it as RGB",
    "F": "of floating-point values; the course reads images of 8 or 16 bits",
    "I": "of 32-bit or signed values; the course reads images of 8 or 16 bits",
}
_LAYOUT = "of a rare kind of TIFF (separate planes, signed or inverted values); save it as PNG"
# Of the images of more than ten megapixels, one is decoded at a time: threads share the memory.
_ONE_LARGE = threading.Lock()
_ONE_TIFF = threading.Lock()

# What Pillow thinks of a file's metadata is no news for a student, and would block the book.
logging.getLogger("PIL").addHandler(logging.NullHandler())
_NO_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class Opened(NamedTuple):
    """What an image file holds.

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
    image : PIL.Image.Image, or None
        The pixels of any other sound image: RGB, 8 bits.
    """

    problem: str
    format: str = ""
    width: int = 0
    height: int = 0
    bgr_rows: tuple[int, int] | None = None
    image: Image.Image | None = None


class _Refused(Exception):
    """Why an image is refused, in a few words."""


def open_file(path: str | os.PathLike) -> BinaryIO:
    """Return a file opened for reading; anything but a plain file is an error.

    Raises
    ------
    OSError
        Also for a pipe, a socket or a device: to read one may take forever.
    """
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
        raise OSError(errno.EINVAL, "a pipe, a socket or a device, not a file")
    return open(path, "rb")


def open_image(file: BinaryIO) -> Opened:
    """Return what an open file holds, judged by its content and not by its name.

    This function alone decides what an image is: `course data verify`,
    `datasets.load` and `images.load_images` all call it.

    Parameters
    ----------
    file : binary file
        Must allow `seek`. Its position changes. Of an uncompressed BMP of 24
        bits only the header is read, every other image is decoded.

    Raises
    ------
    OSError
        When the disk cannot read the file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if found := _plain_bmp(file.read(54), size):
        return found
    if _NO_WARNINGS not in warnings.filters:  # they are reset now and then, as by pytest
        warnings.filterwarnings("ignore", module=_NO_WARNINGS[3].pattern)
    file.seek(0)
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        return Opened(_TOO_LARGE)
    except Exception as error:  # on damaged headers, Pillow's parsers raise errors of many kinds
        _raise_if_of_the_disk(error)
        return Opened(_what_else(file, size))
    # Cameras store several pictures in one JPEG file, which Pillow calls MPO.
    kind = "JPEG" if image.format == "MPO" else image.format
    width, height = image.size
    if kind == "TIFF":  # Pillow turns such images by their orientation, the course turns none
        width, height = image.tag_v2[256], image.tag_v2[257]
    header = (kind, width, height)
    if width * height > MOST_PIXELS:
        return Opened(_TOO_LARGE, *header)
    try:
        _refuse(image, kind, file)
        with _ONE_LARGE if width * height > 10_000_000 else contextlib.nullcontext():
            return Opened("", *header, image=_rgb(image, kind))
    except _Refused as reason:
        return Opened(str(reason), *header)
    except Exception as error:
        _raise_if_of_the_disk(error)
        cut_off = any(word in str(error).lower() for word in ("truncated", "not enough image data"))
        return Opened(_CUT_OFF if cut_off else _DAMAGED, *header)


def is_black(file: BinaryIO, found: Opened) -> bool:
    """Return whether every pixel of a sound image, which `file` was found to hold, is black."""
    if found.image is not None:
        return not any(high for _, high in found.image.getextrema())
    start, row_length = found.bgr_rows
    file.seek(start + row_length * (found.height // 2))
    if any(file.read(row_length)):  # most images are bright in the middle
        return False
    file.seek(start)
    return not any(file.read(row_length * found.height))


def _raise_if_of_the_disk(error: Exception) -> None:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
        raise error


def _plain_bmp(header: bytes, size: int) -> Opened | None:
    """Return what `open_image` returns for an uncompressed BMP of 24 bits, None for other files.

    Data sets have such files by the ten thousand, and Pillow takes longer to open one than
    OpenCV to crop it.
    """
    if len(header) < 54 or not header.startswith(b"BM"):
        return None
    start, kind, width, height, planes, bits, coding = struct.unpack_from("<IIiiHHI", header, 10)
    if (planes, bits, coding) != (1, 24, 0) or kind not in (40, 108, 124):
        return None
    if min(width, height) < 1 or start < 14 + kind:
        return None
    row_length = (width * 3 + 3) // 4 * 4
    if width * height > MOST_PIXELS:
        return Opened(_TOO_LARGE, "BMP", width, height)
    problem = "" if size >= start + row_length * height else _CUT_OFF
    return Opened(problem, "BMP", width, height, (start, row_length))


def _refuse(image: Image.Image, kind: str, file: BinaryIO) -> None:
    """Raise an error if Pillow would draw another picture than the file holds, or none."""
    mode, layout = image.mode, _layout(image)
    if mode in _REFUSED and layout != "I;16B":  # older Pillows call a PNG of 16 bits 32-bit
        raise _Refused(_REFUSED[mode])
    if kind == "JPEG":
        if not _has_end_mark(file):
            raise _Refused(_CUT_OFF)
    elif kind == "PNG":
        if "transparency" in image.info and mode != "P" and layout not in ("1", "L", "RGB"):
            raise _Refused("with a transparent colour, but not of 8 bits; save it with 8 bits")
        Image.open(file, formats=("PNG",)).verify()  # Pillow's decoder skips the checksums
    elif kind == "BMP":
        file.seek(14)
        header = file.read(16)
        bits = header[10 if header[0] == 12 else 14]
        if bits != {"1": 1, "L": 8}.get(mode, bits):  # Pillow takes it for another depth
            raise _Refused("of a rare kind of BMP (few greys in a palette); save it as PNG")
    else:
        _refuse_tiff(image, file)


def _refuse_tiff(image: Image.Image, file: BinaryIO) -> None:
    tags = image.tag_v2
    bits, inverted, planar = set(tags.get(258, (1,))), tags.get(262, 0) == 0, tags.get(284, 1) == 2
    plain = bits == {8} and not inverted and image.mode in ("L", "RGB")
    signed = set(tags.get(339, (1,))) != {1}
    if signed or (planar and not plain) or (inverted and max(bits) > 8):
        raise _Refused(_LAYOUT)
    drawn = sum((right - left) * (low - top) for _, (left, top, right, low), *_ in image.tile)
    planes = len(image.mode) if planar and image.tile[0][0] == "raw" else 1
    if drawn < tags[256] * tags[257] * planes:
        raise _Refused(_CUT_OFF)
    if tags.get(259) in (8, 32946):  # deflate, whose checksums Pillow's decoder skips
        places, lengths = (273, 279) if 273 in tags else (324, 325)
        for place, length in zip(tags[places], tags[lengths], strict=True):
            file.seek(place)
            unpacking, packed = zlib.decompressobj(), file.read(length)
            while packed:
                unpacking.decompress(packed, 1_000_000)
                packed = unpacking.unconsumed_tail
            if not unpacking.eof:
                raise _Refused(_DAMAGED)


def _layout(image: Image.Image) -> str:
    """Return Pillow's name for how the pixels lie in the file, such as ``RGB;16B``."""
    arguments = image.tile[0][3] if image.tile else ""
    return arguments if isinstance(arguments, str) else arguments[0]


def _rgb(image: Image.Image, kind: str) -> Image.Image:
    """Return the decoded pixels as RGB: the high byte of 16 bits, on black where transparent."""
    layout = _layout(image)
    if kind == "TIFF":
        image.getexif().pop(ORIENTATION, None)  # else Pillow turns the image
        with _silent_libtiff() if image.tile[0][0] == "libtiff" else contextlib.nullcontext():
            image.load()
        image = image.copy()  # with the size of the pixels, not that after a turn
    else:
        image.load()
    if image.mode.startswith("I"):
        import numpy as np

        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "A" in image.mode or image.mode == "La" or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = image.getchannel("A")
        if not alpha.getextrema()[1]:
            raise _Refused("transparent everywhere; save it without its alpha channel")
        image, colors = Image.new("RGB", image.size), image.convert("RGB")
        image.paste(colors, (0, 0), alpha)
    elif image.mode != "RGB":
        image = image.convert("RGB")
    deep = kind in ("PNG", "TIFF") and (";16" in layout or layout == "I;12")
    if deep and max(high for _, high in image.getextrema()) < 16:
        raise _Refused(_DARK)
    return image


@contextlib.contextmanager
def _silent_libtiff() -> Iterator[None]:
    """Keep file descriptor 2 closed: Pillow lets libtiff write its errors there.

    What other threads write there in this moment is lost, so it is done for compressed
    TIFF files only.
    """
    with _ONE_TIFF:
        try:
            before = os.dup(2)
        except OSError:  # there is no such descriptor, as in programs without a console
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            os.close(nowhere)


def _has_end_mark(file: BinaryIO) -> bool:
    """Return whether a JPEG's end mark comes anywhere: phones append a film to a photograph."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
    if b"\xff\xd9" in file.read():
        return True
    file.seek(0)
    content, start = file.read(), 2
    # Segments with a length, in one of which a preview may end, then the pixels.
    while content[start : start + 1] == b"\xff" and content[start + 1 : start + 2] != b"\xda":
        start += 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    return content.find(b"\xff\xd9", start) >= 0


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
