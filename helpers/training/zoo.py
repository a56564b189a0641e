"""Train the network of a recipe, predict with it and load it.

A *score* is the probability of the positive class. Every model of the course takes
raw 0..255 RGB and scales it itself: nothing here divides by 255.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images as image_files
from helpers import predictions as prediction_tables
from helpers.base import arguments, code, provenance
from helpers.base.errors import ModelError, TrainingError
from helpers.base.files import atomic_path, write_csv
from helpers.base.settings import Settings
from helpers.models import transfer, weights
from helpers.models.layers import require_classifier
from helpers.training import batches, compute, frozen, runs

if TYPE_CHECKING:
    import keras

_BATCH = 64  # images predicted at once
#: What the record says about each stage.
_STAGE_FACTS = (
    "best_epoch",
    "epochs",
    "epoch_seconds",
    "images_per_second",
    "batch_size",
    "collapsed",
    "retried",
)


class Answer(NamedTuple):
    """A model's prediction for one image."""

    label: str
    score: float


def load_or_train(
    recipe: transfer.Recipe, catalog: pd.DataFrame, settings: Settings, name: str | None = None
) -> runs.Run:
    """Train the network of a recipe, stage by stage; load it when that was done before.

    Parameters
    ----------
    recipe : helpers.models.transfer.Recipe
        Shortened by :func:`helpers.models.transfer.for_profile`.
    catalog : pandas.DataFrame
        With `split` set; the images of ``train`` and ``val`` are loaded.
    settings : Settings
        Profile, seed and folder.
    name : str, optional
        The run's folder has this name and a hash of all that the run depends on;
        by default the recipe's name in ``transfer.RECIPES``.

    Returns
    -------
    helpers.training.Run
        The history has a further column `stage` (from 1), and the numbers of epochs
        continue from stage to stage. The record has the shortened recipe, the source of
        the weights, and the times of each stage. A frozen backbone is run once, and the
        head is trained on its features.

    Raises
    ------
    TrainingError, ModelError
        When the data or the recipe do not allow it, or a weight file is damaged.
    """
    if name is None:
        names = {value: key for key, value in transfer.RECIPES.items()}
        name = names.get(recipe)
    recipe = transfer.for_profile(recipe, settings.profile)
    if not recipe.stages:
        raise TrainingError("The recipe has no stage; transfer.build makes an untrained network.")
    size = transfer.size_for(recipe, settings.profile)
    pretrained = weights.find(recipe.backbone)
    catalog = catalogs.check(catalog)
    used = catalog[catalog["split"].isin(["train", "val"])].reset_index(drop=True)
    if used.empty:
        raise TrainingError(
            "No row of the catalog is in a split: split it first (helpers.catalog.splitting)."
        )
    images = image_files.load_images(used, size)
    facts = {
        "recipe": {k: v for k, v in recipe.as_dict().items() if k != "published"},
        "size": size,
        "batch_size": settings.profile.batch_size,
        "seed": settings.seed,
        "precision": compute.policy(settings.profile),
        "weights": (
            {"sha256": pretrained.sha256} if pretrained.path is not None else {"source": "random"}
        ),
        "data": {
            "rows": catalogs.fingerprint(used, catalogs.TRAINED_ON),
            "pixels": provenance.digest(images),
        },
        "code": code.version(__name__),
        "software": provenance.keras_version(),
    }

    def train_in(folder: Path, started: dict) -> dict:
        started = {
            **started,
            "classes": catalogs.class_names(used),
            "published": recipe.published,
            "weights": {**pretrained.as_dict(), "note": str(pretrained)},
        }
        return _train_stages(recipe, used, images, settings, pretrained, folder, started)

    return runs.kept_run(name or recipe.backbone, facts, settings, train_in)


def _train_stages(
    recipe: transfer.Recipe,
    catalog: pd.DataFrame,
    images: np.ndarray,
    settings: Settings,
    pretrained: weights.Weights,
    folder: Path,
    started: dict,
) -> dict:
    """Train stage by stage, each loaded when it was finished before; return the record."""
    import keras

    model = transfer.build(recipe, started["size"], settings.seed, pretrained)
    histories, stages = [], []
    for number, stage in enumerate(recipe.stages, start=1):
        options = dataclasses.asdict(stage)
        feature_seconds = 0.0
        if options.pop("trainable") == "head":
            begin = time.perf_counter()
            versions = frozen.MIRRORED if recipe.augment else ("identity",)
            features = frozen.features(model, catalog, images=images, transforms=versions)
            feature_seconds = time.perf_counter() - begin
            head = transfer.head(recipe, features.shape[-1:], settings.seed)
            transfer.copy_head(model, head)
            run = runs.fit(head, catalog, features, settings, f"{recipe.backbone}-head", **options)
            transfer.copy_head(run.model, model)
            frozen.discard(features)
        else:
            transfer.set_trainable(model, stage.trainable, recipe.frozen_statistics)
            run = runs.fit(model, catalog, images, settings, f"{recipe.backbone}-tuned", **options)
            # Loaded without the optimizer's state, which is twice as large as the weights.
            model = keras.saving.load_model(run.folder / "best.keras", compile=False)
        histories.append(run.history.assign(stage=number))
        stages.append(
            {
                **dataclasses.asdict(stage),
                "folder": run.folder.name,
                "feature_seconds": round(feature_seconds, 3),
                **{fact: run.record[fact] for fact in _STAGE_FACTS},
            }
        )
    transfer.set_trainable(model, recipe.stages[-1].trainable, recipe.frozen_statistics)
    collapsed = stages[-1]["collapsed"].removeprefix(run.record["name"])
    history = pd.concat(histories, ignore_index=True)
    history["epoch"] = np.arange(1, len(history) + 1)
    with atomic_path(folder / "best.keras") as temporary:
        model.save(temporary)
    write_csv(folder / "history.csv", history[["stage", *runs.HISTORY]])
    for stage in stages:
        if stage["trainable"] != "head":  # a head is small, and other recipes begin with it
            shutil.rmtree(folder.parent / stage["folder"], ignore_errors=True)
    return {
        **started,
        "stages": stages,
        "collapsed": started["name"] + collapsed if collapsed else "",
        "retried": " ".join(filter(None, (stage["retried"] for stage in stages))),
        "epochs": len(history),
        "best_epoch": len(history) - len(histories[-1]) + stages[-1]["best_epoch"],
        "epoch_seconds": [seconds for stage in stages for seconds in stage["epoch_seconds"]],
        "feature_seconds": round(sum(stage["feature_seconds"] for stage in stages), 3),
        "images_per_second": stages[-1]["images_per_second"],
        "parameters": model.count_params(),
        "environment": provenance.environment(),
    }


