"""Single leukocytes on bright smears, drawn with their true masks, for tests of segmentation.

Every image has a stain, a camera and a light of its own, far apart from one another on
purpose: what holds over all of them does not hang on one look. This is no part of the
course: the phantoms that students meet are in `helpers.datasets`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

KINDS = ("lymphocyte", "monocyte", "neutrophil", "eosinophil", "basophil", "band", "blast")
UP = 2  # drawn at twice the size


@dataclass(frozen=True)
class Smear:
    """An image (n, n, 3) uint8 RGB with the true masks (n, n) bool of its middle leukocyte."""

    image: np.ndarray
    nucleus: np.ndarray
    cytoplasm: np.ndarray
    kind: str
    contrast: float  # grey levels between nucleus and cytoplasm, in the best channel


def draw(seed: int, side: int = 120, kind: str | None = None, **wishes) -> Smear:
    """Draw one; `wishes` set traits of the look (see `_look`) instead of chance."""
    rng = np.random.default_rng([41, seed])
    kind = kind or KINDS[int(rng.integers(len(KINDS)))]
    look = {**_look(rng), **wishes}
    n = side * UP
    size = n / 240
    radius = rng.uniform(48, 92) * size * (0.8 if kind == "lymphocyte" else 1)
    centre = n / 2 + rng.normal(0, 0.05 * n, 2)
    cell = _blob(rng, n, centre, radius, 0.05)
    core = _nucleus(rng, kind, n, centre, radius) & (cv2.erode(cell, _disc(2)) > 0)
    other = np.zeros((n, n), np.uint8)
    if rng.uniform() < look["second"]:
        turn = rng.uniform(0, 2 * np.pi)
        where = n / 2 + n * rng.uniform(0.56, 0.66) * np.array([np.cos(turn), np.sin(turn)])
        other = _blob(rng, n, where, radius * rng.uniform(0.5, 0.8), 0.06)
        other[cv2.dilate(cell, _disc(3)) > 0] = 0

    reds, pallor = _red_cells(rng, n, cell, radius, look)
    cell_soft, core_soft = _soft(cell, look["edge"]), _soft(core.astype(np.uint8), look["edge"])
    chromatin = 1 + look["clumps"] * (0.6 * _noise(rng, n, 12) + 0.4 * _noise(rng, n, 5))
    amount = np.clip(core_soft * chromatin, 0, None)
    plasma = cell_soft * (1 - 0.8 * core_soft) * (1 + 0.15 * _noise(rng, n, 10))
    density = np.zeros((n, n, 3), np.float32)
    density += amount[..., None] * look["nucleus"]
    density += plasma[..., None] * look["plasma"]
    density += (reds * pallor * (1 - 0.9 * cell_soft))[..., None] * look["red"]
    density += _granules(rng, kind, n, cell, core, look)
    density += (_soft(other, 2) * chromatin)[..., None] * look["nucleus"]
    density += _platelets(rng, n, cell, look)[..., None] * look["nucleus"] * 0.6
    image = _photographed(rng, np.maximum(density, 0), look, side)
    shrink = (side, side)
    mask = cv2.resize(core.astype(np.float32), shrink, interpolation=cv2.INTER_AREA) > 0.5
    whole = cv2.resize(cell.astype(np.float32), shrink, interpolation=cv2.INTER_AREA) > 0.5
    plain = whole & ~mask
    inner = image[mask].mean(0) if mask.any() else np.zeros(3)
    contrast = float(np.abs(inner - image[plain].mean(0)).max()) if plain.any() else 0.0
    return Smear(image, mask, plain, kind, contrast)


def _look(rng: np.random.Generator) -> dict:
    """Return the traits of one image: densities (R, G, B) of the dyes, light, camera."""
    strength = rng.uniform(0.55, 1.5)
    nucleus = strength * np.array(
        [rng.uniform(0.55, 1.0), rng.uniform(0.85, 1.15), rng.uniform(0.15, 0.5)]
    )
    faint = rng.choice([0.1, 0.4, 0.8, 1.2], p=[0.25, 0.3, 0.3, 0.15])
    plasma = faint * (
        np.array([0.30, 0.32, 0.10])
        if rng.uniform() < 0.6
        else np.array([0.10, 0.30, 0.16])  # bluish or pink
    )
    reds = [(0.06, 0.35, 0.40), (0.05, 0.20, 0.38), (0.10, 0.45, 0.35), (0.34, 0.27, 0.12)]
    red = np.array(reds[rng.choice(4, p=[0.35, 0.3, 0.25, 0.1])]) * rng.uniform(0.5, 1.5)
    grounds = [(228, 222, 178), (205, 200, 185), (245, 245, 243), (225, 205, 215), (200, 215, 235)]
    ground = np.array(grounds[rng.choice(5, p=[0.4, 0.25, 0.15, 0.1, 0.1])], float)
    return {
        "nucleus": nucleus.astype(np.float32),
        "plasma": plasma.astype(np.float32),
        "red": red.astype(np.float32),
        "ground": np.clip(ground * rng.uniform(0.85, 1.1) + rng.normal(0, 6, 3), 120, 252),
        "clumps": rng.uniform(0.03, 0.25),
        "edge": rng.uniform(0.8, 3.0),
        "blur": rng.uniform(0.4, 1.6),
        "noise": rng.uniform(0.5, 4.0),
        "gradient": rng.normal(0, 0.05, 2),
        "gamma": rng.uniform(0.75, 1.25),
        "saturation": rng.uniform(0.7, 1.3),
        "sharpen": rng.choice([0.0, 0.8]),
        "quality": int(rng.choice([100, 92, 80, 65])),
        "crowd": rng.uniform(0.2, 1.0),
        "touching": rng.uniform() < 0.6,
        "second": 0.25,
        "platelets": rng.uniform() < 0.4,
        "fine": rng.uniform(0.0, 0.25),
    }


def _nucleus(rng, kind, n, centre, radius) -> np.ndarray:
    off = centre + rng.normal(0, 0.06 * radius, 2)
    if kind in ("lymphocyte", "blast"):
        share = rng.uniform(0.72, 0.92)
        core = _blob(rng, n, off, share * radius, 0.05)
    elif kind == "monocyte":
        core = _blob(rng, n, off, rng.uniform(0.62, 0.8) * radius, 0.10)
        turn = rng.uniform(0, 2 * np.pi)
        bite = off + radius * rng.uniform(0.55, 0.8) * np.array([np.cos(turn), np.sin(turn)])
        core[_blob(rng, n, bite, radius * rng.uniform(0.2, 0.4), 0.1) > 0] = 0
    elif kind == "band":
        core = _string(rng, n, off, radius, 14, 0.20, 0.24, rng.uniform(3.0, 4.6))
    elif kind == "basophil":
        core = _blob(rng, n, off, rng.uniform(0.5, 0.7) * radius, 0.14)
    else:
        lobes = 2 if kind == "eosinophil" else int(rng.integers(2, 6))
        wide = 0.36 if lobes == 2 else 0.27
        core = _string(rng, n, off, radius, lobes, wide * 0.85, wide * 1.1, rng.uniform(2.2, 5.0))
    return core > 0


def _string(rng, n, centre, radius, lobes, low, high, turn) -> np.ndarray:
    """Return lobes along an arc, joined by thin bridges."""
    core = np.zeros((n, n), np.uint8)
    start = rng.uniform(0, 2 * np.pi)
    arc = radius * rng.uniform(0.40, 0.55)
    angles = start + np.linspace(0, turn, lobes)
    points = centre + arc * np.stack([np.cos(angles), np.sin(angles)], 1)
    if lobes < 8:
        points += rng.normal(0, 0.05 * radius, points.shape)
    for point in points:
        core |= _blob(rng, n, point, radius * rng.uniform(low, high), 0.07 if lobes < 8 else 0.02)
    thick = max(2, int(radius * rng.uniform(0.06, 0.16)))
    cv2.polylines(core, [np.round(points).astype(np.int32)], False, 1, thick)
    return core


def _red_cells(rng, n, cell, radius, look):
    reds, pallor = np.zeros((n, n), np.float32), np.ones((n, n), np.float32)
    own = radius * rng.uniform(0.55, 0.85)
    taken = cv2.dilate(cell, _disc(2 if look["touching"] else 8))
    for _ in range(int(26 * look["crowd"])):
        where = rng.uniform(-0.1 * n, 1.1 * n, 2)
        size = own * rng.uniform(0.85, 1.15)
        blob = _blob(rng, n, where, size, 0.04)
        overlap = (blob & taken).sum() / max(blob.sum(), 1)
        if overlap > (0.15 if look["touching"] else 0.0):
            continue
        taken |= blob
        np.maximum(reds, _soft(blob, look["edge"]), out=reds)
        dip = rng.uniform(0, 0.8) * _soft(_blob(rng, n, where, 0.45 * size, 0.03), 0.15 * size)
        pallor *= 1 - dip
    return reds, pallor


def _granules(rng, kind, n, cell, core, look) -> np.ndarray:
    """Return the density of red, dark or fine granules in the cytoplasm."""
    kinds = {
        "eosinophil": (150, 2.6, np.array([0.10, 0.55, 0.50]), 0.1),
        "basophil": (60, 3.0, look["nucleus"] * 0.9, 0.6),
        "neutrophil": (200, 1.6, look["fine"] * np.array([0.5, 1.0, 0.4]), 0.0),
        "band": (200, 1.6, look["fine"] * np.array([0.5, 1.0, 0.4]), 0.0),
    }
    canvas = np.zeros((n, n), np.float32)
    if kind not in kinds:
        return canvas[..., None] * np.zeros(3, np.float32)
    count, size, dye, over = kinds[kind]
    rows, columns = np.nonzero(cell)
    for index in rng.integers(0, len(rows), count):
        y, x = int(rows[index]), int(columns[index])
        if core[y, x] and rng.uniform() > over:
            continue
        cv2.circle(canvas, (x, y), max(1, int(size * rng.uniform(0.7, 1.3))), 1.0, -1)
    return cv2.GaussianBlur(canvas, (0, 0), 1)[..., None] * dye.astype(np.float32)


def _platelets(rng, n, cell, look) -> np.ndarray:
    canvas = np.zeros((n, n), np.uint8)
    if look["platelets"]:
        for _ in range(int(rng.integers(1, 4))):
            blob = _blob(rng, n, rng.uniform(0, n, 2), rng.uniform(5, 11), 0.12)
            if not (blob & cell).any():
                canvas |= blob
    return _soft(canvas, 2)


def _photographed(rng, density, look, side) -> np.ndarray:
    n = len(density)
    ramp = np.linspace(-1, 1, n)
    even = 1 + look["gradient"][0] * ramp[:, None] + look["gradient"][1] * ramp
    light = np.exp(-density) * even[..., None]
    light = cv2.GaussianBlur(light, (0, 0), UP * look["blur"])
    light = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
    light = light ** look["gamma"]
    grey = light.mean(axis=2, keepdims=True)
    light = grey + look["saturation"] * (light - grey)
    image = light * look["ground"]
    if look["sharpen"]:
        image = image + look["sharpen"] * (image - cv2.GaussianBlur(image, (0, 0), 1.5))
    image = image + rng.normal(0, look["noise"], image.shape)
    image = np.clip(np.round(image), 0, 255).astype(np.uint8)
    if look["quality"] < 100:
        _, code = cv2.imencode(
            ".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, look["quality"]]
        )
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(image)


def _blob(rng, n, centre, radius, uneven) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    shape = np.ones(72)
    for order in (2, 3, 4, 5):
        size = uneven * rng.normal() / (order - 1) ** 0.7
        shape += size * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    points = centre + radius * np.stack([shape * np.cos(angles), shape * np.sin(angles)], axis=1)
    canvas = np.zeros((n, n), np.uint8)
    cv2.fillPoly(canvas, np.round(points * 16).astype(np.int32)[None], 1, shift=4)
    return canvas


def _soft(mask, sigma) -> np.ndarray:
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), float(sigma))


def _noise(rng, n, scale) -> np.ndarray:
    cells = max(4, int(np.ceil(n / scale)) + 2)
    return 1.3 * cv2.resize(
        rng.standard_normal((cells, cells), dtype=np.float32), (n, n), interpolation=cv2.INTER_CUBIC
    )


def _disc(radius) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
