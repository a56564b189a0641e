"""Draws one phantom cell as a frame of C-NMC: stained, photographed, and cut out on black.

A frame is made like a real one. Dyes in the cell absorb light, the microscope blurs
the image, the camera adds noise, and a segmentation cuts the cell out along a ragged
line and paints the rest black.

The classes differ as the FAB group describes. Blasts are larger and less regular;
their nucleus is indented or cleft and fills most of the cell, with open chromatin and
visible nucleoli. Normal precursors are smaller and rounder, with clumped chromatin and
more cytoplasm. Bennett et al. 1976, 10.1111/j.1365-2141.1976.tb03563.x.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import cv2
import numpy as np

from helpers.datasets.drawn.brushes import (
    angles_from_random,
    blob,
    cell_traits,
    chromatin,
    harmonics,
    logistic,
    noise,
    notched,
    nucleoli,
    random_direction,
)
from helpers.datasets.drawn.optics import Style, photographed

#: Side of a frame in pixels, as in C-NMC 2019.
SIDE = 450
#: Largest width of a cut-out in pixels, so that it always fits into the frame.
WIDEST = 356

# Optical density (-ln of the light let through) in R, G, B per unit of each tissue,
# fitted by eye and by moments to 38 real frames of C-NMC 2019.
_NUCLEUS = np.array([0.53, 1.04, 0.44], np.float32)
_CHROMATIN = np.array([1.00, 1.05, 0.38], np.float32)
_CYTOPLASM = np.array([0.55, 0.74, 0.24], np.float32)
_RED_CELL = np.array([0.20, 0.14, 0.34], np.float32)
_BLUER = np.array([0.45, 0.22, 0.08], np.float32)
#: Traits of a cell: how far the mean of each class lies from the middle (`all` above,
#: `hem` below), in standard deviations.
TRAITS = {
    "size": 0.24,
    "outline": 0.52,
    "filling": 0.34,
    "openness": 0.56,
    "nucleoli": 0.6,
    "basophilia": 0.52,
}


@dataclass(frozen=True)
class Phantom:
    """A drawn frame and the truth about it.

    Attributes
    ----------
    frame : numpy.ndarray
        (450, 450, 3), uint8, RGB, black outside the cut-out.
    nucleus, cytoplasm : numpy.ndarray
        (450, 450), bool: where each is inside the cut-out; they do not overlap.
    label : str
        ``all`` or ``hem``.
    parameters : dict of str to float
        What was drawn: radius in pixels, nucleus area in pixels, nucleus-to-cell
        area ratio, number of nucleoli, openness of the chromatin (0 clumped to
        1 open), depth of the cleft as a part of the radius.
    """

    frame: np.ndarray
    nucleus: np.ndarray
    cytoplasm: np.ndarray
    label: str
    parameters: dict[str, float]


def draw_cell(
    label: str, style: Style, rng: np.random.Generator, more_nucleoli: int = 0
) -> Phantom:
    """Draw one cell of class `label` in the style of a subject.

    Parameters
    ----------
    label : str
        ``all`` (lymphoblast) or ``hem`` (normal precursor).
    style : Style
        Of the subject.
    rng : numpy.random.Generator
        The only source of randomness: the same state draws the same pixels.
    more_nucleoli : int
        Draw this many nucleoli more (or fewer) than the random number, from none to
        four in total. Everything else stays the same.

    Returns
    -------
    Phantom
        The frame with its masks and parameters.

    Raises
    ------
    ValueError
        When there is no such class.
    """
    if label not in ("all", "hem"):
        raise ValueError(f"A phantom cell is 'all' or 'hem', not {label!r}.")
    z = cell_traits(rng, TRAITS, 1 if label == "all" else -1, 0.5, style.traits or {})
    radius = float(np.clip(100 * style.zoom * np.exp(0.14 * z["size"]), 70, 150))
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    uneven = float(np.clip(0.020 * np.exp(0.6 * z["outline"]), 0.007, 0.045))
    waves = np.array([1.5, 1.1, 0.65, 0.45, 0.35, 0.3, 0.25, 0.2])
    shape = harmonics(rng, angles, uneven * waves)
    long = 0.09 * abs(rng.standard_normal())
    shape = shape * (1 + long * np.cos(2 * (angles - rng.uniform(0, np.pi))))
    cell = radius * shape
    ratio = float(np.clip(0.845 + 0.085 * z["filling"], 0.58, 0.985))
    nucleus, cleft = _nucleus(rng, angles, cell, ratio, uneven, z["outline"])
    side = 2 * int(np.ceil(cell.max() * 1.06 + 24)) + 1
    middle = (side - 1) / 2
    centre = middle + _eccentricity(rng, cell, nucleus)
    cell_soft = blob(angles, cell, (middle, middle), side)
    nucleus_soft = np.minimum(blob(angles, nucleus, centre, side), cell_soft)

    openness = logistic(1.8 * z["openness"])
    texture = chromatin(rng, side, openness, style.grain * (radius / 100) ** 0.5)
    count = int(np.clip(np.round(1.2 + 1.1 * z["nucleoli"]), 0, 4))
    before = copy.deepcopy(rng)
    spots = nucleoli(rng, side, centre, nucleus.min(), count)
    if more_nucleoli:
        # `rng` has advanced as for `count` nucleoli, so everything drawn later stays the same.
        count = int(np.clip(count + more_nucleoli, 0, 4))
        spots = nucleoli(before, side, centre, nucleus.min(), count)
    red, shadow = _neighbour(rng, side, cell, middle)
    density = _stained(
        rng, style, cell_soft, nucleus_soft, texture, spots, red, shadow, openness, z["basophilia"]
    )
    light = photographed(rng, density, style)
    cut = _cut_out(rng, angles, cell, style, side, middle, red)
    kept = cut > 0
    frame = cv2.convertScaleAbs(np.maximum(light * cut[..., None], kept[..., None]))
    in_nucleus = kept & (nucleus_soft > 0.5)
    in_cytoplasm = kept & (cell_soft > 0.5) & ~in_nucleus
    frame, in_nucleus, in_cytoplasm = _centred(kept, frame, in_nucleus, in_cytoplasm)
    area = int(in_nucleus.sum())
    parameters = {
        "radius": radius,
        "nucleus_area": float(area),
        "nucleus_to_cell": area / max(area + int(in_cytoplasm.sum()), 1),
        "nucleoli": float(count),
        "openness": openness,
        "cleft": cleft,
    }
    return Phantom(frame, in_nucleus, in_cytoplasm, label, parameters)


def _nucleus(rng, angles, cell, ratio, uneven, trait):
    """Return the radii of the nucleus and the depth of its cleft (0: no cleft)."""
    own = harmonics(rng, angles, uneven * np.array([1.8, 1.7, 1.4, 1.0, 0.7]))
    radii = np.sqrt(ratio) * cell.mean() * (0.65 * cell / cell.mean() + 0.35 * own)
    cleft = 0.0
    if rng.uniform() < 0.28 + 0.2 * np.tanh(trait):
        cleft = float(rng.uniform(0.08, 0.3))
        width = rng.uniform(0.10, 0.28)
        radii = notched(radii, angles_from_random(rng, angles), cleft, width)
    return radii, cleft


def _eccentricity(rng, cell, nucleus):
    """Return the shift (x, y) of the nucleus from the cell's middle; it stays inside."""
    room = max(float(np.percentile(cell - nucleus, 25)), 0.0)
    direction = random_direction(rng)
    return rng.uniform(0.2, 0.95) * room * direction


