"""The systems of the five papers, rebuilt: their predictions, and how they differ from the paper.

Each system is rebuilt as far as the profile can afford it. :func:`reasons` lists the
differences from the paper, from the settings of the run. Chapter 22 prints this table.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images
from helpers import predictions as prediction_tables
from helpers.base import code, provenance
from helpers.base.errors import StudyError
from helpers.base.settings import Settings
from helpers.catalog import splitting
from helpers.predictions import ensembling
from helpers.studies import generative, lineup, marrow

#: What the papers used, where they say so: side of the images in pixels, training images.
PAPER_SIDE, PAPER_TRAINING_IMAGES = 224, 6396
_FOLDS = 5


@dataclass(frozen=True)
class System:
    """How a system of the papers is rebuilt.

    Attributes
    ----------
    kind : str
        ``network`` (the custom CNN of chapter 05), ``recipe`` (fine-tuned in the profile
        `full`, elsewhere a linear head on its frozen backbone), ``frozen`` (a linear head
        in every profile), ``folds`` (linear heads in five folds), ``vote`` (of the frozen
        ones), ``fields`` (the network of chapter 12), ``sequence`` (that of chapter 10),
        ``codes`` (a linear head on the codes of an autoencoder) or ``drawn`` (the custom CNN,
        its smaller class filled up by a GAN).
    backbone, cut : str
        Of a recipe or of frozen features; `cut` is the layer whose output is used.
    recipe : str
        Name in ``transfer.RECIPES``.
    smallest : str
        The smallest profile that rebuilds the system.
    """

    kind: str
    backbone: str = ""
    cut: str = ""
    recipe: str = ""
    smallest: str = "smoke"


_CUT = "conv4_block6_out"
SYSTEMS: dict[str, System] = {
    "dcnn": System("fields"),
    "resnet50": System("recipe", "resnet50", _CUT, "resnet50_cut_all"),
    "mobilenetv2": System("recipe", "mobilenetv2", "", "mobilenetv2_from_block10"),
    "mobilenet": System("frozen", "mobilenet"),
    "xception": System("frozen", "xception", smallest="quick"),
    "inceptionv3": System("frozen", "inceptionv3", smallest="quick"),
    "majority_vote": System("vote", smallest="quick"),
    "custom_cnn": System("network"),
    "autoencoder": System("codes"),
    "drawn_cells": System("drawn", smallest="full"),
    "resnet50_folds": System("folds", "resnet50", _CUT),
    "inceptionv3_folds": System("folds", "inceptionv3", smallest="quick"),
    "cnn_lstm": System("sequence", smallest="quick"),
}
_VOTERS = tuple(name for name, system in SYSTEMS.items() if system.kind == "frozen")


def affordable(settings: Settings, name: str) -> bool:
    """Return whether the profile rebuilds the system."""
    return lineup.includes(settings, _system(name).smallest)


def predictions(settings: Settings, name: str, split: str) -> pd.DataFrame:
    """Return the scores of the test images by a rebuilt system.

    Parameters
    ----------
    settings : Settings
    name : str
        In :data:`SYSTEMS`.
    split : str
        ``random`` (image by image, as in Shreya's report) or ``subject`` (each group of
        linked subjects is in one split only; for crops, each field).

    Returns
    -------
    pandas.DataFrame
        Predictions of the test images; of a system in five folds, of all images,
        each scored by a head that was not fitted on it nor, with ``subject``, on its
        subject.

    Raises
    ------
    StudyError
        When system or split is unknown, or the profile does not rebuild the system.
    """
    system = _system(name)
    if not affordable(settings, name):
        raise StudyError(
            f"The profile {settings.profile.name!r} does not rebuild {name!r}: take "
            f"{system.smallest!r}."
        )
    if system.kind == "folds":
        return in_folds(settings, name, split)
    if system.kind == "fields":
        table = _dcnn(settings, split)
    elif system.kind == "sequence":
        table = _cnn_lstm(settings, split)
    elif system.kind == "vote":
        voters = [f"{voter}_frozen" for voter in _VOTERS]
        table = ensembling.majority_vote(lineup.predictions(settings, split, voters))
    elif system.kind == "codes":
        rows = lineup.catalog(settings, split)
        scores = lineup.probe(generative.latents(settings, split), rows, settings.seed)
        table = prediction_tables.make(rows, scores)
    elif system.kind == "drawn":
        table = generative.filled_up(settings, split, "drawn", settings.seed)
    elif system.kind != "recipe":
        member = "custom_cnn" if system.kind == "network" else f"{system.backbone}_frozen"
        table = lineup.predictions(settings, split, [member])[member]
    elif settings.profile.name == "full":
        return predict_recipe(settings, system.recipe, split)
    else:
        rows = lineup.catalog(settings, split)
        scores = lineup.probe(_features(settings, rows, system), rows, settings.seed)
        table = prediction_tables.make(rows, scores)
    return _test(table)


def in_folds(settings: Settings, name: str, split: str) -> pd.DataFrame:
    """Return the scores of *all* images by linear heads on frozen features, in five folds.

    With either split the same images are scored, so the two results can be compared
    image by image. A single test set has few subjects, and they differ between the splits.

    Raises
    ------
    StudyError
        When the system has no backbone to be frozen, or system or split is unknown.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    system = _system(name)
    lineup.require_split(split)
    if system.kind == "vote":
        each = {voter: in_folds(settings, voter, split) for voter in _VOTERS}
        return ensembling.majority_vote(each)
    if not system.backbone:
        raise StudyError(f"{name!r} has no backbone whose features a linear head could use.")
    table = splitting.link_subjects(lineup.catalog(settings, "subject"))
    target, features = catalogs.target(table), _features(settings, table, system)
    at_random = split == "random"
    units = np.arange(len(table)) if at_random else table["group"].to_numpy()
    # There cannot be more folds than units (images or groups) of the rarer class.
    fewest = min(len(set(units[target == value])) for value in set(target.tolist()))
    folds = (StratifiedKFold if at_random else StratifiedGroupKFold)(
        max(2, min(_FOLDS, fewest)), shuffle=True, random_state=settings.seed
    )
    scores = np.full(len(table), target.mean())
    for train, test in folds.split(features, target, None if at_random else units):
        if len(set(target[train])) == 2:
            head = lineup.linear_head(lineup.STRENGTHS[1], settings.seed)
            head = head.fit(features[train], target[train])
            scores[test] = head.predict_proba(features[test])[:, 1]
    return prediction_tables.make(table, scores, split="test")


