"""Draws the cells of a smear: lymphoblasts and plasma cells, red cells and platelets.

The two classes follow textbooks. A lymphoblast has a high nucleus-to-cytoplasm ratio,
open chromatin with nucleoli, and a thin rim of blue cytoplasm. A plasma cell has an
eccentric round nucleus, chromatin in clumps like the hours on a clock face, abundant
deep-blue cytoplasm, a pale zone beside the nucleus (the Golgi apparatus), an oval
outline, and sometimes two nuclei. Young plasma cells look more like blasts, so the
classes overlap.
"""

from __future__ import annotations

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
)
from helpers.datasets.drawn.optics import Style

# Optical density (-ln of the light let through) in R, G, B per unit of each tissue,
# chosen for a Giemsa stain on bright glass.
_NUCLEUS = np.array([0.72, 1.18, 0.40], np.float32)
_CHROMATIN = np.array([0.85, 0.75, 0.30], np.float32)
_PALE_BLUE = np.array([0.42, 0.37, 0.10], np.float32)
_DEEP_BLUE = np.array([0.86, 0.70, 0.19], np.float32)
_RED_CELL = np.array([0.13, 0.24, 0.20], np.float32)
_PLATELET = np.array([0.35, 0.60, 0.20], np.float32)
_WORKING_RADIUS = 48  # pixels; smaller cells are drawn at this size and then reduced

#: Traits of a cell: how far the mean of plasma cells lies above the middle, and that of
#: lymphoblasts below it, in standard deviations.
TRAITS = {
    "size": 0.30,
    "oval": 0.60,
    "filling": -0.66,
    "offset": 0.65,
    "clock": 0.95,
    "basophilia": 0.42,
    "halo": 0.60,
    "nucleoli": -0.65,
    "twin": 0.60,
}


@dataclass(frozen=True)
class Patch:
    """One drawn cell on a square of glass.

    Attributes
    ----------
    density : numpy.ndarray
        (side, side, 3), float32: optical density in R, G, B.
    nucleus, cell : numpy.ndarray
        (side, side), bool: the nuclei; the whole cell, nuclei included.
    parameters : dict of str to float
        `radius` in pixels, `nucleus_to_cell` (areas), `offset` of the nucleus as a
        part of the radius, `clock` (0 open chromatin to 1 clock face),
        `basophilia` and `halo` (0 to 1), number of `nucleoli` and of `nuclei`.
    """

    density: np.ndarray
    nucleus: np.ndarray
    cell: np.ndarray
    parameters: dict[str, float]


