"""Whether a training died: a *collapsed* network has the same answer for every image.

It happens when the first steps are too large: units that are never active again have
no gradient (dying ReLU: Lu et al. 2020, doi:10.4208/cicp.OA-2020-0165), and what is left
is one number for all. The loss looks like that of a network that learns slowly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.predictions.collapse import nearly_equal, words

if TYPE_CHECKING:
    import keras

#: A loss that moves by less from epoch to epoch stands still.
STILL = 1e-5


def same_scores(logits: np.ndarray, target: np.ndarray) -> str:
    """Return "" or, in words, that the scores of the validation images are all nearly the same.

    Parameters
    ----------
    logits : numpy.ndarray of float
        Inputs of the last sigmoid, shape (n,).
    target : numpy.ndarray
        0 or 1, shape (n,).
    """
    return words(logits) if nearly_equal(logits, target) else ""


def stands_still(losses: Sequence[float]) -> str:
    """Return "" or, in words, that the validation loss never moved, from the first epoch on."""
    if len(losses) < 2 or np.ptp(losses) > STILL:
        return ""
    return f"its validation loss stands still at {losses[0]:.3f}"


def kernels(model: keras.Model) -> str:
    """Return a hash of the kernels that are trained, "" if there are none.

    Without a gradient they stay what they were, to the last bit.
    """
    import keras

    digest = hashlib.sha256()
    trained = [weight for weight in model.trainable_variables if len(weight.shape) > 1]
    for weight in trained:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)))
    return digest.hexdigest()[:16] if trained else ""


def redraw(model: keras.Model, seed: int) -> None:
    """Draw all trained weights anew: a dead network that starts from the same ones dies again.

    A network that holds another one (a backbone) keeps its weights: they were learned before.
    """
    import keras

    if any(isinstance(layer, keras.Model) for layer in model.layers):
        return
    for number, weight in enumerate(model.trainable_variables):
        layer = next(layer for layer in model.layers if any(weight is w for w in layer.weights))
        start = getattr(layer, f"{weight.name}_initializer", None)
        if start is None and len(weight.shape) > 1:
            start = keras.initializers.GlorotUniform()
        if start is not None:
            config = start.get_config()
            if "seed" in config:
                config["seed"] = seed * 1000 + number
            weight.assign(type(start).from_config(config)(weight.shape))
