"""Transfer learning that works wherever the course runs (chapter 07).

:func:`start` finds a network that has learned: ResNet50 or a small MobileNetV2 on ImageNet, or,
without any weights, a network that the course itself trains to tell three kinds of drawn
leukocytes apart. :func:`few_images` measures what such a start is worth: two other kinds, five
images of each, on slides that were not seen before. Every camera has its own brightness and its
own colour balance: in the first task each image is from another camera, in the second each slide.
Nothing here is a photograph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import datasets, images
from helpers.base import code, provenance
from helpers.base.errors import StudyError
from helpers.base.files import kept, read_csv, write_csv
from helpers.base.settings import Settings
from helpers.datasets.drawn import leukocytes
from helpers.models import transfer, weights
from helpers.predictions import collapse, metrics
from helpers.report import plots
from helpers.training import compute, zoo

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

#: The kinds that the course's network learns first, and the two that it has never seen.
SEEN = ("basophil", "lymphocyte", "monocyte")
NEW = ("neutrophil", "eosinophil")
#: Three ways to begin with a few images of two new kinds.
WAYS = ("learned", "random", "from scratch")
#: Side in pixels of the drawn leukocytes as the course's small network sees them.
SIDE = 48
#: How the course's network is trained on the kinds of :data:`SEEN`.
_EPOCHS = {"smoke": 2, "quick": 14, "full": 30}
#: Drawn cells of each kind: to learn from first, and of the new ones.
_CELLS = {"smoke": (24, 32), "quick": (100, 80), "full": (400, 200)}
_STEPS = {"smoke": 5}  # of a training from scratch on a few images
_DRAWN = "a small network that the course trained on drawn leukocytes, not on photographs"
#: The layer at which a recipe that cuts ResNet50 cuts MobileNetV2.
_CUTS = {"conv4_block6_out": "block_15_add"}


@dataclass(frozen=True)
class Start:
    """A network that has learned before: which one, in which file, for images of which side.

    Attributes
    ----------
    backbone : str
        ``resnet50``, ``mobilenetv2_035`` or ``drawn``.
    file : str
        Its weights without the top; of ``drawn``, the whole network without its head.
    side : int
        Side of its images in pixels.
    """

    backbone: str
    file: str
    side: int

    def __str__(self) -> str:
        return {
            "resnet50": "The backbone is ResNet50 with ImageNet weights.",
            "mobilenetv2_035": "No ImageNet weights of ResNet50 were found here.\n"
            "The backbone is MobileNetV2 of width 0.35 with ImageNet weights instead.",
            "drawn": "No ImageNet weights were found here. The backbone is a small network that "
            f"the\ncourse has trained to tell {len(SEEN)} kinds of drawn leukocytes apart: "
            f"{', '.join(SEEN)}.",
        }[self.backbone]


def start(settings: Settings) -> Start:
    """Return the best network to begin with that this machine has; it is trained if need be."""
    for backbone in ("resnet50", "mobilenetv2_035"):
        found = weights.look(backbone)
        if found.path is not None:
            weights.find(backbone)  # noted for the banner
            side = transfer.size_for(transfer.Recipe(backbone), settings.profile)
            return Start(backbone, str(found.path), side)
    if _DRAWN not in weights.WEIGHTS_USED:
        weights.WEIGHTS_USED.append(_DRAWN)
    return Start("drawn", str(_source(settings)), SIDE)


def stand_in(begin: Start) -> tuple[keras.Model, Callable]:
    """Return a smaller backbone than ResNet50 and its preprocessing; none of it is frozen."""
    import keras

    mobilenet = keras.applications.mobilenet_v2
    if begin.backbone == "drawn":  # it takes its pixels as MobileNetV2 does
        backbone = keras.saving.load_model(begin.file, compile=False)
    else:
        shape = (begin.side, begin.side, 3)
        backbone = mobilenet.MobileNetV2(
            alpha=0.35, include_top=False, weights=begin.file, input_shape=shape
        )
    return backbone, mobilenet.preprocess_input


def material(settings: Settings, begin: Start, most: int = 10) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the catalog and the images on which a transfer from `begin` is shown.

    They are the labelled images of the data set, outside of the release's test set, and in
    `smoke` and `quick` at most `most` of each subject. Where nothing but the drawn network is
    there, phantoms are replaced by drawn leukocytes of the kinds in :data:`NEW`.
    """
    if begin.backbone == "drawn" and settings.dataset == "phantom":
        drawn = new_cells(settings)
        positive = (drawn.catalog["label"] == NEW[1]).astype(int)
        return catalogs.check(drawn.catalog.assign(positive=positive)), drawn.images
    catalog = datasets.load(settings)
    kept_rows = (catalog["label"] != catalogs.UNLABELLED) & (catalog["split"] != "test")
    catalog = catalog[kept_rows].reset_index(drop=True)
    if settings.profile.name != "full":
        shuffled = catalog.sample(frac=1, random_state=settings.seed)
        catalog = shuffled.groupby("subject").head(most).sort_index().reset_index(drop=True)
    return catalog, images.load_images(catalog, begin.side)


