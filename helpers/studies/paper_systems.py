"""The papers' systems, built again: their predictions, and how the rebuilt differs from the paper.

A system is rebuilt as far as the profile can afford it; :func:`reasons` says, from
the facts of the run and never from memory, what is not as in the paper. Chapter 17
makes its table from here.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import predictions as prediction_tables
from helpers.base import code, provenance
from helpers.base.errors import StudyError
from helpers.base.files import kept
from helpers.base.settings import Settings, artifacts_folder
from helpers.catalog import splitting
from helpers.models import weights
from helpers.predictions import ensembling
from helpers.predictions.table import read_predictions, save_predictions
from helpers.studies import lineup

#: How a paper dealt its images out, and how it should have been done.
PROTOCOLS = ("random", "subject")
#: Side of the papers' images in pixels, where they tell it, and their longest training.
THEIR_SIDE, THEIR_TRAINING = 224, 6396
_FOLDS = 5
#: Features of this process, as memory maps: building a backbone again only to find them takes long.
_FEATURES: dict[tuple, np.ndarray] = {}
_DCNN_SIDE = {"smoke": 32, "quick": 48, "full": 64}


@dataclass(frozen=True)
class System:
    """How a system of the papers is rebuilt.

    Attributes
    ----------
    kind : str
        ``network`` (chapter 06's), ``recipe`` (tuned in the profile `full`, elsewhere its
        frozen backbone with a linear head), ``frozen`` (a linear head in every profile),
        ``folds`` (linear heads in five folds), ``vote`` or ``fields`` (chapter 12).
    backbone, cut : str
        Of a recipe or of frozen features.
    recipe : str
        Name in ``transfer.RECIPES``.
    chapter : str
        Which chapter tells more.
    smallest : str
        The smallest profile that makes it.
    """

    kind: str
    backbone: str = ""
    cut: str = ""
    recipe: str = ""
    chapter: str = ""
    smallest: str = "smoke"


_CUT = "conv4_block6_out"
SYSTEMS: dict[str, System] = {
    "dcnn": System("fields", chapter="12"),
    "resnet50": System("recipe", "resnet50", _CUT, "resnet50_cut_all", "07"),
    "mobilenetv2": System("recipe", "mobilenetv2", "", "mobilenetv2_from_block10", "08"),
    "mobilenet": System("frozen", "mobilenet", chapter="09"),
    "xception": System("frozen", "xception", chapter="09", smallest="quick"),
    "inceptionv3": System("frozen", "inceptionv3", chapter="09", smallest="quick"),
    "majority_vote": System("vote", chapter="13", smallest="quick"),
    "custom_cnn": System("network", chapter="06"),
    "resnet50_folds": System("folds", "resnet50", _CUT, chapter="07"),
    "inceptionv3_folds": System("folds", "inceptionv3", chapter="09", smallest="quick"),
}
_TRIO = ("mobilenet_frozen", "xception_frozen", "inceptionv3_frozen")


def affordable(course: Settings, name: str) -> bool:
    """Return whether the profile makes the system."""
    order = ("smoke", "quick", "full")
    return order.index(course.profile.name) >= order.index(_system(name).smallest)


def predictions(course: Settings, name: str, protocol: str) -> pd.DataFrame:
    """Return the rebuilt system's scores of the images that judge it.

    Parameters
    ----------
    course : Settings
    name : str
        In :data:`SYSTEMS`.
    protocol : str
        ``random`` (images dealt at random, as papers do) or ``subject`` (whole
        linked subjects; of crops, whole fields).

    Returns
    -------
    pandas.DataFrame
        Predictions of the test images; of a system in five folds, of all images,
        each scored by a head that saw neither it nor, with ``subject``, its subject.

    Raises
    ------
    StudyError
        When system or protocol is unknown, or the profile cannot afford it.
    """
    system = _system(name)
    if protocol not in PROTOCOLS:
        raise StudyError(f"The protocol is {protocol!r}, but must be random or subject.")
    if not affordable(course, name):
        raise StudyError(
            f"The profile {course.profile.name!r} does not make {name!r}: take {system.smallest!r}."
        )
    if system.kind == "fields":
        return _test(_dcnn(course, protocol))
    if system.kind == "folds":
        return _in_folds(course, system, protocol)
    if system.kind == "vote":
        return _test(ensembling.majority_vote(lineup.predictions(course, protocol, _TRIO)))
    if system.kind == "recipe":
        return _test(_recipe(course, system, protocol))
    member = "custom_cnn" if system.kind == "network" else f"{system.backbone}_frozen"
    return _test(lineup.predictions(course, protocol, [member])[member])


def in_folds(course: Settings, name: str, protocol: str) -> pd.DataFrame:
    """Return the scores of *all* images by linear heads on frozen features, in five folds.

    Under both protocols the same images are judged, so that the two can be
    compared in pairs; a single split judges few subjects, and other ones.

    Raises
    ------
    StudyError
        When the system has no backbone to be frozen.
    """
    system = _system(name)
    if system.kind == "vote":
        each = {n: in_folds(course, n, protocol) for n in SYSTEMS if SYSTEMS[n].kind == "frozen"}
        return ensembling.majority_vote(each)
    if not system.backbone:
        raise StudyError(f"{name!r} has no backbone that a linear head could stand on.")
    return _in_folds(course, system, protocol)


def climb(course: Settings, rung: str, protocol: str) -> pd.DataFrame:
    """Return the test images' scores by a recipe of the ladders, trained as chapters 07 and 08 do.

    What those chapters trained is loaded. `rung` is a name in ``transfer.RECIPES``.
    """
    from helpers.models import transfer
    from helpers.training import zoo

    if rung not in transfer.RECIPES or protocol not in PROTOCOLS:
        raise StudyError(f"There is no rung {rung!r} under the protocol {protocol!r}.")
    table = _table(course, protocol)
    run = zoo.load_or_train(transfer.RECIPES[rung], table, course)
    return zoo.predict(run.model, _test(table))


def weights_of(name: str, course: Settings) -> str:
    """Return where a system's weights begin: ``ImageNet``, ``RANDOM`` or ``none``."""
    system = _system(name)
    if system.kind == "vote":
        found = set(lineup.sources(_TRIO).values())
        return "RANDOM" if "RANDOM" in found else "ImageNet"
    if not system.backbone:
        return "none"
    return "RANDOM" if weights.find(_backbone(system, course)).path is None else "ImageNet"


