"""The nucleus of one leukocyte on bright ground: candidates by colour, choice by edge.

Private to :mod:`helpers.cells.segmentation`.
"""

from __future__ import annotations

import cv2
import numpy as np

CLUSTERS = 6
LEVELS = 10
_APART = 3.2  # standard deviations between a nucleus and its own dark cytoplasm
_APART_BESIDE = 4.5  # and when it lies at the cell's edge, as in a plasma cell
_SAMPLE = 3000
_LARGEST, _CUT = 0.8, 0.4  # of the image's area, of the length of its border


def ground_light(image: np.ndarray) -> np.ndarray:
    """Return the colour of the bright ground, float32 (3,)."""
    smooth = cv2.blur(image, (3, 3))
    total = smooth.sum(axis=2, dtype=np.int32)
    bright = total >= 0.94 * np.percentile(total, 98)
    return np.median(smooth[bright], axis=0).astype(np.float32)


def optical_density(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Return -ln of the part of `light` that each pixel lets through, float32 (h, w, 3)."""
    steps = np.arange(256, dtype=np.float32)[:, None] + 1
    table = -np.log(steps / (light[None] + 1))
    return cv2.LUT(image, np.ascontiguousarray(table, dtype=np.float32)[None])


def balanced_lab(density: np.ndarray) -> np.ndarray:
    """Return L*a*b* of the image as if its ground were white, float32 (h, w, 3)."""
    return cv2.cvtColor(np.clip(cv2.exp(-density), 0, 1), cv2.COLOR_RGB2Lab)


def colour_clusters(lab: np.ndarray, order: np.ndarray, count: int) -> np.ndarray:
    """Return k-means labels (h, w), 0 .. `count` - 1, in rising mean of `order`.

    Lloyd's algorithm on an even sample of the pixels. It starts from levels of `order`,
    a float image (h, w), and so needs no chance. Lloyd 1982, 10.1109/TIT.1982.1056489.
    """
    pixels, key = lab.reshape(-1, 3), order.reshape(-1)
    step = max(1, len(pixels) // _SAMPLE)
    some, some_key = pixels[::step], key[::step]
    low, high = np.percentile(some_key, [2, 99.5])
    parts = np.clip((some_key - low) / max(high - low, 1e-6) * count, 0, count - 1).astype(int)
    centres = np.stack(
        [some[parts == i].mean(0) if (parts == i).any() else some[i] for i in range(count)]
    )
    for _ in range(12):
        nearest = _nearest(some, centres)
        moved = np.stack(
            [
                some[nearest == i].mean(0) if (nearest == i).any() else centres[i]
                for i in range(count)
            ]
        )
        if np.abs(moved - centres).max() < 0.05:
            break
        centres = moved
    labels = _nearest(pixels, centres)
    total = np.bincount(labels, weights=key, minlength=count)
    mean = total / np.maximum(np.bincount(labels, minlength=count), 1)
    rank = np.empty(count, np.uint8)
    rank[np.argsort(mean, kind="stable")] = np.arange(count)
    return rank[labels].reshape(order.shape)


def _nearest(pixels, centres) -> np.ndarray:
    return np.argmin((centres**2).sum(1) - 2 * pixels @ centres.T, axis=1)


def find_nucleus(density: np.ndarray) -> np.ndarray | None:
    """Return the nucleus of the leukocyte in the middle, bool (h, w), or None."""
    smooth = cv2.GaussianBlur(density, (0, 0), 0.8)
    red, green, blue = cv2.split(smooth)
    tint, depth = green - blue, green + 0.5 * (red - blue)
    best, chosen = 0.0, None
    for mask, weight in _candidates(smooth, tint, depth):
        value = weight * _edge(depth + tint, mask)
        if value > best:
            best, chosen = value, mask
    if chosen is None or _is_red(smooth, chosen):
        return None
    chosen = outlined(smooth, chosen)
    inner = nested(smooth, depth, chosen)
    if inner is not None:
        chosen = outlined(smooth, inner)
    return cv2.medianBlur(chosen, 3)


def outlined(density, mask, reach=0.8, shrink=0.25) -> np.ndarray:
    """Settle the outline in the channel that shows it best; both follow from the other.

    The channel is told by the nucleus and by what lies around it, up to `reach` of its
    radius away. The less `shrink`, the less counts what differs within each of the two.
    """
    for _ in range(2):
        mask = settled(_contrast_channel(density, mask, reach, shrink), mask)
    return mask


def nested(density, depth, cell) -> np.ndarray | None:
    """Return the nucleus inside `cell` when that was a dark cell as a whole, or None.

    Halves of one textured nucleus lie some two standard deviations apart, a nucleus and
    its cytoplasm three and more.
    """
    inside = cv2.erode(cell, disc(2))
    if cv2.countNonZero(inside) < 60:
        return None
    within, core = inside > 0, cv2.erode(inside, disc(2))
    pixels = density[within]
    _, axes = np.linalg.eigh(np.cov(pixels.T))
    main = axes[:, -1] * np.sign(axes[:, -1].sum() or 1.0)
    best, chosen = _APART, None
    for weights in ((0.5, 1, -0.5), (0, 1, -1), (1, 0, 0), (0, 1, 0), main):
        channel = cv2.transform(density, np.float32([weights]))
        mask = ((channel > otsu_level(channel[within])) & within).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(2))
        mask = filled(without_specks(mask, 0.15), 0.3)
        rest = inside & (1 - mask)
        if min(cv2.countNonZero(mask), cv2.countNonZero(rest)) < 30:
            continue
        rim = mask - cv2.erode(mask, disc(1), borderValue=1)
        length, area = cv2.countNonZero(rim), cv2.countNonZero(mask)
        if area < 0.2 * cv2.countNonZero(cell) or length**2 > 3.2 * 4 * np.pi * area:
            continue  # granules or a fold are small or no compact thing
        beside = cv2.countNonZero(rim & (1 - core)) / length
        if beside > (0.75 if length**2 < 4 * np.pi * area else 0.33):
            continue  # a darker half, a lobe across another, a red cell over the edge
        gain = 1 - cv2.mean(depth, rest)[0] / max(cv2.mean(depth, mask)[0], 0.05)
        score = cv2.transform(density, contrast_weights(density, mask, rest, 0.25)[None])
        (a, sa), (b, sb) = (cv2.meanStdDev(score, mask=part) for part in (mask, rest))
        apart = float((a - b).item() / np.sqrt(0.5 * (sa**2 + sb**2).item() + 1e-6))
        if beside > 0.33 and apart < _APART_BESIDE:
            continue
        if apart > best and gain > 0.2:
            best, chosen = apart, mask
    return chosen


def _is_red(density, mask) -> bool:
    """Tell whether what was found takes up light as red cells do: no red, as much blue as green."""
    red, green, blue = cv2.mean(density, mask)[:3]
    return green - blue < 0.02 and red < 0.35 * green


def _candidates(smooth, tint, depth):
    """Yield what could be the nucleus, each with the weight of its place."""
    labels = colour_clusters(balanced_lab(smooth), tint + depth, CLUSTERS)
    masks = [labels >= lowest for lowest in range(1, CLUSTERS)]
    for channel in (tint, depth):
        low, high = np.percentile(channel, [30, 99.7])
        masks += [channel > level for level in np.linspace(low, high, LEVELS + 2)[1:-1]]
    for mask in masks:
        found = central(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(1)), depth)
        if found is not None:
            yield filled(found[0]), found[1]


def central(mask: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Return the component that is large and near the middle, with its lobes, and its weight.

    The weight, 0 to 1, falls with the distance from the middle and where the image's
    border cuts the component.
    """
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return None
    height, width = mask.shape
    away = np.hypot(centres[:, 0] - width / 2, centres[:, 1] - height / 2) / min(height, width)
    x, y, w, h, areas = stats.T
    cut = (x == 0) | (y == 0) | (x + w == width) | (y + h == height)
    weight = np.exp(-((away / 0.35) ** 2)) * np.where(cut, 0.5, 1.0)
    importance = areas * weight
    importance[0] = 0
    best = int(np.argmax(importance))
    if not 0.004 < areas[best] / mask.size < _LARGEST:
        return None
    if cut[best] and _on_border(labels == best) > _CUT:
        return None
    main = (labels == best).astype(np.uint8)
    kept = main.copy()
    distance = cv2.distanceTransform(1 - main, cv2.DIST_L2, 5)
    radius = float(np.sqrt(areas[best] / np.pi))
    level = float(depth[main > 0].mean())
    for lobe in np.flatnonzero(~cut & (areas > 0.06 * areas[best])):
        if lobe in (0, best):
            continue
        gap = float(distance[labels == lobe].min())
        near = gap < 0.75 * radius
        alike = areas[lobe] > 0.2 * areas[best] and depth[labels == lobe].mean() > 0.8 * level
        if near or (alike and gap < 2.2 * radius and _joined(depth, main, labels == lobe, level)):
            kept[labels == lobe] = 1
    return kept, float(weight[best])


def _on_border(mask) -> float:
    """Return the part of the image's border that lies in the mask."""
    return float(np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]]).mean())


