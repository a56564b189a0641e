"""PDFs of the published book, printed by Chromium: one of each chapter and one of everything."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

from helpers.base.errors import RunError
from helpers.base.files import checksum, told, write_json, write_text
from helpers.course.book import SEAL
from helpers.course.project import Project, toc_files

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PRINT_BUTTON = re.compile(r'<button onclick="window\.print\(\)".*?</button>', re.S)


def build(project: Project, only: Sequence[str] = (), solutions: bool = False) -> list[Path]:
    """Print the published book into ``_build/html/pdf`` and offer the files on its pages.

    Parameters
    ----------
    project : Project
        The clone, with a published book.
    only : sequence of str
        Chapters by number or name; then the PDF of everything is not printed.
    solutions : bool
        Print what is folded on the pages, too: solutions and answers.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    RunError
        When no book is published, it does not hold a chapter of `only`, there is no Chromium,
        or it prints nothing.
    """
    html = project.html
    try:
        seal = json.loads((html / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            "There is no book to print: publish it first, with `course book`."
        ) from error
    with told(html / "pdf"):
        (html / "pdf").mkdir(exist_ok=True)
    pages = [f"{name}.html" for name in toc_files(project.root / "_toc.yml")]
    held = [page for page in pages if page in seal["files"]]  # the book may be one of some chapters
    jobs = {c.name: [f"notebooks/{c.name}.html"] for c in project.select(only)}
    absent = [name for name, (page,) in jobs.items() if page not in held]
    if only and absent:
        raise RunError(f"The published book does not hold {absent[0]}: publish it first.")
    jobs = {name: pages for name, pages in jobs.items() if name not in absent}
    if not only:
        jobs["book"] = held
    files = []
    for name, pages in jobs.items():
        target = html / "pdf" / f"{name}.pdf"
        _print(html, pages, target, solutions)
        files.append(target)
        print(f"  {target.relative_to(html)}: {target.stat().st_size / 1e6:.1f} MB")
    for page in [*html.glob("notebooks/*.html"), *html.glob("book/*.html")]:
        names = [name for name in (page.stem, "book") if (html / "pdf" / f"{name}.pdf").is_file()]
        text = _PRINT_BUTTON.sub("</li><li>".join(map(_entry, names)), page.read_text("utf-8"))
        if names:
            write_text(page, text)
            files.append(page)
    sums = {file.relative_to(html).as_posix(): checksum(file) for file in files}
    write_json(html / SEAL, {**seal, "files": seal["files"] | sums})
    return [file for file in files if file.suffix == ".pdf"]


def _entry(name: str) -> str:
    """Return the entry of the download menu."""
    words = "The book (PDF)" if name == "book" else "This chapter (PDF)"
    return f'<a class="btn btn-sm dropdown-item" href="../pdf/{name}.pdf">{words}</a>'


def _print(html: Path, pages: list[str], target: Path, solutions: bool) -> None:
    """Print some pages, one after the other, as one PDF."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise RunError("PDFs need Chromium: install it, or set CHROMIUM to its path.")
    from playwright.sync_api import Error, sync_playwright

    first = (html / pages[0]).read_text(encoding="utf-8")
    head = re.sub(r"<script\b.*?</script>", "", first.partition("<body")[0], flags=re.S)
    head = head.replace('data-theme="auto"', 'data-theme="light"')
    text = "\n".join(_printable(html, page, pages) for page in pages)
    if solutions:
        text = text.replace("<details", "<details open")
    sheet = html / "notebooks" / ".print.html"  # the pages' relative addresses hold here
    try:
        style = "<style>.printed ~ .printed { break-before: page; }</style>"
        start = f'{head}{style}<body><div class="bd-main"><div class="bd-content">'
        write_text(sheet, start + text)
        with sync_playwright() as driver:
            flags = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
            browser = driver.chromium.launch(executable_path=program, args=flags)
            paper = browser.new_page()
            paper.set_default_timeout(0)  # the whole book takes minutes
            paper.goto(sheet.as_uri(), wait_until="load")
            paper.pdf(path=target, prefer_css_page_size=True, outline=True, tagged=True)
            browser.close()
    except Error as error:
        raise RunError(f"Chromium did not print {target.name}: {error}") from error
    finally:
        sheet.unlink(missing_ok=True)


def _printable(html: Path, page: str, printed: list[str]) -> str:
    """Return the article of a page, with links that lead somewhere on paper."""
    text = (html / page).read_text(encoding="utf-8")
    public = re.search(r'<link rel="canonical" href="([^"]+)"', text)
    mine = Path(page).stem

    def link(match: re.Match) -> str:
        if urlsplit(match[1]).scheme:
            return match[0]
        address, anchor = urldefrag(urljoin(f"/{page}", match[1]))
        if address[1:] in printed:
            return f'href="#{Path(address).stem}{"-" if anchor else ""}{anchor}"'
        return f'href="{urljoin(public[1], match[1])}"' if public else ""

    article = re.search(r"<article\b.*?</article>", text, re.S)
    body = article[0].replace(' loading="lazy"', "") if article else ""
    body = re.sub(r'\bid="', f'id="{mine}-', body)
    body = re.sub(r'href="([^"]*)"', link, body)
    return f'<div class="printed" id="{mine}">{body}</div>'
