"""The trained networks on this disk, read from their records: none is loaded for the list."""

from __future__ import annotations

import datetime
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from helpers.base.errors import AppError
from helpers.base.files import read_csv, read_sealed
from helpers.base.settings import Profile, Settings

#: The most networks that vote.
MOST_MEMBERS = 5
#: Data sets of which only drawn cells were ever seen.
DRAWN = ("phantom",)


@dataclass(frozen=True)
class SavedRun:
    """A finished training of the course.

    Attributes
    ----------
    folder : pathlib.Path
        With ``best.keras`` and ``record.json``.
    record : dict
    reason : str
        Why it cannot stand behind the app, in a sentence; ``""`` when it can.
    size : int
        Side of the images that the network takes, in pixels; 0 when unknown.
    """

    folder: Path
    record: dict
    reason: str
    size: int

    @property
    def key(self) -> str:
        """The name of the folder: the run's name and a hash."""
        return self.folder.name

    @property
    def name(self) -> str:
        """The run's name in its record."""
        return self.record.get("name", self.key)

    @cached_property
    def alike(self) -> dict:
        """What must be the same in runs that vote together, besides their training images."""
        given = {k: v for k, v in self.record["settings"].items() if k != "data_dir"}
        return {**given, "size": self.size, "classes": self.record["classes"]}

    @property
    def trained(self) -> datetime.datetime:
        """When the training ended."""
        return datetime.datetime.fromtimestamp((self.folder / "record.json").stat().st_mtime)

    def course(self, artifacts: Path) -> Settings:
        """Return the settings that the network was trained with."""
        given = self.record["settings"]
        folder = Path(given["data_dir"]) if given["data_dir"] else None
        profile, positive = Profile(**given["profile"]), given.get("positive", "")
        return Settings(given["dataset"], profile, given["seed"], folder, Path(artifacts), positive)

    def accuracy(self) -> float:
        """Return the accuracy on the validation images after the best epoch."""
        history = read_csv(self.folder / "history.csv", AppError)
        return float(history["val_accuracy"].iloc[self.record["best_epoch"] - 1])


def find(artifacts: Path) -> list[SavedRun]:
    """Return all runs among the artifacts: those that can be used first, then the newest first."""
    runs = [_read(path.parent) for path in Path(artifacts).glob("*/runs/*/record.json")]
    runs.sort(key=lambda run: (run.reason != "", -run.trained.timestamp(), run.key))
    return runs


def get(key: str | Path, artifacts: Path) -> SavedRun:
    """Return a run by its key, or by the path of its folder if that is a Path.

    A text is always a key, so nobody can open a folder over the network.

    Raises
    ------
    AppError
        When there is none, or it cannot be used.
    """
    found = [run for run in find(artifacts) if run.key == str(key)]
    if not found and isinstance(key, Path) and (key / "record.json").is_file():
        found = [_read(key)]
    if not found:
        raise AppError(
            f"There is no trained network {str(key)!r} in {artifacts}: name one of its runs, or "
            "the folder of a run."
        )
    if found[0].reason:
        raise AppError(f"{key} cannot be used: {found[0].reason}")
    return found[0]


def members(run: SavedRun, runs: Iterable[SavedRun]) -> list[SavedRun]:
    """Return those of the runs that vote with this one: trained on the same rows, alike.

    Of each name only the newest run votes, a collapsed one never beside others.
    """
    voting = {run.name: run}
    for other in runs:
        if other.reason or other.record.get("collapsed") or run.record.get("collapsed"):
            continue
        same_rows = other.record["data"]["rows"] == run.record["data"]["rows"]
        if same_rows and other.alike == run.alike:
            voting.setdefault(other.name, other)
    return list(voting.values())[:MOST_MEMBERS]


def _read(folder: Path) -> SavedRun:
    record = read_sealed(folder / "record.json")
    if record is None:
        return SavedRun(folder, {}, "Its record is damaged.", 0)
    size, reason = _network(folder / "best.keras")
    try:
        run = SavedRun(folder, record, reason, size)
        if len(run.record["classes"]) != 2 or not run.record["data"]["rows"]:
            raise ValueError
        run.course(folder)
        if run.alike and not 0 <= run.accuracy() <= 1:
            raise ValueError
    except (KeyError, TypeError, ValueError, IndexError):
        if not reason:
            reason = "Its record lacks facts: an older version of the course trained it."
        return SavedRun(folder, record, reason, size)
    return run


def _network(path: Path) -> tuple[int, str]:
    """Return the side of the images that a saved network takes, and why it cannot be used."""
    try:
        with zipfile.ZipFile(path) as file:
            text = file.read("config.json").decode()
        config = json.loads(text)["config"]
        shape = config["layers"][0]["config"]["batch_shape"]
        last = config["layers"][-1]
    except FileNotFoundError:
        return 0, "Its network, best.keras, is missing."
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile):
        return 0, "Its network, best.keras, is damaged or of an unknown form."
    if '"Lambda"' in text:
        return 0, "Its network holds code, which is not run."
    if len(shape) < 4:
        return 0, "It takes features of a backbone, not images: it is a part of another network."
    if shape[1] != shape[2] or shape[3] != 3 or not shape[1]:
        return 0, "It takes no square RGB images."
    if (
        last["class_name"] not in ("Functional", "Sequential")
        and last["config"].get("activation") != "sigmoid"
    ):
        return 0, "Its answer is not one probability."
    return shape[1], ""
