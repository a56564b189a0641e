"""Folders that the course fills with drawn images: once and completely, never over other files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.base import arguments, code
from helpers.base.errors import DatasetError
from helpers.base.files import checksum, kept, read_sealed, require_room, write_json
from helpers.base.runtime import cores
from helpers.base.settings import LARGEST_SEED

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
    size : int
        Bytes of an image, where they are the same for all: what a drawing needs.
    """

    noun: str
    marker: str
    module: str
    recipe: type
    plan: Callable[[Any], pd.DataFrame]
    images: tuple[str, ...]
    size: int = 0

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
            images that are damaged or missing are drawn again, and all of them by another
            version of the code. A second process waits for the first.

        Raises
        ------
        DatasetError
            When the folder holds files that the course did not draw, or images of
            another recipe.
        """
        folder = Path(folder)
        self._refuse_foreign(folder)
        stamp = {**asdict(recipe), "code": code.version(self.module)}
        finished = folder / self._finished

        def read(path: Path) -> Path | None:
            record = read_sealed(path) or {}
            files = record.pop("files", {})
            marked = record == stamp == read_sealed(folder / self.marker)
            return folder if marked and not any(_damaged(folder, files)) else None

        def make(temporary: Path) -> None:
            self._clear(folder, stamp, finished)
            write_json(folder / self.marker, stamp)
            plan = self.plan(recipe)
            require_room(folder, self.size * (len(plan) - len(self._drawn(folder))))
            part = partial(_draw_part, self.plan, recipe, draw, folder)
            firsts = range(0, len(plan), _BATCH)
            try:
                with _pool(len(plan)) as pool:
                    for _ in pool.map(part, firsts):
                        pass
            except BrokenExecutor:  # a worker was killed: draw here what is missing
                _remove_half_written(folder)
                for first in firsts:
                    part(first)
            drawn = self._drawn(folder)
            names = [str(path.relative_to(folder)) for path in drawn]
            with ThreadPoolExecutor(cores()) as pool:
                stamps = dict(zip(names, pool.map(_stamp_of, drawn), strict=True))
            write_json(temporary, {**stamp, "files": stamps})

        return kept(finished, read, make)

    def _drawn(self, folder: Path) -> list[Path]:
        return [path for pattern in self.images for path in folder.glob(pattern)]

    def _clear(self, folder: Path, stamp: dict, finished: Path) -> None:
        """Remove images of other code and damaged ones; refuse a folder with other files."""
        done = read_sealed(finished) or {}
        files = done.pop("files", {})
        earlier = read_sealed(folder / self.marker) or done or None
        drawn = self._drawn(folder)
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
        for damaged in _damaged(folder, files):
            damaged.unlink(missing_ok=True)
        _remove_half_written(folder)

    def _refuse_foreign(self, folder: Path) -> None:
        """Raise an error if a folder without the notes of an earlier drawing holds other files."""
        if folder.exists() and not folder.is_dir():
            raise DatasetError(f"{folder.absolute()} is a file; draw into a folder.")
        notes = [self.marker, self._finished]
        if folder.is_dir() and not any(read_sealed(folder / note) for note in notes):
            # Hidden files are locks, and notes that another process is writing now.
            names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
            if names := [name for name in names if name not in notes]:
                first = next((path.name for path in self._drawn(folder)), names[0])
                raise DatasetError(
                    f"{folder.absolute()} holds files that the course did not draw, such as "
                    f"{first}; draw into another folder."
                )

    @property
    def _finished(self) -> str:
        return f"{Path(self.marker).stem}_finished.json"

    def find(self, path: str | os.PathLike) -> tuple[Any, Any]:
        """Return the recipe of the image in the file `path`, and its row of the plan.

        Raises
        ------
        DatasetError
            When the course did not draw the image, or did so with other code, or when
            the recipe has no image of that name.
        """
        path = Path(path)
        folder = next((one for one in path.parents if read_sealed(one / self.marker)), None)
        if folder is None:
            raise DatasetError(f"{path} is no {self.noun}: no folder above it has {self.marker}.")
        stamp = read_sealed(folder / self.marker)
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


def checked_seed(seed: int) -> int:
    """Return a seed of drawings, or raise DatasetError."""
    return arguments.whole("The seed", seed, DatasetError, 0, LARGEST_SEED)


def are_drawn(folder: str | os.PathLike) -> bool:
    """Return whether a folder, or one directly in it, was filled with drawn images."""
    return any(
        read_sealed(marker) is not None
        for pattern in ("phantom*.json", "*/phantom*.json")
        for marker in Path(folder).glob(pattern)
    )


def _remove_half_written(folder: Path) -> None:
    for path in folder.rglob(".*.bmp"):
        path.unlink(missing_ok=True)


def _stamp_of(path: Path) -> list:
    """Return size, time of the last change and checksum of a file."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, checksum(path)]


def _damaged(folder: Path, files: dict[str, list]) -> Iterator[Path]:
    """Yield each of the files that is missing or no longer as it was drawn.

    Only a file whose size or time is another one is read.
    """
    for name, (size, time, value) in files.items():
        path = folder / name
        try:
            state = path.stat()
            same = (state.st_size, state.st_mtime_ns) == (size, time) or checksum(path) == value
        except OSError:
            same = False
        if not same:
            yield path
