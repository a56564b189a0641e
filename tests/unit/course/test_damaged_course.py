"""Damaged copies, records and books, and machines as they are, without starting a kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from helpers.base import files
from helpers.course import book, executor, kernel, runner
from helpers.course.project import Parameters
from tests import minicourse
from tests.unit.course.test_runner import course, executed
from tests.unit.damage import DAMAGES

__all__ = ["course"]  # a fixture


@pytest.mark.slow
def test_a_terminal_without_accents_stops_nothing(tmp_path):
    root = minicourse.make(tmp_path / "Präparate")
    urls = '[project.urls]\nRepository = "https://github.com/OWNER/REPOSITORY"\n'
    (root / "pyproject.toml").write_text(urls)
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "student", "--root", root, "--out", tmp_path / "ü"],
        env={**os.environ, **plain},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b" are in " in done.stdout
    assert (tmp_path / "ü" / "01_lines.ipynb").is_file()


@pytest.mark.slow
def test_kernels_need_no_home_for_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", "/proc/1/no")
    variables = kernel.environment(tmp_path, tmp_path / "artifacts")
    code = "import matplotlib.font_manager"
    for _ in range(2):  # the first one builds the cache of fonts, and may say so
        done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"executed": 1}', "\0" * 200])
def test_a_damaged_record_makes_its_chapter_run_again(course, content):
    run = Parameters()
    path = executed(course, run, "01")
    assert [len(state.reasons) for state in runner.states(course, run)] == [0, 1]
    path.with_suffix(".json").write_text(content)
    assert [len(state.reasons) for state in runner.states(course, run)] == [1, 1]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("ending", [".ipynb", ".json"])
def test_a_damaged_copy_or_record_makes_its_chapter_run_again(course, damage, ending):
    run = Parameters()
    path = executed(course, run, "01").with_suffix(ending)
    if ending == ".json":
        files.write_json(path, files.sealed(json.loads(path.read_text())))
    assert not runner.states(course, run)[0].reasons
    DAMAGES[damage](path)
    assert runner.states(course, run)[0].reasons


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["index.html", "_static/a.css", ".course.json"])
def test_a_damaged_book_is_built_again(course, monkeypatch, damage, name):
    run = Parameters()
    for chapter in ("01", "02"):
        executed(course, run, chapter)
    built = []

    def sphinx(work):
        built.append(work)
        html = work / "html"
        for page in ("index.html", "_static/a.css", "01.html"):
            files.write_text(html / page, f"the page {page}")
        return html

    monkeypatch.setattr(book, "_sphinx", sphinx)
    monkeypatch.setattr(book, "page", lambda source, executed, record: source)
    monkeypatch.setattr(book.checks, "check_executed", lambda notebook: [])
    book.build(course, run)
    book.build(course, run)
    assert len(built) == 1
    DAMAGES[damage](course.html / name)
    book.build(course, run)
    assert len(built) == 2
    book.build(course, run)
    assert len(built) == 2
    assert sorted(path.name for path in course.build.iterdir()) == ["executed", "html"]


def test_a_chapter_that_fails_on_a_full_disk_is_still_reported(course, monkeypatch):
    def refuse(path, text):
        raise files.FileError(f"{path} cannot be written (No space left on device).")

    def fail(*_):
        raise RuntimeError("the chapter's own fault")

    monkeypatch.setattr(executor, "write_text", refuse)
    monkeypatch.setattr(kernel, "run_cells", fail)
    result = executor.execute(
        course, course.chapters[0], Parameters(), artifacts=course.build, cell_timeout=9
    )
    assert "the chapter's own fault" in result.failure
    assert "executed copy: none; " in result.failure
    assert "No space left" in result.failure
