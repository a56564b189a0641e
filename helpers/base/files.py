"""Writing files so that a reader never sees half of one, and computing results only once."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from helpers.base.errors import CourseError

if TYPE_CHECKING:  # `course --help` should not wait for NumPy and pandas
    import numpy as np
    import pandas as pd

T = TypeVar("T")
#: Error numbers of a disk that is full, over its quota, read-only, or closed to this user.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class FileError(CourseError, OSError):
    """A file that cannot be written, or cannot be read afterwards."""


def kept(
    path: str | os.PathLike, read: Callable[[Path], T | None], make: Callable[[Path], object]
) -> T:
    """Return the result stored at `path`; if there is none, let `make` write it first.

    Parameters
    ----------
    path : path-like
        Its name must contain a hash of all that the result depends on.
    read : callable
        Takes the path and returns the result, or None if the file is missing or
        damaged. Reading a finished result needs no lock and writes nothing.
    make : callable
        Takes a temporary path with the same ending and writes the file there.
        Only one process does so; others wait and then read.

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
            result = read(path)  # another process may have written it meanwhile
            if result is None:
                for stale in path.parent.glob(f".{path.stem}-*{path.suffix}"):
                    stale.unlink(missing_ok=True)  # left by a process that was killed
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
def locked(path: str | os.PathLike, waiting: str = "") -> Iterator[None]:
    """Hold the lock file `path`; go on without a lock if the file system does not support it.

    Wait while another process holds it; print the sentence `waiting`, if given, before waiting.
    """
    lock = filelock.FileLock(path)
    try:
        try:
            lock.acquire(timeout=0 if waiting else -1)
        except filelock.Timeout:
            print(waiting, file=sys.stderr, flush=True)
            lock.acquire()
    except NotImplementedError:  # raised by filelock on a disk without flock
        pass
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    try:
        yield
    finally:
        lock.release()


def read_array(path: str | os.PathLike, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """Return the array in a ``.npy`` file, read-only, or None if there is no such array.

    The array is a memory map; if the disk does not support maps, it is read into memory.
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
    """Yield a temporary path beside `path`, and rename it to `path` on success.

    Parameters
    ----------
    path : path-like
        The path of the finished file; its folder is created if missing.

    Yields
    ------
    pathlib.Path
        An empty file in the same folder, with the same ending, to write to. If
        the block raises an error, it is removed and `path` stays unchanged.
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
    """Write `text` as UTF-8 to `path`, completely or not at all.

    Bytes of file names that are not UTF-8 are written unchanged.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Path(path)


def printable(text: object) -> str:
    """Return `text` with a replacement character where a file name is not UTF-8."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_json(path: str | os.PathLike, content: Any) -> Path:
    """Write `content` as indented JSON to `path`, completely or not at all."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    return write_text(path, text + "\n")


def read_csv(path: str | os.PathLike, error: type[CourseError]) -> pd.DataFrame:
    """Return the table that :func:`write_csv` wrote to `path`; every entry is text.

    Raises
    ------
    CourseError
        Of the given type, when the file is missing, is no table of commas in UTF-8, or
        is cut off.
    """
    import pandas as pd

    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
        if "\x00" in text or not text.endswith("\n"):
            raise ValueError("it is no UTF-8 text, or its last line is cut off")
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows have more entries than its header: are commas in numbers?")
    except (OSError, TypeError, ValueError) as fault:
        reason = " ".join(str(fault).split())
        raise error(
            f"{' '.join(str(path).split())} cannot be read as a table with commas: {reason}."
        ) from fault
    return table.astype(object)


def write_csv(path: str | os.PathLike, table: pd.DataFrame) -> Path:
    """Write `table` without its index as CSV to `path`, completely or not at all."""
    return write_text(path, table.to_csv(index=False, lineterminator="\n"))
