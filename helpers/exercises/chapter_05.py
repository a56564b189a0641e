"""What the answers of chapter 05 are held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from helpers.exercises.checking import Point, checker


@checker("05-a")
def clean_up(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from a ragged mask and a size to a clean mask."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    mask = np.zeros((40, 40), bool)
    mask[5:15, 5:15] = True
    mask[8:11, 8:11] = False  # a hole
    mask[20:24, 20:24] = True  # 16 pixels
    mask[30:35, 30:35] = True  # 25 pixels
    mask[35:38, 35:38] = True  # 9 pixels, touching the 25 by a corner
    before = mask.copy()
    found = np.asarray(answer(mask, 20))
    yield np.array_equal(mask, before), "The mask that it was given is unchanged."
    same = found.shape == mask.shape and found.dtype == bool
    yield same, "The result is a bool array of the same shape."
    if not same:
        return
    yield bool(found[8:11, 8:11].all()), "The hole is filled."
    yield not found[20:24, 20:24].any(), "A piece that is too small is gone."
    yield bool(found[30:35, 30:35].all()), "A piece that is large enough stays."
    yield not found[35:38, 35:38].any(), "What touches by a corner only is a piece of its own."
    yield bool(np.asarray(answer(mask, 16))[20:24, 20:24].all()), "Just large enough is enough."
    ring = np.zeros((12, 12), bool)
    ring[2:8, 2:8] = True
    ring[3:7, 3:7] = False
    whole = bool(np.asarray(answer(ring, 30)).sum() == 36)
    yield whole, "A ring counts with what it encloses."
    empty = np.zeros((6, 6), bool)
    yield not np.asarray(answer(empty, 1)).any(), "An empty mask stays empty."
    yield not np.asarray(answer(empty, 0)).any(), "The ground is no piece, whatever the size."


@checker("05-b")
def contrast_inside(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from grey levels and a mask to the contrast of neighbours inside it."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    grey = np.array([[10, 20, 90], [200, 190, 5]], np.uint8)
    mask = np.array([[True, True, False], [True, True, False]])
    found = float(answer(grey, mask))
    yield (
        not math.isclose(found, (100 + 246**2) / 2),
        "uint8 was made a number that can be below 0.",
    )
    yield math.isclose(found, 100), "Neighbours are compared, and differences squared."
    other = grey.copy()
    other[:, 2] = 255
    yield math.isclose(float(answer(other, mask)), found), "What lies outside has no influence."
    gap = np.array([[True, False, True], [True, True, False]])
    yield math.isclose(float(answer(grey, gap)), 100), "Across a gap there are no neighbours."
    alone = np.eye(3, dtype=bool)
    yield math.isnan(float(answer(np.zeros((3, 3), np.uint8), alone))), "No pair gives NaN."
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


@checker("05-c")
def standardise_without_leak(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function that brings features to one scale by the training rows alone."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    rng = np.random.default_rng(5)
    train, test = rng.normal(5, 3, (50, 4)), rng.normal(7, 2, (20, 4))
    train[:, 2] = 4.0
    before = train.copy(), test.copy()
    with np.errstate(all="ignore"):
        ours, theirs = (np.asarray(part, float) for part in answer(train, test))
    kept = np.array_equal(train, before[0]) and np.array_equal(test, before[1])
    yield kept, "The arrays that it was given are unchanged."
    shapes = ours.shape == train.shape and theirs.shape == test.shape
    yield shapes, "Both shapes are kept, training first."
    if not shapes:
        return
    others = [0, 1, 3]
    centred = np.allclose(ours[:, others].mean(axis=0), 0)
    yield centred, "Each feature has mean 0 on the training images."
    yield np.allclose(ours[:, others].std(axis=0), 1), "Each has deviation 1 there."
    expected = (test - train.mean(axis=0)) / train.std(axis=0).clip(1e-300)
    right = np.allclose(theirs[:, others], expected[:, others])
    yield right, "The test images are shifted and scaled by the same numbers."
    yield np.allclose(ours[:, 2], 0), "A feature without spread becomes 0."
    yield np.allclose(theirs[:, 2], test[:, 2] - 4), "For the test images it is only shifted."
    marked = test.copy()
    marked[3] = 1e6
    with np.errstate(all="ignore"):
        again, _ = answer(train, marked)
    yield np.allclose(again, ours), "A wild test image changes nothing in training."


@checker("05-d")
def reinhard_map(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function that gives pixels the means and deviations of a reference."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    rng = np.random.default_rng(5)
    means, deviations = np.array([40.0, 20.0, -25.0]), np.array([8.0, 3.0, 5.0])
    lab = rng.normal([60, 10, -10], [4, 6, 2], (400, 3))
    before = lab.copy()
    found = np.asarray(answer(lab, means, deviations), float)
    yield found.shape == lab.shape, "The shape is kept."
    yield np.array_equal(lab, before), "The pixels that it was given are unchanged."
    if found.shape != lab.shape:
        return
    yield np.allclose(found.mean(axis=0), means), "The means are the reference's."
    yield np.allclose(found.std(axis=0), deviations), "So are the standard deviations."
    order = all(np.array_equal(np.argsort(found[:, c]), np.argsort(lab[:, c])) for c in range(3))
    yield order, "A pixel that was lighter than another one still is."
    same = answer(lab, lab.mean(axis=0), lab.std(axis=0))
    yield np.allclose(same, lab), "With its own values as the reference nothing changes."
    lab[:, 1] = 7
    with np.errstate(all="ignore"):
        flat = np.asarray(answer(lab, means, deviations), float)
    yield np.allclose(flat[:, 1], means[1]), "A channel without spread gets the mean."
    yield np.allclose(flat[:, 0].std(), deviations[0]), "The other channels then still are right."


@checker("05-e")
def pattern_spectrum(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from a map of dye and radii to the dye in spots of each size."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    radii = [1, 2, 4, 6]
    flat = np.full((60, 60), 0.5, np.float32)
    found = np.asarray(answer(flat, radii), float)
    yield found.shape == (len(radii),), "There is one number for each radius."
    if found.shape != (len(radii),):
        return
    yield np.allclose(found, 0), "An even map has no spots."
    for size, place, words in ((1, 1, "small"), (5, 3, "large")):
        spots = flat.copy()
        for row in (15, 45):
            for column in (15, 45):
                cv2.circle(spots, (column, row), size, 1.0, -1)
        before = spots.copy()
        found = np.asarray(answer(spots, radii), float)
        yield np.array_equal(spots, before), f"A map with {words} spots is left unchanged."
        most = int(np.argmax(found)) == place
        yield most, f"Most dye of {words} spots is found at the first radius above theirs."
        whole = np.isclose(found.sum(), spots.mean() - flat.mean(), atol=1e-4)
        yield bool(whole), "All steps together take away the spots, and nothing twice."
