"""The checkers of the exercises of chapter 05."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Hint, Network, Point, checker, gives_logits


@checker("05-a")
def own_predictor(answer: Callable) -> Iterator[Point]:
    """Check a function from model, raw image and threshold to a class."""
    image = np.full((8, 8, 3), 200, dtype=np.uint8)
    sure = Network(lambda _: 0.9)
    got = answer(sure, image, 0.5)
    yield (
        isinstance(got, str) and got in ("positive", "negative"),
        'It returns "positive" or "negative", nothing else.',
    )
    shapes = [batch.shape for batch in sure.seen]
    yield (
        shapes == [(1, 8, 8, 3)],
        "The network is asked once, with a batch of one image: image[np.newaxis].",
    )
    yield (
        got == "positive",
        "A score of 0.9 is positive at a threshold of 0.5 (argmax of one number is always 0).",
    )
    yield answer(Network(lambda _: 0.1), image, 0.5) == "negative", "A score of 0.1 is negative."
    yield (
        answer(sure, image, 0.95) == "negative",
        "The given threshold is used, not always one half: 0.9 is negative at 0.95.",
    )
    yield answer(Network(lambda _: 0.5), image, 0.5) == "positive", "An equal score is positive."
    bright = Network(lambda image: float(image.mean()) / 255)
    yield (
        answer(bright, image, 0.5) == "positive",
        "The network gets the raw pixels: it scales them itself.",
    )


@checker("05-b")
def early_stopping(answer: Callable) -> Iterator[Point]:
    """Check a function from losses and patience to the best and the last epoch."""
    result = tuple(int(value) for value in np.ravel(answer([3, 2, 1], 2)))
    yield len(result) == 2, "It returns two numbers: the best epoch and the last one."
    yield Hint(
        result != (2, 2), "Epochs are counted from 1. (From 0, as Python counts, is wrong here.)"
    )
    cases = (
        ("a loss that always falls is trained to its end", [3, 2, 1], 2, (3, 3)),
        ("after the stop nothing is seen, however low it is", [3, 2, 2.5, 2.6, 1], 2, (2, 4)),
        ("one bad epoch is forgiven with patience 2", [3, 2, 2.5, 1, 1.5], 2, (4, 5)),
        ("an equal loss is no improvement", [2, 2, 2, 1], 2, (1, 3)),
        ("with patience 1 the first bad epoch is the last", [1, 2, 0.5], 1, (1, 2)),
        ("a single epoch is best and last", [1.0], 3, (1, 1)),
    )
    for sentence, losses, patience, expected in cases:
        result = answer(list(losses), patience)
        right = np.size(result) == 2 and tuple(int(value) for value in result) == expected
        yield right, f"It is right where this holds: {sentence}.", expected


@checker("05-c")
def lighter_network(answer: Callable) -> Iterator[Point]:
    """Check a function from the image size to a network with global average pooling."""
    import keras

    network, larger = answer(54), answer(96)
    both = isinstance(network, keras.Model) and isinstance(larger, keras.Model)
    yield both, "It returns a new Keras network for each size."
    kinds = [type(layer).__name__ for layer in network.layers]
    mean = "Flatten" not in kinds and "GlobalAveragePooling2D" in kinds
    yield mean, "There is no Flatten in it. The mean of each map is taken."
    yield kinds.count("Conv2D") == 4, "The four convolutions are still there."
    yield (
        network.count_params() == larger.count_params(),
        "It has as many parameters for large images as for small ones.",
    )
    yield (
        tuple(network.output_shape) == (None, 1),
        "It gives one number for each image: the last layer is Dense(1).",
    )
    images = np.random.default_rng(0).integers(0, 255, (4, 54, 54, 3), dtype=np.uint8)
    raw = np.asarray(network.predict_on_batch(images))
    yield gives_logits(network)
    scaled = np.asarray(network.predict_on_batch(images / 255))
    yield (
        np.abs(raw - scaled).max() > 1e-4 and "Rescaling" in kinds,
        "It takes raw pixels and scales them itself.",
    )


@checker("05-d")
def diagnosis(answer: Callable) -> Iterator[Point]:
    """Check a function from two curves and scores to a diagnosis."""
    spread, falling = [0.1, 0.5, 0.9], [0.7, 0.6, 0.5, 0.4]
    cases = (
        ("collapsed", falling, falling, [0.5, 0.5, 0.505], "equal scores, though the losses fall"),
        ("collapsed", [8, 8, 8], [5, 5, 5], [1.0, 1.0, 1.0], "all scores 1"),
        ("still learning", falling, falling, spread, "both losses fall to the end"),
        ("still learning", falling, [0.6, 0.7, 0.5, 0.4], spread, "one bad epoch in the middle"),
        ("still learning", [0.7], [0.7], spread, "a single epoch"),
        ("overfits", falling, [0.6, 0.5, 0.55, 0.7], spread, "the curves part"),
        (
            "overfits",
            [0.7, 0.5, 0.8, 0.4],
            [0.6, 0.5, 0.9, 0.7],
            spread,
            "compare the last with the best",
        ),
        ("unstable", [0.7, 0.5, 0.6, 0.9], [0.6, 0.5, 0.7, 1.1], spread, "both losses rise again"),
    )
    words = {name for name, *_ in cases}
    first = answer(*map(np.array, cases[0][1:4]))
    yield (
        isinstance(first, str) and first in words,
        "It returns one of the four words of the list.",
    )
    for expected, losses, val_losses, scores, what in cases:
        got = answer(np.array(losses), np.array(val_losses), np.array(scores))
        yield got == expected, f"It knows a training where this happens: {what}.", expected
