"""Runs one chapter by papermill and keeps its executed copy and its run record, or neither."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from helpers.base.errors import CourseError
from helpers.base.files import write_json
from helpers.base.runtime import cores
from helpers.course import staleness
from helpers.course.project import Chapter, Parameters, Project

#: Packages whose versions a run record names, where they are installed.
_PACKAGES = (
    *("keras", "tensorflow", "jax", "torch", "numpy", "pandas", "scipy", "scikit-learn"),
    *("scikit-image", "opencv-python-headless", "matplotlib", "papermill"),
)

#: Called with the chapter's name, the cells done and the cells in all.
OnProgress = Callable[[str, int, int], None]


class ChapterError(CourseError, ValueError):
    """A notebook that is not fit to be run as a chapter."""


@dataclass(frozen=True)
class Task:
    """All that a process needs in order to run one chapter."""

    project: Project
    chapter: Chapter
    run: Parameters
    artifacts: Path
    cell_timeout: int
    jobs: int = 1


@dataclass(frozen=True)
class Result:
    """How one chapter came out; `failure` is empty when all of its cells ran."""

    chapter: str
    seconds: float
    failure: str = ""


def record_path(project: Project, run: Parameters, chapter: Chapter) -> Path:
    """Return where the run record of a chapter stands."""
    return project.executed(run) / f"{chapter.name}.json"


def copy_path(project: Project, run: Parameters, chapter: Chapter) -> Path:
    """Return where the executed copy of a chapter stands."""
    return project.executed(run) / f"{chapter.name}.ipynb"


def execute(task: Task, progress: OnProgress | None = None) -> Result:
    """Run one chapter from its first cell to its last.

    The executed copy is written under a temporary name and renamed when every
    cell ran; the record follows and names the copy's hash, so that a run killed
    between the two counts as not done. A copy that failed is kept in ``failed/``.

    Raises
    ------
    ChapterError
        When the notebook has not exactly one cell tagged ``parameters``, in which
        case papermill would run it with its defaults and say nothing.
    """
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    chapter, project = task.chapter, task.project
    folder = project.executed(task.run)
    failed = folder / "failed" / f"{chapter.name}.ipynb"
    working = folder / f".running-{os.getpid()}" / f"{chapter.name}.ipynb"
    working.parent.mkdir(parents=True, exist_ok=True)
    # The digest is taken before the first cell: an edit during the run leaves it stale.
    digest = staleness.digest(project, chapter, task.run)
    cells = staleness.read_notebook(chapter.path)["cells"]
    _check_parameters(chapter, cells, task.run)
    at = [0]

    def on_cell(index: int) -> None:
        at[0] = index
        if progress:
            progress(chapter.name, index, len(cells) + 1)  # papermill adds a cell

    started, clock = datetime.now(UTC), time.monotonic()
    try:
        report = _papermill(task, working, on_cell)
    except Exception as error:
        failed.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".ipynb", ".log"):
            if working.with_suffix(suffix).is_file():
                os.replace(working.with_suffix(suffix), failed.with_suffix(suffix))
        index, name, value, trace = at[0], type(error).__name__, str(error), ""
        if isinstance(error, PapermillExecutionError):
            index, name, value = error.cell_index, error.ename, error.evalue
            trace = _tail(error.traceback)
        elif isinstance(error, CellTimeoutError):
            name, value = "Time limit", f"the cell ran longer than {task.cell_timeout} s"
        elif isinstance(error, DeadKernelError):
            name, value = "Kernel died", "its process ended; often it ran out of memory"
        story = _story(chapter, failed, index, f"{name}: {value}", trace)
        return Result(chapter.name, time.monotonic() - clock, story)
    else:
        seconds = time.monotonic() - clock
        record = _record(task, working, digest, report)
        record |= {"started": started.isoformat(timespec="seconds"), "seconds": round(seconds, 2)}
        os.replace(working, copy_path(project, task.run, chapter))
        write_json(record_path(project, task.run, chapter), record)
        for suffix in (".ipynb", ".log"):
            failed.with_suffix(suffix).unlink(missing_ok=True)
        return Result(chapter.name, seconds)
    finally:
        shutil.rmtree(working.parent, ignore_errors=True)
        if progress:
            progress(chapter.name, len(cells) + 1, len(cells) + 1)


def _papermill(task: Task, output: Path, on_cell: Callable[[int], None]) -> dict:
    import papermill

    from helpers.course import kernel

    report: dict = {}
    papermill.execute_notebook(
        task.chapter.path,
        output,
        parameters=task.run.injected(),
        engine_name=kernel.register(),
        kernel_name="python3",
        language="python",
        progress_bar=False,
        on_cell=on_cell,
        report=report,
        environment=kernel.environment(task.project.root, task.artifacts, task.jobs),
        folder=str(task.chapter.path.parent),
        log=str(output.with_suffix(".log")),
        cell_timeout=task.cell_timeout,
    )
    return report


def _record(task: Task, executed: Path, digest: dict[str, str], report: dict) -> dict:
    """Return the run record; only plain values, in the order of reading."""
    raw = executed.read_bytes()
    cells = [
        {"id": cell.get("id", ""), "seconds": cell["metadata"]["papermill"]["duration"]}
        for cell in staleness.read_notebook(executed)["cells"]
        if cell["cell_type"] == "code"
    ]
    gpus = report.get("gpu", [])
    return {
        "chapter": task.chapter.name,
        "dataset": task.run.dataset,
        "drawn": is_drawn(task.run),
        "profile": task.run.profile,
        "seed": task.run.seed,
        "parameters": task.run.injected(),
        "weights": report.get("weights", []),
        "backend": report.get("backend", ""),
        "device": ", ".join(gpus) if gpus else f"CPU, {cores()} cores",
        "python": platform.python_version(),
        "versions": _versions(),
        "cells": cells,
        "commit": task.project.commit,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "digest": digest,
        "executed": hashlib.sha256(raw).hexdigest(),
    }


def is_drawn(run: Parameters) -> bool:
    """Return whether a run's images were drawn by the course, under whatever data set's name."""
    if run.dataset == "phantom" or not run.data_dir:
        return run.dataset == "phantom"
    from helpers.datasets.drawn.folder import are_drawn  # brings pandas along

    return are_drawn(run.data_dir)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _check_parameters(chapter: Chapter, cells: list[dict], run: Parameters) -> None:
    tagged = [c for c in cells if "parameters" in staleness.tags_of(c)]
    if len(tagged) != 1:
        raise ChapterError(
            f"{chapter.path.name} has {len(tagged)} cells tagged 'parameters', but must have "
            "exactly one: otherwise the run's parameters would not reach it."
        )
    source = staleness.source_of(tagged[0])
    missing = [name for name in run.injected() if not re.search(rf"(?m)^{name}\s*=", source)]
    if missing:
        raise ChapterError(
            f"The parameters cell of {chapter.path.name} does not set {', '.join(missing)}."
        )


def _tail(traceback: list[str]) -> str:
    """Return the last lines of a traceback without its terminal colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(traceback))
    return "\n".join(plain.rstrip().splitlines()[-18:])


