"""What the app computes once for a network, from the images it was trained and validated on.

Calibration: the temperature of the vote, and how often validation cells with such a
probability were positive. Distance: how far a cell lies from the training cells, measured in
the features before the last layer, after Lee et al. 2018, doi:10.48550/arXiv.1807.03888. And what
is usual: the sharpness of training cells, and their size in their photographs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images as image_files
from helpers import predictions as prediction_tables
from helpers.app.saved_runs import SavedRun
from helpers.base import code, provenance
from helpers.base.errors import AppError, CourseError, ReportError
from helpers.base.files import kept
from helpers.explaining import shortcuts
from helpers.models import layers
from helpers.predictions import calibration, collapse, ensembling, metrics
from helpers.report import cards
from helpers.studies import lineup
from helpers.training import zoo

if TYPE_CHECKING:
    import keras

#: Bins of the probabilities behind the sentences on reliability.
BINS = 5
#: Images in a step: other numbers would be compiled anew, so fewer images are filled up.
STEPS = (32, 8, 1)
_MOST_FEATURES = 2048  # of more, a covariance would not fit into the memory of a laptop
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
_MEASURED = 500  # training images whose files are measured, at most


class Output(NamedTuple):
    """What a network computes for n images: scores, float64 (n,), and features (n, d)."""

    scores: np.ndarray
    features: np.ndarray


class Network:
    """A saved network, which also gives the features before its last layer."""

    def __init__(self, run: SavedRun):
        import keras

        self.model: keras.Model = zoo.load_model(run.folder / "best.keras")
        self.size = layers.require_classifier(self.model)
        below = self.model.layers[-1].input
        known = not isinstance(self.model.layers[-1], keras.Model) and len(below.shape) == 2
        known = known and below.shape[1] <= _MOST_FEATURES
        outputs = [self.model.output, below if known else self.model.output[:, :0]]
        self._both = keras.Model(self.model.input, outputs)
        if provenance.spares_xla():
            self._both.jit_compile = False

    def __call__(self, images: np.ndarray) -> Output:
        """Return scores and features of uint8 images, shape (n, size, size, 3)."""
        parts, start = [], 0
        while start < len(images):
            left = len(images) - start
            step = next(step for step in STEPS if step <= left or (step == 8 and left > 1))
            batch = np.asarray(images[start : start + step])
            filled = np.concatenate([batch, batch[:1].repeat(step - len(batch), axis=0)])
            parts.append([part[: len(batch)] for part in self._both.predict_on_batch(filled)])
            start += step
        scores, features = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Output(scores[:, 0].astype(np.float64), features)


@dataclass(frozen=True)
class Reference:
    """What is known from training and validation images; by default, nothing.

    Attributes
    ----------
    temperatures : numpy.ndarray
        Of the vote, then of each member. Of 1: not calibrated.
    cells, positives : numpy.ndarray
        Validation cells in each of `BINS` bins, and how many of them are positive.
    means, whitening : numpy.ndarray
        Mean features of both classes (2, d), and the matrix (d, d) that makes the features of
        training cells around their class's mean uncorrelated.
    unit : float
        The 99th percentile of the distances of validation cells, nan when unknown.
    sharp : float
        The 1st percentile of the sharpness of training cells: 99 of 100 are sharper.
    sides : numpy.ndarray
        The 1st and 99th percentile of the longer side of a training cell's box, in pixels.
    on_black : bool
        Whether it was trained on cells cut out on black, not on photographs.
    words : dict
        `problem` (why nothing is known), `split`, `people`, `figures`, `collapsed`, `guesses`
        (that it may be no better than guessing), `card`.
    """

    temperatures: np.ndarray
    cells: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    positives: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    means: np.ndarray = field(default_factory=lambda: np.zeros((2, 0)))
    whitening: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    unit: np.ndarray | float = np.nan
    sharp: np.ndarray | float = 0.0
    sides: np.ndarray = field(default_factory=lambda: np.array([0, np.inf]))
    on_black: np.ndarray | bool = True
    words: dict = field(default_factory=dict)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the distance of each row to the nearer class, nan when unknown."""
        if not self.whitening.size:
            return np.full(len(features), np.nan)
        away = [(features - mean) @ self.whitening for mean in self.means]
        return np.linalg.norm(away, axis=2).min(axis=0) / self.unit

    def reliability(self, probability: float, positive: str) -> str:
        """Return how often validation cells with such a probability were positive."""
        if not self.cells.any():
            return "This probability is not calibrated."
        number = int(calibration.bins_of(np.array([probability]), BINS)[0])
        between = f"{number / BINS:g} to {(number + 1) / BINS:g}"
        if not self.cells[number]:
            return f"No validation cell had a probability from {between}."
        cells, positives = int(self.cells[number]), int(self.positives[number])
        if cells == 1:
            was = "was" if positives else "was not"
            return f"The only validation cell with {between} {was} {positive}."
        were = "was" if positives == 1 else "were"
        return f"Of {cells} validation cells with {between}, {positives} {were} {positive}."


