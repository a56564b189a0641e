"""A chapter is stale when, and only when, something changed that its outputs follow from."""

from __future__ import annotations

import os
import shutil

import pytest

from helpers.base.errors import RunError
from helpers.course import checks, kernel, staleness
from helpers.course.project import Parameters, Project
from tests import minicourse


@pytest.fixture
def project(tmp_path):
    root = minicourse.make(tmp_path / "course")
    helpers = root / "helpers"
    for name, text in {
        "__init__.py": "",
        "base/__init__.py": "",
        "base/files.py": "from helpers.base.errors import CourseError\n",
        "base/errors.py": "class CourseError(Exception): ...\n",
        "base/settings.py": "def artifacts_folder():\n    from . import late\n",
        "base/late.py": "",
        "unused.py": "",
        "datasets/__init__.py": "import importlib\n"
        "def load(name):\n    return importlib.import_module(f'helpers.datasets.{name}')\n",
        "datasets/one.py": "",
        "datasets/index.csv": "a,b\n",
        "check.py": "import importlib\n"
        "def find(n):\n    importlib.import_module(f'helpers.exercises.chapter_{n}')\n",
        "exercises/__init__.py": "",
        "exercises/chapter_01.py": "",
        "exercises/chapter_02.py": "",
        "course/runner.py": "",
    }.items():
        path = helpers / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Project(root, root / "_build")


def digest(project, number="02", run=None):
    fresh = Project(project.root, project.build)
    return staleness.digest(fresh, fresh.select([number])[0], run or Parameters(profile="smoke"))


def changed(project, before, number="02", run=None):
    after = digest(project, number, run)
    return {part for part in before if before[part] != after[part]}


def test_nothing_changed_is_not_stale(project):
    before = digest(project)
    assert set(before) == set(staleness.REASONS)
    assert changed(project, before) == set()
    assert staleness.reasons(before, digest(project)) == []


def test_a_copy_elsewhere_has_the_same_digest(project, tmp_path):
    before = digest(project)
    shutil.copytree(project.root, tmp_path / "elsewhere")
    moved = Project(tmp_path / "elsewhere", tmp_path / "build")
    assert changed(moved, before) == set()


def test_text_and_labels_do_not_make_a_chapter_stale_but_code_does(project):
    path = project.root / "notebooks" / "02_files.ipynb"
    before = digest(project)
    minicourse.change(path, "How is a table kept?", "How is a table stored?")
    assert changed(project, before) == set()
    minicourse.change(path, "range(20)", "range(21)")
    assert changed(project, before) == {"cells"}
    assert staleness.reasons(before, digest(project)) == ["its cells changed"]


def test_a_moved_parameters_tag_makes_a_chapter_stale(project):
    before = digest(project)
    minicourse.change(project.root / "notebooks/02_files.ipynb", '"parameters"', '"other"')
    assert changed(project, before) == {"cells"}


@pytest.mark.parametrize(
    "run",
    [Parameters(profile="quick"), Parameters(profile="smoke", seed=1), Parameters("cnmc", "smoke")],
)
def test_parameters(project, run):
    assert changed(project, digest(project), run=run) == {"parameters"}


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("base/files.py", True),
        ("base/errors.py", True),  # through files
        ("base/late.py", True),  # imported inside a function, relatively
        ("__init__.py", True),
        ("base/__init__.py", True),
        ("unused.py", False),
        ("datasets/one.py", False),  # chapter 02 does not load a data set
        ("course/runner.py", False),
    ],
)
def test_only_helpers_within_reach_count(project, module, stale):
    before = digest(project)
    (project.root / "helpers" / module).write_text("# changed\n")
    assert changed(project, before) == ({"helpers"} if stale else set())


@pytest.mark.parametrize("name", ["datasets/one.py", "datasets/index.csv"])
def test_modules_imported_by_a_made_up_name_and_data_files_count(project, name):
    path = project.root / "notebooks" / "01_lines.ipynb"
    minicourse.change(path, "print(PROFILE", "import helpers.datasets as d\\nprint(PROFILE")
    before = digest(project, "01")
    (project.root / "helpers" / name).write_text("# changed\n")
    assert changed(project, before, "01") == {"helpers"}


def test_of_the_exercises_only_the_chapters_own_count(project):
    path = project.root / "notebooks" / "01_lines.ipynb"
    minicourse.change(path, "print(PROFILE", "from helpers.check import find\\nprint(PROFILE")
    before = digest(project, "01")
    (project.root / "helpers/exercises/chapter_02.py").write_text("# changed\n")
    assert changed(project, before, "01") == set()
    (project.root / "helpers/exercises/chapter_01.py").write_text("# changed\n")
    assert changed(project, before, "01") == {"helpers"}


def test_a_new_module_that_shadows_a_name_counts(project):
    path = project.root / "notebooks" / "01_lines.ipynb"
    minicourse.change(path, "print(PROFILE", "from helpers.base.late import thing\\nprint(PROFILE")
    before = digest(project, "01")
    (project.root / "helpers/base/late.py").unlink()
    (project.root / "helpers/base/late").mkdir()
    (project.root / "helpers/base/late/__init__.py").write_text("")
    (project.root / "helpers/base/late/thing.py").write_text("x = 1")
    assert changed(project, before, "01") == {"helpers"}


