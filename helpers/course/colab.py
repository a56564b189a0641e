"""What every chapter has for Google Colab: set-up, form fields, metadata, links.

`course repository` writes it and `course check` holds the chapters to it, so that all of
them have the same. A badge and links are there only while the repository has an address.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers import __version__
from helpers.course.staleness import read_notebook, source_of, tags_of

#: Tag of the cells with links, which neither the book nor a student edition shows.
LINKS = "colab-links"
_COLAB = "https://colab.research.google.com"
_BADGE = f"[![Open in Colab]({_COLAB}/assets/colab-badge.svg)]"

_SETUP = """\
# @title Set-up: run this cell first (about 10 seconds)
KEEP_IN_DRIVE = False  # @param {type:"boolean"}
# @markdown On Colab, a tick keeps finished runs in your Google Drive.
import importlib.util
import subprocess
import sys
from pathlib import Path

VERSION, REPOSITORY = "VERSION", "REPOSITORY"
if KEEP_IN_DRIVE and Path("/content").is_dir():
    from google.colab import drive
    drive.mount("/content/drive")
sys.path += [str(f) for f in Path.cwd().parents if (f / "helpers/base/colab.py").is_file()]
if importlib.util.find_spec("helpers") is None:
    places = [".", "/content", "/content/drive/MyDrive", "/content/drive/MyDrive/Colab Notebooks"]
    found = [str(w) for p in places for w in Path(p).glob("wbc_cancer_course-*-any.whl")]
    found += [f"{REPOSITORY}/archive/v{VERSION}.zip"] if REPOSITORY else []
    found.sort(key=lambda name: f"-{VERSION}-" not in name)
    pip = [sys.executable, "-m", "pip", "install", "-q", *found[:1]]
    if not found or subprocess.run(pip).returncode:
        raise RuntimeError("The course's package is missing: put its file wbc_cancer_course-"
                           f"{VERSION}-py3-none-any.whl beside this notebook (on Colab: into the "
                           "Files pane) and run this cell again, or ask your instructor for it.")
from helpers.base import colab
colab.ready(VERSION, KEEP_IN_DRIVE)"""
_PARAMETERS = """\
# @title What to run: choose, then run this cell and those below
DATASET = "phantom"  # @param ["phantom", "cnmc", "taleqani", "all_idb", "snam", "folders"]
PROFILE = "quick"  # @param ["smoke", "quick", "full"]
SEED = 24  # @param {type:"integer"}
DATA_DIR = ""  # @param {type:"string"}
POSITIVE = ""  # @param {type:"string"}
# @markdown `PROFILE`: `quick` for a laptop, `full` for a GPU; `smoke` only tests the code.
# @markdown `DATA_DIR`: folder of a real data set. `POSITIVE`: with `folders`, the class to find."""

# A GPU is asked for where the chapter itself says that it shortens the run.
_GPU = re.compile(r"(?m)^\*\*Time:\*\*.*\b(?:on|needs) a GPU\b")
_RELATIVE = re.compile(r"\]\(\.\./(book/[\w/-]+)\.(md|png)(#[\w-]+)?\)")
_ABSOLUTE = re.compile(r"\]\(https://[^)\s]+?/(book/[\w/-]+)\.(html|png)(#[\w-]+)?\)")


@dataclass(frozen=True)
class Places:
    """Where the links of chapters lead.

    Attributes
    ----------
    repository, branch : str
        The repository's address, empty while it has none, and the branch that Colab opens.
    book : str
        The address of the published book, with a slash at the end.
    """

    repository: str = ""
    branch: str = "main"
    book: str = ""

    def on_colab(self, name: str) -> str:
        """Return the address at which Colab opens a chapter."""
        path = self.repository.removeprefix("https://github.com/")
        return f"{_COLAB}/github/{path}/blob/{self.branch}/notebooks/{name}.ipynb"

    def badge(self, name: str) -> str:
        """Return the Markdown of the button that opens a chapter on Colab."""
        return f"{_BADGE}({self.on_colab(name)})"


