"""Phantoms: a data set that the course draws itself, in C-NMC's folders and names.

The default of every chapter: no download, a known truth, and the same trap as
in the real data. Each subject has a stain, a focus and a size of its own, so a
network that has met a subject in training knows it again in the test set.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import exp
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np
import pandas as pd

from helpers.base import code
from helpers.base.errors import DatasetError
from helpers.base.files import atomic_path
from helpers.base.runtime import cores
from helpers.base.settings import DEFAULT_SEED, Profile, profile_of
from helpers.datasets.drawn.folder import draw_once, read_stamp
from helpers.datasets.drawn.frame_cell import SIDE, TRAITS, Phantom, Style, draw_cell

#: Written last: a folder that holds it holds every frame.
MARKER = "phantoms.json"
#: Bytes of a 450x450 24-bit BMP, as in C-NMC's training set.
FRAME_BYTES = 608_454
_TREE = "C-NMC_Leukemia"
_SHARE_ALL_SUBJECTS = 47 / 73  # of C-NMC's training subjects
_SHARE_ALL_IMAGES = 7272 / 10661  # of its training images
_SKEW = 0.9  # SD of the logarithm of a subject's number of images
_COPIES = 3  # frames that a second subject shares, as subjects 51 and 78 share 11


@dataclass(frozen=True)
class Recipe:
    """All that a set of phantoms follows from, beside this module's code.

    Attributes
    ----------
    phantoms, subjects : int
        Frames and subjects in all.
    seed : int
        From which every random choice follows.
    """

    phantoms: int
    subjects: int
    seed: int


def draw(
    folder: str | os.PathLike,
    profile: str | Profile = "quick",
    seed: int = DEFAULT_SEED,
    workers: int | None = None,
) -> Path:
    """Draw a profile's phantoms into `folder`, once, in C-NMC's layout.

    Parameters
    ----------
    folder : path-like
        Made if missing. The frames go to
        ``C-NMC_Leukemia/training_data/fold_{0,1,2}/{all,hem}/UID_<subject>_<image>_<cell>_<class>.bmp``.
    profile : str or Profile
        How many frames of how many subjects.
    seed : int
        Same seed, same bytes, whatever the number of workers.
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
        When `folder` holds a ``C-NMC_Leukemia`` that the phantoms did not make,
        or phantoms of another profile or seed.

    Notes
    -----
    A few frames stand a second time, byte for byte, under another subject of the
    same class in another fold, as 99 groups of files do in the real release.
    """
    folder = Path(folder)
    recipe = recipe_of(profile, seed)

    def draw_all() -> None:
        rows = list(plan(recipe).itertuples())
        styles(recipe)  # made here once, and not by every thread that first asks
        with ThreadPoolExecutor(workers or cores()) as pool:
            for _ in pool.map(lambda row: _draw_file(folder, recipe, row), rows):
                pass

    def foreign() -> str:
        tree = folder / _TREE
        return (
            f"{tree} was not drawn by the course; draw the phantoms into another folder."
            if tree.exists()
            else ""
        )

    return draw_once(
        folder,
        MARKER,
        {**asdict(recipe), "code": code_version()},
        draw=draw_all,
        remove=lambda: shutil.rmtree(folder / _TREE, ignore_errors=True),
        foreign=foreign,
    )


def redraw(source: str | os.PathLike | Recipe, image_id: str) -> Phantom:
    """Draw one frame again, with the truth about it, in a few milliseconds.

    Parameters
    ----------
    source : path-like or Recipe
        The folder that :func:`draw` filled, or its recipe.
    image_id : str
        The file's name without its ending.

    Returns
    -------
    Phantom
        The same pixels as the file, with the masks of nucleus and cytoplasm.

    Raises
    ------
    DatasetError
        When the folder holds no phantoms of this version or no such image.
    """
    recipe = source if isinstance(source, Recipe) else _recipe_in(Path(source))
    table = plan(recipe)
    row = table.loc[table["image_id"] == image_id]
    if row.empty:
        raise DatasetError(f"No phantom is called {image_id!r}, first is {table['image_id'][0]!r}.")
    return _draw_row(recipe, next(row.itertuples()))


def truth(path: str | os.PathLike) -> Phantom:
    """Return the truth about the phantom in the file `path` of a drawn folder.

    Raises
    ------
    DatasetError
        When no folder above `path` was filled by :func:`draw`.
    """
    path = Path(path)
    for folder in path.parents:
        if (folder / MARKER).is_file():
            return redraw(folder, path.stem)
    raise DatasetError(f"{path} is no phantom: no folder above it holds {MARKER}.")


def recipe_of(profile: str | Profile = "quick", seed: int = DEFAULT_SEED) -> Recipe:
    """Return the recipe of a profile's phantoms."""
    profile = profile_of(profile)
    return Recipe(profile.phantoms, profile.subjects, int(seed))


