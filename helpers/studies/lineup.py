"""The models of the course side by side: their predictions on one split of one data set.

Chapters that compare, combine or explain models (13 to 16, and 22) start from here. Each model
is trained on ``train``, chosen on ``val``, and scores every image. What chapters 05 and 09
have computed (trainings, features of backbones) is loaded, not computed again; the result
is the same whether those chapters ran before or not.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import datasets, images
from helpers import predictions as prediction_tables
from helpers.base import arguments, code
from helpers.base.errors import StudyError
from helpers.base.files import kept
from helpers.base.settings import PROFILES, Settings
from helpers.catalog import splitting
from helpers.models import weights
from helpers.predictions import collapse
from helpers.predictions.table import read_predictions, save_predictions
from helpers.studies import baselines

if TYPE_CHECKING:
    import keras

#: How a study splits its images: image by image, as Shreya's report does, or by whole subjects.
SPLITS = ("random", "subject")
#: Side of the images that the simple baselines see, in pixels.
_BASELINE_SIDE = 96
#: Side of the images for frozen backbones in `smoke` and `quick`: InceptionV3 needs at least this.
_FROZEN_SIDE = 75
#: Values of `C` (inverse regularisation strength) from which the validation loss chooses.
STRENGTHS = (0.0001, 0.001, 0.01)
#: Features of frozen backbones in this process, because building a backbone takes long.
_FEATURES: dict[tuple, np.ndarray] = {}


@dataclass(frozen=True)
class Member:
    """One model of the course.

    Attributes
    ----------
    description : str
        What the model is, in half a sentence.
    kind : str
        ``baseline`` (logistic regression on simple numbers), ``network`` (trained from
        random weights), or ``frozen`` (logistic regression on features of a frozen backbone).
    backbone : str
        Of a frozen model, its name in :data:`helpers.models.transfer.REGISTRY`.
    smallest : str
        The smallest profile that includes the model by default.
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
        f"logistic regression on the {baselines.SIDE} x {baselines.SIDE} pixel thumbnail",
        "baseline",
    ),
    "custom_cnn": Member("the network of chapter 05, trained from scratch", "network"),
    "mobilenetv2_035_frozen": _frozen("mobilenetv2_035", "MobileNetV2 of width 0.35", "smoke"),
    "mobilenet_frozen": _frozen("mobilenet", "MobileNet", "smoke"),
    "xception_frozen": _frozen("xception", "Xception", "quick"),
    "inceptionv3_frozen": _frozen("inceptionv3", "InceptionV3", "quick"),
    "mobilenetv2_frozen": _frozen("mobilenetv2", "MobileNetV2", "full"),
    "efficientnetv2b0_frozen": _frozen("efficientnetv2b0", "EfficientNetV2-B0", "full"),
    "resnet50_frozen": _frozen("resnet50", "ResNet50", "full"),
    "vgg16_frozen": _frozen("vgg16", "VGG16", "full"),
}


def names(settings: Settings) -> list[str]:
    """Return the models that a profile includes, cheapest first."""
    return [name for name, member in MODELS.items() if includes(settings, member.smallest)]


def includes(settings: Settings, smallest: str) -> bool:
    """Return whether the profile of the settings is at least as large as `smallest`."""
    order = list(PROFILES)
    return order.index(settings.profile.name) >= order.index(smallest)


def sources(models: Iterable[str]) -> dict[str, str]:
    """Return the weights from which the training of each model starts.

    ``ImageNet``; ``RANDOM`` for a backbone whose ImageNet weights are not available; or
    ``none`` for a model without a backbone: a baseline or a network of the course's own.
    """
    return {name: source(_member(name).backbone) for name in models}


def source(backbone: str) -> str:
    """Return ``ImageNet`` or ``RANDOM`` for a backbone, and ``none`` for ``""``."""
    if not backbone:
        return "none"
    return "RANDOM" if weights.find(backbone).path is None else "ImageNet"


def catalog(settings: Settings, split: str = "subject") -> pd.DataFrame:
    """Return the labelled images of the data set, split as in chapters 05 to 09.

    Parameters
    ----------
    settings : Settings
    split : str
        ``subject`` or ``random``. The published test set of a data set is left out.

    Returns
    -------
    pandas.DataFrame
        A catalog; its rows are in the order of the predictions.

    Raises
    ------
    StudyError
        When the split is unknown.
    """
    require_split(split)
    return _split(settings, split).copy()


