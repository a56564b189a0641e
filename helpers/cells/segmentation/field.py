"""The nuclei of all leukocytes in a field: each at the level where its own outline is steepest.

Private to :mod:`helpers.cells.segmentation`.
"""

from __future__ import annotations

import cv2
import numpy as np

from helpers.cells.segmentation.nucleus import (
    LEVELS,
    contrast_weights,
    disc,
    filled,
    nested,
    otsu_level,
    outlined,
    without_specks,
)

_SMALLEST, _LARGEST = 0.0004, 0.25  # of the field
_TINT = 0.10  # a nucleus takes up this much more green than blue light, as optical density
_PURPLE = 0.17  # and the difference is this part of all that it takes up
_ROOM = 150  # pixels that a nucleus has at least whose outline can be settled
_HUES_APART, _APART = 0.1, 4.0  # of the dyes of nucleus and cytoplasm, and in standard deviations
# The ring around a nucleus in which cytoplasm and glass weigh alike: they differ, and no
# more than that may the channel that shows the outline see of their difference.
_RING = {"reach": 0.4, "shrink": 0.1}
_SHARE, _SHARE_PURPLE = 0.15, 0.65  # and both are this part of what the clearest nuclei have


def find_nuclei(density: np.ndarray) -> np.ndarray:
    """Return the nuclei in a field, labelled, int32 (h, w), 0 on the ground.

    Thresholds over the whole range give nested objects, as in maximally stable regions
    (Matas et al. 2004, 10.1016/j.imavis.2004.02.006); of each nest the one is kept whose
    outline stands on the highest and cleanest step. So a pale nucleus is found beside a
    dark one, which no single threshold manages. Then, as on a single cell, of a cell that
    was taken whole because its cytoplasm is nearly as dark the nucleus is kept, and each
    outline is settled where the step beside it is halfway.
    """
    smooth = cv2.GaussianBlur(density, (0, 0), 1.0)
    red, green, blue = cv2.split(smooth)
    tint, depth = green - blue, green + 0.5 * (red - blue)
    total = red + green + blue
    high = float(np.percentile(tint, 99.5))
    if high < _TINT:
        return np.zeros(tint.shape, np.int32)
    levels = np.geomspace(0.06, max(0.85 * high, 0.07), LEVELS)
    images, rows = [], []
    for index, level in enumerate(levels):
        mask = cv2.morphologyEx((tint > level).astype(np.uint8), cv2.MORPH_OPEN, disc(2))
        mask = filled(mask, 0.002)
        labels, found = _objects(mask, tint + depth, tint, total)
        images.append(labels)
        rows += [(index, *row) for row in found]
    chosen = _best_of_each_nest(images, _leukocytes(rows))
    chosen = _refined(smooth, depth, part_touching(chosen), _nucleus_of_dark_cell)
    _, objects = cv2.connectedComponents(chosen, connectivity=8)
    chosen = _refined(smooth, depth, objects, _own_outline)
    return _joined_lobes(part_touching(chosen), depth)


