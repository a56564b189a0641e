"""The checkers of the exercises of chapter 16."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Hint, Point, checker, gives_logits


@checker("16-a")
def better_than_nothing(answer: Callable) -> Iterator[Point]:
    """Check a function that measures how concentrated a map is in a mask."""
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    inside = answer(mask * 2.0, mask)
    yield np.ndim(inside) == 0, "It returns one number."
    yield Hint(
        not np.isclose(inside, 1),
        "The share of the map is divided by the share of the image: a map that lies inside a "
        "mask of a quarter gets more than 1.",
    )
    yield np.isclose(inside, 4), "With a mask of a quarter that map gets 4."
    yield np.isclose(answer(np.full((4, 4), 7.0), mask), 1), "A map that is the same all over: 1."
    yield np.isclose(answer(1.0 - mask, mask), 0), "A map that lies outside the mask gets 0."
    signed = np.where(mask, 1.0, -1.0)
    yield np.isclose(answer(signed, mask), 1), "Negative values count like positive ones."
    full = np.arange(16.0).reshape(4, 4)
    yield np.isclose(answer(full, np.ones((4, 4), bool)), 1), "A mask of the whole image gives 1."
    with np.errstate(invalid="ignore", divide="ignore"):
        yield np.isnan(answer(np.zeros((4, 4)), mask)), "A map of zeros gives NaN, not 0."
        yield np.isnan(answer(full, np.zeros((4, 4), bool))), "An empty mask gives NaN."


@checker("16-b")
def deletion_test(answer: Callable) -> Iterator[Point]:
    """Check a function that covers the brightest pixels of a map first."""
    rng = np.random.default_rng(16)
    image = rng.integers(1, 200, (4, 6, 3), dtype=np.uint8)
    before, important = image.copy(), rng.permutation(24).reshape(4, 6).astype(float)
    seen: list[np.ndarray] = []

    def logit(given: np.ndarray) -> float:
        seen.append(np.array(given))
        return float(np.asarray(given, float).mean())

    result = np.ravel(answer(logit, image, important.copy(), 4, 0))
    yield (
        len(result) == 5,
        "It returns steps + 1 logits: that of the whole image, and one after each part.",
    )
    yield np.array_equal(image, before), "The image that it was given is unchanged: work on a copy."
    yield np.isclose(result[0], before.mean()), "The first logit is that of the whole image."
    yield (np.diff(result) < 0).all(), "What is covered once stays covered."
    yield np.isclose(result[-1], 0), "In the end all pixels are covered."
    sums = [int((given != before).any(axis=-1).sum()) for given in seen]
    yield sums == [0, 6, 12, 18, 24], "Each part has the same number of pixels."
    covered = (seen[1] != before).any(axis=-1) if len(seen) > 1 else np.zeros((4, 6), bool)
    yield not covered[important < 6].all(), "It does not begin with the smallest values of the map."
    yield (
        np.array_equal(covered, important >= 18),
        "The first part covers the pixels with the largest values.",
    )
    answer(logit, image, -important, 4, 77)
    yield (seen[-1] == 77).all(), "It covers with the given colour."
    last = seen[-4]
    yield (
        np.array_equal((last != before).any(axis=-1), important < 6),
        "Negative values are small: what speaks against the class is covered last.",
    )


@checker("16-c")
def sees_the_whole_cell(answer: Callable) -> Iterator[Point]:
    """Check a function from the image size to a network in which every pixel has influence."""
    import keras

    network = answer(54)
    yield isinstance(network, keras.Model), "It returns a Keras network."
    layers = list(network.layers)
    kernels = [layer.filters for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    yield kernels == [32, 64, 128, 256], "It has the four convolutions, in their order."
    kinds = keras.layers.MaxPooling2D | keras.layers.AveragePooling2D
    pools = [layer for layer in layers if isinstance(layer, kinds)]
    sides = [int(layer.pool_size[0]) for layer in pools]
    yield sides == [3, 3, 3, 2], "It has the four poolings by 3, 3, 3 and 2."
    rng = np.random.default_rng(16)
    for size in (54, 80, 96):
        network = answer(size)
        images = rng.integers(0, 256, (8, size, size, 3)).astype("float32")
        before = np.asarray(network.predict_on_batch(images))
        yield before.shape == (8, 1), f"It returns one number for each image of {size}."
        for name, edge in (
            ("first row", np.s_[:, 0]),
            ("last row", np.s_[:, -1]),
            ("last column", np.s_[:, :, -1]),
        ):
            other = images.copy()
            other[edge] = 255 - other[edge]
            after = np.asarray(network.predict_on_batch(other))
            differs = np.abs(after - before).max() > 1e-6
            yield differs, f"With {size} pixels, the {name} has influence."
    yield gives_logits(network)
