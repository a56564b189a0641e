"""Features for the simplest classifiers: a deep network should be better than these."""

from __future__ import annotations

import cv2
import numpy as np

from helpers import images
from helpers.base import arguments
from helpers.base.errors import StudyError

#: Side of a thumbnail in pixels.
SIDE = 12


def size_and_colour(pixels: np.ndarray) -> np.ndarray:
    """Return area, mean colour and spread of colour of the cells in each image.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8, shape (n, size, size, 3), RGB, not cropped: a cell that was cropped
        and resized has lost its size.

    Returns
    -------
    numpy.ndarray of float64, shape (n, 7)
        Share of the image that is cell, then the means of red, green and blue there,
        and their standard deviations, 0..255. In a frame the pixels that are not black
        are cell, in a field those darker in green than Otsu's threshold.
    """
    pixels = arguments.pixels(pixels, StudyError)
    rows = np.zeros((len(pixels), 7))
    for row, image in zip(rows, pixels, strict=True):
        if images.is_frame(image):
            mask = image.any(axis=-1)
        else:
            green = np.ascontiguousarray(image[..., 1])
            threshold, _ = cv2.threshold(green, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
            mask = green <= threshold
        inside = image[mask] if mask.any() else image.reshape(-1, 3)
        row[:] = (mask.mean(), *inside.mean(axis=0), *inside.std(axis=0))
    return rows


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """Return the images as rows of 12 x 12 x 3 mean colours.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8, shape (n, size, size, 3), RGB, at least 12 pixels wide.

    Returns
    -------
    numpy.ndarray of float64, shape (n, 432)
    """
    pixels = arguments.pixels(pixels, StudyError, SIDE)
    count, side = len(pixels), pixels.shape[1] // SIDE
    edge = side * SIDE
    squares = pixels[:, :edge, :edge].reshape(count, SIDE, side, SIDE, side, 3)
    return squares.mean(axis=(2, 4)).reshape(count, -1)
