"""``course slides``: the headings, figures and questions of a chapter, as one HTML file of slides.

The file is a reveal.js presentation made by nbconvert. It holds its pictures, style and program
itself and loads nothing.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from helpers.base.errors import RunError
from helpers.base.files import check_replaceable, told, write_text
from helpers.course import banner
from helpers.course.book import page
from helpers.course.executor import copy_path
from helpers.course.project import Parameters, Project, title_of
from helpers.course.runner import states
from helpers.course.staleness import read_notebook, source_of, tags_of

_ASSETS = Path(__file__).parent / "assets"
_HEADING = re.compile(r"(?m)^(#{2,3}) (.+)$")
_QUIZ = re.compile(r"(?s)(\*\*\d\. .+?)(?=<details>|\Z)")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")


def build(project: Project, run: Parameters, word: str, out: Path | None = None) -> Path:
    """Write the slides of an executed chapter and return the file.

    Parameters
    ----------
    project, run
        Which clone, and which run of it.
    word : str
        The chapter by its number or name.
    out : pathlib.Path, optional
        The HTML file, new or of this command; by default ``_build/slides/NN_name.html``.

    Raises
    ------
    RunError
        When the chapter has no up-to-date executed copy, or reveal.js is not installed.
    FileError
        When `out` is another file than an HTML file of slides.
    """
    (chapter,) = project.select([word])
    out = out or project.build / "slides" / f"{chapter.name}.html"
    check_replaceable(out, ".html", b'<div class="slides">')
    (state,) = (state for state in states(project, run) if state.chapter == chapter)
    if state.reasons:
        raise RunError(
            f"There are no slides of {chapter.name} ({run.key}: {'; '.join(state.reasons)}): "
            f"run it first, with `course run --only {chapter.number}` and the same settings."
        )
    copy = read_notebook(copy_path(project, run, chapter))
    shown = page(read_notebook(chapter.path), copy, state.record)
    deck = nbformat.v4.new_notebook(cells=list(_cells(shown, state.record)))
    deck.metadata["title"] = f"{chapter.number} {title_of(shown)}"
    with told(out):
        write_text(out, _html(deck))
    return out


def _html(deck: nbformat.NotebookNode) -> str:
    from nbconvert import SlidesExporter

    spec = importlib.util.find_spec("sphinx_revealjs")  # it carries the files of reveal.js
    if spec is None:
        raise RunError("Slides need reveal.js: pip install -e '.[book]'.")
    files = Path(spec.origin).parent / "_static" / "revealjs" / "dist"
    names = {"css": "reveal.css", "theme": "theme/white.css", "js": "reveal.js"}
    texts = {key: (files / name).read_text(encoding="utf-8") for key, name in names.items()}
    texts["theme"] = re.sub(r"@import [^;]+;", "", texts["theme"])  # fonts: the system's own
    exporter = SlidesExporter(
        template_file="slides.html.j2",
        extra_template_paths=[str(_ASSETS)],
        exclude_anchor_links=True,
    )
    return exporter.from_notebook_node(deck, resources={"presentation": texts})[0]


def _cells(shown: dict, record: dict) -> Iterator[nbformat.NotebookNode]:
    """Return the slides: the title, then each heading with its figures and questions."""
    cells = iter(shown["cells"])
    title = source_of(next(cells)).replace("# ", f"# {record['chapter'][:2]} ", 1)
    yield _slide(f"{title}\n\n{banner.banner(record)}", "slide")
    heading, level = title_of(shown), "slide"
    for cell in cells:
        if cell["cell_type"] == "markdown":
            for mark, name, text in _parts(source_of(cell)):
                if mark:
                    level = "slide" if mark == "##" else level
                    heading = name
                questions = list(_questions(name, text))
                if mark and name.endswith("?") and not questions:
                    questions = [""]
                for question in questions:
                    yield _slide(f"## {heading}\n\n{question}", level)
                    level = "subslide"
        elif "solution" not in tags_of(cell):
            for picture, kind in _pictures(cell):
                labels = cell["metadata"].get("mystnb", {})
                alt = labels.get("image", {}).get("alt", "")
                caption = labels.get("figure", {}).get("caption", "")
                text = f"## {heading}\n\n![{alt}](attachment:figure)\n\n{caption}"
                slide = _slide(text, level)
                slide.attachments = {"figure": {kind: picture}}
                yield slide
                level = "subslide"


def _slide(text: str, level: str) -> nbformat.NotebookNode:
    text = _LINK.sub(r"\1", text)  # to other chapters, which are not here
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": level}})


def _parts(text: str) -> list[tuple[str, str, str]]:
    """Return the parts of a cell's text, each with the mark and the words of its heading."""
    pieces = _HEADING.split(text)
    return [("", "", pieces[0]), *zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True)]


def _questions(heading: str, text: str) -> Iterator[str]:
    if re.match(r"Exercise \d\d-[a-z]", heading):
        yield text.strip()
    elif heading == "Quiz":
        yield from (question.strip() for question in _QUIZ.findall(text))
    else:
        yield from (p for p in text.split("\n\n") if p.startswith("**Predict first.**"))


def _pictures(cell: dict) -> Iterator[tuple[str, str]]:
    for output in cell.get("outputs", []):
        for kind in ("image/png", "image/jpeg"):
            if kind in output.get("data", {}):
                yield "".join(output["data"][kind]).replace("\n", ""), kind
