"""Nucleus and cytoplasm of a cell that was cut out, on black background."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from helpers.cells.segmentation.cytoplasm import colour_odds
from helpers.cells.segmentation.nucleus import largest

_SPECK = 0.002  # of the frame: a smaller piece is not a cell
_EDGE, _RIM = 1.5, 0.06  # the rim: from 1.5 pixels to 0.06 radii inside the edge


def cut_out_parts(image: np.ndarray, lit: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nucleus and whole cell, bool (h, w); both empty where there is only a speck.

    Nucleus and cytoplasm are separated by the colour that best separates the middle of the
    cell from its rim (linear discriminant analysis), cytoplasm and background by half the stain
    beside the nucleus. `lit`, bool (h, w), is not black; `pixels` is the size of the frame.
    """
    kept = largest(ndimage.binary_opening(np.pad(lit, 1))[1:-1, 1:-1])
    if np.count_nonzero(kept) < max(1, _SPECK * pixels):
        return np.zeros_like(kept), np.zeros_like(kept)
    depth = _depth(np.pad(kept, 1))[1:-1, 1:-1]
    radius = depth.max()
    clean = depth > min(_EDGE, 0.5 * radius)
    rim = clean & (depth < max(4.0, _RIM * radius))
    weight = np.maximum(cv2.GaussianBlur(kept.astype(np.float32), (0, 0), 1), 1e-3)
    light = cv2.GaussianBlur(image * np.float32(kept[..., None]), (0, 0), 1) / weight[..., None]
    density = np.log((np.percentile(light[kept], 98, axis=0) + 4).astype(np.float32) / (light + 4))
    nucleus = clean & (colour_odds(density, depth > 0.45 * radius, rim, kept) > 0)
    nucleus = np.pad(_opened(nucleus, 0.05 * radius), pad := int(0.1 * radius) + 2)
    nucleus = ~_opened(~nucleus, 0.08 * radius)[pad:-pad, pad:-pad]  # small gaps are closed
    nucleus = largest(nucleus & kept)
    if not nucleus.any():  # too small, or of one colour
        return clean, kept
    stain = density[..., 1] - 0.5 * density[..., 2]
    beside = stain[kept & ~nucleus & _grown(nucleus, max(2.0, 0.05 * radius))]
    level = np.median(beside) + np.percentile(stain[rim], 5) if beside.size else 0
    cell = kept & (stain > level / 2)
    return nucleus, largest(_opened(cell | nucleus, 0.12 * radius) | nucleus)


def _depth(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel of a mask to the nearest one outside it, exactly."""
    # SciPy gives the same and takes many times as long.
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    return _depth(~mask) <= radius


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    """Return the mask without all that is narrower than twice the radius."""
    return _grown(_depth(mask) > radius, radius)
