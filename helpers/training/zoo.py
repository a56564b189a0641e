"""From a model to predictions, and keeping both.

A *score* is the probability of the positive class. Every model of the course
takes raw 0..255 RGB and scales it inside: nothing here divides by anything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images as image_files
from helpers import predictions as prediction_tables
from helpers import training
from helpers.base import code, provenance
from helpers.base.errors import TrainingError
from helpers.base.files import atomic_path, kept, write_csv, write_json
from helpers.base.settings import Settings
from helpers.models import transfer, weights
from helpers.training import compute, frozen

if TYPE_CHECKING:
    import keras


#: What a stage's record tells of its training.
_OF_A_STAGE = ("best_epoch", "epochs", "epoch_seconds", "images_per_second", "batch_size")


class Answer(NamedTuple):
    """What a model says about one image."""

    label: str
    score: float


def load_or_train(
    recipe: transfer.Recipe,
    catalog: pd.DataFrame,
    settings: Settings,
    name: str | None = None,
) -> training.Run:
    """Train the network of a recipe, stage by stage; load it where that was done before.

    Parameters
    ----------
    recipe : helpers.models.transfer.Recipe
        Made shorter as :func:`helpers.models.transfer.for_profile` does.
    catalog : pandas.DataFrame
        With `split` set; the images of ``train`` and ``val`` are loaded.
    settings : Settings
        Profile, seed and folder.
    name : str, optional
        What the run's folder is called, followed by a hash of all it depends
        on; by default the recipe's name in ``transfer.RECIPES``.

    Returns
    -------
    helpers.training.Run
        The history has a further column `stage` (from 1), and its epochs count
        on from stage to stage. The record has the recipe as it was trained, the
        source of the weights, and what each stage took. While the backbone is
        frozen it is run once, and the head is trained on what it gave.

    Raises
    ------
    TrainingError, ModelError
        When the data or the recipe do not allow it.
    ModelError
        When a weight file is not what its name says.
    """
    asked = recipe
    recipe = transfer.for_profile(recipe, settings.profile)
    if not recipe.stages:
        raise TrainingError("The recipe has no stage; transfer.build makes an untrained network.")
    if name is None:
        known = {known: name for name, known in transfer.RECIPES.items()}
        name = known.get(asked, recipe.backbone)
    size = transfer.size_for(recipe, settings.profile)
    found = weights.find(recipe.backbone)
    used = catalog[catalog["split"].isin(["train", "val"])].reset_index(drop=True)
    if used.empty:
        raise TrainingError(
            "No row of the catalog is in a split: split it first (helpers.catalog.splitting)."
        )
    catalogs.check(used)
    images = image_files.load_images(used, size)
    facts = {
        "recipe": {k: v for k, v in recipe.as_dict().items() if k != "published"},
        "size": size,
        "batch_size": settings.profile.batch_size,
        "seed": settings.seed,
        "precision": compute.policy(settings.profile),
        "weights": {"source": "random"} if found.path is None else {"sha256": found.sha256},
        "data": {
            "rows": catalogs.fingerprint(used, catalogs.TRAINED_ON),
            "pixels": provenance.digest(images),
        },
        "code": code.version(__name__),
        "software": provenance.keras_version(),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    folder = settings.folder("runs", f"{name}-{key}")

    def make(record: Path) -> None:
        started = {
            "name": name,
            "key": key,
            **facts,
            "classes": catalogs.class_names(used),
            "published": recipe.published,
            "weights": {**found.as_dict(), "note": str(found)},
            "settings": settings.as_dict(),
        }
        write_json(record, _train_stages(recipe, used, images, settings, found, folder, started))

    return kept(folder / "record.json", training.finished, make)


def _train_stages(
    recipe: transfer.Recipe,
    catalog: pd.DataFrame,
    images: np.ndarray,
    settings: Settings,
    found: weights.Weights,
    folder: Path,
    started: dict,
) -> dict:
    """Run the stages one after the other, each perhaps done before; return the record."""
    import keras

    model = transfer.build(recipe, started["size"], settings.seed, found)
    histories, stages = [], []
    for place, stage in enumerate(recipe.stages, start=1):
        options = {
            "epochs": stage.epochs,
            "patience": stage.patience,
            "learning_rate": stage.learning_rate,
            "optimizer": stage.optimizer,
        }
        begin = time.perf_counter()
        if stage.trainable == "head":
            versions = frozen.MIRRORED if recipe.augment else ("identity",)
            given = frozen.features(model, catalog, images=images, transforms=versions)
            seconds = time.perf_counter() - begin
            head = transfer.head(recipe, given.shape[-1:], settings.seed)
            transfer.copy_head(model, head)
            run = training.fit(head, catalog, given, settings, f"{recipe.backbone}-head", **options)
            transfer.copy_head(run.model, model)
        else:
            seconds = 0.0
            transfer.set_trainable(model, stage.trainable, recipe.frozen_statistics)
            run = training.fit(
                model, catalog, images, settings, f"{recipe.backbone}-tuned", **options
            )
            # Without the optimizer's state, which is twice the weights.
            model = keras.saving.load_model(run.folder / "best.keras", compile=False)
        histories.append(run.history.assign(stage=place))
        stages.append(
            {
                **dataclasses.asdict(stage),
                "folder": run.folder.name,
                "feature_seconds": round(seconds, 3),
                **{k: run.record[k] for k in _OF_A_STAGE},
            }
        )
    transfer.set_trainable(model, recipe.stages[-1].trainable, recipe.frozen_statistics)
    history = pd.concat(histories, ignore_index=True)
    history["epoch"] = np.arange(1, len(history) + 1)
    before = len(history) - len(histories[-1])
    save_model(folder / "best.keras", model)
    write_csv(folder / "history.csv", history[["stage", *training.HISTORY]])
    return {
        **started,
        "stages": stages,
        "epochs": len(history),
        "best_epoch": before + stages[-1]["best_epoch"],
        "epoch_seconds": [seconds for stage in stages for seconds in stage["epoch_seconds"]],
        "feature_seconds": round(sum(stage["feature_seconds"] for stage in stages), 3),
        "images_per_second": stages[-1]["images_per_second"],
        "parameters": model.count_params(),
        "environment": provenance.environment(),
    }


def predict(
    model: keras.Model,
    catalog: pd.DataFrame,
    images: np.ndarray | None = None,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Return the model's score of every image of a catalog.

    Parameters
    ----------
    model : keras.Model
        From raw 0..255 RGB, shape (batch, size, size, 3), to one probability.
    catalog : pandas.DataFrame
        Labelled or not; choose a split's rows before, or later by `split`.
    images : numpy.ndarray, optional
        uint8, row by row the catalog's images; by default read and cropped
        from their files, in the size that the model takes.
    batch_size : int
        Images read and predicted at once.

    Returns
    -------
    pandas.DataFrame
        `image_id`, `subject`, `label`, `positive`, `split`, `score`, row by row the catalog's.

    Raises
    ------
    TrainingError
        When the model is not one probability of an RGB image, or the images do
        not belong to the catalog.
    """
    size = _size(model)
    catalogs.check(catalog)
    if images is None:
        images = image_files.load_images(catalog, size)
    if images.shape != (len(catalog), size, size, 3) or images.dtype != np.uint8:
        raise TrainingError(
            f"The images are {images.dtype} of shape {images.shape}, but the model and the catalog "
            f"want uint8 of shape {(len(catalog), size, size, 3)}."
        )
    return prediction_tables.make(catalog, _scores(model, images, batch_size))


