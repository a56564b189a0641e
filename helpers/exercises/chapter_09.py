"""The checkers of the exercises of chapter 09."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from helpers.exercises.checking import Point, Required, checker


@checker("09-a")
def own_preprocessing(answer: Callable) -> Iterator[Point]:
    """Check a function that preprocesses a raw image in one of three ways."""
    image = np.random.default_rng(9).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    before = image.copy()
    wanted = {
        "tf": image.astype(np.float64) / 127.5 - 1,
        "caffe": image[..., ::-1].astype(np.float64) - [103.939, 116.779, 123.68],
        "own": image.astype(np.float64),
    }
    result = {way: np.asarray(answer(image, way)) for way in wanted}
    yield all(f.shape == image.shape for f in result.values()), "The shape of the image is kept."
    yield all(f.dtype == np.float32 for f in result.values()), "The numbers are float32."
    yield np.array_equal(image, before), "The image that it was given is unchanged."
    sentences = {
        "tf": "With tf, 0 becomes -1 and 255 becomes 1.",
        "caffe": "With caffe, blue comes first and the mean of each colour is subtracted.",
        "own": "With own, the numbers stay as they are.",
    }
    for way, sentence in sentences.items():
        same = result[way].shape == image.shape and np.allclose(result[way], wanted[way], atol=1e-3)
        yield same, sentence
    try:
        answer(image, "torch")
        refused = False
    except ValueError:
        refused = True
    yield refused, "An unknown way raises a ValueError."


@checker("09-b")
def worth_the_price(answer: Callable) -> Iterator[Point]:
    """Check a function from costs and scores to the positions of models worth their cost."""
    cases = (
        (
            "a model that costs more and scores higher is worth it",
            [1, 2, 3],
            [0.7, 0.8, 0.9],
            [0, 1, 2],
        ),
        ("a model that costs more and scores lower is not", [1, 2, 3], [0.9, 0.8, 0.95], [0, 2]),
        ("a model that costs more and scores the same is not", [1, 2], [0.8, 0.8], [0]),
        ("a model that costs the same and scores lower is not", [2, 2], [0.7, 0.8], [1]),
        ("the cheapest model comes first", [3, 1, 2], [0.9, 0.7, 0.8], [1, 2, 0]),
        (
            "two models with the same cost and score are both worth it",
            [2, 2, 5],
            [0.8, 0.8, 0.7],
            [0, 1],
        ),
        ("a single model is worth it", [7], [0.5], [0]),
    )
    for sentence, costs, scores, expected in cases:
        result = [int(index) for index in answer(list(costs), list(scores))]
        yield result == expected, f"It is right: {sentence}."


@checker("09-c")
def attention_behind_vgg16(answer: tuple[int, int]) -> Iterator[Point]:
    """Check the parameters that both kinds of attention add to VGG16."""
    yield Required(np.size(answer) == 2, "It is a pair.")
    squeeze, eca = (operator.index(number) for number in answer)
    channels = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    table = sum(count * (count // 16) for count in channels)
    yield squeeze > eca > 0, "Squeeze-and-excitation comes first; its number is the larger one."
    yield squeeze != table, "Squeeze-and-excitation has two matrices of weights."
    yield squeeze == 2 * table, "All thirteen layers are counted for squeeze-and-excitation."
    yield eca % 2 == 1, "Thirteen odd numbers have an odd sum."
    yield eca != 3 * len(channels), "The kernel of ECA is longer for layers with more maps."
    yield eca == 3 * 2 + 5 * 11, "All thirteen layers are counted for ECA."


@checker("09-d")
def choose_by_validation(answer: Callable) -> Iterator[Point]:
    """Check a function from a table of backbones to the name and figure to report."""
    columns = ["backbone", "validation loss", "test accuracy", "multiply-adds"]
    cases = (
        (
            "the lowest validation loss is chosen, not the highest test accuracy",
            [("a", 0.5, 0.80, 1), ("b", 0.4, 0.70, 2), ("c", 0.6, 0.90, 3)],
            ("b", 0.70),
        ),
        (
            "of equal losses the cheaper one is taken",
            [("a", 0.4, 0.80, 5), ("b", 0.4, 0.70, 2), ("c", 0.6, 0.90, 1)],
            ("b", 0.70),
        ),
        (
            "rows may be numbered in any way",
            [("a", 0.3, 0.60, 9), ("b", 0.4, 0.95, 1)],
            ("a", 0.60),
        ),
    )
    for place, (sentence, rows, expected) in enumerate(cases):
        table = pd.DataFrame(rows, columns=columns, index=range(7 * place, 7 * place + len(rows)))
        given = table.copy()
        result = tuple(answer(table))
        right = len(result) == 2 and result[0] == expected[0] and bool(result[1] == expected[1])
        yield right, f"It is right: {sentence}."
        if place == 0:
            yield table.equals(given), "The table that it was given is unchanged."
