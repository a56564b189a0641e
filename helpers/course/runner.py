"""Brings the executed chapters up to date: finds the stale ones and runs those, no others."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.base import settings
from helpers.base.errors import CourseError
from helpers.course import staleness
from helpers.course.executor import Result, Task, copy_path, execute, record_path
from helpers.course.project import Chapter, Parameters, Project

#: Longest time of one cell, in seconds, where none is asked for.
CELL_TIMEOUT = {"smoke": 300, "quick": 900, "full": 6 * 3600}


@dataclass(frozen=True)
class State:
    """A chapter and why it must run; no reasons means its executed copy holds."""

    chapter: Chapter
    reasons: tuple[str, ...]
    record: dict | None

    @property
    def stale(self) -> bool:
        """Whether the chapter must run."""
        return bool(self.reasons)


class BusyError(CourseError, RuntimeError):
    """Another process is running or publishing the same build folder."""


@contextlib.contextmanager
def locked(project: Project, wait: float = -1) -> Iterator[None]:
    """Hold the build folder for one process at a time; the lock dies with its holder.

    Raises
    ------
    BusyError
        When another process still holds it after `wait` seconds (-1: wait for ever).
    """
    from filelock import FileLock, Timeout

    project.build.mkdir(parents=True, exist_ok=True)
    lock = FileLock(project.build / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if wait:
            print("Another run works in this folder; waiting for it.", file=sys.stderr)
        try:
            lock.acquire(timeout=wait)
        except Timeout as error:
            raise BusyError(f"Another run works in {project.build}; wait or stop it.") from error
    try:
        yield
    finally:
        lock.release()


def states(project: Project, run: Parameters) -> list[State]:
    """Return, for every chapter in order, whether its executed copy still holds."""
    return [_state(project, run, chapter) for chapter in project.chapters]


def _state(project: Project, run: Parameters, chapter: Chapter) -> State:
    try:
        record = json.loads(record_path(project, run, chapter).read_text(encoding="utf-8"))
        executed = copy_path(project, run, chapter).read_bytes()
    except (OSError, ValueError):
        return State(chapter, ("not executed yet",), None)
    if hashlib.sha256(executed).hexdigest() != record.get("executed"):
        return State(chapter, ("its executed copy is not the one recorded",), None)
    new = staleness.digest(project, chapter, run)
    return State(chapter, tuple(staleness.reasons(record.get("digest", {}), new)), record)


def run_chapters(
    project: Project,
    run: Parameters,
    *,
    only: list[str] | tuple[str, ...] = (),
    jobs: int = 1,
    force: bool = False,
    cell_timeout: int | None = None,
    artifacts: Path | None = None,
    quiet: bool = False,
) -> list[Result]:
    """Run every stale chapter and return how each came out.

    Parameters
    ----------
    project, run
        Which clone, and with which parameters.
    only : list of str
        Numbers or names of the chapters to look at; all when empty.
    jobs : int
        Chapters that run at a time, each in a process of its own.
    force : bool
        Run also what is up to date.
    cell_timeout : int, optional
        Longest time of a cell in seconds; by default from `CELL_TIMEOUT`.
    artifacts : pathlib.Path, optional
        ``COURSE_ARTIFACTS`` of the kernels; by default that of this process, else the clone's.
    quiet : bool
        Show no progress.

    Notes
    -----
    A chapter that fails does not stop the others: chapters stand alone, and one
    long run should tell of all that is wrong. The caller looks at `failure`.
    """
    if jobs < 1:
        raise settings.SettingsError(f"--jobs is {jobs}, but must be 1 or more.")
    if artifacts is None:
        given = os.environ.get("COURSE_ARTIFACTS")
        artifacts = Path(given).expanduser().resolve() if given else project.root / "artifacts"
    limit = cell_timeout or CELL_TIMEOUT[run.profile]
    chosen = {chapter.name for chapter in project.select(only)}
    stale = [s for s in states(project, run) if s.chapter.name in chosen and (s.stale or force)]
    _sweep(project.executed(run))
    if not quiet:
        _announce(run, len(chosen), stale)
    if not stale:
        return []
    project.commit  # noqa: B018  asked once here, not once in every process
    tasks = [Task(project, s.chapter, run, artifacts, limit, min(jobs, len(stale))) for s in stale]
    bar = _Bar(tasks, quiet)
    results = (
        _in_turn(tasks, bar) if min(jobs, len(tasks)) == 1 else _side_by_side(tasks, jobs, bar)
    )
    bar.close()
    return results


def failures(results: list[Result]) -> str:
    """Return the stories of all failed chapters, "" when none failed."""
    return "\n\n".join(result.failure for result in results if result.failure)


def _sweep(folder: Path) -> None:
    """Remove what a killed run left: only called while the build folder is locked."""
    if folder.is_dir():
        for rest in folder.glob(".running-*"):
            shutil.rmtree(rest, ignore_errors=True)
        for rest in folder.glob(".*.json"):
            rest.unlink(missing_ok=True)


def _announce(run: Parameters, chosen: int, stale: list[State]) -> None:
    if not stale:
        print(f"{run.key}: all {chosen} chapters are up to date.")
        return
    print(f"{run.key}: {len(stale)} of {chosen} chapters to run.")
    for state in stale:
        print(f"  {state.chapter.name}: {'; '.join(state.reasons) or 'asked for'}")
    sys.stdout.flush()


def _in_turn(tasks: list[Task], bar: _Bar) -> list[Result]:
    results = []
    for task in tasks:
        results.append(_guarded(task, bar.update))
        bar.finished(results[-1])
    return results


def _side_by_side(tasks: list[Task], jobs: int, bar: _Bar) -> list[Result]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    # Fresh interpreters: a forked one would share this one's threads and locks.
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    reader = threading.Thread(target=_listen, args=(queue, bar), daemon=True)
    reader.start()
    results = []
    with ProcessPoolExecutor(jobs, context, _begin_worker, (queue, os.getpid())) as pool:
        waiting = {pool.submit(_work, task): task for task in tasks}
        for future in as_completed(waiting):
            name = waiting[future].chapter.name
            try:
                result = future.result()
            except Exception as error:  # the worker itself died
                result = Result(name, 0.0, f"{name} failed: its process died ({error}).")
            results.append(result)
            bar.finished(result)
    queue.put(None)
    reader.join(timeout=5)
    order = [task.chapter.name for task in tasks]
    return sorted(results, key=lambda result: order.index(result.chapter))


def _guarded(task: Task, progress: object) -> Result:
    """Run a task; an error outside of its cells is that chapter's failure too."""
    begin = time.monotonic()
    try:
        return execute(task, progress)
    except Exception as error:
        story = str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
        name = task.chapter.name
        return Result(name, time.monotonic() - begin, f"{name} could not be run: {story}")