@lru_cache(maxsize=8)
def plan(recipe: Recipe) -> pd.DataFrame:
    """Return what will be drawn: one row a frame, in the order of drawing.

    Returns
    -------
    pandas.DataFrame
        `image_id`, `path` (inside the folder, with ``/``), `label`, `subject`,
        `fold`, `field` and `cell` (numbers in the name), `source` (the image
        whose bytes it shares; its own id except for a copy).
    """
    if recipe.subjects < 12 or recipe.phantoms < 4 * recipe.subjects:
        raise DatasetError(
            f"{recipe.phantoms} phantoms of {recipe.subjects} subjects cannot be drawn: "
            "take 12 subjects or more and 4 frames a subject or more."
        )
    rng = np.random.default_rng([recipe.seed, 1])
    rows = []
    for label, names, counts in _subjects(recipe, rng):
        folds = _folds(counts)
        for name, count, fold in zip(names, counts, folds, strict=True):
            for field, cell in _fields(rng, int(count)):
                rows.append((label, name, f"fold_{fold}", field, cell))
    table = pd.DataFrame(rows, columns=["label", "subject", "fold", "field", "cell"])
    parts = [table[c].astype(str) for c in ("subject", "field", "cell", "label")]
    table["image_id"] = "UID_" + parts[0].str.cat(parts[1:], sep="_")
    table["path"] = (
        f"{_TREE}/training_data/"
        + table["fold"]
        + "/"
        + table["label"]
        + "/"
        + table["image_id"]
        + ".bmp"
    )
    table["source"] = table["image_id"]
    _share(table)
    return table


@lru_cache(maxsize=8)
def styles(recipe: Recipe) -> dict[str, Style]:
    """Return each subject's style.

    Styles are drawn by chance, without a look at the class. As the subjects are
    few and some are large, chance alone could let a stain tell the classes
    apart; a property that would, over all images, is drawn again.
    """
    rng = np.random.default_rng([recipe.seed, 2])
    table = plan(recipe).groupby(["subject", "label"], sort=True).size().reset_index(name="images")
    positive = (table["label"] == "all").to_numpy()
    images = table["images"].to_numpy()
    drawn = {name: _drawn_fairly(rng, positive, images) for name in _SPREAD}
    return {
        subject: _style({name: float(values[index]) for name, values in drawn.items()})
        for index, subject in enumerate(table["subject"])
    }


def code_version() -> str:
    """Return 12 digits that change when the code that draws changes."""
    return code.version(__name__)


# Properties of a style that are drawn for each subject, as standard normal values.
_SPREAD = (
    "strength", "hue", "warmth", "green", "blur", "noise", "zoom", "contrast", "grain",
    "fringe_x", "fringe_y", "margin", "ragged",
    *TRAITS,
)  # fmt: skip


def _style(z: dict[str, float]) -> Style:
    return Style(
        strength=1 + 0.195 * z["strength"],
        hue=0.525 * z["hue"],
        warmth=0.6 * z["warmth"],
        green=1.2 * z["green"],
        blur=1.15 * exp(0.35 * z["blur"]),
        noise=0.8 * exp(0.25 * z["noise"]),
        zoom=exp(0.075 * z["zoom"]),
        contrast=exp(0.3 * z["contrast"]),
        grain=exp(0.08 * z["grain"]),
        fringe=(0.7 * z["fringe_x"], 0.7 * z["fringe_y"]),
        margin=2.0 + 1.0 * z["margin"],
        ragged=1.25 * exp(0.3 * z["ragged"]),
        traits={name: 0.6 * z[name] for name in TRAITS},
    )


def _subjects(recipe: Recipe, rng: np.random.Generator) -> Iterator[tuple]:
    """Yield for each class its name, its subjects and their numbers of images."""
    hem = max(6, round(recipe.subjects * (1 - _SHARE_ALL_SUBJECTS)))
    frames = round(recipe.phantoms * _SHARE_ALL_IMAGES)
    for label, subjects, images in (
        ("all", recipe.subjects - hem, frames),
        ("hem", hem, recipe.phantoms - frames),
    ):
        prefix = "H" if label == "hem" else ""
        names = [f"{prefix}{number}" for number in range(1, subjects + 1)]
        yield label, names, rng.permutation(_sizes(subjects, images))


