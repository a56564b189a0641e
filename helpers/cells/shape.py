"""Shape of a region: what the mask alone tells.

The definitions are those of ``skimage.measure`` where that has them, the computing is
not: its solidity draws the convex hull and takes longer than all the rest together.
"""

from __future__ import annotations

import cv2
import numpy as np


def describe(mask: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Return the features of a region's shape, and its middle.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, shape (h, w), C-contiguous, not empty.

    Returns
    -------
    values : dict of str to float
        `area` (px^2), `perimeter`, `major_axis`, `minor_axis`, `notch` (px),
        `circularity`, `solidity`, `convexity`, `eccentricity` (1).
    middle : numpy.ndarray
        x and y in pixels.
    """
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    area = moments["m00"]
    xx, yy, xy = (moments[f"mu{order}"] / area for order in ("20", "02", "11"))
    spread = np.hypot((xx - yy) / 2, xy)
    major, minor = (max((xx + yy) / 2 + sign * spread, 0.0) for sign in (1, -1))
    padded = np.pad(mask, 1)
    rim = mask & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    points = np.argwhere(rim)[:, ::-1].astype(np.int32)
    perimeter = _crofton(_runs(padded))
    # A hull of pixels is a hull of what stands around the hull of their middles.
    middles = cv2.convexHull(points).reshape(-1, 2)
    hull = _hull_around(middles, [[-1, -1], [-1, 1], [1, -1], [1, 1]])
    found = {
        "area": area,
        "perimeter": perimeter,
        "major_axis": 4 * np.sqrt(major),
        "minor_axis": 4 * np.sqrt(minor),
        "circularity": 4 * np.pi * area / perimeter**2,
        "solidity": area / _hull_pixels(_hull_around(middles, [[-1, 0], [1, 0], [0, -1], [0, 1]])),
        "convexity": min(1.0, _crofton(_extents(points)) / perimeter),
        "eccentricity": np.sqrt(1 - minor / major) if major > 0 else 0.0,
        "notch": _depth(points, hull),
    }
    return found, np.array([moments["m10"], moments["m01"]]) / area


def _crofton(lines: tuple[int, int, int, int]) -> float:
    """Return a perimeter from how many lines of each direction enter the region."""
    rows, columns, falling, rising = lines
    return np.pi / 4 * (rows + columns + (falling + rising) / np.sqrt(2))


def _runs(padded: np.ndarray) -> tuple[int, int, int, int]:
    """Return how often lines enter the region: rows, columns, both diagonals."""
    here = padded[1:-1, 1:-1]
    before = padded[1:-1, :-2], padded[:-2, 1:-1], padded[:-2, :-2], padded[:-2, 2:]
    return tuple(int(np.count_nonzero(here & ~one)) for one in before)


def _extents(points: np.ndarray) -> tuple[int, int, int, int]:
    """Return how many lines of each direction enter the convex hull of the points."""
    x, y = points.T
    return tuple(int(np.ptp(values)) + 1 for values in (y, x, x - y, x + y))


def _hull_around(points: np.ndarray, halves: list[list[int]]) -> np.ndarray:
    """Return the corners of the hull of all points moved by each of `halves` of a pixel."""
    moved = (2 * points[:, None] + np.array(halves)).reshape(-1, 2).astype(np.int32)
    return cv2.convexHull(moved).reshape(-1, 2) / 2


def _hull_pixels(hull: np.ndarray) -> int:
    """Return how many pixels have their middle in a convex hull, as scikit-image counts them.

    There, the hull is that of the middles of the pixels' sides.
    """
    corners = np.vstack([hull, hull[:1]])
    (x, y), (across, down) = corners[:-1].T, np.diff(corners, axis=0).T
    sloping = down != 0
    x, y, across, down = (values[sloping] for values in (x, y, across, down))
    rows = np.arange(np.ceil(hull[:, 1].min()), np.floor(hull[:, 1].max()) + 1)[:, None]
    part = (rows - y) / down  # where on each edge a row meets it, from 0 to 1
    met = (part >= 0) & (part <= 1)
    place = x + part * across
    left = np.where(met, place, np.inf).min(axis=1)
    right = np.where(met, place, -np.inf).max(axis=1)
    return int((np.floor(right + 1e-9) - np.ceil(left - 1e-9) + 1).sum())


def _depth(points: np.ndarray, hull: np.ndarray) -> float:
    """Return how far a point of the rim lies below the hull at most, in pixels."""
    edges = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(*edges.T)
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / lengths[:, None]
    distances = np.abs(points @ normals.T - np.einsum("ij,ij->i", hull, normals))
    return max(0.0, float(distances.min(axis=1).max()) - 0.5)  # the rim itself lies half a pixel in


def lobes(nucleus: np.ndarray) -> int:
    """Return how many pieces hold more than a twentieth of the nucleus."""
    contours, _ = cv2.findContours(
        nucleus.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    if len(contours) == 1:  # told sooner than by labels
        return 1
    _, _, numbers, _ = cv2.connectedComponentsWithStats(nucleus.view(np.uint8), connectivity=8)
    areas = numbers[1:, cv2.CC_STAT_AREA]
    return int(np.count_nonzero(20 * areas > areas.sum()))