def _story(chapter: Chapter, executed: Path, index: int, error: str, trace: str) -> str:
    """Tell one failure in one block: chapter, cell, the question above it, code and error."""
    cells: list[dict] = []
    if executed.is_file():
        cells = staleness.read_notebook(executed)["cells"]
        # papermill puts notes about the error into the copy; they are not the author's cells.
        cells = [c for c in cells if "papermill-error-cell-tag" not in staleness.tags_of(c)]
    before = cells[:index]
    question = next((c for c in reversed(before) if c["cell_type"] == "markdown"), None)
    number = sum(c["cell_type"] == "code" for c in cells[: index + 1])
    total = sum(c["cell_type"] == "code" for c in cells)
    lines = [f"{chapter.name} failed in code cell {number} of {total}"]
    if question:
        text = " ".join(staleness.source_of(question).split())
        lines.append("  question: " + textwrap.shorten(text, 200, placeholder=" ..."))
    if index < len(cells):
        code = staleness.source_of(cells[index]).splitlines()
        lines += ["  code:", *(f"    {line}" for line in code[:12])]
        lines += ["    ..."] if len(code) > 12 else []
    lines.append(f"  error: {error}")
    if trace:
        lines += ["  where:", *(f"    {line}" for line in trace.splitlines())]
    if executed.is_file():
        lines.append(f"  kept for a look: {executed}")
    return "\n".join(lines)