def reasons(course: Settings, name: str) -> list[str]:
    """Return what is not as in the paper, in a few words each, the gravest first."""
    from helpers.models import transfer

    system, profile = _system(name), course.profile
    found = []
    if system.kind == "fields":
        found.append("drawn fields" if course.dataset != "snam" else "crops are ours")
    elif course.dataset == "phantom":
        found.append("drawn cells")
    elif course.dataset != "cnmc":
        found.append(f"another data set ({course.dataset})")
    if weights_of(name, course) == "RANDOM":
        found.append("RANDOM weights")
    if system.kind == "recipe":
        asked = transfer.RECIPES[system.recipe]
        if profile.name == "full":
            made = transfer.for_profile(asked, profile)
            if made != asked:
                found.append("a shorter training")
            found.append("training images not balanced by copies")
        else:
            tuned = asked.stages[-1]
            found.append(f"frozen, linear head; theirs tuned, up to {tuned.epochs} epochs")
    if system.kind in ("frozen", "folds", "vote"):
        found.append("frozen, linear head")
    if _backbone(system, course) != system.backbone:
        found.append("width 0.35")
    if system.kind == "network":
        found.append(f"layers are ours, up to {profile.epochs} epochs, one split")
    if system.kind == "fields":
        steps = _iterations(course)
        found.append("layers, k and crops are ours")
        if steps != _published_iterations():
            found.append(f"{steps} iterations instead of {_published_iterations()}")
    else:
        split = lineup.catalog(course, "random")["split"]
        train = (split == "train").sum()
        if system.kind == "folds":
            train = (split != "").sum() * (_FOLDS - 1) // _FOLDS
        if train < THEIR_TRAINING:
            found.append(f"{train} training images")
        if system.kind == "recipe" and (side := _side(system, course)) != THEIR_SIDE:
            found.append(f"{side} pixels instead of {THEIR_SIDE}")
    return found


