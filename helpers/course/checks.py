"""Checks of the chapters without outputs, and of their executed copies."""

from __future__ import annotations

import ast
import re

from helpers.base.code import imports
from helpers.course import colab, messages, repository
from helpers.course.project import Chapter, Project
from helpers.course.staleness import read_notebook, source_of, tags_of

#: The parameters of every chapter, with their default values.
DEFAULTS = {"DATASET": "phantom", "PROFILE": "quick", "SEED": 24, "DATA_DIR": "", "POSITIVE": ""}

# Each of these tags has a meaning for only some of nbclient, nbval and jupyter-book.
_TRAPS = {"raises-exception", "skip-execution", "nbval-skip", "nbval-raises-exception"}
_MYST = re.compile(r"(?m)^\s*(?:`{3,}|:{3,})\s*\{[\w:-]+\}|\{[\w:-]+\}`[^`]|^\s*\([\w-]+\)=\s*$")
_IMAGES = ("image/png", "image/jpeg", "image/svg+xml")


def check_sources(project: Project) -> list[str]:
    """Return the problems of the chapters in ``notebooks/``, one line each."""
    problems = []
    for chapter in project.chapters:
        problems += [f"{chapter.name}: {problem}" for problem in check_notebook(chapter)]
    places = repository.places_of(project.root)
    for path, notebook, dressed in colab.dressed([c.path for c in project.chapters], places):
        if notebook != dressed:
            problems.append(
                f"{path.stem}: its set-up, parameters, links or metadata for Colab differ from what"
                f" all chapters have: run `course repository {repository.url(project.root)}`"
            )
    listed = {chapter.path for chapter in project.chapters}
    for path in sorted((project.root / "notebooks").glob("*.ipynb")):
        if path not in listed:
            problems.append(f"{path.name} is not in _toc.yml")
    return problems


def check_notebook(chapter: Chapter) -> list[str]:
    """Return the problems of one chapter as its author wrote it."""
    notebook = read_notebook(chapter.path)
    return [
        *_format(notebook),
        *_anatomy(notebook),
        *_exercises(notebook, chapter.number),
        *_markdown(notebook),
        *_figures(notebook),
    ]


def check_executed(notebook: dict) -> list[str]:
    """Return the problems of an executed notebook.

    They are cells not run, errors, Python warnings that doubt a result, unlabelled figures.
    """
    problems = []
    for index, cell in enumerate(_code(notebook), start=1):
        where = f"code cell {index} ({_first_line(cell)})"
        if not cell.get("execution_count"):
            problems.append(f"{where} was not executed")
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                problems.append(f"{where} raised {output['ename']}: {output['evalue']}")
            if set(output.get("data", {})) & set(_IMAGES):
                problems += [f"{where} shows a figure without {m}" for m in _unlabelled(cell)]
            if output.get("name") == "stderr":
                doubts = messages.doubts("".join(output["text"]))
                problems += [f"{where} warned: {doubt[:160]}" for doubt in doubts]
    return list(dict.fromkeys(problems))


def messages_shown(notebook: dict) -> list[str]:
    """Return which messages of libraries a page shows: no problems, but worth a look."""
    notes = []
    for index, cell in enumerate(_code(notebook), start=1):
        for output in cell.get("outputs", []):
            text = "".join(output["text"]) if output.get("name") == "stderr" else ""
            for line in messages.left_over(text).splitlines()[:1]:
                where = f"code cell {index} ({_first_line(cell)})"
                notes.append(f"{where} shows what a library wrote to stderr: {line[:120]}")
    return notes


def _format(notebook: dict) -> list[str]:
    problems = []
    if (notebook.get("nbformat"), notebook.get("nbformat_minor")) != (4, 5):
        problems.append("is not of notebook format 4.5")
    kernel = notebook.get("metadata", {}).get("kernelspec", {})
    if kernel.get("name") != "python3" or kernel.get("language") != "python":
        problems.append("has no kernelspec 'python3' of language 'python'")
    ids = [cell.get("id") for cell in notebook["cells"]]
    if None in ids or len(set(ids)) != len(ids):
        problems.append("has cells without an id, or an id twice")
    for cell in _code(notebook):
        where = f"the cell {_first_line(cell)}"
        if cell.get("outputs") or cell.get("execution_count"):
            problems.append(f"{where} stores outputs")
        if not source_of(cell).strip():
            problems.append("an empty code cell")
        if source_of(cell).rstrip().endswith(";"):
            problems.append(f"{where} ends with ';', which nbval ignores: assign the value instead")
        if traps := _TRAPS & set(tags_of(cell)):
            problems.append(f"{where} has the tag {', '.join(sorted(traps))}")
        if wrong := [t for t in tags_of(cell) if re.match(r"digits(?!-\d$)", t)]:
            problems.append(f"{where} has the tag {wrong[0]!r}, but it must be like 'digits-3'")
        if any(f"{name}.".startswith("helpers.course.") for name in imports(source_of(cell))):
            problems.append(f"{where} imports helpers.course, but that runs the chapters")
    return problems


