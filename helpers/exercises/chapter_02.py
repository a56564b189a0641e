"""The checkers of the exercises of chapter 02."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from helpers.catalog import splitting
from helpers.exercises.checking import Point, checker


@checker("02-a")
def known_already(answer: Callable) -> Iterator[Point]:
    """Check a function that returns the share of test images whose subject is in training."""

    def share(subjects: str, splits: str) -> float:
        names = {"t": "train", "v": "val", "e": "test", "-": ""}
        split = [names[letter] for letter in splits]
        return float(answer(pd.DataFrame({"subject": list(subjects), "split": split})))

    def near(value: float, expected: float) -> bool:
        return abs(value - expected) < 1e-6

    first = share("aabbbb", "teeeee")
    for wrong, advice in (
        (0.5, "You seem to count subjects; count images."),
        (1 / 6, "You seem to divide by all images; divide by the test images."),
        (0.8, "You seem to count the images of unknown subjects; count those of known ones."),
        (20, "A share is a number from 0 to 1, not a percentage."),
    ):
        if near(first, wrong):
            yield False, advice
    yield near(first, 0.2), "It is right for one known image among five test images."
    yield near(share("aabb", "tete"), 1), "It is 1 where every subject is in training."
    yield near(share("aabb", "ttee"), 0), "It is 0 where people are kept together."
    yield near(share("aabb", "veve"), 0), "Images in validation do not make a subject known."
    yield near(share("aabb", "-ete"), 0.5), "Rows without a split do not make a subject known."


@checker("02-b")
def voices_split(answer: Callable) -> Iterator[Point]:
    """Check a function that splits a table of recordings and keeps speakers together."""
    table = _recordings()
    parts = np.asarray(answer(table.copy()), dtype=object)
    fits = parts.shape == (len(table),) and set(parts) <= {"train", "test"}
    yield fits, 'It returns "train" or "test" for each row.'
    test, speaker = parts == "test", table["speaker"].to_numpy()
    together = not set(speaker[test]) & set(speaker[~test]) - {""}
    yield together, "No speaker is in both parts (are the speakers passed as `groups`?)."
    classes = [table.loc[part, "voice"].nunique() for part in (test, ~test)]
    yield min(classes) == 2, "Both parts have healthy and hoarse voices."
    yield 0.1 <= test.mean() <= 0.4, "Between 10 and 40 % of the rows are in the test."
    unknown = test[speaker == ""]
    apart = 0 < unknown.sum() < len(unknown)
    yield apart, "Recordings of unknown speakers are of different people: both parts have some."


def _recordings() -> pd.DataFrame:
    """Return recordings of thirty speakers with one voice each, and sixty without a speaker."""
    rng = np.random.default_rng(2)
    number = np.repeat(np.arange(30), rng.integers(2, 9, 30))
    number = rng.permutation(np.append(number, np.full(60, -1)))
    hoarse = np.where(number < 0, rng.integers(2, size=len(number)), number % 3 == 0)
    return pd.DataFrame(
        {
            "recording": [f"r{row}.wav" for row in range(len(number))],
            "voice": np.where(hoarse, "hoarse", "healthy"),
            "speaker": [f"s{one}" if one >= 0 else "" for one in number],
        }
    )


# How many rows a repaired split of the release can keep.
_KEPT = {"train": 3433, "val": 2419}


@checker("02-c")
def repaired(answer: pd.DataFrame, official: pd.DataFrame) -> Iterator[Point]:
    """Check the official folds after rows that are linked across them were cleared."""
    table = isinstance(answer, pd.DataFrame) and {"image_id", "split"} <= set(answer)
    yield table, "It is a catalog."
    same = sorted(answer["image_id"]) == sorted(official["image_id"])
    yield same, "It has all rows of `official`: cleared rows stay in the table."
    before = splitting.link_subjects(official).set_index("image_id")
    after = answer.set_index("image_id")["split"].reindex(before.index)
    test = before["split"] == "test"
    yield (after[test] == "test").all(), "The test rows are as published."
    kept = after != ""
    yield (after[kept] == before["split"][kept]).all(), "No row has moved to another split."
    sides = after[kept].groupby(before["group"][kept]).nunique()
    yield (sides <= 1).all(), "No group of linked subjects is in two splits."
    for part, possible in _KEPT.items():
        yield (after == part).sum() >= possible, f"No row of {part} is cleared without need."
