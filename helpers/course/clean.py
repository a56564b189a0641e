"""Keeps the folder of artifacts in bounds: removes the least recently used ones.

Artifacts are a cache: each can be made again from the code and the data. What a published
book needs (executed copies, run records, pages) is in the build folder and stays.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from helpers.base.errors import RunError
from helpers.base.files import printable
from helpers.base.settings import DATASETS, PROFILES

#: Folders whose entries are artifacts, and the names that the course gives these, with their
#: hashes. Whatever has another name is not the course's and stays.
_HASH = "[0-9a-f]{10,64}"
_SHELVES = {
    "crops": rf"{_HASH}-.+\.npz",
    "features": rf".+-{_HASH}\.(npy|csv)",
    "grid": rf"{_HASH}\.json",
    "hashes": rf"{_HASH}\.json",
    "images": rf"{_HASH}-.+\.npy",
    "phantoms": rf"\d+-\d+-\d+-{_HASH}",
    "phantom_fields": rf"({'|'.join(PROFILES)})-\d+-\w+",
    # of libraries: networks that JAX compiled, Matplotlib's list of fonts
    "compiled": r".+-(cache|atime)",
    "matplotlib": r"fontlist-.+\.json",
}
#: The same in the folder of a data set, a profile and a seed.
_RUN = re.compile(rf"({'|'.join(DATASETS)})-({'|'.join(PROFILES)})-\d+")
_RUN_SHELVES = {
    "runs": rf".+-{_HASH}",
    "leukocytes": rf"(.+-)?{_HASH}(\.\w+)?",
    "tuning": rf"settings-{_HASH}\.csv",
    "generative": rf".+-{_HASH}\.npy",
    "own": r".+\.keras",  # the networks that chapters save for a reader
    "predictions": r".+\.csv",
    "predictions/*": r".+\.csv",
    "cards": r".+\.md",
}
#: Hidden files that belong to another one, as `helpers.base.files` names them: what a process
#: that was killed had begun to write, checksums.
_BEGUN = re.compile(r"\.(.+)-[0-9a-f]{12}(\.\w+)?")
_SUMS = re.compile(r"\.(.+)\.sums")
_REMOVED = ".removed-"
_GB = 1e9


@dataclass(frozen=True)
class Artifact:
    """One result that was computed and kept: a file, or a folder with all that belongs to it.

    Attributes
    ----------
    name : str
        Its path in the folder of artifacts.
    paths : tuple of pathlib.Path
        The file or folder, and files left by processes that were killed while making it.
    size : int
        In bytes.
    used : float
        When it was made or last read, in seconds since 1970.
    """

    name: str
    paths: tuple[Path, ...]
    size: int
    used: float


def artifacts(folder: Path) -> list[Artifact]:
    """Return the artifacts in `folder`, the least recently used first."""
    found = []
    for shelf, pattern in _shelves(folder):
        groups: dict[str, list[Path]] = {}
        for path in sorted(shelf.iterdir()):
            name = _owner(path.name)
            hidden = name[0] == "." or path.suffix == ".lock"
            if re.fullmatch(pattern, name) and not hidden:
                groups.setdefault(name, []).append(path)
        for name, paths in groups.items():
            states = [state for path in paths for state in _states(path)]
            size = sum(state.st_size for state in states)
            used = max((max(s.st_atime, s.st_mtime) for s in states), default=0.0)
            relative = (shelf / name).relative_to(folder)
            found.append(Artifact(printable(relative), tuple(paths), size, used))
    return sorted(found, key=lambda artifact: (artifact.used, artifact.name))


def _owner(name: str) -> str:
    """Return the name of the artifact that a file belongs to: mostly its own."""
    if begun := _BEGUN.fullmatch(name):
        return begun[1] + (begun[2] or "")
    sums = _SUMS.fullmatch(name)
    return sums[1] if sums else name


def _shelves(folder: Path) -> list[tuple[Path, str]]:
    """Return the folders that hold artifacts, each with a pattern of their names."""
    shelves = [(folder / name, pattern) for name, pattern in _SHELVES.items()]
    for run in folder.iterdir():
        if _RUN.fullmatch(run.name):
            shelves += [(s, _RUN_SHELVES[name]) for name in _RUN_SHELVES for s in run.glob(name)]
    return [(shelf, pattern) for shelf, pattern in shelves if shelf.is_dir()]


def _states(path: Path) -> Iterator[os.stat_result]:
    """Yield the state of a file, or of each file below a folder; links are not followed."""
    with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
        if path.is_dir() and not path.is_symlink():
            for below in path.iterdir():
                yield from _states(below)
        else:
            yield path.lstat()


def clean(
    folder: Path,
    older_than: float | None = None,
    limit: float | None = None,
    dry_run: bool = False,
) -> list[Artifact]:
    """Remove artifacts that are too old, then the least recently used ones above a limit.

    Print what is removed. An artifact that a process is making now stays.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of artifacts.
    older_than : float, optional
        Remove what was not used for this many days.
    limit : float, optional
        Keep at most this many gigabytes (10^9 bytes).
    dry_run : bool
        Print what would be removed, and remove nothing.

    Returns
    -------
    list of Artifact
        What was removed, or would be.

    Raises
    ------
    RunError
        When neither bound is given, one is negative or no number, the folder is a file, or a
        file cannot be removed.
    """
    for option, value in (("--older-than", older_than), ("--limit", limit)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise RunError(f"{option} is {value}, but must be 0 or more.")
    if not folder.exists():
        print(f"There is no folder {folder} (COURSE_ARTIFACTS): nothing was computed yet.")
        return []
    if not folder.is_dir():
        raise RunError(f"{folder} (COURSE_ARTIFACTS) is a file, not the folder of artifacts.")
    try:
        kept = artifacts(folder)
    except OSError as error:
        raise RunError(f"{error.filename} cannot be read: {error.strerror}.") from error
    total = sum(artifact.size for artifact in kept)
    if older_than is None and limit is None:
        raise RunError(
            f"{folder} has {_told(len(kept), total)}: say which to remove, --older-than DAYS, "
            "--limit GB, or both."
        )
    too_old = time.time() - (math.inf if older_than is None else older_than * 86400)
    room = math.inf if limit is None else limit * _GB
    removed, in_use, left = [], [], total
    for artifact in kept:
        if artifact.used > too_old and left <= room:
            continue
        with _free(artifact) as free:
            if not free:
                in_use.append(artifact)
                continue
            if not dry_run:
                _remove(artifact)
        removed.append(artifact)
        left -= artifact.size
        day = time.strftime("%Y-%m-%d", time.localtime(artifact.used))
        print(f"  {_size(artifact.size):>9}  last used {day}  {artifact.name}")
    if not dry_run:
        _empty_bin(folder)
    for artifact in in_use:
        print(f"  in use, stays: {artifact.name}")
    verb = "To remove" if dry_run else "Removed"
    rest = _told(len(kept) - len(removed), left)
    print(f"{verb}: {_told(len(removed), total - left)}. Left in {folder}: {rest}.")
    return removed


@contextlib.contextmanager
def _free(artifact: Artifact) -> Iterator[bool]:
    """Yield whether no process makes the artifact now; none begins to while the block runs."""
    locks = []
    for path in artifact.paths:
        if path.is_dir() and not path.is_symlink():
            locks += path.rglob("*.lock")
        owner = path.with_name(_owner(path.name))
        # A file that is being written may have the end of a long name only.
        for name in (owner.name, owner.stem):
            locks += path.parent.glob(f"*{glob.escape(name)}.lock")
    with contextlib.ExitStack() as held:
        try:
            for lock in {path for path in locks if path.is_file()}:
                held.enter_context(filelock.FileLock(lock, timeout=0))
        except filelock.Timeout:
            yield False
            return
        except (OSError, NotImplementedError):  # a disk without locks: nobody can hold one
            pass
        yield True


def _remove(artifact: Artifact) -> None:
    """Rename, then delete: a reader finds an artifact whole or not at all, also after a kill."""
    for path in artifact.paths:
        aside = path.with_name(f"{_REMOVED}{uuid.uuid4().hex}")
        try:
            path.rename(aside)
            _delete(aside)
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            raise RunError(f"{path} cannot be removed: {error.strerror}.") from error


def _empty_bin(folder: Path) -> None:
    """Delete what an earlier run had set aside when it was killed."""
    for shelf, _ in _shelves(folder):
        for aside in shelf.glob(f"{_REMOVED}*"):
            _delete(aside)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _told(count: int, size: float) -> str:
    return f"{count} artifact{'s' * (count != 1)}, {_size(size)}"


def _size(size: float) -> str:
    for unit, name in ((_GB, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} B"