def _system(name: str) -> System:
    if name not in SYSTEMS:
        raise StudyError(f"The course does not rebuild {name!r}; it rebuilds {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]


def _backbone(system: System, course: Settings) -> str:
    """Return the backbone as the profile takes it: a slim MobileNetV2 outside of `full`."""
    if system.kind == "recipe" and course.profile.name != "full":
        return {"mobilenetv2": "mobilenetv2_035"}.get(system.backbone, system.backbone)
    return system.backbone


def _side(system: System, course: Settings) -> int:
    from helpers.models import transfer

    if course.profile.name == "full":
        return transfer.size_for(transfer.Recipe(system.backbone), course.profile)
    return 75  # as the lineup's frozen backbones: what the neediest of them takes


def _test(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["split"] == "test"].reset_index(drop=True)


def _table(course: Settings, protocol: str) -> pd.DataFrame:
    table = lineup.catalog(course, protocol)
    return table[table["split"] != ""].reset_index(drop=True)


def _features(table: pd.DataFrame, course: Settings, system: System) -> np.ndarray:
    """Return the features of the frozen backbone, row by row of the table."""
    from helpers import images
    from helpers.models import transfer
    from helpers.training import frozen

    backbone, side = _backbone(system, course), _side(system, course)
    found = weights.find(backbone)
    rows = catalogs.fingerprint(table, ("image_id", "sha256", "transform"))
    key = (str(course.artifacts), backbone, system.cut, side, course.seed, found.sha256, rows)
    if key not in _FEATURES:
        built = transfer.build(transfer.Recipe(backbone, cut=system.cut), side, course.seed, found)
        pixels = images.load_images(table, side)
        _FEATURES[key] = np.asarray(frozen.features(built, table, images=pixels))
    return _FEATURES[key]


def _recipe(course: Settings, system: System, protocol: str) -> pd.DataFrame:
    if course.profile.name == "full":
        return climb(course, system.recipe, protocol)
    table = _table(course, protocol)
    scores = lineup.probe(_features(table, course, system), table, course.seed)
    return prediction_tables.make(table, scores)


def _in_folds(course: Settings, system: System, protocol: str) -> pd.DataFrame:
    """Score each image by a head fitted on the other folds."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    table = splitting.link_subjects(_table(course, "subject"))
    target, groups = catalogs.target(table), table["group"].to_numpy()
    features = _features(table, course, system)
    kind = StratifiedKFold if protocol == "random" else StratifiedGroupKFold
    units = np.arange(len(table)) if protocol == "random" else groups
    # Not more folds than the rarer class has units to deal out.
    fewest = min(len(set(units[target == value])) for value in set(target.tolist()))
    folds = max(2, min(_FOLDS, fewest))
    dealer = kind(folds, shuffle=True, random_state=course.seed)
    known = {} if protocol == "random" else {"groups": groups}
    scores = np.full(len(table), target.mean())
    for train, test in dealer.split(features, target, **known):
        if len(set(target[train])) == 2:
            head = lineup.linear_head(lineup.STRENGTHS[1], course.seed)
            head = head.fit(features[train], target[train])
            scores[test] = head.predict_proba(features[test])[:, 1]
    return prediction_tables.make(table, scores, split="test")


def _published_iterations() -> int:
    from helpers.models import dcnn

    return dcnn.PUBLISHED.iterations


def _iterations(course: Settings) -> int:
    return 30 if course.profile.name == "smoke" else _published_iterations()


def _dcnn(course: Settings, protocol: str) -> pd.DataFrame:
    """Return the scores of chapter 12's network, kept once they were made."""
    from helpers import datasets
    from helpers.cells import field_crops
    from helpers.datasets.drawn import fields

    profile, seed = course.profile.name, course.seed
    folder = course.data_dir
    if course.dataset != "snam":
        folder = artifacts_folder() / "phantom_fields" / f"{profile}-{seed}-one"
        fields.draw(folder, profile, seed, laboratories=False)
    side = _DCNN_SIDE[profile]
    with contextlib.redirect_stdout(io.StringIO()):  # chapter 12 tells it all
        catalog = datasets.load("snam", folder, profile, seed)
        crops, pixels = field_crops.crops(catalog, side)
        if protocol == "random":
            table = splitting.split_at_random(crops, seed=seed)
        else:
            table = splitting.split_by_subject(crops, seed=seed, nearest=True)
    facts = {
        "pixels": provenance.digest(np.asarray(pixels)),
        "rows": catalogs.fingerprint(table, ("image_id", "label", "positive", "split")),
        "run": [seed, _iterations(course)],
        "code": code.version(__name__),
        "software": lineup._software(),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]

    def make(path: Path) -> None:
        scores = _dcnn_scores(course, table, np.asarray(pixels))
        used = (table["split"] != "").to_numpy()
        save_predictions(path, prediction_tables.make(table[used], scores[used]))

    path = course.folder("predictions", "rebuilt") / f"dcnn-{protocol}-{key}.csv"
    return kept(path, read_predictions, make)


def _dcnn_scores(course: Settings, table: pd.DataFrame, pixels: np.ndarray) -> np.ndarray:
    from helpers.models import dcnn
    from helpers.models.selection import ChiSquareSelection

    target, flat = catalogs.target(table), pixels.reshape(len(pixels), -1)
    train, val = (np.flatnonzero(table["split"] == part) for part in ("train", "val"))
    selection = ChiSquareSelection(int(0.3 * flat.shape[1])).fit(flat[train], target[train])
    model = dcnn.build(pixels.shape[1], course.seed, selection.support_)
    steps = _iterations(course)
    dcnn.train(model, pixels, target, train, val, iterations=steps, seed=course.seed)
    return model.predict(pixels, verbose=0)[:, 0].astype(float)
