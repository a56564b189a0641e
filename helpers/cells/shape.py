"""Shape of a region: measured on its mask alone.

Sizes are those of ``skimage.measure.regionprops``. Its convex hull takes longer than all
other features of a cell together, so the hull is OpenCV's.
"""

from __future__ import annotations

import cv2
import numpy as np

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def describe(mask: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Return the features of a region's shape, and its centre.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, shape (h, w), C-contiguous, not empty.

    Returns
    -------
    values : dict of str to float
        `area` (px^2), `perimeter`, `major_axis`, `minor_axis`, `notch` (px),
        `circularity`, `solidity`, `convexity`, `eccentricity` (1).
    centre : numpy.ndarray
        Row and column in pixels.
    """
    from skimage.measure import regionprops

    region = regionprops(mask.view(np.uint8))[0]
    area, perimeter = float(region.area), region.perimeter_crofton
    inner = cv2.erode(mask.view(np.uint8), _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rim = cv2.findNonZero(mask.view(np.uint8) - inner).reshape(-1, 1, 2)  # x and y
    # A pixel is a square: the hull goes around the corners of the pixels, not their centres.
    corners = rim + np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
    hull = cv2.convexHull(corners.reshape(-1, 2))
    depths = [cv2.pointPolygonTest(hull, (x + 0.5, y + 0.5), True) for x, y in rim[:, 0].tolist()]
    values = {
        "area": area,
        "perimeter": perimeter,
        "major_axis": region.axis_major_length,
        "minor_axis": region.axis_minor_length,
        "circularity": 4 * np.pi * area / perimeter**2,
        "solidity": area / cv2.contourArea(hull),
        "convexity": min(1.0, _hull_perimeter(*rim[:, 0].T) / perimeter),
        "eccentricity": region.eccentricity,
        "notch": max(depths) - 0.5,  # the centre of an outermost pixel lies half a pixel inside
    }
    return values, np.array(region.centroid)


def _hull_perimeter(x: np.ndarray, y: np.ndarray) -> float:
    """Return the perimeter of the convex hull, measured as ``perimeter_crofton`` measures.

    A line enters a convex region once, so the extents of the region count the lines.
    """
    columns, rows, falling, rising = (np.ptp(line) + 1 for line in (x, y, x - y, x + y))
    return np.pi / 4 * (rows + columns + (falling + rising) / np.sqrt(2))


def lobes(nucleus: np.ndarray) -> int:
    """Return how many pieces hold more than a twentieth of the nucleus."""
    _, _, pieces, _ = cv2.connectedComponentsWithStats(nucleus.view(np.uint8), connectivity=8)
    areas = pieces[1:, cv2.CC_STAT_AREA]
    return int(np.count_nonzero(20 * areas > areas.sum()))
