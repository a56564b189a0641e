"""The checkers of the exercises of chapter 14."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from helpers.exercises.checking import Point, Required, checker


@checker("14-a")
def a_papers_table(answer: Sequence[float]) -> Iterator[Point]:
    """Check three figures of the published confusion matrix."""
    yield Required(np.size(answer) == 3, "There are three numbers.")
    larger, balanced, mcc = (float(number) for number in answer)
    result, cleared = 1049 / 1091, 483 / 509
    yield not np.isclose(larger, 0.9575, atol=5e-4), "The first is not the network's accuracy."
    yield np.isclose(larger, 1091 / 1600, atol=5e-4), "The accuracy of the guesser is right."
    yield np.isclose(balanced, (result + cleared) / 2, atol=5e-4), "The second is right."
    expected = (1049 * 483 - 26 * 42) / np.sqrt(1091.0 * 509 * (1049 + 26) * (483 + 42))
    yield np.isclose(mcc, expected, atol=5e-4), "Matthews' correlation is right."


@checker("14-b")
def worth_of_a_thousand(answer: float) -> Iterator[Point]:
    """Check the number of independent cells that are worth a thousand cells of ten people."""
    number = float(answer)
    yield number < 1000, "It is less than the number of cells."
    yield number >= 10, "It is not less than the number of people."
    yield not np.isclose(number, 1 + 99 * 0.3), "It is a number of cells, not a design effect."
    yield np.isclose(number, 1000 / 30.7, atol=0.5), "The number of cells is right."


@checker("14-c")
def one_draw(answer: Callable) -> Iterator[Point]:
    """Check a function that draws whole subjects with replacement."""
    subjects = np.array(["b", "a", "b", "c", "b", "a", "d", "e"])
    sizes = {"a": 2, "b": 3, "c": 1, "d": 1, "e": 1}
    rng = np.random.default_rng(14)
    whole, counts, seen = True, [], []
    for _ in range(400):
        rows = np.asarray(answer(subjects.copy(), rng))
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            yield False, "It returns row numbers."
            return
        if len(rows) and (rows.min() < 0 or rows.max() >= len(subjects)):
            yield False, "Each row number is a row of the table."
            return
        often = np.bincount(rows, minlength=len(subjects))
        whole = whole and all(len(set(often[subjects == name])) == 1 for name in sizes)
        counts.append(sum(often[subjects == name][0] for name in sizes))
        seen.append([often[subjects == name][0] for name in sizes])
    yield whole, "A subject comes with all of its images, each as often as the others."
    yield set(counts) == {len(sizes)}, "The number of draws is the number of subjects."
    seen = np.array(seen)
    yield (seen > 1).any() and (seen == 0).any(), "They are drawn with replacement."
    yield np.ptp(seen.mean(axis=0)) < 0.35, "Every subject is drawn equally often."
    again = [np.asarray(answer(subjects, np.random.default_rng(3))).tolist() for _ in range(2)]
    yield again[0] == again[1], "The given generator makes all random choices."


@checker("14-d")
def a_coins_worth(answer: float) -> Iterator[Point]:
    """Check the prevalence at which half of those called positive are ill."""
    share = float(answer)
    yield Required(0 < share < 1, "It is a share of people, above 0 and below 1.")
    worth = 0.95 * share / (0.95 * share + 0.10 * (1 - share))
    yield worth < 0.51, "At this prevalence, no more than half of those called positive are ill."
    yield worth > 0.49, "At this prevalence, no less than half of those called positive are ill."


@checker("14-e")
def holm_by_hand(answer: Callable) -> Iterator[Point]:
    """Check a function that corrects p-values by Holm's method."""
    cases = (
        ("a single p-value is left as it is", [0.03], [0.03]),
        ("the smallest p-value is multiplied by the number of tests", [0.01, 0.5], [0.02, 0.5]),
        ("the order is kept", [0.5, 0.01], [0.5, 0.02]),
        ("no p-value is above 1", [0.9, 0.8], [1.0, 1.0]),
        (
            "no corrected p-value is below that of a smaller p-value",
            [0.02, 0.021, 0.022],
            [0.06, 0.06, 0.06],
        ),
        ("equal p-values stay equal", [0.01, 0.01, 0.2], [0.03, 0.03, 0.2]),
    )
    for sentence, given, expected in cases:
        result = np.asarray(answer(list(given)), dtype=float)
        same = result.shape == (len(given),) and np.allclose(result, expected)
        yield same, f"It is right: {sentence}."
