"""The checkers of the exercises of chapter 01."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
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
def share_of_five(answer: float, training: pd.DataFrame) -> Iterator[Point]:
    """Check the share of images that the five largest `all` subjects have."""
    number = float(answer)
    yield 0 <= number <= 1, "It is a share, from 0 to 1."
    everyone = training["subject"].value_counts()
    counts = training.loc[training["label"] == "all", "subject"].value_counts()
    right = counts.head(5).sum() / counts.sum()
    mixed = counts.head(5).sum() / everyone.sum()
    yield abs(number - mixed) > 0.002, "It is a share of the `all` images, not of all images."
    yield abs(number - right) < 0.0005, "It is the share of the five largest `all` subjects."


@checker("01-c")
def files_to_take_out(answer: int, training: pd.DataFrame) -> Iterator[Point]:
    """Check the smallest number of files to take out so that no file is in two folds."""
    number = int(answer)
    yield number == answer, "It is a whole number."
    same = training[training["sha256"].duplicated(keep=False)]
    table = same.groupby(["sha256", "fold"]).size().unstack(fill_value=0)
    across = table[(table > 0).sum(axis=1) > 1]
    yield number != len(same), "Copies within one fold do no harm: you need not take them out."
    yield number < across.to_numpy().sum(), "Of each set, the copies in one fold may stay."
    right = int(across.sum().sum() - across.max(axis=1).sum())
    yield number == right, "The number is right for all sets of identical files together."


@checker("01-d")
def weighted_f1_by_hand(answer: Callable) -> Iterator[Point]:
    """Check a weighted F1 against scikit-learn's."""
    from sklearn.metrics import f1_score

    def right(truth: list[str], guess: list[str]) -> bool:
        wanted = f1_score(truth, guess, average="weighted", zero_division=0)
        return abs(float(answer(truth, guess)) - wanted) < 1e-6

    rng = np.random.default_rng(0)
    truth = rng.choice(["all", "hem"], 60, p=[0.7, 0.3]).tolist()
    yield right(truth, truth), "A perfect guess gets 1."
    yield right(truth, ["all"] * 60), "It is right when every guess is `all` (F1 of `hem` is 0)."
    yield right(["all"] * 9 + ["hem"], ["all"] * 5 + ["hem"] * 5), "Each class is weighted by size."
    names = ["benign", "early", "pre", "pro"]
    cases = [(rng.choice(names, 40).tolist(), rng.choice(names, 40).tolist()) for _ in range(5)]
    yield all(right(*case) for case in cases), "It is right for four classes and random guesses."
