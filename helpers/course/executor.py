"""Runs one chapter and stores both its executed copy and its run record, or neither."""

from __future__ import annotations

import hashlib
import platform
import re
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base import provenance
from helpers.base.errors import CourseError, RunError
from helpers.base.files import FileError, sealed, write_json, write_text
from helpers.base.runtime import cores
from helpers.course import checks, staleness
from helpers.course.project import Chapter, Parameters, Project

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: Packages whose versions a run record names, where they are installed.
_PACKAGES = (
    *("keras", "tensorflow", "jax", "numpy", "pandas", "scipy", "scikit-learn"),
    *("scikit-image", "opencv-python-headless", "matplotlib", "papermill"),
)
#: Names of the errors of the course.
_IN_A_SENTENCE = {error.__name__ for error in CourseError.__subclasses__()}
#: Held while source code is parsed: two threads that parse at once can make `ast` of Python 3.11
#: fail ("AST constructor recursion depth mismatch", https://github.com/python/cpython/issues/106905).
_PARSING = threading.Lock()


@dataclass(frozen=True)
class Result:
    """The result of one chapter; `failure` is empty when all of its cells ran."""

    chapter: str
    seconds: float
    failure: str = ""


def copy_path(project: Project, run: Parameters, chapter: Chapter) -> Path:
    """Return the path of a chapter's executed copy; its run record has the ending ``.json``."""
    return project.executed(run) / f"{chapter.name}.ipynb"


def execute(
    project: Project,
    chapter: Chapter,
    run: Parameters,
    *,
    artifacts: Path,
    cell_timeout: int,
    jobs: int = 1,
    on_cell: Callable[[str], object] | None = None,
    stop: threading.Event | None = None,
    say: Callable[[str], object] = print,
) -> Result:
    """Run one chapter from its first cell to its last.

    The executed copy is written when every cell ran; the record follows and contains
    the copy's hash, so that a run killed between the two is repeated. A copy
    that failed is kept in ``failed/``.

    Parameters
    ----------
    project, chapter, run, artifacts, cell_timeout, jobs
        As for :func:`helpers.course.runner.run_chapters`.
    on_cell : callable, optional
        Called with the chapter's name when a cell begins.
    stop : threading.Event, optional
        Once it is set, the kernel is killed and nothing is written.
    say : callable
        Takes what the run should tell while the chapter runs.

    Raises
    ------
    RunError
        When the notebook does not have exactly one cell tagged ``parameters``:
        it would silently run with its defaults.
    """
    from nbclient import NotebookClient
    from nbformat import writes

    from helpers.course import kernel

    with _PARSING:
        # Taken before the first cell: an edit during the run leaves the chapter stale.
        record = _facts(project, chapter, run)
        notebook = _parameterized(chapter, run)
    failed = project.executed(run) / "failed" / f"{chapter.name}.ipynb"
    stop = stop or threading.Event()
    clock, begin = time.monotonic, time.monotonic()
    at, cell_begin, times = -1, begin, []

    def on_start(cell: object, cell_index: int) -> None:
        nonlocal at, cell_begin
        at, cell_begin = cell_index, clock()
        if on_cell:
            on_cell(chapter.name)

    def on_executed(cell: object, cell_index: int, execute_reply: dict) -> None:
        times.append({"id": cell.id, "seconds": round(clock() - cell_begin, 6)})

    client = NotebookClient(
        notebook,
        timeout=cell_timeout,
        startup_timeout=120,
        force_raise_errors=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(chapter.path.parent)}},
        on_cell_start=on_start,
        on_cell_executed=on_executed,
    )
    variables = kernel.environment(project.root, artifacts, jobs)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            answers = kernel.run_cells(client, variables, log, stop, say)
        except Exception as error:
            if stop.is_set():
                raise
            log.seek(0)
            where: object = failed
            try:
                write_text(failed.with_suffix(".log"), log.read())
                write_text(failed, writes(notebook) + "\n")
            except FileError as refused:
                where = f"none; {refused}"
            failure = _failure(chapter, notebook.cells, at, error, cell_timeout)
            return Result(chapter.name, clock() - begin, f"{failure}\n  executed copy: {where}")
    seconds = clock() - begin
    copy = write_text(copy_path(project, run, chapter), writes(notebook) + "\n")
    gpus = answers.get("gpu", [])
    record |= {
        "weights": answers.get("weights", []),
        "collapsed": answers.get("collapsed", []),
        "backend": answers.get("backend", ""),
        "device": ", ".join(gpus) if gpus else f"CPU, {cores()} cores",
        "cells": times,
        "seconds": round(seconds, 2),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "executed": hashlib.sha256(copy.read_bytes()).hexdigest(),
    }
    write_json(copy.with_suffix(".json"), sealed(record))
    for suffix in (".ipynb", ".log"):
        failed.with_suffix(suffix).unlink(missing_ok=True)
    return Result(chapter.name, seconds)


