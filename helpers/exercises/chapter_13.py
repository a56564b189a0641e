"""The checkers of the exercises of chapter 13."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("13-a")
def count_the_votes(answer: Callable) -> Iterator[Point]:
    """Check a function that finds the class with the most votes, and breaks ties by an order."""
    if answer(["a", "b"], ["c", "b", "a"]) == "a":
        yield False, "You seem to take the first vote in a tie; take the first of `doubt`."
    if answer(["a", "c", "a", "c"], ["b", "c", "a"]) == "b":
        yield False, "You seem to name a class that nobody voted for; count the votes first."
    cases = (
        ("the class named most often wins", ["a", "b", "b"], ["a", "b", "c"], "b"),
        ("it need not have more than half of the votes", list("aabcd"), list("dcba"), "a"),
        (
            "a tie goes to the class that comes first in the order",
            ["a", "b", "b", "a"],
            ["b", "a"],
            "b",
        ),
        (
            "a tie does not go to the class that was voted for first",
            ["a", "b"],
            ["c", "b", "a"],
            "b",
        ),
        ("a class without a vote cannot win", ["a", "c", "a", "c"], ["b", "c", "a"], "c"),
        (
            "in a tie of three, the class that comes first in the order wins",
            list("cba"),
            list("bac"),
            "b",
        ),
        ("one member decides alone", ["pre"], ["pro", "pre", "early", "benign"], "pre"),
    )
    for sentence, votes, doubt, expected in cases:
        given = list(votes), list(doubt)
        yield answer(*given) == expected, f"It is right: {sentence}.", expected
        if given != (list(votes), list(doubt)):
            yield False, "The lists that it was given are unchanged."


@checker("13-b")
def worse_than_the_worst(answer: Sequence[Sequence[float]]) -> Iterator[Point]:
    """Check scores of three models whose majority vote is as wrong as possible."""
    rows = [len(row) for row in answer] if isinstance(answer, list | tuple | np.ndarray) else []
    yield rows == [10, 10, 10], "There are three lists of ten scores."
    scores = np.asarray(answer, dtype=float)
    yield ((scores >= 0) & (scores <= 1)).all(), "Every score is from 0 to 1."
    yield (scores != 0.5).all(), "No score is 0.5."
    right = scores > 0.5
    yield right.sum(axis=1).tolist() == [6, 6, 6], "Each model is right on exactly six images."
    together = right.sum(axis=0)
    vote = int((together >= 2).sum())
    yield vote < 6, "The hard vote is worse than each of its members."
    if vote < 6 and (together == 0).any():
        yield False, "On some images nobody is right: use them to waste a right vote."
    elif vote < 6 and (together == 2).any():
        yield False, "A majority of two wastes nothing: waste a third vote there, or split the two."
    yield (
        vote < 6 and not np.isin(together, (0, 2)).any(),
        "Each right vote is wasted as well as possible: the hard vote cannot be made worse.",
    )


@checker("13-c")
def worth_of_more(answer: Callable) -> Iterator[Point]:
    """Check a function for the variance of a mean of correlated scores, by simulation."""
    cases = [(2, 0.0), (4, 0.3), (7, 0.5), (5, 0.9)]
    drawn = _simulated(cases)
    yield np.isclose(answer(1, 0.5), 1), "A single member keeps its own variance."
    if np.isclose(answer(7, 0.5), 1 / 7):
        yield False, "You seem to take the members for independent; they correlate by rho."
    if np.isclose(answer(7, 0.5), np.sqrt(drawn[2]), atol=0.01):
        yield False, "You seem to return a standard deviation; return the variance."
    for (n, rho), variance in zip(cases, drawn, strict=True):
        yield (
            np.isclose(answer(n, rho), variance, atol=0.015),
            f"It agrees with a simulation of {n} members that correlate by {rho}.",
        )
    many = [float(answer(n, 0.25)) for n in (10, 1000, 100_000)]
    yield many[0] > many[1] > many[2] > 0.01, "More members help less and less, and never fully."


def _simulated(cases: list[tuple[int, float]]) -> list[float]:
    """Return the variances of the mean of n drawn scores, which share a part rho of their luck."""
    rng = np.random.default_rng(13)
    shared, own = rng.normal(size=(1, 60_000)), rng.normal(size=(7, 60_000))
    return [
        float((np.sqrt(rho) * shared + np.sqrt(1 - rho) * own[:n]).mean(axis=0).var())
        for n, rho in cases
    ]


@checker("13-d")
def choose_members(answer: Callable) -> Iterator[Point]:
    """Check a function that lets models join one by one: no other choice may be better."""
    rows, images = np.mgrid[:4, :30]
    target = images[0] % 3 % 2
    strength, noise = np.array([[0.7], [0.6], [0.3], [0.5]]), np.array([[1.5], [1.2], [0.8], [2.0]])
    logits = strength * (2 * target - 1) + noise * np.sin((7.3 + 1.1 * rows) * images + rows)
    scores = 1 / (1 + np.exp(-logits))
    given = scores.copy()
    result = [int(row) for row in answer(given, target.copy(), 8)]
    yield np.array_equal(given, scores), "The scores that it was given are unchanged."
    rows = len(result) == 8 and set(result) <= set(range(4))
    yield rows, "It returns one row number for each step."
    if len(set(result[:4])) == 4 and result[4:] == result[:4]:
        yield False, "You seem to sort the models once; look for the best one anew in each step."
    yield result[0] == 0, "The first is the best single model."
    yield (
        result[:2] == [0, 3],
        "The second is the one that makes the best mean with the first.",
    )
    yield (
        result == [0, 3, 0, 1, 0, 3, 0, 0],
        "In each step no other model would give a lower loss; a model may join again.",
    )
    turned = [int(row) for row in answer(1 - scores, 1 - target, 8)]
    yield turned == result, "Both classes are treated alike."
    swapped = [3 - int(row) for row in answer(scores[::-1], target.copy(), 8)]
    yield swapped == result, "The order of the models has no influence."