def require_split(split: str) -> None:
    """Raise a `StudyError` unless `split` is one of :data:`SPLITS`."""
    if split not in SPLITS:
        raise StudyError(f"The split is {split!r}, but must be {' or '.join(SPLITS)}.")


@cache  # also so that the notes on data set and split are printed only once
def _split(settings: Settings, split: str) -> pd.DataFrame:
    table = _labelled(settings)
    if split == "random":
        table = splitting.split_at_random(table, seed=settings.seed)
    else:
        table = splitting.split_by_subject(table, seed=settings.seed, nearest=True)
    return table[table["split"] != ""].reset_index(drop=True)


@cache
def _labelled(settings: Settings) -> pd.DataFrame:
    table = datasets.load(settings)
    table = table[(table["label"] != catalogs.UNLABELLED) & (table["split"] != "test")]
    return table.reset_index(drop=True)


def predictions(
    settings: Settings, split: str = "subject", models: Iterable[str] | None = None
) -> dict[str, pd.DataFrame]:
    """Return the predictions of the course's models; missing ones are computed.

    Parameters
    ----------
    settings : Settings
    split : str
        ``subject`` (each subject is in one split only) or ``random`` (as in Shreya's report).
    models : iterable of str, optional
        Names in :data:`MODELS`; by default those of the profile (:func:`names`).

    Returns
    -------
    dict of str to pandas.DataFrame
        In the order of `models`. Each table has `image_id`, `subject`, `label`,
        `positive`, `split` (``train``, ``val``, ``test``) and `score`; all have the same rows
        in the same order, those of :func:`catalog`. The models were fitted on the
        ``train`` rows.

    Raises
    ------
    StudyError
        When a model or the split is unknown.
    """
    chosen = names(settings) if models is None else list(models)
    for name in chosen:
        _member(name)
    table = catalog(settings, split)
    return {name: _predictions(settings, split, name, table) for name in chosen}


def _predictions(settings: Settings, split: str, name: str, table: pd.DataFrame) -> pd.DataFrame:
    def scores() -> np.ndarray:
        if MODELS[name].kind == "network":
            from helpers.training import zoo

            return zoo.predict(network(settings, split), table)["score"].to_numpy()
        return probe(features(settings, name, split), table, settings.seed)

    facts = _facts(settings, name)
    return cached_predictions(settings, f"lineup/{name}-{split}", table, facts, scores)


def cached_predictions(
    settings: Settings,
    name: str,
    table: pd.DataFrame,
    facts: dict,
    scores: Callable[[], np.ndarray],
) -> pd.DataFrame:
    """Return predictions from disk, or compute their scores and write them.

    Parameters
    ----------
    settings : Settings
    name : str
        Beginning of the file's name, with its folder.
    table : pandas.DataFrame
        A catalog with its split; the predictions have its rows.
    facts : dict
        Everything else that the scores depend on.
    scores : callable
        Returns one score for each row of `table`.

    Returns
    -------
    pandas.DataFrame
        Always read from disk: the digits are the same in the first and in later calls.
        A collapsed model is noted for the page's banner, though no network is loaded.
    """
    columns = ("image_id", "sha256", "transform", "subject", "label", "positive", "split")
    text = json.dumps({**facts, "rows": catalogs.fingerprint(table, columns)}, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:10]
    found = kept(
        settings.folder("predictions") / f"{name}-{key}.csv",
        read_predictions,
        lambda path: save_predictions(path, prediction_tables.make(table, scores())),
    )
    collapse.note(collapse.judge(name.rpartition("/")[2], found))
    return found


def software() -> list[str]:
    """Return the version of Keras and its backend, without importing Keras.

    A chapter whose predictions are all on disk does not have to wait for the import.
    """
    return [importlib.metadata.version("keras"), os.environ.get("KERAS_BACKEND", "")]


def _facts(settings: Settings, name: str) -> dict:
    """Return what the predictions of a model depend on, besides the rows of the catalog."""
    member, profile = MODELS[name], settings.profile
    facts = {"seed": settings.seed, "code": code.version(__name__)}
    if member.kind != "baseline":
        facts["software"] = software()
    if member.kind == "network":
        facts["training"] = [
            profile.size, profile.epochs, profile.patience, profile.batch_size, profile.precision
        ]  # fmt: skip
    if member.kind == "frozen":
        facts["backbone"] = [frozen_side(settings), weights.find(member.backbone).sha256]
    return facts


