"""The checkers of the exercises of chapter 21."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pandas as pd

from helpers.exercises.checking import Hint, Point, checker


@checker("21-a")
def a_new_warning(answer: Callable) -> Iterator[Point]:
    """Check a function that says whether the colours of a cell are unusual."""
    rng = np.random.default_rng(21)
    usual = np.array([150, 90, 170])
    known = rng.normal(usual, 5, (400, 3))
    known[7] = 225, 170, 240  # one cell of another stain
    crop = _disc(usual)
    before = crop.copy(), known.copy()
    result = answer(crop, known)
    yield isinstance(result, bool | np.bool_), "It returns True or False."
    kept = np.array_equal(crop, before[0]) and np.array_equal(known, before[1])
    yield kept, "The arrays that it was given are unchanged."
    yield (
        not result,
        "A cell of the usual colours gets no warning: the black ground does not count.",
    )
    small = answer(_disc(usual, radius=9), known)
    yield not small, "Nor does a small cell."
    speckled = _disc(usual)
    speckled[:, :20] = 8
    yield not answer(speckled, known), "Ground that is nearly black does not count either."
    yield answer(np.zeros_like(crop), known), "A black picture gets a warning."
    alone = answer(_disc((218, 160, 230)), known)
    yield alone, "One odd cell in `known` does not widen the range: take the percentiles."
    swapped = answer(_disc(usual[::-1]), known)
    yield (
        swapped,
        "Red and blue swapped: a warning. One colour is enough, and each has its own range.",
    )
    for name, shift in (("red", (40, 0, 0)), ("green", (0, 40, 0)), ("blue", (0, 0, 40))):
        both = [answer(_disc(usual + sign * np.array(shift)), known) for sign in (1, -1)]
        yield all(both), f"One colour is enough: too much or too little {name} gives a warning."


def _disc(colour: tuple | np.ndarray, radius: int = 30) -> np.ndarray:
    """Return a disc of one colour on black, uint8, shape (96, 96, 3)."""
    picture = np.zeros((96, 96, 3), np.uint8)
    cv2.circle(picture, (52, 48), radius, [int(value) for value in colour], -1)
    return picture


#: Probabilities of the cells of each subject; whose call changes from 0.5 to 0.65.
_SUBJECTS = {
    "p12": (0.9, 0.8, 0.7, 0.6, 0.2),  # a cell changes, the person does not
    "p07": (0.6, 0.6, 0.1),
    "p03": (0.5, 0.1),  # just half, just the threshold
    "p01": (0.1, 0.2, 0.3, 0.05, 0.1, 0.2),
    "p09": (0.65, 0.65),
    "p05": (0.95, 0.95, 0.4, 0.4, 0.4),  # the mean says otherwise
}
_AFFECTED = ["p03", "p07"]


@checker("21-b")
def who_is_affected(answer: Callable) -> Iterator[Point]:
    """Check which subjects are called otherwise under another threshold."""
    rows = [(subject, one) for subject, each in _SUBJECTS.items() for one in each]
    results = pd.DataFrame(rows, columns=["subject", "probability"])
    results = results.sample(frac=1, random_state=21)
    before = results.copy()

    def named(*thresholds: float) -> list:
        found = answer(results.copy(), *thresholds)
        sequence = isinstance(found, tuple | np.ndarray | pd.Series | pd.Index)
        return list(found) if sequence else found

    found = named(0.5, 0.65)
    listed = isinstance(found, list) and all(isinstance(one, str) for one in found)
    yield listed, "It returns a list of subjects."
    yield "p01" not in found, "A person whose cells are all below both thresholds is not named."
    yield (
        "p05" not in found,
        "Count cells: a mean of probabilities is another rule, and names another person.",
    )
    changed = "p12" not in found
    yield changed, "A person of whom a single cell changes is not named if most others stay."
    yield "p07" in found, "A person with most cells above only one of the thresholds is named."
    yield "p03" in found, "Half of the cells is enough, and a cell just at the threshold counts."
    yield "p09" not in found, "Cells just at the new threshold are still positive."
    yield found == sorted(found), "The list is sorted."
    whole = named(0.65, 0.5) == found == _AFFECTED
    yield whole, "From the new threshold back to the old one, the same people change."
    yield named(0.5, 0.5) == [], "Nobody changes if the threshold stays."
    given = results.copy()
    answer(given, 0.5, 0.65)
    yield given.equals(before), "The table that it was given is unchanged."


@checker("21-c")
def where_it_fails(answer: Callable[[pd.DataFrame], str | None]) -> Iterator[Point]:
    """Check which subject is named in tables with one, with none, and with doubtful failures."""
    fine = {"a": (36, 40, 0), "b": (38, 40, 0)}
    found = answer(_verdicts({**fine, "many": (20, 60, 0), "large": (340, 400, 0)}))
    yield found is None or isinstance(found, str), "It returns a subject, or None."
    yield Hint(
        found != "large", "Many wrong cells among very many prove little: you seem to count them."
    )
    yield found == "many", "The subject of whom 40 of 60 cells are wrong is found."
    found = answer(_verdicts({**fine, "few": (0, 2, 0), "many": (20, 60, 0)}))
    yield (
        found == "many",
        "A subject with two cells, both wrong, proves less. You should not take the lowest "
        "accuracy, nor the lowest lower limit.",
    )
    found = answer(_verdicts({**fine, "doubt": (30, 32, 90), "many": (20, 60, 0)}))
    yield found == "many", "Cells of which the reader is unsure do not count as wrong."
    even = answer(_verdicts({name: (18, 20, 0) for name in "abcd"})) is None
    yield even, "Where all subjects are alike, the answer is None."
    doubtful = answer(_verdicts({**fine, "doubt": (30, 32, 90)})) is None
    yield doubtful, "Nor do unsure cells make a subject fail whose other cells are right."
    yield answer(_verdicts({"a": (0, 0, 5)})) is None, "With no verdict at all, it is None."


def _verdicts(counts: dict[str, tuple[int, int, int]]) -> pd.DataFrame:
    """Return a row for each cell, from (right, sure, unsure) of each subject, in mixed order."""
    rows = []
    for subject, (right, sure, unsure) in counts.items():
        truths = ["ill" if number % 3 else "well" for number in range(sure)]
        for number, truth in enumerate(truths):
            other = "well" if truth == "ill" else "ill"
            rows.append((subject, truth if number < right else other, truth))
        rows += [(subject, "ill", "")] * unsure
    table = pd.DataFrame(rows, columns=["subject", "answer", "verdict"])
    return table.sample(frac=1, random_state=21)
