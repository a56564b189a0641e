"""Checks of exercises: they say what is right and what to look at, never the answer.

The checkers are in ``helpers.exercises``, one module per chapter: a page shows the question,
but not how its answer is checked.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

_FEW = 6  # calls; more of them are not listed

#: What a checker yields: whether a point holds, one sentence about it, and perhaps what the
#: function must return where it was called last.
Point = tuple[bool, str] | tuple[bool, str, Any]


class Hint(NamedTuple):
    """A point about one mistake: who did not make it is not told, for much else may be wrong."""

    holds: bool
    sentence: str


class _Scores(np.ndarray):
    """Scores as `Network` gives them: an array that also has the method of a tensor."""

    def numpy(self) -> np.ndarray:
        """Return the plain array."""
        return np.asarray(self)


class Network:
    """A stand-in for a network: its score is a function of the image; `seen` has its batches."""

    def __init__(self, score: Callable[[np.ndarray], float]) -> None:
        self.score = score
        self.seen: list[np.ndarray] = []

    def predict(self, batch: np.ndarray, *_: object, **__: object) -> np.ndarray:
        """Return the scores of the images of a batch, float32, shape (n, 1)."""
        self.seen.append(np.asarray(batch))
        scores = np.array([[self.score(image)] for image in self.seen[-1]], dtype=np.float32)
        return scores.view(_Scores)

    __call__ = predict_on_batch = predict


class _Refused(Exception):
    """An answer with which no point can be checked; the text says why."""


class _Tried:
    """A student's function, as a checker calls it: it knows its last calls.

    Parameters
    ----------
    function : callable
        The answer.
    may_be_none : bool
        Whether None can be a right result.

    Attributes
    ----------
    calls : dict of str to str
        The calls of the last point that needed any, each with what it returned.
    point_is_told : bool
        Whether the next call belongs to a new point.
    """

    def __init__(self, function: Callable, may_be_none: bool) -> None:
        self.function, self.may_be_none = function, may_be_none
        self.call = self.result = ""
        self.calls: dict[str, str] = {}
        self.point_is_told = False
        self.error: Exception | None = None

    def __call__(self, *given: Any, **more: Any) -> Any:
        """Call it."""
        arguments = [_shown(one) for one in given]
        arguments += [f"{name}={_shown(one)}" for name, one in more.items()]
        self.call, self.result, self.error = f"answer({', '.join(arguments)})", "", None
        try:
            inspect.signature(self.function).bind(*given, **more)
        except TypeError as error:
            raise _Refused(f"It is called as {self.call}, and that fails: {error}.") from None
        except ValueError:  # a function of C has no signature that one can read
            pass
        try:
            result = self.function(*given, **more)
        except Exception as error:
            self.error = error
            raise
        if self.point_is_told:
            self.calls, self.point_is_told = {}, False
        self.result = self.calls[self.call] = _shown(result)
        if (result is None and not self.may_be_none) or result is NotImplemented or result is ...:
            raise _Refused(f"{self.call} returned {self.result}: is a `return` missing?")
        return result


def _shown(value: Any) -> str:
    """Return a value in a few words, which are the same on every run."""
    kind, array = type(value).__name__, hasattr(value, "__array__")
    if kind == "float":
        text = f"{value:.6g}"
        return f"{text}.0" if text.lstrip("-").isdigit() else text
    if kind == "DataFrame":
        return f"a table of {len(value)} rows"
    if array and np.size(value) > 8:
        return f"an array of shape {np.shape(value)}"
    if array and not isinstance(value, type):
        plain = np.asarray(value).tolist()
        return f"array({_shown(plain)})" if np.ndim(value) or kind == "ndarray" else _shown(plain)
    if kind in ("list", "tuple"):
        inside = ", ".join([*map(_shown, value[:9]), *["..."] * (len(value) > 9)])
        text = f"[{inside}]" if kind == "list" else f"({inside})"
    elif kind in ("set", "frozenset"):
        text = f"{{{', '.join(sorted(map(_shown, value)))}}}" if value else f"{kind}()"
    elif kind == "dict":
        text = f"{{{', '.join(f'{key!r}: {_shown(one)}' for key, one in value.items())}}}"
    else:
        text = " ".join(repr(value).split())
    if isinstance(value, PurePath) or re.search(r"^<| at 0x", text):
        return f"an {kind}" if kind[0] in "aeiouAEIOU" else f"a {kind}"
    return text if len(text) <= 120 else f"{text[:120]}..."


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
    yields its points in the order in which a student should look at them. Where its parameter
    `answer` is annotated as ``Callable``, *It is a function.* is the first one, and None is no
    result, unless the annotation names it.

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
    The first point that does not hold is the last one that is looked at: one mistake shall not
    look like many. The last line printed is one of three: *solved.*, *not solved yet.* and
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
    # Annotations are text: the checkers' modules import annotations from __future__.
    kind = str(function.__annotations__.get("answer"))
    tried = (
        _Tried(answer, "None" in kind) if kind.startswith("Callable") and callable(answer) else None
    )
    points, missed = 0, ""
    try:
        if answer is None or answer is NotImplemented:
            raise _Refused(f"The answer is {answer}: is a value or a `return` missing?")
        if kind.startswith("Callable"):
            if not tried:
                raise _Refused("It is a function.")
            print("✓ It is a function.")
        for point in function(tried or answer, *context, **more):
            if tried:
                tried.point_is_told = True
            holds, sentence, *expected = point
            if holds and isinstance(point, Hint):
                continue
            points += 1
            if not holds:
                missed = sentence + _what_came(tried, *expected)
                break
            print(f"✓ {sentence}")
    except _Refused as error:
        missed = str(error)
    except Exception as error:
        missed = _unchecked(error, answer, tried)
    if missed:
        print(f"✗ {missed}")
    # A checker without any point does not accept an answer.
    print(f"Exercise {name}: {'solved.' if points and not missed else 'not solved yet.'}")


def whole(number: Any) -> int:
    """Return a whole number, of whatever type it is.

    Raises
    ------
    ValueError
        When it is no whole number.
    """
    if int(number) != number:
        raise ValueError(f"{_shown(number)} is no whole number")
    return int(number)


def gives_logits(network: keras.Model) -> Point:
    """Return the point that nothing follows the sum of a network's last layer."""
    last = getattr(network.layers[-1], "activation", None)
    return (
        getattr(last, "__name__", "") == "linear",
        "It gives a logit: no sigmoid or other function behind the last layer.",
    )


def _what_came(tried: _Tried | None, *expected: Any) -> str:
    """Return what was tried for a point, what came and what was expected."""
    calls = tried.calls if tried else {}
    if not calls:
        return ""
    if 1 < len(calls) <= _FEW and not expected:  # which of them is wrong only the checker knows
        return "".join(f"\n  {call} returned {result}." for call, result in calls.items())
    first = "Tried" if expected or len(calls) == 1 else f"The last of {len(calls)} calls"
    wanted = "".join(f" Expected: {_shown(one)}." for one in expected)
    call, result = list(calls.items())[-1]
    return f" {first}: {call}. It returned: {result}.{wanted}"


def _unchecked(error: Exception, answer: Any, tried: _Tried | None) -> str:
    """Return in sentences why an answer made its checker fail."""
    text = f"Your answer could not be checked: {_described(error)}."
    if tried and error is tried.error:
        return f"{text} Your function raised this in {tried.call}."
    what = f"{tried.call} returned {tried.result}" if tried else f"It is {_shown(answer)}"
    return f"{text} {what}: is that the kind of value that the exercise asks for?"


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
