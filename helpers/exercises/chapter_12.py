"""What the answers of chapter 12 are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("12-a")
def epochs_of_iterations(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from iterations to passes through the training images."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    cases = (
        ("with nothing set aside, batches of all images are epochs", (7, 50, 50, 0.0), 7.0),
        ("half a pass is half an epoch", (1, 25, 50, 0.0), 0.5),
        ("what is set aside is not passed through", (10, 16, 200, 0.2), 1.0),
        ("the number of training images is rounded down", (100, 9, 101, 0.1), 10.0),
        ("a product that should be whole is not cut by one", (100, 7, 10, 0.3), 100.0),
        ("the paper's figures come out", (1000, 32, 424, 0.2), 32000 / 339),
    )
    for sentence, case, expected in cases:
        yield bool(np.isclose(answer(*case), expected)), f"It is right: {sentence}."


@checker("12-b")
def permutation_p_value(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from a figure and those of shuffled labels to a p-value."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    cases = (
        ("never beaten is still not 0", 0.9, [0.5, 0.4, 0.6, 0.5], 1 / 5),
        ("beaten by all is 1", 0.3, [0.5, 0.4, 0.6], 1.0),
        ("as high counts as beaten", 0.5, [0.5, 0.4, 0.6, 0.5], 4 / 5),
        ("the more shuffles, the smaller it can get", 0.9, [0.5] * 99, 0.01),
    )
    for sentence, own, shuffled, expected in cases:
        right = all(
            np.isclose(answer(own, given), expected) for given in (shuffled, np.array(shuffled))
        )
        yield bool(right), f"It is right: {sentence}."


@checker("12-c")
def colour_only(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from pictures, labels and groups to a balanced accuracy."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
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
    own = rng.normal(0, 14, (groups, 3))[of]  # each group its own light, whatever its class
    names = np.array([f"field_{number}" for number in of])
    order = rng.permutation(len(of))
    found = {}
    for name, tint in (("two", two), ("own", own), ("none", np.zeros((len(of), 3)))):
        pictures, truth, group = shot(tint)[order], labels[order], names[order]
        before = pictures.copy()
        found[name] = float(answer(pictures, truth, group))
        if name == "two":
            yield np.array_equal(pictures, before), "The pictures that it was given are unchanged."
    yield all(0 <= value <= 1 for value in found.values()), "It gives a share from 0 to 1."
    yield found["two"] > 0.95, "Two lamps, one for each class, are found out."
    yield found["none"] < 0.68, "Where there is no colour to find, it finds none."
    yield found["own"] < 0.75, "It is not fooled by groups that have a light of their own."
    # Nine pictures of one class to one of the other, no colour: saying the frequent class is 0.5.
    rare = np.flatnonzero((labels[order] == 0) | (of[order] < 4))
    value = float(
        answer(shot(np.zeros((len(of), 3)))[order][rare], labels[order][rare], names[order][rare])
    )
    yield value < 0.75, "With unequal classes, saying always the same gives one half."


@checker("12-d")
def lay_out(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from rows of numbers and a mask to squares of the kept numbers."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    numbers = np.arange(1, 37, dtype=np.uint8).reshape(3, 12)
    keep = np.array([1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0], dtype=bool)  # five of them
    before = numbers.copy()
    found = np.asarray(answer(numbers, keep))
    yield found.shape == (3, 3, 3), "Five numbers lie on a square of three by three."
    if found.shape != (3, 3, 3):
        return
    yield found.dtype == np.uint8, "The type of the numbers is kept."
    yield np.array_equal(numbers, before), "The numbers that it was given are unchanged."
    rows = found.reshape(3, -1)
    yield np.array_equal(rows[:, :5], numbers[:, keep]), "They lie row by row, in their order."
    yield not rows[:, 5:].any(), "After the last there are zeros."
    full = np.asarray(answer(numbers, np.arange(12) < 9))
    yield full.shape == (3, 3, 3), "Nine numbers fill a square of three by three."
    one = np.asarray(answer(numbers, np.arange(12) == 4))
    yield one.shape == (3, 1, 1), "One number is a square as well."