def _joined(depth, one, other, level) -> bool:
    """Tell whether the straight way between two lobes stays off the ground."""
    ends = [np.argwhere(m).mean(0) for m in (one, other)]
    way = np.round(np.linspace(*ends, 40)).astype(int)
    return bool(depth[way[:, 0], way[:, 1]].min() > 0.12 * level)


def _edge(channel, mask) -> float:
    """Return how high and clean the step is that the mask's outline stands on.

    The step from two pixels outside to two pixels inside, times the mask's own contrast
    in standard deviations: the first finds outlines, the second wants one even thing inside.
    """
    inner = mask - cv2.erode(mask, disc(2), borderValue=1)
    outer = cv2.dilate(mask, disc(2)) - mask
    if not inner.any() or not outer.any():
        return 0.0
    level, spread = cv2.meanStdDev(channel, mask=mask)
    out, out_spread = cv2.meanStdDev(channel, mask=outer)
    edge, edge_spread = cv2.meanStdDev(channel, mask=inner)
    step = float(edge[0, 0] - out[0, 0])
    noise = float(spread[0, 0] ** 2 + 0.5 * (edge_spread[0, 0] ** 2 + out_spread[0, 0] ** 2)) + 1e-3
    size = float(mask.mean()) ** 0.5
    return size * step * float(level[0, 0] - out[0, 0]) / noise**0.5 if step > 0 else 0.0


