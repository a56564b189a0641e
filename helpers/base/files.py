"""Writing files so that a reader never sees half of one, and computing results only once."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import io
import json
import os
import shutil
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from helpers.base.errors import CourseError

if TYPE_CHECKING:  # `course --help` should not wait for NumPy and pandas
    import numpy as np
    import pandas as pd

T = TypeVar("T")
#: Error numbers of a disk that is full, or over its quota.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: Those of a disk that is broken, read-only or closed to this user too, and of a path that it
#: cannot hold.
_REFUSALS = _FULL | {
    errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EBUSY, errno.ENAMETOOLONG,
}  # fmt: skip
#: Error numbers where a folder stands in the place of a file, or a file in that of a folder.
_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}
#: Error numbers of a disk that has no locks, or no `fsync`.
_UNKNOWN = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
#: Environment variable: a file to which `kept` adds what it waits for, since nothing of that
#: belongs on a page. The runner reads it.
WAITS_FILE = "COURSE_WAITS_FILE"


class FileError(CourseError, OSError):
    """A file that cannot be written, or cannot be read afterwards."""


def kept(
    path: str | os.PathLike,
    read: Callable[[Path], T | None],
    make: Callable[[Path], object],
    *,
    also: Iterable[str] = (),
    needs: int = 0,
) -> T:
    """Return the result stored at `path`; if there is none, let `make` write it first.

    A checksum is stored beside the result. A result that is damaged, or has lost a file, is
    made again.

    Parameters
    ----------
    path : path-like
        Its name must contain a hash of all that the result depends on.
    read : callable
        Takes the path and returns the result, or None if it must be made again. It is
        called for a file that is as `make` left it. Reading a finished result needs no
        lock and writes nothing; only the file's time of last access is set.
    make : callable
        Takes a temporary path with the same ending and writes the file there.
        Only one process does so; others wait and then read.
    also : iterable of str
        Names of other files in the folder, which `make` writes and which belong to the result.
    needs : int
        Bytes that `make` will write, where they are many: if the disk has less, nothing is begun.

    Raises
    ------
    FileError
        When the disk is full or read-only, or when the new file cannot be read back.
    """
    path = Path(path)
    for attempt in ("first", "last"):
        result = _read_whole(path, read)
        if result is not None:
            return result
        try:
            lock = path.with_name(f".{path.stem}.lock")
            with told(path), locked(lock, f"{path.parent.name}/{path.name}", _note_wait):
                result = _read_whole(path, read)  # another process may have written it meanwhile
                if result is None:
                    _make(path, make, also, needs)
                    result = _read_whole(path, read)
        except FileNotFoundError as error:
            if isinstance(error, CourseError) or not error.filename or _is_elsewhere(error, path):
                raise
            if attempt == "last":
                raise FileError(
                    f"{error.filename} was removed while {path} was being made: try again when "
                    "nothing else deletes files there."
                ) from error
            continue  # the folder was emptied under the work: begin again
        if result is not None:
            return result
        break
    raise FileError(f"{path} was written but cannot be read back: delete it and try again.")


def _make(path: Path, make: Callable[[Path], object], also: Iterable[str], needs: int) -> None:
    for file in (path, *map(path.with_name, also)):
        for stale in path.parent.glob(_temporary(file, "[0-9a-f]" * 12, glob.escape)):
            stale.unlink(missing_ok=True)  # left by a process that was killed
    require_room(path.parent, needs)
    with atomic_path(path) as temporary:
        make(temporary)
        # The checksum is stored first: if this process is killed now, the result does not
        # fit to it and is made again.
        sums = {path.name: checksum(temporary)}
        sums |= {name: checksum(path.with_name(name)) for name in also}
        write_json(_seal(path), sums)


def _read_whole(path: Path, read: Callable[[Path], T | None]) -> T | None:
    """Return the stored result, None if it is missing or not as it was made."""
    try:
        sums = json.loads(_seal(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(sums, dict) or path.name not in sums or not unchanged(path.parent, sums):
        return None
    try:
        result = read(path)
    except FileNotFoundError:  # removed just now
        return None
    if result is not None:
        with contextlib.suppress(OSError):  # for `course clean`; most disks do not note a reading
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    return result


def _seal(path: Path) -> Path:
    return path.with_name(f".{path.name}.sums")


def checksum(path: str | os.PathLike) -> str:
    """Return the CRC-32 of a file, 8 hexadecimal digits: against damage, not against forgery."""
    value = 0
    with open(path, "rb") as file:
        while block := file.read(2**20):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def unchanged(folder: Path, sums: dict[str, str]) -> bool:
    """Return whether each file named in `sums` is in `folder` and has that checksum."""
    try:
        return all(checksum(folder / name) == value for name, value in sums.items())
    except OSError:
        return False


@contextlib.contextmanager
def told(path: str | os.PathLike) -> Iterator[None]:
    """Raise FileError, one sentence, where the disk refuses what the block writes to `path`."""
    path = Path(path)
    try:
        yield
    except shutil.Error as error:  # the errors of a whole folder
        raise _refused(path, str(error.args[0][0][-1]), "make room, or ") from error
    except OSError as error:
        ours = error.errno in _REFUSALS | _IN_THE_WAY and not _is_elsewhere(error, path)
        if isinstance(error, CourseError) or not ours:
            raise
        reason, cure = error.strerror or str(error), ""
        free = _free(path)
        if error.errno == errno.ENOSPC and free is not None:
            reason += f", {free / 1e6:,.1f} MB are free"
        if error.errno in _FULL:
            cure = "make room, or "
        elif error.errno in _IN_THE_WAY:
            # Of a file in the place of a folder, the system names only what was to lie below.
            files = (folder for folder in path.parents if folder.exists() and not folder.is_dir())
            reason += f": {next(files, error.filename2 or error.filename)}"
            cure = "move away what is in its place, or "
        raise _refused(path, reason, cure) from error


def _refused(path: Path, reason: str, cure: str) -> FileError:
    return FileError(
        f"{path} cannot be written ({reason}): {cure}choose a folder in which you may write, with "
        "COURSE_ARTIFACTS (results), --build (book) or --out (data)."
    )


def begin(path: Path, make: Callable[[], T]) -> T:
    """Make the folder of `path` and return what `make` begins in it.

    Parameters
    ----------
    path : pathlib.Path
        What the user is told about.
    make : callable
        Makes a file or a folder in the folder of `path`.

    Raises
    ------
    FileError
        Where nothing can be made, as below ``/proc``.
    """
    for attempt in ("first", "last"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return make()
        except FileNotFoundError as error:
            # Another process has just removed a folder above, or this is no place for files.
            if attempt == "last":
                place, what = (path, "file") if path.parent.is_dir() else (path.parent, "folder")
                raise _refused(place, f"no {what} can be made there", "") from error


def _is_elsewhere(error: OSError, path: Path) -> bool:
    """Return whether an error names a file that is neither in the folder of `path` nor above."""
    name, folder = str(error.filename or path), str(path.parent)
    return not (name.startswith(folder) or folder.startswith(name))


def require_room(folder: Path, needs: int) -> None:
    """Raise OSError, which :func:`told` puts into words, if the disk has fewer bytes than that."""
    free = _free(folder)
    if free is not None and free < needs:
        reason = f"{os.strerror(errno.ENOSPC)}, {needs / 1e6:,.1f} MB are needed"
        raise OSError(errno.ENOSPC, reason)


def _free(path: Path) -> int | None:
    """Return how many bytes the disk of `path` has left, None where it does not say."""
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            usage = shutil.disk_usage(folder)
            return usage.free if usage.total else None
    return None


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _note_wait(text: str) -> None:
    """Add a line to the file in `WAITS_FILE`, if there is one."""
    if path := os.environ.get(WAITS_FILE):
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            file.write(f"{text}\n")


@contextlib.contextmanager
def locked(
    path: str | os.PathLike, waiting: str = "", tell: Callable[[str], object] = _print_error
) -> Iterator[None]:
    """Hold the lock file `path`; go on without a lock if the file system does not support it.

    Its folder is created if missing. Wait while another process holds it; `tell` the text
    `waiting`, if given, before waiting.
    """
    path = Path(path)
    with told(path):
        begin(path, path.touch)
    if _has_no_locks(path):
        yield
        return
    lock = filelock.FileLock(path)
    try:
        try:
            lock.acquire(timeout=0 if waiting else -1)
        except filelock.Timeout:
            tell(waiting)
            lock.acquire()
    except NotImplementedError:  # raised by filelock on a disk without flock
        pass
    except OSError as error:
        if error.errno not in _UNKNOWN:
            with told(path):
                raise
    try:
        yield
    finally:
        lock.release()


def _has_no_locks(path: Path) -> bool:
    """Return whether the disk of a lock file has no locks.

    There, versions of filelock wait for ever, or leave a mark for which the next machine waits.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(file)
    except OSError as error:
        return error.errno in _UNKNOWN
    return False


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
def atomic_path(path: str | os.PathLike, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` on success.

    Parameters
    ----------
    path : path-like
        The path of the finished file; its folder is created if missing.
    flush : bool
        Wait until the disk has stored the content: else, after a power failure, the file
        may have its name but not its bytes. False is for many files, or large ones, which
        are checked when they are read.

    Yields
    ------
    pathlib.Path
        An empty file in the same folder, with the same ending, to write to. If
        the block raises an error, it is removed and `path` stays unchanged.

    Raises
    ------
    FileError
        When the disk is full, read-only, or closed to this user, or `path` names no file.
    """
    path = Path(path)
    if not path.name:
        raise FileError(f"{str(path)!r} is a folder: add the name of the file to be written.")
    temporary = path.with_name(_temporary(path, uuid.uuid4().hex[:12]))
    with told(path):
        begin(path, functools.partial(temporary.touch, exist_ok=False))
        try:
            yield temporary
            if flush:
                _flush(temporary)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _temporary(path: Path, mark: str, escape: Callable[[str], str] = str) -> str:
    """Return a hidden name with the ending of `path`; of a long name, the end with its hash."""
    return f"{escape('.' + path.stem[-80:])}-{mark}{escape(path.suffix)}"


def _flush(path: Path) -> None:
    with open(path, "r+b") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _UNKNOWN:  # a full network disk says so only now
                raise


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8 to `path`, completely or not at all.

    Bytes of file names that are not UTF-8 are written unchanged.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Path(path)


def check_replaceable(out: Path, ending: str, mark: bytes) -> None:
    """Raise FileError unless `out` is free, or a file with `mark` that its command wrote before."""
    if out.suffix.lower() != ending:
        raise FileError(f"--out is {str(out)!r}, but must be a file whose name ends in {ending}.")
    if out.exists() and not (out.is_file() and mark in out.read_bytes()):
        raise FileError(f"{out} is there and not from this command: name another file.")


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
        is cut off. The caller adds the path.
    """
    import pandas as pd

    try:
        content = Path(path).read_bytes()
        if b"\0" in content or not content.endswith(b"\n"):
            raise ValueError(
                "it is empty, no UTF-8 text, or cut off: its last line must end with a line break"
            )
        encoding = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, **encoding)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows have more entries than its header: are commas in numbers?")
    except (OSError, TypeError, ValueError) as fault:
        reason = " ".join(str(fault).split())
        raise error(f"It cannot be read as a table with commas: {reason}.") from fault
    return table.astype(object)


def sealed(content: dict) -> dict:
    """Return `content` with a checksum of itself, for :func:`read_sealed`."""
    return {**content, "checksum": _sum(content)}


def read_sealed(path: str | os.PathLike) -> dict | None:
    """Return the dict in a JSON file, None if it is missing or damaged.

    Only a file written without :func:`sealed` is taken as it is.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    value = content.pop("checksum", None)
    return content if value in (None, _sum(content)) else None


def _sum(content: dict) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def write_csv(path: str | os.PathLike, table: pd.DataFrame) -> Path:
    """Write `table` without its index as CSV to `path`, completely or not at all."""
    return write_text(path, table.to_csv(index=False, lineterminator="\n"))
