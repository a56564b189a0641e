"""The student edition: every chapter without its solutions, in a folder to hand out."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nbformat

from helpers.base.errors import CourseError
from helpers.base.files import write_text
from helpers.course import repository
from helpers.course.project import Project, find

#: In a folder that this module made, so that it may replace it.
MARK = ".student-edition"
#: Cells with this tag hold a solution.
SOLUTION = "solution"
NOTE = (
    "*Student edition: the solutions are left out. Answer in the cells that say `answer = ...` "
    "and run the check below each.*"
)
# All that a reader's tools need of a cell's metadata.
_CELL_METADATA = ("tags", "mystnb", "cellView")


class EditionError(CourseError, ValueError):
    """A folder that must not be written over, or a chapter that would give a solution away."""


def write_student_edition(out: str | Path, root: str | Path | None = None) -> list[Path]:
    """Write the chapters without solutions, and a README, to the folder `out`.

    Parameters
    ----------
    out : path-like
        A folder that does not exist, is empty, or was made by this function:
        then it is replaced as a whole, so that nothing of an older edition stays.
    root : path-like, optional
        The clone; by default the one around the working directory.

    Returns
    -------
    list of pathlib.Path
        The files written: chapters in reading order, then the README.

    Raises
    ------
    EditionError
        When `out` holds something else, or a line of a solution stands outside
        the solution cells as well.
    """
    project = find(root)
    out = Path(out).expanduser().resolve()
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Made beside `out` and put in its place at the end: an edition is whole or not there.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        made = Path(scratch) / "edition"
        names = []
        for chapter in project.chapters:
            notebook = nbformat.read(chapter.path, as_version=4)
            edition = without_solutions(notebook, chapter.name)
            write_text(made / chapter.path.name, nbformat.writes(edition) + "\n")
            names.append(chapter.path.name)
        write_text(made / "README.md", _readme(project))
        write_text(made / MARK, "Made by `course student`, which may replace this folder.\n")
        if out.exists():
            out.rename(Path(scratch) / "former")
        made.rename(out)
    return [out / name for name in [*names, "README.md"]]


def without_solutions(
    notebook: nbformat.NotebookNode, name: str = "the notebook"
) -> nbformat.NotebookNode:
    """Return a copy of `notebook` without solution cells, outputs and needless metadata.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A chapter; it is not changed.
    name : str
        How an error calls it.

    Raises
    ------
    EditionError
        When it has no cells, or a line of a solution stands in another cell too.
    """
    if not notebook.cells:
        raise EditionError(f"{name} has no cells.")
    kept = [cell for cell in notebook.cells if not _is_solution(cell)]
    leaks = _leaks(notebook)
    if leaks:
        raise EditionError(
            f"{name} gives a solution away: the line {leaks[0]!r} of a solution cell "
            "stands in a cell without the tag as well."
        )
    cells = [_plain(cell) for cell in kept]
    note = nbformat.v4.new_markdown_cell(NOTE, id="student-edition")
    metadata = {
        key: notebook.metadata[key]
        for key in ("kernelspec", "language_info")
        if key in notebook.metadata
    }
    edition = nbformat.v4.new_notebook(metadata=metadata, cells=[cells[0], note, *cells[1:]])
    nbformat.validate(edition)
    return edition


def _plain(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    metadata = {key: cell.metadata[key] for key in _CELL_METADATA if key in cell.metadata}
    if cell.cell_type == "code":
        return nbformat.v4.new_code_cell(cell.source, id=cell.id, metadata=metadata)
    plain = nbformat.v4.new_markdown_cell(cell.source, id=cell.id, metadata=metadata)
    if "attachments" in cell:
        plain.attachments = cell.attachments
    return plain


def _is_solution(cell: nbformat.NotebookNode) -> bool:
    return SOLUTION in cell.metadata.get("tags", [])


def _leaks(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the answers of solution cells that other cells hold word for word.

    Only lines that set `answer`, or return from it, to more than a name are held
    against the rest: an import or a call of a helper may well stand in both.
    """
    elsewhere = {
        _tight(line)
        for cell in notebook.cells
        if not _is_solution(cell)
        for line in cell.source.splitlines()
    }
    found = []
    for cell in filter(_is_solution, notebook.cells):
        for line in cell.source.splitlines():
            tells = re.match(r"\s*answer\s*=\s*(?!\.\.\.\s*(#|$))\S", line)
            if tells and _tight(line) in elsewhere:
                found.append(line.strip())
    return found


def _tight(line: str) -> str:
    return re.sub(r"\s+", "", line.split("#")[0])


def _check_free(out: Path) -> None:
    if out.is_dir():
        if (out / MARK).is_file() or not any(out.iterdir()):
            return
        raise EditionError(
            f"{out} was not made by `course student` and is not empty: name another folder."
        )
    if out.exists():
        raise EditionError(f"{out} is not a folder: name another place.")


def _readme(project: Project) -> str:
    lines = [
        "# White-Blood-Cell Cancer Classification with CNNs: student edition",
        "",
        "The chapters of the course without their solutions. Work through them in order; "
        "each also stands alone.",
        "",
    ]
    for chapter in project.chapters:
        first = nbformat.read(chapter.path, as_version=4).cells[0].source
        title = re.search(r"(?m)^#\s+(.+?)\s*$", first)
        lines.append(f"- `{chapter.path.name}`: {title[1] if title else chapter.name}")
    address = repository.url(project.root)
    lines += ["", "## To run them", ""]
    if repository.is_placeholder(address):
        lines += [
            "You need Python 3.11 to 3.13, Jupyter, and the course's package `helpers`, which your "
            "instructor gives you: in its folder, `pip install . jupyterlab`, then `jupyter lab`.",
        ]
    else:
        lines += [
            "On Google Colab, upload a chapter and run it from the top: its first cell installs "
            "what it needs. On your own machine, with Python 3.11 to 3.13:",
            "",
            "```bash",
            f"pip install jupyterlab git+{address}",
            "jupyter lab",
            "```",
        ]
    lines += [
        "",
        "Write each answer in the cell that says `answer = ...` and run the check below it: "
        "it says what is right and what to look at.",
        "",
        "This is teaching software, not a medical device.",
    ]
    return "\n".join(lines) + "\n"
