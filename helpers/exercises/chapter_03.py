"""The checkers of the exercises of chapter 03."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from helpers.exercises.checking import Point, checker, sealed


@checker("03-a")
def plan(answer: Sequence[int]) -> Iterator[Point]:
    """Check the common class size and the copies of each image, for 757 and 103 images."""
    numbers = list(answer)
    yield len(numbers) == 3, "It has three numbers."
    size, fewest, most = numbers
    whole = all(isinstance(number, int | np.integer) for number in numbers)
    yield whole, "All three are whole numbers: nobody can make half a copy."
    if size in (757, 103):
        yield False, "Both classes change: the goal is neither of the two old sizes."
    yield (
        sealed("03-a", size) == "4e4f5a70f569",
        "As many images of `all` are left out as copies of `hem` are added.",
    )
    if fewest * 103 > size - 103 and fewest * 103 <= size:
        yield False, "You seem to count the originals as well: count only the copies of an image."
    yield (
        sealed("03-a", size, fewest) == "7044e028cd23",
        "With the fewest copies for each of the 103 images there are not more copies than are "
        "needed; with one more for each there are too many.",
    )
    yield most - fewest == 1, "The numbers of copies of two images differ by at most one."


@checker("03-b")
def growth(answer: Callable[[int, int], float]) -> Iterator[Point]:
    """Check how much class weights change the intercept."""
    yield abs(float(answer(50, 50))) < 1e-9, "Classes of equal size leave the intercept unchanged."
    rare, frequent = float(answer(10, 90)), float(answer(90, 10))
    yield (
        rare > 0,
        "Where positives are rare, class weights raise the intercept (mind the sign).",
    )
    yield abs(rare + frequent) < 1e-9, "Exchanged classes change the sign."
    right = _as_fitted(answer, 10, 90) and _as_fitted(answer, 196, 443)
    yield (
        right,
        "The new intercept makes the odds even. (It is about odds, not about shares, "
        "and about the natural logarithm.)",
    )


def _as_fitted(answer: Callable[[int, int], float], positive: int, negative: int) -> bool:
    """Say whether two fits, without and with class weights, differ by the answer."""
    from sklearn.linear_model import LogisticRegression

    truth = np.repeat([1, 0], (positive, negative))
    plain, weighted = (
        LogisticRegression(class_weight=weights, tol=1e-8).fit(np.zeros((len(truth), 1)), truth)
        for weights in (None, "balanced")
    )
    moved = plain.intercept_[0] + float(answer(positive, negative))
    return bool(np.isclose(moved, weighted.intercept_[0], atol=1e-3))


@checker("03-c")
def one_sided(answer: Callable[[pd.DataFrame], set[str]]) -> Iterator[Point]:
    """Check a function from a table to the transforms that some classes lack."""
    table = pd.DataFrame(
        [
            *(("a", name) for name in ("identity", "identity", "rot90", "blur")),
            *(("b", name) for name in ("identity", "rot90", "rot90")),
        ],
        columns=["label", "transform"],
    )
    found = answer(table.copy())
    yield isinstance(found, set | frozenset), "It returns a set."
    yield (
        "identity" not in found,
        "What every class has is not in the set, `identity` for example.",
    )
    yield "blur" in found, "A transform of one class only is in the set."
    yield "rot90" not in found, "What both classes have is not in the set, in whatever numbers."
    swapped = table.assign(label=table["label"].map({"a": "b", "b": "a"}))
    yield set(answer(swapped)) == set(found), "The order of the classes does not matter."
    third = pd.DataFrame({"label": ["c", "c"], "transform": ["identity", "blur"]})
    three = pd.concat([table, third], ignore_index=True)
    yield (
        set(answer(three)) == {"blur", "rot90"},
        "With three classes, a transform that two of them have is in the set, too.",
    )
    fair = table[table["transform"] != "blur"]
    yield len(answer(fair)) == 0, "Where all classes have the same transforms, the set is empty."
