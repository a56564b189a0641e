"""The layers of a network, also of nested networks, and the form that the course requires.

A layer inside a nested network is named by its *path*: ``backbone/out_relu``.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np

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


def one_scale(features: keras.KerasTensor) -> keras.KerasTensor:
    """Bring the features of each image to a mean of 0 and a variance of 1, without parameters.

    Backbones and sizes of images differ in how large their features are; a learning rate that
    suits one of them would be too large for another. Layer normalisation: Ba et al. 2016,
    arXiv 1607.06450.
    """
    import keras

    return keras.layers.LayerNormalization(
        epsilon=1e-6, center=False, scale=False, name="one_scale"
    )(features)


def probability(features: keras.KerasTensor, seed: int) -> keras.KerasTensor:
    """Return the probability of the positive class, by one sigmoid called ``probability``.

    Its first weights have a hundredth of the usual variance: a new network is sure of
    nothing, and its first loss is near ln 2.
    It keeps float32 in mixed precision: float16 cannot tell probabilities near 1 apart.
    """
    import keras

    start = keras.initializers.VarianceScaling(0.01, seed=seed)
    last = keras.layers.Dense(
        1, "sigmoid", kernel_initializer=start, dtype="float32", name="probability"
    )
    return last(features)


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


def require_sigmoid(model: keras.Model) -> None:
    """Raise an error if the network's answer is not one probability, made by a last sigmoid.

    Raises
    ------
    ModelError
        When the network is not built, has not one number as its answer, or ends in
        something else than a sigmoid.
    """
    last, shape = _last(model)
    kind = getattr(getattr(last, "activation", None), "__name__", "no activation")
    if kind != "sigmoid" or shape[1:] != (1,):
        raise ModelError(
            f"{model.name} ends in {last.name!r} ({type(last).__name__}, {kind}) of shape {shape}, "
            "but the course's networks end in one sigmoid, shape (None, 1): only then is their "
            "answer one probability."
        )


def use_logits(model: keras.Model) -> None:
    """Let the network answer with its logit, the input of the last sigmoid; compile it afterwards.

    A loss on probabilities has no gradient where the sigmoid is flat: Keras clips the
    probability (TensorFlow alone goes back to the logit by itself). A loss on logits always
    has one.

    Raises
    ------
    ModelError
        As :func:`require_sigmoid`.
    """
    import keras

    require_sigmoid(model)
    _last(model)[0].activation = keras.activations.linear


def use_probability(model: keras.Model) -> None:
    """Undo :func:`use_logits`."""
    import keras

    _last(model)[0].activation = keras.activations.sigmoid


def _last(model: keras.Model) -> tuple[keras.Layer, tuple[int | None, ...]]:
    """Return the layer that gives the network's only answer, and the answer's shape."""
    import keras

    if not isinstance(model, keras.Model):
        raise ModelError(f"The model must be a keras.Model, but is {type(model).__name__}.")
    last = model
    while isinstance(last, keras.Model):  # a network within the network may come last
        try:
            (output,) = last.outputs
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{model.name} is not built, or has not one answer: give it a keras.Input and "
                "one last layer, Dense(1, activation='sigmoid')."
            ) from error
        last = output._keras_history.operation
    return last, tuple(output.shape)


def require_classifier(model: keras.Model) -> int:
    """Return the side in pixels of the square RGB images that the network takes.

    Raises
    ------
    ModelError
        When it does not go from square RGB images of one size to one probability, or a
        weight is NaN or infinite: a ReLU turns NaN into 0, so the answer may look sound.
    """
    import keras

    require_sigmoid(model)
    shape = tuple(model.input_shape)
    if not (len(shape) == 4 and shape[1] == shape[2] is not None and shape[3] == 3):
        raise ModelError(
            f"{model.name} takes {shape}, but the course's networks go from square RGB images "
            "(None, size, size, 3) to one probability (None, 1)."
        )
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ModelError(
                f"{model.name} has weights that are no numbers (NaN or infinite), first in "
                f"{weight.path!r}: they are damaged, or its training diverged; train it again."
            )
    return shape[1]
