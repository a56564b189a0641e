"""Each chapter of the course has what a reader finds in the others: core, mistakes, quiz."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest

from tests.conftest import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARTS = ("## Deeper", "## Common mistakes", "## Exercises", "## Quiz", "## What to remember")
CORE = "takes about fifteen minutes"
BACKENDS = {"jax", "tensorflow", "torch"}  # one of them is enough for Keras


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda path: path.stem)
def cells(request) -> list[nbformat.NotebookNode]:
    return nbformat.read(request.param, as_version=4).cells


def prose(cells: list[nbformat.NotebookNode]) -> str:
    texts = [c.source for c in cells if c.cell_type == "markdown"]
    return "\n\n".join(texts)


def test_the_parts_stand_in_one_order(cells):
    text = prose(cells)
    assert [part for part in PARTS if f"{part}\n" not in f"{text}\n"] == []
    places = [text.index(part) for part in PARTS]
    assert places == sorted(places)
    assert "**Predict first.**" in text


def test_the_core_is_marked_and_read_in_fifteen_minutes(cells):
    core = prose(cells).split("## Deeper")[0]
    assert CORE in core
    parts = core.count(CORE)  # a chapter of two lessons marks two cores
    assert len(core.split()) <= 1700 * parts


def test_exercises_are_easy_medium_and_hard(cells):
    marks = re.findall(r"(?m)^### Exercise \d\d-[a-z] \((\w+)\): ", prose(cells))
    assert len(marks) == len(re.findall(r"(?m)^### Exercise ", prose(cells)))
    assert set(marks) >= {"easy", "hard"}
    assert set(marks) <= {"easy", "medium", "hard"}


def test_a_quiz_has_four_questions_with_the_right_letter_first_in_the_answer(cells):
    text = prose(cells)
    quiz = text[text.index("## Quiz") : text.index("## What to remember")]
    for number in range(1, 5):
        question = quiz.split(f"**{number}. ")[1].split("</details>")[0]
        letters = re.findall(r"(?m)^- ([A-F]): ", question)
        assert letters == list("ABCDEF")[: len(letters)]
        assert len(letters) >= 3
        folded = f"<details><summary>Answer to question {number}</summary>"
        assert re.match(r"\s*\*\*([A-F])\.\*\*", question.split(folded)[1])[1] in letters
    assert "**5. " not in quiz


def test_no_cell_is_longer_than_a_screen(cells):
    code = [c.source for c in cells if c.cell_type == "code"]
    assert max(text.count("\n") + 1 for text in code) <= 25


def test_the_first_picture_comes_early(cells):
    """A figure stands within 150 words of prose."""
    words = 0
    for cell in cells:
        text = cell.source
        if "![" in text or "<img" in text or cell.metadata.get("mystnb", {}).get("figure"):
            break
        words += len(text.split()) if cell.cell_type == "markdown" else 0
    assert words <= 150


def test_no_cell_switches_xla_off_on_every_backend(cells):
    """TensorFlow on a CPU is faster without XLA; JAX without it is ten times slower."""
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    assert "jit_compile=False" not in code


def test_no_module_switches_xla_off_on_every_backend():
    texts = {path: path.read_text("utf-8") for path in (ROOT / "helpers").rglob("*.py")}
    assert [path for path, text in texts.items() if re.search("jit_compile=False[,)]", text)] == []


def test_settings_are_read_before_keras_is_used(cells):
    """They refuse channels first; Keras would fail with a bare traceback."""
    code = [c.source for c in cells if c.cell_type == "code"]
    read = next(place for place, source in enumerate(code) if "settings.read(" in source)
    assert not [source for source in code[:read] if re.search(r"(?m)^(import|from) keras", source)]


def imported(source: str) -> set[str]:
    """Return the packages that a text imports at its top level, whatever the backend is."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_no_cell_needs_one_backend_of_keras(cells):
    code = [c.source for c in cells if c.cell_type == "code"]
    assert not set().union(*map(imported, code)) & BACKENDS


def test_no_module_needs_one_backend_of_keras():
    texts = {path: path.read_text("utf-8") for path in (ROOT / "helpers").rglob("*.py")}
    assert [path for path, text in texts.items() if imported(text) & BACKENDS] == []


def test_a_difference_that_is_rounded_to_zero_has_no_minus(cells):
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert not re.findall(r"\{[^{}]*:\+\d*\.\d[^{}]*\}", code)  # :+z.2f writes +0.00