def predict_file(
    model: keras.Model,
    path: str | os.PathLike,
    classes: Sequence[str],
    threshold: float = 0.5,
) -> Answer:
    """Return the label and the score of the image in one file.

    The file goes the way that training images go (:func:`helpers.images.prepare`),
    and the one score is held against a threshold: ``argmax`` over a single
    probability would call every image negative.

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
        From this score up the label is the positive class.

    Raises
    ------
    ImageError
        When the file is not an image.
    TrainingError
        When `classes` are not two names.
    """
    if isinstance(classes, str) or len(classes) != 2:
        raise TrainingError(
            f"The classes are {classes!r}, but must be two names: of the negative class and of "
            "the positive one."
        )
    image = image_files.prepare(image_files.read_image(path), _size(model))
    score = float(_scores(model, image[np.newaxis], 1)[0])
    return Answer(classes[int(score >= threshold)], score)


def save_model(path: str | os.PathLike, model: keras.Model) -> Path:
    """Write the model to `path`, which ends in ``.keras``, whole or not at all."""
    if Path(path).suffix != ".keras":
        raise TrainingError(
            f"A model is kept in a file that ends in .keras, not in {Path(path).name}."
        )
    with atomic_path(path) as temporary:
        model.save(temporary)
    return Path(path)


def load_model(path: str | os.PathLike) -> keras.Model:
    """Return the model kept in `path`; a file that would run foreign code is refused.

    Raises
    ------
    TrainingError
        When the file is missing or is not a model of the course.
    """
    import keras

    import helpers.models.attention  # noqa: F401  registers the course's own layers

    if not Path(path).is_file():
        raise TrainingError(f"{path} is not there: run the chapter that trains this model.")
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(f"{path} cannot be loaded as a model: {reason}") from error
    _size(model)
    return model


def _size(model: keras.Model) -> int:
    """Return the side of the images that the model takes; refuse other models."""
    given, result = model.input_shape, model.output_shape
    fits = len(given) == 4 and given[3] == 3 and given[1] == given[2] and given[1] is not None
    if not fits or tuple(result[1:]) != (1,):
        raise TrainingError(
            f"The model goes from {given} to {result}, but the course's models go from square RGB "
            "images (None, size, size, 3) to one probability (None, 1)."
        )
    return given[1]


def _scores(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    if not model.compiled and not provenance.has_gpu():
        model.jit_compile = False  # on a CPU, compiling costs more than it saves
    parts = []
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size])
        missing = batch_size - len(batch) if start else 0
        if missing:  # another shape would be compiled anew
            batch = np.concatenate([batch, batch[:1].repeat(missing, axis=0)])
        parts.append(model.predict_on_batch(batch))
    return np.concatenate(parts)[: len(images), 0].astype(np.float64)
