"""The ways in which a file on a disk goes wrong, and what a kept result must do then."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.base.files import FileError


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zeroed(path: Path) -> None:
    """As after a power failure: the name and the size are there, the bytes are not."""
    path.write_bytes(bytes(path.stat().st_size))


def _half_zeroed(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)


def _lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def _deleted(path: Path) -> None:
    path.unlink()


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("of somebody")


def _unreadable(path: Path) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user (root) may read every file")


DAMAGES = {
    function.__name__.strip("_"): function
    for function in (
        _emptied, _truncated, _zeroed, _half_zeroed, _flipped, _lengthened, _deleted, _a_folder,
        _unreadable,
    )
}  # fmt: skip


def files_of(folder: Path) -> list[Path]:
    """Return every file of a result, its checksums included and its locks not."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def heals(folder: Path, damage: str, result: Callable[[], object], same: Callable) -> None:
    """Damage each file below `folder` in turn: the result is made again, or a sentence told."""
    first = result()
    names = [path.relative_to(folder) for path in files_of(folder)]
    assert names
    for name in names:
        path = folder / name
        DAMAGES[damage](path)
        if damage == "a_folder":  # which may be somebody's, and is not removed
            with pytest.raises(FileError, match=f"{re.escape(str(path))}.*: move away what"):
                result()
            assert (path / "inside").is_file()
            shutil.rmtree(path)
        assert same(first, result()), f"{name} {damage}: another result"
        half_written = [p.name for p in folder.rglob(".*") if p.suffix not in (".lock", ".sums")]
        assert not half_written


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let every write fail beyond `size` bytes of a file, as a full disk does, also in C."""
    resource = pytest.importorskip("resource", reason="limits on files exist on Unix only")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
