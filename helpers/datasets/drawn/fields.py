"""Phantom fields: smears that the course draws itself, in SN-AM's names and with its masks.

Chapter 12 runs on them where SN-AM is not at hand. Each field has a stain, a
light, a focus and a size of its own, so the cells of one field know each other,
and crops that are split at random leak here as they do in the real data.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import exp
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from helpers.base import code
from helpers.base.errors import DatasetError
from helpers.base.files import atomic_path
from helpers.base.runtime import cores
from helpers.base.settings import DEFAULT_SEED, Profile, profile_of
from helpers.datasets.drawn import frames as phantom
from helpers.datasets.drawn.field_cell import TRAITS, Stain
from helpers.datasets.drawn.field_scene import Field, Look, draw_field
from helpers.datasets.drawn.folder import draw_once, read_stamp

#: Written last: a folder that holds it holds every field.
MARKER = "phantom_fields.json"
#: Width and height of SN-AM's fields in pixels.
FULL_SIZE = 2560, 1920
#: Radius of a middling cell in a field of full size, in pixels.
RADIUS = 96


@dataclass(frozen=True)
class Recipe:
    """All that a set of phantom fields follows from, beside the code.

    Attributes
    ----------
    all_fields, mm_fields : int
        Numbered fields of each class. The fifth of `mm` is a reference as well;
        `ALL_ref` and `ALL_ALL_extra_images` come on top.
    cells : int
        Whole cells in all numbered fields that are not a reference.
    scale : float
        Side of a field against SN-AM's 2560 x 1920.
    seed : int
        From which every random choice follows.
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
    workers: int | None = None,
) -> Path:
    """Draw a profile's fields into `folder`, once, in SN-AM's names.

    Parameters
    ----------
    folder : path-like
        Made if missing. Holds ``ALL_1.bmp``, ``MM_1.bmp`` and so on, ``ALL_ref.bmp``,
        ``ALL_ALL_extra_images.bmp``, ``MM_5_also_ref_image.bmp`` and beside them
        ``*_nucleus_mask.bmp``, ``*_background_mask.bmp`` and for some
        ``*_cyto_mask.bmp`` (white where it is true).
    profile : str, Profile or Recipe
        How many fields and cells; the fields are scaled, see `SIZES`.
    seed : int
        Same seed, same bytes, whatever the number of workers.
    laboratories : bool
        False: light and stain of a field have nothing to do with its class.
        True: ALL and MM fields come from two laboratories with lamps of
        different colour, so that empty glass alone tells the classes apart.
    workers : int, optional
        Threads; None for one a core.

    Returns
    -------
    pathlib.Path
        `folder`. A finished one is left as it is, one whose drawing was stopped
        is completed, one drawn by another version of the code is drawn anew, and
        a second process waits for the first.

    Raises
    ------
    DatasetError
        When `folder` holds fields that the course did not draw, or phantom
        fields of another recipe.
    """
    folder = Path(folder)
    recipe = recipe_of(profile, seed, laboratories)

    def draw_all() -> None:
        rows = list(plan(recipe).itertuples())
        _looks(recipe)  # made here once, and not by every thread that first asks
        with ThreadPoolExecutor(workers or cores()) as pool:
            for _ in pool.map(lambda row: _draw_files(folder, recipe, row), rows):
                pass

    def remove() -> None:
        for name in plan(recipe)["name"]:
            for path in (folder / f"{name}.bmp", *folder.glob(f"{name}_*_mask.bmp")):
                path.unlink(missing_ok=True)

    def foreign() -> str:
        own = f"{folder} holds images that the course did not draw; draw into another folder."
        return own if any(folder.glob("*.bmp")) else ""

    stamp = {**asdict(recipe), "code": code_version()}
    return draw_once(folder, MARKER, stamp, draw=draw_all, remove=remove, foreign=foreign)


def truth(path: str | os.PathLike) -> Field:
    """Return the truth about the phantom field in the file `path`, drawn again.

    Raises
    ------
    DatasetError
        When no folder above `path` was filled by :func:`draw` of this version.
    """
    path = Path(path)
    for folder in path.parents:
        found = read_stamp(folder, MARKER)
        if found is None:
            continue
        if found.pop("code", None) != code_version():
            raise DatasetError(
                f"The phantom fields in {folder} were drawn by another version of the course; "
                "draw them anew."
            )
        return redraw(Recipe(**found), path.stem)
    raise DatasetError(f"{path} is no phantom field: no folder above it holds {MARKER}.")


def redraw(recipe: Recipe, name: str) -> Field:
    """Draw the field called `name` (a file's name without its ending) again."""
    table = plan(recipe)
    row = table.loc[table["name"] == name]
    if row.empty:
        raise DatasetError(f"No phantom field is called {name!r}, first is {table['name'][0]!r}.")
    return _draw_row(recipe, next(row.itertuples()))