def test_a_name_of_which_nothing_is_known_reaches_everything(project):
    path = project.root / "notebooks" / "01_lines.ipynb"
    minicourse.change(path, "print(PROFILE", "import helpers.wild\\nprint(PROFILE")
    (project.root / "helpers/wild.py").write_text("import importlib as i\ni.import_module(NAME)")
    before = digest(project, "01")
    (project.root / "helpers/unused.py").write_text("# changed\n")
    assert changed(project, before, "01") == {"helpers"}


def test_lock(project):
    before = digest(project)
    project.lock.write_text("numpy==2.0\n")
    assert changed(project, before) == {"lock"}


def test_data_folder(project, tmp_path):
    data = tmp_path / "data"
    (data / "all").mkdir(parents=True)
    (data / "all" / "1.bmp").write_bytes(b"123")
    run = Parameters("cnmc", "smoke", 24, str(data))
    before = digest(project, run=run)
    assert changed(project, before, run=run) == set()
    (data / "all" / "2.bmp").write_bytes(b"123")
    assert changed(project, before, run=run) == {"data"}
    (data / "all" / "2.bmp").unlink()
    assert changed(project, before, run=run) == set()
    os.utime(data / "all" / "1.bmp", (1, 1))
    assert changed(project, before, run=run) == {"data"}


def test_a_second_data_folder_counts_where_a_chapter_asks_for_it(project, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.bmp").write_bytes(b"1")
    monkeypatch.delenv("COURSE_EXTERNAL_DIR", raising=False)
    path = project.root / "notebooks" / "01_lines.ipynb"
    minicourse.change(path, "print(PROFILE", "name = 'COURSE_EXTERNAL_DIR'\\nprint(PROFILE")
    one, two = (digest(project, number) for number in ("01", "02"))
    monkeypatch.setenv("COURSE_EXTERNAL_DIR", str(tmp_path / "nothing there"))
    assert changed(project, one, "01") == set()
    monkeypatch.setenv("COURSE_EXTERNAL_DIR", str(elsewhere))
    assert changed(project, one, "01") == {"data"}
    assert changed(project, two, "02") == set()
    one = digest(project, "01")
    (elsewhere / "2.bmp").write_bytes(b"2")
    assert changed(project, one, "01") == {"data"}


@pytest.mark.parametrize("name", ["WEIGHTS_DIR", "COURSE_EXTERNAL_DIR"])
def test_a_folder_is_meant_from_where_the_caller_stands(name, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "there")
    assert kernel.environment(tmp_path, tmp_path)[name] == str((tmp_path / "there").resolve())
    monkeypatch.setenv(name, "")
    assert kernel.environment(tmp_path, tmp_path)[name] == ""


@pytest.mark.parametrize(("name", "value"), [("KERAS_BACKEND", "jax"), ("WEIGHTS_DIR", "weights")])
def test_environment(project, name, value, monkeypatch, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.h5").write_bytes(b"1")
    monkeypatch.delenv(name, raising=False)
    before = digest(project)
    monkeypatch.setenv(name, str(tmp_path / value) if value == "weights" else value)
    assert changed(project, before) == {"environment"}


def test_notebook_magics_do_not_hide_imports(project):
    path = project.root / "notebooks" / "01_lines.ipynb"
    new = "%matplotlib inline\\nimport helpers.base.files\\nprint(PROFILE"
    minicourse.change(path, "print(PROFILE", new)
    before = digest(project, "01")
    (project.root / "helpers/unused.py").write_text("# changed\n")
    assert changed(project, before, "01") == set()
    (project.root / "helpers/base/files.py").write_text("# changed\n")
    assert changed(project, before, "01") == {"helpers"}


def test_links_that_lead_back_and_names_that_are_no_utf8_have_a_state(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "1.bmp").write_bytes(b"1")
    plain = staleness.folder_state(tmp_path)
    (tmp_path / "all" / "back").symlink_to(tmp_path)
    assert staleness.folder_state(tmp_path) == plain
    os.mkdir(os.fsencode(tmp_path) + b"/Pr\xe4parate")
    with open(os.fsencode(tmp_path) + b"/Pr\xe4parate/\xfc.bmp", "wb") as file:
        file.write(b"2")
    assert staleness.folder_state(tmp_path) != plain


def test_a_folder_that_cannot_be_opened_is_part_of_the_state(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    plain = staleness.folder_state(tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    assert staleness.folder_state(tmp_path) != plain


@pytest.mark.parametrize(
    "content", ["<<<<<<< HEAD\n{}", "[]", "{}", '{"cells": [{}]}', '{"cells": 3}', ""]
)
def test_a_file_that_is_no_notebook_is_told_by_name(project, content):
    path = project.chapters[0].path
    path.write_text(content)
    with pytest.raises(RunError, match=rf"{path.name} cannot be read as a notebook"):
        checks.check_sources(project)
