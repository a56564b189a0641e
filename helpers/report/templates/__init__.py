"""Jinja templates of cards and of the interactive plot, and the functions that fill them.

The templates stand beside this module. Every value is escaped before it is inserted:
a subject, a label or a record may contain anything, and must not act as markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """Return the file `template` filled with `values`.

    Values are escaped as Markdown in ``*.md.j2`` and as HTML in ``*.html.j2``.
    """
    return _environment(template.endswith(".md.j2")).get_template(template).render(**values)


def escape_markdown(value: Any) -> Markup:
    """Return `value` as one line of Markdown that shows its text and nothing else."""
    if isinstance(value, Markup):
        return value
    text = " ".join(str(value).split())
    text = re.sub(r"([\\`*\[\]<>|&~${}])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # inside a word it is no markup
    # At the beginning of a line these would start a heading or a list.
    text = re.sub(r"^(#+|[+-])(?=\s|$)", r"\\\1", text)
    return Markup(re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text))


def code(value: Any) -> Markup:
    """Return `value` as code in Markdown; in normal type where code could not hold it."""
    text = str(value)
    return Markup(f"`{text}`") if re.fullmatch(r"[\w./+-]+", text) else escape_markdown(text)


def number(value: float) -> str:
    """Return `value` with three decimals, or "undefined" for NaN."""
    return "undefined" if np.isnan(value) else f"{value:z.3f}"


def table(heads: Sequence, rows: Sequence[Sequence]) -> Markup:
    """Return a table in Markdown."""
    lines = [[escape_markdown(cell) for cell in line] for line in (heads, *rows)]
    lines.insert(1, ["---"] * len(heads))
    return Markup("\n".join(f"| {' | '.join(line)} |" for line in lines))


@cache
def _environment(markdown: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER, encoding="utf-8"),
        autoescape=True,
        finalize=escape_markdown if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(code=code, number=number)
    environment.globals.update(table=table)
    return environment
