"""The student edition: every chapter without its solutions, in a folder to hand out."""

from __future__ import annotations

import copy
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from helpers.base import arguments
from helpers.base.errors import RunError
from helpers.base.files import begin, checksum, read_sealed, sealed, told, write_json, write_text
from helpers.course import colab, repository
from helpers.course.project import Project, find, title_of
from helpers.course.staleness import read_notebook

#: In a folder that this module made: the checksums of its files. Only these are replaced.
MARK = ".student-edition"
#: Tag of the cells with a solution.
SOLUTION = "solution"
NOTE = (
    "*Student edition: the solutions are left out. Answer in the cells that say `answer = ...` "
    "and run the check below each.*"
)
# The metadata of a notebook, and of a cell, that a student's tools use.
_METADATA = ("kernelspec", "language_info", "colab", "accelerator")
_CELL_METADATA = ("tags", "mystnb", "cellView")


_README = """\
# White-Blood-Cell Cancer Classification with CNNs: student edition

The chapters of the course without their solutions. Work through them in order; each also stands \
alone.

{chapters}

## To run them

{how}

Write each answer in the cell that says `answer = ...` and run the check below it: it says what is \
right and what to look at.

If your instructor marks your notebook, your answer is what `answer` is when the last check of the \
exercise is reached. Your own cells count from the heading of the exercise to that check; from \
elsewhere, only imports, functions and plain values are taken. Use the packages that the chapter \
uses: others may be missing where your notebook is marked.

This is teaching software, not a medical device.
"""
_FROM_FOLDER = (
    "You need Python 3.11 to 3.13, Jupyter, and the course's package `helpers`, which your "
    "instructor gives you: in its folder, `pip install . jupyterlab`, then `jupyter lab`."
)
_FROM_WHEEL = """\
On your own machine, with Python 3.11 to 3.13, in this folder:

```bash
pip install jupyterlab {wheel}
jupyter lab
```

On Google Colab, upload a chapter and, in its Files pane, the file `{wheel}`; then run the chapter \
from the top."""
_FROM_REPOSITORY = """\
On Google Colab, upload a chapter and run it from the top: its first cell installs what it needs. \
On your own machine, with Python 3.11 to 3.13:

```bash
pip install jupyterlab git+{address}
jupyter lab
```"""


def write_student_edition(out: str | Path, root: str | Path | None = None) -> list[Path]:
    """Write the chapters without solutions, a README and a wheel of `helpers` to the folder `out`.

    Parameters
    ----------
    out : path-like
        A folder that does not exist, is empty, or holds only what this function wrote:
        then it is replaced completely, so that no file of an older edition stays.
    root : path-like, optional
        The clone; by default the one around the working directory.

    Returns
    -------
    list of pathlib.Path
        The files written: chapters in reading order, then the README and the wheel, which
        holds no solution: those are in the notebooks only.

    Raises
    ------
    RunError
        When `out` contains something else or a file that was changed, a line of a solution
        is also in another cell, or the wheel cannot be built.
    """
    project = find(root)
    out = Path(out).expanduser().resolve()
    _check_free(out)
    # Written beside `out` and renamed at the end: an edition is complete or not there.
    beside = functools.partial(
        tempfile.TemporaryDirectory, prefix=f".{out.name[-80:]}-", dir=out.parent
    )
    with told(out), begin(out, beside) as scratch:
        new = Path(scratch) / "edition"
        new.mkdir()
        wheel = _build_wheel(project, Path(scratch), new)
        titles = {}
        for chapter in project.chapters:
            read_notebook(chapter.path)  # says what is wrong with it
            notebook = nbformat.read(chapter.path, as_version=4)
            edition = without_solutions(notebook, chapter.name)
            write_text(new / chapter.path.name, nbformat.writes(edition) + "\n")
            titles[chapter.path.name] = title_of(notebook)
        write_text(new / "README.md", _readme(project, titles, wheel))
        sums = {path.name: checksum(path) for path in new.iterdir()}
        write_json(new / MARK, sealed({"files": sums}))
        if out.exists():
            out.rename(Path(scratch) / "former")
        new.rename(out)
    return [out / name for name in [*titles, "README.md", *filter(None, [wheel])]]


