"""The checkers of the exercises of chapter 09."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Hint, Point, checker, whole


@checker("09-a")
def own_preprocessing(answer: Callable) -> Iterator[Point]:
    """Check a function that preprocesses a raw image in one of three ways."""
    from keras import applications

    known = {
        "tf": applications.xception,
        "caffe": applications.vgg16,
        "own": applications.efficientnet_v2,
    }
    image = np.random.default_rng(9).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    before = image.copy()
    result = {way: np.asarray(answer(image, way)) for way in known}
    yield (
        (
            all(found.shape == image.shape for found in result.values()),
            "The shape of the image is kept.",
        )
    )
    yield all(found.dtype == np.float32 for found in result.values()), "The numbers are float32."
    yield np.array_equal(image, before), "The image that it was given is unchanged."
    yield (
        np.ptp(result["tf"]) > 0.1,
        "With tf, the numbers differ: do not divide by 255 as well.",
    )
    yield (
        np.corrcoef(result["caffe"][..., 0].ravel(), image[..., 2].ravel())[0, 1] > 0.99,
        "With caffe, blue comes first.",
    )
    for way, module in known.items():
        wanted = module.preprocess_input(image.astype(np.float32))
        same = np.allclose(result[way], wanted, atol=1e-3)
        yield same, f"With {way}, the numbers are those that Keras gives to such a network."
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
        yield result == expected, f"It is right: {sentence}.", expected


@checker("09-c")
def attention_behind_vgg16(answer: tuple[int, int]) -> Iterator[Point]:
    """Check the parameters that both kinds of attention add to VGG16, against live layers."""
    from helpers.models import attention

    yield np.size(answer) == 2, "It is a pair."
    squeeze, eca = (whole(number) for number in answer)
    maps = (64, 64, 128, 128, 256, 256, 256, *[512] * 6)

    def added(kind: type) -> list[int]:
        live = [kind() for _ in maps]
        for layer, count in zip(live, maps, strict=True):
            layer.build((None, 2, 2, count))
        return [layer.count_params() for layer in live]

    by_squeeze, by_eca = (
        added(attention.SqueezeExcitation),
        added(attention.EfficientChannelAttention),
    )
    yield squeeze > eca > 0, "Squeeze-and-excitation comes first; its number is the larger one."
    yield Hint(
        2 * squeeze != sum(by_squeeze), "Squeeze-and-excitation has two matrices of weights."
    )
    yield Hint(squeeze != sum(set(by_squeeze)), "You count each of the thirteen convolutions.")
    yield squeeze == sum(by_squeeze), "The number for squeeze-and-excitation is right."
    yield eca % 2 == 1, "Thirteen odd numbers have an odd sum."
    yield Hint(
        eca != min(by_eca) * len(maps), "The kernel of ECA is longer for layers with more maps."
    )
    yield eca == sum(by_eca), "The number for ECA is right."


@checker("09-d")
def attention_to_places(answer: Callable) -> Iterator[Point]:
    """Check a layer that weighs the places of an image, by what it does to feature maps."""
    import keras

    rng = np.random.default_rng(9)
    maps = rng.uniform(0.5, 1.5, (2, 9, 8, 16)).astype("float32")
    layer = answer()
    yield isinstance(layer, keras.layers.Layer), "It makes a layer of Keras."

    def out(given: np.ndarray) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(layer(given)))

    found = out(maps)
    yield found.shape == maps.shape, "The shape of the maps is kept."
    share = found / maps
    yield ((share > 0) & (share < 1)).all(), "Each weight is between 0 and 1."
    spread = np.ptp(share, axis=-1).max()
    yield (
        spread < 1e-4,
        "At one place, all maps get the same weight; to weigh maps is another kind of attention.",
    )
    yield share.std(axis=(1, 2)).max() > 1e-4, "Different places get different weights."
    moved = maps.copy()
    moved[0, 0, 0] *= 4
    change = np.abs(out(moved) / moved - share).max(axis=-1)
    yield change[0, 3, 3] > 1e-7, "A kernel of 7 x 7 looks three places away, to all sides."
    yield change[0, 4, 4] < 1e-5, "A place that is four away has no influence."
    louder = maps.copy()
    louder[:, :, :, 0] += 3
    louder[:, :, :, 1:] -= 0.2  # the mean stays the same, the largest value does not
    yield (
        np.abs(out(louder) / louder - share).max() > 1e-5,
        "The largest value over the maps counts, not only the mean.",
    )
    yield 98 <= layer.count_params() <= 99, "It has one kernel of 7 x 7 over two pictures."
