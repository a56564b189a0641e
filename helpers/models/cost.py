"""What a network costs: parameters and multiply-adds, layer by layer.

A *multiply-add* is one multiplication and the addition that follows it: one for
each weight of a kernel at each place where it is laid. Papers count them so
(and some call them FLOPs); biases, activations, normalisation and pooling are free.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from helpers.base.errors import ModelError

if TYPE_CHECKING:
    import keras

#: Kinds of layer whose kernels are laid on each place of their output.
_BY_OUTPUT = (
    *(f"{kind}Conv{d}D" for kind in ("", "Depthwise", "Separable") for d in (1, 2, 3)),
    "Dense",
)
#: Transposed convolutions lay theirs on each place of their input, recurrent layers on each step.
_BY_INPUT = (*(f"Conv{d}DTranspose" for d in (1, 2, 3)), "LSTM", "GRU", "SimpleRNN")


def layers(model: keras.Model) -> pd.DataFrame:
    """Return the cost of each layer of a network, those of nested networks included.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, built for one size of image.

    Returns
    -------
    pandas.DataFrame
        One row a layer, in the network's order: `layer`, `kind`, `output`
        (its shape without the batch), `parameters`, `multiply_adds` (of one image).

    Raises
    ------
    ModelError
        When the network is not built, its images have no fixed size, or a
        layer has a kernel but is of a kind that is not known here. A kind of
        one's own may have a method ``multiply_adds()``.
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
        for layer in _leaves(model)
    ]
    return pd.DataFrame(rows)


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of a network for one image: the sum over :func:`layers`."""
    return sum(_of_layer(layer) for layer in _leaves(model))


def _leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield each layer that is no model itself."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _of_layer(layer: keras.Layer) -> int:
    if hasattr(layer, "multiply_adds"):
        return int(layer.multiply_adds())
    kind = type(layer).__name__
    # A bias is a vector: kernels, also depthwise, pointwise and recurrent ones, are not.
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    if not kernels:
        return 0
    used_once = sum(math.prod(kernel.shape) for kernel in kernels)
    if kind in _BY_OUTPUT:
        return used_once * _places(layer, layer.output.shape)
    if kind in _BY_INPUT:
        return used_once * _places(layer, layer.input.shape)
    raise ModelError(
        f"The multiply-adds of {layer.name} are not known, a layer of kind {kind}: "
        "give the kind a method multiply_adds()."
    )


def _places(layer: keras.Layer, shape: tuple[int | None, ...]) -> int:
    """Return at how many places of one image a kernel is laid; 1 for a plain dense layer."""
    places = shape[1:-1]
    if None in places:
        raise ModelError(
            f"The multiply-adds of {layer.name} depend on the size of the image: "
            "build the network for one size."
        )
    return math.prod(places)


def _output(layer: keras.Layer) -> tuple | None:
    shape = getattr(getattr(layer, "output", None), "shape", None)
    return None if shape is None else tuple(shape[1:])