def without_solutions(
    notebook: nbformat.NotebookNode, name: str = "the notebook"
) -> nbformat.NotebookNode:
    """Return a copy of `notebook` without solution cells, outputs and needless metadata.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A chapter; it is not changed.
    name : str
        Its name in error messages.

    Raises
    ------
    RunError
        When it has no cells, or a line of a solution is also in another cell.
    """
    if not notebook.cells:
        raise RunError(f"{name} has no cells.")
    leaks = _leaks(notebook)
    if leaks:
        raise RunError(
            f"{name} gives a solution away: the line {leaks[0]!r} of a solution cell "
            "is also in a cell without the tag."
        )
    cells = []
    for cell in copy.deepcopy(colab.without_links(notebook.cells)):
        if not _is_solution(cell):
            cell.metadata = _only(_CELL_METADATA, cell.metadata)
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
            else:
                cell.source = colab.plain(cell.source)
            cells.append(cell)
    note = nbformat.v4.new_markdown_cell(NOTE, id="student-edition")
    metadata = _only(_METADATA, notebook.metadata)
    edition = nbformat.v4.new_notebook(metadata=metadata, cells=[cells[0], note, *cells[1:]])
    nbformat.validate(edition)
    return edition


def _only(keys: tuple[str, ...], metadata: dict) -> nbformat.NotebookNode:
    return nbformat.from_dict({key: metadata[key] for key in keys if key in metadata})


def _is_solution(cell: nbformat.NotebookNode) -> bool:
    return SOLUTION in cell.metadata.get("tags", [])


def _leaks(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the lines of solution cells that set `answer` and are also in other cells.

    Other lines may be in both: an import, or a call of a helper.
    """
    elsewhere = {
        _tight(line)
        for cell in notebook.cells
        if not _is_solution(cell)
        for line in cell.source.splitlines()
    }
    return [
        line.strip()
        for cell in filter(_is_solution, notebook.cells)
        for line in cell.source.splitlines()
        if re.match(r"\s*answer\s*=\s*(?!\.\.\.\s*(#|$))\S", line) and _tight(line) in elsewhere
    ]


def _tight(line: str) -> str:
    return re.sub(r"\s+", "", line.split("#")[0])


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is not a folder: name another one.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / MARK).is_file():
        raise RunError(
            f"{out} was not made by `course student` and is not empty: name another folder."
        )
    sums = (read_sealed(out / MARK) or {}).get("files", {})
    below = {path: path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    names = [
        name
        for path, name in below.items()  # hidden: Jupyter's checkpoints, and the mark itself
        if not re.search(r"(^|/)\.", name) and sums.get(name) != checksum(path)
    ]
    if names:
        raise RunError(
            f"{out} holds files that `course student` did not write, or that were changed since "
            f"({arguments.few(sorted(names))}): move them to another place, or name another folder."
        )


def _build_wheel(project: Project, scratch: Path, out: Path) -> str:
    """Build a wheel of the clone's helpers in `out`; return its name, "" where there are none."""
    if not (project.root / "helpers").is_dir():
        return ""
    source = scratch / "source"  # the build writes beside the sources, and the clone stays as it is
    kept = shutil.ignore_patterns("__pycache__")
    shutil.copytree(project.root / "helpers", source / "helpers", ignore=kept)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project.root / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    done = subprocess.run(
        [sys.executable, "-c", build],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},  # the same bytes each time
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"The wheel of helpers could not be built ({reason}).")
    (wheel,) = out.glob("*.whl")
    return wheel.name


def _readme(project: Project, titles: dict[str, str], wheel: str) -> str:
    address = repository.url(project.root)
    how = _FROM_FOLDER if address == repository.PLACEHOLDER else _FROM_REPOSITORY
    return _README.format(
        chapters="\n".join(f"- `{name}`: {title}" for name, title in titles.items()),
        how=(_FROM_WHEEL if wheel else how).format(address=address, wheel=wheel),
    )