def predict_recipe(settings: Settings, recipe: str, split: str) -> pd.DataFrame:
    """Return the scores of the test images by a recipe, trained as in chapters 07 and 08.

    A network that those chapters have trained is loaded.

    Parameters
    ----------
    settings : Settings
    recipe : str
        A name in ``transfer.RECIPES``.
    split : str
        ``random`` or ``subject``.

    Raises
    ------
    StudyError
        When recipe or split is unknown.
    """
    from helpers.models import transfer
    from helpers.training import zoo

    if recipe not in transfer.RECIPES:
        raise StudyError(f"There is no recipe {recipe!r}; see transfer.RECIPES.")
    table = lineup.catalog(settings, split)
    run = zoo.load_or_train(transfer.RECIPES[recipe], table, settings)
    # Of all images: other chapters need the same array, those of a split would be one more.
    pixels = images.load_images(table, run.model.input_shape[1])
    return zoo.predict(run.model, _test(table), pixels[(table["split"] == "test").to_numpy()])


def weights_of(settings: Settings, name: str) -> str:
    """Return the weights that a system starts from: ``ImageNet``, ``RANDOM`` or ``none``."""
    system = _system(name)
    if system.kind == "vote":
        result = {lineup.source(voter) for voter in _VOTERS}
        return "RANDOM" if "RANDOM" in result else "ImageNet"
    return lineup.source(_backbone(system, settings))


def reasons(settings: Settings, name: str) -> list[str]:
    """Return the differences from the paper, a few words each, the most serious first."""
    from helpers.models import dcnn, transfer

    system, profile = _system(name), settings.profile
    result = []
    if system.kind == "fields":
        result.append("drawn fields" if settings.dataset != "snam" else "crops are ours")
    elif settings.dataset == "phantom":
        result.append("drawn cells")
    elif settings.dataset != "cnmc":
        result.append(f"another data set ({settings.dataset})")
    if weights_of(settings, name) == "RANDOM":
        result.append("RANDOM weights")
    if system.kind == "recipe":
        recipe = transfer.RECIPES[system.recipe]
        if profile.name != "full":
            epochs = recipe.stages[-1].epochs
            result.append(f"frozen, linear head; theirs tuned, up to {epochs} epochs")
        else:
            if transfer.for_profile(recipe, profile) != recipe:
                result.append("a shorter training")
            result.append("training images not balanced by copies")
    if system.kind in ("frozen", "folds", "vote"):
        result.append("frozen, linear head")
    if _backbone(system, settings) != system.backbone:
        result.append("width 0.35")
    if system.kind == "sequence":
        result.append("reads rows and columns; theirs: an order in time, not told")
    if system.kind in ("codes", "drawn"):
        result.append("nothing is told but the name")
    if system.kind in ("network", "sequence"):
        result.append(f"layers are ours, up to {profile.epochs} epochs, one split")
    if system.kind == "fields":
        steps, published = marrow.ITERATIONS[profile.name], dcnn.PUBLISHED.iterations
        result.append("layers, k and crops are ours")
        if steps != published:
            result.append(f"{steps} iterations instead of {published}")
        return result
    split = lineup.catalog(settings, "random")["split"]
    train = (split == "train").sum()
    if system.kind == "folds":
        train = len(split) * (_FOLDS - 1) // _FOLDS
    if train < PAPER_TRAINING_IMAGES:
        result.append(f"{train} training images")
    if system.kind == "recipe" and (side := lineup.frozen_side(settings)) != PAPER_SIDE:
        result.append(f"{side} pixels instead of {PAPER_SIDE}")
    return result


