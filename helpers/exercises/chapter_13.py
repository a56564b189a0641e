"""The checkers of the exercises of chapter 13."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from helpers.exercises.checking import Point, Required, checker


@checker("13-a")
def count_the_votes(answer: Callable) -> Iterator[Point]:
    """Check a function that finds the class with the most votes, and breaks ties by an order."""
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
    vote = int((right.sum(axis=0) >= 2).sum())
    yield vote < 6, "The majority vote is worse than each of its members."
    yield vote <= 4, "The majority vote cannot be made worse."


@checker("13-c")
def worth_of_seven(answer: tuple[float, float]) -> Iterator[Point]:
    """Check the variance of a mean of correlated scores, for seven and for endless members."""
    yield Required(np.size(answer) == 2, "It is a pair.")
    seven, endless = (float(number) for number in answer)
    yield not np.isclose(seven, 1 / 7), "The members are not independent: 1/7 is too little."
    yield not np.isclose(endless, 0), "With endless members, the variance does not go to zero."
    yield np.isclose(seven, 4 / 7, atol=1e-3), "The share for seven members is right."
    yield np.isclose(endless, 0.5, atol=1e-3), "The share for infinitely many is right."


@checker("13-d")
def one_weight(answer: Callable) -> Iterator[Point]:
    """Check a function that finds the weight of the first of two models on a grid."""
    half = np.full(4, 0.5)
    good, bad = np.array([0.1, 0.2, 0.9, 0.8]), np.array([0.8, 0.7, 0.3, 0.1])
    target = np.array([0, 0, 1, 1])
    # (0.3 + 0.6 w)(0.7 - 0.6 w) is largest at w = 1/3.
    low, high, mixed = np.full(4, 0.1), np.full(4, 0.7), np.array([0, 1, 0, 1])
    cases = (
        ("a good model gets all the weight", good, bad, target, 1.0),
        ("it is the weight of the first model", bad, good, target, 0.0),
        ("of equally good weights the smallest is taken", half, half.copy(), target, 0.0),
        ("a mixture may be better than both", low, high, mixed, 0.33),
    )
    for sentence, first, second, truth, expected in cases:
        result = float(answer(first.copy(), second.copy(), truth.copy()))
        yield np.isclose(result, expected, atol=1e-6), f"It is right: {sentence}."
    rng = np.random.default_rng(13)
    truth = rng.integers(0, 2, 50)
    first, second = rng.uniform(0.05, 0.95, (2, 50))
    losses = []
    for step in range(101):
        score = step / 100 * first + (1 - step / 100) * second
        losses.append(-np.log(np.where(truth == 1, score, 1 - score)).mean())
    result = float(answer(first, second, truth))
    yield (
        np.isclose(result, np.argmin(losses) / 100, atol=1e-6),
        ("It is right for random scores."),
    )
