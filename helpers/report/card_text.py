"""Markdown of cards, and the little HTML that a page shows of it."""

from __future__ import annotations

import html
import re

import numpy as np


def table(heads: list, rows: list[list]) -> list[str]:
    """Return a table in Markdown, by hand: pandas' own needs a further package."""
    lines = [[str(cell) for cell in row] for row in (heads, ["---"] * len(heads), *rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def number(value: float) -> str:
    """Return a figure with three decimals; of one that does not exist, that it is undefined."""
    return "undefined" if np.isnan(value) else f"{value:.3f}"


def as_html(text: str) -> str:
    """Return a card as HTML for a page: headings become bold lines, so that they do not mix in.

    It knows just what the cards above use: headings, lists, tables, quotes,
    bold and code. Books show Markdown from an output without its tables.
    """
    made, inside = [], ""
    for line in text.splitlines():
        kind = {"- ": "ul", "| ": "table", "> ": "blockquote"}.get(line[:2], "")
        if kind != inside:
            made += ([f"</{inside}>"] if inside else []) + ([f"<{kind}>"] if kind else [])
            inside, first = kind, True
        if kind == "ul":
            made.append(f"<li>{_inline(line[2:])}</li>")
        elif kind == "table" and not line.startswith("| ---"):
            tag, first = ("th" if first else "td"), False
            cells = (f"<{tag}>{_inline(cell)}</{tag}>" for cell in line[2:-2].split(" | "))
            made.append(f"<tr>{''.join(cells)}</tr>")
        elif kind == "blockquote":
            made.append(f"<p>{_inline(line[2:])}</p>")
        elif line.startswith("#"):
            made.append(f"<p><b>{_inline(line.lstrip('# '))}</b></p>")
        elif line and not kind:
            made.append(f"<p>{_inline(line)}</p>")
    return "\n".join([*made, *([f"</{inside}>"] if inside else [])])


def _inline(text: str) -> str:
    text = html.escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)
