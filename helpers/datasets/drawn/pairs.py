"""The same phantom cell with one trait changed: only this trait makes the images different.

For questions that no photograph answers, such as whether a network looks at the
nucleoli. All other random choices, of cell, stain and camera, are the same in both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from helpers.base.errors import DatasetError
from helpers.datasets.drawn import frames
from helpers.datasets.drawn.frame_cell import Phantom, draw_cell

#: Traits that can be changed alone. A cell of another size or outline is drawn on
#: another grid, so each of its pixels would differ.
CHANGEABLE = ("filling", "openness", "nucleoli", "basophilia")


def change(path: str | os.PathLike, trait: str, shift: float) -> Phantom:
    """Draw the phantom in a file again, with one trait shifted.

    Parameters
    ----------
    path : path-like
        Of a frame in a folder that :func:`helpers.datasets.drawn.frames.draw` filled.
    trait : str
        One of :data:`CHANGEABLE`.
    shift : float
        In standard deviations of the trait among cells; 0 draws the frame as it is, a
        positive value makes the cell more like a blast. A whole number of nucleoli is
        added or removed, to none or four at most; the others stay in their places.

    Returns
    -------
    Phantom
        Its `label` is the file's: the class that the cell was drawn for.

    Raises
    ------
    DatasetError
        When the trait cannot be changed alone, or the file is no phantom.
    """
    if trait not in CHANGEABLE:
        raise DatasetError(
            f"The trait is {trait!r}, but only {', '.join(CHANGEABLE)} can be changed alone."
        )
    label, style, rng = frames.arguments_of(path)
    if trait == "nucleoli":
        return draw_cell(label, style, rng, more_nucleoli=round(1.1 * shift))
    traits = {**style.traits, trait: style.traits[trait] + shift}
    return draw_cell(label, replace(style, traits=traits), rng)


def redrawable(paths: Iterable[str | os.PathLike]) -> np.ndarray:
    """Return which files are phantoms, which :func:`change` can draw again; bool, shape (n,)."""

    def known(path: str | os.PathLike) -> bool:
        try:
            frames.arguments_of(path)
        except DatasetError:
            return False
        return True

    return np.array([known(path) for path in paths], dtype=bool)
