"""Nucleus and cytoplasm of a cell that was cut out and stands on black ground.

Private to :mod:`helpers.cells.segmentation`.
"""

from __future__ import annotations

from math import erf

import cv2
import numpy as np

from helpers.cells.segmentation.nucleus import (
    contrast_weights,
    disc,
    local_mean,
    optical_density,
    otsu_level,
)

_TURNS = 2
_RIM = 1.2  # pixels: how wide the cut-out's own blurred edge is
# A step blurred by 4 pixels, at 0 to 6 pixels from the edge, seen at depths 1.5, 2.5, ...
_STEPS = np.array(
    [
        [0.5 * (1 + erf((depth + 1.5 - at / 4) / (4 * 2**0.5))) for depth in range(14)]
        for at in range(25)
    ]
)

_POINTS = 128  # along an outline
_SMOOTH = 6  # pixels: how far along an outline stain is averaged and moves are smoothed
_FARTHEST = 4  # pixels: no single move is longer
_SHORTEST = 150  # pixels: inside a shorter outline the depths below reach too far
# The rules: how many pixels inwards of an outline the edge lies. A number to start from,
# and what the stain adds at each depth below the outline: at five knots, with straight
# lines between. Stain counts in units of its level inside, so neither its strength nor the
# light matters. Both rules weigh the stain on the outline against that on both sides: the
# less of it is there, the further in the edge. They are a least-squares fit to phantoms of
# the seeds 101 to 109, the starts set for the best overlap there, and hold on others.
_KNOTS, _DEPTHS = np.arange(-6.0, 7.0, 3.0), np.arange(-6.0, 7.0)
_NUCLEUS_RULE = (1.44, np.interp(_DEPTHS, _KNOTS, [-1.56, 4.26, -8.05, 3.89, 0.29]))
_CELL_RULE = (0.19, np.interp(_DEPTHS, _KNOTS, [-2.24, 4.36, -5.71, 2.48, -0.31]))


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
    density = _density(image, depth)
    if density is None:
        return nucleus > 0, (kept > 0) & (nucleus == 0)
    stain = _blurred(_stain(density), (depth > _RIM).astype(np.uint8), 0.7)
    cell = _cell(density, stain, kept, depth, nucleus)
    nucleus = _moved_to_edge(nucleus, _NUCLEUS_RULE, stain, kept, depth)
    cell = _moved_to_edge(cell, _CELL_RULE, stain, kept, depth) | nucleus
    return nucleus > 0, (cell > 0) & (nucleus == 0)


def _nucleus(image, kept, depth) -> np.ndarray:
    """Start from the middle against the rim; then let levels and channel follow the outline."""
    some = image[::2, ::2][kept[::2, ::2] > 0]
    light = np.percentile(some, 99, axis=0).astype(np.float32)
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
        if turn == _TURNS - 1:
            break
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


def _density(image, depth) -> np.ndarray | None:
    """Return optical density against the brightest of the rim, or None without a rim."""
    glass = (depth > _RIM) & (depth <= _RIM + 2)
    if not glass.any():
        return None
    return optical_density(image, np.percentile(image[glass], 94, axis=0).astype(np.float32))


def _stain(density) -> np.ndarray:
    """Return the density in the mixture that shows a leukocyte and leaves out red cells."""
    return cv2.transform(density, np.float32([[-0.3, 1, -0.6]]))


def _cell(density, stain, kept, depth, nucleus) -> np.ndarray:
    """Leave out what the cut-out shows beside the cell: clear glass and red cells.

    They take up little green light for what they take of red and blue. The line lies
    half-way from the level of glass to that of the cytoplasm nearby.
    """
    clean = (depth > _RIM).astype(np.uint8)
    _, green, blue = cv2.split(density)
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
    return (cv2.morphologyEx(cell, cv2.MORPH_CLOSE, disc(5)) & kept) | nucleus


def _moved_to_edge(mask, rule, stain, kept, depth) -> np.ndarray:
    """Smooth the outline of the largest part of `mask` and move it to the edge it stands near.

    Place by place, by what the stain across the outline tells. The idea of active contours
    whose every point looks along its normal: Cootes et al. 1995, 10.1006/cviu.1995.1004.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)[:, 0].astype(float) @ [1, 1j]
    if len(outline) < _SHORTEST:
        return _largest_filled(mask) & kept
    for _ in range(_TURNS):
        at, inwards, step = _evenly(outline)
        start, slopes = rule
        move = start + _profiles(stain, depth, at, inwards, step) @ slopes
        outline = at + inwards * np.clip(_along(move, step).real, -_FARTHEST, _FARTHEST)
    moved = np.zeros_like(mask)
    points = np.round(16 * np.stack([outline.real, outline.imag], axis=1)).astype(np.int32)
    cv2.fillPoly(moved, [points], 1, shift=4)
    moved = _largest_filled(moved & kept) & kept
    return moved if moved.any() else mask


def _evenly(outline) -> tuple[np.ndarray, np.ndarray, float]:
    """Return points at even steps along a smoothed outline, the way inwards, and the step.

    Points and directions are complex numbers x + iy.
    """
    closed = np.append(outline, outline[0])
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(closed)))])
    step = length[-1] / _POINTS
    points = _along(np.interp(np.arange(_POINTS) * step, length, closed), step)
    ahead = np.roll(points, -1) - np.roll(points, 1)
    inwards = 1j * ahead / (np.abs(ahead) + 1e-9)
    turn = np.imag(np.conj(points) * np.roll(points, -1)).sum()
    return points, inwards if turn > 0 else -inwards, step


def _profiles(stain, depth, at, inwards, step) -> np.ndarray:
    """Return the stain at each of the depths, in units of its level inside the outline.

    Shape (points, depths). What lies beyond the cut-out is taken to go on as it ends there.
    """
    where = at[:, None] + inwards[:, None] * _DEPTHS
    x, y = where.real.astype(np.float32), where.imag.astype(np.float32)
    values = cv2.remap(stain, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    clean = cv2.remap(depth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > _RIM
    both = _along(values * clean + 1j * clean, step)  # two real arrays blurred at once
    weight = both.imag
    values = both.real / np.maximum(weight, 0.05)
    for k in range(len(_DEPTHS) - 2, -1, -1):
        np.copyto(values[:, k], values[:, k + 1], where=weight[:, k] < 0.05)
    return values / max(float(values[:, _DEPTHS >= 3].mean()), 0.05)


def _along(values, step) -> np.ndarray:
    """Blur values around a closed outline; its points lie `step` apart along the first axis."""
    waves = 2 * np.pi * np.fft.fftfreq(len(values)) * (_SMOOTH / step)
    gain = np.exp(-0.5 * waves**2).reshape(-1, *[1] * (values.ndim - 1))
    return np.fft.ifft(np.fft.fft(values, axis=0) * gain, axis=0)


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
    bottom = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    if values.ndim == 3:  # numpy takes long to share one plane out among three channels
        weight, bottom = cv2.merge((weight,) * 3), cv2.merge((bottom,) * 3)
    return cv2.GaussianBlur(values * weight, (0, 0), sigma) / bottom
