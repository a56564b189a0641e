"""A small convolutional network in the spirit of the papers', built in chapter 06.

Gohil & Pandya and Sonawane & Kulkarni train networks of this kind on C-NMC and
publish no layer sizes. These are the course's own: 32, 64, 128 and 256 filters,
a dense layer of 256 and one sigmoid, 2,027,329 parameters at 300 pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.base.errors import ModelError

if TYPE_CHECKING:
    import keras

FILTERS = (32, 64, 128, 256)
#: Each block's pooling; 300 pixels become 100, 33, 11 and 5.
POOLS = (3, 3, 3, 2)


def build(
    size: int = 96,
    seed: int = 24,
    *,
    dropout: float = 0.3,
    dense: int = 256,
    augment: bool = False,
) -> keras.Model:
    """Return the uncompiled network: raw RGB in, probability of the positive class out.

    Parameters
    ----------
    size : int
        Side of the square images in pixels, at least 27.
    seed : int
        Of the first weights, the dropout and the augmentation.
    dropout : float
        Share of the dense layer's outputs set to zero in training.
    dense : int
        Units of the dense layer.
    augment : bool
        Flip and turn the images at random in training: a cell on a slide has
        no up and no left.

    Returns
    -------
    keras.Model
        From float or uint8 of shape (batch, size, size, 3), values 0..255, to
        float32 of shape (batch, 1). Scaling is inside: 64, about what a stained cell
        has, becomes 0, and black becomes -1. It is the same for all images, so that
        the network sees the stain, as the papers' networks do.

    Raises
    ------
    ModelError
        When the images are too small for four poolings.
    """
    import keras
    from keras import layers

    if size < 27:
        raise ModelError(f"The custom CNN needs images of at least 27 pixels, got {size}.")
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))

    def he() -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=next(seeds))

    image = x = keras.Input((size, size, 3), name="rgb")
    if augment:
        # Two layers: one that does both flips both ways or neither, which is no mirror image.
        x = layers.RandomFlip("horizontal", seed=next(seeds), name="flip_across")(x)
        x = layers.RandomFlip("vertical", seed=next(seeds), name="flip_down")(x)
        x = layers.RandomRotation(0.5, fill_mode="constant", seed=next(seeds), name="turn")(x)
    x = layers.Rescaling(1 / 64, offset=-1, name="scale")(x)
    for block, (filters, pool) in enumerate(zip(FILTERS, POOLS, strict=True), start=1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=he(),
            name=f"conv{block}",
        )(x)
        pool = min(pool, x.shape[1])  # small images are down to one pixel by now
        x = layers.MaxPooling2D(pool, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", kernel_initializer=he(), name="dense")(x)
    x = layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
    head = keras.initializers.GlorotUniform(seed=next(seeds))
    # float32 whatever the precision of the rest: a probability near 1 needs the digits.
    x = layers.Dense(
        1, activation="sigmoid", kernel_initializer=head, dtype="float32", name="probability"
    )(x)
    return keras.Model(image, x, name="custom_cnn")
