"""``course new-chapter``: a chapter with its checkers and its test, from the template."""

from __future__ import annotations

import contextlib
import copy
import re
from pathlib import Path

import jupytext
import nbformat

from helpers.base.errors import RunError
from helpers.base.files import FileError, write_text
from helpers.course.project import Project
from helpers.course.staleness import read_notebook, tags_of

_ASSETS = Path(__file__).parent / "assets"


def new_chapter(project: Project, name: str, title: str = "") -> list[Path]:
    """Write a chapter that works, its checkers and its test; add it to ``_toc.yml``.

    Parameters
    ----------
    project : Project
        The clone.
    name : str
        ``cell_borders``, or with a number ``23_cell_borders``: without one, the chapter gets
        the number after the last one.
    title : str
        By default the name in words.

    Returns
    -------
    list of pathlib.Path
        The new files, and the two pages that lead to the chapter.

    Raises
    ------
    RunError
        When the name is of another form, the number or the name is taken, or the clone cannot
        be written to.
    """
    form = re.fullmatch(r"(?:(\d\d)_)?([a-z][a-z0-9_]*)", name)
    if not form or form[1] == "00":
        raise RunError(
            f"{name!r} is no name of a chapter: take small letters, digits and _, such as "
            "cell_borders or 23_cell_borders, and a number from 01 to 99."
        )
    taken = {path.stem for path in (project.root / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    taken |= {chapter.name for chapter in project.chapters}
    number = form[1] or f"{max(int(other[:2]) for other in taken) + 1:02d}"
    if number == "100":
        free = [f"{n:02d}" for n in range(1, 100) if f"{n:02d}" not in {t[:2] for t in taken}]
        raise RunError(
            f"There is no number after {max(taken)} for {name}: give it one that is free, such as "
            f"{free[-1]}_{name}."
        )
    for other in sorted(taken):
        if number == other[:2] or form[2] == other[3:]:
            what = "number" if number == other[:2] else "name"
            raise RunError(f"There is a chapter {other} already: take another {what}.")
    words = " ".join(title.split()) or form[2].replace("_", " ").capitalize()
    files = {
        project.root / "helpers" / "exercises" / f"chapter_{number}.py": "checkers",
        project.root / "tests" / "unit" / "exercises" / f"test_chapter_{number}.py": "test_chapter",
    }
    for path in files:
        if path.exists():
            raise RunError(f"{path} is there already: remove it, or take another number.")
    texts = {path: _filled(asset, number, words) for path, asset in files.items()}
    path = project.root / "notebooks" / f"{number}_{form[2]}.ipynb"
    texts[path] = _notebook(project, number, words)
    texts |= _announced(project, path.stem, words)
    former = {path: path.read_bytes() for path in texts if path.exists()}
    try:
        for target, text in texts.items():
            write_text(target, text)
        return list(texts)
    except FileError as error:
        for target in texts:  # as it was before
            with contextlib.suppress(OSError):
                if target not in former:
                    target.unlink(missing_ok=True)
                elif target.read_bytes() != former[target]:
                    target.write_bytes(former[target])
        reason = getattr(error.__cause__, "strerror", None) or str(error)
        raise RunError(
            f"The chapter is not written ({reason}): it belongs into {project.root}, so take a "
            "clone in which you may write."
        ) from error


def _filled(asset: str, number: str, title: str) -> str:
    text = (_ASSETS / f"{asset}.py.txt").read_text(encoding="utf-8")
    return text.replace("@NUMBER@", number).replace("@TITLE@", title)


def _notebook(project: Project, number: str, title: str) -> str:
    """Return the notebook; its set-up and parameters are those of the first chapter."""
    read_notebook(project.chapters[0].path)  # says what is wrong with it
    first = nbformat.read(project.chapters[0].path, as_version=4)
    shared = {tag: cell for cell in first.cells for tag in ("setup", "parameters")
              if tag in tags_of(cell)}  # fmt: skip
    notebook = jupytext.reads(_filled("chapter", number, title), fmt="py:percent")
    notebook.metadata = copy.deepcopy(first.metadata)
    for cell in notebook.cells:
        for tag in shared.keys() & set(tags_of(cell)):
            cell.source, cell.metadata = shared[tag].source, copy.deepcopy(shared[tag].metadata)
    notebook.nbformat_minor = 5
    _, notebook = nbformat.validator.normalize(notebook)
    return nbformat.writes(notebook) + "\n"


def _announced(project: Project, name: str, title: str) -> dict[Path, str]:
    """Return the table of contents and the introduction with the chapter, after the one before."""
    before = [c for c in project.chapters if c.number < name[:2]] or [project.chapters[0]]
    toc, intro = project.root / "_toc.yml", project.root / "book" / "intro.md"
    lines = toc.read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if f"notebooks/{before[-1].name}" in line)
    indent = re.match(r"\s*", lines[place])[0]
    lines.insert(place + 1, f"{indent}- file: notebooks/{name}")
    texts = {toc: "\n".join(lines) + "\n"}
    text = intro.read_text(encoding="utf-8") if intro.is_file() else ""
    if end := re.search(rf"(?s)notebooks/{before[-1].name}\.ipynb.*?\n::::\n", text):
        link = f"What this chapter answers:\n[](../notebooks/{name}.ipynb)"
        card = f"\n::::{{grid-item-card}} {title}\n{link}\n::::\n"
        texts[intro] = text[: end.end()] + card + text[end.end() :]
    return texts