def _sizes(subjects: int, images: int) -> np.ndarray:
    """Return log-normally spread sizes that add up to `images`, 2 or more each."""
    normal = NormalDist()
    at = [normal.inv_cdf((i + 0.5) / subjects) for i in range(subjects)]
    share = np.exp(_SKEW * np.array(at))
    wanted = 2 + share / share.sum() * (images - 2 * subjects)
    sizes = np.floor(wanted).astype(int)
    rest = images - sizes.sum()
    sizes[np.argsort(sizes - wanted, kind="stable")[:rest]] += 1
    return sizes


def _folds(counts: np.ndarray) -> np.ndarray:
    """Return a fold for each subject: the largest first, into the emptiest fold."""
    filled, folds = np.zeros(3), np.zeros(len(counts), int)
    for index in np.argsort(-counts, kind="stable"):
        folds[index] = int(np.argmin(filled))
        filled[folds[index]] += counts[index]
    return folds


def _fields(rng: np.random.Generator, count: int) -> Iterator[tuple[int, int]]:
    """Yield field and cell numbers, one to six cells a field, for `count` frames."""
    field = 1
    while count > 0:
        cells = min(int(rng.integers(1, 7)), count)
        for cell in range(1, cells + 1):
            yield field, cell
        field, count = field + 1, count - cells


def _share(table: pd.DataFrame) -> None:
    """Let one subject share frames with another of its class in another fold."""
    blasts = table[table["label"] == "all"]
    sizes = blasts["subject"].value_counts()
    # Two of middling size: small enough to be overlooked, large enough to lend frames.
    names = sorted(sizes.index, key=lambda name: (sizes[name], name))
    giver = names[len(names) // 2]
    fold = blasts.loc[blasts["subject"] == giver, "fold"].iloc[0]
    folds = blasts.groupby("subject")["fold"].first()
    taker = next(n for n in names[len(names) // 2 :] if folds[n] != fold)
    copies = min(_COPIES, int(sizes[giver]) - 1)
    given = blasts.index[blasts["subject"] == giver][:copies]
    taken = blasts.index[blasts["subject"] == taker][-copies:]
    table.loc[taken, "source"] = table.loc[given, "image_id"].to_numpy()


def _drawn_fairly(rng: np.random.Generator, positive: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return a standard normal value a subject, of AUC 0.4 to 0.6 for the class over images."""
    weights = np.outer(images * positive, images * ~positive)
    while True:
        values = rng.standard_normal(len(images)).clip(-2.2, 2.2)
        higher = values[:, None] > values[None, :]
        if abs((weights * higher).sum() / weights.sum() - 0.5) < 0.1:
            return values


def _draw_row(recipe: Recipe, row) -> Phantom:
    """Draw the frame of a row of the plan; a copy is drawn as its source."""
    _, subject, field, cell, label = row.source.split("_")
    kind = 0 if label == "all" else 1
    number = int(subject.lstrip("H"))
    rng = np.random.default_rng([recipe.seed, 3, kind, number, int(field), int(cell)])
    return draw_cell(label, styles(recipe)[subject], rng)


def _draw_file(folder: Path, recipe: Recipe, row) -> None:
    path = folder / row.path
    if path.is_file() and path.stat().st_size == FRAME_BYTES:
        return
    frame = _draw_row(recipe, row).frame
    with atomic_path(path) as temporary:
        temporary.write_bytes(bmp(frame))


def bmp(frame: np.ndarray) -> bytes:
    """Return an RGB frame (450, 450, 3), uint8, as the bytes of C-NMC's kind of BMP."""
    height, width = frame.shape[:2]
    pitch = (3 * width + 3) // 4 * 4  # rows end on a multiple of four bytes
    rows = np.zeros((height, pitch), np.uint8)
    rows[:, : 3 * width] = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)[::-1].reshape(height, -1)
    size = pitch * height
    file_header = struct.pack("<2sIHHI", b"BM", 54 + size, 0, 0, 54)
    image_header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 3780, 3780, 0, 0)
    return file_header + image_header + rows.tobytes()


def _recipe_in(folder: Path) -> Recipe:
    found = read_stamp(folder, MARKER)
    if found is None:
        raise DatasetError(f"{folder} holds no finished phantoms: {MARKER} is missing.")
    if found.pop("code", None) != code_version():
        raise DatasetError(
            f"The phantoms in {folder} were drawn by another version of the course; draw them anew."
        )
    return Recipe(**found)


assert SIDE == 450  # FRAME_BYTES follows from it
