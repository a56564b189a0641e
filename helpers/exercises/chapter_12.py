"""The checkers of the exercises of chapter 12."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, Required, checker


@checker("12-a")
def epochs_of_iterations(answer: Callable) -> Iterator[Point]:
    """Check a function that converts iterations to passes through the training images."""
    cases = (
        ("with nothing set aside, batches of all images are epochs", (7, 50, 50, 0.0), 7.0),
        ("half a pass is half an epoch", (1, 25, 50, 0.0), 0.5),
        ("images that are set aside are not counted", (10, 16, 200, 0.2), 1.0),
        ("the number of training images is rounded down", (100, 9, 101, 0.1), 10.0),
        ("rounding errors do not cost an image", (100, 7, 10, 0.3), 100.0),
        ("the numbers of the paper are reproduced", (1000, 32, 424, 0.2), 32000 / 339),
    )
    for sentence, case, expected in cases:
        yield np.isclose(answer(*case), expected), f"It is right: {sentence}."


@checker("12-b")
def permutation_p_value(answer: Callable) -> Iterator[Point]:
    """Check a function that computes a p-value from the results with shuffled labels."""
    cases = (
        (
            "a result that is never reached by chance does not give 0",
            0.9,
            [0.5, 0.4, 0.6, 0.5],
            1 / 5,
        ),
        ("a result below all others gives 1", 0.3, [0.5, 0.4, 0.6], 1.0),
        ("an equal result counts as at least as high", 0.5, [0.5, 0.4, 0.6, 0.5], 4 / 5),
        ("more shuffles allow smaller p-values", 0.9, [0.5] * 99, 0.01),
    )
    for sentence, own, shuffled, expected in cases:
        right = all(
            np.isclose(answer(own, given), expected) for given in (shuffled, np.array(shuffled))
        )
        yield right, f"It is right: {sentence}."


@checker("12-c")
def colour_only(answer: Callable) -> Iterator[Point]:
    """Check a function from pictures, labels and groups to a balanced accuracy."""
    rng = np.random.default_rng(12)
    per_group, groups = 5, 24
    of = np.repeat(np.arange(groups), per_group)
    labels = (of % 2).astype(int)
    noise = rng.normal(0, 6, (len(of), 6, 6, 3))

    def shot(tint: np.ndarray) -> np.ndarray:
        pictures = 190 + tint[:, None, None, :] + noise
        return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)

    two = np.zeros((len(of), 3))
    two[:, 0], two[:, 2] = 9 * (2 * labels - 1), -9 * (2 * labels - 1)
    own = rng.normal(0, 14, (groups, 3))[of]  # each group has its own light, for any class
    names = np.array([f"field_{number}" for number in of])
    order = rng.permutation(len(of))
    result = {}
    for name, tint in (("two", two), ("own", own), ("none", np.zeros((len(of), 3)))):
        pictures, truth, group = shot(tint)[order], labels[order], names[order]
        before = pictures.copy()
        result[name] = float(answer(pictures, truth, group))
        if name == "two":
            yield np.array_equal(pictures, before), "The pictures that it was given are unchanged."
    yield all(0 <= value <= 1 for value in result.values()), "It gives a share from 0 to 1."
    yield result["two"] > 0.95, "It detects two lamps, one for each class."
    yield result["none"] < 0.68, "It finds nothing where the colours do not differ."
    yield result["own"] < 0.75, "It is not misled when each group has its own light."
    # Nine pictures of one class to one of the other, no colour: saying the frequent class is 0.5.
    rare = np.flatnonzero((labels[order] == 0) | (of[order] < 4))
    value = float(
        answer(shot(np.zeros((len(of), 3)))[order][rare], labels[order][rare], names[order][rare])
    )
    yield value < 0.75, "With unequal classes, a constant answer gives one half."


@checker("12-d")
def lay_out(answer: Callable) -> Iterator[Point]:
    """Check a function from rows of numbers and a mask to squares of the kept numbers."""
    numbers = np.arange(1, 37, dtype=np.uint8).reshape(3, 12)
    keep = np.array([1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0], dtype=bool)  # five of them
    before = numbers.copy()
    result = np.asarray(answer(numbers, keep))
    yield Required(result.shape == (3, 3, 3), "Five numbers lie on a square of three by three.")
    yield result.dtype == np.uint8, "The type of the numbers is kept."
    yield np.array_equal(numbers, before), "The numbers that it was given are unchanged."
    rows = result.reshape(3, -1)
    yield np.array_equal(rows[:, :5], numbers[:, keep]), "They lie row by row, in their order."
    yield not rows[:, 5:].any(), "The rest of the square is filled with zeros."
    full = np.asarray(answer(numbers, np.arange(12) < 9))
    yield full.shape == (3, 3, 3), "Nine numbers fill a square of three by three."
    one = np.asarray(answer(numbers, np.arange(12) == 4))
    yield one.shape == (3, 1, 1), "One number is a square as well."
