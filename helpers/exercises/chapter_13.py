"""The checkers of the exercises of chapter 13."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from helpers.exercises.checking import Point, Required, checker


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
        yield answer(*given) == expected, f"It is right: {sentence}."
        if given != (list(votes), list(doubt)):
            yield False, "The lists that it was given are unchanged."
            return


@checker("13-b")
def worse_than_the_worst(answer: Sequence[Sequence[float]]) -> Iterator[Point]:
    """Check scores of three models whose majority vote is as wrong as possible."""
    rows = [len(row) for row in answer] if isinstance(answer, list | tuple | np.ndarray) else []
    yield Required(rows == [10, 10, 10], "There are three lists of ten scores.")
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
    yield np.isclose(answer(1, 0.5), 1), "A single member keeps its own variance."
    if np.isclose(answer(7, 0.5), 1 / 7):
        yield False, "You seem to take the members for independent; they correlate by rho."
    if np.isclose(answer(7, 0.5), np.sqrt(_simulated(7, 0.5)), atol=0.01):
        yield False, "You seem to return a standard deviation; return the variance."
    for n, rho in ((2, 0.0), (4, 0.3), (7, 0.5), (5, 0.9)):
        yield (
            np.isclose(answer(n, rho), _simulated(n, rho), atol=0.015),
            f"It agrees with a simulation of {n} members that correlate by {rho}.",
        )
    many = [float(answer(n, 0.25)) for n in (10, 1000, 100_000)]
    yield many[0] > many[1] > many[2] > 0.01, "More members help less and less, and never fully."


def _simulated(n: int, rho: float) -> float:
    """Return the variance of the mean of `n` drawn scores, which share a part of their luck."""
    rng = np.random.default_rng(13)
    shared, own = rng.normal(size=(1, 60_000)), rng.normal(size=(n, 60_000))
    return float((np.sqrt(rho) * shared + np.sqrt(1 - rho) * own).mean(axis=0).var())


@checker("13-d")
def choose_members(answer: Callable) -> Iterator[Point]:
    """Check a function that lets models join one by one: no other choice may be better."""
    rng = np.random.default_rng(13)
    target = rng.integers(0, 2, 80)
    logits = (2 * target - 1) * np.array([[1.2], [0.9], [0.3], [1.0]]) + rng.normal(
        size=(4, 80)
    ) * np.array([[1.5], [1.0], [0.6], [3.0]])
    scores = 1 / (1 + np.exp(-logits))
    given = scores.copy()
    result = [int(row) for row in answer(given, target.copy(), 8)]
    yield np.array_equal(given, scores), "The scores that it was given are unchanged."
    rows = len(result) == 8 and set(result) <= set(range(4))
    yield Required(rows, "It returns one row number for each step.")
    if len(set(result[:4])) == 4 and result[4:] == result[:4]:
        yield False, "You seem to sort the models once; look for the best one anew in each step."
    best = [_losses(scores, target, result[:step]) for step in range(8)]
    yield result[0] == np.argmin(best[0]), "The first is the best single model."
    yield (
        result[1] == np.argmin(best[1]),
        "The second is the one that makes the best mean with the first.",
    )
    yield (
        all(row == np.argmin(losses) for row, losses in zip(result, best, strict=True)),
        "In each step no other model would give a lower loss; a model may join again.",
    )
    turned = [int(row) for row in answer(1 - scores, 1 - target, 8)]
    yield turned == result, "Both classes are treated alike."


def _losses(scores: np.ndarray, target: np.ndarray, members: list[int]) -> np.ndarray:
    """Return the log loss of the mean score with each model added to the members."""
    mixed = (scores[members].sum(axis=0) + scores) / (len(members) + 1)
    return -np.log(np.where(target == 1, mixed, 1 - mixed)).mean(axis=1)
