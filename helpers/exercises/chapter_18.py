"""The checkers of the exercises of chapter 18."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from helpers.exercises.checking import Hint, Point, checker


@checker("18-a")
def contrast_inside(answer: Callable) -> Iterator[Point]:
    """Check a function from grey levels and a mask to the contrast of neighbours inside it."""
    grey = np.array([[10, 20, 90], [200, 190, 5]], np.uint8)
    mask = np.array([[True, True, False], [True, True, False]])
    result = float(answer(grey, mask))
    yield Hint(
        not math.isclose(result, (100 + 246**2) / 2),
        "The differences can be negative, unlike uint8.",
    )
    other = grey.copy()
    other[:, 2] = 255
    yield math.isclose(float(answer(other, mask)), result), "Pixels outside have no influence."
    gap = np.array([[True, False, True], [True, True, False]])
    yield math.isclose(float(answer(grey, gap)), result), "Pixels beside a gap are not neighbours."
    yield math.isclose(result, 100), "The differences of neighbours are squared."
    alone = np.eye(3, dtype=bool)
    yield math.isnan(float(answer(np.zeros((3, 3), np.uint8), alone))), "No pairs give NaN."
    rng = np.random.default_rng(5)
    grey, mask = rng.integers(0, 127, (30, 20)).astype(np.uint8), rng.random((30, 20)) < 0.6
    found = float(answer(grey, mask))
    alike = (grey[:, ::-1], mask[:, ::-1]), (grey[::-1], mask[::-1]), (255 - grey, mask)
    same = all(math.isclose(float(answer(*one)), found, rel_tol=1e-6) for one in alike)
    yield same, "A mirrored image and a negative have the same contrast."
    order = rng.permutation(30)
    moved = math.isclose(float(answer(grey[order], mask[order])), found, rel_tol=1e-6)
    yield moved, "Only neighbours in a row count: rows in another order change nothing."
    twice = math.isclose(float(answer(2 * grey, mask)), 4 * found, rel_tol=1e-6)
    yield twice, "Differences that are twice as large count four times."
    small = np.array([[3, 7, 7, 0, 9], [5, 5, 1, 8, 0], [2, 6, 4, 4, 4]], np.uint8)
    ragged = np.array([[1, 1, 1, 0, 1], [0, 1, 1, 1, 0], [1, 0, 1, 1, 1]], bool)
    right = math.isclose(float(answer(small, ragged)), 13.5)
    yield right, "It is right on a mask of any shape: each pair counts once."


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
    yield shapes, "The result has the training and the test images, in their shapes."
    others = [0, 1, 3]
    with np.errstate(all="ignore"):  # rows of which we know what becomes of them
        known = np.asarray(answer(train, 3 * train[:20] - 2 * train[20:40])[1], float)
    wanted = 3 * ours[:20] - 2 * ours[20:40]
    right = np.allclose(known[:, others], wanted[:, others])
    yield right, "The test images are shifted and scaled by the same numbers."
    centred = np.allclose(ours[:, others].mean(axis=0), 0)
    yield centred, "Each feature has mean 0 on the training images."
    # Divided by n, as NumPy does, or by n - 1, as pandas does.
    spread = any(np.allclose(ours[:, others].std(axis=0, ddof=less), 1) for less in (0, 1))
    yield spread, "Each feature has standard deviation 1 on them."
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
        two = (
            isinstance(got, tuple | list | set | frozenset | np.ndarray | pd.Index | pd.Series)
            and len(set(got)) == 2
            and set(got) <= set(names)
        )
        yield two, "It returns the names of two different columns."
        yield numbers.equals(before), "The table that it was given is unchanged."
        yield (
            good[2] not in set(got),
            "A feature that only names the person does not win: cut the folds by subject, "
            "GroupKFold(5) with groups=subjects.",
        )
        yield (
            good[3] not in set(got),
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
