"""The checkers of the exercises of chapter 08: they try an answer, they do not hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Hint, Point, checker, whole
from helpers.models import cost


def _counted(size: int, inputs: int, channels: int, expansion: int, stride: int) -> dict[str, int]:
    """Return the multiply-adds of each layer of a live block, as Keras and `cost` count them."""
    import keras
    from keras import layers

    x = image = keras.Input((size, size, inputs))
    if expansion > 1:
        x = layers.Conv2D(expansion * inputs, 1, use_bias=False, name="first")(x)
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name="depthwise")(
        x
    )
    x = layers.Conv2D(channels, 1, use_bias=False, name="last")(x)
    found = cost.layers(keras.Model(image, x))
    return {"first": 0, **dict(zip(found["layer"], found["multiply_adds"], strict=True))}


@checker("08-a")
def block_work(answer: Callable) -> Iterator[Point]:
    """Check a function that counts the multiply-adds of an inverted residual."""
    plain = _counted(14, 64, 64, 6, 1)
    number = whole(answer(14, 64, 64, 6, 1))
    without = {name: plain["first"] + plain["depthwise"] + plain["last"] - work
               for name, work in plain.items()}  # fmt: skip
    yield Hint(number != without["depthwise"], "You count the depthwise convolution.")
    yield Hint(
        number not in (without["first"], without["last"]),
        "You count both convolutions with kernels of one pixel.",
    )
    yield Hint(number < 2 * sum(plain.values()), "A depthwise kernel works on one map only.")
    yield number == sum(plain.values()), "It is right for a block with a skip connection."
    strided = _counted(56, 24, 32, 6, 2)
    number = answer(56, 24, 32, 6, 2)
    everywhere_small = strided["first"] // 4 + strided["depthwise"] + strided["last"]
    yield Hint(number != everywhere_small, "The first convolution works before the stride.")
    yield Hint(
        number != 4 * sum(strided.values()) - 3 * strided["first"],
        "After a stride of 2 the maps are half as wide and half as high.",
    )
    yield number == sum(strided.values()), "It is right for a block with a stride of 2."
    first = sum(_counted(12, 32, 16, 1, 1).values())
    yield answer(12, 32, 16, 1, 1) == first, "Without expansion there is no first convolution."
    cases = [(28, 32, 64, 6, 2), (7, 160, 320, 6, 1), (8, 2, 3, 4, 1)]
    right = all(answer(*case) == sum(_counted(*case).values()) for case in cases)
    yield right, "It is right for other blocks."


def _in_two_steps(patch: np.ndarray, depthwise: np.ndarray, pointwise: np.ndarray) -> np.ndarray:
    """Apply both kernels, one after the other, to one patch of the kernel's size."""
    around = np.einsum("ijc,ijcm->cm", patch, depthwise)
    return around.reshape(-1) @ pointwise[0, 0]


@checker("08-b")
def merge(answer: Callable) -> Iterator[Point]:
    """Check a function from a depthwise and a pointwise kernel to the ordinary one."""
    rng = np.random.default_rng(8)
    for k, c, m, n in ((3, 4, 1, 6), (5, 3, 1, 2), (3, 4, 2, 5)):
        depthwise, pointwise = rng.normal(size=(k, k, c, m)), rng.normal(size=(1, 1, c * m, n))
        kernel = np.asarray(answer(depthwise.copy(), pointwise.copy()))
        yield kernel.shape == (k, k, c, n), f"The kernel has the shape {(k, k, c, n)}."
        patch = rng.normal(size=(k, k, c))
        merged = np.einsum("ijc,ijcn->n", patch, kernel)
        swapped = pointwise.reshape(1, 1, m, c, n).swapaxes(2, 3).reshape(pointwise.shape)
        if m > 1:
            yield (
                not np.allclose(merged, _in_two_steps(patch, depthwise, swapped)),
                "The pointwise kernel begins with all new maps of map 0, then those of map 1.",
            )
        same = np.allclose(merged, _in_two_steps(patch, depthwise, pointwise))
        yield (same, f"It gives the output of the two kernels, for a depth multiplier of {m}.")


@checker("08-c")
def followers(answer: Callable) -> Iterator[Point]:
    """Check a function that names the normalisation layers that follow their batches."""
    import keras
    from keras import layers

    def made(name: str, *inside: keras.Layer) -> keras.Model:
        first, second = (layers.BatchNormalization(name=f"{name}_{n}") for n in (2, 1))
        return keras.Sequential([keras.Input((4,)), first, second, *inside], name=name)

    def found(network: keras.Model) -> list[str]:
        return list(answer(network))

    plain = made("bn", layers.LayerNormalization(), layers.Dense(2))
    names = found(plain)
    yield "bn_1" in names and "bn_2" in names, "It finds layers that follow their batches."
    yield not set(names) - {"bn_1", "bn_2"}, "It names batch normalisation layers only."
    yield names == sorted(names), "The names are sorted."
    plain.get_layer("bn_1").trainable = False
    yield found(plain) == ["bn_2"], "A layer with trainable = False keeps its statistics."
    deep = made("outer", made("middle", made("inner")))
    yield len(found(deep)) == 6, "It looks into networks inside networks."
    deep.get_layer("middle").trainable = False
    yield found(deep) == ["outer_1", "outer_2"], "A frozen network freezes the layers inside."
    inputs = keras.Input((4,))
    called = keras.Model(inputs, made("called")(inputs, training=False))
    yield (
        found(called) == ["called_1", "called_2"],
        "training=False in the call does not hold a layer still in fit.",
    )
    called.trainable = False
    yield found(called) == [], "Where all is frozen, no layer follows."


@checker("08-d")
def eight_bits(answer: Callable) -> Iterator[Point]:
    """Check a function that rounds an array to at most 256 even steps, one of them zero."""
    rng = np.random.default_rng(8)
    values = rng.normal(size=5000) + 0.3
    values[:50] = 0.0
    got = np.asarray(answer(values.copy()), dtype=float)
    yield got.shape == values.shape, "It returns an array of the same shape."
    levels = np.unique(np.round(got, 9))
    yield len(levels) <= 256, "There are at most 256 different values."
    yield len(levels) >= 200, "It uses nearly all of the 256 values that eight bits can hold."
    step = np.ptp(values) / 255
    gaps = np.diff(levels) / step
    yield np.abs(gaps - np.round(gaps)).max() < 0.02, "The steps are even."
    yield (got[:50] == 0).all(), "Zero stays exactly zero."
    yield np.abs(got - values).max() <= 1.01 * step, "No value is off by more than a step."
    above = rng.uniform(2, 3, size=1000)
    got = np.asarray(answer(np.append(above, 0.0)), dtype=float)
    yield got[-1] == 0, "Zero is also one of the steps when all other values are positive."
    yield np.abs(got[:-1] - above).max() <= 3.01 / 255, "The errors are small then, too."
    below = np.asarray(answer(-above), dtype=float)
    yield np.abs(below + above).max() <= 3.01 / 255, "It works when all values are negative."
    nothing = np.asarray(answer(np.zeros(4)), dtype=float)
    yield (nothing == 0).all(), "An array of zeros stays an array of zeros."
