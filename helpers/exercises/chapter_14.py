"""The checkers of the exercises of chapter 14."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("14-a")
def figures_from_counts(answer: Callable) -> Iterator[Point]:
    """Check a function from the four counts to three figures, on counts of other tests."""
    from sklearn import metrics

    results, expected = [], []
    for tp, fn, tn, fp in ((40, 10, 20, 30), (5, 1, 80, 4), (70, 20, 6, 4)):
        truth = np.repeat([1, 1, 0, 0], (tp, fn, tn, fp))
        called = np.repeat([1, 0, 0, 1], (tp, fn, tn, fp))
        results.append(np.asarray(answer(tp, fn, tn, fp), dtype=float))
        if results[-1].shape != (3,):
            yield False, "The function returns three numbers."
        expected.append(
            (
                max(truth.mean(), 1 - truth.mean()),
                metrics.balanced_accuracy_score(truth, called),
                metrics.matthews_corrcoef(truth, called),
                metrics.accuracy_score(truth, called),
            )
        )
    first, second, third = np.transpose(results)
    larger, balanced, mcc, accuracy = np.transpose(expected)
    if np.allclose(first, accuracy, atol=1e-3):
        yield False, "You seem to return the accuracy of the network; name the larger class only."
    else:
        yield np.allclose(first, larger, atol=1e-3), "The first is the share of the larger class."
    if np.allclose(second, accuracy, atol=1e-3):
        yield False, "You seem to weigh the classes by their images; weigh them equally."
    else:
        yield (
            np.allclose(second, balanced, atol=1e-3),
            "The second is the mean of the shares of both classes that were called correctly.",
        )
    yield (
        np.allclose(third, mcc, atol=1e-3),
        "The third is 1 for a perfect test, 0 for guessing, and has all four counts in it.",
    )


@checker("14-b")
def one_draw(answer: Callable) -> Iterator[Point]:
    """Check a function that draws whole subjects with replacement."""
    subjects = np.array(["b", "a", "b", "c", "b", "a", "d", "e"])
    _, first, person = np.unique(subjects, return_index=True, return_inverse=True)
    rng = np.random.default_rng(14)
    seen = []
    for _ in range(400):
        rows = np.asarray(answer(subjects.copy(), rng))
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            yield False, "You seem to return names; return the row numbers of their images."
        if len(rows) and (rows.min() < 0 or rows.max() >= len(subjects)):
            yield False, "Each row number is a row of the table."
        often = np.bincount(rows, minlength=len(subjects))
        if (often != often[first][person]).any():
            yield False, "You seem to draw images; draw subjects, each with all of its images."
        seen.append(often[first])
    seen = np.array(seen)
    yield True, "A subject comes with all of its images, each as often as the others."
    yield (seen.sum(axis=1) == len(first)).all(), "The number of draws is the number of subjects."
    yield (seen > 1).any() and (seen == 0).any(), "They are drawn with replacement."
    yield np.ptp(seen.mean(axis=0)) < 0.35, "Every subject is drawn equally often."
    again = [np.asarray(answer(subjects, np.random.default_rng(3))).tolist() for _ in range(2)]
    yield again[0] == again[1], "The given generator makes all random choices."


@checker("14-c")
def an_honest_validation(answer: Callable) -> Iterator[Point]:
    """Check a cross-validation on noise, on noise of persons, and on a true signal."""
    from sklearn.metrics import roc_auc_score

    areas = {}
    for kind in ("noise", "persons", "signal"):
        areas[kind] = []
        for seed in (1, 2, 3, 4):
            features, target, groups = _study(kind, seed)
            scores = np.asarray(answer(features, target, groups), dtype=float)
            yield from _scored(scores, len(target))
            areas[kind].append(roc_auc_score(target, scores))
    yield (
        np.mean(areas["noise"]) < 0.68,
        "Nothing is found in noise. If it is: does the selection see the labels of the test fold?",
    )
    yield (
        np.mean(areas["persons"]) < 0.68,
        "Who a person is helps nothing. If it does: are a person's images in several folds?",
    )
    yield np.mean(areas["signal"]) > 0.8, "A true difference between the classes is found."


def _scored(scores: np.ndarray, count: int) -> Iterator[Point]:
    """Yield a point only where there is not one finite score for each image."""
    if scores.shape != (count,) or not np.isfinite(scores).all():
        yield False, "There is one score for each image, in their order."


def _study(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (100, 300), labels and the person of each image: 20 people, 5 images each."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(20), 5)
    target = (groups % 2).astype(int)
    features = rng.normal(size=(100, 300))
    if kind == "persons":  # each person has a look of his own; the class is not in it
        features += 2 * rng.normal(size=(20, 300))[groups]
    if kind == "signal":
        features[:, :20] += 1.2 * target[:, None]
    return features, target, groups
