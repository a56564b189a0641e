"""The checkers of the exercises of chapter 18."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from helpers.exercises.checking import Point, Required, checker


@checker("18-a")
def contrast_inside(answer: Callable) -> Iterator[Point]:
    """Check a function from grey levels and a mask to the contrast of neighbours inside it."""
    grey = np.array([[10, 20, 90], [200, 190, 5]], np.uint8)
    mask = np.array([[True, True, False], [True, True, False]])
    result = float(answer(grey, mask))
    yield (
        not math.isclose(result, (100 + 246**2) / 2),
        "The differences can be negative, unlike uint8.",
    )
    yield math.isclose(result, 100), "The differences of neighbours are squared."
    other = grey.copy()
    other[:, 2] = 255
    yield math.isclose(float(answer(other, mask)), result), "Pixels outside have no influence."
    gap = np.array([[True, False, True], [True, True, False]])
    yield math.isclose(float(answer(grey, gap)), 100), "Pixels beside a gap are not neighbours."
    alone = np.eye(3, dtype=bool)
    yield math.isnan(float(answer(np.zeros((3, 3), np.uint8), alone))), "No pairs give NaN."
    rng = np.random.default_rng(5)
    grey, mask = rng.integers(0, 256, (30, 20)).astype(np.uint8), rng.random((30, 20)) < 0.6
    pairs = [
        (int(grey[y, x]) - int(grey[y, x + 1])) ** 2
        for y in range(30)
        for x in range(19)
        if mask[y, x] and mask[y, x + 1]
    ]
    right = math.isclose(float(answer(grey, mask)), float(np.mean(pairs)), rel_tol=1e-6)
    yield right, "It is right on a mask of any shape."


@checker("18-b")
def standardise_without_leak(answer: Callable) -> Iterator[Point]:
    """Check a function that standardises features with the training rows alone."""
    rng = np.random.default_rng(5)
    train, test = rng.normal(5, 3, (50, 4)), rng.normal(7, 2, (20, 4))
    train[:, 2] = 4.0
    before = train.copy(), test.copy()
    with np.errstate(all="ignore"):
        ours, theirs = (np.asarray(part, float) for part in answer(train, test))
    kept = np.array_equal(train, before[0]) and np.array_equal(test, before[1])
    yield kept, "The arrays that it was given are unchanged."
    shapes = ours.shape == train.shape and theirs.shape == test.shape
    yield Required(shapes, "The result has the training and the test images, in their shapes.")
    others = [0, 1, 3]
    centred = np.allclose(ours[:, others].mean(axis=0), 0)
    yield centred, "Each feature has mean 0 on the training images."
    yield np.allclose(ours[:, others].std(axis=0), 1), "Each feature has deviation 1 on them."
    expected = (test - train.mean(axis=0)) / train.std(axis=0).clip(1e-300)
    right = np.allclose(theirs[:, others], expected[:, others])
    yield right, "The test images are shifted and scaled by the same numbers."
    yield np.allclose(ours[:, 2], 0), "A constant feature becomes 0 on the training images."
    yield np.allclose(theirs[:, 2], test[:, 2] - 4), "For the test images it is only shifted."
    marked = test.copy()
    marked[3] = 1e6
    with np.errstate(all="ignore"):
        again, _ = answer(train, marked)
    yield np.allclose(again, ours), "An extreme test image changes nothing for the training images."


@checker("18-c")
def pair_of_features(answer: Callable) -> Iterator[Point]:
    """Check a function from features, classes and subjects to the names of two columns."""
    for turn, names in enumerate((list("abcde"), ["width", "id", "grain", "hue", "depth"])):
        numbers, target, subjects, good = _planted(20 + turn, names)
        before = numbers.copy()
        got = answer(numbers, target, subjects)
        two = isinstance(got, tuple | list) and len(set(got)) == 2 and set(got) <= set(names)
        yield Required(two, "It returns the names of two different columns.")
        yield numbers.equals(before), "The table that it was given is unchanged."
        yield (
            good[2] not in got,
            "A feature that only names the person does not win: cut the folds by subject, "
            "GroupKFold(5) with groups=subjects.",
        )
        yield (
            good[3] not in got,
            "Pairs are judged together: the two best single features are not the best pair.",
        )
        yield set(got) == set(good[:2]), "The pair that separates the classes together is found."


def _planted(seed: int, names: list[str]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list]:
    """Return a table in which two features tell the class together, and neither of them alone.

    The third of the returned names tells the person, the fourth a little of the class.
    """
    rng = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(10), 20)
    target = subjects % 2
    common = rng.uniform(-2, 2, subjects.size)
    apart = np.where(target == 1, 0.45, -0.45)
    order = rng.permutation(len(names))
    columns = [
        common + apart / 2 + rng.normal(0, 0.3, subjects.size),
        common - apart / 2 + rng.normal(0, 0.3, subjects.size),
        rng.permutation(10)[subjects] + rng.normal(0, 0.02, subjects.size),
        0.5 * target + rng.normal(0, 1, subjects.size),
        rng.normal(0, 1, subjects.size),
    ]
    table = pd.DataFrame({names[place]: columns[place] for place in order})
    return table, target, subjects, names