def dressed(paths: Sequence[Path], places: Places) -> Iterator[tuple[Path, dict, dict]]:
    """Yield each chapter's path, its notebook, and the notebook as Colab should get it.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        The chapters in reading order: each links to the next one.
    places : Places
        Where the links lead.
    """
    notebooks = [read_notebook(path) for path in paths]
    for index, (path, notebook) in enumerate(zip(paths, notebooks, strict=True)):
        top, end = "", ""
        if places.repository:
            page = f"[This page in the book]({places.book}notebooks/{path.stem}.html)"
            top = end = f"{places.badge(path.stem)} {page}"
            if index + 1 < len(paths):
                name = paths[index + 1].stem
                first = "".join(map(source_of, notebooks[index + 1]["cells"][:1]))
                title = first.partition("\n")[0].lstrip("# ")
                end = f"[Next chapter: {name[:2]} *{title}*]({places.on_colab(name)})"
        yield path, notebook, _dressed(notebook, places, top, end)


def _dressed(notebook: dict, places: Places, top: str, end: str) -> dict:
    new = copy.deepcopy(notebook)
    setup = _SETUP.replace('"VERSION"', f'"{__version__}"')
    forms = {"setup": setup.replace('"REPOSITORY"', f'"{places.repository}"')}
    forms["parameters"] = _PARAMETERS
    cells = without_links(new["cells"])
    for cell in cells:
        for tag in forms.keys() & set(tags_of(cell)):
            _set(cell, forms[tag])
            cell["metadata"]["cellView"] = "form"
        if cell["cell_type"] == "markdown":
            _set(cell, absolute(relative(source_of(cell)), places))
    gpu = any(_GPU.search(source_of(cell)) for cell in cells)
    metadata = {k: v for k, v in new.get("metadata", {}).items() if k != "accelerator"}
    metadata |= {"colab": {"provenance": [], "toc_visible": True}}
    new["metadata"] = metadata | ({"accelerator": "GPU"} if gpu else {})
    if top:
        cells = [*cells[:1], _link_cell("top", top), *cells[1:], _link_cell("end", end)]
    return {**new, "cells": cells}


def without_links(cells: list[dict]) -> list[dict]:
    """Return the cells of a chapter but those that only lead to Colab and the book."""
    return [cell for cell in cells if LINKS not in tags_of(cell)]


def absolute(text: str, places: Places) -> str:
    """Return Markdown whose links to pages and pictures of the book need no file beside it."""
    if not places.repository:
        return text
    raw = places.repository.replace("https://github.com", "https://raw.githubusercontent.com")

    def address(link: re.Match) -> str:
        page, ending, part = link[1], link[2], link[3] or ""
        if ending == "png":
            return f"]({raw}/{places.branch}/{page}.png)"
        return f"]({places.book}{page}.html{part})"

    return _RELATIVE.sub(address, text)


def relative(text: str) -> str:
    """Return Markdown whose links lead to files beside it again: undoes :func:`absolute`."""
    endings = {"html": "md", "png": "png"}
    return _ABSOLUTE.sub(lambda m: f"](../{m[1]}.{endings[m[2]]}{m[3] or ''})", text)


def plain(text: str) -> str:
    """Return Markdown in which the names of pages and pictures that are not there are no links."""
    return re.sub(r"!?\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", text)


def _link_cell(place: str, text: str) -> dict:
    return {
        "cell_type": "markdown",
        "id": f"{LINKS}-{place}",
        "metadata": {"tags": [LINKS]},
        "source": [text],
    }


def _set(cell: dict, text: str) -> None:
    """Set a cell's source where it differs: it stays one string, or a list of lines."""
    if source_of(cell) != text:
        whole = isinstance(cell["source"], str)
        cell["source"] = text if whole else text.splitlines(keepends=True)
