"""Texture of a region in one grey channel: co-occurrence, local binary patterns, grains.

Only the pixels inside a mask count. No feature changes when image and mask are turned by
a right angle or mirrored.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

#: Distances in pixels between the two pixels of a pair, in the co-occurrence matrices.
DISTANCES = (1, 4, 12)
#: Radii in pixels of the discs that remove grains.
RADII = (1, 2, 4, 8)
#: Grey levels of the co-occurrence matrices.
LEVELS = 16
#: Features of a co-occurrence matrix, as ``skimage.feature.graycoprops`` defines them.
MATRIX = ("contrast", "homogeneity", "energy", "correlation")
#: Features of the local binary patterns, and their units.
PATTERN = {"entropy": "bits", "spot": "%", "edge": "%", "flat": "%", "mixed": "%"}


def cooccurrence(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the features of the co-occurrence matrices of all pairs inside the mask.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8, shape (h, w).
    mask : numpy.ndarray
        bool, shape (h, w), not empty.

    Returns
    -------
    dict of str to float
        ``glcm_<name>_<distance>``, each the mean of four directions. The levels
        run from the mask's 1st to its 99th percentile. NaN where no two pixels
        of the mask are that far apart.

    References
    ----------
    Haralick, Shanmugam, Dinstein 1973, doi:10.1109/TSMC.1973.4309314.
    """
    from skimage.feature import graycomatrix, graycoprops

    levels = np.where(mask, _levels(grey[mask])[grey], np.uint8(0))
    angles = np.arange(4) * np.pi / 4
    # Level 0 is outside of the mask: pairs with a pixel there are left out.
    pairs = graycomatrix(levels, DISTANCES, angles, LEVELS + 1, symmetric=True)[1:, 1:]
    absent = pairs.sum(axis=(0, 1)) == 0
    result = {}
    for name in MATRIX:
        values = np.ma.masked_where(absent, graycoprops(pairs, name)).mean(axis=1)
        result |= {
            f"glcm_{name}_{distance}": value
            for distance, value in zip(DISTANCES, values.filled(np.nan), strict=True)
        }
    return result


def _levels(inside: np.ndarray) -> np.ndarray:
    """Return the level, from 1 to LEVELS, of each grey value from 0 to 255."""
    shares = np.cumsum(np.bincount(inside, minlength=256)) / inside.size
    low, high = (int(np.searchsorted(shares, share)) for share in (0.01, 0.99))
    above = (np.arange(256) - low).clip(0, high - low)
    return (above * LEVELS // (high - low + 1) + 1).astype(np.uint8)


def patterns(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the shares of local binary patterns in the mask, and their entropy.

    The neighbours of a pixel are the eight pixels around it. scikit-image interpolates
    them on a circle instead: between equal grey levels its rounding then decides, and
    turning the image changes the result.

    References
    ----------
    Ojala, Pietikainen, Maenpaa 2002, doi:10.1109/TPAMI.2002.1017623.
    """
    height, width = grey.shape
    if height < 3 or width < 3:
        return dict.fromkeys((f"lbp_{name}" for name in PATTERN), float("nan"))
    middle = grey[1:-1, 1:-1]
    code = np.zeros(middle.shape, np.uint8)
    complete = mask[1:-1, 1:-1].copy()
    for bit, (dy, dx) in enumerate(_AROUND):
        shifted = slice(1 + dy, height - 1 + dy), slice(1 + dx, width - 1 + dx)
        code |= (grey[shifted] >= middle).view(np.uint8) << np.uint8(bit)
        complete &= mask[shifted]
    counts = np.bincount(_UNIFORM[code[complete]], minlength=10)
    if not counts.sum():
        return dict.fromkeys((f"lbp_{name}" for name in PATTERN), float("nan"))
    shares = counts / counts.sum()
    present = shares[shares > 0]
    groups = {"spot": (1, 7), "edge": (2, 3, 4, 5, 6), "flat": (0, 8), "mixed": (9,)}
    result = {f"lbp_{name}": 100 * shares[list(bins)].sum() for name, bins in groups.items()}
    return result | {"lbp_entropy": -(present * np.log2(present)).sum()}


_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_BITS = (np.arange(256)[:, None] >> np.arange(8)) & 1
_CHANGES = (np.roll(_BITS, 1, axis=1) != _BITS).sum(axis=1)
#: For each pattern: the number of neighbours at least as bright, or 9 with more than two changes.
_UNIFORM = np.where(_CHANGES <= 2, _BITS.sum(axis=1), 9)


def grains(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return how much dark and how much light is in grains, and the share of each grain size.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8, shape (h, w). "Light" is measured on it, "dark" on 255 - grey.
    mask : numpy.ndarray
        bool, shape (h, w).

    Returns
    -------
    dict of str to float
        For ``dark`` and ``light``: ``grains_<kind>``, what the largest disc removes,
        in percent of the total; ``grains_<kind>_<radius>``, the percentage of that
        which this disc removes and the next smaller disc does not. The percentages
        do not depend on how strongly the nucleus is stained.
    """
    result = {}
    for kind, bright in (("dark", 255 - grey), ("light", grey)):
        shares = granularity(bright, mask)
        whole = shares.sum()
        parts = 100 * shares / whole if whole > 0 else np.full(len(RADII), np.nan)
        result[f"grains_{kind}"] = whole
        result |= {f"grains_{kind}_{r}": part for r, part in zip(RADII, parts, strict=True)}
    return result


def granularity(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return what percentage of the brightness is in grains of each size.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8, shape (h, w).
    mask : numpy.ndarray
        bool, shape (h, w). Pixels outside have no influence.

    Returns
    -------
    numpy.ndarray
        One value for each of `RADII`: what an opening with this disc removes and the
        opening with the next smaller disc does not, in percent of the sum over the
        mask. NaN where that sum is 0.

    References
    ----------
    Granulometry: Serra, Image Analysis and Mathematical Morphology, 1982.
    """
    inside = np.uint8(255) * mask.view(np.uint8)
    sums = [cv2.sumElems(grey & inside)[0]]
    total = sums[0]
    if total == 0:
        return np.full(len(RADII), np.nan)
    bright = grey | ~inside
    for radius in RADII:
        disc = _disc(radius)
        opened = cv2.dilate(cv2.erode(bright, disc) & inside, disc)
        sums.append(cv2.sumElems(opened & inside)[0])
    return -100 * np.diff(sums) / total


@cache
def _disc(radius: int) -> np.ndarray:
    from skimage.morphology import disk

    return disk(radius)
