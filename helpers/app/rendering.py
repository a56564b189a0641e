"""Templates and the few words that they need."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from helpers.app.answers import named

#: Style sheet, script and icon.
STATIC = Path(__file__).parent / "static"


def page(request: Request, template: str, status: int = 200, **content: Any) -> HTMLResponse:
    """Return a template filled with `content`; all text in it is escaped."""
    text = _TEMPLATES.get_template(template).render(here=request.url.path, **content)
    return HTMLResponse(text, status)


def _percent(probability: float) -> str:
    """Return a probability in per cent, but never 0% or 100%: no model is certain."""
    if 0.01 <= probability <= 0.99:
        return f"{probability:.0%}"
    return "under 1%" if probability < 0.5 else "over 99%"


def _version() -> str:
    content = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))
    return hashlib.sha256(content).hexdigest()[:12]


_TEMPLATES = Environment(
    loader=FileSystemLoader(STATIC.parent / "templates", encoding="utf-8"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_TEMPLATES.globals["version"] = _version()
_TEMPLATES.filters.update(
    named=named,
    percent=_percent,
    moment=lambda text: f"{text[:10]} {text[11:16]} UTC",
    markdown=lambda text: Markup(_MARKDOWN.render(text)),
)
