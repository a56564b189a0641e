"""Folders that the course fills with drawn images: once and completely, never over other files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.base import code
from helpers.base.errors import DatasetError
from helpers.base.files import kept, write_json
from helpers.base.runtime import cores

#: From this many images on, processes draw: threads mostly wait for each other's Python code.
PROCESSES_FROM = 600
_BATCH = 16  # images that a worker draws at a time


@dataclass(frozen=True)
class DrawnSet:
    """One kind of images that the course draws, and the folders that hold them.

    Attributes
    ----------
    noun : str
        Name of one image, for messages.
    marker : str
        Name of the file with the recipe and the code hash of a folder's images.
        It is written before the first image; ``*_finished.json`` after the last.
    module : str
        Name of the module that draws. Its code and everything that it imports count.
    recipe : type
        A dataclass of everything that determines the images, apart from the code.
    plan : callable
        Takes a recipe, returns a table with one row per image; its first column is
        the name of the image's file without ending.
    images : tuple of str
        Patterns, relative to the folder, of the files that are drawn.
    """

    noun: str
    marker: str
    module: str
    recipe: type
    plan: Callable[[Any], pd.DataFrame]
    images: tuple[str, ...]

    def draw_once(
        self,
        folder: str | os.PathLike,
        recipe: Any,
        draw: Callable[[Path, Any, Any], object],
    ) -> Path:
        """Fill a folder with drawn images, unless the same were drawn there before.

        Parameters
        ----------
        folder : path-like
            Created if missing.
        recipe : dataclass
            What to draw.
        draw : callable
            Takes folder, recipe and a row of the plan and draws the row's files,
            unless they are there already.

        Returns
        -------
        pathlib.Path
            `folder`. A finished one stays as it is, an interrupted one is completed,
            one drawn by another version of the code is drawn anew. A second process
            waits for the first.

        Raises
        ------
        DatasetError
            When the folder holds images that the course did not draw, or images of
            another recipe.
        """
        folder = Path(folder)
        stamp = {**asdict(recipe), "code": code.version(self.module)}
        finished = folder / f"{Path(self.marker).stem}_finished.json"

        def make(temporary: Path) -> None:
            self._clear(folder, stamp, finished)
            write_json(folder / self.marker, stamp)
            count = len(self.plan(recipe))
            part = partial(_draw_part, self.plan, recipe, draw, folder)
            firsts = range(0, count, _BATCH)
            try:
                with _pool(count) as pool:
                    for _ in pool.map(part, firsts):
                        pass
            except BrokenExecutor:  # a worker was killed: draw here what is missing
                for first in firsts:
                    part(first)
            write_json(temporary, stamp)

        kept(finished, lambda path: stamp if _read(path) == stamp else None, make)
        return folder

    def _clear(self, folder: Path, stamp: dict, finished: Path) -> None:
        """Remove images of other code and half-written files; refuse a folder with other files."""
        earlier = _read(folder / self.marker)
        drawn = [path for pattern in self.images for path in folder.glob(pattern)]
        if earlier is None and drawn:
            raise DatasetError(
                f"{folder} holds images that the course did not draw, such as {drawn[0].name}; "
                "draw into another folder."
            )
        if earlier is not None and {**earlier, "code": ""} != {**stamp, "code": ""}:
            raise DatasetError(
                f"{folder} holds other {self.noun}s ({earlier}); delete the folder or draw into "
                "another one."
            )
        if earlier is not None and earlier != stamp:
            # The marker keeps the old stamp until the last old image is gone: if this
            # process is killed before that, the next one removes the rest.
            finished.unlink(missing_ok=True)
            for path in drawn:
                path.unlink(missing_ok=True)
        for half_written in folder.rglob(".*.bmp"):
            half_written.unlink(missing_ok=True)

    def find(self, path: str | os.PathLike) -> tuple[Any, Any]:
        """Return the recipe of the image in the file `path`, and its row of the plan.

        Raises
        ------
        DatasetError
            When the course did not draw the image, or did so with other code, or when
            the recipe has no image of that name.
        """
        path = Path(path)
        folder = next((one for one in path.parents if _read(one / self.marker)), None)
        if folder is None:
            raise DatasetError(f"{path} is no {self.noun}: no folder above it has {self.marker}.")
        stamp = _read(folder / self.marker)
        if stamp.pop("code", None) != code.version(self.module):
            raise DatasetError(
                f"The {self.noun}s in {folder} were drawn by another version of the course; "
                "draw them anew."
            )
        recipe = self.recipe(**stamp)
        plan = self.plan(recipe)
        names = plan.iloc[:, 0]
        if not (names == path.stem).any():
            raise DatasetError(f"No {self.noun} is called {path.stem!r}, first is {names[0]!r}.")
        return recipe, next(plan[names == path.stem].itertuples())


def _pool(count: int) -> Executor:
    """Return workers on all cores: nobody else draws meanwhile, and others wait for the images."""
    if count < PROCESSES_FROM or cores() == 1:
        return ThreadPoolExecutor(cores())
    from joblib.externals.loky import ProcessPoolExecutor  # works in notebooks, without fork

    # If this process is killed, the workers end by themselves after that many idle seconds.
    return ProcessPoolExecutor(cores(), timeout=10)


def _draw_part(plan: Callable, recipe: Any, draw: Callable, folder: Path, first: int) -> None:
    """Draw the images of `_BATCH` rows of the plan."""
    for row in plan(recipe)[first : first + _BATCH].itertuples():
        draw(folder, recipe, row)


def are_drawn(folder: str | os.PathLike) -> bool:
    """Return whether a folder, or one directly in it, was filled with drawn images."""
    return any(
        _read(marker) is not None
        for pattern in ("phantom*.json", "*/phantom*.json")
        for marker in Path(folder).glob(pattern)
    )


def _read(path: Path) -> dict | None:
    """Return what a marker says, None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
