"""Phantom leukocytes: the five kinds of white cell on bright smears, with the truth about them.

There are several subjects, each with its own stain and camera, and every subject has
cells of every kind. Nothing here is a photograph, and the kinds differ more clearly
than in reality. :mod:`helpers.datasets.drawn.leukocyte_cell` draws one cell.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base.errors import DatasetError
from helpers.base.files import atomic_path
from helpers.datasets.drawn.leukocyte_cell import KINDS, SIDE, Slide, check_kind, draw_leukocyte

__all__ = ["KINDS", "SIDE", "Leukocytes", "make", "save", "styles"]


@dataclass(frozen=True)
class Leukocytes:
    """Many phantom leukocytes.

    Attributes
    ----------
    catalog : pandas.DataFrame
        A catalog (``helpers.catalog.COLUMNS``), one row per image; `path` is empty.
    images : numpy.ndarray
        (n, SIDE, SIDE, 3), uint8, RGB; row i is row i of the catalog.
    nuclei, cytoplasms : numpy.ndarray
        (n, SIDE, SIDE), bool.
    """

    catalog: pd.DataFrame
    images: np.ndarray
    nuclei: np.ndarray
    cytoplasms: np.ndarray


def make(
    each: int = 40, subjects: int = 8, seed: int = 24, kinds: Sequence[str] = KINDS
) -> Leukocytes:
    """Draw `each` cells of each kind, distributed over `subjects` slides in turn.

    Every subject has cells of every kind, so a stain says nothing about the kind.

    Parameters
    ----------
    each : int
        Cells of each kind.
    subjects : int
        People, each with a slide of their own.
    seed : int
        Same seed, same pixels.
    kinds : sequence of str
        Some of `KINDS`.

    Returns
    -------
    Leukocytes

    Raises
    ------
    DatasetError
        When a kind is unknown or a number is below 1.
    """
    for kind in kinds:
        check_kind(kind)
    if each < 1 or subjects < 1 or not len(kinds):
        raise DatasetError(
            f"{each} cells of each of {len(kinds)} kinds from {subjects} subjects cannot be "
            "drawn: take one or more of each."
        )
    slides = list(styles(subjects, seed).items())
    rows, cells = [], {}
    for kind in kinds:
        for number in range(each):
            subject, slide = slides[number % subjects]
            rng = np.random.default_rng([seed, 7, KINDS.index(kind), number])
            name = f"{subject}_{kind}_{number:04d}"
            cells[name] = cell = draw_leukocyte(kind, slide, rng)
            digest = hashlib.sha256(cell.image.tobytes()).hexdigest()
            row = {"image_id": name, "path": "", "label": kind, "subject": subject}
            rows.append({**row, "sha256": digest})
    catalog = catalogs.make(rows)
    ordered = [cells[name] for name in catalog["image_id"]]
    return Leukocytes(
        catalog,
        np.stack([cell.image for cell in ordered]),
        np.stack([cell.nucleus for cell in ordered]),
        np.stack([cell.cytoplasm for cell in ordered]),
    )


def save(leukocytes: Leukocytes, folder: str | os.PathLike) -> pd.DataFrame:
    """Write each image to ``folder/<kind>/<image_id>.png``; return the catalog with paths.

    ``helpers.datasets.load("folders", folder, positive=...)`` reads the folder.
    """
    folder = Path(folder).absolute()
    catalog = leukocytes.catalog.copy()
    catalog["path"] = [
        str(folder / row.label / f"{row.image_id}.png") for row in catalog.itertuples()
    ]
    codes = [
        cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
        for image in leukocytes.images
    ]
    for path, code in zip(catalog["path"], codes, strict=True):
        with atomic_path(path) as temporary:
            temporary.write_bytes(code)
    return catalog.assign(sha256=[hashlib.sha256(code).hexdigest() for code in codes])


def styles(subjects: int, seed: int = 24) -> dict[str, Slide]:
    """Return a slide for each of `subjects` people, named ``p01``, ``p02``, ..."""
    slides = {}
    for number in range(1, subjects + 1):
        rng = np.random.default_rng([seed, 8, number])
        z = rng.standard_normal(10).clip(-2, 2)
        light = 234 + 6 * z[0]
        glass = np.clip([light, light - 6 + 3 * z[1], light - 12 + 7 * z[2]], 195, 250)
        slides[f"p{number:02d}"] = Slide(
            strength=float(np.exp(0.12 * z[3])),
            hue=float(0.8 * z[4]),
            blur=float(0.8 * np.exp(0.2 * z[5])),
            noise=float(1.8 * np.exp(0.3 * z[6])),
            zoom=float(np.exp(0.06 * z[7])),
            contrast=float(np.exp(0.15 * z[8])),
            fringe=(float(rng.normal(0, 0.3)), float(rng.normal(0, 0.3))),
            glass=tuple(glass.tolist()),
            crowd=float(9 * np.exp(0.25 * z[9])),
            pallor=float(rng.uniform(0.25, 0.6)),
        )
    return slides
