"""The layers of a network, also of nested networks, and the form that the course requires.

A layer inside a nested network is named by its *path*: ``backbone/out_relu``.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from helpers.base.errors import ModelError

if TYPE_CHECKING:
    import keras


def require_channels_last() -> None:
    """Raise an error if Keras expects the channels before the rows, or builds in half precision.

    Raises
    ------
    ModelError
        When Keras' setting ``image_data_format`` is not ``channels_last``, or ``floatx`` is not
        ``float32``: the profile decides which type a network computes in.
    """
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise ModelError(
            "Keras is set to 'channels_first' (image_data_format in keras.json), but the course's "
            "images have their channels last: call "
            "keras.config.set_image_data_format('channels_last') first, or correct that file."
        )
    if keras.config.floatx() != "float32":
        raise ModelError(
            f"Keras is set to {keras.config.floatx()!r} (floatx in keras.json), but the course's "
            "networks keep their weights in float32: call keras.config.set_floatx('float32') "
            "first, or correct that file."
        )


def layers_of(model: keras.Model, above: str = "") -> dict[str, keras.Layer]:
    """Return the layers of a network by path, from the input to the output.

    Parameters
    ----------
    model : keras.Model
        Flat, or with networks inside. Input layers and the nested networks
        themselves are left out.
    above : str
        Put in front of each path.
    """
    import keras

    layers = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            layers |= layers_of(layer, f"{above}{layer.name}/")
        elif not isinstance(layer, keras.layers.InputLayer):
            layers[f"{above}{layer.name}"] = layer
    return layers


def path_of(model: keras.Model, name: str) -> str:
    """Return the path of the layer called `name`, which may be its path or its own name.

    Raises
    ------
    ModelError
        When there is no such layer, or more than one.
    """
    paths = list(layers_of(model))
    if name in paths:
        return name
    matches = [path for path in paths if path.endswith(f"/{name}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ModelError(
            f"{model.name} has {len(matches)} layers called {name!r}: give the path of one, "
            f"{', '.join(matches)}."
        )
    near = difflib.get_close_matches(name, {path.rpartition("/")[2] for path in paths}, 3)
    similar = f"; similar names: {', '.join(near)}" if near else ""
    raise ModelError(f"{model.name} has no layer {name!r}{similar}.")


def require_classifier(model: keras.Model) -> int:
    """Return the side in pixels of the square RGB images that the network takes.

    Raises
    ------
    ModelError
        When it does not go from square RGB images of one size to one probability.
    """
    shape, result = tuple(model.input_shape), tuple(model.output_shape)
    square = len(shape) == 4 and shape[1] == shape[2] is not None and shape[3] == 3
    if not square or result[1:] != (1,):
        raise ModelError(
            f"{model.name} goes from {shape} to {result}, but the course's networks go from square "
            "RGB images (None, size, size, 3) to one probability (None, 1)."
        )
    return shape[1]
