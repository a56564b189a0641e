"""Killed at any moment, a run leaves nothing broken, and the next one finishes the rest."""

from __future__ import annotations

import random
import time

import pytest

from tests import minicourse
from tests.conftest import course
from tests.killing import broken_files, half_a_book, kill_after, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A two-chapter course and how long its first `course book` takes."""
    base = tmp_path_factory.mktemp("kill")
    root = minicourse.make(base / "course")
    begin = time.monotonic()
    assert start(root, base / "first" / "_build").wait() == 0
    return root, time.monotonic() - begin


@pytest.mark.parametrize("moment", range(8))
def test_a_small_course_killed_at_a_random_moment(small, tmp_path, moment):
    root, whole = small
    # One moment in each eighth of the run, so that none of its phases is missed.
    share = (moment + random.Random(moment).random()) / 8
    build = tmp_path / "_build"
    assert kill_after(start(root, build), share * whole, alone=moment % 2 == 0) == []
    assert broken_files(build / "executed", tmp_path / "artifacts") == []
    assert half_a_book(build / "html") == []
    done = course("book", "--profile", "smoke", build=build, root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (build / "html" / "index.html").is_file()
    assert half_a_book(build / "html") == []
    assert sorted(path.name for path in build.glob(".*")) == [".lock"]
    assert not list((build / "executed").rglob(".*"))
