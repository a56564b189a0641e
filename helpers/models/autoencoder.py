"""A convolutional autoencoder and a variational one, built in plain Keras in chapter 11.

An autoencoder is trained to return its input through a narrow place, the *latent code*.
The variational one (Kingma & Welling 2014, arXiv 1312.6114) learns a normal distribution
for each image in place of one code. Both are made of Keras' own layers only, so they are
saved as ``.keras`` and loaded in safe mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.base.errors import ModelError
from helpers.models.layers import require_channels_last

if TYPE_CHECKING:
    import keras

#: Filters of the three convolutions; each halves the sides of its maps.
FILTERS = (16, 32, 64)
#: By how much a pixel may be off, as a share of full light: it weighs pixels against the code.
NOISE = 0.1


def build(
    size: int = 48, latent: int = 32, seed: int = 24, *, variational: bool = False
) -> keras.Model:
    """Return the uncompiled network, with the parts ``encoder`` and ``decoder``.

    Parameters
    ----------
    size : int
        Side of the square images in pixels, at least 8; odd sides too.
    latent : int
        Numbers in the code of an image.
    seed : int
        For the initial weights and the noise of the variational code.
    variational : bool
        Learn a mean and a variance for each number of the code.

    Returns
    -------
    keras.Model
        From raw RGB, 0..255, to pictures whose values are to be 0..1; nothing cuts them there,
        because a sigmoid has no gradient on black. The variational one has two outputs,
        ``picture`` and ``moments``: means, then logarithms of variances, (batch, 2 * latent).
        In training it draws a code; in use it takes the mean.

    Raises
    ------
    ModelError
        When the images are too small, or there is no number in the code.
    """
    import keras

    _require(size, latent)
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))
    encoder = _encoder(size, 2 * latent if variational else latent, seeds)
    decoder = decode(size, latent, next(seeds))
    image = keras.Input((size, size, 3), name="rgb")
    if not variational:
        return keras.Model(image, decoder(encoder(image)), name="autoencoder")
    moments = encoder(image)
    mean, log_variance = keras.ops.split(moments, 2, axis=-1)
    # Noise on zeros is drawn anew in each step of training, and is zero in use.
    noise = keras.layers.GaussianNoise(1.0, seed=next(seeds))(mean * 0)
    code = mean + keras.ops.exp(log_variance / 2) * noise
    return keras.Model(image, {"picture": decoder(code), "moments": moments}, name="variational")


def decode(size: int, latent: int, seed: int = 24) -> keras.Model:
    """Return the decoder alone: from codes, (batch, latent), to pictures."""
    import keras
    from keras import layers

    _require(size, latent)
    side = -(-size // 8)  # rounded up; what is too much is cut off at the end
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))
    code = x = keras.Input((latent,), name="code")
    x = layers.Dense(side * side * FILTERS[-1], kernel_initializer=_start(seeds))(x)
    x = layers.Reshape((side, side, FILTERS[-1]))(layers.LeakyReLU(0.2)(x))
    for maps in (FILTERS[1], FILTERS[0]):
        x = layers.Conv2DTranspose(
            maps, 4, strides=2, padding="same", kernel_initializer=_start(seeds)
        )(x)
        x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", kernel_initializer=_start(seeds))(x)
    extra = 8 * side - size
    x = layers.Cropping2D(((0, extra), (0, extra)))(x)
    return keras.Model(code, x, name="decoder")


def pixel_loss(truth: keras.KerasTensor, picture: keras.KerasTensor) -> keras.KerasTensor:
    """Return how improbable each image is if its pixels scatter by `NOISE` around the picture.

    In nats, up to a constant.
    """
    from keras import ops

    return ops.sum(ops.square(picture - truth), axis=(1, 2, 3)) / (2 * NOISE**2)


def kl_loss(_: object, moments: keras.KerasTensor) -> keras.KerasTensor:
    """Return the Kullback-Leibler divergence of each code from the standard normal, in nats.

    In closed form: half the sum of mean² + variance - 1 - log(variance).
    """
    from keras import ops

    mean, log_variance = ops.split(moments, 2, axis=-1)
    terms = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
    return ops.sum(terms, axis=-1) / 2


def _encoder(size: int, outputs: int, seeds: object) -> keras.Model:
    import keras
    from keras import layers

    image = x = keras.Input((size, size, 3), name="rgb")
    x = layers.Rescaling(1 / 255)(x)
    for maps in FILTERS:
        x = layers.Conv2D(maps, 3, strides=2, padding="same", kernel_initializer=_start(seeds))(x)
        x = layers.LeakyReLU(0.2)(x)
    x = layers.Dense(outputs, kernel_initializer=_start(seeds))(layers.Flatten()(x))
    return keras.Model(image, x, name="encoder")


def _start(seeds: object) -> keras.initializers.Initializer:
    import keras

    return keras.initializers.GlorotUniform(seed=next(seeds))


def _require(size: int, latent: int) -> None:
    require_channels_last()
    if size < 8:
        raise ModelError(f"An autoencoder needs images of at least 8 pixels, got {size}.")
    if latent < 1:
        raise ModelError(f"A code needs at least one number, got {latent}.")
