"""Phantoms: a data set that the course draws itself, in C-NMC's folders and file names.

The default of every chapter: no download, a known truth, and the same trap as in
the real data. Each subject has its own stain, focus and cell size, so a network that
was trained on a subject recognises it in the test set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
from PIL import Image

from helpers.base.errors import DatasetError
from helpers.base.files import atomic_path
from helpers.base.settings import DEFAULT_SEED, Profile, profile_of
from helpers.datasets.drawn.brushes import balanced_normals
from helpers.datasets.drawn.folder import DrawnSet, checked_seed
from helpers.datasets.drawn.frame_cell import TRAITS, Phantom, draw_cell
from helpers.datasets.drawn.optics import Style

#: Name of the file that marks a folder of phantoms.
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
    """Everything that determines a set of phantoms, apart from the code.

    Attributes
    ----------
    phantoms, subjects : int
        Total number of frames and of subjects.
    seed : int
        For every random choice.
    """

    phantoms: int
    subjects: int
    seed: int


def draw(
    folder: str | os.PathLike, profile: str | Profile = "quick", seed: int = DEFAULT_SEED
) -> Path:
    """Draw a profile's phantoms into `folder`, once, in C-NMC's layout.

    Parameters
    ----------
    folder : path-like
        Created if missing. The frames go to
        ``C-NMC_Leukemia/training_data/fold_{0,1,2}/{all,hem}/UID_<subject>_<image>_<cell>_<class>.bmp``.
    profile : str or Profile
        How many frames of how many subjects.
    seed : int
        Same seed, same bytes, for any number of cores.

    Returns
    -------
    pathlib.Path
        `folder`, see :meth:`helpers.datasets.drawn.folder.DrawnSet.draw_once`.

    Raises
    ------
    DatasetError
        When ``C-NMC_Leukemia`` in `folder` holds images that the course did not draw,
        or phantoms of another profile or seed.

    Notes
    -----
    A few frames appear a second time, byte for byte, under another subject of the
    same class in another fold, as 99 groups of files do in the real release.
    """
    return _SET.draw_once(folder, recipe_of(profile, seed), _write)


def truth(path: str | os.PathLike) -> Phantom:
    """Draw the phantom in the file `path` of a drawn folder again, with the truth about it.

    Raises
    ------
    DatasetError
        When no folder above `path` was filled by :func:`draw`, or it was by other code.
    """
    return draw_cell(*arguments_of(path))


def arguments_of(path: str | os.PathLike) -> tuple[str, Style, np.random.Generator]:
    """Return the arguments of :func:`~helpers.datasets.drawn.frame_cell.draw_cell` for a file.

    Raises
    ------
    DatasetError
        As for :func:`truth`.
    """
    return _arguments(*_SET.find(path))


def recipe_of(profile: str | Profile = "quick", seed: int = DEFAULT_SEED) -> Recipe:
    """Return the recipe of a profile's phantoms."""
    profile = profile_of(profile)
    return Recipe(profile.phantoms, profile.subjects, checked_seed(seed))


@lru_cache(maxsize=8)
def plan(recipe: Recipe) -> pd.DataFrame:
    """Return what will be drawn: one row per frame, in the order of drawing.

    Returns
    -------
    pandas.DataFrame
        `image_id`, `path` (inside the folder, with ``/``), `label`, `subject`,
        `fold`, `field` and `cell` (numbers in the name), `source` (the image
        whose bytes it shares; its own id except for a copy).

    Raises
    ------
    DatasetError
        When there are too few subjects, or too few frames for them.
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
                image_id = f"UID_{name}_{field}_{cell}_{label}"
                path = f"{_TREE}/training_data/fold_{fold}/{label}/{image_id}.bmp"
                rows.append((image_id, path, label, name, f"fold_{fold}", field, cell, image_id))
    columns = ["image_id", "path", "label", "subject", "fold", "field", "cell", "source"]
    table = pd.DataFrame(rows, columns=columns)
    _share(table)
    return table


_SET = DrawnSet("phantom", MARKER, __name__, Recipe, plan, (f"{_TREE}/**/*.bmp",), FRAME_BYTES)


@lru_cache(maxsize=8)
def styles(recipe: Recipe) -> dict[str, Style]:
    """Return each subject's style, drawn at random without regard to the class."""
    rng = np.random.default_rng([recipe.seed, 2])
    images = plan(recipe).groupby(["subject", "label"], sort=True).size()
    positive = images.index.get_level_values("label") == "all"
    normals = balanced_normals(rng, _SPREAD, positive, images.to_numpy())
    subjects = images.index.get_level_values("subject")
    return {subject: _style(z) for subject, z in zip(subjects, normals, strict=True)}


# Properties of a style that differ from subject to subject, as standard normal values.
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
    """Return log-normally distributed sizes that add up to `images`, 2 or more each."""
    normal = NormalDist()
    at = [normal.inv_cdf((i + 0.5) / subjects) for i in range(subjects)]
    share = np.exp(_SKEW * np.array(at))
    wanted = 2 + share / share.sum() * (images - 2 * subjects)
    sizes = np.floor(wanted).astype(int)
    rest = images - sizes.sum()
    sizes[np.argsort(sizes - wanted, kind="stable")[:rest]] += 1
    return sizes


def _folds(counts: np.ndarray) -> np.ndarray:
    """Return each subject's fold: the largest subject first, each into the smallest fold."""
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
    # Two subjects of medium size: few enough frames to be overlooked, enough to share some.
    names = sorted(sizes.index, key=lambda name: (sizes[name], name))
    giver = names[len(names) // 2]
    folds = blasts.groupby("subject")["fold"].first()
    taker = next(n for n in names[len(names) // 2 :] if folds[n] != folds[giver])
    copies = min(_COPIES, int(sizes[giver]) - 1)
    given = blasts.index[blasts["subject"] == giver][:copies]
    taken = blasts.index[blasts["subject"] == taker][-copies:]
    table.loc[taken, "source"] = table.loc[given, "image_id"].to_numpy()


def _arguments(recipe: Recipe, row) -> tuple[str, Style, np.random.Generator]:
    """Return the arguments of `draw_cell` for a row of the plan; a copy has its source's."""
    _, subject, field, cell, label = row.source.split("_")
    kind = 0 if label == "all" else 1
    number = int(subject.lstrip("H"))
    rng = np.random.default_rng([recipe.seed, 3, kind, number, int(field), int(cell)])
    return label, styles(recipe)[subject], rng


def _write(folder: Path, recipe: Recipe, row) -> None:
    path = folder / row.path
    if path.is_file() and path.stat().st_size == FRAME_BYTES:
        return
    frame = draw_cell(*_arguments(recipe, row)).frame
    with atomic_path(path, flush=False) as temporary:
        Image.fromarray(frame).save(temporary)
