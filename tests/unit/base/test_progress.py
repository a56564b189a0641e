"""A bar is for eyes: in a terminal and in an open notebook, not in logs and runs of the course."""

from __future__ import annotations

import ast
import sys
import types

import pytest

from helpers.base.code import PACKAGE
from helpers.base.progress import bar


@pytest.fixture
def notebook(monkeypatch):
    """Let IPython say that this process is the kernel of a notebook."""
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_a_notebook_shows_it_on_standard_error_and_clears_it(notebook, capsys):
    assert list(bar(range(3), desc="cells", delay=0)) == [0, 1, 2]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "cells:" in shown.err
    assert shown.err.rpartition("\r")[2] == ""
    assert shown.err.split("\r")[-2].strip() == ""


def test_what_is_done_in_a_second_shows_none(notebook, capsys):
    list(bar(range(3)))
    assert capsys.readouterr().err == ""


def test_a_log_has_none(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert list(bar(range(3), delay=0)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_run_of_the_course_has_none(tmp_path):
    """Its kernels are notebooks too, but nobody looks: the variable is read when tqdm starts."""
    from helpers.course import kernel

    assert kernel.environment(tmp_path, tmp_path)["TQDM_DISABLE"] == "1"


@pytest.mark.slow
def test_nobody_makes_a_bar_of_their_own():
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "tqdm"
    ]
    # The runner's has the width of its terminal, and another process behind it.
    assert sorted(set(found)) == ["base/progress.py", "course/runner.py"]
