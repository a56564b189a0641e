"""What the answers of chapter 06 are held against."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("06-a")
def smaller_dense(answer: int, *_: object) -> Iterator[Point]:
    """Check how many parameters go when the dense layer shrinks from 256 to 128 units."""
    number = operator.index(answer)
    incoming, less = 5 * 5 * 256, 128
    yield number > 0, "It is how many parameters go, a number above 0."
    yield number != 2 * less * incoming, "Half of the units are left."
    yield number >= less * incoming, "All weights into the units that go are counted."
    yield number != less * incoming, "A unit also has a bias, and a weight to the layer after it."
    yield number == less * (incoming + 2), "Weights before, biases and weights after add up."


class _Fake:
    """Stands in for a network: its score is a function of the image it is given."""

    def __init__(self, score: Callable[[np.ndarray], float]):
        self.score = score
        self.shapes: list[tuple] = []

    def predict(self, batch: np.ndarray, **_: object) -> np.ndarray:
        batch = np.asarray(batch)
        self.shapes.append(batch.shape)
        return np.array([[self.score(image)] for image in batch], dtype=np.float32)

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        return self.predict(batch)

    def __call__(self, batch: np.ndarray, **_: object) -> np.ndarray:
        return self.predict(batch)


@checker("06-b")
def own_predictor(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from model, raw image and threshold to a class."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    image = np.full((8, 8, 3), 200, dtype=np.uint8)
    sure = _Fake(lambda _: 0.9)
    got = answer(sure, image, 0.5)
    yield got in ("positive", "negative"), 'It returns "positive" or "negative".'
    yield sure.shapes == [(1, 8, 8, 3)], "The network gets a batch of one image."
    yield got == "positive", "A score of 0.9 is positive at a threshold of 0.5."
    yield answer(_Fake(lambda _: 0.1), image, 0.5) == "negative", "A score of 0.1 is negative."
    yield answer(sure, image, 0.95) == "negative", "The threshold is the one that was given."
    yield answer(_Fake(lambda _: 0.5), image, 0.5) == "positive", "A score at it is positive."
    bright = _Fake(lambda image: float(image.mean()) / 255)
    yield answer(bright, image, 0.5) == "positive", "The network gets the image as bright as it is."


@checker("06-c")
def early_stopping(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from losses and patience to the best and the last epoch."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    cases = (
        ("a loss that always falls is trained to its end", [3, 2, 1], 2, (3, 3)),
        ("it stops when patience runs out", [3, 2, 2.5, 2.6, 1], 2, (2, 4)),
        ("one bad epoch is forgiven with patience 2", [3, 2, 2.5, 1, 1.5], 2, (4, 5)),
        ("an equal loss is no better one", [2, 2, 2, 1], 2, (1, 3)),
        ("with patience 1 the first bad epoch is the last", [1, 2, 0.5], 1, (1, 2)),
        ("a single epoch is best and last", [1.0], 3, (1, 1)),
    )
    for sentence, losses, patience, expected in cases:
        found = answer(list(losses), patience)
        right = np.size(found) == 2 and tuple(int(value) for value in found) == expected
        yield right, f"It is right: {sentence}."
