"""What the answers of chapter 03 are held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from helpers.exercises.checking import Point, checker


@checker("03-a")
def plan(answer: Sequence[int], *_: object) -> Iterator[Point]:
    """Check the goal and the copies an image, for 757 and 103 images."""
    numbers = list(answer)
    yield len(numbers) == 3, "It has three numbers."
    if len(numbers) != 3:
        return
    goal = (757 + 103) // 2
    yield numbers[0] == goal, "The classes meet at the mean of their sizes."
    yield (
        sum(numbers[1:]) > 0 and numbers[1] <= (numbers[0] - 103) / 103 <= numbers[2],
        "The copies fill up the class: their mean an image lies between the least and the most.",
    )
    yield (
        numbers[2] - numbers[1] == 1,
        "No image gets a second copy before all have a first, nor a fourth before all have three.",
    )


@checker("03-b")
def growth(answer: Callable[[int, int], float], *_: object) -> Iterator[Point]:
    """Check by how much balancing moves the intercept."""
    yield callable(answer), "It is a function of two numbers."
    if not callable(answer):
        return
    yield abs(float(answer(50, 50))) < 1e-9, "Nothing moves where the classes are equal."
    yield float(answer(10, 90)) > 0, "Where positives are rare, balancing raises the intercept."
    yield (
        abs(float(answer(10, 90)) + float(answer(90, 10))) < 1e-9,
        "Exchanging the classes turns the sign round.",
    )
    yield (
        math.isclose(float(answer(1964, 4432)), math.log(4432 / 1964), rel_tol=1e-3),
        "It has the right size for 1964 positive and 4432 negative images.",
    )


@checker("03-c")
def threshold(answer: float, *_: object) -> Iterator[Point]:
    """Check the threshold at which an alarm costs as much as silence, one to five."""
    number = float(answer)
    yield 0 < number < 1, "It is a probability between 0 and 1."
    yield number < 0.5, "Misses are dearer than false alarms, so the alarm comes before one half."
    alarm, silence = 1 - number, 5 * number  # mean costs where a blast has this probability
    yield alarm <= silence + 0.02, "At this probability the alarm is no dearer than silence."
    yield silence <= alarm + 0.02, "Below it silence is no dearer than the alarm."