def sharpness(crop: np.ndarray) -> float:
    """Return the variance of the Laplacian inside a cell, without its edge to black ground."""
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    lit = (crop.max(axis=2) > shortcuts.DARKEST).astype(np.uint8)
    inside = cv2.erode(lit, np.ones((5, 5), np.uint8)) > 0
    values = cv2.Laplacian(grey, cv2.CV_32F)
    return float(np.var(values[inside] if inside.any() else values))


def reference(
    runs: Sequence[SavedRun],
    networks: Sequence[Network],
    artifacts: Path,
    progress: Callable[[str], object] = print,
) -> Reference:
    """Return what is known about a vote, kept on disk.

    Parameters
    ----------
    runs : sequence of SavedRun
        The members of the vote, the chosen one first.
    networks : sequence of Network
    artifacts : pathlib.Path
    progress : callable
        Is told in a sentence what takes long.
    """

    def make(target: Path) -> None:
        progress("Looking for the images that the network was trained and validated on.")
        table, split = _catalog(runs[0], artifacts)
        progress(f"Measuring {len(runs)} of the course's networks on {len(table)} images, once.")
        made = _measured(runs, networks, table, split, artifacts)
        arrays = {name: value for name, value in vars(made).items() if name != "words"}
        np.savez(target, words=json.dumps(made.words), **arrays)

    try:
        return kept(path_of(runs, artifacts), _read, make)
    except CourseError as error:
        problem = str(error)
    on_black = runs[0].record["settings"]["dataset"] in ("phantom", "cnmc")
    return Reference(np.ones(len(runs) + 1), on_black=on_black, words={"problem": problem})


def path_of(runs: Sequence[SavedRun], artifacts: Path) -> Path:
    """Return where the reference of a vote is kept."""
    facts = [[run.key for run in runs], code.version(__name__), lineup.software()]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return Path(artifacts) / "app" / f"{runs[0].key}-{digest}.npz"


def words_of(runs: Sequence[SavedRun], artifacts: Path) -> dict:
    """Return the words of a reference that is on disk, else no words."""
    try:
        with np.load(path_of(runs, artifacts), allow_pickle=False) as stored:
            return json.loads(str(stored["words"]))
    except _UNREADABLE:
        return {}


def _read(path: Path) -> Reference | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        return Reference(**{**arrays, "words": json.loads(str(arrays["words"]))})
    except _UNREADABLE:
        return None


def _catalog(run: SavedRun, artifacts: Path) -> tuple[pd.DataFrame, str]:
    """Return the catalog that a network was trained on, and how it was split."""
    course = run.course(artifacts)
    for split in lineup.SPLITS:
        table = lineup.catalog(course, split)
        used = table[table["split"].isin(["train", "val"])]
        for rows in (table, used):  # some trainings were also given the test images
            if catalogs.fingerprint(rows, catalogs.TRAINED_ON) == run.record["data"]["rows"]:
                return table, split
    raise AppError("the images that it was trained on cannot be put together again")