def _neighbour(rng, side, cell, middle):
    """Return the mask of a touching red cell and its shadow; None twice if there is none."""
    if rng.uniform() > 0.12:
        return None, None
    turn = rng.uniform(0, 2 * np.pi)
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    edge = cell[int(turn / (2 * np.pi) * len(cell)) % len(cell)]
    size = edge * rng.uniform(0.12, 0.34)
    far = edge + size * rng.uniform(-0.2, 0.5)
    far = min(far, middle - 1.2 * size)
    where = (middle + far * np.cos(turn), middle + far * np.sin(turn))
    radii = size * harmonics(rng, angles, np.array([0.35, 0.2, 0.1, 0.08, 0.06, 0.05, 0.05]))
    radii = radii * (1 + 0.04 * rng.standard_normal(64))
    red = blob(angles, np.maximum(radii, 2), where, side)
    return red, cv2.GaussianBlur(red, (0, 0), 7)


def _stained(rng, style, cell, nucleus, texture, spots, red, shadow, openness, blue):
    """Return the optical density, float32 (side, side, 3), of everything on the glass."""
    side = len(cell)
    membrane = cv2.GaussianBlur(nucleus, (0, 0), 5)
    membrane = 4 * membrane * (1 - membrane) * nucleus
    inside = cv2.GaussianBlur(nucleus, (0, 0), float(rng.uniform(2.0, 4.5)))
    around = cv2.GaussianBlur(cell, (0, 0), float(rng.uniform(2.4, 4.2)))
    amount = np.float32(style.strength * np.exp(0.05 * rng.standard_normal()))
    varied = np.float32(style.contrast) * texture - 0.40 * spots + 0.12 * membrane
    cytoplasm = around * (1 - 0.85 * inside) * (1 + 0.10 * noise(rng, side, 9))
    redder = np.array([-0.10, 0.04, 0.12], np.float32) * np.float32(style.hue)
    # On one side the cell's edge is thicker or out of focus: it looks dark and blue.
    edge = np.maximum(1 - cv2.GaussianBlur(cell, (0, 0), 14), 0) * noise(rng, side, side / 2)
    bluer = np.array([0.12, 0.0, -0.05], np.float32) * np.float32(blue)  # RNA takes up azure
    pale = np.float32(1.10 - 0.20 * openness)  # open chromatin takes up less dye
    layers = cv2.merge([inside * pale, inside * varied, cytoplasm, around * edge])
    dyes = [_NUCLEUS + redder, _CHROMATIN, _CYTOPLASM + redder + bluer, _BLUER]
    density = cv2.transform(layers, np.stack(dyes, axis=1) * amount)
    if red is not None:
        outside = cv2.GaussianBlur(red, (0, 0), 1.5) * (1 - around)
        layers = cv2.merge([outside, shadow * around])
        density += cv2.transform(layers, np.stack([_RED_CELL, _BLUER], axis=1))
    return density


