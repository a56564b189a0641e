"""The checkers of the exercises of chapter 08."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, Required, checker


def _separable(picture: np.ndarray, depthwise: np.ndarray, pointwise: np.ndarray) -> np.ndarray:
    """Apply both kernels, one after the other, to one patch of the kernel's size."""
    around = np.einsum("ijc,ijcm->cm", picture, depthwise)
    return around.reshape(-1) @ pointwise[0, 0]


@checker("08-a")
def merge(answer: Callable) -> Iterator[Point]:
    """Check a function from a depthwise and a pointwise kernel to the ordinary one."""
    rng = np.random.default_rng(8)
    for k, c, m, n in ((3, 4, 1, 6), (5, 3, 1, 2), (3, 4, 2, 5)):
        depthwise, pointwise = rng.normal(size=(k, k, c, m)), rng.normal(size=(1, 1, c * m, n))
        kernel = np.asarray(answer(depthwise.copy(), pointwise.copy()))
        yield Required(kernel.shape == (k, k, c, n), f"The kernel has the shape {(k, k, c, n)}.")
        patch = rng.normal(size=(k, k, c))
        same = np.allclose(
            np.einsum("ijc,ijcn->n", patch, kernel), _separable(patch, depthwise, pointwise)
        )
        yield Required(
            same, f"It gives the output of the two kernels, for a depth multiplier of {m}."
        )


def _work(size: int, inputs: int, channels: int, expansion: int, stride: int) -> int:
    out, wide = size // stride, inputs * expansion
    work = [size**2 * inputs * wide * (expansion > 1), out**2 * 9 * wide, out**2 * wide * channels]
    return sum(work)


@checker("08-b")
def block_work(answer: Callable) -> Iterator[Point]:
    """Check a function that counts the multiply-adds of an inverted residual."""
    plain, strided, first = (14, 64, 64, 6, 1), (56, 24, 32, 6, 2), (112, 32, 16, 1, 1)
    number = operator.index(answer(*plain))
    wide = 6 * 64
    yield number != _work(*plain) - 14**2 * 9 * wide, "The depthwise convolution is counted."
    yield number < _work(*plain) + 14**2 * 9 * wide, "A depthwise kernel works on one map only."
    yield number == _work(*plain), "It is right for a block with a skip."
    yield (
        answer(*strided) != 28**2 * (24 * 144 + 9 * 144 + 144 * 32),
        ("The first convolution works on the full size, before the stride."),
    )
    yield answer(*strided) == _work(*strided), "It is right for a block with a stride of 2."
    yield answer(*first) == _work(*first), "Without expansion there is no first convolution."
    cases = [(28, 32, 64, 6, 2), (7, 160, 320, 6, 1), (8, 2, 3, 4, 1)]
    yield all(answer(*case) == _work(*case) for case in cases), "It is right for other blocks."


@checker("08-c")
def eight_bits(answer: Callable) -> Iterator[Point]:
    """Check a function that rounds an array to at most 256 even steps, one of them zero."""
    rng = np.random.default_rng(8)
    values = rng.normal(size=5000) + 0.3
    values[:50] = 0.0
    got = np.asarray(answer(values.copy()), dtype=float)
    yield Required(got.shape == values.shape, "It returns an array of the same shape.")
    levels = np.unique(np.round(got, 9))
    yield 200 <= len(levels) <= 256, "There are at most 256 different values, and not many fewer."
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
    yield np.abs(below + above).max() <= 3.01 / 255, "It works when all are negative."
    nothing = np.asarray(answer(np.zeros(4)), dtype=float)
    yield (nothing == 0).all(), "An array of zeros stays an array of zeros."
