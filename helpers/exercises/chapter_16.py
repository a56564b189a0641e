"""The checkers of the exercises of chapter 16."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, Required, checker


@checker("16-a")
def heart_of_grad_cam(answer: Callable) -> Iterator[Point]:
    """Check a function that computes the small map of Grad-CAM from feature maps and slopes."""
    rng = np.random.default_rng(15)
    maps, slopes = rng.uniform(0, 1, (4, 5, 6)), rng.normal(0, 1, (4, 5, 6))
    kept = maps.copy(), slopes.copy()
    result = np.asarray(answer(maps, slopes))
    yield Required(result.shape == (4, 5), "The map has the height and width of the feature maps.")
    unchanged = np.array_equal(maps, kept[0]) and np.array_equal(slopes, kept[1])
    yield unchanged, "The arrays that it was given are unchanged."
    yield (result >= 0).all(), "Nothing is below zero."
    single = np.zeros((2, 2, 1)), np.ones((2, 2, 1))
    single[0][1, 0] = 3
    bright = np.asarray(answer(*single))
    yield bright.argmax() == 2, "With a single feature map, it is bright where that map is bright."
    uneven = np.ones((2, 2, 1)), np.array([[4.0, 0.0], [0.0, 0.0]])[..., None]
    yield np.ptp(answer(*uneven)) == 0, "Each feature map has one weight, the same at all places."
    weights = slopes.mean(axis=(0, 1))
    wanted = np.maximum((maps * weights).sum(axis=-1), 0)
    scale = result.max() / wanted.max()
    yield np.allclose(result, wanted * scale), "The weighted maps are added, then cut at zero."
    yield np.isclose(scale, 1), "The weight of a map is the mean of its slopes."


@checker("16-b")
def occlusion_of_anything(answer: Callable) -> Iterator[Point]:
    """Check a function that measures how the score falls when a square is covered."""
    image = np.zeros((6, 8, 3), np.uint8)
    image[2:4, 4:6] = 200
    before = image.copy()
    result = np.asarray(answer(lambda given: float(np.mean(given)), image, 2, 0))
    yield Required(result.shape == (6, 8), "It has the height and width of the image.")
    yield np.array_equal(image, before), "The image that it was given is unchanged."
    yield (result[2:4, 4:6] > 0).all(), "Where covering lowers the score, it is above zero."
    yield np.count_nonzero(result) == 4, "Where covering changes nothing, it is zero."
    yield (
        np.allclose(result[2:4, 4:6], before.mean()),
        "It is the score before minus the score after.",
    )
    bright = np.asarray(answer(lambda given: float(np.mean(given)), image, 2, 255))
    yield (bright < 0).all(), "Where the score rises, the value is below zero."
    cut = np.asarray(answer(lambda given: float(given[5, 7, 0]), image, 5, 9))
    wanted = np.zeros((6, 8))
    wanted[5:, 5:] = -9
    yield np.allclose(cut, wanted), "Squares at the right and lower edge may be smaller."


@checker("16-c")
def own_integrated_gradients(answer: Callable) -> Iterator[Point]:
    """Check integrated gradients of a slope, an image, a baseline and a number of steps."""
    rng = np.random.default_rng(15)
    image, baseline, weights = rng.normal(0, 2, (3, 3, 4, 2))
    result = np.asarray(answer(lambda _: weights, image, baseline, 3))
    yield Required(result.shape == image.shape, "It has the shape of the image.")
    linear = np.allclose(result, weights * (image - baseline))
    yield linear, "For a linear function, each pixel gets its weight times its change."
    square = np.asarray(answer(lambda x: 2 * x, image, baseline, 5))
    total = (image**2 - baseline**2).sum()
    yield (
        np.isclose(square.sum(), total),
        "For a sum of squares, the parts add up to the difference of the scores.",
    )
    seen: list[np.ndarray] = []

    def watched(x: np.ndarray) -> np.ndarray:
        seen.append(np.array(x))
        return 3 * x**2

    answer(watched, np.ones(2), np.zeros(2), 4)
    yield len(seen) == 4, "The slope is computed once for each step."
    places = sorted(float(x[0]) for x in seen)
    yield (
        np.allclose(places, [0.125, 0.375, 0.625, 0.875]),
        "It is computed in the middle of a step.",
    )
    same = np.asarray(answer(lambda x: x + 7, image, image, 4))
    yield not same.any(), "A pixel that equals the baseline gets zero."


@checker("16-d")
def better_than_nothing(answer: Callable) -> Iterator[Point]:
    """Check a function that measures how concentrated a map is in a mask."""
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    yield np.isclose(answer(np.full((4, 4), 7.0), mask), 1), "A uniform map gets 1."
    yield np.isclose(answer(mask * 2.0, mask), 4), "A map that lies in a mask of a quarter gets 4."
    yield np.isclose(answer(1.0 - mask, mask), 0), "A map that lies outside the mask gets 0."
    signed = np.where(mask, 1.0, -1.0)
    yield np.isclose(answer(signed, mask), 1), "Negative values count like positive ones."
    full = np.arange(16.0).reshape(4, 4)
    yield np.isclose(answer(full, np.ones((4, 4), bool)), 1), "A mask of the whole image gives 1."
    yield np.isnan(answer(np.zeros((4, 4)), mask)), "A map of zeros gives NaN."
    yield np.isnan(answer(full, np.zeros((4, 4), bool))), "An empty mask gives NaN."


@checker("16-e")
def no_blind_strip(answer: int) -> Iterator[Point]:
    """Check the smallest side for which four poolings leave no pixel over."""
    side = operator.index(answer)
    yield side >= 96, "It is 96 pixels or more."
    left = side
    for number, pool in enumerate((3, 3, 3, 2), start=1):
        yield left % pool == 0, f"Pooling {number} leaves no pixel over."
        left //= pool
    yield side < 108 + 54, "No smaller side is possible."
