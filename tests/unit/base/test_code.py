"""The hash of the code behind a cached result sees every module that decides it."""

import re
import shutil

import grimp
import pytest

from helpers.base import code

PREDICTIONS = "helpers.studies.lineup"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    copy = tmp_path_factory.mktemp("course") / "helpers"
    shutil.copytree(code.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def key(package):
    return code.digest(code.upstream([PREDICTIONS], package))


@pytest.mark.slow
def test_an_edit_of_any_module_upstream_of_predictions_changes_their_key(package):
    before = key(package)
    upstream = code.upstream([PREDICTIONS], package)
    assert len(upstream) > 20
    for path in upstream.values():
        text = path.read_bytes()
        path.write_bytes(text + b"\n# edited\n")
        assert key(package) != before, path
        path.write_bytes(text)
    assert key(package) == before


def test_an_edit_downstream_of_predictions_leaves_their_key(package):
    before = key(package)
    for module in (
        "report/plots.py",
        "studies/papers.py",
        "course/runner.py",
        "exercises/chapter_13.py",
    ):
        path = package / module
        path.write_text(path.read_text() + "\n# edited\n")
    assert key(package) == before


def test_line_endings_do_not_count(package):
    before = key(package)
    path = package / "base/files.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert key(package) == before


def test_no_import_is_missed_that_grimp_finds():
    graph = grimp.build_graph("helpers")
    for module in (PREDICTIONS, "helpers.images.loading", "helpers.cells.features"):
        known = {name for name in graph.find_upstream_modules(module, as_package=False)}
        assert known <= set(code.upstream([module])), module


def test_a_module_that_is_not_there_is_refused():
    with pytest.raises(ModuleNotFoundError, match=r"no module 'helpers\.nothing'"):
        code.version("helpers.nothing")


def test_every_cached_result_is_keyed_by_the_code_that_makes_it():
    calls = re.compile(r"\b(kept|cached_predictions)\(")
    sources = {path: path.read_text("utf-8") for path in sorted(code.PACKAGE.rglob("*.py"))}
    using = [path for path, text in sources.items() if calls.search(text)]
    using.remove(code.PACKAGE / "base" / "files.py")
    assert len(using) >= 8
    for path in using:
        assert "code.version(" in sources[path], path
