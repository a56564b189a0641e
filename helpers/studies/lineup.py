"""The course's models side by side: their predictions on one split, made where they are missing.

Chapters that compare, combine or explain models (13 to 17) start from here. Each
model is trained on the split's ``train``, chosen on its ``val`` and scores every
image. Networks are made exactly as in chapters 06 and 09, so that what those
chapters computed (runs, features) is found and not computed again; the result is
the same whether they ran before or not.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import datasets, images
from helpers import predictions as prediction_tables
from helpers.base import code
from helpers.base.errors import StudyError
from helpers.base.files import kept
from helpers.base.settings import Settings
from helpers.catalog import splitting
from helpers.models import weights
from helpers.predictions.table import read_predictions, save_predictions

if TYPE_CHECKING:
    import keras

SPLITS = ("subject", "random")
#: Side of the images that the simple baselines look at, and of their thumbnails, in pixels.
_BASELINE_SIDE, _THUMBNAIL_SIDE = 96, 12
#: Side for frozen backbones outside of the profile `full`: the neediest of them takes no less.
_FROZEN_SIDE = 75
#: How strongly a linear head is held down; the validation loss chooses among these.
STRENGTHS = (0.0001, 0.001, 0.01)
#: What loading and splitting have told in this process.
_SAID: set[str] = set()


@dataclass(frozen=True)
class Member:
    """One model of the course.

    Attributes
    ----------
    description : str
        What it is, in half a sentence.
    kind : str
        ``baseline`` (logistic regression on simple numbers), ``network`` (trained
        from nothing), or ``frozen`` (logistic regression on a frozen backbone's features).
    backbone : str
        Of a frozen one, its name in :data:`helpers.models.transfer.REGISTRY`.
    smallest : str
        The smallest profile in which it takes part unless asked for by name.
    """

    description: str
    kind: str
    backbone: str = ""
    smallest: str = "smoke"


def _frozen(backbone: str, name: str, smallest: str) -> Member:
    text = f"logistic regression on the features of a frozen {name}"
    return Member(text, "frozen", backbone, smallest)


#: The models by name, cheapest first.
MODELS: dict[str, Member] = {
    "size_and_colour": Member(
        "logistic regression on area, mean colour and spread of colour", "baseline"
    ),
    "thumbnail": Member(
        f"logistic regression on the {_THUMBNAIL_SIDE} x {_THUMBNAIL_SIDE} pixel thumbnail",
        "baseline",
    ),
    "custom_cnn": Member("the network of chapter 06, trained from nothing", "network"),
    "mobilenetv2_035_frozen": _frozen("mobilenetv2_035", "MobileNetV2 of width 0.35", "smoke"),
    "mobilenet_frozen": _frozen("mobilenet", "MobileNet", "smoke"),
    "xception_frozen": _frozen("xception", "Xception", "quick"),
    "inceptionv3_frozen": _frozen("inceptionv3", "InceptionV3", "quick"),
    "mobilenetv2_frozen": _frozen("mobilenetv2", "MobileNetV2", "full"),
    "efficientnetv2b0_frozen": _frozen("efficientnetv2b0", "EfficientNetV2-B0", "full"),
    "resnet50_frozen": _frozen("resnet50", "ResNet50", "full"),
    "vgg16_frozen": _frozen("vgg16", "VGG16", "full"),
}


def names(course: Settings) -> list[str]:
    """Return the models that take part in a profile, cheapest first."""
    order = ("smoke", "quick", "full")
    rank = order.index(course.profile.name)
    return [name for name, member in MODELS.items() if order.index(member.smallest) <= rank]


def sources(models: Iterable[str]) -> dict[str, str]:
    """Return for each model where its weights began: ``ImageNet``, ``RANDOM`` or ``none``.

    ``none`` says that there was nothing to begin with: a baseline, or a network
    trained from nothing. ``RANDOM`` is a backbone whose ImageNet weights were not found.
    """
    found = {}
    for name in models:
        member = _member(name)
        found[name] = "none"
        if member.kind == "frozen":
            path = weights.find(member.backbone).path
            found[name] = "RANDOM" if path is None else "ImageNet"
    return found


def catalog(course: Settings, split: str = "subject") -> pd.DataFrame:
    """Return the labelled images of a course's data set, split as chapters 06 to 09 split them.

    Parameters
    ----------
    course : Settings
    split : str
        ``subject`` or ``random``. Images of the release's own test set are left out.

    Returns
    -------
    pandas.DataFrame
        A catalog; rows are in the order of the predictions.
    """
    if split not in SPLITS:
        raise StudyError(f"The split is {split!r}, but must be one of {', '.join(SPLITS)}.")
    with _told_once():
        table = datasets.load(course)
        table = table[(table["label"] != catalogs.UNLABELLED) & (table["split"] != "test")]
        table = table.reset_index(drop=True)
        if split == "random":
            return splitting.split_at_random(table, seed=course.seed)
        return splitting.split_by_subject(table, seed=course.seed, nearest=True)


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """Print only what was not printed before: a page need not read it with each table."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            if line not in _SAID:
                _SAID.add(line)
                print(line)


def predictions(
    course: Settings, split: str = "subject", models: Iterable[str] | None = None
) -> dict[str, pd.DataFrame]:
    """Return the predictions of the course's models, made where they are missing.

    Parameters
    ----------
    course : Settings
    split : str
        ``subject`` (whole subjects on one side) or ``random`` (as the papers split).
    models : iterable of str, optional
        Names in :data:`MODELS`; by default those of the profile (:func:`names`).

    Returns
    -------
    dict of str to pandas.DataFrame
        In the order asked for. Each table has `image_id`, `subject`, `label`,
        `positive`, `split` (``train``, ``val``, ``test``) and `score`; all have the same rows
        in the same order, those of :func:`catalog`. Scores of ``train`` rows are
        of images that the model was fitted on.

    Raises
    ------
    StudyError
        When a model or the split is unknown.
    """
    chosen = names(course) if models is None else list(models)
    for name in chosen:
        _member(name)
    table = catalog(course, split)
    table = table[table["split"] != ""].reset_index(drop=True)
    folder = course.folder("predictions", "lineup")
    result = {}
    for name in chosen:
        found = weights.find(MODELS[name].backbone) if MODELS[name].backbone else None
        key = _key(name, table, course, found)

        def make(path: Path, name: str = name, found: weights.Weights | None = found) -> None:
            scores = _scores(name, table, course, split, found)
            save_predictions(path, prediction_tables.make(table, scores))

        # Read back even what was just made: kept or new, the digits are the same.
        result[name] = kept(folder / f"{name}-{split}-{key}.csv", read_predictions, make)
    return result


def baseline_features(pixels: np.ndarray) -> np.ndarray:
    """Return area, mean colour and spread of colour of what each image shows.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8, shape (n, size, size, 3), RGB, not cropped: what is cropped and
        resized has lost its size.

    Returns
    -------
    numpy.ndarray of float64, shape (n, 7)
        Share of the image that is cell (of a frame: not black; of a field: darker
        in green than Otsu's threshold), mean red, green, blue there, and their
        standard deviations, 0..255.
    """
    import cv2

    rows = np.zeros((len(pixels), 7))
    for place, image in enumerate(pixels):
        image = np.asarray(image)
        if images.is_frame(image):
            mask = image.any(axis=-1)
        else:
            green = np.ascontiguousarray(image[..., 1])
            threshold, _ = cv2.threshold(green, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
            mask = green <= threshold
        inside = image[mask] if mask.any() else image.reshape(-1, 3)
        rows[place] = (mask.mean(), *inside.mean(axis=0), *inside.std(axis=0))
    return rows


def linear_head(strength: float, seed: int = 24) -> object:
    """Return an unfitted logistic regression on features brought to one scale first.

    It is the head of chapter 09: both classes count the same in its loss.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(
        C=strength,
        class_weight="balanced",
        max_iter=2000,
        random_state=seed,
        solver="liblinear",
        dual=True,  # quick where there are more features than images,
        intercept_scaling=100,  # but it would hold down the intercept too
    )
    return make_pipeline(StandardScaler(), regression)


def probe(features: np.ndarray, table: pd.DataFrame, seed: int = 24) -> np.ndarray:
    """Return a linear head's scores of all rows: fitted on ``train``, strength chosen on ``val``.

    Parameters
    ----------
    features : numpy.ndarray
        Shape (n, d), row by row the catalog's.
    table : pandas.DataFrame
        A catalog with its split.
    seed : int
        Of the solver's order of images.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        Probabilities of the positive class.
    """
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight

    target = catalogs.target(table)
    train, val = (np.flatnonzero(table["split"] == part) for part in ("train", "val"))
    if len(set(target[train])) < 2:
        raise StudyError(
            f"The training split holds only {sorted(set(table['label'].iloc[train]))}: "
            "a model needs both classes."
        )
    balance = compute_sample_weight("balanced", target[val])
    best = (np.inf, np.empty(0))
    for strength in STRENGTHS:
        head = linear_head(strength, seed).fit(features[train], target[train])
        scores = head.predict_proba(features)[:, 1]
        loss = log_loss(target[val], scores[val], labels=[0, 1], sample_weight=balance)
        best = min(best, (loss, scores), key=lambda pair: pair[0])
    return best[1]


def network(course: Settings, split: str = "subject") -> keras.Model:
    """Return the trained custom CNN whose scores :func:`predictions` returns."""
    table = catalog(course, split)
    table = table[table["split"] != ""].reset_index(drop=True)
    return _custom_cnn(table, course, split)[0]


def features(course: Settings, name: str, split: str = "subject") -> np.ndarray:
    """Return what the linear head of a baseline or of a frozen backbone is fitted on.

    Returns
    -------
    numpy.ndarray
        Shape (n, d), row by row that of :func:`predictions`; from disk where a
        backbone made them before.

    Raises
    ------
    StudyError
        When the model is unknown, or a network that has no such features.
    """
    member = _member(name)
    if member.kind == "network":
        raise StudyError(f"{name!r} is trained from its pixels: it has no fixed features.")
    table = catalog(course, split)
    table = table[table["split"] != ""].reset_index(drop=True)
    found = weights.find(member.backbone) if member.backbone else None
    return _features(name, table, course, found)


def _member(name: str) -> Member:
    if name not in MODELS:
        raise StudyError(f"There is no model {name!r}; the course has {', '.join(MODELS)}.")
    return MODELS[name]


def _side(name: str, course: Settings) -> int:
    kind = MODELS[name].kind
    if kind == "baseline":
        return _BASELINE_SIDE
    if kind == "frozen":
        return course.profile.size if course.profile.name == "full" else _FROZEN_SIDE
    return course.profile.size


def _scores(
    name: str,
    table: pd.DataFrame,
    course: Settings,
    split: str,
    found: weights.Weights | None,
) -> np.ndarray:
    if MODELS[name].kind == "network":
        from helpers.training import zoo

        model, pixels = _custom_cnn(table, course, split)
        return zoo.predict(model, table, pixels)["score"].to_numpy()
    return probe(_features(name, table, course, found), table, course.seed)


def _features(
    name: str, table: pd.DataFrame, course: Settings, found: weights.Weights | None
) -> np.ndarray:
    backbone, side = MODELS[name].backbone, _side(name, course)
    if backbone:
        from helpers.models import transfer
        from helpers.training import frozen

        pixels = images.load_images(table, side)
        built = transfer.build(transfer.Recipe(backbone), side, course.seed, found)
        return np.asarray(frozen.features(built, table, images=pixels))
    if name == "thumbnail":
        return thumbnails(images.load_images(table, side))
    return baseline_features(images.load_images(table, side, crop=False))


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """Return the images as rows of 12 x 12 x 3 mean colours, float64, shape (n, 432)."""
    count, side = len(pixels), pixels.shape[1] // _THUMBNAIL_SIDE
    edge = side * _THUMBNAIL_SIDE
    squares = np.asarray(pixels)[:, :edge, :edge].reshape(
        count, _THUMBNAIL_SIDE, side, _THUMBNAIL_SIDE, side, 3
    )
    return squares.mean(axis=(2, 4)).reshape(count, -1)


def _custom_cnn(
    table: pd.DataFrame, course: Settings, split: str
) -> tuple[keras.Model, np.ndarray]:
    from helpers import training
    from helpers.catalog import balancing
    from helpers.models import custom_cnn

    pixels = images.load_images(table, course.profile.size)
    run = training.fit(
        custom_cnn.build(course.profile.size, course.seed),
        table,
        pixels,
        course,
        f"custom_cnn-{split}",
        class_weight=balancing.class_weights(table),
    )
    return run.model, pixels


def _key(name: str, table: pd.DataFrame, course: Settings, found: weights.Weights | None) -> str:
    """Return a hash of all that the predictions depend on."""
    columns = ("image_id", "sha256", "transform", "subject", "label", "positive", "split")
    profile = course.profile
    facts = {
        "rows": catalogs.fingerprint(table, columns),
        "seed": course.seed,
        "side": _side(name, course),
        "weights": "" if found is None else found.sha256 or "random",
        "code": code.version(__name__),
        "software": _software() if MODELS[name].kind != "baseline" else "",
    }
    if MODELS[name].kind == "network":
        facts["training"] = [
            profile.epochs,
            profile.patience,
            profile.batch_size,
            profile.precision,
        ]
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _software() -> list[str]:
    """Return what :func:`helpers.base.provenance.keras_version` tells, without importing Keras.

    A chapter whose predictions are all there need not wait for it.
    """
    return [importlib.metadata.version("keras"), os.environ.get("KERAS_BACKEND", "")]
