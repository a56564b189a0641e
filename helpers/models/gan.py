"""A small generative adversarial network (GAN), built in plain Keras in chapter 11.

Goodfellow et al. 2014, arXiv 1406.2661. The generator draws images from random numbers; the
discriminator tells drawn images from real ones. Its strides follow Radford et al. 2016, arXiv
1511.06434. It sees all images with noise (Arjovsky and Bottou 2017, arXiv 1701.04862), and the
generator enlarges by interpolation (Odena et al. 2016, doi 10.23915/distill.00003). With
transposed convolutions, no normalisation, no noise and low rates the discriminator was right at
once, and 400 steps drew no cells. It runs on every backend of Keras: the generator is trained
through a frozen copy of the discriminator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from helpers.base import progress
from helpers.base.errors import ModelError
from helpers.models.layers import require_channels_last

if TYPE_CHECKING:
    import keras

#: Random numbers from which an image is drawn.
LATENT = 32
#: Images in a step, real ones and drawn ones each.
BATCH = 32
#: Learning rate of the generator.
RATE = 1e-3
#: Learning rate of the discriminator, the stronger of the two: half as large.
JUDGE_RATE = 5e-4
#: Standard deviation of the noise on what the discriminator sees, whose values are -1..1.
NOISE = 0.1
#: Steps over which the recorded losses are means.
EVERY = 20


def generator(size: int = 48, seed: int = 24) -> keras.Model:
    """Return the uncompiled generator: from (batch, `LATENT`) to images of values 0..1."""
    import keras
    from keras import layers

    _require(size)
    side = -(-size // 8)  # rounded up; what is too much is cut off at the end
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))
    noise = x = keras.Input((LATENT,), name="noise")
    x = layers.Dense(side * side * 64, kernel_initializer=_start(seeds))(x)
    x = layers.Reshape((side, side, 64))(x)
    for maps, last in ((32, None), (16, None), (3, "sigmoid")):
        x = layers.LeakyReLU(0.2)(layers.LayerNormalization()(x))
        x = layers.UpSampling2D(interpolation="bilinear")(x)
        x = layers.Conv2D(
            maps, 3, padding="same", activation=last, kernel_initializer=_start(seeds)
        )(x)
    extra = 8 * side - size
    x = layers.Cropping2D(((0, extra), (0, extra)))(x)
    return keras.Model(noise, x, name="generator")


def discriminator(size: int = 48, seed: int = 24) -> keras.Model:
    """Return the uncompiled discriminator: from images of values 0..1 to a logit, real above 0."""
    import keras
    from keras import layers

    _require(size)
    seeds = iter(range(seed * 1000 + 500, seed * 1000 + 1000))
    image = x = keras.Input((size, size, 3), name="image")
    x = layers.GaussianNoise(NOISE, seed=next(seeds))(layers.Rescaling(2, -1)(x))
    for maps in (16, 32, 64):
        x = layers.Conv2D(maps, 4, strides=2, padding="same", kernel_initializer=_start(seeds))(x)
        x = layers.LeakyReLU(0.2)(x)
    x = layers.Dropout(0.3, seed=next(seeds))(layers.Flatten()(x))
    x = layers.Dense(1, kernel_initializer=_start(seeds))(x)
    return keras.Model(image, x, name="discriminator")


def train(
    draw: keras.Model,
    judge: keras.Model,
    images: np.ndarray,
    steps: int,
    seed: int = 24,
    *,
    rate: float = RATE,
    judge_rate: float = JUDGE_RATE,
    watch: Callable[[int, keras.Model], None] | None = None,
) -> list[dict[str, float]]:
    """Train a generator and a discriminator against each other; both are changed.

    Parameters
    ----------
    draw, judge : keras.Model
        Of :func:`generator` and :func:`discriminator`, for one size of images.
    images : numpy.ndarray
        The real images: uint8, shape (n, size, size, 3).
    steps : int
        In each step both networks are trained once, on `BATCH` images.
    seed : int
        For the noise and for the order of the images.
    rate, judge_rate : float
        Learning rates of the generator and the discriminator.
    watch : callable, optional
        Called before every `EVERY`-th step with the number of steps done and the generator.

    Returns
    -------
    list of dict
        For every `EVERY` steps: `step`, and the means since the last one of `loss` (of the
        generator), `judge_loss` and `judge_accuracy`.

    Raises
    ------
    ModelError
        When the images are not as above.
    """
    import keras

    if images.dtype != np.uint8 or images.shape[1:] != tuple(judge.input_shape[1:]):
        raise ModelError(
            f"The images are {images.dtype} of shape {images.shape}, but the discriminator takes "
            f"uint8 of shape (n, {', '.join(map(str, judge.input_shape[1:]))})."
        )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    accuracy = keras.metrics.BinaryAccuracy(threshold=0)
    judge.compile(keras.optimizers.Adam(judge_rate, beta_1=0.5), loss, metrics=[accuracy])
    copy = keras.models.clone_model(judge)
    copy.trainable = False
    both = keras.Sequential([draw, copy])
    both.compile(keras.optimizers.Adam(rate, beta_1=0.5), loss)
    for model in (judge, both):
        model.optimizer.build(model.trainable_variables)  # else Keras traces the step twice
    rng = np.random.default_rng(seed)
    truth = np.repeat([[1.0], [0.0]], BATCH, axis=0)  # the real ones first
    history = []
    for step in progress.bar(range(steps), desc="GAN", unit="step"):
        if watch and step % EVERY == 0:
            watch(step, draw)
        noise = rng.normal(size=(BATCH, LATENT)).astype("float32")
        real = images[rng.integers(len(images), size=BATCH)] / np.float32(255)
        shown = np.concatenate([real, draw.predict_on_batch(noise)])
        judged = judge.train_on_batch(shown, truth)
        copy.set_weights(judge.get_weights())
        fooled = both.train_on_batch(noise, np.ones((BATCH, 1)))
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            names = ("step", "loss", "judge_loss", "judge_accuracy")
            values = (step + 1, np.ravel(fooled)[0], *np.ravel(judged)[:2])
            history.append(dict(zip(names, map(float, values), strict=True)))
            judge.reset_metrics()  # they are running means
            both.reset_metrics()
    return history


def sample(draw: keras.Model, count: int, seed: int = 24) -> np.ndarray:
    """Return drawn images: uint8, shape (count, size, size, 3)."""
    noise = np.random.default_rng(seed).normal(size=(count, LATENT)).astype("float32")
    drawn = [draw.predict_on_batch(noise[at : at + 64]) for at in range(0, count, 64)]
    return np.clip(255 * np.concatenate(drawn), 0, 255).round().astype(np.uint8)


def _start(seeds: object) -> keras.initializers.Initializer:
    import keras

    return keras.initializers.GlorotUniform(seed=next(seeds))


def _require(size: int) -> None:
    require_channels_last()
    if size < 8:
        raise ModelError(f"A GAN needs images of at least 8 pixels, got {size}.")
