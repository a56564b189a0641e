"""Folders that the course fills with images it draws: once, whole, and over nobody's own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import filelock

from helpers.base.errors import DatasetError
from helpers.base.files import write_json


def draw_once(
    folder: str | os.PathLike,
    marker: str,
    stamp: dict,
    draw: Callable[[], object],
    remove: Callable[[], object],
    foreign: Callable[[], str],
) -> Path:
    """Let `draw` fill a folder, unless the same was drawn there before.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    marker : str
        Name of the file, ending in ``.json``, that says what is in the folder.
        It is written last: a folder that holds it holds every image.
    stamp : dict
        What the images follow from: a recipe, and under ``code`` a version of
        the code that draws.
    draw : callable
        Draws every image that is not there yet.
    remove : callable
        Removes the images that an older version of the code drew.
    foreign : callable
        Returns what to tell when the folder holds images that are not the course's,
        ``""`` when it does not; asked only where no marker stands.

    Returns
    -------
    pathlib.Path
        `folder`. A finished one is left as it is, one whose drawing was stopped
        is completed, one drawn by another version of the code is drawn anew, and
        a second process waits for the first.

    Raises
    ------
    DatasetError
        When the folder is somebody's own, or follows from another recipe.
    """
    folder = Path(folder)
    if read_stamp(folder, marker) == stamp:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f".{Path(marker).stem}.lock"):
        if read_stamp(folder, marker) == stamp:
            return folder
        started = f"{Path(marker).stem}_unfinished.json"
        found = read_stamp(folder, marker) or read_stamp(folder, started)
        told = foreign() if found is None else ""
        if told:
            raise DatasetError(told)
        if found is not None and {**found, "code": ""} != {**stamp, "code": ""}:
            raise DatasetError(
                f"{folder} holds other {Path(marker).stem.replace('_', ' ')} ({found}); delete "
                "the folder or draw into another one."
            )
        if found is not None and found != stamp:
            # Killed while the old ones go, the folder still says whose it is.
            write_json(folder / started, found)
            (folder / marker).unlink(missing_ok=True)
            remove()
        write_json(folder / started, stamp)
        for leftover in folder.rglob(".*.bmp"):  # what a killed process left half written
            leftover.unlink(missing_ok=True)
        draw()
        write_json(folder / marker, stamp)
        (folder / started).unlink(missing_ok=True)
    return folder


def read_stamp(folder: Path, marker: str) -> dict | None:
    """Return what `marker` says is in the folder, None where it is missing or damaged."""
    try:
        return json.loads((folder / marker).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def are_drawn(folder: str | os.PathLike) -> bool:
    """Return whether a folder, or one directly in it, was filled by :func:`draw_once`."""
    return any(
        read_stamp(found.parent, found.name) is not None
        for pattern in ("phantom*.json", "*/phantom*.json")
        for found in Path(folder).glob(pattern)
    )
