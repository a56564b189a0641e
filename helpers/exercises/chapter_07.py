"""The checkers of the exercises of chapter 07."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

import pandas as pd

from helpers.exercises.checking import Point, checker


@checker("07-a")
def depth(answer: Callable) -> Iterator[Point]:
    """Check a function that computes the depth of a ResNet from the blocks of each stage."""
    number = operator.index(answer((3, 4, 6, 3)))
    yield number != 16, "Blocks are not layers: each has several."
    yield number not in (48, 49), "The first convolution and the dense layer count too."
    yield number not in (53, 54), "Projections are not counted."
    yield number == 50, "ResNet50 has 50 layers."
    others = {(3, 4, 23, 3): 101, (3, 8, 36, 3): 152, (1,): 5}
    yield (
        all(answer(blocks) == layers for blocks, layers in others.items()),
        "It is right for other numbers of blocks and of stages too.",
    )
    yield answer([3, 4, 6, 3]) == 50, "It takes a list as well as a tuple."


def _count(inputs: int, channels: int, project: bool) -> int:
    """Count the parameters of a block from its convolutions, without building it."""
    convolutions = [(1, inputs, channels), (3, channels, channels), (1, channels, 4 * channels)]
    if project:
        convolutions.append((1, inputs, 4 * channels))
    return sum(side**2 * before * after + 5 * after for side, before, after in convolutions)


@checker("07-b")
def block_parameters(answer: Callable) -> Iterator[Point]:
    """Check a function that counts the parameters of a bottleneck block."""
    inputs, channels = 256, 64
    number, right = operator.index(answer(inputs, channels, False)), _count(inputs, channels, False)
    maps = channels + channels + 4 * channels
    yield number != right - 5 * maps, "Biases and batch normalisation are counted."
    yield number != right - 4 * maps, "Batch normalisation is counted."
    yield number != right - maps, "Each convolution has a bias."
    yield number != right - 2 * maps, "The two numbers that are not trained are counted too."
    yield number == right, "It is right for the second block of ResNet50."
    yield answer(64, 64, True) == _count(64, 64, True), "It is right for a block with a projection."
    cases = [(512, 128, False), (1024, 512, True), (8, 3, True), (12, 3, False)]
    yield all(answer(*case) == _count(*case) for case in cases), "It is right for other blocks."


@checker("07-c")
def choose(answer: Callable) -> Iterator[Point]:
    """Check a function that chooses a recipe from a table of accuracies."""
    columns = ["recipe", "val", "test", "trained"]
    rows = [("a", 0.80, 0.95, 10), ("b", 0.90, 0.70, 30), ("c", 0.85, 0.85, 20)]
    table = pd.DataFrame(rows, columns=columns)
    taken = answer(table.copy())
    yield taken in set(table["recipe"]), "It returns the name of a recipe."
    yield taken != "a", "The test images do not decide."
    yield taken == "b", "The highest validation accuracy decides."
    low = table.assign(test=[0.1, 0.9, 0.1])
    yield answer(low.copy()) == "b", "It stays the same whatever the test images say."
    rows = [("a", 0.90, 0.99, 500), ("b", 0.90, 0.80, 20), ("c", 0.90, 0.90, 300)]
    equal = pd.DataFrame(rows, columns=columns)
    yield answer(equal.copy()) == "b", "Of equally good recipes, the smallest one is taken."
    small = pd.DataFrame([("a", 0.5, 0.9, 1), ("b", 0.6, 0.9, 100)], columns=columns)
    yield answer(small.copy()) == "b", "Parameters decide only among equally good recipes."
    yield answer(equal.set_axis([7, 7, 7])) == "b", "The table's index does not matter."
