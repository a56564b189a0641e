"""Phantom fields: smears that the course draws itself, in SN-AM's names and with its masks.

Chapter 12 runs on them where SN-AM is not at hand. Each field has a stain, a
light, a focus and a size of its own, so the cells of one field know each other,
and crops that are split at random leak here as they do in the real data.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import exp
from pathlib import Path

import cv2
import filelock
import numpy as np
import pandas as pd

from helpers.datasets import phantom, phantom_cells, phantom_field_cells
from helpers.datasets.phantom import PhantomError
from helpers.datasets.phantom_cells import noise
from helpers.datasets.phantom_field_cells import (
    TRAITS,
    Patch,
    Stain,
    draw_cell,
    platelet,
    red_cell,
)
from helpers.files import atomic_path, write_json
from helpers.settings import DEFAULT_SEED, Profile, profile_of

#: Written last: a folder that holds it holds every field.
MARKER = "phantom_fields.json"
#: Width and height of SN-AM's fields in pixels.
FULL_SIZE = 2560, 1920
#: Radius of a middling cell in a field of full size, in pixels.
RADIUS = 96
_STARTED = "phantom_fields_unfinished.json"


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


@dataclass(frozen=True)
class Field:
    """A drawn field and the truth about it.

    Attributes
    ----------
    image : numpy.ndarray
        (h, w, 3), uint8, RGB.
    nuclei, cells : numpy.ndarray
        (h, w), int32: 0 is ground, n the nuclei (the whole) of the n-th cell of
        `table`; where cells overlap, the later one lies on top.
    table : pandas.DataFrame
        One row a cell: `cell` (from 1), `label`, its middle `x` and `y` in pixels,
        `whole` (False where the field's border cuts it) and what
        :class:`~helpers.datasets.phantom_field_cells.Patch` tells of it.
    background : numpy.ndarray
        (h, w), bool: glass without any cell, red ones included.
    """

    image: np.ndarray
    nuclei: np.ndarray
    cells: np.ndarray
    table: pd.DataFrame
    background: np.ndarray


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
    PhantomError
        When `folder` holds fields that the course did not draw, or phantom
        fields of another recipe.
    """
    folder = Path(folder)
    recipe = recipe_of(profile, seed, laboratories)
    stamp = {**asdict(recipe), "code": code_version()}
    if _read_json(folder / MARKER) == stamp:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".phantom_fields.lock"):
        if _read_json(folder / MARKER) == stamp:
            return folder
        _claim(folder, stamp)
        rows = list(plan(recipe).itertuples())
        _looks(recipe)  # made here once, and not by every thread that first asks
        with ThreadPoolExecutor(workers or phantom._cores()) as pool:
            for _ in pool.map(lambda row: _draw_files(folder, recipe, row), rows):
                pass
        write_json(folder / MARKER, stamp)
        (folder / _STARTED).unlink(missing_ok=True)
    return folder


def truth(path: str | os.PathLike) -> Field:
    """Return the truth about the phantom field in the file `path`, drawn again.

    Raises
    ------
    PhantomError
        When no folder above `path` was filled by :func:`draw` of this version.
    """
    path = Path(path)
    for folder in path.parents:
        found = _read_json(folder / MARKER)
        if found is None:
            continue
        if found.pop("code", None) != code_version():
            raise PhantomError(
                f"The phantom fields in {folder} were drawn by another version of the course; "
                "draw them anew."
            )
        return redraw(Recipe(**found), path.stem)
    raise PhantomError(f"{path} is no phantom field: no folder above it holds {MARKER}.")


