"""Cropping a frame to its one cell: the largest contour, padded with black to a square.

Chapter 04 writes `find_cell` and `crop_to_cell` on the page; a test checks that
the page's version gives the same result.
"""

from __future__ import annotations

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
    """Return the bounding box of the cell on black background.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        A frame: one segmented cell on black background.
    threshold : int, optional
        A pixel is background when none of its channels exceeds this value.
        0 suits frames stored without loss, whose background is pure black.

    Returns
    -------
    Box
        Around the contour that encloses the largest area. Cells that touch
        have one contour and stay together; anything apart from it is left out.

    Raises
    ------
    ImageError
        When there is no cell: nothing is brighter than the threshold, or only
        specks are (smaller than `SMALLEST_SHARE` of the frame).
    """
    require_rgb(image)
    mask = brightest_channel(image)
    if threshold > 0:
        mask = np.where(mask > threshold, mask, np.uint8(0))
    return box_of_largest(mask)


def box_of_largest(mask: np.ndarray) -> Box:
    """Return the box around the contour that encloses the largest area.

    Parameters
    ----------
    mask : ndarray of uint8, shape (h, w)
        0 in the background.

    Raises
    ------
    ImageError
        As in :func:`find_cell`.
    """
    height, width = mask.shape
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        raise ImageError(f"The frame of {width}x{height} pixels holds nothing: all of it is black.")
    largest = max(contours, key=cv2.contourArea)
    box = Box(*cv2.boundingRect(largest))
    if cv2.contourArea(largest) < SMALLEST_SHARE * width * height:
        raise ImageError(
            f"The frame of {width}x{height} pixels holds no cell: the largest object is a speck "
            f"in a box of {box.width}x{box.height} pixels."
        )
    return box


def crop_to_cell(image: np.ndarray, threshold: int = 0) -> np.ndarray:
    """Return the cell in a black square, without changing its proportions.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        A frame: one segmented cell on black background.
    threshold : int, optional
        As in :func:`find_cell`.

    Returns
    -------
    ndarray of uint8, shape (side, side, 3)
        The pixels in the cell's box, unchanged, in the middle of a black
        square whose side is the longer side of the box. Nothing of the frame
        outside the box is copied. If the padding is odd, the extra pixel goes
        to the right or below. A new array.

    Raises
    ------
    ImageError
        When the frame holds no cell, or `image` is not an RGB image of 8 bits.
    """
    x, y, width, height = find_cell(image, threshold)
    return pad_to_square(image[y : y + height, x : x + width])


def pad_to_square(image: np.ndarray, square: np.ndarray | None = None) -> np.ndarray:
    """Return the image in the middle of a black square.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
    square : ndarray of uint8, shape (side, side, 3), optional
        Is overwritten and returned. By default a new array is made, whose side
        is the longer side of the image.

    Returns
    -------
    ndarray of uint8, shape (side, side, 3)
        If the padding is odd, the extra pixel goes to the right or below.
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


def brightest_channel(image: np.ndarray) -> np.ndarray:
    """Return the largest of each pixel's three channels, uint8, shape (h, w)."""
    first, second, third = cv2.split(image)
    return cv2.max(cv2.max(first, second), third)


def require_rgb(
    image: np.ndarray, what: str = "A crop", error: type[CourseError] = ImageError
) -> None:
    """Raise `error` unless the image is RGB of 8 bits; its message starts with `what`."""
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
