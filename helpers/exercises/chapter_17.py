"""The checkers of the exercises of chapter 17."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from helpers.exercises.checking import Point, Required, checker


@checker("17-a")
def clean_up(answer: Callable) -> Iterator[Point]:
    """Check a function from a ragged mask and a size to a clean mask."""
    mask = np.zeros((40, 40), bool)
    mask[5:15, 5:15] = True
    mask[8:11, 8:11] = False  # a hole
    mask[20:24, 20:24] = True  # 16 pixels
    mask[30:35, 30:35] = True  # 25 pixels
    mask[35:38, 35:38] = True  # 9 pixels, touching the 25 by a corner
    before = mask.copy()
    result = np.asarray(answer(mask, 20))
    yield np.array_equal(mask, before), "The mask that it was given is unchanged."
    same = result.shape == mask.shape and result.dtype == bool
    yield Required(same, "The result is a bool array of the same shape.")
    yield result[8:11, 8:11].all(), "The hole is filled."
    yield not result[20:24, 20:24].any(), "A piece that is too small is gone."
    yield result[30:35, 30:35].all(), "A piece that is large enough stays."
    yield not result[35:38, 35:38].any(), "Pieces that touch only at a corner are separate pieces."
    yield np.asarray(answer(mask, 16))[20:24, 20:24].all(), "A piece of just this size stays."
    ring = np.zeros((12, 12), bool)
    ring[2:8, 2:8] = True
    ring[3:7, 3:7] = False
    yield np.asarray(answer(ring, 30)).sum() == 36, "A ring is filled before it is measured."
    empty = np.zeros((6, 6), bool)
    yield not np.asarray(answer(empty, 1)).any(), "An empty mask stays empty."
    yield not np.asarray(answer(empty, 0)).any(), "The background is not a piece, even for size 0."


@checker("17-b")
def contrast_inside(answer: Callable) -> Iterator[Point]:
    """Check a function from grey levels and a mask to the contrast of neighbours inside it."""
    grey = np.array([[10, 20, 90], [200, 190, 5]], np.uint8)
    mask = np.array([[True, True, False], [True, True, False]])
    result = float(answer(grey, mask))
    yield (
        not math.isclose(result, (100 + 246**2) / 2),
        "The differences can be negative, unlike uint8.",
    )
    yield math.isclose(result, 100), "The differences of neighbours are squared."
    other = grey.copy()
    other[:, 2] = 255
    yield math.isclose(float(answer(other, mask)), result), "Pixels outside have no influence."
    gap = np.array([[True, False, True], [True, True, False]])
    yield math.isclose(float(answer(grey, gap)), 100), "Pixels beside a gap are not neighbours."
    alone = np.eye(3, dtype=bool)
    yield math.isnan(float(answer(np.zeros((3, 3), np.uint8), alone))), "No pairs give NaN."
    rng = np.random.default_rng(5)
    grey, mask = rng.integers(0, 256, (30, 20)).astype(np.uint8), rng.random((30, 20)) < 0.6
    pairs = [
        (int(grey[y, x]) - int(grey[y, x + 1])) ** 2
        for y in range(30)
        for x in range(19)
        if mask[y, x] and mask[y, x + 1]
    ]
    right = math.isclose(float(answer(grey, mask)), float(np.mean(pairs)), rel_tol=1e-6)
    yield right, "It is right on a mask of any shape."


@checker("17-c")
def standardise_without_leak(answer: Callable) -> Iterator[Point]:
    """Check a function that standardises features with the training rows alone."""
    rng = np.random.default_rng(5)
    train, test = rng.normal(5, 3, (50, 4)), rng.normal(7, 2, (20, 4))
    train[:, 2] = 4.0
    before = train.copy(), test.copy()
    with np.errstate(all="ignore"):
        ours, theirs = (np.asarray(part, float) for part in answer(train, test))
    kept = np.array_equal(train, before[0]) and np.array_equal(test, before[1])
    yield kept, "The arrays that it was given are unchanged."
    shapes = ours.shape == train.shape and theirs.shape == test.shape
    yield Required(shapes, "The result has the training and the test images, in their shapes.")
    others = [0, 1, 3]
    centred = np.allclose(ours[:, others].mean(axis=0), 0)
    yield centred, "Each feature has mean 0 on the training images."
    yield np.allclose(ours[:, others].std(axis=0), 1), "Each feature has deviation 1 on them."
    expected = (test - train.mean(axis=0)) / train.std(axis=0).clip(1e-300)
    right = np.allclose(theirs[:, others], expected[:, others])
    yield right, "The test images are shifted and scaled by the same numbers."
    yield np.allclose(ours[:, 2], 0), "A constant feature becomes 0 on the training images."
    yield np.allclose(theirs[:, 2], test[:, 2] - 4), "For the test images it is only shifted."
    marked = test.copy()
    marked[3] = 1e6
    with np.errstate(all="ignore"):
        again, _ = answer(train, marked)
    yield np.allclose(again, ours), "An extreme test image changes nothing for the training images."


@checker("17-d")
def reinhard_map(answer: Callable) -> Iterator[Point]:
    """Check a function that gives pixels the means and deviations of a reference."""
    rng = np.random.default_rng(5)
    means, deviations = np.array([40.0, 20.0, -25.0]), np.array([8.0, 3.0, 5.0])
    lab = rng.normal([60, 10, -10], [4, 6, 2], (400, 3))
    before = lab.copy()
    result = np.asarray(answer(lab, means, deviations), float)
    yield result.shape == lab.shape, "The shape is kept."
    yield np.array_equal(lab, before), "The pixels that it was given are unchanged."
    if result.shape != lab.shape:
        return
    yield np.allclose(result.mean(axis=0), means), "The means are those of the reference."
    yield np.allclose(result.std(axis=0), deviations), "The deviations are those of the reference."
    order = all(np.array_equal(np.argsort(result[:, c]), np.argsort(lab[:, c])) for c in range(3))
    yield order, "The order of the pixels, from dark to light, is kept."
    same = answer(lab, lab.mean(axis=0), lab.std(axis=0))
    yield np.allclose(same, lab), "With its own means and deviations, nothing changes."
    lab[:, 1] = 7
    with np.errstate(all="ignore"):
        flat = np.asarray(answer(lab, means, deviations), float)
    yield np.allclose(flat[:, 1], means[1]), "A constant channel gets the mean of the reference."
    yield np.allclose(flat[:, 0].std(), deviations[0]), "The other channels are then still right."


@checker("17-e")
def pattern_spectrum(answer: Callable) -> Iterator[Point]:
    """Check a function from a map of dye and radii to the dye in spots of each size."""
    radii = [1, 2, 4, 6]
    flat = np.full((60, 60), 0.5, np.float32)
    result = np.asarray(answer(flat, radii), float)
    yield Required(result.shape == (len(radii),), "There is one number for each radius.")
    yield np.allclose(result, 0), "A uniform map has no spots."
    for size, index, words in ((1, 1, "small"), (5, 3, "large")):
        spots = flat.copy()
        for row in (15, 45):
            for column in (15, 45):
                cv2.circle(spots, (column, row), size, 1.0, -1)
        before = spots.copy()
        result = np.asarray(answer(spots, radii), float)
        yield np.array_equal(spots, before), f"A map with {words} spots is left unchanged."
        most = int(np.argmax(result)) == index
        yield most, f"Most dye of {words} spots is found at the first radius above theirs."
        whole = np.isclose(result.sum(), spots.mean() - flat.mean(), atol=1e-4)
        yield whole, "All steps together remove the spots, and nothing is counted twice."
