"""The checkers of the exercises of chapter 02."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from helpers.catalog import splitting
from helpers.exercises.checking import Point, Required, checker


@checker("02-a")
def known_already(answer: float, random: pd.DataFrame) -> Iterator[Point]:
    """Check the share of test images whose subject was trained on."""
    number = float(answer)
    yield 0 <= number <= 1, "It is a share, from 0 to 1."
    train, test = (random[random["split"] == name] for name in ("train", "test"))
    yield (
        abs(number - test["subject"].nunique() / random["subject"].nunique()) > 1e-9
        or abs(number - test["subject"].isin(train["subject"]).mean()) < 1e-9,
        "It counts images, not subjects.",
    )
    yield (
        abs(number - test["subject"].isin(train["subject"]).mean()) < 0.005,
        "It is the share of test images whose subject is in training, to half a percent.",
    )


@checker("02-b")
def own_audit(answer: Callable) -> Iterator[Point]:
    """Check a function that finds the subjects which are in several splits."""
    cases = (
        ("a clean split gives an empty set", ["train", "train", "test"], set()),
        ("a subject in train and test is found", ["train", "test", "test"], {"a"}),
        ("a subject in train and val is found", ["train", "val", "test"], {"a"}),
        ('rows whose split is "" do not count', ["train", "", "test"], set()),
    )
    for sentence, split, expected in cases:
        table = pd.DataFrame({"subject": ["a", "a", "b"], "split": split})
        result = answer(table.copy())
        yield (
            isinstance(result, set | frozenset) and result == expected,
            f"It is right: {sentence}.",
        )


@checker("02-c")
def repaired(answer: pd.DataFrame, official: pd.DataFrame) -> Iterator[Point]:
    """Check the official folds after rows that are linked across them were cleared."""
    table = isinstance(answer, pd.DataFrame) and {"image_id", "split"} <= set(answer)
    yield Required(table, "It is a catalog.")
    same = sorted(answer["image_id"]) == sorted(official["image_id"])
    yield Required(same, "It has all rows of `official`: cleared rows stay in the table.")
    before = splitting.link_subjects(official).set_index("image_id")
    after = answer.set_index("image_id")["split"].reindex(before.index)
    test = before["split"] == "test"
    yield (after[test] == "test").all(), "The test rows are as published."
    kept = after != ""
    yield (after[kept] == before["split"][kept]).all(), "No row has moved to another split."
    sides = after[kept].groupby(before["group"][kept]).nunique()
    yield (sides <= 1).all(), "No group of linked subjects is in two splits."
    wrong = before["group"].isin(before["group"][test]) & ~test
    wrong |= (before["split"] == "val") & before["group"].isin(
        before["group"][(before["split"] == "train") & ~wrong]
    )
    yield kept[~wrong].all(), "No row is cleared without need."
