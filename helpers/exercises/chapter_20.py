"""The checkers of the exercises of chapter 20."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from helpers.catalog import augmentation
from helpers.exercises.checking import Point, checker


@checker("20-a")
def sieve_for_pale_spots(answer: Callable) -> Iterator[Point]:
    """Check a function from a map of dye and radii to what pale spots of each size lack."""
    radii = [1, 2, 4, 6]
    flat = np.full((60, 60), 0.8, np.float32)
    result = np.asarray(answer(flat, radii), float)
    yield result.shape == (len(radii),), "There is one number for each radius."
    yield np.allclose(result, 0), "A uniform map has no spots."
    dark = flat.copy()
    cv2.circle(dark, (30, 30), 3, 1.5, -1)
    yield (
        np.abs(answer(dark, radii)).max() < 1e-3,
        "Dark spots do not count: those are what an opening takes away.",
    )
    for size, index, words in ((1, 1, "small"), (5, 3, "large")):
        spots = flat.copy()
        for row in (15, 45):
            for column in (15, 45):
                cv2.circle(spots, (column, row), size, 0.2, -1)
        before = spots.copy()
        result = np.asarray(answer(spots, radii), float)
        yield np.array_equal(spots, before), f"A map with {words} pale spots is left unchanged."
        yield result.sum() > 0, f"What a closing adds at {words} pale spots is positive."
        most = int(np.argmax(result)) == index
        yield most, f"Most of {words} pale spots is found at the first radius above theirs."
        whole = np.isclose(result.sum(), flat.mean() - spots.mean(), atol=1e-4)
        yield (
            whole,
            f"All steps together fill the {words} spots once: each step counts from the step "
            "before, and not from the image.",
        )


@checker("20-b")
def probabilities_of_five(answer: Callable) -> Iterator[Point]:
    """Check a function that joins the probabilities of two stages."""
    rng = np.random.default_rng(5)
    first, second = (rng.dirichlet([1, 1, 1], 40) for _ in range(2))
    before = first.copy(), second.copy()
    result = np.asarray(answer(first, second), float)
    yield result.shape == (40, 5), "There are five probabilities for each cell."
    kept = np.array_equal(first, before[0]) and np.array_equal(second, before[1])
    yield kept, "The arrays that it was given are unchanged."
    yield ((result >= 0) & (result <= 1)).all(), "Every number lies between 0 and 1."
    yield np.allclose(result[:, :2], first[:, :2]), "The first stage decides on the granular kinds."
    total = np.allclose(result.sum(axis=1), 1)
    yield (
        total,
        "The five add up to 1: the second stage shares out what the first gives to 'other', "
        "and no more.",
    )
    sure = np.array([[1.0, 0, 0], [0, 0, 1]]), np.array([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
    found = np.asarray(answer(*sure), float)
    yield np.allclose(found[0], [1, 0, 0, 0, 0]), "A sure eosinophil stays one."
    yield np.allclose(found[1, 2:], sure[1][1]), "A sure 'other' has the second stage's numbers."
    saved = np.asarray(answer(np.array([[0.4, 0.1, 0.5]]), np.array([[0.4, 0.3, 0.3]])), float)
    yield (
        int(saved.argmax()) == 0,
        "A cell that is 'other' by a hair, and then none of the three for sure, is an eosinophil.",
    )


@checker("20-c")
def copies_of_a_cell(answer: Callable) -> Iterator[Point]:
    """Check a function that finds images that are turned or mirrored copies of one another."""
    rng = np.random.default_rng(5)
    originals = rng.integers(0, 256, (4, 12, 12, 3)).astype(np.uint8)
    near = originals[0].copy()
    near[3, 4, 1] ^= 1  # another image: one bit differs
    copies, truth = [near], [9]
    for number, image in enumerate(originals):
        copies += [augmentation.apply(image, transform) for transform in augmentation.TRANSFORMS]
        truth += [number] * len(augmentation.TRANSFORMS)
    order = rng.permutation(len(copies))
    images, truth = np.stack(copies)[order], np.array(truth)[order]
    before = images.copy()
    result = np.asarray(answer(images))
    right = result.shape == (len(images),) and np.issubdtype(result.dtype, np.integer)
    yield right, "There is one whole number for each image."
    yield np.array_equal(images, before), "The images are unchanged."
    together = result[:, None] == result
    same = truth[:, None] == truth
    one = originals[:1]
    turned = np.asarray(answer(np.concatenate([one, np.rot90(one, 1, (1, 2))])))
    yield turned[0] == turned[1], "An image that was turned by 90 degrees is found."
    mirrored = np.asarray(answer(np.concatenate([one, one[:, :, ::-1]])))
    yield mirrored[0] == mirrored[1], "A mirrored image is found."
    yield together[same].all(), "All eight copies of an image get one number."
    apart = not together[~same].any()
    yield apart, "Different cells get different numbers, even if only one pixel differs."
    scrambled = originals[2].reshape(-1, 3)[rng.permutation(144)].reshape(12, 12, 3)
    other = np.asarray(answer(np.stack([originals[2], scrambled])))
    yield other[0] != other[1], "The same pixels in another order are another image."
    shifted = np.asarray(answer(np.stack([originals[1], originals[1][..., ::-1]])))
    yield shifted[0] != shifted[1], "Swapped colours make another image: do not compare sums."