def _anatomy(notebook: dict) -> list[str]:
    cells = notebook["cells"]
    problems = []
    if not cells or not source_of(cells[0]).startswith("# "):
        problems.append("does not begin with a title")
    order = [tag for c in cells for tag in tags_of(c) if tag in ("setup", "parameters")]
    if order != ["setup", "parameters"]:
        problems.append("needs one cell tagged 'setup' and after it one tagged 'parameters'")
    for cell in cells:
        if "parameters" in tags_of(cell) and assigned(source_of(cell)) != DEFAULTS:
            problems.append(f"its parameters cell does not set exactly {DEFAULTS}")
    text = "\n".join(source_of(c) for c in cells if c["cell_type"] == "markdown").lower()
    for heading in ("what you will learn", "what to remember", "where to go next"):
        if heading not in text:
            problems.append(f"has no '{heading.capitalize()}'")
    return problems


def _exercises(notebook: dict, number: str) -> list[str]:
    """Return the problems of the exercises: each needs a heading, answer, check and solution."""
    cells = notebook["cells"]
    problems = []
    starts = {}
    for index, cell in enumerate(cells):
        if cell["cell_type"] != "markdown":
            continue
        for name in re.findall(r"(?m)^### Exercise (\d\d-[a-z])\b", source_of(cell)):
            starts[name] = index
    if len(starts) < 3:
        problems.append(f"has {len(starts)} exercises, but should have three or more")
    bounds = [*starts.values(), len(cells)]
    for (name, start), end in zip(starts.items(), bounds[1:], strict=True):
        if name[:2] != number:
            problems.append(f"exercise {name} has another chapter's number")
        code = [c for c in cells[start:end] if c["cell_type"] == "code"]
        asked = [c for c in code if "solution" not in tags_of(c)]
        if not any("answer" in assigned(source_of(c)) for c in asked):
            problems.append(f"exercise {name} has no cell 'answer = ...'")
        if not any(f'check("{name}"' in source_of(c) for c in asked):
            problems.append(f'exercise {name} has no cell that calls check("{name}", ...)')
        if not any("solution" in tags_of(c) for c in code):
            problems.append(f"exercise {name} has no solution")
    for cell in _code(notebook):
        if "solution" in tags_of(cell) and not (
            "hide-cell" in tags_of(cell)
            and source_of(cell).startswith("# @title Solution")
            and cell["metadata"].get("cellView") == "form"
        ):
            problems.append(
                f"the solution {_first_line(cell)} needs the tag 'hide-cell', the first line "
                "'# @title Solution' and the metadata cellView: form"
            )
    return problems


def _markdown(notebook: dict) -> list[str]:
    problems = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        text = source_of(cell)
        if myst := _MYST.search(text):
            problems.append(f"MyST shows raw on Colab: {myst[0].strip()!r}")
        if re.search(r"!\[\s*\]\(", text) or re.search(r"<img(?![^>]*\balt=)", text):
            problems.append(f"an image without alt text in the cell {_first_line(cell)}")
    return problems


def _figures(notebook: dict) -> list[str]:
    """Return the figures with only half a label; the executed copy shows those without any."""
    problems = []
    names = []
    for cell in _code(notebook):
        if "mystnb" in cell["metadata"]:
            problems += [f"the figure {_first_line(cell)} lacks {m}" for m in _unlabelled(cell)]
            names.append(cell["metadata"]["mystnb"].get("figure", {}).get("name"))
    names = [name for name in names if name]
    twice = sorted({name for name in names if names.count(name) > 1})
    return problems + [f"the figure name {name!r} is used twice" for name in twice]


def _unlabelled(cell: dict) -> list[str]:
    """Return which label a cell with a figure lacks: the caption, the alt text, or both."""
    labels = cell["metadata"].get("mystnb", {})
    missing = []
    if not str(labels.get("image", {}).get("alt", "")).strip():
        missing.append("alt text (mystnb.image.alt)")
    if not str(labels.get("figure", {}).get("caption", "")).strip():
        missing.append("a caption (mystnb.figure.caption)")
    return missing


def assigned(source: str) -> dict:
    """Return the plain assignments of a cell by name, ``...`` where the value is no literal."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return {}
    values = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            value = ...
        values.update({t.id: value for t in node.targets if isinstance(t, ast.Name)})
    return values


def _code(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _first_line(cell: dict) -> str:
    lines = source_of(cell).strip().splitlines()
    return repr(lines[0][:60]) if lines else "(empty)"
