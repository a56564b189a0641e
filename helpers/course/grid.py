"""Runs a table of trials (recipes x folds x seeds) on a Dask cluster; each result lands once.

A trial is done when its result, a JSON file, is in the artifacts. A run computes what is
missing, so a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import logging
import multiprocessing.util
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.base import files
from helpers.base import settings as course_settings
from helpers.base.errors import CourseError, RunError
from helpers.course.banner import duration
from helpers.course.grid_tables import FIELDS, product, read_table, summary
from helpers.studies import trials
from helpers.studies.trials import METRICS, Trial

if TYPE_CHECKING:
    from distributed import Client

    from helpers.course.project import Project

#: Seconds in which a scheduler must answer.
PATIENCE = 20


def run_grid(
    course: Project,
    table: Path | None,
    recipes: str,
    seeds: str,
    defaults: Mapping[str, Any],
    scheduler: str = "",
    workers: int = 1,
    test: bool = False,
) -> bool:
    """Run the trials of a table, or of recipes and seeds; print the summary.

    Returns
    -------
    bool
        Whether all trials have a result. All of them are written to ``grid.csv`` in the build
        folder, with the test figures only if `test` asks for them.
    """
    import pandas as pd

    from helpers.course import kernel

    chosen = read_table(table, defaults) if table else product(recipes, seeds, defaults)
    os.environ.update(kernel.environment(course.root, course.artifacts, workers))
    os.environ["PYTHONWARNINGS"] += ",ignore:resource_tracker"  # what a killed worker leaves
    jobs: dict[str, Trial] = {}
    for trial, where in chosen.items():  # a fault of any is told before the first one runs
        try:
            jobs[trials.key(trial)] = trial
        except CourseError as error:
            raise RunError(f"{where}: {error}") from error
    with cluster(scheduler, workers) as client:
        results = run(jobs, client, course.artifacts)
    flat = pd.json_normalize(results, sep=" ")
    files.write_csv(course.build / "grid.csv", flat if test else flat.filter(regex="^(?!test)"))
    with pd.option_context("display.width", None, "display.max_columns", None):
        print(
            summary(results, test).to_string(index=False, float_format="{:.3f}".format, na_rep="-")
        )
    return not any("error" in result for result in results)


def run(
    jobs: Mapping[str, Trial],
    client: Client,
    artifacts: Path,
    compute: Callable[[Trial], dict] = trials.result,
    key: Callable[[Trial], str] = trials.key,
) -> list[dict]:
    """Compute the results that are missing, print a line for each, and return all of them.

    Parameters
    ----------
    jobs : mapping
        From keys to trials.
    client : distributed.Client
        A trial whose worker dies is computed by another one.
    artifacts : pathlib.Path
        Where results are stored. Workers store theirs in the artifacts of their machine, which
        may be the same folder.
    compute, key : callable
        From a trial to its result and to its key, on the worker.

    Returns
    -------
    list of dict
        In the order of `jobs`. The result of a trial that failed has an ``error``: a sentence.
    """
    from distributed import as_completed

    found = {each: trials.stored(artifacts, each) for each in jobs}
    waiting = [each for each, result in found.items() if result is None]
    print(f"{len(jobs)} trials, {len(waiting)} of them to run.", flush=True)
    same, differ = _settings(list(jobs.values()))
    if same:
        print(f"All of them: {', '.join(same)}.", flush=True)
    futures = {
        client.submit(_land, each, jobs[each], compute, key, key=f"trial-{each}"): each
        for each in waiting
    }
    begin = time.monotonic()
    client.subscribe_topic("all", _tell_of_dead_workers)
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            each = futures[future]
            try:
                result = future.result()
            except Exception as error:  # raised by Dask
                result = {"error": _sentence(error)}
            if "error" not in result:
                result = trials.store(artifacts, each, lambda result=result: result)
            found[each] = result
            passed = time.monotonic() - begin
            left = duration(passed / done * (len(waiting) - done))
            print(
                f"[{done}/{len(waiting)}] {_told(jobs[each], differ, result)}; about {left} left",
                flush=True,
            )
    finally:
        client.unsubscribe_topic("all")
    facts = {each: dataclasses.asdict(trial) for each, trial in jobs.items()}
    return [{**facts[each], **result, **facts[each]} for each, result in found.items()]


def _tell_of_dead_workers(event: tuple[float, dict]) -> None:
    _, message = event
    if message["action"] == "remove-worker" and (running := message["processing-tasks"]):
        print(f"A worker died; another one takes its trials ({len(running)}).", flush=True)


def _land(key: str, trial: Trial, compute: Callable, key_of: Callable) -> dict:
    """Return a trial's result, stored on this machine, or an error: this runs on a worker."""
    try:
        return _trainer().submit(_result, key, trial, compute, key_of).result()
    except BrokenExecutor:  # killed, often for memory: the worker dies of it, and Dask knows what
        os._exit(1)  # to do then
    except Exception as error:
        return {"error": _sentence(error)}