def _listen(queue: object, bar: _Bar) -> None:
    while (event := queue.get()) is not None:
        bar.update(*event)


def _begin_worker(queue: object, parent: int) -> None:
    """Keep the queue, and end this process once the one that started it is gone."""
    global _queue
    _queue = queue

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(task: Task) -> Result:
    return _guarded(task, lambda *event: _queue.put(event))


class _Bar:
    """One bar over the cells of all chapters on a terminal, a line a chapter elsewhere."""

    def __init__(self, tasks: list[Task], quiet: bool) -> None:
        self._quiet = quiet
        self._done = dict.fromkeys((task.chapter.name for task in tasks), 0)
        self._bar = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            cells = sum(
                len(staleness.read_notebook(task.chapter.path)["cells"]) + 1 for task in tasks
            )
            self._bar = tqdm(total=cells, unit="cell", dynamic_ncols=True)

    def update(self, name: str, done: int, total: int) -> None:
        """Take over how far a chapter is."""
        if self._bar is not None:
            self._bar.set_description(f"{name} {done}/{total}", refresh=False)
            self._bar.update(done - self._done[name])
        self._done[name] = done

    def finished(self, result: Result) -> None:
        """Leave a line behind for a chapter that ended."""
        if self._quiet:
            return
        how = "FAILED" if result.failure else "done"
        line = f"  {result.chapter:<32} {how:>6} {result.seconds:8.1f} s"
        if self._bar is not None:
            self._bar.write(line)
        else:
            print(line, flush=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