def linear_head(strength: float, seed: int = 24) -> object:
    """Return an unfitted logistic regression on standardised features.

    It is the head of chapter 09; both classes have the same weight in its loss.

    Parameters
    ----------
    strength : float
        `C`: the inverse of the regularisation strength.
    seed : int
        For the order of images in the solver.
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
        dual=True,  # fast where there are more features than images,
        intercept_scaling=100,  # but it penalises the intercept too, unless that is scaled
    )
    return make_pipeline(StandardScaler(), regression)


def probe(features: np.ndarray, table: pd.DataFrame, seed: int = 24) -> np.ndarray:
    """Return the scores of a linear head, fitted on ``train``, with `C` chosen on ``val``.

    Parameters
    ----------
    features : numpy.ndarray
        Shape (n, d); row i belongs to row i of the catalog.
    table : pandas.DataFrame
        A catalog with its split.
    seed : int
        For the order of images in the solver.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        Probabilities of the positive class, for all rows.

    Raises
    ------
    StudyError
        When the training rows have only one class.
    """
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight

    arguments.table(table, ("label", "positive", "split"), "catalog", StudyError)
    arguments.text(table, ("label", "split"), "catalog", StudyError)
    if np.ndim(features) != 2 or len(features) != len(table):
        raise StudyError(
            f"The features have the shape {np.shape(features)}, but must be (n, d) with one row "
            f"for each of the {len(table)} images."
        )
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


def network(settings: Settings, split: str = "subject") -> keras.Model:
    """Return the trained custom CNN whose scores :func:`predictions` returns."""
    from helpers import training
    from helpers.catalog import balancing
    from helpers.models import custom_cnn

    table, size = catalog(settings, split), settings.profile.size
    run = training.fit(
        custom_cnn.build(size, settings.seed),
        table,
        images.load_images(table, size),
        settings,
        f"custom_cnn-{split}",
        class_weight=balancing.class_weights(table),
    )
    return run.model


def features(settings: Settings, name: str, split: str = "subject") -> np.ndarray:
    """Return the features on which the linear head of a model is fitted.

    Parameters
    ----------
    settings : Settings
    name : str
        In :data:`MODELS`: a baseline, or a model with a frozen backbone.
    split : str
        ``subject`` or ``random``.

    Returns
    -------
    numpy.ndarray
        Shape (n, d); row i belongs to row i of :func:`predictions`.

    Raises
    ------
    StudyError
        When the model is unknown, or a network that has no such features.
    """
    member, table = _member(name), catalog(settings, split)
    if member.kind == "network":
        raise StudyError(f"{name!r} is trained from its pixels: it has no fixed features.")
    if member.backbone:
        return backbone_features(settings, table, member.backbone)
    if name == "thumbnail":
        return baselines.thumbnails(images.load_images(table, _BASELINE_SIDE))
    return baselines.size_and_colour(images.load_images(table, _BASELINE_SIDE, crop=False))


def backbone_features(
    settings: Settings, table: pd.DataFrame, backbone: str, cut: str = ""
) -> np.ndarray:
    """Return the features of a frozen backbone, cached on disk.

    Parameters
    ----------
    settings : Settings
    table : pandas.DataFrame
        A catalog.
    backbone : str
        A name in :data:`helpers.models.transfer.REGISTRY`.
    cut : str
        The layer whose output is used; by default the backbone's last one.

    Returns
    -------
    numpy.ndarray of float32
        Shape (n, d); row i belongs to row i of the catalog.
    """
    from helpers.models import transfer
    from helpers.training import frozen

    side, start = frozen_side(settings), weights.find(backbone)
    rows = catalogs.fingerprint(table, ("image_id", "sha256", "transform"))
    key = (settings.artifacts, backbone, cut, side, settings.seed, start.sha256, rows)
    if key not in _FEATURES:
        model = transfer.build(transfer.Recipe(backbone, cut=cut), side, settings.seed, start)
        pixels = images.load_images(table, side)
        _FEATURES[key] = np.asarray(frozen.features(model, table, images=pixels))
    return _FEATURES[key]


def frozen_side(settings: Settings) -> int:
    """Return the side in pixels of the images that frozen backbones see."""
    return settings.profile.size if settings.profile.name == "full" else _FROZEN_SIDE


def _member(name: str) -> Member:
    if name not in MODELS:
        raise StudyError(f"There is no model {name!r}; the course has {', '.join(MODELS)}.")
    return MODELS[name]
