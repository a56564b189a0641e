"""Texture of a region in one grey channel: co-occurrence, local binary patterns, grains.

Each looks at what lies inside a mask alone, and none changes when image and mask
are turned by a right angle or mirrored.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

#: Pixels between the two of a pair, in the co-occurrence matrices.
DISTANCES = (1, 4, 12)
#: Radii in pixels of the discs that take grains away.
RADII = (1, 2, 4, 8)
#: Grey levels of the co-occurrence matrices.
LEVELS = 16
#: What is read off a co-occurrence matrix, as ``skimage.feature.graycoprops`` defines it.
MATRIX = ("contrast", "homogeneity", "energy", "correlation")
#: What is read off the local binary patterns, and its unit.
PATTERN = {"entropy": "bits", "spot": "%", "edge": "%", "flat": "%", "mixed": "%"}


def cooccurrence(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the features of the co-occurrence matrices, of pairs inside the mask alone.

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
        of the mask lie so far apart.
    """
    from skimage.feature import graycomatrix

    levels = np.where(mask, _levels(grey[mask])[grey], np.uint8(0))
    angles = np.arange(4) * np.pi / 4
    pairs = graycomatrix(levels, DISTANCES, angles, LEVELS + 1, symmetric=True)
    # Level 0 is outside: pairs that reach there are left out.
    pairs = pairs[1:, 1:].reshape(LEVELS * LEVELS, -1).astype(float)
    counts = pairs.sum(axis=0)
    pairs /= np.maximum(counts, 1)
    row, column = _ROW, _COLUMN
    mean = row @ pairs
    variance = (row * row) @ pairs - mean**2
    flat = variance < 1e-12  # all of one level: perfectly alike, as scikit-image has it
    values = {
        "contrast": (row - column) ** 2 @ pairs,
        "homogeneity": (1 / (1 + (row - column) ** 2)) @ pairs,
        "energy": np.sqrt((pairs**2).sum(axis=0)),
        "correlation": np.where(
            flat, 1.0, ((row * column) @ pairs - mean**2) / np.where(flat, 1, variance)
        ),
    }
    found = {}
    for name in MATRIX:
        directions = np.where(counts > 0, values[name], np.nan).reshape(len(DISTANCES), 4)
        for distance, four in zip(DISTANCES, directions, strict=True):
            known = np.sort(four[~np.isnan(four)])  # sorted: the same sum when turned
            found[f"glcm_{name}_{distance}"] = known.mean() if len(known) else np.nan
    return found


# Of each entry of a matrix that was laid out as one row.
_ROW, _COLUMN = (index.ravel().astype(float) for index in np.indices((LEVELS, LEVELS)))


def _levels(inside: np.ndarray) -> np.ndarray:
    """Return the level, from 1 to LEVELS, of each grey value from 0 to 255."""
    shares = np.cumsum(np.bincount(inside, minlength=256)) / inside.size
    low, high = (int(np.searchsorted(shares, share)) for share in (0.01, 0.99))
    place = (np.arange(256) - low).clip(0, high - low)
    return (place * LEVELS // (high - low + 1) + 1).astype(np.uint8)


def patterns(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the shares of local binary patterns in the mask, and their entropy.

    The neighbours are the eight pixels around. scikit-image puts them on a circle
    and interpolates; there, rounding decides between equal grey levels.
    """
    height, width = grey.shape
    if height < 3 or width < 3:
        return dict.fromkeys((f"lbp_{name}" for name in PATTERN), float("nan"))
    middle = grey[1:-1, 1:-1]
    code = np.zeros(middle.shape, np.uint8)
    known = mask[1:-1, 1:-1].copy()
    for bit, (dy, dx) in enumerate(_AROUND):
        place = slice(1 + dy, height - 1 + dy), slice(1 + dx, width - 1 + dx)
        code |= (grey[place] >= middle).view(np.uint8) << np.uint8(bit)
        known &= mask[place]
    counts = np.bincount(_UNIFORM[code[known]], minlength=10)
    if not counts.sum():
        return dict.fromkeys((f"lbp_{name}" for name in PATTERN), float("nan"))
    shares = counts / counts.sum()
    present = shares[shares > 0]
    groups = {"spot": (1, 7), "edge": (2, 3, 4, 5, 6), "flat": (0, 8), "mixed": (9,)}
    found = {f"lbp_{name}": 100 * shares[list(bins)].sum() for name, bins in groups.items()}
    return found | {"lbp_entropy": -(present * np.log2(present)).sum()}


_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_BITS = (np.arange(256)[:, None] >> np.arange(8)) & 1
_CHANGES = (np.roll(_BITS, 1, axis=1) != _BITS).sum(axis=1)
#: Of each pattern: how many neighbours are as bright, or 9 with more than two changes.
_UNIFORM = np.where(_CHANGES <= 2, _BITS.sum(axis=1), 9)


def grains(grey: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return how much dark and how much light lies in grains, and in grains of which size.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8, shape (h, w). Light is this, dark is 255 less this.
    mask : numpy.ndarray
        bool, shape (h, w).

    Returns
    -------
    dict of str to float
        For ``dark`` and ``light``: ``grains_<kind>``, what the largest disc takes
        away, in percent of the whole; ``grains_<kind>_<radius>``, the part of that
        which the disc of this radius takes and the one before left, in percent.
        The parts do not depend on how strongly the nucleus is stained.
    """
    found = {}
    for kind, bright in (("dark", 255 - grey), ("light", grey)):
        shares = granularity(bright, mask)
        whole = shares.sum()
        parts = 100 * shares / whole if whole > 0 else np.full(len(RADII), np.nan)
        found[f"grains_{kind}"] = whole
        found |= {f"grains_{kind}_{r}": part for r, part in zip(RADII, parts, strict=True)}
    return found


def granularity(grey: np.ndarray, mask: np.ndarray, radii: tuple[int, ...] = RADII) -> np.ndarray:
    """Return how much of what is bright lies in grains of growing size, in percent.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8, shape (h, w); bright is what is counted.
    mask : numpy.ndarray
        bool, shape (h, w): where to look. Nothing outside has any influence.
    radii : tuple of int
        Of the discs in pixels, growing.

    Returns
    -------
    numpy.ndarray
        One share for each radius: what an opening by its disc takes away and
        the one before left, of the sum over the mask. NaN where that sum is 0.
    """
    inside = np.uint8(255) * mask.view(np.uint8)
    sums = [cv2.sumElems(grey & inside)[0]]
    whole = sums[0]
    if whole == 0:
        return np.full(len(radii), np.nan)
    bright = grey | ~inside
    for radius in radii:
        disc = _disc(radius)
        opened = cv2.dilate(cv2.erode(bright, disc) & inside, disc)
        sums.append(cv2.sumElems(opened & inside)[0])
    return -100 * np.diff(sums) / whole


@cache
def _disc(radius: int) -> np.ndarray:
    from skimage.morphology import disk

    return disk(radius)
