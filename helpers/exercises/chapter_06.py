"""The checkers of the exercises of chapter 06."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from helpers.exercises.checking import Point, checker, gives_logits


@checker("06-a")
def schedule(answer: Callable) -> Iterator[Point]:
    """Check a function from step, steps, warm-up and peak to a learning rate."""
    steps, warm, peak = 100, 20, 0.5
    rates = [answer(step, steps, warm, peak) for step in range(steps + 1)]
    numbers = all(np.ndim(value) == 0 and np.isfinite(value) for value in rates)
    yield numbers, "It returns one number for each step."
    rates = np.array(rates, dtype=float)
    yield abs(rates[0]) < 1e-9, "The rate is 0 at step 0: the warm-up begins there."
    yield abs(rates[warm] - peak) < 1e-9, "It is `peak` at step `warm`, neither earlier nor later."
    yield int(rates.argmax()) == warm, "No other step has a higher rate."
    yield (
        np.allclose(np.diff(rates[: warm + 1]), peak / warm),
        "It rises by the same amount in each step of the warm-up.",
    )
    yield abs(rates[-1]) < 1e-9, "It is 0 again at step `steps`."
    fall = np.diff(rates[warm:])
    yield (
        np.allclose(fall, fall[0]) and fall[0] < 0,
        "It falls by the same amount in each step after the warm-up.",
    )
    yield (
        np.isclose(answer(30, 50, 10, 2.0), 2 * answer(30, 50, 10, 1.0)),
        "With twice the peak the rate is twice as high.",
    )


@checker("06-b")
def signal_to_noise(answer: Callable) -> Iterator[Point]:
    """Check a function from several results to Taguchi's ratio."""

    def ratio(*values: float) -> float:
        return answer(np.array(values, dtype=float))

    ones = ratio(1, 1)
    yield (np.ndim(ones) == 0 and np.isfinite(ones), "It returns one number for several results.")
    yield abs(ones) < 1e-9, "Results of 1 have a ratio of 0: the logarithm of 1."
    ten = ratio(10, 10)
    yield ten > ones, "A larger result has a larger ratio. (Mind the sign.)"
    yield (
        np.isclose(ten, 20),
        "Ten times the result adds 20: the logarithm has base 10, and the result is squared.",
    )
    yield (
        ratio(5, 5) > ratio(2, 8),
        "Of two runs with the same mean it prefers the one that scatters less.",
    )
    yield (
        np.isclose(ratio(1, 2), ratio(2, 1, 1, 2)),
        "It takes the mean, so measuring everything twice changes nothing.",
    )
    low, high = ratio(1, 1), ratio(2, 2)
    yield (
        low < ratio(1, 2) < (low + high) / 2,
        "First 1 / y² of each result, then the mean, then the logarithm: a low result counts more.",
    )
    wanted = -10 * np.log10(0.625)  # 0.625 is the mean of 1 and 1/4
    yield np.isclose(ratio(1, 2), wanted), "It is right for the results 1 and 2.", float(wanted)


@checker("06-c")
def mended_network(answer: Callable) -> Iterator[Point]:
    """Check a function that returns a network without three faults."""
    import keras

    network = answer()
    yield isinstance(network, keras.Model), "It returns a Keras network."
    yield (
        network.input_shape == (None, 32, 32, 3) and network.output_shape == (None, 1),
        "It takes images of 32 x 32 pixels and gives one number for each.",
    )
    yield (
        any(isinstance(layer, keras.layers.Conv2D) for layer in network.layers),
        "It has a convolution.",
    )
    yield (
        gives_logits(network)[0],
        "Its last layer has no activation: a logit may be negative. (A sigmoid makes a score.)",
    )
    yield (
        all(getattr(layer, "rate", 0) <= 0.5 for layer in network.layers),
        "No dropout takes more than half.",
    )
    # In training, because there batch normalisation takes the mean of the images it is given.
    convolution = next(one for one in network.layers if isinstance(one, keras.layers.Conv2D))
    before = keras.Model(network.inputs[0], convolution.input)
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3)).astype("float32")
    images[:4] = np.array([0, 64, 128, 255]).reshape(4, 1, 1, 1)
    seen = keras.ops.convert_to_numpy(before(images, training=True))
    yield (
        np.abs(seen).max() <= 10,
        "The pixels are scaled before the first convolution: it gets no number above ten.",
    )


@checker("06-d")
def orthogonal(answer: Callable) -> Iterator[Point]:
    """Check a function that tells orthogonal plans from others."""
    full = pd.DataFrame(itertools.product("ab", "xyz"), columns=["one", "other"])
    got = answer(full)
    yield isinstance(got, bool | np.bool_), "It returns True or False."
    yield bool(got), "All combinations of two factors are orthogonal."
    half = pd.DataFrame([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)], columns=list("abc"))
    yield bool(answer(half)), "Four runs for three factors of two levels can be orthogonal."
    yield (
        not answer(half.assign(c=half["a"])),
        "Two equal columns are not: some pairs of levels never occur.",
    )
    yield not answer(full.iloc[:-1]), "With one run missing, a pair occurs less often than others."
    skew = pd.DataFrame([(0, 0), (0, 1), (1, 0), (1, 1), (1, 1)], columns=["a", "b"])
    yield not answer(skew), "Each pair must occur equally often; to occur at all is not enough."
    pairs = itertools.combinations(range(4), 2)
    twins = [half[[*"abc"[:late], "abc"[first], *"abc"[late:]]] for first, late in pairs]
    yield (
        not any(answer(plan.set_axis(list("abcd"), axis=1)) for plan in twins),
        "All pairs of columns count: a plan with two equal columns is wrong, wherever they stand.",
    )
    yield (
        bool(answer(pd.concat([half, half], ignore_index=True))),
        "A plan that is run twice stays orthogonal: equally often may be more than once.",
    )
