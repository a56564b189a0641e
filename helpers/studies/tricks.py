"""The network of chapter 06 with its tricks of training, by name.

``build``, ``changes`` and ``compiled`` stand on the chapter's page too; a test holds them equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images
from helpers.base.settings import Settings
from helpers.studies import tuning

if TYPE_CHECKING:
    import keras

_TRICKS = {
    "flips and turns": {"turn": True},
    "colour jitter": {"colour": True},
    "random erasing": {"erase": True},
    "dropout": {"dropout": 0.5},
    "weight decay": {"decay": 3.0},
    "label smoothing": {"smooth": 0.1},
    "batch normalisation": {"norm": True},
    "warm-up and decay": {"warm": True},
    "early stopping": {"stop": True},
}
#: The recipes of chapter 06 by name, as arguments of :func:`compiled`; `stop` is early stopping.
TRICKS: dict[str, dict] = {
    "plain": {},
    **_TRICKS,
    "all together": {name: value for trick in _TRICKS.values() for name, value in trick.items()},
}
OPTIMISERS = ("adam", "rmsprop", "sgd")


def build(
    size: int, width: int = 16, before: tuple = (), norm: bool = False, dropout: float = 0.0
) -> keras.Model:
    """Return a new network: an RGB image in, one number (the logit) out."""
    import keras
    from keras import layers

    parts = [keras.Input((size, size, 3)), *before, layers.Rescaling(1 / 64, offset=-1)]
    for factor in (1, 2, 4):
        parts.append(layers.Conv2D(factor * width, 3, padding="same"))
        if norm:
            parts.append(layers.BatchNormalization())
        parts += [layers.ReLU(), layers.MaxPooling2D(2)]
    parts += [layers.Flatten(), layers.LayerNormalization(), layers.Dense(64, activation="relu")]
    return keras.Sequential([*parts, layers.Dropout(dropout), layers.Dense(1)])


def changes(turn: bool = False, colour: bool = False, erase: bool = False) -> list:
    """Return layers that change images at random, in training only."""
    from keras import layers

    chosen = []
    if turn:
        chosen += [layers.RandomFlip(), layers.RandomRotation(0.5, fill_mode="constant")]
    if colour:
        chosen += [layers.RandomColorJitter(saturation_factor=(0.4, 0.6), hue_factor=0.05)]
    if erase:
        chosen += [layers.RandomErasing(fill_value=0)]
    return chosen


def compiled(
    size: int,
    steps: int,
    dropout: float = 0.0,
    decay: float = 0.0,
    smooth: float = 0.0,
    norm: bool = False,
    warm: bool = False,
    optimiser: str = "adam",
    rate: float = 1e-3,
    **changed: bool,
) -> keras.Model:
    """Return a compiled network with some of the tricks; it will be trained for `steps` steps."""
    import keras

    network = build(size, 16, changes(**changed), norm, dropout)
    if warm:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, steps - steps // 5, warmup_target=rate, warmup_steps=steps // 5
        )
    network.compile(
        {
            "adam": keras.optimizers.AdamW(rate, weight_decay=decay),
            "rmsprop": keras.optimizers.RMSprop(rate, weight_decay=decay),
            "sgd": keras.optimizers.SGD(rate, momentum=0.9, weight_decay=decay),
        }[optimiser],
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smooth),
        jit_compile=keras.backend.backend() == "jax",  # TensorFlow then begins sooner
    )
    network.optimizer.build(network.trainable_variables)  # else Keras traces the step twice
    return network


def scores(
    name: str,
    catalog: pd.DataFrame,
    settings: Settings,
    *,
    optimiser: str = "adam",
    batch: int = 32,
    epochs: int = 0,
    rate: float = 1e-3,
) -> np.ndarray:
    """Train a recipe of :data:`TRICKS` on the split ``train``; return the score of every image.

    Parameters
    ----------
    name : str
    catalog : pandas.DataFrame
        With `split` set; ``val`` is used by early stopping alone.
    settings : Settings
        Profile and seed.
    optimiser : str
        One of :data:`OPTIMISERS`.
    batch, epochs : int
        Images in a step; epochs, where 0 stands for those of the profile.
    rate : float
        Learning rate; with warm-up, the highest.
    """
    import keras
    from scipy.special import expit

    size = tuning.SIDES[settings.profile.name]
    epochs = epochs or tuning.EPOCHS[settings.profile.name]
    pixels = images.load_images(catalog, size)
    target = catalogs.target(catalog).astype(int)
    train, val = (np.flatnonzero(catalog["split"] == part) for part in ("train", "val"))
    tricks = dict(TRICKS[name])
    options = {}
    if tricks.pop("stop", False):
        keep = keras.callbacks.EarlyStopping(patience=4, restore_best_weights=True)
        options = {"validation_data": (pixels[val], target[val]), "callbacks": [keep]}
    keras.utils.set_random_seed(settings.seed)
    steps = epochs * -(-len(train) // batch)
    network = compiled(size, steps, optimiser=optimiser, rate=rate, **tricks)
    network.fit(pixels[train], target[train], epochs=epochs, batch_size=batch, verbose=0, **options)
    return expit(network.predict(pixels, verbose=0)[:, 0].astype(float))