def _contrast_channel(density, mask, reach, shrink) -> np.ndarray:
    """Return the mixture of R, G, B that parts the nucleus best from what is around it."""
    radius = float(np.sqrt(cv2.countNonZero(mask) / np.pi))
    core = cv2.erode(mask, disc(2))
    if cv2.countNonZero(core) < 20:
        core = mask
    near = cv2.dilate(mask, disc(2))
    around = cv2.dilate(mask, disc(max(4, int(reach * radius)))) - near
    if not around.any():
        around = 1 - mask
    return cv2.transform(density, contrast_weights(density, core, around, shrink)[None])


def contrast_weights(density, one, other, shrink) -> np.ndarray:
    """Return Fisher's linear discriminant of two masks' colours, float32 (3,).

    `shrink` draws the pooled covariance towards a multiple of unity.
    Fisher 1936, 10.1111/j.1469-1809.1936.tb02137.x.
    """
    step = 1 + max(density.shape) // 160  # a grid of pixels is sample enough
    density, one, other = (part[::step, ::step] for part in (density, one, other))
    a, b = density[one > 0], density[other > 0]
    if min(len(a), len(b)) < 4:
        return np.float32([0.25, 0.5, -0.25])
    spread = 0.5 * (np.cov(a.T) + np.cov(b.T))
    spread += (shrink * np.trace(spread) / 3 + 1e-4) * np.eye(3)
    weights = np.linalg.solve(spread, a.mean(0) - b.mean(0))
    return (weights / (np.abs(weights).sum() + 1e-9)).astype(np.float32)


