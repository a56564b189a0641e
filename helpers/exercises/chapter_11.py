"""The checkers of the exercises of chapter 11."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("11-a")
def alarm_limit(answer: Callable) -> Iterator[Point]:
    """Check a function from errors and a number of false alarms to a limit."""
    errors = [0.2, 0.5, 0.1, 0.4, 0.3]
    first = answer(np.array(errors), 1)
    yield np.size(first) == 1, "It returns one number."
    yield np.isclose(errors, first).any(), "The limit is one of the errors."
    if np.isclose(first, 0.5):
        yield False, "You seem to count the limit itself; only errors above it count."
    if np.isclose(first, 0.2):
        yield False, "You seem to sort the other way round: too many are above your limit."
    cases = (
        ("no cell may be above", errors, 0, 0.5),
        ("one cell may be above", errors, 1, 0.4),
        ("the order of the errors plays no part", sorted(errors), 1, 0.4),
        ("half of many cells may be above", list(range(10)), 5, 4),
        ("more may be above than there are", errors, 9, 0.1),
        ("all but one may be above", errors, 4, 0.1),
        ("equal errors are not above each other", [0.3, 0.3, 0.3, 0.1], 1, 0.3),
    )
    for sentence, values, most, expected in cases:
        got = answer(np.array(values, dtype=float), most)
        yield np.isclose(got, expected), f"It is right where {sentence}.", expected


@checker("11-b")
def copied(answer: Callable) -> Iterator[Point]:
    """Check a function from three sets of images to the share that lies nearer to the first."""

    def flat(*greys: int) -> np.ndarray:
        return np.stack([np.full((4, 4, 3), grey, np.uint8) for grey in greys])

    half = answer(flat(10, 200), flat(12), flat(198))
    yield (np.size(half) == 1 and 0 <= float(half) <= 1, "It returns one number from 0 to 1.")
    yield np.isclose(half, 0.5), "One of two images is nearer to the training image."
    yield (
        answer(flat(100), flat(105), flat(116)) == 1,
        "Numbers do not run over: in uint8, 16 squared is 0; convert the images to float first.",
    )
    yield (
        answer(flat(100), flat(0, 99), flat(90, 91)) == 1,
        "The nearest image counts, not the mean of all.",
    )
    yield answer(flat(100), flat(90), flat(110)) == 0, "Equally near does not count."
    edge, spots = flat(100), flat(100)
    edge[:, 0] = 104
    spots[:, 0, 0] = 112
    # Four places are off by 4 (squared together 64), one by 12 (squared 144).
    yield answer(flat(100), edge, spots) == 1, "The errors are squared before they are added."


@checker("11-c")
def denoiser(answer: Callable) -> Iterator[Point]:
    """Check a function from size and length of the code to a denoising autoencoder."""
    import keras

    network = answer(32, 5)
    yield isinstance(network, keras.Model), "It returns one Keras network."
    flat = list(_flat(network, keras))
    noise = [layer for layer in flat if isinstance(layer, keras.layers.GaussianNoise)]
    yield len(noise) == 1, "There is one layer GaussianNoise in it."
    yield np.isclose(noise[0].stddev, 0.1), "Its standard deviation is 0.1."
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    back = np.asarray(network.predict_on_batch(images))
    yield (back.shape == images.shape, "An image comes back in the size in which it went in.")
    again = np.asarray(network.predict_on_batch(images))
    yield np.allclose(back, again, atol=1e-6), "In use it adds no noise."
    one, other = (
        keras.ops.convert_to_numpy(network(images.astype("float32"), training=True))
        for _ in range(2)
    )
    yield np.abs(one - other).max() > 0, "In training the noise differs from step to step."
    got = _input_of(noise[0], network, images.astype("float32"))
    yield (
        got.shape != images.shape or not np.allclose(got, images),
        "The noise comes behind the scaling: 0.1 of raw pixels would be nothing.",
    )
    yield (
        got.shape == images.shape and np.allclose(got, images / 255, atol=1e-5),
        "The noise is added directly after the scaling: to the pixels, from 0 to 1.",
    )
    narrow = [layer for layer in flat if isinstance(layer, keras.layers.Dense) and layer.units == 5]
    yield len(narrow) == 1, "Its code has as many numbers as asked for."
    yield (
        answer(32, 5) is not network and answer(40, 5).input_shape[1] == 40,
        "Each call builds a new network, of the size that is asked for.",
    )


@checker("11-d")
def gan_diagnosis(answer: Callable) -> Iterator[Point]:
    """Check a function from accuracies and two sets of images to a diagnosis."""
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
    drawn = rng.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
    alike = np.repeat(drawn[:1], 8, axis=0)
    nearly = alike + rng.integers(0, 3, alike.shape, dtype=np.uint8) // 2
    half, few = np.concatenate([real[:4], drawn[:4]]), np.concatenate([real[:3], drawn[:5]])
    again = np.concatenate([real[[0, 0, 0, 0]], drawn[:4]])
    mean = real.mean(axis=0)
    narrow, wide = ((mean + part * (real - mean)).round().astype(np.uint8) for part in (0.08, 0.13))
    patch, spot = alike.copy(), alike.copy()
    patch[:, :2], spot[:, 0, 0] = drawn[:, :2], drawn[:, 0, 0]  # a third of the pixels; one of 36
    moved = np.stack([np.roll(drawn[0], number, axis=0) for number in range(8)])
    even, rising = [0.6] * 8, [0.5] * 6 + [0.99] * 2
    cases = (
        ("no failure found", rising[::-1], drawn, "it was right at the beginning only"),
        ("no failure found", even, drawn, "nothing is wrong"),
        ("collapsed", even, alike, "all drawn images are equal"),
        ("collapsed", even, nearly, "all drawn images are nearly equal"),
        ("collapsed", even, narrow, "the drawn images vary a twelfth as much as the real ones"),
        ("no failure found", even, wide, "they vary an eighth as much as the real ones"),
        ("no failure found", even, moved, "they differ, and are equally bright on average"),
        ("collapsed", even, spot, "only one pixel varies"),
        ("no failure found", even, patch, "a third of the pixels vary, the others do not"),
        ("collapsed", rising, alike, "two failures meet, and the first word counts"),
        ("copies", even, half, "half of the drawn images are real ones"),
        ("copies", even, again, "half of the drawn images are the same real one"),
        ("no failure found", even, np.maximum(half, 1) - 1, "half are nearly real ones, not equal"),
        ("copies", rising, half, "two failures meet, copies and a judge that wins"),
        ("no failure found", even, few, "fewer than half are real ones"),
        ("judge wins", rising, drawn, "the discriminator is right in the last quarter"),
        ("judge wins", [0.5] * 6 + [0.975] * 2, drawn, "the discriminator is right in 97.5 %"),
        ("no failure found", [0.5] * 6 + [0.965] * 2, drawn, "it is right in 96.5 %"),
        ("judge wins", [0.5, 0.5, 0.5, 0.99, 0.99], drawn, "a quarter of five is rounded up"),
        ("no failure found", [0.5, 0.5, 0.5, 0.9, 0.99], drawn, "one high value is not enough"),
    )
    words = {name for name, *_ in cases}
    first = answer(np.array(even), drawn, real)
    yield (
        isinstance(first, str) and first in words,
        "It returns one of the four words of the list.",
    )
    for expected, accuracies, pictures, what in cases:
        got = answer(np.array(accuracies), pictures.copy(), real.copy())
        yield got == expected, f"It knows a training where this happens: {what}.", expected


def _input_of(layer: object, network: object, images: np.ndarray) -> np.ndarray:
    """Return what a layer, which may be in a nested network, gets in one step of training."""
    from keras import ops

    seen, call = [], layer.call

    def watched(given: object, **more: object) -> object:
        seen.append(ops.convert_to_numpy(given))
        return call(given, **more)

    layer.call = watched
    try:
        network(images, training=True)
    finally:
        del layer.call
    return seen[0]


def _flat(model: object, keras: object) -> Iterator[object]:
    """Yield the layers of a network from input to output, those of nested networks too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer, keras)
        else:
            yield layer
