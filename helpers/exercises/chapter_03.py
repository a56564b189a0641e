"""The checkers of the exercises of chapter 03."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from helpers.exercises.checking import Point, Required, checker


@checker("03-a")
def plan(answer: Sequence[int]) -> Iterator[Point]:
    """Check the common class size and the copies of each image, for 757 and 103 images."""
    numbers = list(answer)
    yield Required(len(numbers) == 3, "It has three numbers.")
    yield numbers[0] == (757 + 103) // 2, "Both classes get the mean of their sizes."
    yield (
        sum(numbers[1:]) > 0 and numbers[1] <= (numbers[0] - 103) / 103 <= numbers[2],
        "The mean number of copies of an image lies between the smallest and the largest number.",
    )
    yield numbers[2] - numbers[1] == 1, "The numbers of copies of two images differ by at most one."


@checker("03-b")
def growth(answer: Callable[[int, int], float]) -> Iterator[Point]:
    """Check how much balancing changes the intercept."""
    yield abs(float(answer(50, 50))) < 1e-9, "Classes of equal size leave the intercept unchanged."
    rare, frequent = float(answer(10, 90)), float(answer(90, 10))
    yield rare > 0, "Where positives are rare, balancing raises the intercept."
    yield abs(rare + frequent) < 1e-9, "Exchanged classes change the sign."
    yield (
        math.isclose(float(answer(1964, 4432)), math.log(4432 / 1964), rel_tol=1e-3),
        "The value is right for 1964 positive and 4432 negative images.",
    )


@checker("03-c")
def threshold(answer: float) -> Iterator[Point]:
    """Check the best threshold when a miss costs five times as much as a false alarm."""
    number = float(answer)
    yield 0 < number < 1, "It is a probability between 0 and 1."
    yield number < 0.5, "A miss costs more than a false alarm, so the threshold is below one half."
    alarm, silence = 1 - number, 5 * number  # mean costs where a blast has this probability
    yield alarm <= silence + 0.02, "At this probability, an alarm costs no more than silence."
    yield silence <= alarm + 0.02, "Below this probability, silence costs no more than an alarm."