def settled(score: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Move the outline to half the height of the step that it stands on, place by place.

    The idea of local region-based contours: Lankton and Tannenbaum 2008, 10.1109/TIP.2008.2004611.
    """
    sigma = max(2.0, 0.3 * float(np.sqrt(cv2.countNonZero(mask) / np.pi)))
    for _ in range(3):
        inner, outer = cv2.erode(mask, disc(1)), 1 - cv2.dilate(mask, disc(2))
        middle = 0.5 * (local_mean(score, inner, sigma) + local_mean(score, outer, sigma))
        mask = cv2.dilate(mask, disc(3)) & (score > middle).astype(np.uint8)
        mask = filled(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(1)))
        mask = without_specks(mask, 0.04)
    return mask


def otsu_level(values: np.ndarray) -> float:
    """Return Otsu's threshold of float values. Otsu 1979, 10.1109/TSMC.1979.4310076."""
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    level, _ = cv2.threshold(scaled[None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return low + (level + 0.5) * (high - low) / 255


def local_mean(values: np.ndarray, where: np.ndarray, sigma: float) -> np.ndarray:
    """Return at each pixel the mean of `values` on `where`, weighted by a Gaussian of `sigma`."""
    weight = where.astype(np.float32)
    top = values * weight
    overall = float(top.sum() / max(float(weight.sum()), 1.0))
    size = values.shape[1::-1]
    shrink = max(1, int(sigma / 2.5))  # a broad mean needs no fine grid
    if shrink > 1:
        small = tuple(max(4, side // shrink) for side in size)
        top = cv2.resize(top, small, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
    top = cv2.GaussianBlur(top, (0, 0), sigma / shrink)
    weight = cv2.GaussianBlur(weight, (0, 0), sigma / shrink)
    mean = (top + 1e-3 * overall) / (weight + 1e-3)
    return cv2.resize(mean, size, interpolation=cv2.INTER_LINEAR) if shrink > 1 else mean


def is_whole(mask: np.ndarray) -> bool:
    """Return whether a mask is one piece, which its outlines tell sooner than labels do."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return len(contours) == 1


def largest(mask: np.ndarray) -> np.ndarray:
    """Keep the largest component."""
    if is_whole(mask):
        return mask
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return np.zeros_like(mask)
    return (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)


def without_specks(mask: np.ndarray, share: float) -> np.ndarray:
    """Drop components below `share` of the largest one's area."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA]
    keep = areas >= share * areas[1:].max()
    keep[0] = False
    return keep[labels].astype(np.uint8)


def with_nucleus(cell: np.ndarray, nucleus: np.ndarray) -> np.ndarray:
    """Keep the components of `cell` that hold a part of the nucleus."""
    _, labels = cv2.connectedComponents(cell, connectivity=4)
    keep = np.zeros(labels.max() + 1, bool)
    keep[np.unique(labels[nucleus > 0])] = True
    keep[0] = False
    return keep[labels].astype(np.uint8)


def filled(mask: np.ndarray, share: float = 0.06) -> np.ndarray:
    """Fill holes that are smaller than `share` of the mask."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    x, y, w, h, areas = stats.T
    rim = (x == 0) | (y == 0) | (x + w == mask.shape[1]) | (y + h == mask.shape[0])
    fill = ~rim & (areas < share * mask.sum())
    fill[0] = True
    return fill[labels].astype(np.uint8) if count > 1 else mask


def disc(radius: int) -> np.ndarray:
    """Return a round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
