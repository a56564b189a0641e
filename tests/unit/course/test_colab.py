"""The set-up cell and the form fields of the chapters, as on Colab, in a clone and elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import sys
import types
from pathlib import Path

import nbformat
import pytest

import helpers
from helpers.base import colab as ending
from helpers.base import runtime, settings
from helpers.course import book, checks, colab
from helpers.course.project import find
from tests import minicourse
from tests.conftest import ROOT

CHAPTERS = find(ROOT).chapters
ADDRESS = "https://github.com/somebody/cells"
WHEEL = f"wbc_cancer_course-{helpers.__version__}-py3-none-any.whl"


def cell(tag: str, repository: str = "") -> str:
    """Return the source of the cell that every chapter gets."""
    notebook = minicourse.notebook(
        minicourse.markdown("# Title"),
        minicourse.code("...", "setup"),
        minicourse.code("", "parameters"),
    )
    new = colab._dressed(notebook, colab.Places(repository), "", "")
    (found,) = (c for c in new["cells"] if tag in c["metadata"].get("tags", []))
    assert found["metadata"]["cellView"] == "form"
    return "".join(found["source"])


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A folder without the course's package; returns what pip was asked to install."""
    asked: list[list[str]] = []

    def pip(command, **_):
        asked.append(command)
        return types.SimpleNamespace(returncode=machine.pip_fails)

    machine = types.SimpleNamespace(pip_fails=0, asked=asked, folder=tmp_path / "empty")
    machine.folder.mkdir()
    monkeypatch.chdir(machine.folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(runtime, "gpu", lambda: "")
    monkeypatch.setattr("subprocess.run", pip)
    monkeypatch.setenv(settings.KEEP, "")  # so that it is put back, whatever a test sets
    return machine


def test_helpers_that_are_there_are_taken(machine, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    (machine.folder / WHEEL).touch()
    exec(cell("setup", ADDRESS), {})
    assert machine.asked == []
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"Ready: helpers {helpers.__version__} on a CPU; "
        "PROFILE should be quick, or smoke for a try."
    ]


def test_in_a_clone_the_helpers_of_the_folder_above_are_found(machine, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p or ".").resolve() != ROOT])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: str(ROOT) in sys.path or None)
    exec(cell("setup"), {})
    assert machine.asked == []


def test_a_wheel_comes_before_the_repository(machine):
    (machine.folder / WHEEL).touch()
    (machine.folder / "wbc_cancer_course-9.9-py3-none-any (1).whl").touch()  # pip refuses the name
    exec(cell("setup", ADDRESS), {})
    assert machine.asked == [[sys.executable, "-m", "pip", "install", "-q", WHEEL]]


def test_the_wheel_that_fits_to_the_notebook_comes_first(machine):
    for version in ("0.0.1", helpers.__version__, "99.0"):
        (machine.folder / f"wbc_cancer_course-{version}-py3-none-any.whl").touch()
    exec(cell("setup"), {})
    assert machine.asked[0][-1] == WHEEL


def test_without_a_wheel_the_version_of_the_notebook_comes_from_the_repository(machine):
    exec(cell("setup", ADDRESS), {})
    assert machine.asked[0][-1] == f"{ADDRESS}/archive/v{helpers.__version__}.zip"


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_where_nothing_can_be_installed_one_sentence_says_what_to_do(machine, address):
    machine.pip_fails = 1
    with pytest.raises(RuntimeError) as told:
        exec(cell("setup", address), {})
    (sentence,) = told.value.args
    assert WHEEL in sentence
    assert "ask your instructor" in sentence
    assert re.findall(r"\.(?=\s|$)", sentence) == ["."], "one sentence"
    assert bool(machine.asked) == bool(address)


def test_a_notebook_of_another_version_is_told_in_one_sentence(machine, capsys):
    ending.ready("0.0.1")
    warning, ready = capsys.readouterr().out.splitlines()
    assert "version 0.0.1" in warning
    assert helpers.__version__ in warning
    assert ready.startswith("Ready")


def test_the_gpu_is_named(machine, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "gpu", lambda: "Tesla T4")
    ending.ready(helpers.__version__)
    assert "on Tesla T4; PROFILE may be quick or full." in capsys.readouterr().out


def test_elsewhere_than_on_colab_keeping_in_drive_is_refused_in_words(machine, capsys):
    source = cell("setup").replace("KEEP_IN_DRIVE = False", "KEEP_IN_DRIVE = True")
    with contextlib.suppress(RuntimeError):
        exec(source, {})
    ending.ready(helpers.__version__, keep=True)
    assert "needs Colab" in capsys.readouterr().out


