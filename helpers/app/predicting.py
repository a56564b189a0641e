"""``course predict``: the answers about a file or a folder, as a table or as JSON."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers.app import service, uploads
from helpers.app.answers import Answer, ModelFacts
from helpers.base import arguments
from helpers.base.errors import AppError, ImageError
from helpers.base.files import printable
from helpers.base.image_files import IMAGE_ENDINGS, open_file

_AT_A_TIME = 16  # pictures in memory, each of twenty megapixels at most


def predict(path: Path, model: str, kind: str, as_json: bool, artifacts: Path) -> int:
    """Print the answers about the pictures in a file or a folder; return the exit status.

    Parameters
    ----------
    path : pathlib.Path
        A file, or a folder whose images are found in all its sub-folders.
    model : str
        Key of a run, or the path of its folder; ``""`` for the newest that did not collapse.
    kind : str
        As for :meth:`helpers.app.service.Service.classify`.
    as_json : bool
        Print one JSON document instead of a table.
    artifacts : pathlib.Path

    Returns
    -------
    int
        0 when every file was answered; 1 when one was not, which standard error says in a
        sentence.

    Raises
    ------
    AppError
        When there is no such path, no image or no network, or the kind is unknown.
    """
    arguments.one_of("kind", kind, service.KINDS, AppError)
    files = _images(path)
    folder = Path(model)
    key = folder if model and (folder / "record.json").is_file() else model or newest(artifacts)
    with contextlib.redirect_stdout(sys.stderr):  # what data sets and networks tell
        loaded = service.Service.load(key, artifacts)
    rows, problems = [], []
    if not as_json:
        _print_facts(loaded.facts)
    for file, answers in _answered(files, loaded, kind, problems):
        rows += [_as_dict(file, answer) for answer in answers]
        if not as_json:
            _print_rows(file, answers)
    if as_json:
        facts = loaded.facts
        about = {"key": facts.key, "name": facts.name, "notes": facts.notes,
                 "classes": facts.classes, "figures": facts.figures}  # fmt: skip
        document = {"model": about, "answers": rows, "unanswered": problems}
        print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    for problem in problems:
        print(f"{problem['file']}: {problem['reason']}", file=sys.stderr)
    return 1 if problems else 0


def newest(artifacts: Path) -> str:
    """Return the key of the newest network that did not collapse, else of the newest.

    Raises
    ------
    AppError
        When there is none.
    """
    runs = [facts for facts in service.available(artifacts) if isinstance(facts, ModelFacts)]
    if not runs:
        raise AppError(
            f"There is no trained network in {artifacts}: run a chapter that trains one "
            "(course run --only 05), or start the app once (course app), which trains a small one."
        )
    sound = [facts for facts in runs if not any("collapsed" in note for note in facts.notes)]
    return (sound or runs)[0].key


def _images(path: Path) -> list[Path]:
    if not path.exists():
        raise AppError(f"{path} is not there.")
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())
    if not found:
        raise AppError(f"No BMP, JPEG, PNG or TIFF file is in {path}.")
    return found


def _answered(
    files: list[Path], loaded: service.Service, kind: str, problems: list[dict]
) -> Iterator[tuple[str, list[Answer]]]:
    """Yield the answers about each file; add to `problems` the files without an answer."""
    for start in range(0, len(files), _AT_A_TIME):
        names, pictures = [], []
        for file in files[start : start + _AT_A_TIME]:
            name = printable(file)
            try:
                with open_file(file) as opened:
                    pictures.append(uploads.read(opened.read(uploads.Limits.bytes + 1)))
                names.append(name)
            except (ImageError, OSError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                problems.append({"file": name, "reason": reason})
        for name, answers in zip(names, loaded.classify(pictures, kind), strict=True):
            if not any(answer.label for answer in answers):
                problems.append({"file": name, "reason": " ".join(answers[0].warnings)})
            else:
                yield name, answers


def _as_dict(file: str, answer: Answer) -> dict:
    return {
        "file": file,
        "box": answer.box,
        "label": answer.label,
        "probability": answer.probability,
        "threshold": answer.threshold,
        "reliability": answer.reliability,
        "votes": dict(answer.votes),
        "distance": None if math.isnan(answer.distance) else answer.distance,
        "warnings": answer.warnings,
    }


def _print_facts(facts: ModelFacts) -> None:
    print("Teaching only, not for diagnosis.", *facts.notes, sep="\n")
    print(f"{facts.name}: the probability of {facts.classes[1]} rather than {facts.classes[0]}.\n")
    print(f"{'probability':>11}  {'class':<12} {'distance':>8}  file")


def _print_rows(file: str, answers: list[Answer]) -> None:
    for answer in answers:
        box = "" if len(answers) == 1 else f" {answer.box}"
        away = "unknown" if math.isnan(answer.distance) else f"{answer.distance:.2f}"
        print(f"{answer.probability:11.3f}  {answer.label:<12} {away:>8}  {file}{box}")
        for warning in answer.warnings:
            print(f"{'':13}{warning}")