@functools.cache
def _trainer() -> ProcessPoolExecutor:
    """Return the process in which this worker trains.

    A worker has threads that draw from Python's random numbers too: beside them, a training
    would not be the same twice.
    """
    if multiprocessing.current_process().daemon:
        raise RunError("Start Dask's workers with DASK_DISTRIBUTED__WORKER__DAEMON=False.")
    os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)  # each process keeps TensorFlow quiet itself
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, initializer=_end_with_the_worker)
    # Else a worker that ends would wait for this process before it asks it to end.
    multiprocessing.util.Finalize(None, pool.shutdown, exitpriority=100)
    return pool


def _end_with_the_worker() -> None:
    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the first process decides
    threading.Thread(target=wait, daemon=True).start()


def _result(key: str, trial: Trial, compute: Callable, key_of: Callable) -> dict:
    quiet = io.StringIO()  # bars and notes of many trainings at once could not be read
    begin = time.monotonic()

    def make() -> dict:
        return {
            **dataclasses.asdict(trial),
            **compute(trial),
            "seconds": round(time.monotonic() - begin, 1),
        }

    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        if key_of(trial) != key:
            raise RunError(
                "This worker has other code, data, weights or versions than the machine that "
                "asks: install the same on both."
            )
        return trials.store(course_settings.artifacts_folder(), key, make)


def _sentence(error: Exception) -> str:
    if type(error).__name__ == "KilledWorker":
        return "Each worker that took it died: is there too little memory?"
    kind = "" if isinstance(error, CourseError) else f"{type(error).__name__}: "
    return kind + (" ".join(str(error).split()) or "no reason is given")


def _settings(chosen: list[Trial]) -> tuple[list[str], list[str]]:
    """Return what all trials share and is not the default, in words; the names of the rest."""
    first = dataclasses.asdict(chosen[0]) if chosen else {}
    values = {name: {getattr(trial, name) for trial in chosen} for name in first}
    differ = [name for name in first if name in ("fold", "seed") or len(values[name]) > 1]
    same = [
        f"{name} {value}"
        for name, value in first.items()
        if name not in ("recipe", *differ) and value != FIELDS[name].default
    ]
    return same, [name for name in differ if name != "recipe"]


def _told(trial: Trial, differ: list[str], result: dict) -> str:
    settings = [f"{name} {getattr(trial, name)}" for name in differ]
    name = f"{trial.recipe}, {', '.join(settings)}"
    if "error" in result:
        return f"{name}: FAILED, {result['error']}"
    figures = [f"{metric} {result['val'][metric]:.3f}" for metric in METRICS]
    return f"{name}: {', '.join(figures)} {result['note']}".rstrip()


@contextlib.contextmanager
def cluster(address: str, workers: int) -> Iterator[Client]:
    """Yield a client of the scheduler at `address`, or without one of workers on this machine.

    Raises
    ------
    RunError
        When Dask is not installed, or no scheduler answers.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise RunError("--grid needs Dask: pip install 'wbc-cancer-course[grid]'.") from error
    if address:
        try:
            client = Client(address, timeout=PATIENCE)
        except (OSError, ValueError, MemoryError) as error:  # the last: of an answer not Dask's
            raise RunError(f"No Dask scheduler answers at {address!r}: {error}") from error
        with client:
            if not client.scheduler_info()["workers"]:
                print(f"{address} has no workers yet; waiting for them.", flush=True)
            yield client
        return
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # `run` tells which workers died
    # Ctrl-C reaches all processes of a terminal: this one decides what happens then.
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    choices = {"distributed.worker.daemon": False, "distributed.worker.preload": [ignore]}
    with (
        dask.config.set(choices),  # workers may have processes of their own
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield client
