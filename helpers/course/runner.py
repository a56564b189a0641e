"""Brings the executed chapters up to date: runs those that are stale, and no others."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from helpers.base import files
from helpers.base.errors import CourseError, RunError
from helpers.base.runtime import chapters_at_a_time
from helpers.course import staleness
from helpers.course.executor import Result, copy_path, execute
from helpers.course.project import Chapter, Parameters, Project

#: Longest time of one cell, in seconds, by default.
CELL_TIMEOUT = {"smoke": 300, "quick": 900, "full": 6 * 3600}
#: Gigabytes of memory that a chapter needs, for the runner to count how many fit: the largest
#: took 1.4 in `smoke`; `quick` and `full` are estimates.
CHAPTER_MEMORY = {"smoke": 2.0, "quick": 3.0, "full": 8.0}


@dataclass(frozen=True)
class State:
    """A chapter and why it must run; without reasons, its executed copy is up to date."""

    chapter: Chapter
    reasons: tuple[str, ...]
    record: dict | None


def locked(project: Project) -> contextlib.AbstractContextManager[None]:
    """Hold the build folder for one process at a time; the lock ends with its process."""
    waiting = "Another run works in this folder; waiting for it."
    return files.locked(project.build / ".lock", waiting)


def states(project: Project, run: Parameters) -> list[State]:
    """Return, for every chapter in order, whether its executed copy is up to date."""
    return [_state(project, run, chapter) for chapter in project.chapters]


def _state(project: Project, run: Parameters, chapter: Chapter) -> State:
    path = copy_path(project, run, chapter)
    record = files.read_sealed(path.with_suffix(".json"))
    try:
        executed = path.read_bytes()
    except OSError:
        record = None
    if record is None:
        return State(chapter, ("not executed yet",), None)
    if hashlib.sha256(executed).hexdigest() != record.get("executed"):
        return State(chapter, ("its executed copy is not the one recorded",), None)
    new = staleness.digest(project, chapter, run)
    return State(chapter, tuple(staleness.reasons(record.get("digest", {}), new)), record)


def at_a_time(run: Parameters, jobs: int | None) -> int:
    """Return `jobs`, or without it as many as the machine can take; at least 1.

    Raises
    ------
    RunError
        When `jobs` is below 1.
    """
    if jobs is None:
        return chapters_at_a_time(CHAPTER_MEMORY[run.profile])
    if jobs < 1:
        raise RunError(f"--jobs is {jobs}, but must be 1 or more.")
    return jobs


def run_chapters(
    project: Project,
    run: Parameters,
    *,
    only: list[str] | tuple[str, ...] = (),
    jobs: int | None = None,
    force: bool = False,
    cell_timeout: int | None = None,
    artifacts: Path | None = None,
) -> list[Result]:
    """Run every stale chapter and return the results.

    Parameters
    ----------
    project, run
        Which clone, and with which parameters.
    only : list of str
        Numbers or names of the chapters to consider; all when empty.
    jobs : int, optional
        Number of chapters that run at a time; by default as many as the machine can take,
        see :func:`helpers.base.runtime.chapters_at_a_time`.
    force : bool
        Run also the chapters that are up to date.
    cell_timeout : int, optional
        Longest time of a cell in seconds; by default from `CELL_TIMEOUT`.
    artifacts : pathlib.Path, optional
        ``COURSE_ARTIFACTS`` of the kernels; by default that of this process, else the clone's.

    Notes
    -----
    A chapter that fails does not stop the others: no chapter needs another one, and one
    long run should report everything that is wrong. The caller looks at `failure`.
    """
    jobs = at_a_time(run, jobs)
    artifacts = artifacts or project.artifacts
    chosen = {chapter.name for chapter in project.select(only)}
    stale = [s for s in states(project, run) if s.chapter.name in chosen and (s.reasons or force)]
    for rest in project.executed(run).rglob(".*"):  # left by a run that was killed
        if rest.is_file():
            rest.unlink()
    jobs = min(jobs, len(stale))
    _announce(run, len(chosen), stale, jobs)
    if not stale:
        return []
    from helpers.course import kernel  # imports Jupyter

    artifacts = artifacts or project.artifacts
    # On a new machine Matplotlib builds a cache of fonts and says so on stderr, which no page
    # should show: let it do that before the chapters start.
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"],
        env=kernel.environment(project.root, artifacts),
        capture_output=True,
        check=False,
    )
    # The longest first, as an earlier run took it: a long one begun last would end alone.
    stale.sort(key=lambda state: -state.record["seconds"] if state.record else -math.inf)
    work = functools.partial(
        execute,
        project,
        run=run,
        artifacts=artifacts,
        cell_timeout=cell_timeout or CELL_TIMEOUT[run.profile],
        jobs=jobs,
    )
    return _run_all(work, [state.chapter for state in stale], jobs)


def _announce(run: Parameters, chosen: int, stale: list[State], jobs: int) -> None:
    if not stale:
        print(f"{run.key}: all {chosen} chapters are up to date.")
        return
    print(f"{run.key}: {len(stale)} of {chosen} chapters to run, {jobs} at a time.")
    for state in stale:
        print(f"  {state.chapter.name}: {'; '.join(state.reasons) or 'asked for'}")
    sys.stdout.flush()


def _run_all(work: Callable[..., Result], chapters: list[Chapter], jobs: int) -> list[Result]:
    """Run each chapter in a thread, which waits for its kernel: a separate process.

    On a terminal, a bar counts the cells. For each chapter that ends, a line is printed.
    """
    from tqdm import tqdm

    cells = sum(len(staleness.read_notebook(chapter.path)["cells"]) + 1 for chapter in chapters)
    stop = threading.Event()
    with (
        tqdm(total=cells, unit="cell", dynamic_ncols=True, disable=None) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def on_cell(name: str) -> None:
            bar.set_description(name, refresh=False)
            bar.update()

        def say(name: str, text: str) -> None:
            bar.write(f"  {name}: {text}")
            sys.stdout.flush()

        try:
            futures = [pool.submit(_guarded, work, each, on_cell, say, stop) for each in chapters]
            for future in as_completed(futures):
                result = future.result()
                how = "FAILED" if result.failure else "done"
                bar.write(f"  {result.chapter:<32} {how:>6} {result.seconds:8.1f} s")
                sys.stdout.flush()
        except BaseException:  # Ctrl-C: without `stop`, the threads would wait for their kernels
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _guarded(
    work: Callable[..., Result],
    chapter: Chapter,
    on_cell: Callable,
    say: Callable,
    stop: threading.Event,
) -> Result:
    """Run a chapter; an error outside of its cells is that chapter's failure too."""
    begin = time.monotonic()
    try:
        return work(chapter, on_cell=on_cell, say=functools.partial(say, chapter.name), stop=stop)
    except Exception as error:
        kind = "" if isinstance(error, CourseError) else f"{type(error).__name__}: "
        failure = f"{chapter.name} could not be run: {kind}{error}"
        return Result(chapter.name, time.monotonic() - begin, failure)
