"""Checks of exercises: what is right and what to look at, never the answer.

The checkers themselves live in ``helpers.exercises``, one module a chapter,
so that a page shows the question and not what the answer is held against.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any

#: What a checker yields: whether a point holds, and one sentence about it.
Point = tuple[bool, str]

_CHECKERS: dict[str, Callable[..., Iterator[Point]]] = {}


def checker(name: str) -> Callable:
    """Register a generator of points as the checker of exercise `name` (``"06-a"``).

    It is called with the student's answer and whatever the chapter passes on,
    and stops at the first point that makes later ones meaningless.

    Raises
    ------
    ValueError
        When `name` is no exercise's name, or another checker has it already.
    """
    _chapter_of(name)

    def register(function: Callable[..., Iterator[Point]]) -> Callable[..., Iterator[Point]]:
        known = _CHECKERS.get(name)
        # A reloaded module registers its own function again, and may.
        if known is not None and known.__module__ != function.__module__:
            raise ValueError(f"Exercise {name!r} has a checker already, in {known.__module__}.")
        _CHECKERS[name] = function
        return function

    return register


def exercises(chapter: str) -> list[str]:
    """Return the names of the exercises that chapter ``"06"`` has checkers for, in order."""
    _load(chapter)
    return sorted(name for name in _CHECKERS if name.startswith(f"{chapter}-"))


def check(name: str, answer: Any, *context: Any, **more: Any) -> None:
    """Print which points of exercise `name` the answer meets.

    Parameters
    ----------
    name : str
        Chapter and letter, as the exercise's heading says: ``"06-a"``.
    answer : object
        What the student found; ``...`` means not answered yet.
    *context, **more
        What the chapter hands to the checker (a catalog, say).

    Notes
    -----
    The last line printed is one of three: *solved.*, *not solved yet.* and
    *not answered yet*. An answer that makes the checker fail is reported, not
    raised: a wrong answer must not stop a notebook that runs from top to bottom.

    Raises
    ------
    ValueError
        When the course has no such exercise: the chapter's fault, not the student's.
    """
    function = _find(name)
    if answer is ...:
        print(f"Exercise {name}: not answered yet. Replace the ... above and run this cell again.")
        return
    points = 0
    right = True
    try:
        for good, sentence in function(answer, *context, **more):
            points += 1
            right &= bool(good)
            print(f"{'✓' if good else '✗'} {sentence}")
    except Exception as error:
        right = False
        print(f"✗ Your answer could not be checked: {_told(error)}")
    # A checker that looked at nothing has not found an answer right.
    print(f"Exercise {name}: {'solved.' if right and points else 'not solved yet.'}")


def _told(error: Exception) -> str:
    """Return an error's type and first line.

    The first line only, because what follows it (in numpy's assertions, say)
    may spell out the right answer; without addresses, which differ from run to run.
    """
    lines = str(error).strip().splitlines()
    first = re.sub(r" at 0x[0-9a-f]+", "", lines[0]) if lines else "no further message"
    return f"{type(error).__name__}: {first}"


def _chapter_of(name: str) -> str:
    found = re.fullmatch(r"(\d\d)-[a-z]", name)
    if not found:
        raise ValueError(f"{name!r} is not the name of an exercise; they look like '06-a'.")
    return found[1]


def _load(chapter: str) -> None:
    module = f"helpers.exercises.chapter_{chapter}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A checker that lacks a package of its own is another fault, told as it is.
        if error.name != module:
            raise
        raise ValueError(f"The course has no exercises for chapter {chapter}.") from error


def _find(name: str) -> Callable[..., Iterator[Point]]:
    chapter = _chapter_of(name)
    if name not in _CHECKERS:
        _load(chapter)
    if name not in _CHECKERS:
        raise ValueError(f"The course has no exercise {name!r}.")
    return _CHECKERS[name]
