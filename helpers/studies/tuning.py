"""Every setting of four hyper-parameters, trained once, so that searches can be compared.

A search is a way to choose which settings are trained. To compare searches over and over,
each setting is trained once for each fold and its result is looked up (chapter 06).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.base import code, progress, provenance
from helpers.base.errors import StudyError
from helpers.base.files import kept, read_csv, write_csv
from helpers.base.settings import Settings

if TYPE_CHECKING:
    import keras

#: The factors of Chen et al. (2021); the levels are the course's own.
FACTORS = {
    "optimiser": ("sgd", "rmsprop", "adam"),
    "batch": (16, 32, 64),
    "epochs": (1, 2, 4),
    "rate": (1e-4, 1e-3, 1e-2),
}
#: Sides of the images in pixels, and epochs of a training, by profile: many networks are trained.
SIDES = {"smoke": 24, "quick": 24, "full": 128}
EPOCHS = {"smoke": 2, "quick": 4, "full": 40}
#: Repeats of an experiment, by profile: each has its own people and its own seed.
REPEATS = {"smoke": 2, "quick": 3, "full": 4}
#: Images that a network judges at once.
_AT_ONCE = 512


def parts(fold: np.ndarray, repeat: int) -> dict[str, np.ndarray]:
    """Return the rows of ``test``, ``val`` and ``train`` of a repeat: three folds in a row.

    Over all repeats every fold is each of them once.
    """
    k = fold.max() + 1
    return {
        name: np.flatnonzero(fold == (repeat + step) % k)
        for step, name in enumerate(("test", "val", "train"))
    }


def auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve; 0.5, which tells nothing, where a class is missing."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores)) if len(set(truth)) == 2 else 0.5


def logits(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return one logit for each image; without what `predict` prepares, so faster for few."""
    places = range(0, len(images), _AT_ONCE)
    found = [network.predict_on_batch(images[place : place + _AT_ONCE]) for place in places]
    return np.concatenate(found)[:, 0]


def optimiser(name: str, rate: float) -> keras.Optimizer:
    """Return a new ``sgd`` (with momentum 0.9), ``rmsprop`` or ``adam``.

    Raises
    ------
    StudyError
        When the name is another one.
    """
    import keras

    if name == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9)
    if name not in ("rmsprop", "adam"):
        raise StudyError(f"There is no optimiser {name!r}: {', '.join(FACTORS['optimiser'])}.")
    return {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}[name](rate)


def table(
    settings: Settings,
    build: Callable[[int], keras.Model],
    pixels: np.ndarray,
    target: np.ndarray,
    fold: np.ndarray,
    repeats: int = 3,
) -> pd.DataFrame:
    """Return the results of all settings of :data:`FACTORS` in some repeats, cached on disk.

    Parameters
    ----------
    settings : Settings
        Seed and folder; repeat r is trained with the seed plus r.
    build : callable
        From the side of the images to a new network that gives one logit.
    pixels : numpy.ndarray
        uint8, shape (n, size, size, 3).
    target, fold : numpy.ndarray of int
        Class (0 or 1) and fold (from 0) of each image.
    repeats : int
        How many; :func:`parts` says what a repeat trains on.

    Returns
    -------
    pandas.DataFrame
        `repeat`, the four factors, and `val` and `test`: the AUC on the images of other people.
        The longest training gives the results of fewer epochs on its way.
    """
    import keras

    keras.utils.set_random_seed(settings.seed)  # else the key would hold other weights each time
    facts = {
        "pixels": provenance.digest(pixels),
        "rows": [np.asarray(values).tolist() for values in (target, fold)],
        "network": provenance.model_facts(build(pixels.shape[1])),
        "repeats": repeats,
        "seed": settings.seed,
        "code": code.version(__name__),
        "software": provenance.keras_version(),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def read(path: Path) -> pd.DataFrame:
        kinds = {"repeat": int, "batch": int, "epochs": int}
        found = read_csv(path, StudyError)
        return found.astype({**dict.fromkeys(("rate", "val", "test"), float), **kinds})

    def make(path: Path) -> None:
        write_csv(path, _table(settings, build, pixels, target, fold, repeats))

    return kept(settings.folder("tuning") / f"settings-{key}.csv", read, make)


def _table(settings, build, pixels, target, fold, repeats) -> pd.DataFrame:
    import keras

    rows, starts = [], []
    for repeat in range(repeats):
        keras.utils.set_random_seed(settings.seed + repeat)
        starts.append(build(pixels.shape[1]).get_weights())
    for name in FACTORS["optimiser"]:
        network = build(pixels.shape[1])  # compiled once: that takes longer than a short training
        network.compile(
            optimiser(name, 1e-3),
            keras.losses.BinaryCrossentropy(from_logits=True),
            # XLA would compile again for each size of a last batch; but JAX is slow without it.
            jit_compile=keras.backend.backend() == "jax",
        )
        network.optimizer.build(network.trainable_variables)
        fresh = [keras.ops.convert_to_numpy(v) for v in network.optimizer.variables]
        others = itertools.product(range(repeats), FACTORS["batch"], FACTORS["rate"])
        for repeat, batch, rate in progress.bar(list(others), desc=name, unit="training"):
            rows_of = parts(fold, repeat)
            network.set_weights(starts[repeat])
            for variable, value in zip(network.optimizer.variables, fresh, strict=True):
                variable.assign(value)
            network.optimizer.learning_rate = rate
            rng = np.random.default_rng(settings.seed + repeat)
            for epoch in range(1, max(FACTORS["epochs"]) + 1):
                order = rng.permutation(rows_of["train"])
                for start in range(0, len(order), batch):
                    some = order[start : start + batch]
                    network.train_on_batch(pixels[some], target[some, None])
                if epoch in FACTORS["epochs"]:
                    found = [
                        auc(target[rows_of[part]], logits(network, pixels[rows_of[part]]))
                        for part in ("val", "test")
                    ]
                    rows.append((repeat, name, batch, epoch, rate, *found))
    return pd.DataFrame(rows, columns=["repeat", *FACTORS, "val", "test"])
