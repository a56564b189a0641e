"""Results that were computed elsewhere and recorded, with all that a reader must know about them.

A page that cannot repeat a computation (no weights, no GPU) shows what was recorded of it. One
JSON file of ``book/results`` is one computation, in this form::

    {"title": "...", "chapters": ["07"], "date": "2026-11-26", "device": "...",
     "versions": {"Keras": "3.15.1"}, "data": "...", "split": "...", "weights": "...",
     "figures": [{"name": "AUC", "value": 0.93, "low": 0.88, "high": 0.96}], "note": "..."}

A figure that has no interval has neither `low` nor `high`; `note` may be missing.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from helpers.base.errors import ReportError
from helpers.report.verdicts import WIDTH

#: The records of the book. An installed copy of `helpers` comes without the book.
FOLDER = Path(__file__).resolve().parents[2] / "book" / "results"
_TEXTS = ("title", "date", "device", "data", "split", "weights")
_KEYS = {*_TEXTS, "chapters", "versions", "figures", "note"}


@dataclass(frozen=True)
class Figure:
    """A recorded number; `low` and `high` are the limits of its 95 % interval, or None."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        shown = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.3f}"
        return shown if self.low is None else f"{shown} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Record:
    """One recorded computation; its fields are those of the file."""

    title: str
    chapters: tuple[str, ...]
    date: str
    device: str
    versions: dict[str, str]
    data: str
    split: str
    weights: str
    figures: tuple[Figure, ...]
    note: str = ""

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        facts = {"recorded": f"{self.date}, {self.device}; {versions}"}
        facts |= {"data": self.data, "split": self.split, "weights": self.weights}
        facts |= {figure.name: str(figure) for figure in self.figures}
        facts |= {"note": self.note} if self.note else {}
        lines = [_filled(f"{name}: {text}") for name, text in facts.items()]
        return "\n".join([self.title, *lines])


def read(chapter: str, folder: Path = FOLDER) -> list[Record]:
    """Return the records that chapter ``"07"`` shows, in the order of their files' names.

    Raises
    ------
    ReportError
        When a file of the folder is not a record.
    """
    records = [_record(path) for path in sorted(folder.glob("*.json"))]
    return [record for record in records if chapter in record.chapters]


def rendered(chapter: str, folder: Path = FOLDER) -> str:
    """Return the records of a chapter as text for its page."""
    records = read(chapter, folder)
    if not records:
        return "No recorded results are here: they belong to the book and to a clone of the course."
    return "\n\n".join(map(str, records))


def _record(path: Path) -> Record:
    """Return the record in a file, checked."""

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise ReportError(f"{path} is not a record of results: {what}.")

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} is not a record of results: it cannot be read.") from error
    require(isinstance(content, dict), "it is not a table of names and values")
    wrong = _KEYS - {"note"} - content.keys() or content.keys() - _KEYS
    require(not wrong, f"{', '.join(sorted(wrong))} is missing, or is no part of a record")
    for name in (*_TEXTS, *({"note"} & content.keys())):
        text = content[name]
        require(isinstance(text, str) and text.strip() != "", f"{name} is not a text")
    try:
        datetime.date.fromisoformat(content["date"])
    except ValueError:
        require(False, "date is not a day such as 2026-11-26")
    chapters, versions, figures = content["chapters"], content["versions"], content["figures"]
    require(
        isinstance(chapters, list) and all(re.fullmatch(r"\d\d", str(c)) for c in chapters),
        'chapters is not a list such as ["07"]',
    )
    require(isinstance(versions, dict) and bool(versions), "versions names no software")
    require(isinstance(figures, list) and bool(figures), "figures is empty")
    for figure in figures:
        require(isinstance(figure, dict) and _is_figure(figure), f"{figure} is not a figure")
    return Record(
        **{**content, "chapters": tuple(chapters)}
        | {"figures": tuple(Figure(**f) for f in figures)}
    )


def _is_figure(figure: dict) -> bool:
    """Return whether it has a name, a value and perhaps both limits around it."""
    numbers = [figure.get(key) for key in ("low", "value", "high") if key in figure]
    return (
        figure.keys() in ({"name", "value"}, {"name", "value", "low", "high"})
        and isinstance(figure["name"], str)
        and all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
        and numbers == sorted(numbers)
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
