"""What chapter 13 shows is what ships, and its checkers know right from wrong."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from helpers.exercises.checking import exercises
from helpers.predictions import ensembling
from tests.unit.chapter_page import code_cells, solutions, told, verdict

CELLS = code_cells("13")


def page(*texts):
    """Run the cells that hold the texts, as they stand on the page."""
    names = {"np": np, "pd": pd}
    for text in texts:
        source = next(cell.source for cell in CELLS if text in cell.source)
        # What comes after the function works on the page's own data.
        body = re.search(rf"(?s)^.*?{re.escape(text)}.*?(?=\n\n\n\S|\Z)", source)[0]
        exec(body, names)
    return names


def tables(models=4, count=60, seed=1):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count)
    rows = {
        "image_id": [f"i{row:02}" for row in range(count)],
        "subject": [f"s{row // 5}" for row in range(count)],
        "label": np.where(truth == 1, "all", "hem"),
        "positive": truth,
        "split": np.where(np.arange(count) < count // 2, "val", "test"),
    }
    made = {}
    for model in range(models):
        logit = 0.8 * (2 * truth - 1) + rng.normal(size=count)
        score = (1 / (1 + np.exp(-logit))).round(1)  # rounded: there are ties and halves
        made[f"m{model}"] = pd.DataFrame({**rows, "score": np.clip(score, 0.05, 0.95)})
    scores = np.array([table["score"] for table in made.values()])
    return made, scores, truth, rows["split"] == "val"


@pytest.mark.slow
@pytest.mark.parametrize("models", [1, 2, 3, 4, 7])
def test_the_votes_on_the_page_are_those_that_ship(models):
    shown = page("def majority_vote(scores)", "def soft_vote(scores", "def fuzzy_rank(scores")
    made, scores, _, _ = tables(models)
    for ours, theirs in (
        (shown["majority_vote"](scores), ensembling.majority_vote(made)),
        (shown["soft_vote"](scores), ensembling.soft_vote(made)),
        (shown["fuzzy_rank"](scores, "fused"), ensembling.fuzzy_rank(made)),
        (shown["fuzzy_rank"](scores, "rank"), ensembling.fuzzy_rank(made, "rank")),
    ):
        assert np.allclose(ours, theirs["score"])
    weights = np.arange(1, models + 1)
    ours = shown["soft_vote"](scores, weights)
    assert np.allclose(
        ours, ensembling.soft_vote(made, dict(zip(made, weights, strict=True)))["score"]
    )


def test_fuzzy_rank_is_a_distance_as_the_page_says():
    """R2 is a closeness, but the product falls as p rises, so the smallest result wins."""
    p = np.linspace(0, 1, 201)
    half_square = (p - 1) ** 2 / 2
    distance, closeness = 1 - np.exp(-half_square), 1 - np.tanh(half_square)
    assert (np.diff(closeness) > 0).all()
    assert (np.diff(distance * closeness) < 0).all()
    # One member: the more probable class wins in both forms.
    shown = page("def fuzzy_rank(scores")["fuzzy_rank"]
    for form in ("fused", "rank"):
        assert np.array_equal(shown(p[None], form) >= 0.5, p >= 0.5)


def test_the_fitted_weights_on_the_page_are_those_that_ship():
    shown = page("from scipy.optimize import minimize", "def fit_weights(scores, target)")
    made, scores, truth, val = tables()
    ours = shown["fit_weights"](scores[:, val], truth[val])
    assert np.allclose(ours, list(ensembling.fit_weights(made).values()), atol=0.01)


def test_the_stacking_on_the_page_is_that_which_ships():
    shown = page("def stack(known, target, scores)")
    made, scores, truth, val = tables()
    ours = shown["stack"](scores[:, val], truth[val], scores[:, ~val])
    assert np.allclose(ours, ensembling.stack(made)["score"][~val], atol=1e-3)


def test_a_bag_on_the_page_draws_whole_groups_with_replacement():
    shown = page("def bags(table, fit, number, seed)")["bags"]
    table = tables(1)[0]["m0"].assign(split=["train"] * 50 + ["test"] * 10)
    # Linked subjects are one group.
    table["group"] = table["subject"].replace({"s0": "s0+s3", "s3": "s0+s3"})
    drawn = []

    def fit(rows):
        drawn.append(rows)
        return np.full(len(table), 0.25)

    made = shown(table, fit, 30, 3)
    assert list(made) == [f"bag {number}" for number in range(1, 31)]
    assert (made["bag 1"]["score"] == 0.25).all()
    for rows in drawn:
        times = np.bincount(rows, minlength=len(table))
        assert not times[50:].any()  # training images only
        assert (pd.Series(times).groupby(table["group"]).nunique() == 1).all()
        assert pd.Series(times[:50]).groupby(table["group"][:50]).first().sum() == 9  # of 9 groups
        assert table["label"].iloc[rows].nunique() == 2
    assert max(rows.size for rows in drawn) != min(rows.size for rows in drawn)
    again = drawn.copy()
    drawn.clear()
    shown(table, fit, 30, 3)
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))


def test_the_theory_on_the_page():
    shown = page("from scipy import stats", "def vote_accuracy(n, p, rho)")["vote_accuracy"]
    assert np.isclose(shown(3, 0.7, 0), 0.7**3 + 3 * 0.7**2 * 0.3)
    assert np.isclose(shown(1, 0.7, 0.4), 0.7)
    assert 0.7 < shown(9, 0.7, 0.5) < shown(9, 0.7, 0.1) < shown(9, 0.7, 0)
    assert np.isclose(shown(9, 0.7, 1e-6), shown(9, 0.7, 0), atol=1e-4)
    # By simulation: the members' right answers correlate by rho.
    rng = np.random.default_rng(2)
    difficulty = rng.beta(0.7 * 3, 0.3 * 3, 40_000)  # rho 1/4
    votes = rng.random((5, 40_000)) < difficulty
    assert np.isclose(np.corrcoef(votes[0], votes[1])[0, 1], 0.25, atol=0.02)
    assert np.isclose((votes.sum(axis=0) >= 3).mean(), shown(5, 0.7, 0.25), atol=0.01)


def test_the_solutions_solve_the_exercises():
    answers = solutions("13")
    assert sorted(answers) == exercises("13") == ["13-a", "13-b", "13-c", "13-d"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."
        assert verdict(name, ...).startswith("not answered yet")


def losses(scores, target):
    return -np.log(np.where(target == 1, scores, 1 - scores)).mean(axis=-1)


def ranked(scores, target, steps):
    return list(np.resize(np.argsort(losses(scores, target)), steps))


def without_repeats(scores, target, steps):
    chosen = []
    while len(chosen) < steps:
        left = [row for row in range(len(scores)) if row not in chosen[-(len(scores) - 1) :]]
        mixed = [losses(scores[[*chosen, row]].mean(axis=0), target) for row in left]
        chosen.append(left[int(np.argmin(mixed))])
    return chosen


def highest_loss(scores, target, steps):
    return solutions("13")["13-d"](scores, 1 - target, steps)


def right_on(*images):
    return [[0.9 if image in each else 0.1 for image in range(10)] for each in images]


SIX = [[0.9] * 6 + [0.1] * 4 for _ in range(3)]
WRONG = {
    "13-a": [
        lambda votes, doubt: max(votes, key=votes.count),  # who voted first wins a tie
        lambda votes, doubt: doubt[0],
        lambda votes, doubt: min(doubt, key=votes.count),
        lambda votes, doubt: next(n for n in doubt if 2 * votes.count(n) >= len(votes)),
        lambda votes, doubt: max(sorted(doubt), key=votes.count),
        "b",
    ],
    "13-b": [
        SIX,  # the vote is as good as each
        [SIX[0], SIX[0][::-1], [0.1] * 4 + [0.9] * 6],
        [[0.9] * 5 + [0.1] * 5] * 3,  # five only
        [[0.5] * 10] * 3,
        [[1.9] * 6 + [0.1] * 4] * 3,
        [[float("nan")] * 10] * 3,
        SIX[:2],
        7,
        "abc",
    ],
    "13-c": [
        lambda n, rho: 1 / n,
        lambda n, rho: rho,
        lambda n, rho: ((1 + (n - 1) * rho) / n) ** 0.5,
        lambda n, rho: 1 - rho,
        4 / 7,
    ],
    "13-d": [
        lambda scores, target, steps: [0] * steps,
        ranked,
        without_repeats,
        highest_loss,
        lambda scores, target, steps: solutions("13")["13-d"](scores, target, steps - 1),
        [0, 1],
    ],
}


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, wrong in WRONG.items() for answer in wrong]
)
def test_wrong_answers_are_told_so(name, answer):
    assert verdict(name, answer) == "not solved yet."


def test_the_best_pattern_of_failure_cannot_be_beaten():
    """The bound of four in 13-b, by trying all counts of images with 0 to 3 right votes."""
    least = min(
        two + three
        for two in range(11)
        for three in range(11 - two)
        for one in range(11 - two - three)
        if one + 2 * two + 3 * three == 18
    )
    assert least == 4


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("13-a", WRONG["13-a"][0], "You seem to take the first vote in a tie"),
        ("13-a", WRONG["13-a"][1], "a class that nobody voted for"),
        ("13-b", right_on((0, 1, 2, 3, 5, 6), (0, 1, 2, 3, 4, 7), (0, 1, 2, 4, 8, 9)), "split"),
        ("13-b", right_on((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 6), (0, 1, 2, 3, 4, 7)), "nobody"),
        ("13-c", WRONG["13-c"][0], "You seem to take the members for independent"),
        ("13-c", WRONG["13-c"][2], "You seem to return a standard deviation"),
        ("13-d", ranked, "You seem to sort the models once"),
    ],
)
def test_a_usual_mistake_is_named(name, answer, hint):
    assert hint in told(name, answer)