def _measured(
    runs: Sequence[SavedRun],
    networks: Sequence[Network],
    table: pd.DataFrame,
    split: str,
    artifacts: Path,
) -> Reference:
    pixels = image_files.load_images(table, networks[0].size)
    outputs = [network(pixels) for network in networks]
    scored = {
        run.name: prediction_tables.make(table, output.scores)
        for run, output in zip(runs, outputs, strict=True)
    }
    vote = ensembling.soft_vote(scored)
    val, train = (np.flatnonzero(table["split"] == part) for part in ("val", "train"))
    fitted = [calibration.fit_temperature(one.iloc[val]) for one in (vote, *scored.values())]
    calibrated = fitted[0].apply(vote)
    score, truth = calibrated["score"].to_numpy()[val], catalogs.target(table)
    bins = calibration.bins_of(score, BINS)
    some = train[:: -(-len(train) // _MEASURED)]
    paths = table["path"].iloc[some]
    longer = shortcuts.sizes(paths)[:, :2].max(axis=1)
    frames = [image_files.is_frame(image_files.read_image(path)) for path in paths.iloc[:5]]
    measured = Reference(
        np.array([one.value for one in fitted]),
        np.bincount(bins, minlength=BINS),
        np.bincount(bins, weights=truth[val], minlength=BINS),
        sharp=np.percentile([sharpness(pixels[row]) for row in some], 1),
        sides=np.percentile(longer, [1, 99]),
        on_black=np.mean(frames) > 0.5,
        words=_words(runs, calibrated, split, artifacts),
    )
    return _with_distance(measured, outputs[0].features, truth, train, val)


def _with_distance(
    measured: Reference, features: np.ndarray, truth: np.ndarray, train: np.ndarray, val: np.ndarray
) -> Reference:
    """Add the means of both classes and the shrunk covariance (Ledoit & Wolf 2004)."""
    from sklearn.covariance import LedoitWolf

    if not features.shape[1]:
        return measured
    means = np.stack([features[train][truth[train] == side].mean(axis=0) for side in (0, 1)])
    around = features[train] - means[truth[train].astype(int)]
    precision = LedoitWolf(assume_centered=True).fit(around).precision_
    whitening = np.linalg.cholesky(precision).astype(np.float32)
    known = {**vars(measured), "means": means, "whitening": whitening, "unit": 1.0}
    unit = np.percentile(Reference(**known).distances(features[val]), 99)
    return Reference(**{**known, "unit": max(unit, 1e-9)})


def _words(runs: Sequence[SavedRun], calibrated: pd.DataFrame, split: str, artifacts: Path) -> dict:
    """Return what a person reads about the network, from its calibrated predictions."""
    run, names = runs[0], [one.name for one in runs]
    course = run.course(artifacts)
    parts = dict(list(calibrated.groupby("split")))
    people = {part: rows["subject"].nunique() for part, rows in parts.items()}
    figures, guesses = {}, ""
    for name in ("auc", "balanced_accuracy", "sensitivity", "specificity"):
        value = metrics.METRICS[name](parts["val"])
        low, high = metrics.bootstrap_interval(parts["val"], name, course.profile.resamples)
        known = np.isfinite([low, high]).all()
        interval = f"[{low:.2f}, {high:.2f}]" if known else "(no interval)"
        title = "AUC" if name == "auc" else name.replace("_", " ")
        shown = f"{value:.2f} {interval} over {people['val']} subjects"
        figures[f"{title} (validation)"] = shown
        if name == "auc" and not (known and low > 0.5):
            guesses = f"It is not shown to be better than guessing: its AUC is {shown}."
    collapsed = run.record.get("collapsed") or collapse.judge(run.name, calibrated)
    card = ""
    with contextlib.suppress(ReportError):  # without test images there is none
        card = cards.model_card(
            run.name,
            calibrated,
            course,
            description=f"the vote of {' and '.join(names)}" if len(names) > 1 else "",
            source=_source(run.record),
            record=run.record,
        )
    return {
        "split": split,
        "people": f"{people['train']} subjects trained, {people['val']} validated",
        "figures": figures,
        "collapsed": collapsed,
        "guesses": guesses,
        "card": card,
    }


def _source(record: dict) -> str:
    source = record.get("weights", {}).get("source", "none")
    return {"none": "none", "random": "RANDOM"}.get(source, "ImageNet")