def _cut_out(rng, angles, cell, style, side, middle, red):
    """Return the cut-out, float32 (side, side): 0 outside, 1 inside, lower at its edge."""
    fine, coarse = _closed_noise(rng, 64), _closed_noise(rng, 16)
    radii = cell + style.margin + style.ragged * (0.6 * fine + 1.2 * coarse)
    for _ in range(rng.poisson(1.3 * style.ragged)):  # a jagged bump or dent
        away = angles_from_random(rng, angles)
        bump = np.exp(-((np.abs(away) / rng.uniform(0.04, 0.16)) ** 3)) * (1 + 0.25 * fine)
        radii = radii + rng.choice([-1.0, 1.0]) * rng.gamma(2.0, 4.0) * bump
    if rng.uniform() < 0.2:  # a straight cut, as between two touching cells
        away = np.cos(angles - rng.uniform(0, 2 * np.pi))
        limit = cell.mean() * rng.uniform(0.86, 0.98) + 1.5 * fine
        radii = np.where(away > 0, np.minimum(radii, limit / np.maximum(away, 1e-3)), radii)
    mask = blob(angles, radii, (middle, middle), side)
    if red is not None:
        mask = np.maximum(mask, red)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.9)
    return np.where(soft > 0.3, np.minimum(soft * 1.15, 1), 0).astype(np.float32)


def _closed_noise(rng, count):
    """Return noise along a closed outline of 256 points, interpolated from `count` values."""
    values = np.resize(rng.standard_normal(count), count + 1)
    return np.interp(np.arange(256), np.linspace(0, 256, count + 1), values)


def _centred(kept, *arrays):
    """Return the part of each array around the cut-out, in the middle of an empty frame."""
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    boxes = []
    for span in (rows, columns):
        first, last = int(span[0]), min(int(span[-1]) + 1, int(span[0]) + WIDEST)
        boxes.append((slice(first, last), (SIDE - (last - first)) // 2))
    (source_rows, top), (source_columns, left) = boxes
    height, width = source_rows.stop - source_rows.start, source_columns.stop - source_columns.start
    pasted = []
    for array in arrays:
        frame = np.zeros((SIDE, SIDE, *array.shape[2:]), array.dtype)
        frame[top : top + height, left : left + width] = array[source_rows, source_columns]
        pasted.append(frame)
    return pasted
