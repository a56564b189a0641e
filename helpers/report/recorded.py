"""Results that were computed elsewhere and recorded, with all that a reader must know about them.

A page that cannot repeat a computation (no weights, no GPU) shows what was recorded of it. One
JSON file of ``book/results`` is one computation, in this form::

    {"title": "...", "chapters": ["07"], "date": "2026-11-26", "device": "...",
     "versions": {"Keras": "3.15.1"}, "data": "...", "split": "...", "weights": "...",
     "figures": [{"name": "AUC", "value": 0.93, "low": 0.88, "high": 0.96}], "note": "..."}

A figure that has no interval has neither `low` nor `high`; `note` may be missing.
"""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

from helpers.base.errors import ReportError
from helpers.report.verdicts import WIDTH

#: The records of the book. An installed copy of `helpers` comes without the book.
FOLDER = Path(__file__).resolve().parents[2] / "book" / "results"
_TEXT = {"type": "string", "pattern": r"\S"}
_NUMBER = {"type": "number"}
_FIGURE = {
    "properties": {"name": _TEXT, "value": _NUMBER, "low": _NUMBER, "high": _NUMBER},
    "required": ["name", "value"],
    "dependentRequired": {"low": ["high"], "high": ["low"]},
    "additionalProperties": False,
}
#: The form of a file, as a JSON schema.
_FORM = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("title", "device", "data", "split", "weights"), _TEXT),
        "chapters": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "pattern": r"^\d\d$"},
        },
        "date": {"type": "string", "format": "date"},
        "versions": {"type": "object", "minProperties": 1, "additionalProperties": _TEXT},
        "figures": {"type": "array", "minItems": 1, "items": {"type": "object", **_FIGURE}},
        "note": _TEXT,
    },
    "additionalProperties": False,
}
_FORM["required"] = [name for name in _FORM["properties"] if name != "note"]


@dataclass(frozen=True)
class Figure:
    """A recorded number; `low` and `high` are the limits of its 95 % interval, or None."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        shown = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:z.3f}"
        return shown if self.low is None else f"{shown} [{self.low:z.3f}, {self.high:z.3f}]"


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
    import jsonschema

    told = f"{path} is not a record of results: "
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{told}it cannot be read.") from error
    form = jsonschema.Draft202012Validator(_FORM, format_checker=jsonschema.FormatChecker())
    if wrong := jsonschema.exceptions.best_match(form.iter_errors(content)):
        raise ReportError(f"{told}in {wrong.json_path}, {wrong.message}.")
    figures = tuple(Figure(**figure) for figure in content["figures"])
    for figure in figures:
        limits = (figure.value,) * 2 if figure.low is None else (figure.low, figure.high)
        if not -math.inf < limits[0] <= figure.value <= limits[1] < math.inf:
            raise ReportError(f"{told}{figure.name} is {figure}.")
    return Record(**content | {"chapters": tuple(content["chapters"]), "figures": figures})


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
