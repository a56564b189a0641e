"""Checks of exercises: they say what is right and what to look at, never the answer.

The checkers are in ``helpers.exercises``, one module per chapter: a page shows the question,
but not how its answer is checked.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

#: What a checker yields: whether a point holds, and one sentence about it.
Point = tuple[bool, str]


class Required(NamedTuple):
    """A point that the later ones need: where it does not hold, they are not checked."""

    holds: bool
    sentence: str


class Network:
    """A stand-in for a network: its score is a function of the image; `seen` has its batches."""

    def __init__(self, score: Callable[[np.ndarray], float]) -> None:
        self.score = score
        self.seen: list[np.ndarray] = []

    def predict(self, batch: np.ndarray, **_: object) -> np.ndarray:
        """Return the scores of the images of a batch, float32, shape (n, 1)."""
        self.seen.append(np.asarray(batch))
        return np.array([[self.score(image)] for image in self.seen[-1]], dtype=np.float32)

    __call__ = predict_on_batch = predict


def sealed(name: str, *numbers: int) -> str:
    """Return the salted hash of whole numbers: a checker can know them and not show them.

    Parameters
    ----------
    name : str
        The exercise, as salt.
    *numbers : int
        The answer, or a part of it.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    text = " ".join([name, *(str(int(number)) for number in numbers)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


_CHECKERS: dict[str, Callable[..., Iterator[Point]]] = {}


def checker(name: str) -> Callable:
    """Register a generator of points as the checker of exercise `name` (``"05-a"``).

    It is called with the student's answer and with whatever the chapter passes on. It
    yields a `Required` point where the later points make no sense without it. Where its
    parameter `answer` is annotated as ``Callable``, *It is a function.* is such a point,
    checked before its own.

    Raises
    ------
    ValueError
        When `name` is not the name of an exercise, or another checker has it already.
    """
    _chapter_of(name)

    def register(function: Callable[..., Iterator[Point]]) -> Callable[..., Iterator[Point]]:
        earlier = _CHECKERS.get(name)
        # A module that is reloaded registers its own function again.
        if earlier is not None and earlier.__module__ != function.__module__:
            raise ValueError(f"Exercise {name!r} has a checker already, in {earlier.__module__}.")
        _CHECKERS[name] = function
        return function

    return register


def exercises(chapter: str) -> list[str]:
    """Return the names of the exercises that chapter ``"05"`` has checkers for, in order."""
    _load(chapter)
    return sorted(name for name in _CHECKERS if name.startswith(f"{chapter}-"))


def check(name: str, answer: Any, *context: Any, **more: Any) -> None:
    """Print which points of exercise `name` the answer meets.

    Parameters
    ----------
    name : str
        Chapter and letter, as the exercise's heading says: ``"05-a"``.
    answer : object
        The student's answer; ``...`` means not answered yet.
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
        When the course has no such exercise: a mistake in the chapter.
    """
    function = _find(name)
    if answer is ...:
        print(f"Exercise {name}: not answered yet. Replace the ... above and run this cell again.")
        return
    points = 0
    right = True
    try:
        for point in _points(function, answer, *context, **more):
            holds, sentence = point
            points += 1
            right &= bool(holds)
            print(f"{'✓' if holds else '✗'} {sentence}")
            if not holds and isinstance(point, Required):
                break
    except Exception as error:
        right = False
        print(f"✗ Your answer could not be checked: {_described(error)}")
    # A checker without any point does not accept an answer.
    print(f"Exercise {name}: {'solved.' if right and points else 'not solved yet.'}")


def gives_logits(network: keras.Model) -> Point:
    """Return the point that nothing follows the sum of a network's last layer."""
    last = getattr(network.layers[-1], "activation", None)
    return (
        getattr(last, "__name__", "") == "linear",
        "It gives a logit: no sigmoid or other function behind the last layer.",
    )


def _points(function: Callable, answer: Any, *context: Any, **more: Any) -> Iterator[Point]:
    # Annotations are text: the checkers' modules import annotations from __future__.
    if str(function.__annotations__.get("answer")).startswith("Callable"):
        yield Required(callable(answer), "It is a function.")
    yield from function(answer, *context, **more)


def _described(error: Exception) -> str:
    """Return an error's type and first line, without memory addresses, which change.

    The lines after the first (in NumPy's assertions, for example) may contain the answer.
    """
    lines = str(error).strip().splitlines()
    first = re.sub(r" at 0x[0-9a-f]+", "", lines[0]) if lines else "no further message"
    return f"{type(error).__name__}: {first}"


def _chapter_of(name: str) -> str:
    result = re.fullmatch(r"(\d\d)-[a-z]", name)
    if not result:
        raise ValueError(f"{name!r} is not the name of an exercise; they look like '05-a'.")
    return result[1]


def _load(chapter: str) -> None:
    module = f"helpers.exercises.chapter_{chapter}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that the checker itself needs and does not find is another error.
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
