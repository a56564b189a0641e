"""A Sphinx extension that finishes the HTML of the book: lighter, easier to use and to find.

Sphinx, the theme and MyST-NB write the pages. What they leave open is done on the finished files:
figures as WebP with their size, names of folds that are what one reads, tables without needless
numbers, chapters to download, a description for those who share a page, a page for addresses that
lead nowhere.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from docutils.utils.math import latex2mathml
from PIL import Image

from helpers.base.files import write_text
from helpers.course import editions, weight
from helpers.course.links import BEFORE_UNIT

#: A figure wider than this many pixels can be enlarged on a telephone.
WIDE = 600
_IMAGE = re.compile(r'(<a\b[^>]*image-reference[^>]*>)?(<img\b[^>]*?src="([^"]+)"[^>]*?) ?/?>')
_OUTPUT = re.compile(r'<div class="output (?:stream|text_plain)\b.*?</pre>', re.S)
_TABLE = re.compile(r'<table border="1" class="dataframe">.*?</table>', re.S)
_SOURCE = re.compile(r'<li><a href="([^"]+)\.ipynb"[^>]*btn-download-source-button.*?</li>', re.S)
_DOWNLOAD = '<li><a class="btn btn-sm dropdown-item" href="{}.ipynb" download>{}</a></li>\n'
#: The top bar, which the book does not show. The theme's script would find its buttons first and
#: leave the ones that readers see without effect; it needs the bar itself.
_TOP_BAR = re.compile(r'(<header id="pst-header"[^>]*>).*?(?=</header>)', re.S)
_NOT_FOUND = """<h1>This page is not here</h1>
<p>The address may be old or mistyped. <a href="book/intro.html">Begin at the introduction</a>,
choose a chapter from the contents, or <a href="search.html">search the book</a>.</p>"""
_SITEMAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{}</urlset>
"""
#: What the pages contain, and what they contain afterwards.
_REPLACED = {
    # A fold is called what it shows; a heading without words heads nothing.
    '<summary aria-label="Toggle hidden content">': "<summary>",
    "<th></th>": "<td></td>",
    'search-button-field search-button__button pst-js-only" title="Search" aria-label="Search"': (
        'search-button-field search-button__button pst-js-only" title="Search"'
    ),
    # The entries of the references are no list that a screen reader knows.
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
    '<div id="pst-primary-sidebar" class="': (
        '<div id="pst-primary-sidebar" role="complementary" aria-label="Book" class="'
    ),
}


