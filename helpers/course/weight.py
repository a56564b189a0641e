"""One style sheet and one script for all pages of the book, without what no page uses.

The theme loads two dozen files on every page; one of them draws the icons a second time, three
serve the search only. A telephone waits for each.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

#: The icon font draws the icons already.
_UNUSED = ("fontawesome.js",)
#: Needed on the page of the search only.
_SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")
_SHEET = re.compile(r'<link\b[^>]*href="([^"?]+)[^"]*"[^>]*rel="stylesheet"[^>]*>|'
                    r'<link\b[^>]*rel="stylesheet"[^>]*href="([^"?]+)[^"]*"[^>]*>')  # fmt: skip
_SCRIPT = re.compile(r'<script\b[^>]*src="([^"?]+)[^"]*"[^>]*></script>')
_PRELOAD = re.compile(r'<link rel="preload"[^>]*>')
_RULE = re.compile(r"([^{}]+)(\{[^{}]*\})")
_IMPORT = re.compile(r"@import (?:url\()?[\"']?([^\"')]+)[\"']?\)?;")
_FACE = re.compile(r"@font-face\s*\{[^{}]*url\(([^)]+\.ttf)\)[^{}]*\}")


def bundle(html: Path, pages: dict[Path, str]) -> None:
    """Write ``_static/book.css`` and ``_static/book.js``, and let every page load these two.

    Parameters
    ----------
    html : pathlib.Path
        Folder of the built book.
    pages : dict of str
        The text of each page by its path; the texts are changed.
    """
    static = html / "_static"
    styles: dict[Path, None] = {}
    scripts: dict[Path, None] = {}
    for path, text in pages.items():

        def file_of(address: str, page: Path = path) -> Path:
            return (page.parent / address).resolve()

        def script(tag: re.Match, page: Path = path) -> str:
            file = (page.parent / tag[1]).resolve()
            if file.name == "documentation_options.js":  # the page's next lines need it
                return f"<script>{file.read_text(encoding='utf-8')}</script>"
            if file.name in _SEARCH and page.name == "search.html":
                return tag[0].replace("<script", "<script defer", 1)
            if file.name not in (*_UNUSED, *_SEARCH):
                scripts[file] = None
            return ""

        styles |= dict.fromkeys(file_of(tag[1] or tag[2]) for tag in _SHEET.finditer(text))
        pages[path] = _PRELOAD.sub("", _SCRIPT.sub(script, _SHEET.sub("", text)))
    code = ";\n".join(file.read_text(encoding="utf-8") for file in scripts)
    code = re.sub(r"(?m)^//# sourceMappingURL=.*$", "", code)
    words = set(re.findall(r"[\w-]+", " ".join([code, *pages.values()])))
    sheet = "\n".join(_used(_moved(static, file), words) for file in styles)
    sheet = _FACE.sub(lambda face: _with_icons(static, face, sheet), sheet)
    loaded = {}
    for name, text in {"book.css": sheet, "book.js": code}.items():
        (static / name).write_text(text, encoding="utf-8")
        loaded[name] = f"_static/{name}?v={hashlib.sha256(text.encode()).hexdigest()[:8]}"
    for path, text in pages.items():
        up = "../" * (len(path.relative_to(html).parts) - 1)
        tags = f'</title>\n<link rel="stylesheet" href="{up}{loaded["book.css"]}">\n'
        tags += f'<script defer src="{up}{loaded["book.js"]}"></script>'
        pages[path] = text.replace("</title>", tags, 1)
    unused = [static / "scripts" / name for name in _UNUSED]
    for file in {*styles, *scripts, *unused, *static.rglob("*.map"), *static.rglob("fa-*.*")}:
        file.unlink(missing_ok=True)


def _moved(static: Path, file: Path) -> str:
    """Return a style sheet, and those it imports, whose addresses begin at `static`."""

    def address(match: re.Match) -> str:
        target = (file.parent / match[1]).resolve()
        return f"url({target.relative_to(static.resolve()).as_posix()})"

    text = re.sub(r"/\*.*?\*/|@charset[^;]*;", "", file.read_text(encoding="utf-8"), flags=re.S)
    text = _IMPORT.sub(lambda match: _moved(static, file.parent / match[1]), text)
    return re.sub(r"url\([\"']?((?!data:|#|[\"'])[^)\"']+)[\"']?\)", address, text)


def _used(sheet: str, words: set[str]) -> str:
    """Return a style sheet without the selectors that name a class that no page has."""

    def is_used(selector: str) -> bool:
        outer = re.sub(r"\([^()]*\)|\[[^\]]*\]", "", selector)  # :not(.absent) may be meant
        return set(re.findall(r"\.(-?[a-zA-Z_][\w-]*)", outer)) <= words

    def rule(match: re.Match) -> str:
        kept = [part for part in re.split(r",(?![^()]*\))", match[1]) if is_used(part)]
        return ",".join(kept) + match[2] if kept else ""

    return _RULE.sub(rule, sheet)


def _with_icons(static: Path, face: re.Match, sheet: str) -> str:
    """Return the rule of an icon font that contains only the icons in `sheet`."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    wanted = {int(code, 16) for code in re.findall(r"\"\\([ef][0-9a-f]{3})\"", sheet)}
    font = TTFont(static / face[1])
    if not wanted & set(font.getBestCmap()):
        return ""
    subsetter = subset.Subsetter()
    subsetter.populate(unicodes=wanted)
    subsetter.subset(font)
    font.flavor = "woff"
    written = io.BytesIO()
    font.save(written)
    data = base64.b64encode(written.getvalue()).decode()
    return re.sub(r"src:[^;}]*", f"src:url(data:font/woff;base64,{data})", face[0])