def described(catalog: pd.DataFrame, pixels: np.ndarray) -> str:
    """Return what images these are, in two sentences."""
    kinds = " and ".join(map(str, sorted(catalog["label"].unique())))
    subjects, (_, positive) = catalog["subject"].nunique(), catalogs.class_names(catalog)
    return (
        f"The images are {len(catalog)} of {kinds}, of {subjects} subjects, at "
        f"{pixels.shape[1]} pixels.\nThe positive class is {positive}."
    )


def show_cells(settings: Settings) -> Figure:
    """Draw some cells of both tasks: the kinds that are learned first, and the new ones."""
    shown, titles = [], []
    for cells, kinds in ((seen_cells(settings), SEEN), (new_cells(settings), NEW)):
        for number in range(6):
            kind = kinds[number % len(kinds)]
            rows = np.flatnonzero(cells.catalog["label"] == kind)
            shown.append(cells.images[rows[number * 5 % len(rows)]])
            titles.append(kind)
    return plots.image_grid(shown, titles, columns=6)


@dataclass(frozen=True)
class Cells:
    """Drawn leukocytes as cameras show them: catalog and uint8 images."""

    catalog: pd.DataFrame
    images: np.ndarray


def seen_cells(settings: Settings, cameras: bool = True) -> Cells:
    """Return drawn cells of the kinds in :data:`SEEN`; each image is from another camera."""
    each = _CELLS[settings.profile.name][0]
    drawn = leukocytes.make(each, each // 4, settings.seed + 1000, SEEN)
    return _photographed(drawn, "image_id", settings.seed + 1000, cameras)


def new_cells(settings: Settings, cameras: bool = True) -> Cells:
    """Return drawn cells of the kinds in :data:`NEW`; each slide, two of each, has its camera."""
    each = _CELLS[settings.profile.name][1]
    drawn = leukocytes.make(each, each // 2, settings.seed + 2000, NEW)
    return _photographed(drawn, "subject", settings.seed + 2000, cameras)


def few_images(
    settings: Settings, each: int = 5, draws: int = 10, cameras: bool = True
) -> pd.DataFrame:
    """Learn two new kinds from a few images, in three ways, over and over.

    In each draw, ten slides give `each` images of each kind to learn from, and all images
    of the other slides are the test. ``learned``: logistic regression on the features of the
    course's trained network, which stays frozen. ``random``: the same on the same
    network with random weights. ``from scratch``: that network is trained on the few images.

    Parameters
    ----------
    settings : Settings
        Seed, profile and folder.
    each : int
        Images of each of the two kinds, at most 15.
    draws : int
        How often it is repeated.
    cameras : bool
        Whether images (first task) and slides (second task) have cameras of their own, or all
        the same one.

    Returns
    -------
    pandas.DataFrame
        Index `draw`, one column of test accuracies for each of :data:`WAYS`.

    Raises
    ------
    StudyError
        When a number is out of range.
    """
    if not (1 <= each <= 15 and draws >= 2):
        raise StudyError(
            f"{each} images of each kind in {draws} draws: take 1 to 15 images and 2 or more draws."
        )
    name = f"few-{_key(settings, each, draws, cameras)}.csv"

    def read(path: Path) -> pd.DataFrame:
        return read_csv(path, StudyError).astype(float).set_index("draw")

    def make(path: Path) -> None:
        write_csv(path, _few_images(settings, each, draws, cameras).reset_index())

    return kept(settings.folder("leukocytes") / name, read, make)


def mean_interval(values: pd.Series) -> tuple[float, float, float]:
    """Return the mean of values and its 95 % interval by Student's t."""
    from statsmodels.stats.weightstats import DescrStatsW

    spread = DescrStatsW(values)
    return spread.mean, *spread.tconfint_mean()


def rungs(begin: Start, settings: Settings) -> dict[str, transfer.Recipe]:
    """Return the recipes of the ladder that `begin` allows here; none without ImageNet weights.

    They are those of Shreya and others for ResNet50, on the backbone of `begin`. The profiles
    `smoke` and, with ResNet50, `quick` have only the first ones, which are cheap.
    """
    names = {
        "frozen, flatten": "resnet50_frozen_flatten",
        "frozen, mean": "resnet50_frozen_gap",
        "frozen, mean, two dense": "resnet50_frozen_gap_two_dense",
        "cut, frozen": "resnet50_cut_frozen",
        "cut, all tuned": "resnet50_cut_all",
    }
    cheap = {"smoke": 2, "quick": 3 if begin.backbone == "resnet50" else 5}
    names = dict(list(names.items())[: cheap.get(settings.profile.name)])
    if begin.backbone == "drawn":
        return {}
    recipes = {rung: transfer.RECIPES[name] for rung, name in names.items()}
    if begin.backbone != "resnet50":
        recipes = {
            rung: replace(r, backbone=begin.backbone, cut=_CUTS.get(r.cut, ""), published=None)
            for rung, r in recipes.items()
        }
    return recipes


def climb(
    begin: Start, splits: dict[str, pd.DataFrame], pixels: np.ndarray, settings: Settings
) -> dict[str, dict[str, pd.DataFrame]]:
    """Train each rung under each split; return the predictions by split and rung."""
    predictions: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in splits}
    for rung, recipe in rungs(begin, settings).items():
        for name, split in splits.items():
            run = zoo.load_or_train(recipe, split, settings)
            judged = split["split"].isin(["val", "test"]).to_numpy()
            table = split[judged].reset_index(drop=True)
            predictions[name][rung] = zoo.predict(run.model, table, pixels[judged])
            del run  # one large network in memory is enough
    return predictions


def told(predictions: dict[str, dict[str, pd.DataFrame]], settings: Settings) -> str:
    """Return, as text, each rung's test accuracy with its interval, and what validation chooses."""
    if not any(predictions.values()):
        return (
            "No ladder is climbed here: without ImageNet weights every rung would begin from "
            "random\nweights, and its figure would say nothing about transfer."
        )
    lines = []
    for split, tables in predictions.items():
        parts = {
            part: {rung: rows[rows["split"] == part] for rung, rows in tables.items()}
            for part in ("val", "test")
        }
        val = {rung: metrics.accuracy(table) for rung, table in parts["val"].items()}
        chosen = max(val, key=val.get)  # of equals the first, which is the simpler one
        lines.append(f"{split}: validation chooses {collapse.named(chosen, tables[chosen])}")
        for rung, table in parts["test"].items():
            low, high = metrics.bootstrap_interval(
                table, "accuracy", settings.profile.resamples, seed=settings.seed
            )
            name = collapse.named(rung, tables[rung])
            lines.append(f"  {name:<36} test {metrics.accuracy(table):.3f} [{low:.3f}, {high:.3f}]")
    return "\n".join(lines)


# --- the course's small network ---


def network() -> keras.Model:
    """Return a small convolutional network without a head; it takes pixels scaled to -1..1."""
    import keras
    from keras import layers

    image = x = keras.Input((SIDE, SIDE, 3))
    for maps in (16, 32, 64, 128):
        x = layers.Conv2D(maps, 3, padding="same", use_bias=False)(x)
        # With few steps of training, the usual 0.99 would leave the stored figures unready.
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(x))
    return keras.Model(image, x, name="drawn")


