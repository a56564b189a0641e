"""Draws one field of a smear: places cells and red cells on glass and photographs them."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import cv2
import numpy as np
import pandas as pd

from helpers.datasets.drawn.brushes import noise
from helpers.datasets.drawn.field_cell import Patch, draw_cell, platelet, red_cell
from helpers.datasets.drawn.optics import Style

#: Mean radius of a red cell relative to that of a white cell.
RED_CELL = 0.58


@dataclass(frozen=True)
class Field:
    """A drawn field and the truth about it.

    Attributes
    ----------
    image : numpy.ndarray
        (h, w, 3), uint8, RGB.
    nuclei, cells : numpy.ndarray
        (h, w), int32: 0 is background, n the nuclei (or all) of the n-th cell of
        `table`; where cells overlap, the later one is on top.
    table : pandas.DataFrame
        One row per cell: `cell` (from 1), `label`, its middle `x` and `y` in pixels,
        `whole` (False where the field's border cuts it) and the parameters of its
        :class:`~helpers.datasets.drawn.field_cell.Patch`.
    background : numpy.ndarray
        (h, w), bool: glass without any cell, not even a red one.
    """

    image: np.ndarray
    nuclei: np.ndarray
    cells: np.ndarray
    table: pd.DataFrame
    background: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Look(Style):
    """The style of a field, with its glass and its red cells.

    Attributes
    ----------
    glass : numpy.ndarray
        (3,), float32: light that passes through empty glass, R, G, B of 255.
    pallor : float
        How pale the middle of a red cell is, 0 to 1.
    red_hue : float
        Colour of red cells, from grey (-1) to red (1).
    crowd : float
        Share of the field that red cells cover.
    chains : float
        Probability that a red cell touches the one before.
    """

    glass: np.ndarray
    pallor: float
    red_hue: float
    crowd: float
    chains: float


def draw_field(
    label: str,
    whole: int,
    look: Look,
    radius: float,
    size: tuple[int, int],
    finer: float,
    rng: np.random.Generator,
) -> Field:
    """Draw a field with `whole` cells of class `label`, and sometimes one cut by the border.

    Parameters
    ----------
    label : str
        ``all`` or ``mm``.
    whole : int
        Number of cells that lie completely inside.
    look : Look
        Stain, light, focus and the field's own traits of cells.
    radius : float
        Mean radius of a cell, in pixels.
    size : tuple of int
        Width and height in pixels.
    finer : float
        Resolution relative to a field of a quarter of the full width.
    rng : numpy.random.Generator
        The only source of randomness.
    """
    width, height = size
    patches = [
        draw_cell(label, radius, look, rng) for _ in range(whole + int(rng.uniform() < 0.35))
    ]
    places = _places(rng, patches, whole, width, height)
    density = np.zeros((height, width, 3), np.float32)
    nuclei = np.zeros((height, width), np.int32)
    cells = np.zeros((height, width), np.int32)
    _lay_red_cells(rng, density, look, radius, list(zip(places, patches, strict=True)))
    red, green, blue = cv2.split(density)
    background = cv2.max(cv2.max(red, green), blue) < 0.03
    rows = []
    for number, (patch, (x, y)) in enumerate(zip(patches, places, strict=True), start=1):
        inside, part = _overlap(len(patch.cell), x, y, width, height)
        # A cell hides most of what is below it.
        lifted = 1 - 0.9 * patch.cell[part][..., None].astype(np.float32)
        density[inside] = density[inside] * lifted + patch.density[part]
        cells[inside][patch.cell[part]] = number
        nuclei[inside][patch.cell[part]] = 0
        nuclei[inside][patch.nucleus[part]] = number
        facts = {"cell": number, "label": label, "x": x, "y": y, "whole": number <= whole}
        rows.append({**facts, **patch.parameters})
    background &= cells == 0
    image = _photographed(rng, density, look, finer)
    return Field(image, nuclei, cells, pd.DataFrame(rows), background)


def _places(rng, patches: list[Patch], whole: int, width: int, height: int) -> list[tuple]:
    """Return the middle (x, y) of each cell: a few touch, those after `whole` are cut off."""
    places: list[tuple[float, float]] = []
    radii = [patch.parameters["radius"] for patch in patches]
    for number, patch in enumerate(patches):
        reach = len(patch.cell) / 2 + 2
        for attempt in range(400):
            touching = 0 < number < whole and attempt < 40 and rng.uniform() < 0.12
            if number >= whole:
                x, y = rng.uniform(0, width), rng.choice([0.0, height]) + rng.normal(0, 0.3)
            elif touching:
                other = int(rng.integers(number))
                turn = rng.uniform(0, 2 * np.pi)
                far = 0.99 * (radii[number] + radii[other])
                x = places[other][0] + far * np.cos(turn)
                y = places[other][1] + far * np.sin(turn)
            else:
                x, y = rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)
            if number < whole and not (
                reach <= x <= width - reach and reach <= y <= height - reach
            ):
                continue
            # After many failures, cells may lie closer to each other.
            room = 1.25 if attempt < 200 else 1.0
            gaps = [
                np.hypot(x - a, y - b) / (radii[number] + radius)
                for (a, b), radius in zip(places, radii, strict=False)
            ]
            if touching:
                gaps[other] = room
            if all(gap >= room for gap in gaps):
                break
        places.append((float(x), float(y)))
    return places


def _lay_red_cells(rng, density, look: Look, radius: float, placed: list) -> None:
    """Add red cells and platelets, single or in chains, but none on a white cell."""
    height, width = density.shape[:2]
    size = radius * RED_CELL
    count = int(look.crowd * height * width / (np.pi * size * size))
    x, y, turn = rng.uniform(0, width), rng.uniform(0, height), 0.0
    centres = np.array([place for place, _ in placed])
    reach = np.array([len(patch.cell) / 2 for _, patch in placed])
    objects = []
    for _ in range(count):
        if rng.uniform() < look.chains:
            turn += 0.5 * rng.standard_normal()
            x, y = x + 1.45 * size * np.cos(turn), y + 1.45 * size * np.sin(turn)
        else:
            x, y = rng.uniform(-size, width + size), rng.uniform(-size, height + size)
            turn = rng.uniform(0, 2 * np.pi)
        cell = red_cell(rng, size * exp(0.06 * rng.standard_normal()), look.pallor, look.red_hue)
        objects.append((cell, x, y, 0.88 * reach + size * 0.8))
    for _ in range(int(rng.poisson(3.5))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        spot = platelet(rng, radius * rng.uniform(0.10, 0.17))
        objects.append((spot, x, y, reach + size * 0.3))
    for patch, x, y, gap in objects:
        if (np.hypot(centres[:, 0] - x, centres[:, 1] - y) > gap).all():
            inside, part = _overlap(len(patch), x, y, width, height)
            density[inside] += patch[part] * np.float32(look.strength)


def _overlap(side: int, x: float, y: float, width: int, height: int) -> tuple[tuple, tuple]:
    """Return the slices of the field that a patch around (x, y) covers, and those of the patch."""
    left, top = round(x - (side - 1) / 2), round(y - (side - 1) / 2)
    first, last = max(left, 0), max(min(left + side, width), 0)
    high, low = max(top, 0), max(min(top + side, height), 0)
    inside = slice(high, max(low, high)), slice(first, max(last, first))
    part = tuple(
        slice(s.start - at, s.stop - at) for s, at in zip(inside, (top, left), strict=True)
    )
    return inside, part


def _photographed(rng, density: np.ndarray, look: Look, finer: float) -> np.ndarray:
    """Return the photograph (h, w, 3), uint8, of the glass."""
    height, width = density.shape[:2]
    light = cv2.exp(-density)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    slope, fall = rng.normal(0, 0.02, 2), abs(rng.normal(0.03, 0.015))
    even = 1 + np.float32(slope[0]) * x + np.float32(slope[1]) * y
    even = even - np.float32(fall) * (x * x + y * y)
    side = max(height, width)
    dust = 1 + 0.008 * noise(rng, side, side / 4)[:height, :width]
    light = light * (even * dust)[..., None] * look.glass
    light = cv2.GaussianBlur(light, (0, 0), look.blur * finer)
    grain = rng.standard_normal(light.shape, dtype=np.float32) * np.float32(look.noise)
    return np.clip(np.rint(light + grain), 0, 255).astype(np.uint8)
