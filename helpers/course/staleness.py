"""When a chapter must run again: a digest of everything that its outputs depend on."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from helpers.base import code as source_code
from helpers.base.errors import RunError
from helpers.course.project import Chapter, Parameters, Project

#: Tags that change what a cell does when the notebook runs.
_RUN_TAGS = {"parameters", "raises-exception", "skip-execution", "nbval-skip"}

#: Environment variable with the folder of a second data set, which models are tested on.
_SECOND = "COURSE_EXTERNAL_DIR"

#: The reason for another run, by the part of the digest that changed.
REASONS = {
    "cells": "its cells changed",
    "parameters": "its parameters changed",
    "helpers": "helpers it imports changed",
    "lock": "requirements.lock changed",
    "data": "the data folder changed",
    "environment": "Python, the Keras backend or the weights folder changed",
}


def digest(project: Project, chapter: Chapter, run: Parameters) -> dict[str, str]:
    """Return one hash for each thing that the outputs of `chapter` depend on.

    Returns
    -------
    dict of str
        The keys of `REASONS`, each with 16 hexadecimal digits. Markdown is not
        among them: a corrected sentence is published without another run.
    """
    cells = [c for c in read_notebook(chapter.path)["cells"] if c["cell_type"] == "code"]
    code = [source_of(cell) for cell in cells]
    tags = [" ".join(sorted(_RUN_TAGS & set(tags_of(cell)))) for cell in cells]
    return {
        "cells": _hash(*code, *tags),
        "parameters": _hash(json.dumps(run.injected(), sort_keys=True)),
        "helpers": helpers_digest(project.helpers, chapter.number, code),
        "lock": _hash(project.lock.read_bytes() if project.lock.is_file() else b""),
        "data": _data_state(run.data_dir, code),
        "environment": _hash(
            f"{sys.version_info[0]}.{sys.version_info[1]}",
            os.environ.get("KERAS_BACKEND", ""),
            _weights_state(),
        ),
    }


def reasons(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return in words what differs between two digests; an empty list if nothing does."""
    return [text for part, text in REASONS.items() if old.get(part) != new.get(part)]


def read_notebook(path: Path) -> dict:
    """Return a notebook as plain JSON: importing nbformat would slow down every start.

    Raises
    ------
    RunError
        When the file is no notebook, for example after a merge with conflicts.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if all({"cell_type", "source"} <= set(cell) for cell in notebook["cells"]):
            return notebook
        reason = "a cell has no type or no source"
    except (ValueError, TypeError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise RunError(f"{path} cannot be read as a notebook ({reason}): restore it, or save it again.")


def source_of(cell: dict) -> str:
    """Return a cell's text, which the file contains as one string or as a list of lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def tags_of(cell: dict) -> list[str]:
    """Return a cell's tags, none where it has no metadata."""
    return cell.get("metadata", {}).get("tags", [])


def folder_state(folder: Path) -> str:
    """Return a hash of the names, sizes and times of all files below `folder`.

    The contents are not read: for 15,000 images that would take half a minute. A folder
    with several links to it counts once; for one that cannot be opened, its error counts.
    """
    lines, seen = [], set()
    pending = [str(folder)]
    while pending:
        path = pending.pop()
        try:
            state = os.stat(path)
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            lines.append(f"{os.path.relpath(path, folder)}\x1f{error.strerror}")
            continue
        for entry in entries:
            if entry.is_dir():
                pending.append(entry.path)
            elif entry.is_file():
                state = entry.stat()
                name = os.path.relpath(entry.path, folder)
                lines.append(f"{name}\x1f{state.st_size}\x1f{state.st_mtime_ns}")
    return _hash(*sorted(lines))


def helpers_digest(helpers: Path, number: str, code: Iterable[str]) -> str:
    """Return a hash of the sources and data files of `helpers` that `code` uses.

    Parameters
    ----------
    helpers : pathlib.Path
        The package's folder.
    number : str
        The chapter's two digits: of the exercises, only its own module counts.
    code : iterable of str
        Sources of the chapter's code cells.
    """
    names = [name for cell in code for name in source_code.imports(cell)]
    return source_code.digest(source_code.upstream(["helpers", *names], helpers, number))[:16]


def _data_state(data_dir: str, code: Iterable[str]) -> str:
    """Return the state of the data folder, and of the second one if the chapter uses it."""
    state = folder_state(Path(data_dir)) if data_dir else ""
    second = os.environ.get(_SECOND, "")
    if second and Path(second).is_dir() and any(_SECOND in cell for cell in code):
        return _hash(state, folder_state(Path(second)))
    return state


def _weights_state() -> str:
    folder = os.environ.get("WEIGHTS_DIR", "")
    return folder_state(Path(folder)) if folder and Path(folder).is_dir() else ""


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        # File names that are not UTF-8 contain surrogates, which need this error handler.
        raw = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(str(len(raw)).encode() + b"\x1e" + raw)
    return digest.hexdigest()[:16]
