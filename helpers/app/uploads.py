"""From the bytes that somebody sends to RGB pixels, or one sentence that says why not.

Nothing is believed but the content: not a name, not an ending, not a media type.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from helpers.base.errors import ImageError
from helpers.base.image_files import FORMATS, ORIENTATION, open_image


@dataclass(frozen=True)
class Limits:
    """How much is taken.

    Attributes
    ----------
    bytes : int
        Of one file.
    pixels : int
        Of one picture, as its header says: more are refused before they are decoded.
    files : int
        In one request.
    per_minute : int
        Files of one client.
    """

    bytes: int = 20_000_000
    pixels: int = 20_000_000
    files: int = 500
    per_minute: int = 1200


def read(content: bytes, limits: Limits | None = None) -> np.ndarray:
    """Return the picture in a BMP, JPEG, PNG or TIFF file as a camera meant it to be seen.

    It is turned as its EXIF orientation says. Of 16 bits the upper 8 are taken, and a
    transparent picture is drawn on black, as :func:`helpers.images.read_image` does.

    Parameters
    ----------
    content : bytes
        The whole file.
    limits : Limits, optional

    Returns
    -------
    numpy.ndarray
        uint8 RGB, shape (height, width, 3).

    Raises
    ------
    ImageError
        When the file or its picture is too large, is none of the four kinds, is damaged,
        shows several pictures, or has colours without a certain translation into RGB. The
        sentence holds no file name.
    """
    limits = limits or Limits()
    if len(content) > limits.bytes:
        raise ImageError(f"The file is larger than {limits.bytes / 1e6:g} MB.")
    _require_one_small_picture(content, limits)
    try:
        found = open_image(io.BytesIO(content))
    except (OSError, MemoryError) as error:
        raise ImageError("The picture cannot be decoded: not enough memory.") from error
    if found.problem:
        raise ImageError(f"The file cannot be used as an image: {found.problem}.")
    image = found.image
    if image is None:  # a plain BMP, of which only the header was read
        image = Image.open(io.BytesIO(content), formats=("BMP",)).convert("RGB")
    if (turn := _turn(content)) != 1:
        image.getexif()[ORIENTATION] = turn
        image = ImageOps.exif_transpose(image)
    return np.array(image)


def _require_one_small_picture(content: bytes, limits: Limits) -> None:
    """Raise an ImageError for several pictures or too many pixels, judged by the header."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = image.size
    except Exception:  # no header that Pillow understands: `open_image` says what the file is
        return
    if width * height > limits.pixels:
        raise ImageError(
            f"The picture has {width}x{height} pixels, but at most "
            f"{limits.pixels / 1e6:g} megapixels are taken: send it smaller."
        )
    if _shows_several(image):
        raise ImageError(
            "The file shows several pictures (pages, or an animation): send one picture a file."
        )


def _turn(content: bytes) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none."""
    with contextlib.suppress(Exception):  # damaged metadata turn nothing
        turn = Image.open(io.BytesIO(content), formats=FORMATS).getexif().get(ORIENTATION)
        return turn if turn in range(1, 9) else 1
    return 1


def _shows_several(image: Image.Image) -> bool:
    """Return whether a PNG or TIFF has more than one picture; a JPEG may hold previews."""
    if image.format == "PNG":
        return getattr(image, "is_animated", False)
    try:
        image.seek(1)
    except Exception:  # the end of the file, or a damaged page that nobody would see
        return False
    return image.format == "TIFF"
