"""All leukocytes of a field: their nuclei, separated where they touch, and their cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from helpers.cells.segmentation import nucleus as single
from helpers.cells.segmentation.cytoplasm import colour_odds, grow_cell

_STAINED = 0.15  # optical density: paler pixels are background
_LEAST_TINT = 0.15  # density in green minus density in blue: a nucleus has more
_PALEST = 0.3  # of the strongest tint of a nucleus: every nucleus has more
_SMALLEST, _LARGEST = 0.0003, 0.25  # of the field
_SPECK, _LOBE = 0.2, 0.55  # of the median nucleus: smaller: debris; smaller: one of several lobes


def segmented(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labelled nuclei and labelled cells, int32 (h, w), in reading order."""
    _, density, _ = single.absorbed(image, 0.8)
    nuclei = _find_nuclei(image, density, stained := np.linalg.norm(density, axis=2) > _STAINED)
    every = nuclei > 0
    if not every.any():
        return nuclei, nuclei
    away, nearest = ndimage.distance_transform_edt(~every, return_indices=True)
    radius = np.sqrt(np.median(np.bincount(nuclei.ravel())[1:]) / np.pi)
    beside = stained & (away > 1) & (away < max(3.0, 0.35 * radius))
    odds = colour_odds(density, beside, stained & (away > radius), stained)
    reached = every.copy()
    for number, w in _windows(nuclei):
        own = nuclei[w] == number
        reached[w] |= grow_cell(density[w], own, every[w], odds[w])
    return nuclei, np.where(reached, nuclei[tuple(nearest)], 0)  # each pixel to the nearest


def _find_nuclei(image: np.ndarray, density: np.ndarray, stained: np.ndarray) -> np.ndarray:
    """Find nuclei by one threshold on the tint; then compute each outline separately."""
    tint = density[..., 1] - density[..., 2]
    level = max(_LEAST_TINT, single.thresholds(tint[stained], 2)[0]) if stained.any() else np.inf
    rough = single.part_touching(single.filled(ndimage.binary_opening(tint > level, iterations=2)))
    stain, _, _ = single.absorbed(image, 0.5)
    strength = np.zeros(tint.shape, np.float32)
    for number, window in _windows(rough):
        own = rough[window] == number
        mask = single.outlined(stain[window], own) & ((rough[window] == 0) | own)
        mask = ndimage.binary_propagation(own & mask, mask=mask)
        if mask.any():
            np.maximum(strength[window], mask * np.median(tint[window][mask]), out=strength[window])
    mask = strength > max(_LEAST_TINT, _PALEST * strength.max())
    return _sorted(single.part_touching(mask))


def _windows(labels: np.ndarray) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield each label and a window around its cell."""
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            margin = 6 + max(side.stop - side.start for side in box)
            yield number, tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)


def _sorted(labels: np.ndarray) -> np.ndarray:
    """Return the nuclei in reading order, without debris; lobes of one nucleus are joined."""
    areas = np.bincount(labels.ravel()) / labels.size
    areas[0] = 0
    fits = (areas > _SMALLEST) & (areas < _LARGEST)
    if not fits.any():
        return np.zeros_like(labels)
    typical = np.median(areas[fits & (areas > 0.1 * areas[fits].max())])
    labels = np.where((fits & (areas > _SPECK * typical))[labels], labels, 0)
    lobes = (labels > 0) & (areas < _LOBE * typical)[labels]
    near = ndimage.distance_transform_edt(~lobes) < 0.3 * np.sqrt(typical * labels.size / np.pi)
    labels = np.where(lobes, len(areas) + ndimage.label(near)[0], labels)
    names, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    first[names == 0] = -1
    return first.argsort().argsort()[inverse].reshape(labels.shape).astype(np.int32)