def redraw(recipe: Recipe, name: str) -> Field:
    """Draw the field called `name` (a file's name without its ending) again."""
    table = plan(recipe)
    row = table.loc[table["name"] == name]
    if row.empty:
        raise PhantomError(f"No phantom field is called {name!r}, first is {table['name'][0]!r}.")
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
        raise PhantomError(
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
            raise PhantomError(
                f"{cells} cells in {len(chosen)} fields of {label} cannot be drawn: take from 2 "
                "to 14 cells a field."
            )
        table.loc[chosen, "cells"] = _counts(rng, len(chosen), cells)
    table["cytoplasm"] = rng.uniform(size=len(table)) < 0.4
    return table


def code_version() -> str:
    """Return 12 digits that change when the code that draws changes."""
    digest = hashlib.sha256()
    for name in (__file__, phantom_field_cells.__file__, phantom_cells.__file__):
        digest.update(Path(name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class _Look:
    """How one field was stained, lit and photographed, and how its cells tend to be."""

    stain: Stain
    glass: np.ndarray  # light through empty glass, R, G, B of 255
    blur: float  # in pixels of a quarter-size field
    noise: float  # in grey levels
    zoom: float
    pallor: float  # of the red cells' middles
    red_hue: float
    crowd: float  # share of the field that red cells take
    chains: float  # how readily red cells stick to each other
    traits: dict[str, float]


_SPREAD = (
    "strength", "hue", "contrast", "grain", "level", "warmth", "green", "blur", "noise", "zoom",
    "pallor", "red_hue", "crowd", "chains", *TRAITS,
)  # fmt: skip
#: How far apart the lamps of two laboratories are, in standard deviations of a field's.
_APART = {"warmth": 2.2, "green": -1.4, "level": 0.8}


@lru_cache(maxsize=8)
def _looks(recipe: Recipe) -> dict[str, _Look]:
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


def _look(z: dict[str, float]) -> _Look:
    level = 226 + 9 * z["level"]
    tints = 1 + 0.028 * z["warmth"], 1 + 0.020 * z["green"], 1 - 0.028 * z["warmth"]
    return _Look(
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
    width, height = (round(side * recipe.scale) for side in FULL_SIZE)
    radius = RADIUS * recipe.scale * look.zoom
    patches = [
        draw_cell(row.label, radius, look.stain, look.traits, rng)
        for _ in range(row.cells + int(rng.uniform() < 0.35))
    ]
    places = _places(rng, patches, row.cells, width, height)
    density = np.zeros((height, width, 3), np.float32)
    nuclei = np.zeros((height, width), np.int32)
    cells = np.zeros((height, width), np.int32)
    _lay_red_cells(rng, density, look, radius, list(zip(places, patches, strict=True)))
    background = density.max(axis=2) < 0.03
    rows = []
    for number, (patch, (x, y)) in enumerate(zip(patches, places, strict=True), start=1):
        inside, part = _overlap(len(patch.cell), x, y, width, height)
        # A cell lies on the glass and pushes aside what would lie under it.
        lifted = 1 - 0.9 * patch.cell[part][..., None].astype(np.float32)
        density[inside] = density[inside] * lifted + patch.density[part]
        cells[inside][patch.cell[part]] = number
        nuclei[inside][patch.cell[part]] = 0
        nuclei[inside][patch.nucleus[part]] = number
        rows.append(
            {
                "cell": number,
                "label": row.label,
                "x": x,
                "y": y,
                "whole": number <= row.cells,
                **patch.parameters,
            }
        )
    background &= cells == 0
    image = _photographed(rng, density, look, recipe.scale / 0.25)
    return Field(image, nuclei, cells, pd.DataFrame(rows), background)


def _places(rng, patches: list[Patch], whole: int, width: int, height: int) -> list[tuple]:
    """Return the middle (x, y) of each cell: apart, a few touching, the last cut by the border."""
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
            # The more often it fails, the closer cells may stand.
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


def _lay_red_cells(rng, density, look: _Look, radius: float, placed: list) -> None:
    """Lay red cells and platelets on the glass, single or in chains, none on a white cell."""
    height, width = density.shape[:2]
    size = radius * 0.58
    count = int(look.crowd * height * width / (np.pi * size * size))
    x, y, turn = rng.uniform(0, width), rng.uniform(0, height), 0.0
    centres = np.array([place for place, _ in placed])
    reach = np.array([len(patch.cell) / 2 for _, patch in placed])
    for _ in range(count):
        if rng.uniform() < look.chains:
            turn += 0.5 * rng.standard_normal()
            x, y = x + 1.45 * size * np.cos(turn), y + 1.45 * size * np.sin(turn)
        else:
            x, y = rng.uniform(-size, width + size), rng.uniform(-size, height + size)
            turn = rng.uniform(0, 2 * np.pi)
        cell = red_cell(rng, size * exp(0.06 * rng.standard_normal()), look.pallor, look.red_hue)
        if (np.hypot(centres[:, 0] - x, centres[:, 1] - y) > 0.88 * reach + size * 0.8).all():
            _lay(density, cell * np.float32(look.stain.strength), x, y)
    for _ in range(int(rng.poisson(3.5))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        spot = platelet(rng, radius * rng.uniform(0.10, 0.17))
        if (np.hypot(centres[:, 0] - x, centres[:, 1] - y) > reach + size * 0.3).all():
            _lay(density, spot * np.float32(look.stain.strength), x, y)


def _lay(density: np.ndarray, patch: np.ndarray, x: float, y: float) -> None:
    height, width = density.shape[:2]
    inside, part = _overlap(len(patch), x, y, width, height)
    density[inside] += patch[part]


def _overlap(side: int, x: float, y: float, width: int, height: int) -> tuple[tuple, tuple]:
    """Return where a patch around (x, y) lies in the field, and which part of it does."""
    left, top = round(x - (side - 1) / 2), round(y - (side - 1) / 2)
    first, last = max(left, 0), max(min(left + side, width), 0)
    high, low = max(top, 0), max(min(top + side, height), 0)
    inside = slice(high, max(low, high)), slice(first, max(last, first))
    part = (
        slice(high - top, max(low, high) - top),
        slice(first - left, max(last, first) - left),
    )
    return inside, part


def _photographed(rng, density: np.ndarray, look: _Look, finer: float) -> np.ndarray:
    """Return the picture (h, w, 3), uint8, that a camera takes of the glass."""
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


def _claim(folder: Path, stamp: dict) -> None:
    """Make sure that what stands in the folder is this recipe's, or nothing."""
    found = _read_json(folder / MARKER) or _read_json(folder / _STARTED)
    ours = [f"{name}*.bmp" for name in plan(recipe_from(stamp))["name"]]
    if found is None and any(folder.glob("*.bmp")):
        raise PhantomError(
            f"{folder} holds images that the course did not draw; draw into another folder."
        )
    if found is not None and {**found, "code": ""} != {**stamp, "code": ""}:
        raise PhantomError(
            f"{folder} holds other phantom fields ({found}); delete the folder or draw into "
            "another one."
        )
    if found is not None and found != stamp:
        # Fields of an older version go; killed here, the folder still says whose it is.
        write_json(folder / _STARTED, found)
        (folder / MARKER).unlink(missing_ok=True)
        for pattern in ours:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
    write_json(folder / _STARTED, stamp)
    for leftover in folder.glob(".*.bmp"):  # what a killed process left half written
        leftover.unlink(missing_ok=True)


def recipe_from(stamp: dict) -> Recipe:
    """Return the recipe in what a drawn folder says of itself."""
    return Recipe(**{name: value for name, value in stamp.items() if name != "code"})


def _read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