def _objects(mask, channel, tint, total):
    """Return the labels and for each object its number, worth, area, tint, share of tint, box."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    inner = labels * (cv2.erode(mask, disc(2), borderValue=1) == 0)
    spread = cv2.dilate(labels.astype(np.float32), disc(2)).astype(np.int32)
    outer = spread * (mask == 0)
    level, level_var = _moments(labels, channel, count)
    edge, edge_var = _moments(inner, channel, count)
    out, out_var = _moments(outer, channel, count)
    tints, totals = _moments(labels, tint, count)[0], _moments(labels, total, count)[0]
    areas = stats[:, cv2.CC_STAT_AREA] / mask.size
    step = edge - out
    noise = np.sqrt(level_var + 0.5 * (edge_var + out_var) + 1e-3)
    worth = areas**0.25 * step * (level - out) / noise
    rows = [
        (i, worth[i], areas[i], tints[i], tints[i] / max(totals[i], 1e-3), stats[i, :4])
        for i in range(1, count)
        if step[i] > 0 and _SMALLEST < areas[i] < _LARGEST
    ]
    return labels, rows


def _moments(labels, values, count):
    """Return mean and variance of each object; of the ground, 0, nobody asks."""
    where = np.flatnonzero(labels)
    flat, values = labels.ravel()[where], values.ravel()[where]
    number = np.maximum(np.bincount(flat, minlength=count), 1)
    mean = np.bincount(flat, weights=values, minlength=count) / number
    square = np.bincount(flat, weights=values**2, minlength=count) / number
    return mean, np.maximum(square - mean**2, 0)


def _leukocytes(rows):
    """Keep the objects that take up light as nuclei do, best first."""
    rows = [row for row in rows if row[4] > _TINT and row[5] > _PURPLE]
    rows.sort(key=lambda row: -row[2])
    if not rows:
        return rows
    clear = [row for row in rows if row[2] > 0.4 * rows[0][2]]
    purple = max(row[5] for row in clear)
    tint = float(np.median([row[4] for row in clear if row[5] > _SHARE_PURPLE * purple]))
    # The darkest nuclei leave the camera too little light to show their hue.
    sure = [row for row in rows if row[5] > _SHARE_PURPLE * purple or row[4] > tint]
    return [row for row in sure if row[4] > _SHARE * tint]


def _best_of_each_nest(images, rows) -> np.ndarray:
    chosen = np.zeros(images[0].shape, np.uint8)
    for index, number, _, _, _, _, (x, y, w, h) in rows:
        window = np.s_[y : y + h, x : x + w]
        here = images[index][window] == number
        if not chosen[window][here].any():
            chosen[window][here] = 1
    if chosen.any():  # platelets and debris are small beside the field's nuclei, not its clumps
        areas = np.sort(np.bincount(part_touching(chosen).ravel())[1:])
        smallest = 0.2 * float(np.median(areas[areas >= 0.1 * areas[-1]]))
        _, labels, stats, _ = cv2.connectedComponentsWithStats(chosen, connectivity=4)
        keep = stats[:, cv2.CC_STAT_AREA] >= smallest
        keep[0] = False
        chosen = keep[labels].astype(np.uint8)
    return chosen


def _refined(density, depth, objects, settle) -> np.ndarray:
    """Return the mask after `settle(density, depth, mask)` had each object in a window of its own.

    What belongs to others stays theirs.
    """
    from scipy.ndimage import find_objects

    refined = (objects > 0).astype(np.uint8)
    for number, box in enumerate(find_objects(objects), start=1):
        margin = 4 + max(side.stop - side.start for side in box) // 2
        window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        here = objects[window]
        own = (here == number).astype(np.uint8)
        area = cv2.countNonZero(own)
        if area < _ROOM:
            continue
        found = settle(density[window], depth[window], own)
        if found is not None and 0.2 * area < cv2.countNonZero(found) < 1.3 * area:
            refined[window] = np.where(here == number, found, refined[window] | found * (here == 0))
    return refined


def _own_outline(density, depth, mask):
    return outlined(density, mask, **_RING)


def _nucleus_of_dark_cell(density, depth, mask):
    inner = nested(density, depth, mask)
    if inner is None:
        inner = _nucleus_by_hue(density, mask)
    return None if inner is None else outlined(density, inner, **_RING) & mask


def _nucleus_by_hue(density, cell) -> np.ndarray | None:
    """Return the nucleus inside `cell` when that was taken with its blue cytoplasm, or None.

    The dye of the cytoplasm takes up more of the red light against the green than that of
    the nucleus does, however much of either there is. So a rim of two pixels is told apart
    which is as dark as the nucleus. Chromatin has one hue, and is left alone.
    """
    inside = cv2.erode(cell, disc(1))
    within = inside > 0
    red, green, blue = cv2.split(density)
    total = red + green + blue
    hue = (green - red) / np.maximum(total, 0.1)
    mask = ((hue > otsu_level(hue[within])) & within).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(2))
    mask = filled(without_specks(mask, 0.15), 0.3)
    rest = inside & (1 - mask)
    area = cv2.countNonZero(mask)
    if area < 0.2 * cv2.countNonZero(cell) or cv2.countNonZero(rest) < 20:
        return None
    rim = mask - cv2.erode(mask, disc(1), borderValue=1)
    if cv2.countNonZero(rim) ** 2 > 1.4 * 4 * np.pi * area:
        return None  # a fold or granules
    if cv2.mean(hue, mask)[0] - cv2.mean(hue, rest)[0] < _HUES_APART:
        return None
    if cv2.mean(total, rest)[0] > 1.1 * cv2.mean(total, mask)[0]:
        return None  # another cell across this one
    score = cv2.transform(density, contrast_weights(density, mask, rest, 0.1)[None])
    (a, sa), (b, sb) = (cv2.meanStdDev(score, mask=part) for part in (mask, rest))
    apart = float((a - b).item() / np.sqrt(0.5 * (sa**2 + sb**2).item() + 1e-6))
    return mask if apart > _APART else None


def part_touching(mask: np.ndarray) -> np.ndarray:
    """Label the nuclei; where two touch, part them at the waist by watershed.

    Vincent and Soille 1991, 10.1109/34.87344, on the distance from the outline.
    """
    from scipy.ndimage import find_objects
    from skimage.measure import label
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    away = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    away = cv2.GaussianBlur(away, (0, 0), 1)
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    peaks = np.zeros(labels.max() + 1, np.float32)
    np.maximum.at(peaks, labels.ravel(), away.ravel())
    typical = float(np.median(peaks[1:]))
    tops = np.zeros(mask.shape, np.uint8)
    for number, box in enumerate(find_objects(labels), start=1):  # less to sort than the field
        own = labels[box] == number
        tops[box] |= h_maxima(np.where(own, away[box], 0), max(0.75, 0.12 * typical)) & own
    tops = label(tops)
    return watershed(-away, tops, mask=mask > 0).astype(np.int32)


def _joined_lobes(labels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Give the lobes of one nucleus one label, and number the nuclei in the order of reading."""
    count = int(labels.max())
    if not count:
        return labels
    areas = np.bincount(labels.ravel(), minlength=count + 1).astype(float)
    level = np.bincount(labels.ravel(), weights=depth.ravel(), minlength=count + 1) / np.maximum(
        areas, 1
    )
    whole = float(np.median(areas[1:]))
    radius = float(np.sqrt(whole / np.pi))
    middles = np.array([np.argwhere(labels == i).mean(0) for i in range(1, count + 1)])
    parent = list(range(count + 1))
    for one in range(1, count + 1):
        for other in range(one + 1, count + 1):
            small = max(areas[one], areas[other]) < 0.55 * whole
            apart = np.hypot(*(middles[one - 1] - middles[other - 1]))
            if not small or apart > 1.3 * radius:
                continue
            way = np.round(np.linspace(middles[one - 1], middles[other - 1], 20)).astype(int)
            if depth[way[:, 0], way[:, 1]].min() > 0.25 * min(level[one], level[other]):
                parent[_root(parent, other)] = _root(parent, one)
    roots = np.array([_root(parent, i) for i in range(count + 1)])
    joined = roots[labels]
    first = np.full(count + 1, labels.size)
    present, where = np.unique(joined.ravel(), return_index=True)
    first[present] = where
    order = [i for i in np.argsort(first, kind="stable") if i and first[i] < labels.size]
    number = np.zeros(count + 1, np.int32)
    number[order] = np.arange(1, len(order) + 1)
    return number[joined]


def _root(parent, i) -> int:
    while parent[i] != i:
        i = parent[i]
    return i