def is_drawn(run: Parameters) -> bool:
    """Return whether a run's images were drawn by the course, whatever the name of its data set."""
    if run.dataset == "phantom" or not run.data_dir:
        return run.dataset == "phantom"
    from helpers.datasets.drawn.folder import are_drawn  # imports pandas

    return are_drawn(run.data_dir)


def _facts(project: Project, chapter: Chapter, run: Parameters) -> dict:
    """Return the part of the run record that is known before the first cell."""
    return {
        "chapter": chapter.name,
        "dataset": run.dataset,
        "drawn": is_drawn(run),
        "profile": run.profile,
        "seed": run.seed,
        "parameters": run.injected(),
        "python": platform.python_version(),
        "versions": provenance.versions(_PACKAGES),
        "commit": provenance.commit(project.root) or "",
        "digest": staleness.digest(project, chapter, run),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parameterized(chapter: Chapter, run: Parameters) -> NotebookNode:
    """Return the chapter's notebook with a cell that sets the run's parameters."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    notebook = load_notebook_node(str(chapter.path))
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.tags]
    if len(tagged) != 1:
        raise RunError(
            f"{chapter.path.name} has {len(tagged)} cells tagged 'parameters', but must have "
            "exactly one: otherwise the run's parameters would not reach it."
        )
    missing = sorted(run.injected().keys() - checks.assigned(tagged[0].source))
    if missing:
        raise RunError(
            f"The parameters cell of {chapter.path.name} does not set {', '.join(missing)}."
        )
    return parameterize_notebook(notebook, run.injected(), kernel_name="python3", language="python")


def _failure(chapter: Chapter, cells: list, index: int, error: Exception, limit: int) -> str:
    """Return the report of a failure: chapter, cell, the question above it, code and error."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    reason = f"{type(error).__name__}: {error}"
    if index < 0:
        return f"{chapter.name} failed before its first cell\n  error: {reason}"
    if isinstance(error, CellExecutionError):
        reason = f"{error.ename}: {error.evalue}"
    elif isinstance(error, CellTimeoutError):
        reason = f"Time limit: the cell ran longer than {limit} s"
    elif isinstance(error, DeadKernelError):
        reason = "Kernel died: its process ended; often it ran out of memory"
    code_cells = [position for position, cell in enumerate(cells) if cell.cell_type == "code"]
    number = sum(position <= index for position in code_cells)
    lines = [f"{chapter.name} failed in code cell {number} of {len(code_cells)}"]
    question = next((c for c in reversed(cells[:index]) if c.cell_type == "markdown"), None)
    if question:
        text = " ".join(question.source.split())
        lines.append("  question: " + textwrap.shorten(text, 200, placeholder=" ..."))
    code = cells[index].source.splitlines()
    lines += ["  code:", *(f"    {line}" for line in code[:12])]
    lines += ["    ..."] if len(code) > 12 else []
    lines.append(f"  error: {reason}")
    for output in cells[index].get("outputs", []):
        # The sentence of an error of the course says it all.
        if output.output_type == "error" and output.ename not in _IN_A_SENTENCE:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback)).rstrip()
            lines += ["  where:", *(f"    {line}" for line in plain.splitlines()[-18:])]
    return "\n".join(lines)
