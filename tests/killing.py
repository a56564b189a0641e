"""Runs of the course that are killed on the way, and a look at what they left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from helpers.course import project, runner

ROOT = Path(__file__).resolve().parent.parent
_READERS = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".ipynb": lambda path: json.loads(path.read_text(encoding="utf-8"))["cells"],
    ".npy": lambda path: np.load(path, mmap_mode="r").sum(),
    ".csv": lambda path: pd.read_csv(path),
    ".keras": lambda path: zipfile.ZipFile(path).testzip(),
}


def broken_files(*folders: Path) -> list[str]:
    """Return the files below `folders` that cannot be read; dotted ones are unfinished."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).parts
            if path.suffix not in _READERS or any(part.startswith(".") for part in inside):
                continue
            try:
                _READERS[path.suffix](path)
            except Exception as error:
                found.append(f"{path}: {type(error).__name__}: {error}")
    return found


def start(root: Path, build: Path, *words: str) -> subprocess.Popen:
    """Begin ``course book`` in the smoke profile, with artifacts beside `build`."""
    command = [sys.executable, "-m", "helpers", "book", "--profile", "smoke", "--jobs", "2", *words]
    return subprocess.Popen(
        [*command, "--root", str(root), "--build", str(build)],
        cwd=ROOT,
        env={**os.environ, "COURSE_ARTIFACTS": str(build.parent / "artifacts")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: subprocess.Popen, seconds: float, *, alone: bool) -> list[str]:
    """SIGKILL the runner after `seconds`, with or without its children; return which live on."""
    try:
        process.wait(timeout=seconds)
        return []
    except subprocess.TimeoutExpired:
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not alone:
        for child in children:
            child.kill() if child.is_running() else None
    # Killed alone, its kernels and workers must notice and end by themselves.
    _, alive = psutil.wait_procs(children, timeout=15)
    return [f"still running: {' '.join(child.cmdline())}" for child in alive]


def half_a_book(html: Path) -> list[str]:
    """Return what a book lacks that is there but not whole."""
    if not html.exists():
        return []
    return [
        f"{html / name} is missing"
        for name in ("index.html", ".course.json", "searchindex.js")
        if not (html / name).is_file()
    ]


def kill_often(build: Path, times: int) -> tuple[dict[str, str], list[str]]:
    """Begin the smoke book of this course `times` times and kill it each time.

    Returns
    -------
    dict of str to str
        The chapters that were done at the last kill, and when each was finished.
    list of str
        What went wrong: a broken file, a process that lives on, a chapter that was done twice.
    """
    moments = random.Random(24)
    here, smoke = project.find(ROOT, build), project.parameters(profile="smoke")
    finished: dict[str, str] = {}
    wrong: list[str] = []
    for attempt in range(times):
        process = start(ROOT, build)
        if attempt == times - 1:  # the last kill comes after a finished chapter, on any machine
            while process.poll() is None and not list(build.glob("executed/*/*.json")):
                time.sleep(0.5)
        wrong += kill_after(process, moments.uniform(2, 25), alone=attempt % 2 == 0)
        wrong += broken_files(build / "executed", build.parent / "artifacts")
        wrong += half_a_book(build / "html")
        for state in runner.states(here, smoke):
            done = "" if state.reasons else state.record["finished"]
            if done != finished.get(state.chapter.name, done):
                wrong.append(f"kill {attempt + 1}: {state.chapter.name} was done and is not kept")
            if done:
                finished[state.chapter.name] = done
    return finished, wrong
