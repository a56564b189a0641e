"""The whole cell around a nucleus on bright background, without the red cells that touch it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy import ndarray as Array
from scipy import ndimage

from helpers.cells.segmentation.nucleus import border, hull_distance

_LEVEL = 0.4  # of the density beside the nucleus: paler pixels are background
_FAINTEST = 0.08  # optical density: paler pixels are background in any image
_SOLID = 0.93  # a cell that touches no other fills more than this share of its hull
_CROWDED, _ALONE = 1.5, 2.0  # radii of the nucleus: a cell reaches no farther from it
_BESIDE = 0.35  # radii of the nucleus: cytoplasm is expected within this distance
_NEARNESS, _HALFWAY = 0.5, 0.6  # log odds added near the nucleus; radii at which they are 0
_FEW = 20  # pixels: fewer are too few to estimate a colour


def grow_cell(
    density: Array, nucleus: Array, others: Array | bool = False, odds: Array | None = None
) -> Array:
    """Return the cell around one nucleus, nucleus included, bool (h, w).

    A cell that touches nothing is the stained region around its nucleus. Among other cells,
    colour and distance decide for each pixel. Colour is `odds` (:func:`colour_odds`); without
    them, pixels beside the nucleus are compared with far ones, and once more with the new
    cell. `others` are nuclei that the cell must not contain.
    """
    others = others & ~nucleus
    away, radius = hull_distance(nucleus)
    total, free = np.linalg.norm(density, axis=2), ~(nucleus | others)
    if free.any():  # a field is not equally bright everywhere
        total -= np.clip(np.percentile(total[free], 5), 0, 0.25)
    near = free & (away > 1.5) & (away < max(3.0, _BESIDE * radius)) & (total > _FAINTEST)
    beside = _LEVEL * np.median(total[near]) if np.count_nonzero(near) > _FEW else 0
    stuff = (total > max(_FAINTEST, beside)) | ~free
    cell = _smoothed(stuff, nucleus, radius)
    alone = not (border(cell).any() or (cell & others).any())
    if alone and cell.sum() > _SOLID * (hull_distance(cell)[0] == 0).sum():
        return cell & (away < _ALONE * radius)
    reached = stuff & (away < _CROWDED * radius) & ~others
    beside, far = reached & (away > 1) & (away < _BESIDE * radius), stuff & (away > radius)
    nearness = _NEARNESS * np.clip(1 - away / (_HALFWAY * radius), -3, 1)
    for _ in range(2 if odds is None else 1):
        colour = colour_odds(density, beside, far, stuff) if odds is None else odds
        colour = cv2.GaussianBlur(np.clip(colour, -3, 3), (0, 0), max(0.5, 0.1 * radius))
        cell = _smoothed(reached & (colour + nearness > 0), nucleus, radius)
        beside, far = cell & ~nucleus & (away > 1), far & ~cell
    return cell


def colour_odds(density: Array, some: Array, other: Array, where: Array) -> Array:
    """Return log odds that a pixel has the colour of `some` and not of `other`, float32 (h, w).

    Linear discriminant analysis with equal priors, Fisher 1936,
    10.1111/j.1469-1809.1936.tb02137.x. 0 outside `where`, or where a sample is too small.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    odds = np.zeros(where.shape, np.float32)
    samples = [density[mask] for mask in (other, some)]
    if min(map(len, samples)) >= _FEW and where.any():
        samples = [pixels[:: 1 + len(pixels) // 4000] for pixels in samples]
        model = LinearDiscriminantAnalysis("lsqr", shrinkage=0.1, priors=[0.5, 0.5])
        model.fit(np.concatenate(samples), np.repeat([0, 1], [len(part) for part in samples]))
        odds[where] = model.decision_function(density[where])
    return odds


def _smoothed(cell: Array, nucleus: Array, radius: float) -> Array:
    """Return the piece around the nucleus, without thin parts and holes."""
    from skimage.morphology import isotropic_opening

    cell = isotropic_opening(cell | nucleus, max(1, 0.15 * radius)) | nucleus
    return ndimage.binary_fill_holes(ndimage.binary_propagation(nucleus, mask=cell))
