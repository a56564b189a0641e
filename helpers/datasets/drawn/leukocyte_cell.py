"""Draws one phantom leukocyte: nucleus, granules, cytoplasm, and the smear around it.

The kinds differ as a haematology atlas describes them in a Romanowsky (Giemsa) stain:

- neutrophil: two to five lobes joined by thin threads, or a curved band; pale pink
  cytoplasm full of fine granules;
- eosinophil: two lobes; coarse red-orange granules, closely packed;
- basophil: coarse blue-black granules that lie over the nucleus too;
- lymphocyte: the smallest; a round clumped nucleus with a thin blue rim;
- monocyte: the largest; a kidney-shaped lacy nucleus in grey-blue cytoplasm
  with vacuoles.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from helpers.base.errors import DatasetError
from helpers.datasets.drawn.brushes import (
    angles_from_random,
    blob,
    chromatin,
    harmonics,
    noise,
    notched,
    random_direction,
)
from helpers.datasets.drawn.optics import GLASS, Style, photographed

#: The five kinds, in the order in which they are commonly counted.
KINDS = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
#: Side of an image in pixels.
SIDE = 128
#: Pixels per micrometre at zoom 1.
PER_MICRON = 4.7
#: Radius of a cell in micrometres: mean and standard deviation.
RADII = {
    "neutrophil": (6.5, 0.4),
    "eosinophil": (6.9, 0.45),
    "basophil": (6.2, 0.4),
    "lymphocyte": (5.1, 0.55),
    "monocyte": (8.2, 0.6),
}

# Optical density (-ln of the light let through) in R, G, B per unit of each tissue.
_NUCLEUS = {
    "neutrophil": np.array([0.82, 1.42, 0.44], np.float32),
    "eosinophil": np.array([0.74, 1.28, 0.38], np.float32),
    "basophil": np.array([0.60, 1.00, 0.34], np.float32),
    "lymphocyte": np.array([0.86, 1.40, 0.42], np.float32),
    "monocyte": np.array([0.60, 1.02, 0.30], np.float32),
}
_CYTOPLASM = {
    "neutrophil": np.array([0.12, 0.27, 0.13], np.float32),
    "eosinophil": np.array([0.14, 0.30, 0.19], np.float32),
    "basophil": np.array([0.18, 0.29, 0.12], np.float32),
    "lymphocyte": np.array([0.42, 0.31, 0.08], np.float32),
    "monocyte": np.array([0.38, 0.40, 0.15], np.float32),
}
_DUST = np.array([0.10, 0.22, 0.10], np.float32)
_ORANGE = np.array([0.08, 0.66, 0.80], np.float32)
_BLUE_BLACK = np.array([1.15, 1.45, 0.55], np.float32)
_AZURE = np.array([0.28, 0.45, 0.12], np.float32)
_RED_CELL = np.array([0.09, 0.42, 0.40], np.float32)
_PLATELET = np.array([0.35, 0.55, 0.18], np.float32)
_ANGLES = np.linspace(0, 2 * np.pi, 128, endpoint=False)


@dataclass(frozen=True)
class Slide(Style):
    """The style of a subject's slide, with the smear around the cell.

    Attributes
    ----------
    glass : tuple of float
        Colour of the empty glass in R, G, B of 255.
    crowd : float
        Largest number of red cells in an image.
    pallor : float
        How pale the middle of a red cell is, 0 to 1.
    """

    blur: float = 0.8
    noise: float = 1.8
    glass: tuple[float, float, float] = (236.0, 229.0, 220.0)
    crowd: float = 9.0
    pallor: float = 0.45


@dataclass(frozen=True)
class Leukocyte:
    """A drawn cell and the truth about it.

    Attributes
    ----------
    image : numpy.ndarray
        (SIDE, SIDE, 3), uint8, RGB.
    nucleus, cytoplasm : numpy.ndarray
        (SIDE, SIDE), bool; they do not overlap. A granule over the nucleus counts
        as nucleus.
    """

    image: np.ndarray
    nucleus: np.ndarray
    cytoplasm: np.ndarray


def draw_leukocyte(kind: str, slide: Slide, rng: np.random.Generator) -> Leukocyte:
    """Draw one white cell of a kind in the style of a subject's slide.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    slide : Slide
        Of the subject.
    rng : numpy.random.Generator
        The only source of randomness: the same state draws the same pixels.

    Returns
    -------
    Leukocyte

    Raises
    ------
    DatasetError
        When the kind is unknown.
    """
    check_kind(kind)
    scale = PER_MICRON * slide.zoom
    mean, spread = RADII[kind]
    microns = mean + spread * float(np.clip(rng.standard_normal(), -2, 2))
    radius = min(microns * scale, 0.47 * SIDE)
    room = max(SIDE / 2 - radius - 3, 0)
    middle = SIDE / 2 + np.clip(rng.normal(0, 3, 2), -min(room, 6), min(room, 6))
    uneven = {"monocyte": 0.035, "lymphocyte": 0.012}.get(kind, 0.018)
    shape = harmonics(rng, _ANGLES, uneven * np.array([1.2, 1.0, 0.7, 0.5, 0.4]))
    cell = blob(_ANGLES, radius * shape, middle, SIDE)
    nucleus = _roughened(rng, _NUCLEI[kind](rng, radius, middle), radius)
    nucleus = np.minimum(nucleus, blob(_ANGLES, 0.95 * radius * shape, middle, SIDE))

    red = _smear(rng, slide, middle, radius, scale)
    density = _tissue(rng, kind, slide, cell, nucleus, scale)
    density += red * (1 - cv2.GaussianBlur(cell, (0, 0), 0.8)[..., None])
    # `photographed` takes C-NMC's glass; a smear's glass has another colour.
    offset = np.log(np.asarray(slide.glass, np.float32) / GLASS)
    light = photographed(rng, (density - offset).astype(np.float32), slide)
    image = np.clip(np.round(light), 0, 255).astype(np.uint8)
    in_nucleus = nucleus > 0.5
    return Leukocyte(image, in_nucleus, (cell > 0.5) & ~in_nucleus)


def check_kind(kind: str) -> None:
    """Raise a DatasetError when there is no such kind of phantom leukocyte."""
    if kind not in KINDS:
        raise DatasetError(f"A phantom leukocyte is one of {', '.join(KINDS)}, not {kind!r}.")


# --- nuclei: each function returns a mask, float32 (SIDE, SIDE) ---


def _sausage(points: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return a mask of discs with radii `widths`, in pixels, along `points`."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for (x, y), width in zip(points, widths, strict=True):
        centre = (round(float(x) * 16), round(float(y) * 16))
        cv2.circle(canvas, centre, max(round(float(width) * 16), 8), 255, -1, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _arc(rng, radius, middle, turn, bend, count=72):
    """Return the points of an arc of `turn` radians, and where on it each lies, 0 to 1.

    The arc's radius is `bend` times the cell's.
    """
    t = np.linspace(-0.5, 0.5, count)
    angle = t * turn
    own = bend * radius * np.stack([np.cos(angle), np.sin(angle) * rng.uniform(0.9, 1.25)], axis=1)
    own -= 0.75 * own.mean(axis=0)
    direction = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(direction), np.sin(direction)
    return middle + own @ np.array([[cos, sin], [-sin, cos]]), t + 0.5


def _lobed(rng, radius, middle, lobes, width, thread, turn, bend, long=0.14):
    """Return a nucleus of `lobes` lobes on an arc, joined by threads."""
    points, t = _arc(rng, radius, middle, turn, bend)
    places = (np.arange(lobes) + 0.5) / lobes
    if lobes > 2:
        places = places + rng.uniform(-0.12, 0.12, lobes) / lobes
    sizes = width * radius * rng.uniform(0.8, 1.15, lobes)
    reach = long * rng.uniform(0.6, 1.7, lobes)[:, None] / lobes
    bumps = sizes[:, None] * np.sqrt(np.maximum(1 - ((t[None] - places[:, None]) / reach) ** 2, 0))
    wobble = rng.normal(0, 0.03 * radius, (lobes, 2))
    near = np.exp(-(((t[None] - places[:, None]) / reach) ** 2))
    shift = (near[..., None] * wobble[:, None]).sum(0)
    # No thread beyond the first and the last lobe.
    inner = (t > places[0] - reach[0]) & (t < places[-1] + reach[-1])
    widths = np.maximum(bumps.max(axis=0), thread * radius)
    return _sausage((points + shift)[inner], widths[inner])


def _neutrophil(rng, radius, middle):
    if rng.uniform() < 0.2:  # a band neutrophil: not lobed yet
        points, t = _arc(rng, radius, middle, rng.uniform(3.4, 4.6), rng.uniform(0.46, 0.54))
        ends = np.sqrt(np.sin(np.pi * (0.12 + 0.76 * t)))
        waist = 1 - rng.uniform(0.05, 0.3) * np.exp(-(((t - 0.5) / 0.14) ** 2))
        return _sausage(points, rng.uniform(0.21, 0.26) * radius * ends * waist)
    lobes = int(rng.choice([2, 3, 4, 5], p=[0.2, 0.42, 0.3, 0.08]))
    turn = {2: 2.9, 3: 3.9, 4: 4.7, 5: 5.2}[lobes] * rng.uniform(0.88, 1.08)
    width = {2: 0.34, 3: 0.29, 4: 0.26, 5: 0.24}[lobes]
    bend = {2: 0.47, 3: 0.50, 4: 0.52, 5: 0.55}[lobes]
    return _lobed(rng, radius, middle, lobes, width, 0.055, turn, bend)


def _eosinophil(rng, radius, middle):
    lobes = 3 if rng.uniform() < 0.12 else 2
    turn = rng.uniform(2.7, 3.3) if lobes == 2 else rng.uniform(3.7, 4.2)
    width = 0.35 if lobes == 2 else 0.29
    return _lobed(rng, radius, middle, lobes, width, 0.09, turn, 0.48)


def _basophil(rng, radius, middle):
    lobes = int(rng.choice([2, 3]))
    return _lobed(rng, radius, middle, lobes, 0.44, 0.26, rng.uniform(2.4, 3.4), 0.38, 0.4)


def _lymphocyte(rng, radius, middle):
    size = radius * np.sqrt(np.clip(rng.normal(0.80, 0.06), 0.62, 0.9))
    shape = harmonics(rng, _ANGLES, 0.02 * np.array([1.6, 0.9, 0.6, 0.4]))
    if rng.uniform() < 0.3:  # a slight notch
        shape = notched(shape, angles_from_random(rng, _ANGLES), rng.uniform(0.06, 0.14), 0.25)
    direction = random_direction(rng)
    centre = middle + (radius - size) * rng.uniform(0.3, 0.9) * direction
    return blob(_ANGLES, size * shape, centre, SIDE)


def _monocyte(rng, radius, middle):
    points, t = _arc(rng, radius, middle, rng.uniform(2.2, 3.6), rng.uniform(0.34, 0.44))
    ends = np.sin(np.pi * (0.16 + 0.68 * t)) ** 0.6
    lopsided = 1 + rng.uniform(-0.18, 0.18) * (2 * t - 1)
    return _sausage(points, rng.uniform(0.33, 0.42) * radius * ends * lopsided)


_NUCLEI = {
    "neutrophil": _neutrophil,
    "eosinophil": _eosinophil,
    "basophil": _basophil,
    "lymphocyte": _lymphocyte,
    "monocyte": _monocyte,
}


def _roughened(rng: np.random.Generator, mask: np.ndarray, radius: float) -> np.ndarray:
    """Return a mask with a slightly irregular outline, still anti-aliased."""
    soft = cv2.GaussianBlur(mask, (0, 0), 1.1) + 0.14 * noise(rng, SIDE, radius / 3) * (mask > 0)
    return np.clip((soft - 0.5) * 1.6 + 0.5, 0, 1).astype(np.float32)


# --- what lies in and around the cell: optical densities, float32 (SIDE, SIDE, 3) ---


def _spots(rng, where, count, low, high, apart=0.0):
    """Return up to `count` round spots inside `where`, float32 (SIDE, SIDE) from 0 to 1.

    Radii are from `low` to `high` pixels; spots are at least `apart` pixels apart.
    """
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.nonzero(where)
    taken: list[tuple[float, float]] = []
    for pick in rng.integers(len(rows), size=count) if len(rows) else ():
        x, y = columns[pick] + rng.uniform(), rows[pick] + rng.uniform()
        if apart and any((x - a) ** 2 + (y - b) ** 2 < apart**2 for a, b in taken):
            continue
        taken.append((x, y))
        radius, tone = round(rng.uniform(low, high) * 16), int(rng.uniform(150, 255))
        cv2.circle(canvas, (round(x * 16), round(y * 16)), radius, tone, -1, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _tissue(rng, kind, slide, cell, nucleus, scale):
    """Return the optical density of the white cell itself."""
    around = cv2.GaussianBlur(cell, (0, 0), 0.8)
    inside = cv2.GaussianBlur(nucleus, (0, 0), 0.5)
    only = around * (1 - inside)
    openness = {"monocyte": 0.75, "lymphocyte": 0.12, "basophil": 0.6}.get(kind, 0.25)
    texture = chromatin(rng, SIDE, openness, 0.32 * scale / PER_MICRON) * np.float32(slide.contrast)
    lacy = 1.5 if kind == "monocyte" else 1.9
    redder = np.array([-0.06, 0.03, 0.08], np.float32) * np.float32(slide.hue)
    dye = np.float32(slide.strength * np.exp(0.04 * rng.standard_normal()))
    mottled = 1 + 0.10 * noise(rng, SIDE, 9) + 0.06 * noise(rng, SIDE, 3)
    # The rim of a cell is often a little denser, especially that of a lymphocyte.
    rim = only * (1 - cv2.GaussianBlur(cell, (0, 0), 4)) * (0.3 if kind == "lymphocyte" else 0.25)
    pale, purple = _CYTOPLASM[kind], _NUCLEUS[kind] + redder
    density = _dyed(only * mottled, pale + 0.5 * redder) + _dyed(rim, pale)
    density += _dyed(inside * np.maximum(1 + lacy * texture, 0.55), purple)
    free = (cell > 0.8) & (nucleus < 0.4)
    if kind == "neutrophil":
        density += _dyed(_spots(rng, free, 260, 0.3, 0.75) * only, _DUST)
    elif kind == "eosinophil":
        spots = _spots(rng, free, 420, 0.34 * scale, 0.50 * scale, 0.62 * scale)
        spots = cv2.GaussianBlur(spots, (0, 0), 0.5)
        density += _dyed(spots * around * (1 - 0.75 * inside), _ORANGE + redder)
    elif kind == "basophil":
        number = int(rng.integers(60, 110))
        inner = cv2.erode((cell > 0.8).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        spots = _spots(rng, inner, number, 0.38 * scale, 0.66 * scale, 0.70 * scale)
        spots = cv2.GaussianBlur(spots, (0, 0), 0.5)
        density += _dyed(spots * around * (1 - 0.35 * inside), _BLUE_BLACK - 0.5 * redder)
    elif kind == "monocyte":
        density += _dyed(0.5 * _spots(rng, free, 120, 0.3, 0.6) * only, _AZURE)
        number = int(rng.integers(0, 12))
        vacuoles = _spots(rng, free, number, 0.20 * scale, 0.5 * scale, 1.4 * scale)
        density *= (1 - 0.75 * cv2.GaussianBlur(vacuoles, (0, 0), 0.5) * only)[..., None]
    else:  # some lymphocytes have a few azure granules
        number = int(rng.integers(3, 9)) if rng.uniform() < 0.2 else 0
        spots = _spots(rng, free, number, 0.15 * scale, 0.22 * scale, 0.8 * scale)
        density += _dyed(spots * only, _AZURE)
    return density * dye


def _dyed(amount: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return the optical density (SIDE, SIDE, 3) of an amount (SIDE, SIDE) of a dye."""
    return amount[..., None] * colour


