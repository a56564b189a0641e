"""What a training is given: its recipe and its rows, checked before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import arguments
from helpers.base.errors import ModelError, TrainingError
from helpers.base.settings import Settings
from helpers.models.layers import require_sigmoid
from helpers.training import compute

if TYPE_CHECKING:
    import keras


def recipe(
    settings: Settings,
    name: str,
    *,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float,
    optimizer: str,
    patience: int | None,
    class_weight: Mapping[int, float] | None,
) -> dict[str, Any]:
    """Return how a network is trained, as plain values; what is None comes from the profile.

    Parameters
    ----------
    settings, name, epochs, batch_size, learning_rate, optimizer, patience, class_weight
        As for :func:`helpers.training.runs.fit`.

    Raises
    ------
    TrainingError
        When one of them is not what `fit` takes.
    """
    if not isinstance(settings, Settings):
        raise TrainingError(
            f"The settings are {arguments.shown(settings)}, but must be those that "
            "helpers.base.settings.read returns."
        )
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w .+()-]*", name):
        raise TrainingError(
            f"The name of the run is {name!r}, but must be text of letters, digits, blanks and "
            "the signs . + - ( ): a folder is named after it."
        )
    if not isinstance(learning_rate, Real) or not learning_rate > 0:
        raise TrainingError(f"The learning rate is {learning_rate!r}, but must be above 0.")
    weights = class_weight if isinstance(class_weight, Mapping) else {}
    if class_weight is not None and not all(isinstance(weights.get(k), Real) for k in (0, 1)):
        raise TrainingError(
            f"class_weight is {class_weight!r}, but must give a number for each of the classes "
            "0 and 1, as helpers.catalog.balancing.class_weights returns them."
        )
    given = {"epochs": epochs, "batch_size": batch_size, "patience": patience}
    return {
        "optimizer": arguments.one_of("optimizer", optimizer, compute.OPTIMIZERS, TrainingError),
        "loss": "binary_crossentropy on logits",
        **{
            what: getattr(settings.profile, what)
            if value is None
            else arguments.whole(what, value, TrainingError, 1)
            for what, value in given.items()
        },
        "learning_rate": float(learning_rate),
        "class_weight": None if class_weight is None else {k: weights[k] for k in (0, 1)},
        "seed": settings.seed,
        "precision": compute.policy(settings.profile),
    }


def rows(
    model: keras.Model, catalog: pd.DataFrame, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows of a catalog to train on and of those to validate on.

    Parameters
    ----------
    model, catalog, images
        As for :func:`helpers.training.runs.fit`.

    Raises
    ------
    TrainingError
        When the network has no last sigmoid, it, the images and the catalog do not belong
        together, a split is missing, or ``train`` holds one class only.
    """
    try:
        require_sigmoid(model)
    except ModelError as error:
        raise TrainingError(str(error)) from error
    if not isinstance(images, np.ndarray):
        raise TrainingError(
            f"The images must be an array, but are {arguments.shown(images)}: "
            "helpers.images.load_images makes it."
        )
    if images.ndim == 0 or len(images) != len(catalog):
        count = len(images) if images.ndim else 0
        raise TrainingError(
            f"There are {count} images but {len(catalog)} rows in the catalog: "
            "load the images of this catalog."
        )
    pixels = images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3
    if not pixels and not (images.dtype == np.float32 and images.ndim in (2, 3)):
        raise TrainingError(
            f"The images are {images.dtype} of shape {images.shape}; the course's models take "
            "uint8 of shape (n, size, size, 3) and scale it themselves."
        )
    positions = [np.flatnonzero(catalog["split"] == split) for split in ("train", "val")]
    for split, part in zip(("train", "val"), positions, strict=True):
        if not len(part):
            raise TrainingError(
                f"No row of the catalog is in the split {split!r}: split it first "
                "(helpers.catalog.splitting)."
            )
    if len(set(catalogs.target(catalog.iloc[positions[0]]))) < 2:
        only = sorted(set(catalog["label"].iloc[positions[0]]))
        raise TrainingError(f"The training split holds only {only}: a network needs both classes.")
    takes = tuple(model.input_shape[1:])
    if pixels and len(takes) == 3 and images.shape[1:] != takes:
        raise TrainingError(
            f"The images are of shape {images.shape[1:]}, but {model.name} takes {takes}: "
            "load them in that size."
        )
    if not pixels and images.shape[-1:] != takes:
        raise TrainingError(
            f"The features are of shape {images.shape[-1:]}, but {model.name} takes {takes}."
        )
    return positions[0], positions[1]