def finish(folder: Path, base: str = "") -> None:
    """Finish all pages of a built book.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the HTML.
    base : str
        Address at which the book is published, with a slash at its end; without one, nothing
        that needs an address is written.
    """
    pages = {
        path: path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.relative_to(folder).parts and path.name != "index.html"
    }
    sizes: dict[Path, tuple[int, int]] = {}
    for path, text in pages.items():
        for old, new in _REPLACED.items():
            text = text.replace(old, new)
        text = _TOP_BAR.sub(r"\1", text)
        if 'id="exercises"' in text:
            skip = '<a href="#main-content">Skip to main content</a>'
            text = text.replace(skip, skip + '<a href="#exercises">Skip to the exercises</a>')
        text = _OUTPUT.sub(lambda output: BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", output[0]), text)
        text = _SOURCE.sub(lambda entry, page=path: _downloads(page, entry[1]), text)
        pages[path] = _with_sizes(path, _TABLE.sub(_table, text), sizes)
    for picture in sizes:
        if picture.suffix == ".png":
            picture.unlink()
    weight.bundle(folder, pages)
    for path, text in pages.items():
        if base and path.name == "404.html":  # it is shown at addresses in any folder
            text = text.replace("<head>", f'<head>\n<base href="{html.escape(base)}">', 1)
        path.write_text(text, encoding="utf-8")
    if base:
        names = [path.relative_to(folder).as_posix() for path in pages if path.parent != folder]
        places = [f"<url><loc>{html.escape(base + name)}</loc></url>\n" for name in names]
        (folder / "sitemap.xml").write_text(_SITEMAP.format("".join(places)), encoding="utf-8")


def _downloads(path: Path, source: str) -> str:
    """Write the chapter for who wants to work on it; return the entries of the download menu."""
    executed = path.parent / f"{source}.ipynb"
    notebook = nbformat.read(executed, as_version=4)
    shown = ("run-banner", "injected-parameters")  # what the run added
    notebook.cells = [cell for cell in notebook.cells if cell.get("id") not in shown]
    exercise = editions.without_solutions(notebook, path.stem)
    write_text(executed.with_suffix(".exercise.ipynb"), nbformat.writes(exercise) + "\n")
    entries = {".exercise": "Exercise: no solutions (.ipynb)", "": "Executed (.ipynb)"}
    return "".join(_DOWNLOAD.format(source + end, words) for end, words in entries.items())


def _table(match: re.Match) -> str:
    """Return a table of pandas without row numbers that tell nothing; numbers keep their units."""
    text = BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", match[0])
    numbers = re.findall(r"<tr>\s*<th>(.*?)</th>", text)  # a named index has a row of its own
    unnamed = re.search(r"<tr[^>]*>\s*<td></td>", text)
    if not unnamed or numbers != [str(number) for number in range(len(numbers))]:
        return text
    text = re.sub(r"(<tr[^>]*>\s*)(?:<td></td>|<th>\d+</th>)\s*", r"\1", text)
    first = re.findall(r"<tr>\s*<td>(.*?)</td>", text)
    if any(re.fullmatch(r"[-+.\d]+", entry) for entry in first):
        return text
    return re.sub(r"(<tr>\s*)<td>(.*?)</td>", r"\1<th>\2</th>", text)


def _with_sizes(path: Path, text: str, sizes: dict[Path, tuple[int, int]]) -> str:
    """Give each picture its size and figures a smaller file, loaded when the reader is near."""
    figures = 0

    def image(match: re.Match) -> str:
        nonlocal figures
        linked, tag, source = match[1] or "", match[2], match[3]
        file = (path.parent / source).resolve()
        if not source.endswith(".svg") and "_images/" not in source:
            return match[0]
        if file not in sizes:
            sizes[file] = _as_webp(file) if file.suffix == ".png" else _size_of_svg(file)
        width, height = sizes[file]
        if width and " width=" not in tag:
            tag += f' width="{width}" height="{height}"'
        if "_images/" in source:
            figures += 1
            tag += ' loading="lazy"' if figures > 1 else ""
            if width > WIDE and not linked and file.suffix == ".png":
                return f'<a class="enlarge" href="{source}">{tag}></a>'
        return f"{linked}{tag}>"

    text = _IMAGE.sub(image, text)
    return re.sub(r'(_images/[^"/]+)\.png"', r'\1.webp"', text)


def _as_webp(file: Path) -> tuple[int, int]:
    """Write a picture as WebP: exact if it has few colours, else nearly so."""
    with Image.open(file) as opened:
        picture = Image.new("RGBA", opened.size, "white")
        picture.alpha_composite(opened.convert("RGBA"))
    few = picture.getcolors(5000) is not None
    picture.convert("RGB").save(file.with_suffix(".webp"), lossless=few, quality=50 if few else 85)
    return picture.size


def _size_of_svg(file: Path) -> tuple[int, int]:
    box = re.search(r'viewBox="\S+ \S+ ([\d.]+) ([\d.]+)"', file.read_text(encoding="utf-8"))
    return (round(float(box[1])), round(float(box[2]))) if box else (0, 0)


def _describe(app: Any, page: str, template: str, context: dict, doctree: Any) -> None:
    """Say in the head what the page is about, for search engines and for links to it."""
    facts = {"og:type": "article", "og:title": re.sub("<[^>]+>", "", context.get("title", ""))}
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        words = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and len(words) > 40:
            short = words if len(words) < 160 else f"{words[:156].rpartition(' ')[0]} ..."
            facts |= {"description": short, "og:description": short}
            break
    if base := app.config.html_baseurl:
        facts |= {"og:url": f"{base}{page}.html", "og:image": f"{base}_static/cover.png"}
    tags = [
        f'<meta {"property" if ":" in name else "name"}="{name}" content="{html.escape(value)}">'
        for name, value in facts.items()
    ]
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def _mathml(writer: Any, node: nodes.Element) -> None:
    """Write mathematics so that the browser draws it, without a script of a megabyte."""
    block = isinstance(node, nodes.math_block)
    formula = latex2mathml.tex2mathml(node.astext(), as_block=block)
    writer.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def _finish(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        finish(Path(app.outdir), app.config.html_baseurl)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    lost = [("404", {"title": "Not found", "body": _NOT_FOUND}, "page.html")]
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
    app.connect("html-collect-pages", lambda app: lost)
    app.connect("html-page-context", _describe)
    app.connect("build-finished", _finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
