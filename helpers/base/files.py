"""Writing files so that a reader never meets half of one, and keeping what is computed once."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from helpers.base.errors import CourseError

if TYPE_CHECKING:  # `course --help` writes no table and need not wait for NumPy and pandas
    import numpy as np
    import pandas as pd

T = TypeVar("T")
#: What a disk says that is full, over its quota, read-only or somebody else's.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class FileError(CourseError, OSError):
    """A file that cannot be written, or not be read back."""


def kept(
    path: str | os.PathLike, read: Callable[[Path], T | None], make: Callable[[Path], object]
) -> T:
    """Return what `read` finds at `path`; where it finds nothing, let `make` write it first.

    Parameters
    ----------
    path : path-like
        Named after all that the result depends on: the same name, the same result.
    read : callable
        Takes the path and returns the result, or None where the file is missing
        or damaged. A finished result is read without a lock and without a write.
    make : callable
        Takes a temporary path, which has the ending of `path`, and writes the
        file there. Only one process makes it; others wait and then read.

    Raises
    ------
    FileError
        When the disk is full or read-only, or when the new file cannot be read back.
    """
    path = Path(path)
    result = read(path)
    if result is not None:
        return result
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.stem}.lock")):
            result = read(path)  # another process may have made it meanwhile
            if result is None:
                for stale in path.parent.glob(f".{path.stem}-*{path.suffix}"):
                    stale.unlink(missing_ok=True)  # of a process that was killed
                with atomic_path(path) as temporary:
                    make(temporary)
                result = read(path)
    except OSError as error:
        if isinstance(error, CourseError) or error.errno not in _REFUSALS:
            raise
        raise FileError(
            f"{path} cannot be written ({os.strerror(error.errno)}): make room, or set "
            "COURSE_ARTIFACTS to a folder in which you may write."
        ) from error
    if result is None:
        raise FileError(f"{path} was written but cannot be read back: delete it and try again.")
    return result


@contextlib.contextmanager
def locked(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock file `path`; where the file system knows no locks, go on without."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire()
    except NotImplementedError:  # filelock's word for a disk without flock
        pass
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    try:
        yield
    finally:
        lock.release()


def read_array(path: str | os.PathLike, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """Return the array in a ``.npy`` file, read-only; None if it is missing or another one.

    It is mapped from the disk; where the disk refuses that, it is read into memory.
    """
    import numpy as np

    for mode in ("r", None):
        try:
            array = np.load(path, mmap_mode=mode)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            continue
        array.setflags(write=False)
        return array if array.shape == shape and array.dtype == np.dtype(dtype) else None
    return None


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside `path` and rename it there on success.

    Parameters
    ----------
    path : path-like
        Where the finished file shall stand; its folder is made.

    Yields
    ------
    pathlib.Path
        A name in the same folder, with the same ending, to write to. When the
        block raises, what was written is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8 to `path`, whole or not at all.

    Bytes of file names that are no UTF-8 are written as they are.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Path(path)


def printable(text: object) -> str:
    """Return `text` with a question mark in a box where a file name is no UTF-8."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_json(path: str | os.PathLike, content: Any) -> Path:
    """Write `content` as indented JSON to `path`, whole or not at all."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    return write_text(path, text + "\n")


def write_csv(path: str | os.PathLike, table: pd.DataFrame) -> Path:
    """Write `table` without its index as CSV to `path`, whole or not at all."""
    return write_text(path, table.to_csv(index=False, lineterminator="\n"))