def recipe_of(
    profile: str | Profile | Recipe = "quick",
    seed: int = DEFAULT_SEED,
    laboratories: bool = False,
) -> Recipe:
    """Return the recipe of a profile's phantom fields; a :class:`Recipe` as it is."""
    if isinstance(profile, Recipe):
        return profile
    sizes = SIZES.get(profile_of(profile).name, SIZES["smoke"])
    return Recipe(*sizes, seed=int(seed), laboratories=bool(laboratories))


@lru_cache(maxsize=8)
def plan(recipe: Recipe) -> pd.DataFrame:
    """Return what will be drawn: one row a field.

    Returns
    -------
    pandas.DataFrame
        `name` (of the file, without ending), `label`, `number` (0 for `ALL_ref`,
        -1 for the extra images), `role` (``field``, ``reference``, ``extra``),
        `cells` (whole ones), `cytoplasm` (whether it has a mask of it).
    """
    if min(recipe.all_fields, recipe.mm_fields) < 1 or not 0 < recipe.scale <= 1:
        raise DatasetError(
            f"{recipe} cannot be drawn: take a field or more of each class and a scale up to 1."
        )
    rng = np.random.default_rng([recipe.seed, 11])
    rows = [(f"ALL_{number}", "all", number, "field") for number in range(1, recipe.all_fields + 1)]
    rows += [("ALL_ref", "all", 0, "reference"), ("ALL_ALL_extra_images", "all", -1, "extra")]
    for number in range(1, recipe.mm_fields + 1):
        name, role = f"MM_{number}", "field"
        if number == 5:
            name, role = "MM_5_also_ref_image", "reference"
        rows.append((name, "mm", number, role))
    table = pd.DataFrame(rows, columns=["name", "label", "number", "role"])
    fields = table["role"] == "field"
    table["cells"] = 6
    # Fields of few and of many cells, about as many cells of either class.
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


def code_version() -> str:
    """Return 12 digits that change when the code that draws changes."""
    return code.version(__name__)


_SPREAD = (
    "strength", "hue", "contrast", "grain", "level", "warmth", "green", "blur", "noise", "zoom",
    "pallor", "red_hue", "crowd", "chains", *TRAITS,
)  # fmt: skip
#: How far apart the lamps of two laboratories are, in standard deviations of a field's.
_APART = {"warmth": 2.2, "green": -1.4, "level": 0.8}


@lru_cache(maxsize=8)
def _looks(recipe: Recipe) -> dict[str, Look]:
    """Return each field's look, of which no property tells the classes apart by chance."""
    rng = np.random.default_rng([recipe.seed, 12])
    table = plan(recipe)
    positive = (table["label"] == "mm").to_numpy()
    cells = table["cells"].to_numpy()
    drawn = {name: phantom._drawn_fairly(rng, positive, cells) for name in _SPREAD}
    if recipe.laboratories:
        for name, apart in _APART.items():
            drawn[name] = 0.45 * drawn[name] + np.where(positive, apart, -apart) / 2
    return {
        name: _look({key: float(values[index]) for key, values in drawn.items()})
        for index, name in enumerate(table["name"])
    }


def _look(z: dict[str, float]) -> Look:
    level = 226 + 9 * z["level"]
    tints = 1 + 0.028 * z["warmth"], 1 + 0.020 * z["green"], 1 - 0.028 * z["warmth"]
    return Look(
        stain=Stain(
            strength=exp(0.16 * z["strength"]),
            hue=0.8 * z["hue"],
            contrast=exp(0.2 * z["contrast"]),
            grain=exp(0.1 * z["grain"]),
        ),
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


def _draw_row(recipe: Recipe, row) -> Field:
    """Draw one field; all chance follows from the seed, the class and the number."""
    rng = np.random.default_rng([recipe.seed, 13, int(row.label == "mm"), row.number + 1])
    look = _looks(recipe)[row.name]
    size = tuple(round(side * recipe.scale) for side in FULL_SIZE)
    radius = RADIUS * recipe.scale * look.zoom
    return draw_field(row.label, row.cells, look, radius, size, recipe.scale / 0.25, rng)


def _draw_files(folder: Path, recipe: Recipe, row) -> None:
    names = ["nucleus_mask", "background_mask"] + ["cyto_mask"] * row.cytoplasm
    image = folder / f"{row.name}.bmp"
    masks = {name: folder / f"{row.name}_{name}.bmp" for name in names}
    if all(path.is_file() for path in (image, *masks.values())):
        return
    field = _draw_row(recipe, row)
    white = {
        "nucleus_mask": field.nuclei > 0,
        "background_mask": field.background,
        "cyto_mask": (field.cells > 0) & (field.nuclei == 0),
    }
    for name, path in masks.items():
        _write(path, white[name].astype(np.uint8) * 255)
    _write(image, field.image[:, :, ::-1])


def _write(path: Path, pixels: np.ndarray) -> None:
    encoded = cv2.imencode(".bmp", pixels)[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
