"""What a network costs: parameters and multiply-adds, layer by layer.

A *multiply-add* is one multiplication and the addition that follows it. A kernel costs
one for each of its weights at each position to which it is applied. Papers count in this
way (some call the result FLOPs); biases, activations, normalisation and pooling are not counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from helpers.base.errors import ModelError
from helpers.models.layers import layers_of

if TYPE_CHECKING:
    import keras

#: Kinds of layer whose kernel is applied once for each position of their output.
_BY_OUTPUT = (
    *(f"{kind}Conv{d}D" for kind in ("", "Depthwise", "Separable") for d in (1, 2, 3)),
    "Dense",
)
#: Kinds whose kernel is applied once for each position, or each time step, of their input.
_BY_INPUT = (
    *(f"Conv{d}DTranspose" for d in (1, 2, 3)),
    *("LSTM", "GRU", "SimpleRNN", "Bidirectional"),
)


def layers(model: keras.Model) -> pd.DataFrame:
    """Return the cost of each layer of a network, those of nested networks included.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, built for one size of image.

    Returns
    -------
    pandas.DataFrame
        One row per layer, in the network's order: `layer`, `kind`, `output`
        (its shape without the batch), `parameters`, `multiply_adds` (of one image).

    Raises
    ------
    ModelError
        When the network is not built, its images have no fixed size, or a
        layer has a kernel but is of an unknown kind. A layer class of your own
        can say what it costs by a method ``multiply_adds()``.
    """
    if not model.built:
        raise ModelError(f"{model.name} is not built yet: give it an input shape first.")
    rows = [
        {
            "layer": layer.name,
            "kind": type(layer).__name__,
            "output": _output(layer),
            "parameters": sum(math.prod(weight.shape) for weight in layer.weights),
            "multiply_adds": _of_layer(layer),
        }
        for layer in layers_of(model).values()
    ]
    return pd.DataFrame(rows)


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of a network for one image: the sum over :func:`layers`."""
    return sum(_of_layer(layer) for layer in layers_of(model).values())


def _of_layer(layer: keras.Layer) -> int:
    if hasattr(layer, "multiply_adds"):
        return int(layer.multiply_adds())
    kind = type(layer).__name__
    # Depthwise, pointwise and recurrent kernels are called kernels as well; biases are not.
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    if not kernels:
        return 0
    weights = sum(math.prod(kernel.shape) for kernel in kernels)
    if kind in _BY_OUTPUT:
        return weights * _positions(layer, layer.output.shape)
    if kind in _BY_INPUT:
        return weights * _positions(layer, layer.input.shape)
    raise ModelError(
        f"The cost of {layer.name}, a layer of kind {kind}, is not known: "
        "give its class a method multiply_adds()."
    )


def _positions(layer: keras.Layer, shape: tuple[int | None, ...]) -> int:
    """Return to how many positions of one image a kernel is applied; 1 for a dense layer."""
    positions = shape[1:-1]
    if None in positions:
        raise ModelError(
            f"The multiply-adds of {layer.name} depend on the size of the image: build the network "
            "for one size."
        )
    return math.prod(positions)


def _output(layer: keras.Layer) -> tuple | None:
    shape = getattr(getattr(layer, "output", None), "shape", None)
    return None if shape is None else tuple(shape[1:])
