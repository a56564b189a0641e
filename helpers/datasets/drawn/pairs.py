"""The same phantom cell with one trait changed: where the two differ, the trait is.

For questions that no photograph answers, such as whether a network looks at the
nucleoli. Every other choice of chance, of the cell, the stain and the camera, is
the same in both drawings.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import types
from pathlib import Path

import numpy as np

from helpers.base.errors import DatasetError
from helpers.datasets.drawn import frame_cell as phantom_cells
from helpers.datasets.drawn import frames as phantom
from helpers.datasets.drawn.frame_cell import Phantom

#: Traits that can be changed alone. A cell of another size or outline would be drawn
#: on another grid, and differ from the first one in each pixel.
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
        In standard deviations of the trait among cells; 0 draws the very frame. Up
        is towards the blast. Nucleoli come and go whole, at most four, those that
        stay in their places.

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
    path = Path(path)
    folder = next((f for f in path.parents if (f / phantom.MARKER).is_file()), None)
    if folder is None:
        raise DatasetError(f"{path} is no phantom: no folder above it holds {phantom.MARKER}.")
    recipe = phantom._recipe_in(folder)
    table = phantom.plan(recipe)
    rows = table.loc[table["image_id"] == path.stem, "source"]
    if rows.empty:
        raise DatasetError(f"{path} is no phantom: {folder} was drawn without {path.stem!r}.")
    _, subject, field, cell, label = rows.iloc[0].split("_")
    parts = (0 if label == "all" else 1, int(subject.lstrip("H")), int(field), int(cell))
    rng = np.random.default_rng([recipe.seed, 3, *parts])
    style, draw = phantom.styles(recipe)[subject], phantom_cells.draw_cell
    if trait == "nucleoli":
        draw = _with_nucleoli(round(1.1 * shift))
    else:
        traits = dict(style.traits or {})
        traits[trait] = traits.get(trait, 0.0) + shift
        style = dataclasses.replace(style, traits=traits)
    return draw(label, style, rng)


def _with_nucleoli(more: int) -> types.FunctionType:
    """Return ``draw_cell`` as it draws with `more` nucleoli, and all else as without."""

    def nucleoli(
        rng: np.random.Generator, side: int, centre: np.ndarray, radius: float, count: int
    ) -> np.ndarray:
        twin = copy.deepcopy(rng)
        # Drawn for the sake of the chance that it takes up: what comes after stays the same.
        phantom_cells.nucleoli(rng, side, centre, radius, count)
        return phantom_cells.nucleoli(twin, side, centre, radius, int(np.clip(count + more, 0, 4)))

    names = {**vars(phantom_cells), "nucleoli": nucleoli}
    return types.FunctionType(phantom_cells.draw_cell.__code__, names)
