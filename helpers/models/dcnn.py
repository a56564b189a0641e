"""The "DCNN" for acute lymphoblastic leukaemia against multiple myeloma, built in chapter 12.

Kumar et al. (2020), 10.1109/ACCESS.2020.3012292, select pixels by chi-square and
give them to a small network: convolution, max pooling, fully connected layers,
1000 iterations of Adam. They do not publish how many pixels they select, how these
become an image again, or how large the layers are: these choices are the course's own.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
from keras import layers, ops

from helpers.base import provenance
from helpers.base.errors import ModelError
from helpers.models.layers import (
    one_scale,
    probability,
    require_channels_last,
    use_logits,
    use_probability,
)

#: Filters of the two convolutions and units of the dense layer: the course's own.
FILTERS, DENSE = (16, 32), 64
#: The layer with the last feature maps.
FEATURE_LAYER = "conv2"


#: What the paper reports: accuracy, images, iterations of the training. It does not say which
#: images the network was tested on, and gives no interval.
PUBLISHED = SimpleNamespace(
    accuracy=0.972, images=424, iterations=1000, doi="10.1109/ACCESS.2020.3012292"
)


@keras.saving.register_keras_serializable(package="course")
class KeepPixels(keras.layers.Layer):
    """Set to 0 every number of an image that was not selected; the others keep their position.

    The selection is a weight that is not trained, 1 or 0 for each number. A new layer
    keeps all numbers.
    """

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the weight, shape (height, width, channels)."""
        self.keep = self.add_weight(
            name="keep", shape=tuple(shape[1:]), initializer="ones", trainable=False
        )

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return the images with 0 at all numbers that were not selected."""
        return ops.cast(images, self.compute_dtype) * ops.cast(self.keep, self.compute_dtype)

    def multiply_adds(self) -> int:
        """Return the multiply-adds of one image, as :mod:`helpers.models.cost` counts them."""
        return math.prod(self.keep.shape)


def build(size: int = 48, seed: int = 24, keep: np.ndarray | None = None) -> keras.Model:
    """Return the uncompiled network: raw RGB in, probability of the positive class out.

    Parameters
    ----------
    size : int
        Side of the square images in pixels, at least 10.
    seed : int
        For the initial weights.
    keep : numpy.ndarray of bool, optional
        Which of the size * size * 3 numbers of an image the network sees, in any
        shape (``ChiSquareSelection.support_``); by default all.

    Returns
    -------
    keras.Model
        From float or uint8 of shape (batch, size, size, 3), values 0..255, to
        float32 of shape (batch, 1). Selection and scaling are inside.

    Raises
    ------
    ModelError
        When the images are too small for two poolings, or `keep` is not of their size.
    """
    require_channels_last()
    if size < 10:
        raise ModelError(f"The DCNN needs images of at least 10 pixels, got {size}.")
    shape = (size, size, 3)
    keep = np.ones(shape) if keep is None else np.asarray(keep)
    if keep.size != math.prod(shape):
        raise ModelError(
            f"The selection is of {keep.size} numbers, but an image of {size} x {size} pixels has "
            f"{math.prod(shape)}: select from images of this size."
        )
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))

    def he() -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=next(seeds))

    image = keras.Input(shape, name="rgb")
    chosen = KeepPixels(name="selected")
    x = layers.Rescaling(1 / 255, name="scale")(chosen(image))
    for block, filters in enumerate(FILTERS, start=1):
        x = layers.Conv2D(
            filters, 3, activation="relu", kernel_initializer=he(), name=f"conv{block}"
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = one_scale(layers.Flatten(name="flatten")(x))
    x = layers.Dense(DENSE, activation="relu", kernel_initializer=he(), name="dense")(x)
    x = probability(x, next(seeds))
    chosen.set_weights([keep.reshape(shape).astype(np.float32)])
    return keras.Model(image, x, name="dcnn")


def train(
    model: keras.Model,
    images: np.ndarray,
    target: np.ndarray,
    rows: np.ndarray,
    val: np.ndarray,
    *,
    iterations: int = 1000,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 24,
    look: int = 25,
) -> pd.DataFrame:
    """Train `model` in place by Adam, iteration by iteration, and keep its best weights.

    An iteration is one step on `batch_size` images drawn from the training rows.
    :func:`helpers.training.fit` counts epochs and saves each of them; a thousand steps
    on a few hundred small images need neither.

    Parameters
    ----------
    model : keras.Model
        Uncompiled; it ends with the weights of the lowest validation loss.
    images : numpy.ndarray
        uint8, shape (n, size, size, 3).
    target : numpy.ndarray
        0 or 1, shape (n,).
    rows, val : numpy.ndarray of int
        Rows to train on, and rows to validate on every `look` iterations. No other
        row is read.
    iterations, batch_size, look : int
    learning_rate : float
    seed : int
        For the draws.

    Returns
    -------
    pandas.DataFrame
        One row per iteration: `iteration` (from 1), `loss` of its batch before the
        step, and `val_loss`, NaN where it was not computed. It is always computed
        in the last iteration.

    Raises
    ------
    ModelError
        When the training rows are not of both classes, there are no validation
        rows, a number is below 1, or the loss is not finite.
    """
    if len(np.unique(target[rows])) < 2 or not len(val):
        raise ModelError(
            f"The DCNN got {len(rows)} training rows of {len(np.unique(target[rows]))} "
            f"class(es) and {len(val)} validation rows: both classes and validation are needed."
        )
    for name, number in {"iterations": iterations, "batch_size": batch_size, "look": look}.items():
        if number < 1:
            raise ModelError(f"{name} is {number}, but must be at least 1.")
    jit = False if provenance.spares_xla() else "auto"
    use_logits(model)
    model.compile(
        keras.optimizers.Adam(learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=jit,
    )
    model.optimizer.build(model.trainable_variables)  # else Keras traces the step twice
    truth = np.asarray(target, dtype=np.float32)[:, None]
    rng = np.random.default_rng(seed)
    history, best = [], (np.inf, None)
    try:
        for iteration in range(1, iterations + 1):
            batch = rng.choice(rows, min(batch_size, len(rows)), replace=False)
            model.reset_metrics()  # otherwise Keras returns the mean over all steps so far
            loss = float(model.train_on_batch(images[batch], truth[batch]))
            val_loss = np.nan
            if iteration % look == 0 or iteration == iterations:
                model.reset_metrics()
                val_loss = float(model.test_on_batch(images[val], truth[val]))
                if val_loss < best[0]:
                    best = val_loss, model.get_weights()
            if not np.isfinite(loss):
                raise ModelError(
                    f"In iteration {iteration} the loss is no longer a number: lower the learning "
                    f"rate (it is {learning_rate})."
                )
            history.append((iteration, loss, val_loss))
    finally:
        use_probability(model)
        model.compile(loss="binary_crossentropy", jit_compile=jit)
    if best[1] is not None:
        model.set_weights(best[1])
    return pd.DataFrame(history, columns=["iteration", "loss", "val_loss"])
