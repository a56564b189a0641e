"""The cytoplasm around nuclei on bright ground, and touching cells parted.

Private to :mod:`helpers.cells.segmentation`.
"""

from __future__ import annotations

import cv2
import numpy as np

from helpers.cells.segmentation.nucleus import contrast_weights, disc, filled, settled, with_nucleus

_LONG = 2.0  # radii of its nucleus reaches the cytoplasm of a plasma cell beyond it
_SOLID = 0.95  # of its convex hull is in a cell that touches no other
_LEAST = 0.5  # of what its nucleus takes up
_CLEAR = 2.5  # standard deviations between a cell and what lies around it


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
    smooth = cv2.GaussianBlur(density, (0, 0), 1.0)
    others = np.zeros_like(nucleus) if blocked is None else blocked
    return _outlined_cell(smooth, _grown(smooth, nucleus, blocked), nucleus, others)


def _grown(smooth, nucleus, blocked=None) -> np.ndarray:
    """Grow a cell in a density that is smooth already."""
    hull = np.zeros_like(nucleus)
    points = cv2.findNonZero(nucleus).reshape(-1, 2)  # OpenCV 4 and 5 differ in its shape
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    radius = float(np.sqrt(cv2.countNonZero(hull) / np.pi))
    away = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    total = smooth.sum(axis=2)
    wall, mine = nucleus, True
    if blocked is not None and blocked.any():
        wall = nucleus | blocked
        other = cv2.distanceTransform(1 - blocked, cv2.DIST_L2, 5)
        mine = away <= other
    clear = cv2.dilate(wall, disc(2)) == 0
    if clear.any():  # a field is not equally bright everywhere
        total -= min(max(float(np.percentile(total[clear], 5)), 0.0), 0.15)
    near = (away < max(4.0, 0.3 * radius)) & clear
    level = 0.05
    if near.any():  # a thin rim is few of these pixels
        level = max(level, 0.45 * float(np.percentile(total[near], 80)))
    stuff = total > level
    member, reach = stuff, 0.75 * radius
    own = with_nucleus((stuff & (wall == nucleus) & mine).astype(np.uint8) | nucleus, nucleus) > 0
    alone = away[own].max() < _LONG * radius and _is_round(own)
    far = stuff & (away > max(6.0, 0.8 * radius)) & clear
    if wall is not nucleus:  # what belongs to other nuclei are no red cells
        far &= other > 0.5 * radius
    near &= stuff
    if alone:  # all around it is glass: there the cell ends, whatever lies beyond
        member, reach = own, _LONG * radius
    elif np.count_nonzero(far) > 60 and np.count_nonzero(near) > 20:
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
    smooth = cv2.GaussianBlur(density, (0, 0), 1.0)
    reached = np.zeros(nuclei.shape, np.uint8)
    for number, box in enumerate(find_objects(nuclei), start=1):
        rows, columns = box
        margin = 6 + max(rows.stop - rows.start, columns.stop - columns.start)
        window = (
            slice(max(0, rows.start - margin), min(height, rows.stop + margin)),
            slice(max(0, columns.start - margin), min(width, columns.stop + margin)),
        )
        nucleus = (nuclei[window] == number).astype(np.uint8)
        others = union[window] - nucleus
        cell = _grown(smooth[window], nucleus, others)
        reached[window] |= _outlined_cell(smooth[window], cell, nucleus, others)
    reached |= union
    away = cv2.distanceTransform(1 - union, cv2.DIST_L2, 5)
    return watershed(away, nuclei, mask=reached > 0).astype(np.int32)


def _is_round(mask) -> bool:
    """Tell whether a mask fills its hull, as one cell does, and not two that touch."""
    hull = cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8)))
    return np.count_nonzero(mask) > _SOLID * cv2.contourArea(hull)


def _outlined_cell(smooth, cell, nucleus, blocked) -> np.ndarray:
    """Settle the cell's outline in the channel in which it is as dark as its nucleus.

    There a rim of few pixels keeps its height, which elsewhere lies on the slope of the
    nucleus. A cell without such a channel is left as it is.
    """
    radius = float(np.sqrt(cv2.countNonZero(cell) / np.pi))
    others = cv2.dilate(blocked, disc(2))
    beside = cv2.dilate(nucleus, disc(3)) - cv2.dilate(nucleus, disc(1))
    rim = (cell & beside & (1 - others)) > 0
    core = cv2.erode(nucleus, disc(2)) > 0
    near = cv2.dilate(cell, disc(max(4, int(0.4 * radius))))
    around = (near & (1 - cv2.dilate(cell, disc(1))) & (1 - others)) > 0
    if min(np.count_nonzero(part) for part in (rim, core, around)) < 20:
        return cell
    rim &= smooth.sum(axis=2) >= np.median(smooth[rim].sum(axis=1))
    parts = [smooth[part] for part in (core, rim, around)]
    a, b, ground = (part.mean(axis=0) for part in parts)
    b = b * max(1.0, _LEAST * float(a.sum() / max(b.sum(), 0.05)))  # a thin rim is half glass
    spread = sum(np.cov(part.T) for part in parts) / 3
    spread += np.outer(a - b, a - b) + (0.05 * np.trace(spread) / 3 + 1e-4) * np.eye(3)
    weights = np.linalg.solve(spread, 0.5 * (a + b) - ground)
    weights = (weights / (np.abs(weights).sum() + 1e-9)).astype(np.float32)
    low, noise = parts[2] @ weights, [float((part @ weights).std()) for part in parts]
    steps = [float(part @ weights) - float(low.mean()) for part in (a, b)]
    if min(steps) < _CLEAR * max(noise):
        return cell
    score = cv2.transform(smooth, weights[None])
    score[others > 0] = low.mean()
    found = settled(score, cell) | nucleus
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, disc(max(1, int(0.3 * radius)))) | nucleus
    return filled(with_nucleus(found & (1 - blocked), nucleus), 0.2)


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