def _smear(rng, slide, middle, radius, scale):
    """Return the optical density of the red cells and platelets around the white cell."""
    density = np.zeros((SIDE, SIDE, 3), np.float32)
    ramp = np.arange(SIDE, dtype=np.float32)
    taken = [(float(middle[0]), float(middle[1]), radius)]
    redder = np.array([-0.02, 0.03, 0.05], np.float32) * np.float32(slide.hue)
    colour = (_RED_CELL + redder) * np.float32(0.6 + 0.4 * slide.strength)
    for _ in range(rng.poisson(4 * slide.crowd)):
        x, y = rng.uniform(-0.12 * SIDE, 1.12 * SIDE, 2)
        own = 3.7 * scale * float(np.exp(0.05 * rng.standard_normal()))
        # Red cells may overlap each other and the white cell a little.
        if any(np.hypot(x - a, y - b) < 0.94 * (own + c) for a, b, c in taken):
            continue
        if len(taken) > slide.crowd:
            break
        taken.append((x, y, own))
        shape = own * harmonics(rng, _ANGLES, 0.02 * np.array([2.0, 1.0, 0.6, 0.4]))
        disc = cv2.GaussianBlur(blob(_ANGLES, shape, (x, y), SIDE), (0, 0), 0.7)
        far = ((ramp - x) ** 2 + ((ramp - y) ** 2)[:, None]) / (0.5 * own) ** 2
        depth = disc * (1.05 - np.float32(slide.pallor * rng.uniform(0.7, 1.2)) * np.exp(-far))
        density += _dyed(depth, colour)
    for _ in range(rng.poisson(0.5)):
        x, y = rng.uniform(0, SIDE, 2)
        if any(np.hypot(x - a, y - b) < c + 1.4 * scale for a, b, c in taken):
            continue
        shape = scale * 1.1 * harmonics(rng, _ANGLES, 0.06 * np.ones(5))
        spot = cv2.GaussianBlur(blob(_ANGLES, shape, (x, y), SIDE), (0, 0), 0.8)
        grainy = np.clip(0.9 + 0.25 * noise(rng, SIDE, 4), 0, 2)
        density += _dyed(spot * grainy, _PLATELET)
    return density