def predict(
    model: keras.Model, catalog: pd.DataFrame, images: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the model's score of every image of a catalog.

    Parameters
    ----------
    model : keras.Model
        From raw 0..255 RGB, shape (batch, size, size, 3), to one probability.
    catalog : pandas.DataFrame
        Labelled or not.
    images : numpy.ndarray, optional
        uint8, in the order of the catalog; by default read and cropped
        from their files, in the size that the model takes.

    Returns
    -------
    pandas.DataFrame
        `image_id`, `subject`, `label`, `positive`, `split`, `score`, in the order of the catalog.

    Raises
    ------
    TrainingError
        When the images do not belong to the catalog.
    ModelError
        When the model does not go from square RGB images to one probability by a sigmoid.
    """
    images = frozen.images_of(catalog, require_classifier(model), images)
    return prediction_tables.make(catalog, _scores(model, images, _BATCH))


def predict_file(
    model: keras.Model, path: str | os.PathLike, classes: Sequence[str], threshold: float = 0.5
) -> Answer:
    """Return the label and the score of the image in one file.

    The image is cropped and resized like the training images
    (:func:`helpers.images.prepare`), and its score is compared with a threshold:
    ``argmax`` over a single probability would call every image negative.

    Parameters
    ----------
    model : keras.Model
        As in :func:`predict`.
    path : path-like
        BMP, JPEG, PNG or TIFF.
    classes : sequence of two str
        Names of the negative and of the positive class: ``record["classes"]`` of
        the run that trained the model, or :func:`helpers.catalog.class_names`.
    threshold : float
        From 0 to 1. The label is the positive class when the score is at least this.

    Raises
    ------
    ImageError
        When the file is not an image.
    TrainingError
        When `classes` are not two different names, or the threshold is not from 0 to 1.
    ModelError
        As in :func:`predict`.
    """
    size = require_classifier(model)
    names = arguments.names("The classes", classes, TrainingError)
    if len(set(names) - {""}) != 2 or len(names) != 2:
        raise TrainingError(
            f"The classes are {arguments.shown(names)}, but must be two different names: of the "
            "negative class and of the positive one."
        )
    threshold = arguments.number("The threshold", threshold, TrainingError, 0, 1)
    image = image_files.prepare(image_files.read_image(path), size)
    score = float(_scores(model, image[np.newaxis], 1)[0])
    return Answer(names[int(score >= threshold)], score)


def load_model(path: str | os.PathLike) -> keras.Model:
    """Return the model saved in `path`; a file that contains code is refused.

    Raises
    ------
    TrainingError
        When the file is missing or damaged.
    ModelError
        When the model does not go from square RGB images to one probability.
    """
    import keras

    import helpers.models.attention  # noqa: F401  registers the course's own layers

    path = arguments.path("The path of a model", path, TrainingError)
    if not path.is_file():
        raise TrainingError(f"{path} is not there: run the chapter that trains this model.")
    if not zipfile.is_zipfile(path) and path.suffix not in (".h5", ".hdf5"):
        raise TrainingError(
            f"{path} is damaged (cut off, perhaps) or is no saved network: delete it and run the "
            "chapter that trains this model."
        )
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(f"{path} cannot be loaded as a model: {reason}") from error
    require_classifier(model)
    return model


def _scores(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    if not model.compiled and provenance.spares_xla():
        model.jit_compile = False
    scores = [
        model.predict_on_batch(batch)[:count, 0]
        for batch, count in batches.padded(images, batch_size)
    ]
    scores = np.concatenate(scores).astype(np.float64)
    wrong = scores[~((scores >= 0) & (scores <= 1))]
    if len(wrong):
        raise ModelError(
            f"{model.name} gives {len(wrong)} of {len(scores)} images a score that is no "
            f"probability, such as {wrong[0]:.3g}: its weights are damaged; train it again."
        )
    return scores
