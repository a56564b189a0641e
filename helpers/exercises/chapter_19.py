"""The checkers of the exercises of chapter 19."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("19-a")
def reinhard_map(answer: Callable) -> Iterator[Point]:
    """Check a function that gives pixels the means and deviations of a reference."""
    rng = np.random.default_rng(5)
    means, deviations = np.array([40.0, 20.0, -25.0]), np.array([8.0, 3.0, 5.0])
    lab = rng.normal([60, 10, -10], [4, 6, 2], (400, 3))
    before = lab.copy()
    result = np.asarray(answer(lab, means, deviations), float)
    yield result.shape == lab.shape, "The shape is kept."
    yield np.array_equal(lab, before), "The pixels that it was given are unchanged."
    # Divided by n or by n - 1: both are standard deviations.
    right = np.allclose(result.std(axis=0), deviations, rtol=0.002)
    yield right, "Each channel has its own deviation, that of the reference."
    right = np.allclose(result.mean(axis=0), means)
    yield right, "The means are those of the reference: add them after you have stretched."
    order = all(np.array_equal(np.argsort(result[:, c]), np.argsort(lab[:, c])) for c in range(3))
    yield order, "The order of the pixels, from dark to light, is kept."
    same = answer(lab, lab.mean(axis=0), lab.std(axis=0))
    yield np.allclose(same, lab, atol=0.1), "With its own means and deviations, nothing changes."
    lab[:, 1] = 7
    with np.errstate(all="ignore"):
        flat = np.asarray(answer(lab, means, deviations), float)
    finite = np.isfinite(flat).all()
    yield finite, "A constant channel gives numbers: look at what you divide by."
    yield np.allclose(flat[:, 1], means[1]), "A constant channel gets the mean of the reference."
    still = np.allclose(flat[:, 0].std(), deviations[0], rtol=0.002)
    yield still, "The other channels are then still right."


@checker("19-b")
def amounts_of_dyes(answer: Callable) -> Iterator[Point]:
    """Check a function from pixels and two dyes to the amounts of the dyes."""
    rng = np.random.default_rng(5)
    dyes = np.array([[0.65, 0.7, 0.29], [0.2, 0.93, 0.3]])  # far from a right angle
    glass, truth = 240, rng.uniform(0, 1, (300, 2))
    pixels = np.rint(glass * np.exp(-truth @ dyes) - 1).astype(np.uint8)
    before = pixels.copy()
    result = np.asarray(answer(pixels, dyes, glass), float)
    yield result.shape == (300, 2), "There are two amounts for each pixel."
    yield np.array_equal(pixels, before), "The pixels that it was given are unchanged."
    yield np.isfinite(result).all(), "Every amount is a number."
    clear = np.full((1, 3), glass - 1, np.uint8)
    empty = np.allclose(answer(clear, dyes, glass), 0, atol=1e-9)
    yield (
        empty,
        "Empty glass has no dye: the density is a logarithm, of the light over that of glass.",
    )
    one = glass * np.exp(-0.8 * dyes[:1]) - 1
    found = np.asarray(answer(np.rint(one).astype(np.uint8), dyes, glass), float)[0]
    yield (
        abs(found[1]) < 0.1,
        "A pixel with the first dye alone has none of the second: dyes that are not at right "
        "angles need least squares, a product with each dye is not enough.",
    )
    right = abs(found[0] - 0.8) < 0.1
    yield right, "The amount is right: dyes add up in the density, which is a logarithm."
    yield np.abs(result - truth).max() < 0.1, "Both amounts are right for mixtures."
    other = np.allclose(answer(np.full((1, 3), 199, np.uint8), dyes, 200), 0, atol=1e-9)
    yield other, "With another light of glass, empty glass has no dye either."
    black, white = np.zeros((1, 3), np.uint8), np.full((1, 3), 255, np.uint8)
    with np.errstate(all="ignore"):
        light = np.asarray(answer(white, dyes, 256), float)
    yield (
        np.allclose(light, 0, atol=1e-9),
        "A pixel of 255 has no dye where glass is 256: 256 does not fit into uint8, so make the "
        "pixels float first.",
    )
    with np.errstate(all="ignore"):
        dark = np.asarray(answer(black, dyes, glass), float)
    yield np.isfinite(dark).all(), "A black pixel has a density, too: mind the + 1."


@checker("19-c")
def vary_the_stain(answer: Callable) -> Iterator[Point]:
    """Check a function that varies the stain of a cell on black ground."""
    rng = np.random.default_rng(5)
    image = np.zeros((20, 30, 3), np.uint8)
    image[4:16, 5:25] = rng.integers(1, 240, (12, 20, 3))
    image[4:16, 5:25, 2] = 80  # the same density in the whole channel
    image[4, 5] = 1
    before = image.copy()
    result = np.asarray(answer(image, np.random.default_rng(1), 0.3))
    same = result.shape == image.shape and result.dtype == np.uint8
    yield same, "The result is a uint8 image of the same shape."
    yield np.array_equal(image, before), "The image that it was given is unchanged."
    black = ~image.any(axis=2)
    yield not result[black].any(), "Black ground stays black."
    bright = np.full((8, 8, 3), 255, np.uint8)
    glass = np.array_equal(answer(bright, np.random.default_rng(2), 0.5), bright)
    yield glass, "White has no density, so it stays white: multiply the density, not the light."
    many = [np.asarray(answer(image, np.random.default_rng(seed), 0.5)) for seed in range(200)]
    kept = all(one[~black].any(axis=1).all() for one in many)
    yield kept, "No cell pixel becomes black, not even a dark one."
    yield not np.array_equal(result, image), "The colours change."
    yield np.array_equal(answer(image, rng, 0), image), "Strength 0 changes nothing."
    again = answer(image, np.random.default_rng(1), 0.3)
    yield np.array_equal(again, result), "The same generator gives the same image: draw from `rng`."
    flat = all(np.ptp(one[5:16, 5:25, 2]) == 0 for one in many)
    yield flat, "There is one factor for a channel, not one for each pixel."
    grey = np.full((8, 8, 3), 90, np.uint8)
    drawn = [answer(grey, np.random.default_rng(seed), 0.2)[0, 0] for seed in range(400)]
    factors = np.log(np.array(drawn, float) / 255) / np.log(90 / 255)
    spread, middle = np.log(factors).std(axis=0), np.log(factors).mean(axis=0)
    yield np.allclose(middle, 0, atol=0.04), "The logarithm of the factors has mean 0."
    yield np.allclose(spread, 0.2, atol=0.03), "It has the standard deviation `strength`."
    related = np.corrcoef(np.log(factors).T)[np.triu_indices(3, 1)]
    yield np.abs(related).max() < 0.3, "Each channel has a factor of its own."
