"""A new chapter is complete: it passes the checks of all chapters and its own test, and runs."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from helpers.base import files
from helpers.base.errors import RunError
from helpers.course import checks, template
from helpers.course.project import find
from tests.conftest import ROOT


@pytest.fixture
def clone(tmp_path):
    """A copy of the course's notebooks, pages and names, without its helpers."""
    root = tmp_path / "course"
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copytree(ROOT / "book", root / "book")
    for name in ("_toc.yml", "_config.yml", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    return find(root)


def test_a_new_chapter_is_listed_and_has_no_problems(clone):
    before = (clone.root / "_toc.yml").read_text()
    files = template.new_chapter(clone, "cell_borders")
    number = f"{len(clone.chapters) + 1:02d}"
    assert [path.relative_to(clone.root).as_posix() for path in files] == [
        f"helpers/exercises/chapter_{number}.py",
        f"tests/unit/exercises/test_chapter_{number}.py",
        f"notebooks/{number}_cell_borders.ipynb",
        "_toc.yml",
        "book/intro.md",
    ]
    again = find(clone.root)
    assert again.chapters[-1].name == f"{number}_cell_borders"
    assert checks.check_sources(again) == []
    line = f"      - file: notebooks/{number}_cell_borders\n"
    assert (clone.root / "_toc.yml").read_text().replace(line, "") == before
    assert "{grid-item-card} Cell borders\n" in (clone.root / "book/intro.md").read_text()
    for path in files[:3]:
        assert not re.search("@[A-Z]+@", path.read_text())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Cell borders", "is no name of a chapter"),
        ("../evil", "is no name of a chapter"),
        ("5_short", "is no name of a chapter"),
        ("00_welcome", "a number from 01 to 99"),
        ("05_cell_borders", "There is a chapter 05_custom_cnn already: take another number."),
        ("balancing", "There is a chapter 03_balancing already: take another name."),
        ("77_balancing", "There is a chapter 03_balancing already: take another name."),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused_and_nothing_is_written(clone, name, told):
    before = {path: path.read_bytes() for path in clone.root.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=told):
        template.new_chapter(clone, name)
    after = {path: path.read_bytes() for path in clone.root.rglob("*") if path.is_file()}
    assert before == after


def test_after_the_last_number_a_free_one_is_named(clone):
    template.new_chapter(clone, "99_last")
    before = (clone.root / "_toc.yml").read_text()
    with pytest.raises(RunError, match=r"no number after 99_last for more: .*98_more"):
        template.new_chapter(find(clone.root), "more")
    assert (clone.root / "_toc.yml").read_text() == before


@pytest.mark.parametrize(
    ("title", "heading"), [("Two\n lines", "Two lines"), (" ", "Cell borders")]
)
def test_a_title_is_one_line(clone, title, heading):
    *_, path, _, intro = template.new_chapter(clone, "cell_borders", title)
    source = "".join(json.loads(path.read_text())["cells"][0]["source"])
    assert source.startswith(f"# {heading}\n\n")
    assert f"{{grid-item-card}} {heading}\n" in intro.read_text()


def test_checkers_that_are_there_are_not_replaced(clone):
    path = clone.root / "helpers" / "exercises" / "chapter_77.py"
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(RunError, match=r"chapter_77.py is there already"):
        template.new_chapter(clone, "77_new")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("closed", ["_toc.yml", "intro.md"])
def test_in_a_clone_of_somebody_else_nothing_is_left_behind(clone, monkeypatch, closed):
    before = {path: path.read_bytes() for path in clone.root.rglob("*") if path.is_file()}
    write = template.write_text

    def refuse(path, text):
        if path.name == closed:
            with files.told(path):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return write(path, text)

    monkeypatch.setattr(template, "write_text", refuse)
    told = r"^The chapter is not written \(Permission denied\): .*take a clone"
    with pytest.raises(RunError, match=told):
        template.new_chapter(clone, "cell_borders")
    after = {path: path.read_bytes() for path in clone.root.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.slow
def test_a_new_chapter_passes_every_test_of_chapters_and_runs(tmp_path):
    root = tmp_path / "course"
    kept = ("_build", "artifacts", ".git", "__pycache__", ".ci", "shared", ".pytest_cache")
    shutil.copytree(ROOT, root, symlinks=True, ignore=shutil.ignore_patterns(*kept))
    env = {**os.environ, "PYTHONPATH": str(root), "COURSE_ARTIFACTS": str(tmp_path / "kept")}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=root, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = run("helpers", "new-chapter", "cell_borders", "--title", "Where a cell ends")
    (path,) = (root / "notebooks").glob("*_cell_borders.ipynb")
    number = path.name[:2]
    assert f"notebooks/{number}_cell_borders.ipynb" in told
    assert "have no problems" in run("helpers", "check")
    tests = root / "tests" / "unit"
    of_all = [tests / "course" / "test_pages.py", tests / "exercises" / "test_readable.py"]
    words = [*of_all, tests / "course" / "test_chapters_anatomy.py", "-k", f"{number} or contents"]
    run("pytest", "-q", "-p", "no:cacheprovider", *map(str, words))
    own = tests / "exercises" / f"test_chapter_{number}.py"
    run("pytest", "-q", "-p", "no:cacheprovider", str(own))
    style = "check", "format --check"
    for command in style:
        run("ruff", *command.split(), str(own), str(root / "helpers" / "exercises"))
    run("helpers", "book", "--profile", "smoke", "--only", number)
    page = root / "_build" / "html" / "notebooks" / f"{number}_cell_borders.html"
    assert "Where a cell ends" in page.read_text(encoding="utf-8")
    assert "people gave" in page.read_text(encoding="utf-8")
