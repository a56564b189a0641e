"""The checkers of the exercises of chapter 15."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Hint, Point, checker


@checker("15-a")
def a_coins_worth(answer: float) -> Iterator[Point]:
    """Check the prevalence at which half of those called positive are ill."""
    share = float(answer)
    yield 0 < share < 1, "It is a share of people, above 0 and below 1."
    rng = np.random.default_rng(15)
    ill = rng.random(1_000_000) < share
    called = rng.random(len(ill)) < np.where(ill, 0.95, 0.10)
    worth = ill[called].mean()
    yield (
        worth < 0.51,
        "At this prevalence, no more than half are ill. If more are: take a rarer disease.",
    )
    yield (
        worth > 0.49,
        "At this prevalence, no less than half are ill. If fewer are: take a more frequent one.",
    )


#: Scores of 10 negative and 8 positive images (in hundredths), and the highest sensitivities that
#: are possible where half, 80 %, 90 % and all of the negatives must be called negative.
_SCORES = (
    ([1, 2, 2, 3, 4, 4, 5, 6, 6, 8], [3, 5, 6, 6, 7, 8, 8, 9]),
    ([9, 12, 31, 33, 35, 40, 48, 52, 66, 71], [29, 44, 47, 51, 55, 69, 83, 90]),
)
_REACHED = ((0.875, 0.5, 0.5, 0.125), (0.875, 0.5, 0.375, 0.25))


@checker("15-b")
def for_a_specificity(answer: Callable) -> Iterator[Point]:
    """Check thresholds by the specificity and the sensitivity that they have."""
    enough = best = True
    counts_positives = counts_equal_ones = True
    for (negatives, positives), reached in zip(_SCORES, _REACHED, strict=True):
        target = np.repeat([0, 1], (len(negatives), len(positives)))
        scores = np.array([*negatives, *positives]) / 100
        order = np.random.default_rng(15).permutation(len(target))
        for wanted, reach in zip((0.5, 0.8, 0.9, 1.0), reached, strict=True):
            threshold = float(answer(scores[order], target[order], wanted))
            below, above = (scores[target == 0] < threshold), (scores[target == 1] >= threshold)
            fulfilled = below.mean() >= wanted
            enough &= fulfilled
            best &= np.isclose(above.mean(), reach) or not fulfilled
            higher = (scores[target == 1] > threshold).mean()
            counts_positives &= above.mean() >= wanted > higher
            counts_equal_ones &= (scores[target == 0] <= threshold).mean() >= wanted
    yield Hint(
        enough or not counts_positives,
        "You seem to count positive images; specificity is about the negative ones.",
    )
    yield Hint(
        enough or not counts_equal_ones,
        "An image whose score equals the threshold is called positive: a negative one is then a "
        "false alarm.",
    )
    yield enough, "The specificity is at least the wanted one, also where scores are equal."
    yield best, "No other threshold with this specificity has a higher sensitivity."


@checker("15-c")
def a_diagnosis(answer: Callable) -> Iterator[Point]:
    """Check a diagnosis of networks that look at the cell, at the ground or at the size."""
    networks = {"cell": _cell, "ground": _ground, "size": _size}
    images = _cells(12)
    told = {}
    for name, look in networks.items():
        pair = (look, lambda shown, look=look: 1 - look(shown))  # what is high may be low
        told[name] = [answer(network, images.copy()) for network in pair]
    words = {word for answers in told.values() for word in answers}
    yield (words <= set(networks), 'The answer is one of the three words "cell", "ground", "size".')
    yield len(words) > 1, "The answer depends on the network."
    for name, about in (
        ("ground", "changes its scores when only the ground is changed"),
        ("size", "changes its scores when the cell is made smaller"),
        ("cell", "changes its scores by neither"),
    ):
        yield told[name] == [name, name], f'A network that {about} is called "{name}".'


_COLOURS = np.array([(120, 60, 200), (200, 60, 180)])


def _cells(count: int) -> np.ndarray:
    """Return discs of many sizes and two colours on black, uint8, shape (count, 48, 48, 3)."""
    y, x = np.mgrid[:48, :48] - 23.5
    images = np.zeros((count, 48, 48, 3), np.uint8)
    for number, image in enumerate(images):
        inside = np.hypot(x, y) < 12 + number % 6
        image[inside] = _COLOURS[number % 2]
    return images


def _inside(images: np.ndarray) -> np.ndarray:
    """Return which pixels have a colour of the discs, (n, h, w): no ground has it, not noise."""
    away = np.abs(np.asarray(images, float)[..., None, :] - _COLOURS).max(axis=-1)
    return away.min(axis=-1) < 8


def _cell(images: np.ndarray) -> np.ndarray:
    masks, red = _inside(images), np.asarray(images)[..., 0]
    middle = [
        np.median(one[mask]) if mask.any() else 0 for one, mask in zip(red, masks, strict=True)
    ]
    return 1 / (1 + np.exp((160 - np.array(middle)) / 10))


def _ground(images: np.ndarray) -> np.ndarray:
    corners = np.asarray(images)[:, :4, :4].astype(float).mean(axis=(1, 2, 3))
    return 0.2 + 0.6 * np.clip(corners / 128, 0, 1)


def _size(images: np.ndarray) -> np.ndarray:
    return np.clip(_inside(images).mean(axis=(1, 2)) / 0.5, 0, 1)
