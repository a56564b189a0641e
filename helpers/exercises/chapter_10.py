"""The checkers of the exercises of chapter 10."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("10-a")
def length_of_a_sequence(answer: Callable) -> Iterator[Point]:
    """Check a function from the side of an image to the steps and the numbers of a step."""
    from helpers.models import cnn_lstm

    sides = (27, 48, 96, 97, 104)
    yield all(np.size(answer(side)) == 2 for side in sides), "It returns two numbers."
    found = {side: tuple(float(number) for number in answer(side)) for side in sides}
    wanted = {
        side: cnn_lstm.build(side).get_layer("by_rows").output.shape[1:] for side in (48, 96, 97)
    }
    if found[96] == wanted[96][::-1]:
        yield False, "You seem to have the two numbers in the other order; the steps come first."
    if found[96] == (96 // 3, 96 // 3 * 32):
        yield False, "You seem to count one pooling; there are two of them."
    if found[96][1] == cnn_lstm.MAPS:
        yield False, "You seem to count one place of a row; a step is a whole row."
    yield found[96] == wanted[96], "It is right for 96 pixels."
    yield found[48] == wanted[48], "It is right for 48 pixels: a part of a square gives no step."
    yield found[97] == wanted[97], "It is right for an odd number of pixels."
    yield found[104][0] == found[97][0] + 1, "104 pixels give one step more than 97."


@checker("10-b")
def attention_pooling(answer: Callable) -> Iterator[Point]:
    """Check a function that computes the weighted mean of cells by a softmax."""
    rng = np.random.default_rng(10)
    cells, importance = rng.normal(size=(7, 3)), rng.normal(size=7)
    before = cells.copy(), importance.copy()
    found = np.asarray(answer(cells, importance), dtype=float)
    yield found.shape == (3,), "It returns one number for each column."
    yield (
        np.array_equal(cells, before[0]) and np.array_equal(importance, before[1]),
        "What it was given is unchanged.",
    )
    same = np.asarray(answer(np.ones((7, 3)), importance), dtype=float)
    if not np.allclose(same, 1):
        yield False, "Seven cells that are all alike must give this cell: do the weights sum to 1?"
    even = np.asarray(answer(cells, np.zeros(7)), dtype=float)
    yield np.allclose(even, cells.mean(axis=0)), "Equal importances give the plain mean."
    moved = np.asarray(answer(cells, importance + 3), dtype=float)
    yield np.allclose(moved, found), "The same number added to all importances changes nothing."
    order = rng.permutation(7)
    shuffled = np.asarray(answer(cells[order], importance[order]), dtype=float)
    yield np.allclose(shuffled, found), "The order of the cells does not matter."
    two = np.asarray(answer(cells[:2], np.array([0.0, np.log(3.0)])), dtype=float)
    yield (
        np.allclose(two, 0.25 * cells[0] + 0.75 * cells[1]),
        "A cell whose importance is larger by log 3 counts three times as much.",
    )
    with np.errstate(all="ignore"):
        large = np.asarray(answer(cells, np.array([1000.0, *[0.0] * 6])), dtype=float)
    yield np.allclose(large, cells[0]), "An importance of 1000 gives that cell, and no overflow."


@checker("10-c")
def without_the_lstm(answer: Callable) -> Iterator[Point]:
    """Check a function that builds the network of the page without its LSTMs."""
    import keras

    from helpers.models import cnn_lstm
    from helpers.models.layers import layers_of

    keras.utils.set_random_seed(10)
    model = answer(48)
    yield isinstance(model, keras.Model), "It returns a network of Keras."
    yield tuple(model.input_shape) == (None, 48, 48, 3), "It takes raw images."
    yield tuple(model.output_shape) == (None, 1), "It gives one number for each image."
    found = list(layers_of(model).values())
    kinds = [type(layer).__name__ for layer in found]
    if "Flatten" in kinds:
        yield False, "You seem to keep all places of the maps; keep one mean for each map."
    if "GlobalMaxPooling2D" in kinds:
        yield False, "You seem to keep the largest number of each map; keep the mean."
    yield (
        not {"LSTM", "Bidirectional", "GRU", "SimpleRNN"} & set(kinds),
        "Nothing in it reads in order.",
    )
    filters = [layer.filters for layer in found if type(layer).__name__ == "Conv2D"]
    wanted = [*cnn_lstm.FILTERS, cnn_lstm.MAPS]
    yield filters == wanted, "It has the convolutions of our network, in their order."
    last = getattr(getattr(found[-1], "activation", None), "__name__", "")
    yield last == "linear", "Its answer is a logit: no sigmoid at the end."
    yield (
        answer(75).count_params() == model.count_params(),
        "Its parameters do not depend on the size of the image.",
    )
    ours = cnn_lstm.build(48)
    convolutions, last = ours.get_weights()[: 2 * len(wanted)], [(cnn_lstm.MAPS, 1), (1,)]
    shapes = [*(table.shape for table in convolutions), *last]
    yield (
        [table.shape for table in model.get_weights()] == shapes,
        "Its kernels are as large as ours, and one dense layer comes after the mean.",
    )
    image = np.random.default_rng(10).integers(0, 256, (2, 48, 48, 3)).astype("float32")
    maps = keras.Model(ours.input, ours.get_layer("one_scale").output)
    means = keras.ops.convert_to_numpy(maps(image, training=False)).mean(axis=(1, 2))
    weights, bias = model.get_weights()[-2:]
    model.set_weights([*convolutions, weights, bias])
    yield (
        np.allclose(model.predict_on_batch(image), means @ weights + bias, atol=1e-3),
        "With our weights it computes the mean of our maps. (It takes raw pixels and scales, "
        "pools and normalises them as ours does.)",
    )


@checker("10-d")
def one_strange_cell(answer: Callable) -> Iterator[Point]:
    """Check a function that builds a network for bags in which a single cell can decide."""
    import keras

    keras.utils.set_random_seed(10)
    model = answer(6)
    yield isinstance(model, keras.Model), "It returns a network of Keras."
    rng = np.random.default_rng(10)

    def ask(bag: np.ndarray) -> float:
        batch = bag[None].astype("float32")
        return float(np.ravel(keras.ops.convert_to_numpy(model(batch, training=False)))[0])

    bag = rng.normal(size=(10, 6))
    several = keras.ops.convert_to_numpy(model(np.stack([bag, bag]).astype("float32")))
    yield several.size == 2, "It gives one number for each bag."
    here = ask(bag)
    yield (
        all(abs(ask(rng.permutation(bag)) - here) < 1e-4 for _ in range(3)),
        "The order of the cells does not matter.",
    )
    twice = ask(np.concatenate([bag, bag]))
    if abs(twice - here) > 1e-4:
        yield False, "You seem to add the cells up: a bag in which each cell stands twice differs."
    usual = np.full((1, 6), 0.1)
    strange = 4 * rng.normal(size=(4, 6))

    def change(count: int) -> np.ndarray:
        plain = np.repeat(usual, count, axis=0)
        return np.array([ask(np.concatenate([plain, cell[None]])) - ask(plain) for cell in strange])

    few, many = change(10), change(100)
    yield np.abs(few).max() > 1e-3, "A strange cell changes the answer."
    if np.abs(many).max() < 0.5 * np.abs(few).max():
        yield False, "You seem to take a mean: among a hundred cells the strange cell is lost."
    yield (
        np.allclose(few, many, atol=1e-4),
        "A strange cell counts the same in small and large bags.",
    )
    yield np.ptp(few) > 1e-3, "Different strange cells give different answers."
