"""Killed at any moment, a run leaves nothing broken, and the next one finishes the rest."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from helpers.course import project, runner
from tests import minicourse
from tests.conftest import ROOT, course

pytestmark = pytest.mark.slow

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
    command = [sys.executable, "-m", "helpers", "book", "--profile", "smoke", "--jobs", "2", *words]
    return subprocess.Popen(
        [*command, "--root", str(root), "--build", str(build)],
        cwd=ROOT,
        env={**os.environ, "COURSE_ARTIFACTS": str(build.parent / "artifacts")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after(process: subprocess.Popen, seconds: float, *, alone: bool) -> bool:
    """SIGKILL the runner after `seconds`, with or without its children; return if it still ran."""
    try:
        process.wait(timeout=seconds)
        return False
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
    assert not alive, f"still running: {[' '.join(child.cmdline()) for child in alive]}"
    return True


def whole_or_absent(html: Path) -> None:
    if html.exists():
        assert (html / "index.html").is_file()
        assert json.loads((html / ".course.json").read_text())["inputs"]
        assert (html / "searchindex.js").is_file()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A two-chapter course and how long its first `course book` takes."""
    base = tmp_path_factory.mktemp("kill")
    root = minicourse.make(base / "course")
    begin = time.monotonic()
    assert start(root, base / "first" / "_build").wait() == 0
    return root, time.monotonic() - begin


@pytest.mark.parametrize("moment", range(15))
def test_a_small_course_killed_at_a_random_moment(small, tmp_path, moment):
    root, whole = small
    # One moment in each fifteenth of the run, so that none of its phases is missed.
    share = (moment + random.Random(moment).random()) / 15
    build = tmp_path / "_build"
    kill_after(start(root, build), share * whole, alone=moment % 2 == 0)
    assert broken_files(build / "executed", tmp_path / "artifacts") == []
    whole_or_absent(build / "html")
    done = course("book", "--profile", "smoke", build=build, root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    whole_or_absent(build / "html")
    assert sorted(path.name for path in build.glob(".*")) == [".lock"]
    assert not list((build / "executed").rglob(".*"))


def test_the_course_killed_five_times_then_finished(smoke_build, tmp_path):
    """The real chapters, killed on the way; what was done is not done again."""
    moments = random.Random(24)
    build = tmp_path / "_build"
    shutil.rmtree(build, ignore_errors=True)
    smoke = project.parameters(profile="smoke")
    course_here = project.find(ROOT, build)
    finished: dict[str, str] = {}
    for attempt in range(5):
        kill_after(start(ROOT, build), moments.uniform(2, 25), alone=attempt % 2 == 0)
        assert broken_files(build / "executed", tmp_path / "artifacts") == []
        whole_or_absent(build / "html")
        for state in runner.states(course_here, smoke):
            if not state.reasons:
                kept = finished.setdefault(state.chapter.name, state.record["finished"])
                assert state.record["finished"] == kept
            else:
                assert state.chapter.name not in finished
    done = course("book", "--profile", "smoke", "--jobs", "2", build=build)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(state.reasons for state in runner.states(course_here, smoke))
    for state in runner.states(course_here, smoke):
        name = state.chapter.name
        assert state.record["finished"] == finished.get(name, state.record["finished"])
    whole_or_absent(build / "html")
