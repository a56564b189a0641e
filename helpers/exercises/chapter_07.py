"""The checkers of the exercises of chapter 07."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from helpers.exercises.checking import Hint, Point, checker, whole


@checker("07-a")
def depth(answer: Callable) -> Iterator[Point]:
    """Check a function that computes the depth of a ResNet from the blocks of each stage."""
    number = whole(answer((3, 4, 6, 3)))
    yield Hint(number != 16, "Blocks are not layers: each has several.")
    yield Hint(number not in (48, 49), "The first convolution and the dense layer count too.")
    yield Hint(number not in (53, 54), "Projections are not counted.")
    yield number == 50, "ResNet50 has 50 layers."
    others = {(3, 4, 23, 3): 101, (3, 8, 36, 3): 152, (1,): 5}
    yield (
        all(answer(blocks) == layers for blocks, layers in others.items()),
        "It is right for other numbers of blocks and of stages too.",
    )
    yield answer([3, 4, 6, 3]) == 50, "It takes a list as well as a tuple."


def _counted(cases: list[tuple[int, int, bool]]) -> list[int]:
    """Return the numbers of parameters of live blocks."""
    import keras
    from keras import layers

    def convolve(x: keras.KerasTensor, maps: int, side: int) -> keras.KerasTensor:
        return layers.BatchNormalization()(layers.Conv2D(maps, side, padding="same")(x))

    found = []
    for inputs, channels, project in cases:
        image = keras.Input((4, 4, inputs))
        parts = [convolve(convolve(convolve(image, channels, 1), channels, 3), 4 * channels, 1)]
        parts += [convolve(image, 4 * channels, 1)] if project else []
        found.append(keras.Model(image, parts).count_params())
    return found


@checker("07-b")
def block_parameters(answer: Callable) -> Iterator[Point]:
    """Check a function that counts the parameters of a bottleneck block."""
    inputs, channels = 256, 64
    cases = [(inputs, channels, False), (64, 64, True)]
    others = [(512, 128, False), (128, 24, True), (8, 3, True), (12, 3, False)]
    right, projected, *more = _counted(cases + others)
    number = whole(answer(inputs, channels, False))
    maps = channels + channels + 4 * channels
    yield Hint(number != right - 5 * maps, "Biases and batch normalisation are counted.")
    yield Hint(number != right - 4 * maps, "Batch normalisation is counted.")
    yield Hint(number != right - maps, "Each convolution has a bias.")
    yield Hint(number != right - 2 * maps, "The two numbers that are not trained are counted too.")
    yield number == right, "It is right for the second block of ResNet50."
    yield answer(64, 64, True) == projected, "It is right for a block with a projection."
    yield [answer(*case) for case in others] == more, "It is right for other blocks."


#: What can be wrong with a fine-tuning, in the words of exercise 07-c, and what to look at.
_FAULTS = {
    "frozen": "It notices whether any weight of the backbone is trained.",
    "batch normalisation": "It notices a batch normalisation of the backbone that is not frozen.",
    "rate": "It notices a learning rate above 1e-4.",
    "loss": "It notices when the loss and the last layer do not belong together.",
}


def _prepared(faults: set[str], sigmoid: bool = False) -> object:
    """Return a tiny network, prepared for fine-tuning with these faults."""
    import keras
    from keras import layers

    x = image = keras.Input((8, 8, 3))
    for maps in (3, 4):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(maps, 3)(x)))
    body = keras.Model(image, x, name="backbone")
    pooled = layers.GlobalAveragePooling2D()(body(image))
    answer = layers.Dense(1, activation="sigmoid" if sigmoid else None)(pooled)
    model = keras.Model(image, answer)
    for layer in body.layers:
        normal = isinstance(layer, layers.BatchNormalization)
        layer.trainable = "batch normalisation" in faults if normal else "frozen" not in faults
    logits = sigmoid == ("loss" in faults)
    model.compile(
        keras.optimizers.Adam(1e-3 if "rate" in faults else 1e-4),
        keras.losses.BinaryCrossentropy(from_logits=logits),
    )
    return model


@checker("07-c")
def diagnose(answer: Callable) -> Iterator[Point]:
    """Check a function that finds what is wrong with a network prepared for fine-tuning."""
    found = answer(_prepared(set()))
    yield isinstance(found, set | frozenset), "It returns a set."
    yield not found, "It finds nothing wrong with a network that is well prepared (its rate: 1e-4)."
    yield not answer(_prepared(set(), True)), "A sigmoid is right where the loss expects scores."
    for fault, sentence in _FAULTS.items():
        # Weights of batch normalisation that are trained are weights of the backbone.
        others = [{fault}, *({fault, other} for other in _FAULTS if other != fault)]
        cases = [case for case in others if not {"frozen", "batch normalisation"} <= case]
        yield all(fault in answer(_prepared(case)) for case in cases), sentence
    several = [{"rate", "loss"}, {"frozen", "rate"}, {"batch normalisation", "rate", "loss"}]
    exact = all(answer(_prepared(case, side)) == case for case in several for side in (False, True))
    yield exact, "Of several faults it names all, and no others."
