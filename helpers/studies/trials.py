"""Trials: one recipe, trained on one division of the people with one seed.

``course run --grid`` runs a table of them, on one machine or on many.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import datasets, images
from helpers import predictions as prediction_tables
from helpers.base import code
from helpers.base import settings as course_settings
from helpers.base.errors import StudyError
from helpers.base.files import kept, read_sealed, sealed, write_json
from helpers.catalog import balancing, splitting
from helpers.models import transfer, weights
from helpers.predictions import metrics
from helpers.studies import lineup, tricks

#: The metrics that a result holds, of the validation and of the test images.
METRICS = ("auc", "balanced_accuracy")
#: Names of recipes: those of chapter 06, the network of chapter 05, those of the papers.
RECIPES = (*tricks.TRICKS, "custom_cnn", *transfer.RECIPES)


@dataclass(frozen=True)
class Trial:
    """What is trained, on whom, and with which seed: one row of the table.

    Attributes
    ----------
    recipe : str
        One of :data:`RECIPES`.
    fold : int
        From 0: this fold of the people is the test, the next one validates, the rest train.
    seed : int
        Of the training alone: data and folds are the same for all seeds.
    folds : int
        Into how many folds the people are divided, 3 or more.
    dataset, profile, data_dir, positive : str
        As in every chapter.
    data_seed : int
        Of the drawn images and of the division into folds.
    optimiser, batch, epochs, rate
        For the recipes of chapter 06, see :func:`helpers.studies.tricks.scores`.
    """

    recipe: str
    fold: int
    seed: int
    folds: int = 5
    dataset: str = "phantom"
    profile: str = "quick"
    data_dir: str = ""
    positive: str = ""
    data_seed: int = course_settings.DEFAULT_SEED
    optimiser: str = "adam"
    batch: int = 32
    epochs: int = 0
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise StudyError(f"There is no recipe {self.recipe!r}; there are {', '.join(RECIPES)}.")
        if self.folds < 3:
            raise StudyError(f"folds is {self.folds}, but must be 3 or more: train, val and test.")
        if not 0 <= self.fold < self.folds:
            raise StudyError(f"fold is {self.fold}, but must be from 0 to {self.folds - 1}.")
        if self.optimiser not in tricks.OPTIMISERS or self.batch < 1 or self.epochs < 0:
            raise StudyError(
                f"optimiser, batch and epochs are {self.optimiser!r}, {self.batch} and "
                f"{self.epochs}, but must be one of {', '.join(tricks.OPTIMISERS)}, 1 or more, "
                "and 0 or more."
            )
        if not 0 < self.rate < np.inf:
            raise StudyError(f"rate is {self.rate}, but must be above 0.")
        if self.options() and self.recipe not in tricks.TRICKS:
            raise StudyError(f"{self.recipe} sets {', '.join(self.options())} by itself.")
        self.settings()

    def options(self) -> dict:
        """Return what differs from the defaults of optimiser, batch, epochs and rate."""
        names = ("optimiser", "batch", "epochs", "rate")
        return {name: getattr(self, name) for name in names if getattr(self, name) != _USUAL[name]}

    def settings(self) -> course_settings.Settings:
        """Return the settings of the training."""
        for seed in (self.data_seed, self.seed):
            found = course_settings.read(
                self.dataset, self.profile, seed, self.data_dir, self.positive
            )
        if found.data_dir is None and self.dataset != "phantom":
            raise StudyError(f"The data set {self.dataset!r} needs data_dir, its folder.")
        return found


_USUAL = {field.name: field.default for field in fields(Trial)}


def catalog(trial: Trial) -> pd.DataFrame:
    """Return the labelled images outside of the published test set, split for a trial."""
    table = _folds(
        *(trial.dataset, trial.profile, trial.data_seed, trial.data_dir, trial.positive),
        trial.folds,
    )
    after = (trial.fold + 1) % trial.folds
    return splitting.official_folds(table, str(trial.fold), str(after))


@cache
def _folds(
    dataset: str, profile: str, seed: int, data_dir: str, positive: str, folds: int
) -> pd.DataFrame:
    table = datasets.load(course_settings.read(dataset, profile, seed, data_dir, positive))
    table = table[(table["label"] != catalogs.UNLABELLED) & (table["split"] != "test")]
    table = splitting.folds_by_subject(table.reset_index(drop=True), folds, seed, nearest=True)
    filled = table["fold"].nunique()
    if filled < folds:
        raise StudyError(f"folds is {folds}, but the people fill only {filled}: take fewer folds.")
    return table


def key(trial: Trial) -> str:
    """Return a hash of all that the result of a trial depends on: settings, data, code."""
    recipe = transfer.RECIPES.get(trial.recipe)
    if recipe:
        recipe = transfer.for_profile(recipe, trial.profile)
    facts = {
        **asdict(trial),
        "data_dir": "",  # the files count, not where they are
        "rows": catalogs.fingerprint(catalog(trial), catalogs.TRAINED_ON),
        "computing": trial.settings().as_dict()["profile"],
        "weights": recipe and weights.find(recipe.backbone).sha256,
        "code": code.version(__name__),
        "software": lineup.software(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def result(trial: Trial) -> dict:
    """Train; return ``val`` and ``test``, the :data:`METRICS` of each, and a ``note``.

    The note says in a sentence what happened to a network that collapsed.
    """
    table, settings, note = catalog(trial), trial.settings(), ""
    if trial.recipe in tricks.TRICKS:
        scores = tricks.scores(trial.recipe, table, settings, **trial.options())
    else:
        from helpers import training
        from helpers.training import zoo

        if trial.recipe == "custom_cnn":
            from helpers.models import custom_cnn

            size = settings.profile.size
            run = training.fit(
                custom_cnn.build(size, settings.seed),
                table,
                images.load_images(table, size),
                settings,
                "custom_cnn-grid",
                class_weight=balancing.class_weights(table),
            )
        else:
            recipe = transfer.RECIPES[trial.recipe]
            run = zoo.load_or_train(recipe, table, settings, trial.recipe)
        scores = zoo.predict(run.model, table)["score"].to_numpy()
        note = run.record["collapsed"] or run.record["retried"]
    predictions = prediction_tables.make(table, scores)
    found = {
        part: {
            name: metrics.METRICS[name](predictions[predictions["split"] == part])
            for name in METRICS
        }
        for part in ("val", "test")
    }
    return {**found, "note": note}


def stored(artifacts: Path, key: str) -> dict | None:
    """Return the result that is stored under a key, None if there is none."""
    return read_sealed(artifacts / "grid" / f"{key}.json")


def store(artifacts: Path, key: str, make: Callable[[], dict]) -> dict:
    """Return the stored result; without one, make and store it, in one process at a time."""
    return kept(
        artifacts / "grid" / f"{key}.json",
        read_sealed,
        lambda path: write_json(path, sealed(make())),
    )
