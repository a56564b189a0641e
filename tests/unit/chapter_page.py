"""A chapter's code as it stands on the page, its solutions, and what its checkers say."""

import ast
import contextlib
import io
import re
from typing import Any

import nbformat
import numpy as np

from helpers.exercises import check
from tests.conftest import ROOT


def code_cells(chapter: str) -> list[nbformat.NotebookNode]:
    """Return the code cells of a chapter, called by its number (``"05"``)."""
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def run(chapter: str, *texts: str, **names: Any) -> dict[str, Any]:
    """Run the cells that hold the texts, as they stand on the page; return all names there are."""
    cells = code_cells(chapter)
    for text in texts:
        exec(next(cell.source for cell in cells if text in cell.source), names)
    return names


def solutions(chapter: str, **names: Any) -> dict[str, Any]:
    """Return the answer of each exercise by its name (``"17-a"``), given what the page defines."""
    found = {}
    for cell in code_cells(chapter):
        if "solution" in cell.metadata.get("tags", []):
            there = {"np": np, **names, "check": lambda *_: None}
            exec(cell.source, there)
            found[re.search(rf'check\("({chapter}-\w)"', cell.source)[1]] = there["answer"]
    return found


def verdict(name: str, answer: object, *context: object) -> str:
    """Return how the check of an exercise ends: ``solved.``, ``not solved yet.`` or unanswered."""
    return told(name, answer, *context).splitlines()[-1].removeprefix(f"Exercise {name}: ")


def functions(chapter: str, *wanted: str, **names: Any) -> dict[str, Any]:
    """Run only the definitions of the wanted functions of a page; return all names there are."""
    for cell in code_cells(chapter):
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef) and node.name in wanted:
                exec(ast.get_source_segment(cell.source, node), names)
    assert set(wanted) <= set(names)
    return names


def told(name: str, answer: object, *context: object) -> str:
    """Return all that the check of an exercise prints, given what the chapter hands to it."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        check(name, answer, *context)
    return text.getvalue()


def missed(name: str, answer: object, *context: object) -> str:
    """Return the lines that say what is wrong with an answer, which must not be called solved."""
    lines = told(name, answer, *context).splitlines()
    assert lines[-1] == f"Exercise {name}: not solved yet."
    return "\n".join(line for line in lines if line.startswith("✗"))
