"""The checkers of the exercises of chapter 12."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker, gives_logits


@checker("12-a")
def epochs_of_iterations(answer: Callable) -> Iterator[Point]:
    """Check a function that converts iterations to passes through the training images."""
    if np.isclose(answer(10, 16, 200, 0.2), 0.8):
        yield False, "You seem to count all images; count those that are left for training."
    if np.isclose(answer(100, 9, 101, 0.1), 9.90099):
        yield False, "You seem to have a part of an image left; round the number of images down."
    cases = (
        ("with nothing set aside, batches of all images are epochs", (7, 50, 50, 0.0), 7.0),
        ("half a pass is half an epoch", (1, 25, 50, 0.0), 0.5),
        ("images that are set aside are not counted", (10, 16, 200, 0.2), 1.0),
        ("the number of training images is rounded down", (100, 9, 101, 0.1), 10.0),
        ("rounding errors do not cost an image", (100, 7, 10, 0.3), 100.0),
    )
    for sentence, case, expected in cases:
        yield np.isclose(answer(*case), expected), f"It is right: {sentence}.", expected


@checker("12-b")
def permutation_p_value(answer: Callable) -> Iterator[Point]:
    """Check a function that computes a p-value from the results with shuffled labels."""
    never = answer(0.9, [0.5, 0.4, 0.6, 0.5])
    if np.isclose(never, 0):
        yield False, "You seem to leave out your own figure: the p-value can never be 0."
    if np.isclose(answer(0.5, [0.5, 0.4, 0.6, 0.5]), 0.4):
        yield False, "You seem to count higher figures only; count equal ones too."
    cases = (
        ("a result that is never reached by chance", 0.9, [0.5, 0.4, 0.6, 0.5], 0.2),
        ("a result below all others", 0.3, [0.5, 0.4, 0.6], 1.0),
        ("a result that others equal", 0.5, [0.5, 0.4, 0.6, 0.5], 0.8),
        ("many shuffles, which allow small p-values", 0.9, [0.5] * 99, 0.01),
    )
    for sentence, own, shuffled, expected in cases:
        right = all(
            np.isclose(answer(own, given), expected) for given in (shuffled, np.array(shuffled))
        )
        yield right, f"It is right for {sentence}."


@checker("12-c")
def colour_only(answer: Callable) -> Iterator[Point]:
    """Check a function from pictures, labels and groups to a balanced accuracy."""
    rng = np.random.default_rng(12)
    per_group, groups = 5, 24
    of = np.repeat(np.arange(groups), per_group)
    labels = (of % 2).astype(int)
    noise = rng.normal(0, 6, (len(of), 6, 6, 3))

    def shot(tint: np.ndarray) -> np.ndarray:
        pictures = 190 + tint[:, None, None, :] + noise
        return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)

    two = np.zeros((len(of), 3))
    two[:, 0], two[:, 2] = 9 * (2 * labels - 1), -9 * (2 * labels - 1)
    own = rng.normal(0, 14, (groups, 3))[of]  # each group has its own light, for any class
    names = np.array([f"field_{number}" for number in of])
    order = rng.permutation(len(of))
    result = {}
    for name, tint in (("two", two), ("own", own), ("none", np.zeros((len(of), 3)))):
        pictures, truth, group = shot(tint)[order], labels[order], names[order]
        before = pictures.copy()
        result[name] = float(answer(pictures, truth, group))
        if name == "two":
            yield np.array_equal(pictures, before), "The pictures that it was given are unchanged."
    yield all(0 <= value <= 1 for value in result.values()), "It gives a share from 0 to 1."
    yield result["two"] > 0.95, "It detects two lamps, one for each class."
    yield result["none"] < 0.68, "It finds nothing where the colours do not differ."
    yield (
        result["own"] < 0.75,
        "It is not misled when each group has its own light. If it is: are there pictures of one "
        "group on both sides of the cross-validation?",
    )
    # Nine pictures of one class to one of the other, no colour: saying the frequent class is 0.5.
    rare = np.flatnonzero((labels[order] == 0) | (of[order] < 4))
    value = float(
        answer(shot(np.zeros((len(of), 3)))[order][rare], labels[order][rare], names[order][rare])
    )
    yield (
        value < 0.75,
        "With unequal classes, a constant answer gives one half. If it does not: you seem to "
        "return the accuracy; return the balanced accuracy.",
    )


@checker("12-d")
def train_square(answer: Callable) -> Iterator[Point]:
    """Check a trained network that lays rows out on a square: its layers, then what it learned."""
    import keras

    keras.utils.set_random_seed(12)
    rows, labels = _rows(5, 240, seed=1)
    given = rows.copy(), labels.copy()
    network = answer(*given)
    yield isinstance(network, keras.Model), "It returns a Keras network."
    same = np.array_equal(given[0], rows) and np.array_equal(given[1], labels)
    yield same, "The arrays that it was given are unchanged."
    yield tuple(network.input_shape) == (None, 5), "It takes a row of `count` numbers."
    convolutions = [each for each in network.layers if isinstance(each, keras.layers.Conv2D)]
    yield len(convolutions) == 2, "There are two convolutions."
    yield tuple(network.output_shape) == (None, 1), "It gives one number for each row."
    yield gives_logits(network)
    numbers = rows[:4]
    square = keras.Model(network.inputs, convolutions[0].input).predict(numbers, verbose=0)
    yield square.shape == (4, 3, 3, 1), "Five numbers lie on a square of three by three."
    row = square.reshape(4, -1)
    unit = row[0, 0] / numbers[0, 0]
    upright = np.allclose(row[:, :5], unit * numbers, rtol=1e-4)
    if not upright and np.allclose(square[:, :, 0, 0] / unit, numbers[:, :3], rtol=1e-4):
        yield False, "You seem to fill the square column by column; fill it row by row."
    yield not row[:, 5:].any(), "The rest of the square is filled with zeros."
    yield upright, "The numbers lie row by row, in their order."
    scaled = row.max() <= 1.001
    yield scaled, "The network takes raw numbers and scales them itself."
    yield from _learned(network, 5)
    full = answer(*_rows(9, 240, seed=2))
    first = next(each for each in full.layers if isinstance(each, keras.layers.Conv2D))
    yield tuple(first.input.shape) == (None, 3, 3, 1), "Nine numbers fill a square exactly."
    yield from _learned(full, 9)


def _rows(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of `count` numbers from 1 to 255, of which two tell the class, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    rows = rng.normal(128, 30, (size, count))
    rows[:, [0, 3]] += 40.0 * (2 * labels - 1)[:, None]
    return np.clip(rows, 1, 255).round().astype("float32"), labels


def _learned(network: object, count: int) -> Iterator[Point]:
    """Judge a trained network on rows that it was not trained on."""
    rows, labels = _rows(count, 400, seed=count)
    logits = np.ravel(network.predict(rows, verbose=0))
    right = np.mean((logits > 0) == (labels == 1))
    if np.ptp(logits) < 0.1:
        yield False, "New rows all get nearly the same logit: is the network trained at all?"
    elif right < 0.2:
        yield False, "On new rows it names the wrong class: a high logit means label 1."
    elif right < 0.85:
        yield (
            False,
            "On new rows it is often wrong. Is the loss made for logits, are epochs missing?",
        )
    else:
        yield True, f"It names the class of new rows of {count} numbers, not seen in training."
