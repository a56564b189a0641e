"""Cutting the one cell out of a frame: largest contour, square, black around it.

Chapter 04 builds these two functions on the page; a test holds the page's
version equal to the ones here.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from helpers.errors import CourseError

#: A contour that encloses less than this share of the frame is a speck, not a cell.
SMALLEST_SHARE = 0.002


class CropError(CourseError, ValueError):
    """A frame that no cell can be cut out of."""


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
    CropError
        When nothing is there, or nothing larger than a speck
        (`SMALLEST_SHARE` of the frame).
    """
    _require_rgb(image)
    height, width = image.shape[:2]
    box, area = largest_contour(image, threshold)
    if box is None:
        raise CropError(
            f"The frame of {width}x{height} pixels holds nothing: none of its pixels is brighter "
            f"than {threshold}."
        )
    if area < SMALLEST_SHARE * width * height:
        raise CropError(
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
    CropError
        When the frame holds no cell, or `image` is no RGB image of 8 bits.
    """
    x, y, width, height = find_cell(image, threshold)
    return pad_to_square(image[y : y + height, x : x + width])


def pad_to_square(image: np.ndarray) -> np.ndarray:
    """Return `image`, shape (h, w, 3), in the middle of a black square, as a new array."""
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + height, left : left + width] = image
    return square


def largest_contour(image: np.ndarray, threshold: int = 0) -> tuple[Box | None, float]:
    """Return the box of the contour enclosing the largest area, and that area in pixels.

    None and 0 for an image that is all ground. The order of the channels does
    not matter. Unlike :func:`find_cell` it judges nothing.
    """
    mask = image.max(axis=2) > threshold
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None, 0.0
    largest = max(contours, key=cv2.contourArea)
    return Box(*cv2.boundingRect(largest)), cv2.contourArea(largest)


def _require_rgb(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise CropError(
            f"A crop needs an RGB image of shape (height, width, 3), but was given {shape}; "
            "helpers.images.read_image turns grey and transparent files into RGB."
        )
    if image.dtype != np.uint8:
        raise CropError(
            f"A crop needs values of 8 bits (uint8), but was given {image.dtype}; "
            "helpers.images.read_image scales 16 bits down to 8."
        )
    if 0 in image.shape:
        raise CropError(f"The image of shape {image.shape} has no pixels.")