def _source(settings: Settings, cameras: bool = True) -> Path:
    """Return the file of the network that was trained on the kinds of :data:`SEEN`, kept."""
    import keras

    def make(path: Path) -> None:
        body = network_from(settings.seed)
        cells = seen_cells(settings, cameras)
        target = cells.catalog["label"].map(SEEN.index).to_numpy()
        model = _with_head(body, len(SEEN))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(2e-3), loss, jit_compile=compute.jit(settings.profile))
        model.optimizer.build(model.trainable_variables)  # else Keras traces the step twice
        epochs = _EPOCHS[settings.profile.name]
        model.fit(scaled(cells.images), target, batch_size=32, epochs=epochs, verbose=0)
        body.save(path)

    path = settings.folder("leukocytes") / f"source-{_key(settings, cameras)}.keras"
    return kept(path, lambda file: file, make)


def network_from(seed: int) -> keras.Model:
    """Return :func:`network` with the random weights of a seed."""
    import keras

    keras.utils.set_random_seed(seed)
    return network()


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of 0..255 as :func:`network` takes them, float32."""
    return pixels.astype(np.float32) / 127.5 - 1


def _few_images(settings: Settings, each: int, draws: int, cameras: bool) -> pd.DataFrame:
    import keras
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cells = new_cells(settings, cameras)
    target = (cells.catalog["label"] == NEW[1]).to_numpy().astype(int)
    slides, pixels = cells.catalog["subject"].to_numpy(), scaled(cells.images)
    untrained = network_from(settings.seed)
    for batch in np.array_split(scaled(seen_cells(settings, cameras).images), 20):
        untrained(batch, training=True)  # its batch normalisation sees what the other's saw
    learned = keras.saving.load_model(_source(settings, cameras), compile=False)
    bodies = {"learned": learned, "random": untrained}
    features = {way: _features(body, pixels, settings) for way, body in bodies.items()}
    scratch = _Scratch(settings)
    rows = []
    for draw in range(draws):
        rng = np.random.default_rng([settings.seed, draw])
        pool = np.isin(slides, rng.permutation(np.unique(slides))[:10])
        few = np.concatenate(
            [rng.choice(np.flatnonzero(pool & (target == kind)), each, False) for kind in (0, 1)]
        )
        row = {"draw": draw}
        for way, values in features.items():
            head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
            row[way] = head.fit(values[few], target[few]).score(values[~pool], target[~pool])
        logits = scratch.fitted(pixels[few], target[few], settings.seed + draw, pixels[~pool])
        rows.append({**row, "from scratch": np.mean((logits > 0) == target[~pool])})
    return pd.DataFrame(rows).set_index("draw")[list(WAYS)]


class _Scratch:
    """The small network, trained anew on a few images as often as asked, compiled once."""

    def __init__(self, settings: Settings) -> None:
        import keras

        self.steps = _STEPS.get(settings.profile.name, 60)
        self.model = _with_head(network(), 1)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self.model.compile(
            keras.optimizers.Adam(1e-3), loss, jit_compile=compute.jit(settings.profile)
        )
        self.model.optimizer.build(self.model.trainable_variables)
        self.fresh = [np.array(v) for v in self.model.optimizer.variables]

    def fitted(
        self, few: np.ndarray, target: np.ndarray, seed: int, rest: np.ndarray
    ) -> np.ndarray:
        """Return the logits of the images `rest` after a training on `few`."""
        import keras

        keras.utils.set_random_seed(seed)
        self.model.set_weights(_with_head(network(), 1).get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.fresh, strict=True):
            variable.assign(value)
        for _ in range(self.steps):
            self.model.train_on_batch(few, target[:, None].astype(np.float32))
        return self.model.predict(rest, verbose=0)[:, 0]


def _with_head(body: keras.Model, answers: int) -> keras.Model:
    """Return the network with global average pooling and one dense layer; it gives logits."""
    import keras

    pooled = keras.layers.GlobalAveragePooling2D()(body.output)
    return keras.Model(body.input, keras.layers.Dense(answers)(pooled))


def _features(body: keras.Model, pixels: np.ndarray, settings: Settings) -> np.ndarray:
    import keras

    pooled = keras.layers.GlobalAveragePooling2D()(body.output)
    model = keras.Model(body.input, pooled)
    model.compile(jit_compile=compute.jit(settings.profile))
    return model.predict(pixels, verbose=0)


def _photographed(drawn: leukocytes.Leukocytes, owner: str, seed: int, cameras: bool) -> Cells:
    """Return the cells in small; each entry of the column `owner` has a camera of its own."""
    small = np.stack(
        [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in drawn.images]
    )
    names, number = np.unique(drawn.catalog[owner].to_numpy(dtype=str), return_inverse=True)
    rng = np.random.default_rng([seed, 3])
    gain = np.exp(rng.uniform(-0.45, 0.25, (len(names), 1, 1, 3)))[number]
    gamma = np.exp(rng.normal(0, 0.25, (len(names), 1, 1, 1)))[number]
    if not cameras:
        gain, gamma = 1.0, 1.0
    photographs = np.clip(255 * (small / 255) ** gamma * gain, 0, 255).round().astype(np.uint8)
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in photographs]
    return Cells(drawn.catalog.assign(sha256=digests), photographs)


def _key(settings: Settings, *more: object) -> str:
    facts = [settings.seed, settings.profile.name, provenance.keras_version(), *more]
    text = json.dumps([*facts, code.version(__name__)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
