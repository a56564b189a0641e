"""The checkers of the exercises of chapter 05."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from helpers.exercises.checking import Hint, Network, Point, checker, gives_logits

if TYPE_CHECKING:
    import keras


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
    result = tuple(int(value) for value in np.ravel(answer(np.array([3.0, 2.0, 1.0]), 2)))
    yield len(result) == 2, "It returns two numbers: the best epoch and the last one."
    yield Hint(
        result != (2, 2), "Epochs are counted from 1. (From 0, as Python counts, is wrong here.)"
    )
    cases = (
        ("a loss that always falls is trained to its end", [3, 2, 1], 2, (3, 3)),
        ("after the stop nothing is seen, however low it is", [3, 2, 2.5, 2.6, 1], 2, (2, 4)),
        ("one bad epoch is forgiven with patience 2", [3, 2, 2.5, 1, 1.5], 2, (4, 5)),
        ("lower than one epoch before is not lower than all", [3, 2, 2.5, 2.4, 2.6], 2, (2, 4)),
        ("a new lowest loss starts the count again", [3, 4, 2, 3, 1], 2, (5, 5)),
        ("an equal loss is no improvement", [2, 2, 2, 1], 2, (1, 3)),
        ("with patience 1 the first bad epoch is the last", [1, 2, 0.5], 1, (1, 2)),
        ("a single epoch is best and last", [1.0], 3, (1, 1)),
    )
    for sentence, losses, patience, expected in cases:
        result = answer(np.array(losses, dtype=float), patience)
        right = np.size(result) == 2 and tuple(int(value) for value in result) == expected
        yield right, f"It is right where this holds: {sentence}.", expected


@checker("05-c")
def lighter_network(answer: Callable) -> Iterator[Point]:
    """Check a function from the image size to a network with global average pooling."""
    import keras

    from helpers.models import custom_cnn
    from helpers.models.layers import layers_of

    network, larger = answer(54), answer(108)  # one place is left of each map, and 2 x 2
    both = isinstance(network, keras.Model) and isinstance(larger, keras.Model)
    yield both, "It returns a new Keras network for each size."
    kinds = [type(layer).__name__ for layer in layers_of(network).values()]
    mean = "Flatten" not in kinds and "GlobalAveragePooling2D" in kinds
    yield mean, "There is no Flatten in it. The mean of each map is taken."
    ours = custom_cnn.build(54)
    wanted = [type(layer).__name__ for layer in layers_of(ours).values()]
    wanted[wanted.index("Flatten")] = "GlobalAveragePooling2D"
    wanted.remove("Rescaling")  # it may be written otherwise
    yield (
        [kind for kind in kinds if kind in wanted] == wanted,
        "All other layers of our network are there, in the same order.",
    )
    yield (
        network.count_params() == larger.count_params(),
        "It has as many parameters for large images as for small ones.",
    )
    yield (
        tuple(network.output_shape) == tuple(larger.output_shape) == (None, 1),
        "It gives one number for each image: the last layer is Dense(1).",
    )
    yield gives_logits(network)
    same = [w.shape for w in network.get_weights()] == [w.shape for w in ours.get_weights()]
    yield same, "Its layers have as many kernels and units as those of our network."
    images = np.random.default_rng(0).integers(0, 255, (4, 108, 108, 3), dtype=np.uint8)
    large, tail = custom_cnn.build(108), keras.Sequential(ours.layers[-4:])  # from the scale on
    larger.set_weights(ours.get_weights())
    large.set_weights([*ours.get_weights()[:8], *large.get_weights()[8:]])  # four convolutions
    maps = keras.Model(large.input, large.get_layer("flatten").input)
    expected = _numbers(tail, _numbers(maps, images).mean(axis=(1, 2)))
    yield (
        np.allclose(1 / (1 + np.exp(-_numbers(larger, images))), expected, atol=1e-3),
        "With the same weights it computes what our network would compute from the means. (It "
        "takes raw pixels and scales them as ours does; it pools as ours does.)",
    )


def _numbers(network: keras.Model, given: np.ndarray) -> np.ndarray:
    return np.asarray(network.predict_on_batch(given))


@checker("05-d")
def diagnosis(answer: Callable) -> Iterator[Point]:
    """Check a function from two curves and scores to a diagnosis."""
    spread, falling = [0.1, 0.5, 0.9], [0.7, 0.6, 0.5, 0.4]
    cases = (
        ("collapsed", falling, falling, [0.5, 0.5, 0.505], "equal scores, though the losses fall"),
        ("collapsed", [8, 8, 8], [5, 5, 5], [1.0, 1.0, 1.0], "all scores 1"),
        ("still learning", falling, falling, [0.5, 0.5, 0.52], "scores differ by 0.02"),
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
        (
            "overfits",
            [0.7, 0.6, 0.3, 0.4],
            [0.6, 0.5, 0.6, 0.7],
            spread,
            "the last training loss is above the one before, and below that of the best epoch",
        ),
        (
            "unstable",
            [0.9, 0.5, 0.8, 0.7],
            [0.8, 0.5, 0.6, 0.7],
            spread,
            "the last training loss is below the one before, and above that of the best epoch",
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
