"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `course --help` writes no table and need not wait for pandas
    import pandas as pd


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
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; an artifact should be as readable as any other.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | os.PathLike, content: Any) -> Path:
    """Write `content` as indented JSON to `path`, whole or not at all."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    return write_text(path, text + "\n")


def write_csv(path: str | os.PathLike, table: pd.DataFrame) -> Path:
    """Write `table` without its index as CSV to `path`, whole or not at all."""
    return write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