def draw_cell(label: str, radius: float, style: Style, rng: np.random.Generator) -> Patch:
    """Draw one cell of class `label`.

    Parameters
    ----------
    label : str
        ``all`` (lymphoblast) or ``mm`` (plasma cell).
    radius : float
        Mean radius of this field's cells, in pixels.
    style : Style
        Of the field: its dyes and the traits of its cells.
    rng : numpy.random.Generator
        The only source of randomness.

    Raises
    ------
    ValueError
        When there is no such class.
    """
    if label not in ("all", "mm"):
        raise ValueError(f"A cell of a phantom field is 'all' or 'mm', not {label!r}.")
    z = cell_traits(rng, TRAITS, 1 if label == "mm" else -1, 0.6, style.traits or {})
    finer = max(1, round(_WORKING_RADIUS / radius))
    mean = radius * finer * float(np.clip(np.exp(0.085 * z["size"]), 0.75, 1.35))
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    uneven = 0.012 * float(np.exp(0.4 * rng.standard_normal()))
    shape = harmonics(rng, angles, uneven * np.array([1.6, 1.2, 0.8, 0.5, 0.4, 0.3]))
    long = float(np.clip(0.055 + 0.045 * z["oval"], 0, 0.2))
    axis = rng.uniform(0, np.pi)
    cell = mean * shape * (1 + long * np.cos(2 * (angles - axis)))
    side = finer * (2 * int(np.ceil(cell.max() / finer)) + 9)
    middle = (side - 1) / 2
    cell_soft = blob(angles, cell, (middle, middle), side)

    ratio = float(np.clip(0.66 + 0.13 * z["filling"], 0.33, 0.92))
    nuclei, shift = _nuclei(rng, angles, cell, mean, ratio, axis, z)
    nucleus_soft = np.zeros((side, side), np.float32)
    clock = logistic(2.2 * z["clock"])
    basophilia = logistic(1.5 * z["basophilia"])
    halo = logistic(1.6 * z["halo"])
    scale = style.grain * (mean / 100) ** 0.75
    open_part = chromatin(rng, side, float(np.clip(0.9 - 0.5 * clock, 0, 1)), scale)
    texture = np.float32(1 - 0.6 * clock) * open_part
    count = int(np.clip(np.round(0.9 + 1.1 * z["nucleoli"]), 0, 3)) if len(nuclei) == 1 else 0
    spots = np.zeros((side, side), np.float32)
    for radii, centre in nuclei:
        where = np.array([middle, middle]) + centre
        one = np.minimum(blob(angles, radii, where, side), cell_soft)
        texture = texture + np.float32(0.40 * clock) * _clock_face(rng, side, where, radii) * one
        nucleus_soft = np.maximum(nucleus_soft, one)
        if count:
            spots = nucleoli(rng, side, where, float(radii.min()), count)
    density = _stained(
        rng, style, cell_soft, nucleus_soft, texture, spots, basophilia, halo, shift, mean, clock
    )
    if finer > 1:
        size = (side // finer, side // finer)
        density, nucleus_soft, cell_soft = (
            cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            for part in (density, nucleus_soft, cell_soft)
        )
    in_cell = cell_soft > 0.5
    in_nucleus = (nucleus_soft > 0.5) & in_cell
    parameters = {
        "radius": mean / finer,
        "nucleus_to_cell": float(in_nucleus.sum() / in_cell.sum()),
        "offset": float(np.hypot(*shift) / mean),
        "clock": clock,
        "basophilia": basophilia,
        "halo": halo,
        "nucleoli": float(count),
        "nuclei": float(len(nuclei)),
    }
    return Patch(density, in_nucleus, in_cell, parameters)


def red_cell(rng: np.random.Generator, radius: float, pallor: float, hue: float) -> np.ndarray:
    """Return the optical density (side, side, 3), float32, of a red cell on a square of glass.

    `pallor`, 0 to 1, is how pale its middle is; `hue` goes from grey (-1) to red (1).
    """
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    shape = harmonics(rng, angles, np.array([0.04, 0.015, 0.01]))
    side = 2 * int(np.ceil(radius * 1.25)) + 3
    middle = (side - 1) / 2
    disc = blob(angles, radius * shape, (middle, middle), side)
    soft = cv2.GaussianBlur(disc, (0, 0), max(radius * 0.07, 0.5))
    grid = np.arange(side, dtype=np.float32) - np.float32(middle)
    rise = -(grid**2) / np.float32(2 * (0.42 * radius) ** 2)
    dent = np.exp(rise[:, None] + rise[None, :])
    thick = soft * (1 - np.float32(pallor) * dent) * np.float32(np.exp(0.1 * rng.standard_normal()))
    redder = np.array([-0.05, 0.02, 0.03], np.float32) * np.float32(hue)
    return thick[..., None] * (_RED_CELL + redder)


def platelet(rng: np.random.Generator, radius: float) -> np.ndarray:
    """Return the optical density (side, side, 3), float32, of a platelet on a square of glass."""
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    radii = radius * harmonics(rng, angles, np.array([0.2, 0.12, 0.1, 0.08]))
    side = 2 * int(np.ceil(radius * 1.8)) + 3
    disc = blob(angles, np.maximum(radii, 1), ((side - 1) / 2, (side - 1) / 2), side)
    grains = np.maximum(1 + 0.5 * noise(rng, side, 2.0), 0.2)
    return (cv2.GaussianBlur(disc, (0, 0), 0.8) * grains)[..., None] * _PLATELET


def _nuclei(rng, angles, cell, mean, ratio, axis, z):
    """Return (radii, shift from the cell's middle) of each nucleus, and their mean shift."""
    off = float(np.clip(0.55 + 0.3 * z["offset"], 0.05, 1.0))
    turn = axis + (np.pi if rng.uniform() < 0.5 else 0.0) + 0.3 * rng.standard_normal()
    way = np.array([np.cos(turn), np.sin(turn)])
    if z["twin"] > 1.75 and ratio < 0.72:
        size = mean * np.sqrt(ratio / 2) * 0.92
        apart = size * rng.uniform(0.96, 1.12)
        across = np.array([-way[1], way[0]])
        shift = 0.3 * (mean - size) * off * way
        pair = [
            (size * harmonics(rng, angles, np.array([0.03, 0.02, 0.01])), shift + sign * across)
            for sign in (-apart, apart)
        ]
        return pair, shift
    own = harmonics(rng, angles, np.array([0.03, 0.02, 0.015, 0.01]))
    # The more of the cell a nucleus fills, the more it has the cell's shape.
    follow = float(np.clip((ratio - 0.45) / 0.5, 0, 1))
    radii = np.sqrt(ratio) * mean * (follow * cell / cell.mean() + (1 - follow) * own)
    if rng.uniform() < 0.16 and ratio > 0.6:  # a cleft, as in many blasts
        radii = notched(radii, angles_from_random(rng, angles), rng.uniform(0.06, 0.2), 0.2)
    room = max(mean - np.sqrt(ratio) * mean, 0.0)
    shift = off * 0.95 * room * way
    return [(radii, shift)], shift


def _clock_face(rng, side, centre, radii):
    """Return clumps along the rim of a nucleus with pale gaps, float32 (side, side) about 0."""
    grid = np.arange(side, dtype=np.float32)
    x, y = grid[None, :] - np.float32(centre[0]), grid[:, None] - np.float32(centre[1])
    far = np.sqrt(x * x + y * y) / np.float32(np.mean(radii))
    bend = noise(rng, side, side / 5)
    rough = noise(rng, side, side / 14)
    theta = np.arctan2(y, x) + 0.22 * bend
    hours = int(rng.integers(6, 10))
    spokes = np.cos(hours * theta + np.float32(rng.uniform(0, 6.28)))
    window = np.exp(-(((far - 0.76 + 0.05 * bend) / 0.19) ** 2))
    clumps = window * np.tanh(1.6 * spokes + 0.7 * rough + 0.2)
    hub = np.exp(-(((far + 0.08 * rough) / 0.22) ** 2)) * np.float32(rng.uniform(0.1, 0.9))
    return clumps + hub + 0.22 * rough - 0.2 * (far < 0.55).astype(np.float32)


def _stained(rng, style, cell, nucleus, texture, spots, basophilia, halo, shift, mean, clock):
    """Return the optical density, float32 (side, side, 3), of one cell."""
    side = len(cell)
    inside = cv2.GaussianBlur(nucleus, (0, 0), 1.6)
    around = cv2.GaussianBlur(cell, (0, 0), 1.6)
    membrane = 4 * inside * (1 - inside) * nucleus
    grid = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    # The pale zone is beside the nucleus, on the side of the cell's middle.
    size = np.float32(mean * 0.34)
    length = float(np.hypot(*shift)) + 1e-6
    at = shift - shift / length * (0.62 * mean)
    pale = np.exp(
        -((grid[None, :] - np.float32(at[0])) ** 2 + (grid[:, None] - np.float32(at[1])) ** 2)
        / (2 * size * size)
    )
    near = cv2.GaussianBlur(nucleus, (0, 0), mean * 0.10)
    lighter = 1 - np.float32(halo) * np.minimum(0.75 * pale + 0.45 * near * (1 - nucleus), 0.85)
    edge = 1 + 0.25 * np.maximum(1 - cv2.GaussianBlur(cell, (0, 0), mean * 0.16), 0)
    grainy = 1 + 0.10 * noise(rng, side, mean * 0.12)
    cytoplasm = around * (1 - inside) * lighter * edge * grainy
    amount = np.float32(style.strength * np.exp(0.06 * rng.standard_normal()))
    varied = np.float32(style.contrast) * texture - 0.30 * spots + 0.16 * membrane
    base = inside * np.float32(0.84 + 0.20 * clock)
    redder = np.array([-0.10, 0.04, 0.10], np.float32) * np.float32(style.hue)
    blue = _PALE_BLUE + (_DEEP_BLUE - _PALE_BLUE) * np.float32(basophilia) + 0.6 * redder
    layers = cv2.merge([base, inside * varied, cytoplasm])
    dyes = np.stack([_NUCLEUS + redder, _CHROMATIN, blue], axis=1) * amount
    return np.maximum(cv2.transform(layers, dyes), 0)
