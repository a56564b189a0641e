"""The checkers of the exercises of chapter 01."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from helpers.exercises.checking import Point, checker


@checker("01-a")
def subject_of_a_name(answer: Callable[[str], str], training: pd.DataFrame) -> Iterator[Point]:
    """Check a function that reads the subject from a file name."""
    yield isinstance(answer("UID_11_10_1_all.bmp"), str), "It returns text, not a number."
    yield answer("UID_11_10_1_all.bmp") == "11", "It reads a subject of class all."
    yield answer("UID_1_1_1_all.bmp") != answer("UID_H1_1_1_hem.bmp"), "1 and H1 are two subjects."
    yield answer("UID_h3_4_1_hem.bmp") == answer("UID_H3_4_1_hem.bmp"), "h3 and H3 are one subject."
    result = training["name"].map(answer)
    yield (result == training["subject"]).all(), "It is right for every file of the release."


@checker("01-b")
def alarms_at_a_sensitivity(answer: Callable) -> Iterator[Point]:
    """Check a function that returns the false alarms at a wanted sensitivity."""
    truth = [1, 1, 1, 1, 0, 0, 0, 0, 0]
    score = [0.9, 0.8, 0.6, 0.3, 0.7, 0.5, 0.3, 0.2, 0.1]

    def near(wanted: float, expected: float) -> bool:
        return abs(float(answer(list(truth), list(score), wanted)) - expected) < 1e-6

    for wrong, advice in (
        (2 / 9, "You seem to divide by all cells; divide by the negative ones."),
        (0.8, "You seem to return the specificity; count those that are called positive."),
        (1.0, "You seem to take the lowest threshold; take the highest that is enough."),
    ):
        if near(0.5, wrong):
            yield False, advice
    yield near(0.5, 0.0), "Half of the positives are found without a false alarm."
    yield near(0.75, 0.2), "It is right where three of four positives are wanted."
    yield near(0.6, 0.2), "*At least* the wanted share is found."
    yield near(1.0, 0.6), "A score that equals the threshold is called positive."


@checker("01-c")
def files_to_take_out(answer: Callable) -> Iterator[Point]:
    """Check a function that counts the files to take out so that no file is in two folds."""

    def counted(files: str, folds: str) -> float:
        return float(answer(pd.DataFrame({"sha256": list(files), "fold": list(folds)})))

    yield counted("abc", "012") == 0, "It is 0 where all files differ."
    within = counted("aabb", "0011")
    if within > 0:
        yield False, "Copies within one fold do no harm: they may stay."
    yield within == 0, "Copies within one fold may stay."
    two = counted("aab", "010")
    if two == 2:
        yield False, "You seem to take out all copies; those in one fold may stay."
    yield two == 1, "Of two copies in two folds, one may stay."
    yield counted("aaaab", "00012") == 1, "The copies stay in the fold that has most of them."
    yield counted("aaabbbb", "0120011") == 4, "It is right for several sets of copies together."
