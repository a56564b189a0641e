"""Nucleus and cytoplasm of a cell that was cut out and stands on black ground.

Private to :mod:`helpers.segmentation`.
"""

from __future__ import annotations

import cv2
import numpy as np

from helpers._leukocyte import contrast_weights, disc, filled, largest, local_mean, optical_density

_RIM = 1.2  # pixels: how wide the cut-out's own blurred edge is


def cut_out_parts(image: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of nucleus and cytoplasm, bool (h, w).

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        RGB, cropped to the cut-out.
    kept : ndarray of uint8, shape (h, w)
        1 inside the cut-out.
    """
    padded = cv2.copyMakeBorder(kept, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
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
    mask = None
    for turn in range(4):
        if min(cv2.countNonZero(core), cv2.countNonZero(ring)) < 40:
            break
        score = cv2.transform(density, contrast_weights(density, core, ring, 0.05)[None])
        if mask is None:
            level = otsu_level(score[inside > 0])
        else:
            sigma = max(2.0, 0.3 * float(np.sqrt(cv2.countNonZero(mask) / np.pi)))
            inner = cv2.erode(mask, disc(2))
            level = 0.5 * (local_mean(score, inner, sigma) + local_mean(score, ring, sigma))
        mask = (score > level).astype(np.uint8) & inside
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(3))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(9 if turn == 3 else 3))
        mask = filled(largest(mask), 1.0)
        core = cv2.erode(mask, disc(6))
        ring = inside & (1 - cv2.dilate(mask, disc(2)))
    return inside if mask is None or not mask.any() else mask & kept


def _cell(image, kept, depth, nucleus) -> np.ndarray:
    """Leave out what the cut-out shows beside the cell: clear glass and red cells.

    They take up little green light. The line lies at half of what the cytoplasm nearby takes.
    """
    clean = (depth > _RIM).astype(np.uint8)
    glass = (depth > _RIM) & (depth <= _RIM + 2)
    if not glass.any():
        return kept
    light = np.percentile(image[glass], 94, axis=0).astype(np.float32)
    red, green, _ = cv2.split(optical_density(image, light))
    stain = _blurred(green - 0.3 * red, clean, 0.7)
    away = cv2.dilate(nucleus, disc(2)) == 0
    ring = (depth > 5) & (depth < 14) & away
    if ring.sum() < 50:
        ring = (depth > 4) & (depth < 14) & (nucleus == 0)
    if ring.sum() < 50:
        return kept & (clean | nucleus)
    level = 0.5 * local_mean(stain, ring.astype(np.uint8), 12)
    bare = ((stain < level) & (depth < 14) & (nucleus == 0)).astype(np.uint8) & clean
    beside = cv2.dilate(bare, disc(3))
    cell = (clean & (1 - bare)) | (kept & (1 - clean) & (1 - beside)) | nucleus
    cell = cv2.morphologyEx(cell, cv2.MORPH_OPEN, disc(6))
    return (cv2.morphologyEx(cell, cv2.MORPH_CLOSE, disc(5)) & kept) | nucleus


def otsu_level(values: np.ndarray) -> float:
    """Return Otsu's threshold of float values. Otsu 1979, 10.1109/TSMC.1979.4310076."""
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    level, _ = cv2.threshold(scaled[None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return low + (level + 0.5) * (high - low) / 255


def _blurred(values: np.ndarray, where: np.ndarray, sigma: float) -> np.ndarray:
    """Blur what lies inside `where` alone; beyond it the result means nothing."""
    weight = where.astype(np.float32)
    values = values * (weight[..., None] if values.ndim == 3 else weight)
    bottom = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    top = cv2.GaussianBlur(values, (0, 0), sigma)
    return top / (bottom[..., None] if values.ndim == 3 else bottom)
