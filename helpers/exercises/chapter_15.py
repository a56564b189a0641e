"""The checkers of the exercises of chapter 15."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, Required, checker


@checker("15-a")
def a_coins_worth(answer: float) -> Iterator[Point]:
    """Check the prevalence at which half of those called positive are ill."""
    share = float(answer)
    yield Required(0 < share < 1, "It is a share of people, above 0 and below 1.")
    found, alarms = 0.95 * share, (1 - 0.90) * (1 - share)
    yield (
        found < 1.04 * alarms,
        "At this prevalence, no more than half are ill. If more are: take a rarer disease.",
    )
    yield (
        found > 0.96 * alarms,
        "At this prevalence, no less than half are ill. If fewer are: take a more frequent one.",
    )


@checker("15-b")
def for_a_specificity(answer: Callable) -> Iterator[Point]:
    """Check thresholds by the specificity and the sensitivity that they have."""
    enough = best = True
    seem_to_count_positives = False
    rng = np.random.default_rng(15)
    for wanted in (0.5, 0.8, 0.9, 1.0):
        for decimals in (1, 4):  # with one decimal there are many equal scores
            target = rng.permutation(np.repeat([0, 1], (30, 20)))
            scores = np.clip(rng.normal(0.4 + 0.2 * target, 0.15), 0, 1).round(decimals)
            threshold = float(answer(scores.copy(), target.copy(), wanted))
            negatives, positives = scores[target == 0], scores[target == 1]
            cuts = [*np.unique(scores), np.inf]
            reach = max(
                (positives >= cut).mean() for cut in cuts if (negatives < cut).mean() >= wanted
            )
            fulfilled = (negatives < threshold).mean() >= wanted
            enough &= fulfilled
            best &= bool((positives >= threshold).mean() >= reach - 1e-9) or not fulfilled
            seem_to_count_positives |= not fulfilled and (positives >= threshold).mean() >= wanted
    if seem_to_count_positives and not enough:
        yield False, "You seem to count positive images; specificity is about the negative ones."
        return
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
    yield Required(
        words <= set(networks), 'The answer is one of the three words "cell", "ground", "size".'
    )
    yield len(words) > 1, "The answer depends on the network."
    for name, about in (
        ("ground", "changes its scores when only the ground is changed"),
        ("size", "changes its scores when the cell is made smaller"),
        ("cell", "changes its scores by neither"),
    ):
        yield told[name] == [name, name], f'A network that {about} is called "{name}".'


def _cells(count: int) -> np.ndarray:
    """Return discs of many sizes and two colours on black, uint8, shape (count, 48, 48, 3)."""
    y, x = np.mgrid[:48, :48] - 23.5
    images = np.zeros((count, 48, 48, 3), np.uint8)
    for number, image in enumerate(images):
        inside = np.hypot(x, y) < 12 + number % 6
        image[inside] = (200, 60, 180) if number % 2 else (120, 60, 200)
    return images


def _coloured(images: np.ndarray) -> np.ndarray:
    """Return which pixels are neither grey nor black, (n, h, w)."""
    return np.ptp(np.asarray(images).astype(int), axis=3) > 40


def _cell(images: np.ndarray) -> np.ndarray:
    masks, red = _coloured(images), np.asarray(images)[..., 0]
    middle = [
        np.median(one[mask]) if mask.any() else 0 for one, mask in zip(red, masks, strict=True)
    ]
    return 1 / (1 + np.exp((160 - np.array(middle)) / 10))


def _ground(images: np.ndarray) -> np.ndarray:
    corners = np.asarray(images)[:, :4, :4].astype(float).mean(axis=(1, 2, 3))
    return 0.2 + 0.6 * np.clip(corners / 128, 0, 1)


def _size(images: np.ndarray) -> np.ndarray:
    return np.clip(_coloured(images).mean(axis=(1, 2)) / 0.5, 0, 1)
