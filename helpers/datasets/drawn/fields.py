"""Phantom fields: smears that the course draws itself, with SN-AM's file names and masks.

Chapter 12 runs on them without a copy of SN-AM. Each field has its own stain, light,
focus and cell size, so the cells of one field resemble each other, and crops that are
split at random leak here as they do in the real data.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from math import exp
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from helpers.base.errors import DatasetError
from helpers.base.files import atomic_path
from helpers.base.settings import DEFAULT_SEED, Profile, profile_of
from helpers.datasets.drawn.brushes import balanced_normals
from helpers.datasets.drawn.field_cell import TRAITS
from helpers.datasets.drawn.field_scene import RED_CELL, Field, Look, draw_field
from helpers.datasets.drawn.folder import DrawnSet, checked_seed

#: Name of the file that marks a folder of phantom fields.
MARKER = "phantom_fields.json"
#: Width and height of SN-AM's fields in pixels.
FULL_SIZE = 2560, 1920
#: Mean radius of a cell in a field of full size, in pixels.
RADIUS = 96
#: Mean diameter of a red cell in micrometres (doi:10.1557/mrs2010.571): the scale of a field.
RED_CELL_MICRONS = 7.5


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a set of phantom fields, apart from the code.

    Attributes
    ----------
    all_fields, mm_fields : int
        Numbered fields of each class. The fifth of `mm` is also a reference;
        `ALL_ref` and `ALL_ALL_extra_images` are drawn in addition.
    cells : int
        Total number of whole cells in the numbered fields without the reference.
    scale : float
        Side of a field relative to SN-AM's 2560 x 1920.
    seed : int
        For every random choice.
    laboratories : bool
        Whether the two classes come from two laboratories, see :func:`draw`.
    """

    all_fields: int
    mm_fields: int
    cells: int
    scale: float
    seed: int = DEFAULT_SEED
    laboratories: bool = False


#: Fields of ALL and of MM, cells, and scale of each profile.
SIZES = {
    "smoke": (5, 6, 70, 0.25),
    "quick": (29, 30, 424, 0.25),
    "full": (29, 30, 424, 0.5),
}


def draw(
    folder: str | os.PathLike,
    profile: str | Profile | Recipe = "quick",
    seed: int = DEFAULT_SEED,
    laboratories: bool = False,
) -> Path:
    """Draw a profile's fields into `folder`, once, in SN-AM's names.

    Parameters
    ----------
    folder : path-like
        Created if missing. Holds ``ALL_1.bmp``, ``MM_1.bmp`` and so on, ``ALL_ref.bmp``,
        ``ALL_ALL_extra_images.bmp``, ``MM_5_also_ref_image.bmp`` and beside them
        ``*_nucleus_mask.bmp``, ``*_background_mask.bmp`` and for some
        ``*_cyto_mask.bmp`` (white where true).
    profile : str, Profile or Recipe
        How many fields and cells; the fields are scaled, see `SIZES`.
    seed : int
        Same seed, same bytes, for any number of cores.
    laboratories : bool
        False: light and stain of a field do not depend on its class.
        True: ALL and MM fields come from two laboratories with light of different
        colour, so that empty glass alone tells the classes apart.

    Returns
    -------
    pathlib.Path
        `folder`, see :meth:`helpers.datasets.drawn.folder.DrawnSet.draw_once`.

    Raises
    ------
    DatasetError
        When `folder` holds such fields that the course did not draw, or phantom
        fields of another recipe.
    """
    return _SET.draw_once(folder, recipe_of(profile, seed, laboratories), _write)


def example(seed: int = DEFAULT_SEED) -> tuple[np.ndarray, float]:
    """Return the image of one field with lymphoblasts, and how many of its pixels are one µm.

    Its red cells are pink and lie apart, as where one photographs a smear. Nothing is written to
    disk. The scale follows from the mean size of the red cells.
    """
    recipe = recipe_of("smoke", seed)
    row = next(plan(recipe).itertuples())
    look = replace(_looks(recipe)[row.name], red_hue=0.8, pallor=0.6, chains=0.0)
    diameter = 2 * RED_CELL * RADIUS * recipe.scale * look.zoom
    return _draw(recipe, row, look).image, diameter / RED_CELL_MICRONS


def recipe_of(
    profile: str | Profile | Recipe = "quick",
    seed: int = DEFAULT_SEED,
    laboratories: bool = False,
) -> Recipe:
    """Return the recipe of a profile's phantom fields; a :class:`Recipe` is returned unchanged."""
    if isinstance(profile, Recipe):
        return profile
    sizes = SIZES.get(profile_of(profile).name, SIZES["smoke"])
    return Recipe(*sizes, seed=checked_seed(seed), laboratories=bool(laboratories))


