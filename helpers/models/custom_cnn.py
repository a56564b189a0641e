"""A small convolutional network, built in plain Keras in chapter 05.

Its layer sizes are nearly those of github.com/fbaldi6/Lymphoblasts-Image-Classification
(2022, "2. CNN from scratch"), which the notebooks behind Shreya's report follow: 32, 64, 128
and 256 filters, a dense layer of 256 and one sigmoid, 2,027,329 parameters at 300 pixels.
There the poolings are 2, 2, 3 and 5, pixels are scaled by 1/255, and the dropout is 0.5.
The layer that brings the features of an image to one scale is the course's own: without it
large images start with large logits. Gohil & Pandya and Sonawane & Kulkarni also trained a CNN
on such cells, but do not publish its layer sizes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from helpers.base.errors import ModelError
from helpers.models.layers import one_scale, probability, require_channels_last

if TYPE_CHECKING:
    import keras

FILTERS = (32, 64, 128, 256)
#: Each block's pooling; 300 pixels become 100, 33, 11 and 5.
POOLS = (3, 3, 3, 2)
#: Units of the dense layer.
DENSE = 256


def build(
    size: int = 96, seed: int = 24, *, dropout: float = 0.3, augment: bool = False
) -> keras.Model:
    """Return the uncompiled network: raw RGB in, score of the positive class out.

    Parameters
    ----------
    size : int
        Side of the square images in pixels, at least 27.
    seed : int
        For the initial weights, the dropout and the augmentation.
    dropout : float
        Share of the dense layer's outputs that is set to zero in training.
    augment : bool
        Flip and rotate the images at random in training: a cell on a slide has
        no top and no left side.

    Returns
    -------
    keras.Model
        From float or uint8 of shape (batch, size, size, 3), values 0..255, to
        float32 of shape (batch, 1). Scaling is inside: 64, a usual value in a stained
        cell, becomes 0, and black becomes -1. All images are scaled alike, so the
        network sees differences in stain, as the papers' networks do.

    Raises
    ------
    ModelError
        When the images are too small for four poolings.
    """
    import keras
    from keras import layers

    require_channels_last()
    if size < 27:
        raise ModelError(f"The custom CNN needs images of at least 27 pixels, got {size}.")
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))

    def he() -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=next(seeds))

    image = x = keras.Input((size, size, 3), name="rgb")
    if augment:
        # One layer "horizontal_and_vertical" would flip both ways or not at all: no mirror image.
        x = layers.RandomFlip("horizontal", seed=next(seeds), name="flip_across")(x)
        x = layers.RandomFlip("vertical", seed=next(seeds), name="flip_down")(x)
        x = layers.RandomRotation(0.5, fill_mode="constant", seed=next(seeds), name="turn")(x)
    x = layers.Rescaling(1 / 64, offset=-1, name="scale")(x)
    for block, (filters, pool) in enumerate(zip(FILTERS, POOLS, strict=True), start=1):
        options = {"activation": "relu", "kernel_initializer": he(), "name": f"conv{block}"}
        x = layers.Conv2D(filters, 3, padding="same", **options)(x)
        pool = min(pool, x.shape[1])  # small images have one pixel left here
        x = layers.MaxPooling2D(pool, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = one_scale(x)
    x = layers.Dense(DENSE, activation="relu", kernel_initializer=he(), name="dense")(x)
    x = layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
    return keras.Model(image, probability(x, next(seeds)), name="custom_cnn")


def feature_layer(size: int) -> str:
    """Return the last convolution whose feature maps have more than one position."""
    return "conv4" if size >= 2 * math.prod(POOLS[:3]) else "conv3"