def _system(name: str) -> System:
    if name not in SYSTEMS:
        raise StudyError(f"The course does not rebuild {name!r}; it rebuilds {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]


def _backbone(system: System, settings: Settings) -> str:
    """Return the backbone that the profile uses: outside of `full`, a narrow MobileNetV2."""
    if system.kind == "recipe" and settings.profile.name != "full":
        return {"mobilenetv2": "mobilenetv2_035"}.get(system.backbone, system.backbone)
    return system.backbone


def _features(settings: Settings, table: pd.DataFrame, system: System) -> np.ndarray:
    return lineup.backbone_features(settings, table, _backbone(system, settings), system.cut)


def _test(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["split"] == "test"].reset_index(drop=True)


def _dcnn(settings: Settings, split: str) -> pd.DataFrame:
    """Return the scores of all crops by the network of chapter 12."""
    from helpers.cells import field_crops

    lineup.require_split(split)
    profile, seed = settings.profile.name, settings.seed
    with contextlib.redirect_stdout(io.StringIO()):  # chapter 12 prints these notes
        crops, pixels = field_crops.crops(marrow.fields(settings), marrow.SIDE[profile])
        if split == "random":
            table = splitting.split_at_random(crops, seed=seed)
        else:
            table = splitting.split_by_subject(crops, seed=seed, nearest=True)
    facts = {
        "pixels": provenance.digest(pixels),
        "run": [seed, marrow.ITERATIONS[profile]],
        "code": code.version(__name__),
        "software": lineup.software(),
    }
    name = f"rebuilt/dcnn-{split}"
    return lineup.cached_predictions(
        settings, name, table, facts, lambda: _dcnn_scores(settings, table, pixels)
    )


def _cnn_lstm(settings: Settings, split: str) -> pd.DataFrame:
    """Return the scores of all images by the network of chapter 10."""
    table, profile = lineup.catalog(settings, split), settings.profile

    def scores() -> np.ndarray:
        from helpers import training
        from helpers.catalog import balancing
        from helpers.models import cnn_lstm
        from helpers.training import zoo

        pixels = images.load_images(table, profile.size)
        weights = balancing.class_weights(table)
        model = cnn_lstm.build(profile.size, settings.seed)
        run = training.fit(
            model, table, pixels, settings, f"cnn_lstm-{split}", class_weight=weights
        )
        return zoo.predict(run.model, table, pixels)["score"].to_numpy()

    budget = (profile.size, profile.epochs, profile.patience, profile.batch_size, profile.precision)
    facts = {
        "seed": settings.seed,
        "training": list(budget),
        "code": code.version(__name__),
        "software": lineup.software(),
    }
    return lineup.cached_predictions(settings, f"rebuilt/cnn_lstm-{split}", table, facts, scores)


def _dcnn_scores(settings: Settings, table: pd.DataFrame, pixels: np.ndarray) -> np.ndarray:
    from helpers.models import dcnn
    from helpers.models.selection import ChiSquareSelection

    target, flat = catalogs.target(table), pixels.reshape(len(pixels), -1)
    train, val = (np.flatnonzero(table["split"] == part) for part in ("train", "val"))
    selection = ChiSquareSelection(int(0.3 * flat.shape[1])).fit(flat[train], target[train])
    model = dcnn.build(pixels.shape[1], settings.seed, selection.support_)
    steps = marrow.ITERATIONS[settings.profile.name]
    dcnn.train(model, pixels, target, train, val, iterations=steps, seed=settings.seed)
    return model.predict(pixels, verbose=0)[:, 0].astype(float)