@lru_cache(maxsize=8)
def plan(recipe: Recipe) -> pd.DataFrame:
    """Return what will be drawn: one row per field.

    Returns
    -------
    pandas.DataFrame
        `name` (of the file, without ending), `label`, `number` (0 for `ALL_ref`,
        -1 for the extra images), `role` (``field``, ``reference``, ``extra``),
        `cells` (number of whole ones), `cytoplasm` (whether there is a mask of it).

    Raises
    ------
    DatasetError
        When a number of the recipe is too small or too large.
    """
    if min(recipe.all_fields, recipe.mm_fields) < 1 or not 0 < recipe.scale <= 1:
        raise DatasetError(
            f"{recipe} cannot be drawn: take a field or more of each class and a scale up to 1."
        )
    rng = np.random.default_rng([recipe.seed, 11])
    rows = [(f"ALL_{number}", "all", number, "field") for number in range(1, recipe.all_fields + 1)]
    rows += [("ALL_ref", "all", 0, "reference"), ("ALL_ALL_extra_images", "all", -1, "extra")]
    rows += [(f"MM_{number}", "mm", number, "field") for number in range(1, recipe.mm_fields + 1)]
    table = pd.DataFrame(rows, columns=["name", "label", "number", "role"])
    table.loc[table["name"] == "MM_5", ["name", "role"]] = "MM_5_also_ref_image", "reference"
    fields = table["role"] == "field"
    table["cells"] = 6
    # Few cells in some fields, many in others, and as many of either class.
    for label, cells in (("all", recipe.cells // 2), ("mm", recipe.cells - recipe.cells // 2)):
        chosen = table.index[fields & (table["label"] == label)]
        if cells < 2 * len(chosen) or cells > 14 * len(chosen):
            raise DatasetError(
                f"{cells} cells in {len(chosen)} fields of {label} cannot be drawn: take from 2 "
                "to 14 cells a field."
            )
        table.loc[chosen, "cells"] = _counts(rng, len(chosen), cells)
    table["cytoplasm"] = rng.uniform(size=len(table)) < 0.4
    return table


_SET = DrawnSet("phantom field", MARKER, __name__, Recipe, plan, ("ALL_*.bmp", "MM_*.bmp"))

# Properties of a look that differ from field to field, as standard normal values.
_SPREAD = (
    "strength", "hue", "contrast", "grain", "level", "warmth", "green", "blur", "noise", "zoom",
    "pallor", "red_hue", "crowd", "chains", *TRAITS,
)  # fmt: skip
# Difference between the light of two laboratories, in standard deviations among fields.
_APART = {"warmth": 2.2, "green": -1.4, "level": 0.8}


@lru_cache(maxsize=8)
def _looks(recipe: Recipe) -> dict[str, Look]:
    """Return each field's look; no property tells the classes apart by accident."""
    rng = np.random.default_rng([recipe.seed, 12])
    table = plan(recipe)
    positive = (table["label"] == "mm").to_numpy()
    normals = balanced_normals(rng, _SPREAD, positive, table["cells"].to_numpy())
    if recipe.laboratories:
        for z, other in zip(normals, positive, strict=True):
            for name, apart in _APART.items():
                z[name] = 0.45 * z[name] + (apart if other else -apart) / 2
    return {name: _look(z) for name, z in zip(table["name"], normals, strict=True)}


def _look(z: dict[str, float]) -> Look:
    level = 226 + 9 * z["level"]
    tints = 1 + 0.028 * z["warmth"], 1 + 0.020 * z["green"], 1 - 0.028 * z["warmth"]
    return Look(
        strength=exp(0.16 * z["strength"]),
        hue=0.8 * z["hue"],
        contrast=exp(0.2 * z["contrast"]),
        grain=exp(0.1 * z["grain"]),
        glass=(level * np.array(tints) * np.array([1.0, 0.985, 1.02])).astype(np.float32),
        blur=0.75 * exp(0.28 * z["blur"]),
        noise=1.6 * exp(0.3 * z["noise"]),
        zoom=exp(0.08 * z["zoom"]),
        pallor=float(np.clip(0.5 + 0.2 * z["pallor"], 0.05, 0.9)),
        red_hue=z["red_hue"],
        crowd=float(np.clip(0.17 + 0.07 * z["crowd"], 0.04, 0.34)),
        chains=float(np.clip(0.35 + 0.25 * z["chains"], 0, 0.85)),
        traits={name: 0.6 * z[name] for name in TRAITS},
    )


def _counts(rng: np.random.Generator, fields: int, cells: int) -> np.ndarray:
    """Return how many cells each field has: 2 to 14, `cells` in all."""
    wanted = np.exp(0.45 * rng.standard_normal(fields))
    counts = np.clip(np.round(wanted / wanted.sum() * cells), 2, 14).astype(int)
    while counts.sum() != cells:
        step = 1 if counts.sum() < cells else -1
        free = np.flatnonzero((counts + step >= 2) & (counts + step <= 14))
        counts[rng.choice(free)] += step
    return counts


def _draw(recipe: Recipe, row, look: Look | None = None) -> Field:
    """Draw the field of a row of the plan; random values follow seed, class and number."""
    rng = np.random.default_rng([recipe.seed, 13, int(row.label == "mm"), row.number + 1])
    look = look or _looks(recipe)[row.name]
    size = tuple(round(side * recipe.scale) for side in FULL_SIZE)
    radius = RADIUS * recipe.scale * look.zoom
    return draw_field(row.label, row.cells, look, radius, size, recipe.scale / 0.25, rng)


def _write(folder: Path, recipe: Recipe, row) -> None:
    endings = ["_nucleus_mask", "_background_mask"] + ["_cyto_mask"] * row.cytoplasm + [""]
    paths = {ending: folder / f"{row.name}{ending}.bmp" for ending in endings}
    if all(path.is_file() for path in paths.values()):
        return
    field = _draw(recipe, row)
    pixels = {
        "": field.image[:, :, ::-1],
        "_nucleus_mask": (field.nuclei > 0).astype(np.uint8) * 255,
        "_background_mask": field.background.astype(np.uint8) * 255,
        "_cyto_mask": ((field.cells > 0) & (field.nuclei == 0)).astype(np.uint8) * 255,
    }
    for ending, path in paths.items():
        encoded = cv2.imencode(".bmp", pixels[ending])[1]
        with atomic_path(path) as temporary:
            temporary.write_bytes(encoded.tobytes())
