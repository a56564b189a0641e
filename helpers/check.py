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
    """

    def register(function: Callable[..., Iterator[Point]]) -> Callable[..., Iterator[Point]]:
        _CHECKERS[name] = function
        return function

    return register


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
    An answer that makes the checker fail is reported, not raised: a wrong
    answer must not stop a notebook that runs from top to bottom.
    """
    function = _find(name)
    if answer is ...:
        print(f"Exercise {name}: not answered yet. Replace the ... above and run this cell again.")
        return
    right = True
    try:
        for good, sentence in function(answer, *context, **more):
            right &= bool(good)
            print(f"{'✓' if good else '✗'} {sentence}")
    except Exception as error:
        right = False
        print(f"✗ Your answer could not be checked: {type(error).__name__}: {error}")
    print(f"Exercise {name}: {'solved.' if right else 'not solved yet.'}")


def _find(name: str) -> Callable[..., Iterator[Point]]:
    chapter = re.fullmatch(r"(\d\d)-[a-z]", name)
    if not chapter:
        raise ValueError(f"{name!r} is not the name of an exercise; they look like '06-a'.")
    if name not in _CHECKERS:
        try:
            importlib.import_module(f"helpers.exercises.chapter_{chapter[1]}")
        except ModuleNotFoundError as error:
            raise ValueError(f"The course has no exercises for chapter {chapter[1]}.") from error
    if name not in _CHECKERS:
        raise ValueError(f"The course has no exercise {name!r}.")
    return _CHECKERS[name]
