"""The checkers of the exercises of chapter 05."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Network, Point, checker


@checker("05-a")
def smaller_dense(answer: int) -> Iterator[Point]:
    """Check how many parameters are saved when the dense layer has 128 units, not 256."""
    number = operator.index(answer)
    units = 128
    weights = units * 5 * 5 * 256
    yield number > 0, "It is the number of parameters that are saved, above 0."
    yield number != 2 * weights, "Only half of the units are removed."
    yield number >= weights, "All weights into the removed units are counted."
    yield number != weights, "A removed unit also has a bias and a weight to the next layer."
    right = number == weights + 2 * units
    yield right, "The sum is right: weights before, biases, weights after."


@checker("05-b")
def own_predictor(answer: Callable) -> Iterator[Point]:
    """Check a function from model, raw image and threshold to a class."""
    image = np.full((8, 8, 3), 200, dtype=np.uint8)
    sure = Network(lambda _: 0.9)
    got = answer(sure, image, 0.5)
    yield got in ("positive", "negative"), 'It returns "positive" or "negative".'
    shapes = [batch.shape for batch in sure.seen]
    yield shapes == [(1, 8, 8, 3)], "The network gets a batch of one image."
    yield got == "positive", "A score of 0.9 is positive at a threshold of 0.5."
    yield (answer(Network(lambda _: 0.1), image, 0.5) == "negative", "A score of 0.1 is negative.")
    yield answer(sure, image, 0.95) == "negative", "The given threshold is used."
    yield (answer(Network(lambda _: 0.5), image, 0.5) == "positive", "An equal score is positive.")
    bright = Network(lambda image: float(image.mean()) / 255)
    yield answer(bright, image, 0.5) == "positive", "The network gets the original brightness."


@checker("05-c")
def early_stopping(answer: Callable) -> Iterator[Point]:
    """Check a function from losses and patience to the best and the last epoch."""
    cases = (
        ("a loss that always falls is trained to its end", [3, 2, 1], 2, (3, 3)),
        ("it stops when patience runs out", [3, 2, 2.5, 2.6, 1], 2, (2, 4)),
        ("one bad epoch is forgiven with patience 2", [3, 2, 2.5, 1, 1.5], 2, (4, 5)),
        ("an equal loss is not an improvement", [2, 2, 2, 1], 2, (1, 3)),
        ("with patience 1 the first bad epoch is the last", [1, 2, 0.5], 1, (1, 2)),
        ("a single epoch is best and last", [1.0], 3, (1, 1)),
    )
    for sentence, losses, patience, expected in cases:
        result = answer(list(losses), patience)
        right = np.size(result) == 2 and tuple(int(value) for value in result) == expected
        yield right, f"It is right: {sentence}."
