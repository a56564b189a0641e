"""Nucleus and cytoplasm of a cell that was cut out and stands on black ground.

Private to :mod:`helpers.segmentation`.
"""

from __future__ import annotations

from math import erf

import cv2
import numpy as np

from helpers._leukocyte import (
    contrast_weights,
    disc,
    local_mean,
    optical_density,
    otsu_level,
    with_nucleus,
)

_TURNS = 3
_RIM = 1.2  # pixels: how wide the cut-out's own blurred edge is
# A step blurred by 4 pixels, at 0 to 6 pixels from the edge, seen at depths 1.5, 2.5, ...
_STEPS = np.array(
    [
        [0.5 * (1 + erf((depth + 1.5 - at / 4) / (4 * 2**0.5))) for depth in range(14)]
        for at in range(25)
    ]
)


def cut_out_parts(image: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of nucleus and cytoplasm, bool (h, w).

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        RGB, cropped to the cut-out.
    kept : ndarray of uint8, shape (h, w)
        1 inside the cut-out.
    """
    depth = depth_inside(kept)
    nucleus = _nucleus(image, kept, depth)
    cell = _cell(image, kept, depth, nucleus)
    return nucleus > 0, (cell > 0) & (nucleus == 0)


def _nucleus(image, kept, depth) -> np.ndarray:
    """Start from the middle against the rim; then let levels and channel follow the outline."""
    light = np.percentile(image[kept > 0][::4], 99, axis=0).astype(np.float32)
    density = optical_density(image, light)
    density = _blurred(density, kept, 1.5)
    inside = (depth > 2).astype(np.uint8)
    core = (depth > 0.45 * depth.max()).astype(np.uint8)
    ring = ((depth > 3) & (depth < 7)).astype(np.uint8)
    mask, within = None, depth
    for turn in range(_TURNS):
        if min(cv2.countNonZero(core), cv2.countNonZero(ring)) < 40:
            break
        score = cv2.transform(density, contrast_weights(density, core, ring, 0.05)[None])
        if mask is None:
            level = otsu_level(score[inside > 0])
        else:
            sigma = max(2.0, 0.3 * float(np.sqrt(cv2.countNonZero(mask) / np.pi)))
            inner = (within > 4).astype(np.uint8)
            level = 0.5 * (local_mean(score, inner, sigma) + local_mean(score, ring, sigma))
        mask = (score > level).astype(np.uint8) & inside
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(3))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(9 if turn == _TURNS - 1 else 3))
        mask = _largest_filled(mask)
        within = depth_inside(mask)
        core = ((within > 4) & (within < 16)).astype(np.uint8)
        ring = (depth > 4).astype(np.uint8) & (1 - cv2.dilate(mask, disc(2)))
    return inside if mask is None or not mask.any() else mask & kept


def _largest_filled(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled


def _cell(image, kept, depth, nucleus) -> np.ndarray:
    """Leave out what the cut-out shows beside the cell: clear glass and red cells.

    They take up little green light for what they take of red and blue. The line lies
    half-way from the level of glass to that of the cytoplasm nearby.
    """
    clean = (depth > _RIM).astype(np.uint8)
    glass = (depth > _RIM) & (depth <= _RIM + 2)
    if not glass.any():
        return kept
    light = np.percentile(image[glass], 94, axis=0).astype(np.float32)
    red, green, blue = cv2.split(optical_density(image, light))
    stain = _blurred(green - 0.3 * red - 0.6 * blue, clean, 0.7)
    ring = (depth > 5) & (depth < 14) & (cv2.dilate(nucleus, disc(2)) == 0)
    if np.count_nonzero(ring) < 50:
        ring = (depth > 4) & (depth < 14) & (nucleus == 0)
    if np.count_nonzero(ring) < 50:
        return kept & (clean | nucleus)
    ground = _ground_level(stain, depth, cv2.dilate(nucleus, disc(5)) == 0)
    level = 0.46 * ground + 0.54 * local_mean(stain, ring.astype(np.uint8), 12)
    bare = ((stain < level) & (depth < 14) & (nucleus == 0)).astype(np.uint8) & clean
    # Red cells, however large the piece, take up blue light where a leukocyte takes green.
    tint = _blurred(green - blue, clean, 1.5)
    purple = cv2.mean(tint, nucleus)[0]
    bare |= ((tint < 0.1 * purple) & (nucleus == 0)).astype(np.uint8) & clean
    beside = cv2.dilate(bare, disc(3))
    cell = (clean & (1 - bare)) | (kept & (1 - clean) & (1 - beside)) | nucleus
    cell = cv2.morphologyEx(cell, cv2.MORPH_OPEN, disc(6))
    cell = (cv2.morphologyEx(cell, cv2.MORPH_CLOSE, disc(5)) & kept) | nucleus
    return with_nucleus(cell, nucleus)


def _ground_level(stain, depth, away) -> float:
    """Return the stain of clear glass, which a close cut-out hardly shows.

    A blurred step is fitted to the mean stain at each depth below the cut-out's edge.
    """
    part = (depth > 1) & (depth < 1 + _STEPS.shape[1]) & away
    bins = (depth[part] - 1).astype(int)
    count = np.bincount(bins, minlength=_STEPS.shape[1]).astype(float)
    mean = np.bincount(bins, weights=stain[part], minlength=_STEPS.shape[1]) / np.maximum(count, 1)
    count[0] = 0  # half in the cut-out's own edge
    count[count < 40] = 0
    if np.count_nonzero(count) < 6:
        return 0.0
    weight = count / count.sum()
    x = _STEPS - (_STEPS @ weight)[:, None]
    y = mean - mean @ weight
    slope = (x * y) @ weight / ((x**2) @ weight + 1e-9)
    rest = ((y - slope[:, None] * x) ** 2) @ weight
    best = int(np.argmin(rest))
    ground = mean @ weight - slope[best] * (_STEPS[best] @ weight)
    return float(np.clip(ground, -0.2, 0.1))


def depth_inside(mask: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to what is outside `mask`; the image's border is outside."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]


def _blurred(values: np.ndarray, where: np.ndarray, sigma: float) -> np.ndarray:
    """Blur what lies inside `where` alone; beyond it the result means nothing."""
    weight = where.astype(np.float32)
    values = values * (weight[..., None] if values.ndim == 3 else weight)
    bottom = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    top = cv2.GaussianBlur(values, (0, 0), sigma)
    return top / (bottom[..., None] if values.ndim == 3 else bottom)
