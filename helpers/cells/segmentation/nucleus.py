"""The nucleus of one leukocyte on bright background: thresholds on one colour channel."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

_BLUE = 0.5  # the weight of blue against green
_MARGIN = 0.8  # radii of the nucleus: its threshold is computed within this distance
_LIFT = 0.03  # of the step between two thresholds: the outline is this far above the upper one
_HOLE, _SPECK = 0.1, 0.1  # of the nucleus: larger holes are cytoplasm, smaller pieces debris
_WAIST = 0.12  # of the depth of a nucleus: the waist of two touching ones is deeper
_LEAST_TINT = 0.08  # density in green minus density in blue: a nucleus has more


def absorbed(image: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return stain (h, w) and optical density (h, w, 3), float32, and the background, bool (h, w).

    The background is the brightest of three classes of green; its median colour has density 0.
    Stain is half of blue minus green, as parts of the light of the background: a nucleus absorbs
    much green and little blue light, a red cell absorbs both.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), sigma)
    ground = smooth[..., 1] >= min(thresholds(smooth[..., 1], 3)[-1], smooth[..., 1].max())
    light = smooth / (np.median(smooth[ground], axis=0) + 1).astype(np.float32)
    return _BLUE * light[..., 2] - light[..., 1], np.log(1.03 / (light + 0.03)), ground


def thresholds(values: np.ndarray, classes: int) -> np.ndarray:
    """Return Otsu's thresholds (10.1109/TSMC.1979.4310076), or huge ones for too few values."""
    from skimage.filters import threshold_multiotsu

    try:
        return threshold_multiotsu(values, classes, nbins=128)
    except ValueError:
        return np.full(classes - 1, 1e9)


def find_nucleus(image: np.ndarray) -> np.ndarray:
    """Return the nucleus of the leukocyte in the middle, bool (h, w), or an empty mask.

    A threshold on the blurred image gives its position; a second one, on the pixels around
    it, gives its outline.
    """
    thin = max(1, round(max(image.shape[:2]) / 60))  # pixels: thinner parts are no nucleus
    blurred, _, _ = absorbed(image, 0.75 * thin)
    stain, density, ground = absorbed(image, 0.5)
    rough = ndimage.binary_opening(blurred > thresholds(blurred, 3)[-1], iterations=thin)
    nucleus = _central(filled(rough), ground)
    if nucleus.any():
        nucleus = _central(outlined(stain, nucleus), ground)
    if border(nucleus).any():  # it may be two that touch, one of them cut by the border
        parts = part_touching(nucleus)
        whole = nucleus & ~np.isin(parts, border(parts))
        nucleus = whole if 4 * whole.sum() > nucleus.sum() else nucleus
    return nucleus & (nucleus.any() and np.median(density[nucleus] @ [0, 1, -1]) > _LEAST_TINT)


def outlined(stain: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """Return the highest of three classes of stain in and around a rough nucleus."""
    away, radius = hull_distance(rough)
    near = away < max(3.0, _MARGIN * radius)
    low, high = thresholds(stain[near], 3)
    mask = near & (stain > high + _LIFT * (high - low))
    return filled(ndimage.binary_opening(mask, iterations=2 if radius > 15 else 1))


def hull_distance(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Return each pixel's distance to the convex hull of a mask, and the radius of that hull."""
    hull = np.ones(mask.shape, np.uint8)
    points = cv2.findNonZero(mask.astype(np.uint8)).reshape(-1, 1, 2)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 0)
    radius = float(np.sqrt(np.count_nonzero(hull == 0) / np.pi))
    return cv2.distanceTransform(hull, cv2.DIST_L2, 5), radius


def part_touching(mask: np.ndarray) -> np.ndarray:
    """Label the nuclei of a mask, int32 (h, w); two that touch are separated at the waist.

    Watershed on the distance from the outline: Vincent and Soille 1991, 10.1109/34.87344.
    """
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    mask = np.asarray(mask) > 0
    depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    depth = ndimage.gaussian_filter(depth, 1)
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    tops = np.zeros(mask.shape, bool)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        own = np.where(pieces[box] == number, depth[box], 0)
        tops[box] |= h_maxima(own, max(min(0.75, 0.9 * own.max()), _WAIST * own.max())) > 0
    markers, _ = ndimage.label(tops, np.ones((3, 3)))
    return watershed(-depth, markers, mask=mask).astype(np.int32)


def filled(mask: np.ndarray) -> np.ndarray:
    """Fill the holes of a mask that are small compared with it."""
    holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    small = np.bincount(holes.ravel()) < _HOLE * np.count_nonzero(mask)
    return mask | (small[holes] & (holes > 0))


def largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest piece of a mask, filled."""
    pieces, count = ndimage.label(mask)
    return filled(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])) if count else mask


def border(values: np.ndarray) -> np.ndarray:
    """Return the values of the pixels on the border of an image."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _central(mask: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Keep the piece that is largest and nearest to the middle, and its other lobes."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    areas = np.bincount(labels.ravel())
    middles = np.array(ndimage.center_of_mass(mask, labels, range(1, count + 1)))
    far = ((middles / mask.shape - 0.5) ** 2).sum(axis=1)
    main = 1 + np.argmax(areas[1:] * np.exp(-16 * far))
    kept, radius = labels == main, np.sqrt(areas[main] / np.pi)
    lobes = set(np.flatnonzero(areas > _SPECK * areas[main])) - {0, main, *border(labels)}
    for piece in sorted(lobes, key=lambda i: -areas[i]):
        away, nearest = ndimage.distance_transform_edt(~kept, return_indices=True)
        start = np.unravel_index(np.argmin(np.where(labels == piece, away, np.inf)), mask.shape)
        way = np.linspace(start, nearest[(slice(None), *start)], 20).round().astype(int)
        joined = ground[way[:, 0], way[:, 1]].mean() < 0.2  # hardly any background in between
        if away[start] < (2 if joined else 0.75) * radius:
            kept |= labels == piece
    return kept