def test_with_a_tick_drive_is_mounted_and_keeps_finished_runs(
    machine, monkeypatch, capsys, tmp_path
):
    """On Colab: a module `google.colab` and the folder /content."""
    mounted = []
    drive = types.SimpleNamespace(mount=mounted.append)
    for name, module in {"google": {}, "google.colab": {"drive": drive}}.items():
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**module))
    monkeypatch.setattr(ending, "DRIVE", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    source = cell("setup").replace("KEEP_IN_DRIVE = False", "KEEP_IN_DRIVE = True")
    exec(source.replace('Path("/content")', f'Path("{tmp_path}")'), {})
    assert mounted == ["/content/drive"]
    assert os.environ[settings.KEEP] == str(tmp_path / "wbc-cancer-course")
    assert "Finished runs are kept in" in capsys.readouterr().out
    assert settings.read(profile="smoke").folder("runs").resolve().is_relative_to(tmp_path)


def test_the_set_up_is_titled_folded_and_not_longer_than_a_screen():
    lines = cell("setup", ADDRESS).splitlines()
    assert lines[0].startswith("# @title Set-up")
    assert lines[1] == 'KEEP_IN_DRIVE = False  # @param {type:"boolean"}'
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 100


def test_form_fields_set_what_papermill_injects_after_them():
    source = cell("parameters")
    assert checks.assigned(source) == checks.DEFAULTS
    fields = dict(re.findall(r"(?m)^(\w+) = .*?# @param (.*)$", source))
    assert fields.keys() == checks.DEFAULTS.keys()
    # The form offers the data sets of the course. Another one is a reader more: its name is
    # typed into the cell.
    assert set(json.loads(fields["DATASET"])) <= set(settings.DATASETS)
    assert fields["PROFILE"] == str(list(settings.PROFILES)).replace("'", '"')
    papermill = pytest.importorskip("papermill")
    path = str(CHAPTERS[0].path)
    found = papermill.inspect_notebook(path)
    assert {name: facts["default"].strip('"') for name, facts in found.items()} == {
        name: str(value) for name, value in checks.DEFAULTS.items()
    }


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_colab_asks_for_a_gpu_only_where_the_chapter_says_that_it_helps(chapter):
    notebook = nbformat.read(chapter.path, as_version=4)
    assert notebook.metadata.colab == {"provenance": [], "toc_visible": True}
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    (time,) = re.findall(r"(?m)^\*\*Time:\*\* (.*)$", text)
    trains = "GPU" in time and not re.search(r"[Nn]o GPU|does not help", time)
    assert (notebook.metadata.get("accelerator") == "GPU") == trains


TEXT = """See the [glossary](../book/glossary.md#term), ![The app](../book/app/cell.png) and
[a paper](https://doi.org/10.1000/1)."""


def test_relative_links_become_absolute_and_come_back():
    places = colab.Places(ADDRESS, "main", "https://somebody.github.io/cells/")
    there = colab.absolute(TEXT, places)
    assert "(https://somebody.github.io/cells/book/glossary.html#term)" in there
    assert "(https://raw.githubusercontent.com/somebody/cells/main/book/app/cell.png)" in there
    assert "../" not in there
    assert colab.relative(there) == TEXT
    assert colab.plain(TEXT).startswith("See the glossary, The app and\n[a paper](https://doi")


def test_the_book_has_its_own_links_and_no_badge(tmp_path):
    root = minicourse.make(tmp_path)
    paths = sorted((root / "notebooks").glob("*.ipynb"))
    places = colab.Places(ADDRESS, "main", "https://somebody.github.io/cells/")
    minicourse.change(paths[0], "What a line is.", "A [line](../book/intro.md).")
    _, plain, dressed = next(colab.dressed(paths, places))
    assert "colab-badge" in str(dressed)
    executed = {"cells": [{**c, "outputs": []} for c in dressed["cells"]]}
    executed["cells"].insert(3, {"cell_type": "code", "source": "", "execution_count": 1})
    record = {"dataset": "phantom", "profile": "quick", "seed": 24, "weights": [], "device": "CPU"}
    record |= {"seconds": 1, "commit": "", "finished": "2026-01-01", "parameters": {"DATA_DIR": ""}}
    page = book.page(dressed, executed, record)
    sources = ["".join(c["source"]) for c in page["cells"]]
    assert any("A [line](../book/intro.md)." in source for source in sources)
    assert "colab" not in str(sources)
    assert len(page["cells"]) == len(plain["cells"]) + 1  # the banner


def test_the_page_of_the_book_speaks_of_what_the_chapters_have():
    page = (ROOT / "book" / "colab.md").read_text(encoding="utf-8")
    setup, parameters = cell("setup"), cell("parameters")
    for name in ("KEEP_IN_DRIVE", "wbc_cancer_course-", "Colab Notebooks"):
        assert name in page
        assert name in setup
    for name in ("What to run", *checks.DEFAULTS.keys() - {"SEED"}):
        assert name in page
        assert name in parameters
    assert "wbc-cancer-course" in page
    assert "book/colab" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
