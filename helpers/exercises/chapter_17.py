"""The checkers of the exercises of chapter 17."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker


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
    yield same, "The result is a bool array of the same shape."
    yield result[8:11, 8:11].all(), "The hole is filled."
    yield not result[20:24, 20:24].any(), "A piece that is too small is gone."
    yield result[30:35, 30:35].all(), "A piece that is large enough stays."
    yield not result[35:38, 35:38].any(), "Pieces that touch only at a corner are separate pieces."
    yield np.asarray(answer(mask, 16))[20:24, 20:24].all(), "A piece of just this size stays."
    ring = np.zeros((12, 12), bool)
    ring[2:8, 2:8] = True
    ring[3:7, 3:7] = False
    empty = np.zeros((6, 6), bool)
    yield not np.asarray(answer(empty, 0)).any(), "The background is not a piece, even for size 0."
    yield not np.asarray(answer(empty, 1)).any(), "An empty mask stays empty."
    yield np.asarray(answer(ring, 30)).sum() == 36, "A ring is filled before it is measured."


@checker("17-b")
def otsu_by_hand(answer: Callable) -> Iterator[Point]:
    """Check a function from grey levels to the threshold of two classes."""
    from skimage.filters import threshold_otsu

    small = np.array([[10, 10, 12], [200, 201, 199]], np.uint8)
    before = small.copy()
    got = answer(small)
    whole = isinstance(got, int | np.integer) and not isinstance(got, bool)
    yield whole, "It returns one whole number: int(...)."
    yield np.array_equal(small, before), "The array that it was given is unchanged."
    got = int(got)
    yield 12 <= got < 199, "Two groups of similar levels are separated between the groups."
    rng = np.random.default_rng(17)
    many = np.concatenate([rng.normal(60, 8, 4000), rng.normal(150, 25, 600)])
    cases = (
        ("the classes have unequal sizes (each variance counts times its pixels)", many),
        ("a few pixels are very bright", np.concatenate([rng.normal(90, 20, 900), [255] * 3])),
        ("the image has many levels, 0 and 255 among them", rng.integers(0, 256, 700)),
        ("there are two levels only", np.array([7] * 5 + [9])),
    )
    for what, levels in cases:
        levels = np.clip(levels, 0, 255).astype(np.uint8).reshape(1, -1)
        here = int(answer(levels))
        filled = levels.min() <= here < levels.max()
        yield filled, f"Both classes hold a pixel where this is so: {what}."
        found = np.array_equal(levels <= here, levels <= threshold_otsu(levels))
        yield found, f"No other threshold has a smaller within-class variance: {what}."


@checker("17-c")
def kinds_of_error(answer: Callable) -> Iterator[Point]:
    """Check a function from found and true nuclei to the counts of four errors."""
    names = ("missed", "invented", "merged", "split")
    truth = np.zeros((30, 60), int)
    truth[4:14, 4:14], truth[4:14, 16:26], truth[16:26, 40:50] = 1, 2, 3
    got = answer(truth.copy(), truth.copy())
    right = isinstance(got, dict) and set(got) == set(names)
    yield right, "It returns a dictionary with the four names of the exercise."
    yield not any(got.values()), "Where all nuclei are found exactly, all counts are 0."
    gone, ghost, one, cut, small = (truth.copy() for _ in range(5))
    gone[gone == 3] = 0
    ghost[16:22, 4:10] = 4
    one[4:14, 14:16] = one[one == 2] = 1
    cut[21:26, 40:50] = 4
    small[truth == 3] = 0
    small[16:20, 40:50] = 3  # two fifths of the nucleus
    half = truth.copy()
    half[21:26, 40:50] = 0
    renamed = np.array([0, 9, 2, 5])[truth]
    wide = truth.copy()
    wide[16:26, 40:60] = 3  # half of it lies outside
    cases = (
        ("A nucleus that was not found is missed.", gone, {"missed": 1}),
        ("Two true nuclei in one found nucleus are merged, and none is missed.", one,
         {"merged": 1}),
        ("A nucleus of which two fifths were found is missed, too.", small, {"missed": 1}),
        ("Exactly half is not enough: at most half means missed.", half, {"missed": 1}),
        ("A piece of background that was found is invented.", ghost, {"invented": 1}),
        ("A found nucleus of which just half is true is invented.", wide, {"invented": 1}),
        ("A true nucleus with two found ones inside is split, and not missed: together they "
         "cover it.", cut, {"split": 1}),
        ("The numbers of the nuclei may have gaps, and differ in the two arrays.", renamed, {}),
    )  # fmt: skip
    for sentence, found, expected in cases:
        got = answer(found.copy(), truth.copy())
        wanted = {name: expected.get(name, 0) for name in names}
        yield all(got[name] == wanted[name] for name in names), sentence, wanted
    empty = np.zeros_like(truth)
    got = answer(empty, truth.copy())
    yield [got[name] for name in names] == [3, 0, 0, 0], "If nothing is found, all are missed."
