"""The cytoplasm around nuclei on bright ground, and touching cells parted.

Private to :mod:`helpers.segmentation`.
"""

from __future__ import annotations

import cv2
import numpy as np

from helpers._leukocyte import contrast_weights, disc, filled, with_nucleus


def grow_cell(density: np.ndarray, nucleus: np.ndarray, blocked: np.ndarray | None = None):
    """Return the whole cell around one nucleus, uint8 (h, w).

    Parameters
    ----------
    density : ndarray of float32, shape (h, w, 3)
        Optical density against the ground.
    nucleus : ndarray of uint8, shape (h, w)
        All lobes of one nucleus.
    blocked : ndarray of uint8, shape (h, w), optional
        Where the cell cannot be: other nuclei.

    Notes
    -----
    Cytoplasm is what takes up light beside the nucleus and does not look like what takes
    up light far from it, which are red cells. Its reach is bounded by the nucleus's size.
    """
    hull = np.zeros_like(nucleus)
    points = cv2.findNonZero(nucleus).reshape(-1, 2)  # OpenCV 4 and 5 differ in its shape
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    radius = float(np.sqrt(cv2.countNonZero(hull) / np.pi))
    away = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    smooth = cv2.GaussianBlur(density, (0, 0), 1.0)
    total = smooth.sum(axis=2)
    wall = nucleus if blocked is None else nucleus | blocked
    clear = cv2.dilate(wall, disc(2)) == 0
    near = (away < max(4.0, 0.3 * radius)) & clear
    level = 0.05
    if near.any():
        level = max(
            level, 0.45 * float(np.percentile(total[near], 80))
        )  # a thin rim is few of them
    stuff = total > level
    member, reach = stuff, 0.75 * radius
    far = stuff & (away > max(6.0, 0.8 * radius)) & clear
    near &= stuff
    if np.count_nonzero(far) > 60 and np.count_nonzero(near) > 20:
        weights = contrast_weights(smooth, near, far, 0.3)
        score = cv2.transform(smooth, weights[None])
        a, b = score[near], score[far]
        if a.mean() - b.mean() > 0.8 * np.sqrt(0.5 * (a.var() + b.var())):
            member = stuff & (score > 0.5 * (a.mean() + b.mean()))
        else:  # what touches the nucleus looks like what lies far from it
            reach = 0.3 * radius
    cell = (member & (away < max(4.0, reach))) | ((hull > 0) & stuff)
    cell = _without_tongues(cell, away, points) | nucleus
    if blocked is not None:
        cell &= 1 - blocked
    cell = cv2.morphologyEx(cell, cv2.MORPH_CLOSE, disc(2))
    cell = cv2.morphologyEx(cell, cv2.MORPH_OPEN, disc(max(1, int(0.3 * radius)))) | nucleus
    return filled(with_nucleus(cell, nucleus), 0.2)


def grow_cells(density: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
    """Return the cells around labelled nuclei, int32 (h, w), under the nuclei's labels.

    Where two cells touch, a watershed from the nuclei draws the line.
    """
    from scipy.ndimage import find_objects
    from skimage.segmentation import watershed

    union = (nuclei > 0).astype(np.uint8)
    if not union.any():
        return nuclei.copy()
    height, width = nuclei.shape
    reached = np.zeros(nuclei.shape, np.uint8)
    for number, box in enumerate(find_objects(nuclei), start=1):
        rows, columns = box
        margin = 6 + max(rows.stop - rows.start, columns.stop - columns.start)
        window = (
            slice(max(0, rows.start - margin), min(height, rows.stop + margin)),
            slice(max(0, columns.start - margin), min(width, columns.stop + margin)),
        )
        nucleus = (nuclei[window] == number).astype(np.uint8)
        reached[window] |= grow_cell(density[window], nucleus, union[window] - nucleus)
    reached |= union
    away = cv2.distanceTransform(1 - union, cv2.DIST_L2, 5)
    return watershed(away, nuclei, mask=reached > 0).astype(np.int32)


def _without_tongues(cell, away, points) -> np.ndarray:
    """Cut off what reaches far beyond the rest of the cell's outline: red cells that touch it."""
    rows, columns = np.nonzero(cell & (away > 0))
    if not len(rows):
        return cell.astype(np.uint8)
    x, y = points.mean(axis=0)
    turn = ((np.arctan2(rows - y, columns - x) / (2 * np.pi) + 0.5) * 36).astype(int) % 36
    reach = np.zeros(36, np.float32)
    np.maximum.at(reach, turn, away[rows, columns])
    return (cell & (away <= 1.4 * np.percentile(reach, 60) + 3)).astype(np.uint8)
