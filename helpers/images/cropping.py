"""Cutting the one cell out of a frame: largest contour, square, black around it.

Chapter 04 builds these two functions on the page; a test holds the page's
version equal to the ones here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from helpers.base.errors import CourseError, ImageError

#: A contour that encloses less than this share of the frame is a speck, not a cell.
SMALLEST_SHARE = 0.002


class Box(NamedTuple):
    """A rectangle of pixels: left column, top row, width and height."""

    x: int
    y: int
    width: int
    height: int


def find_cell(image: np.ndarray, threshold: int = 0) -> Box:
    """Return the bounding box of the cell that stands on black ground.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        A frame: one segmented cell on black ground.
    threshold : int, optional
        A pixel belongs to the ground when none of its channels exceeds this.
        0 suits frames kept without loss, where the ground is purely black.

    Returns
    -------
    Box
        Around the contour that encloses the largest area. Cells that touch
        have one contour and stay together; whatever lies apart is left out.

    Raises
    ------
    ImageError
        When nothing is there, or nothing larger than a speck
        (`SMALLEST_SHARE` of the frame).
    """
    require_rgb(image)
    mask = brightest_channel(image)
    if threshold > 0:
        mask = np.where(mask > threshold, mask, np.uint8(0))
    box, area = _largest(mask)
    height, width = mask.shape
    if box is None:
        raise ImageError(
            f"The frame of {width}x{height} pixels holds nothing: all of it is black ground."
        )
    if area < SMALLEST_SHARE * width * height:
        raise ImageError(
            f"The frame of {width}x{height} pixels holds no cell: the largest thing on its ground "
            f"is a speck in a box of {box.width}x{box.height} pixels."
        )
    return box


def crop_to_cell(image: np.ndarray, threshold: int = 0) -> np.ndarray:
    """Return the square around the cell, its aspect kept, black where the frame ends.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        A frame: one segmented cell on black ground.
    threshold : int, optional
        As in :func:`find_cell`.

    Returns
    -------
    ndarray of uint8, shape (side, side, 3)
        The pixels in the cell's box, unchanged, in the middle of a black
        square whose side is the longer side of the box. What the frame showed
        beside the box is not taken over. An odd pixel goes to the right or
        below. A new array.

    Raises
    ------
    ImageError
        When the frame holds no cell, or `image` is no RGB image of 8 bits.
    """
    x, y, width, height = find_cell(image, threshold)
    return pad_to_square(image[y : y + height, x : x + width])


def pad_to_square(image: np.ndarray, square: np.ndarray | None = None) -> np.ndarray:
    """Return `image`, shape (h, w, 3), in the middle of a black square, as a new array.

    Its side is the longer one of the image. Where a `square` is given, that is
    written over and returned instead. An odd pixel goes to the right or below.
    """
    height, width = image.shape[:2]
    if square is None:
        square = np.empty((max(height, width),) * 2 + (3,), np.uint8)
    side = square.shape[0]
    top, left = (side - height) // 2, (side - width) // 2
    if height < side:
        square[:top] = square[top + height :] = 0
    if width < side:
        square[:, :left] = square[:, left + width :] = 0
    square[top : top + height, left : left + width] = image
    return square


def brightest_channel(image: np.ndarray, planes: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Return the brightest of each pixel's channels, uint8, shape (h, w): 0 on black ground.

    `planes`, three arrays (h, w) of a caller that does this often, are written
    over and the result is one of them: fresh memory costs more than the work.
    """
    bottom_up = image.strides[0] < 0  # as BMP files lie; OpenCV would first copy it whole
    first, second, third = cv2.split(image[::-1] if bottom_up else image, planes)
    cv2.max(first, second, dst=second)
    cv2.max(second, third, dst=third)
    return cv2.flip(third, 0, dst=first) if bottom_up else third


def _largest(mask: np.ndarray) -> tuple[Box | None, float]:
    """Return the box of the contour enclosing the largest area, and that area in pixels."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None, 0.0
    largest = max(contours, key=cv2.contourArea)
    return Box(*cv2.boundingRect(largest)), cv2.contourArea(largest)


def require_rgb(
    image: np.ndarray, what: str = "A crop", error: type[CourseError] = ImageError
) -> None:
    """Raise `error` unless the image is RGB of 8 bits; the sentence begins with `what` needs it."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise error(
            f"{what} needs an RGB image of shape (height, width, 3), but was given {shape}; "
            "helpers.images.read_image turns grey and transparent files into RGB."
        )
    if image.dtype != np.uint8:
        raise error(
            f"{what} needs values of 8 bits (uint8), but was given {image.dtype}; "
            "helpers.images.read_image scales 16 bits down to 8."
        )
    if 0 in image.shape:
        raise error(f"The image of shape {image.shape} has no pixels.")
