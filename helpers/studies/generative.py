"""What autoencoders and GANs are good for: codes as features, errors as alarms, drawn cells.

Chapter 11 builds the networks on its page; here they are trained once for each split and kept.
Only training images are ever fitted: the number of epochs and steps is fixed beforehand.
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images
from helpers.base import code, progress, provenance
from helpers.base.errors import StudyError
from helpers.base.files import kept, read_array
from helpers.base.settings import Settings
from helpers.predictions import metrics
from helpers.studies import lineup

if TYPE_CHECKING:
    import keras


class Budget(NamedTuple):
    """How much of everything a profile uses."""

    side: int  # of the autoencoder's images, in pixels
    latent: int  # numbers in a code
    epochs: int  # of an autoencoder
    gan_side: int
    steps: int  # of a GAN
    seeds: int  # trainings behind a comparison
    rounds: int  # epochs of a classifier


BUDGETS = {
    "smoke": Budget(48, 16, 2, 48, 20, 2, 1),
    "quick": Budget(48, 32, 15, 48, 400, 3, 2),
    "full": Budget(128, 64, 100, 64, 6000, 5, 30),
}
#: What else lies on a slide, or gets into a folder of cells.
STRANGERS = ("red cells", "text", "noise")
#: The two ways to fill up the smaller class.
WAYS = ("copies", "drawn")


def budget(settings: Settings) -> Budget:
    """Return the budget of the settings' profile."""
    return BUDGETS[settings.profile.name]


def latents(settings: Settings, split: str = "subject") -> np.ndarray:
    """Return the code of each image, by an autoencoder of the training images; cached on disk.

    Returns
    -------
    numpy.ndarray of float32, shape (n, latent)
        Row i belongs to row i of :func:`lineup.catalog`.
    """
    table, size = lineup.catalog(settings, split), budget(settings)
    pixels = images.load_images(table, size.side)
    train = (table["split"] == "train").to_numpy()

    def make(path: Path) -> None:
        model = fit_autoencoder(pixels[train], size.latent, size.epochs, settings.seed)
        codes = model.get_layer("encoder").predict(pixels, verbose=0)
        with open(path, "wb") as file:
            np.save(file, codes.astype("<f4"))

    shape = (len(table), size.latent)
    path = _path(settings, f"latents-{split}", pixels, train)
    return np.array(kept(path, lambda file: read_array(file, shape, "float32"), make))


def fit_autoencoder(pixels: np.ndarray, latent: int, epochs: int, seed: int = 24) -> keras.Model:
    """Return an autoencoder that was trained on all the given images."""
    import keras

    from helpers.models import autoencoder

    keras.utils.set_random_seed(seed)
    model = autoencoder.build(pixels.shape[1], latent, seed)
    model.compile(keras.optimizers.Adam(2e-3), "mse")
    model.optimizer.build(model.trainable_variables)  # else Keras traces the step twice
    model.fit(pixels, pixels / np.float32(255), epochs=epochs, batch_size=16, verbose=0)
    return model


def drawn_cells(settings: Settings, split: str, count: int) -> np.ndarray:
    """Return cells of the smaller class as a GAN of its training images draws them; cached.

    Returns
    -------
    numpy.ndarray of uint8, shape (count, size, size, 3)
    """
    table, size = lineup.catalog(settings, split), budget(settings)
    pixels = images.load_images(table, size.gan_side)
    rows = smaller_class(table)

    def make(path: Path) -> None:
        cells = fit_gan(pixels[rows], size.steps, count, settings.seed)
        with open(path, "wb") as file:
            np.save(file, cells)

    shape = (count, *pixels.shape[1:])
    path = _path(settings, f"drawn-{split}-{count}", pixels, rows)
    return np.array(kept(path, lambda file: read_array(file, shape, "uint8"), make))


def fit_gan(pixels: np.ndarray, steps: int, count: int, seed: int = 24) -> np.ndarray:
    """Return `count` images by a GAN that was trained on the given ones, flipped and turned."""
    from helpers.models import gan

    size = pixels.shape[1]
    draw = gan.generator(size, seed)
    gan.train(draw, gan.discriminator(size, seed), turned(pixels), steps, seed)
    return gan.sample(draw, count, seed)


def turned(pixels: np.ndarray) -> np.ndarray:
    """Return all eight flips and turns of square images, the images themselves first."""
    quarters = [np.rot90(pixels, k, axes=(1, 2)) for k in range(4)]
    return np.concatenate([*quarters, *(turn[:, :, ::-1] for turn in quarters)])


def smaller_class(table: pd.DataFrame) -> np.ndarray:
    """Return which rows are training images of the class that has fewer of them, bool (n,).

    Raises
    ------
    StudyError
        When the training images are of one class.
    """
    train, target = (table["split"] == "train").to_numpy(), catalogs.target(table)
    counts = [int((train & (target == side)).sum()) for side in (0, 1)]
    if not all(counts):
        raise StudyError("The training images are of one class: a comparison needs both.")
    return train & (target == int(counts[1] < counts[0]))


def missing(table: pd.DataFrame) -> int:
    """Return how many training images the smaller class lacks to be as large as the other."""
    train, few = (table["split"] == "train").to_numpy(), smaller_class(table)
    return int((train & ~few).sum() - few.sum())


def filled_up(
    settings: Settings, split: str, way: str, seed: int, cells: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the scores of a CNN whose smaller class was filled up; cached on disk.

    Both ways train on as many images of each class, flip and turn all of them at random, and
    begin from the same weights.

    Parameters
    ----------
    settings : Settings
    split : str
        ``subject`` or ``random``.
    way : str
        ``copies`` (images of the smaller class are taken again) or ``drawn`` (cells of a GAN).
    seed : int
        Of the first weights and the order of the images.
    cells : numpy.ndarray, optional
        Drawn cells; by default :func:`drawn_cells`.

    Raises
    ------
    StudyError
        When the way is unknown, or there are too few drawn cells.
    """
    if way not in WAYS:
        raise StudyError(f"The way is {way!r}, but must be one of {', '.join(WAYS)}.")
    table, size = lineup.catalog(settings, split), budget(settings)
    lacking = missing(table)
    facts = {"seed": seed, "way": way, "budget": list(size), "code": code.version(__name__)}
    facts["software"] = lineup.software()
    if way == "drawn":
        cells = drawn_cells(settings, split, lacking) if cells is None else cells[:lacking]
        if len(cells) < lacking:
            raise StudyError(f"There are {len(cells)} drawn cells, but {lacking} are missing.")
        facts["cells"] = provenance.digest(cells)

    def scores() -> np.ndarray:
        from scipy.special import expit

        pixels = images.load_images(table, size.gan_side)
        target, few = catalogs.target(table), smaller_class(table)
        rng = np.random.default_rng(seed)
        extra = cells if way == "drawn" else pixels[rng.choice(np.flatnonzero(few), lacking)]
        train = (table["split"] == "train").to_numpy()
        shown = np.concatenate([pixels[train], extra])
        truth = np.r_[target[train], np.full(lacking, target[few][0])]
        logits = _classifier(shown, truth, size.rounds, seed).predict(pixels, verbose=0)
        return expit(logits[:, 0].astype(float))

    name = f"generative/{way}-{split}-{seed}"
    return lineup.cached_predictions(settings, name, table, facts, scores)


def help_of_drawn_cells(settings: Settings, cells: np.ndarray) -> pd.DataFrame:
    """Return the test scores by both ways, as means over the seeds of the budget.

    Returns
    -------
    pandas.DataFrame
        Predictions of the test images, whose `score` is by the way ``drawn``; with a column
        ``drawn-<seed>`` and ``copies-<seed>`` for each training.
    """
    found = {}
    seeds = range(settings.seed, settings.seed + budget(settings).seeds)
    trainings = list(itertools.product(seeds, WAYS))
    for seed, way in progress.bar(trainings, desc="trainings", unit=""):
        table = filled_up(settings, "subject", way, seed, cells)
        found[f"{way}-{seed}"] = table["score"]
    table = table.assign(**found)
    return table[table["split"] == "test"].reset_index(drop=True)


def subject_auc(table: pd.DataFrame, column: str) -> float:
    """Return the area under the ROC curve over subjects, each with the mean score of its cells.

    A subject with cells of both classes counts once for each class. NaN with one class.
    """
    people = table.groupby(["subject", "positive"], observed=True)[column].mean().reset_index()
    return _area(people["positive"].to_numpy(int), people[column])


def gains(table: pd.DataFrame, resamples: int, seed: int) -> tuple[pd.Series, tuple]:
    """Return what drawn cells add to the AUC over subjects.

    Parameters
    ----------
    table : pandas.DataFrame
        Of :func:`help_of_drawn_cells`.
    resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    each : pandas.Series
        The difference of each training, by seed.
    estimate : (value, low, high)
        Their mean and its interval over subjects.
    """
    seeds = [name.removeprefix("drawn-") for name in table if name.startswith("drawn-")]

    def differences(rows: pd.DataFrame) -> list[float]:
        return [subject_auc(rows, f"drawn-{s}") - subject_auc(rows, f"copies-{s}") for s in seeds]

    each = pd.Series(differences(table), index=seeds)
    # One row stands for a subject: resampling subjects then resamples rows of this table.
    columns = [name for name in table if name.partition("-")[0] in WAYS]
    people = table.groupby(["subject", "label", "positive"], observed=True, as_index=False)
    people = people[columns].mean().assign(split="test", score=0.5)
    people["image_id"] = [f"p{number}" for number in range(len(people))]

    def mean_gain(rows: pd.DataFrame) -> float:
        truth = catalogs.target(rows)
        return float(np.mean([
            _area(truth, rows[f"drawn-{s}"]) - _area(truth, rows[f"copies-{s}"]) for s in seeds
        ]))  # fmt: skip

    low, high = metrics.bootstrap_interval(people, mean_gain, resamples, seed=seed)
    value = mean_gain(people)  # with few people the t interval would leave -1..1
    return each, (value, max(low, -1.0), min(high, 1.0))  # a NaN stays


def strangers(kind: str, cells: np.ndarray, seed: int = 24) -> np.ndarray:
    """Return drawn images that show no white cell, one for each of the given cells.

    Parameters
    ----------
    kind : str
        One of :data:`STRANGERS`.
    cells : numpy.ndarray
        uint8, shape (n, size, size, 3): size, number and background are taken from them.
    seed : int

    Raises
    ------
    StudyError
        When the kind is unknown.
    """
    if kind not in STRANGERS:
        raise StudyError(f"The kind is {kind!r}, but must be one of {', '.join(STRANGERS)}.")
    rng = np.random.default_rng(seed)
    side = cells.shape[1]
    if kind == "noise":
        return rng.integers(0, 256, cells.shape, dtype=np.uint8)
    drawn = np.empty_like(cells)
    for place, cell in enumerate(cells):
        corners = cell[[0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=0).round()
        image = np.full((4 * side, 4 * side, 3), corners, np.uint8)
        draw = _red_cell if kind == "red cells" else _text
        drawn[place] = cv2.resize(draw(image, rng), (side, side), interpolation=cv2.INTER_AREA)
    return drawn


def alarm(
    errors: np.ndarray, subjects: pd.Series, others: np.ndarray, resamples: int, seed: int
) -> tuple[float, float, float]:
    """Return how well an error tells strangers from cells: AUC, and its interval over subjects.

    Parameters
    ----------
    errors, subjects
        The error of each cell, and whose cell it is.
    others : numpy.ndarray
        The errors of the strangers. Each counts as a subject of its own.
    resamples, seed
        Of the bootstrap.
    """
    from scipy.stats import rankdata

    values = np.concatenate([errors, others])
    alone = [f"stranger {number}" for number in range(len(others))]
    table = pd.DataFrame({
        "image_id": [f"i{number}" for number in range(len(values))],
        "subject": [*map(str, subjects), *alone],
        "label": ["cell"] * len(errors) + ["stranger"] * len(others),
        "positive": [0] * len(errors) + [1] * len(others),
        "split": "test",
        "score": (rankdata(values) - 1) / len(values),
    })  # fmt: skip
    low, high = metrics.bootstrap_interval(table, "auc", resamples, seed=seed)
    return metrics.auc(table), low, high


def _classifier(pixels: np.ndarray, truth: np.ndarray, rounds: int, seed: int) -> keras.Model:
    """Return the custom CNN, its logits as answers, trained on flips and turns."""
    import keras

    from helpers.models import custom_cnn
    from helpers.models.layers import use_logits

    keras.utils.set_random_seed(seed)
    model = custom_cnn.build(pixels.shape[1], seed, augment=True)
    use_logits(model)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    model.optimizer.build(model.trainable_variables)  # else Keras traces the step twice
    model.fit(pixels, truth, epochs=rounds, batch_size=32, verbose=0)
    return model


def _area(truth: np.ndarray, scores: pd.Series) -> float:
    """Return the AUC by ranks: scikit-learn's checks take longer in thousands of resamples."""
    from scipy.stats import rankdata

    positive = int(truth.sum())
    if not 0 < positive < len(truth):
        return float("nan")
    above = rankdata(scores)[truth == 1].sum() - positive * (positive + 1) / 2
    return above / (positive * (len(truth) - positive))


def _red_cell(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one to three pale red discs with a paler middle."""
    side = len(image)
    for _ in range(rng.integers(1, 4)):
        middle = tuple(int(v) for v in rng.uniform(0.25, 0.75, 2) * side)
        radius = int(side * rng.uniform(0.2, 0.33))
        colour = rng.normal((205, 150, 160), 8)
        cv2.circle(image, middle, radius, colour.tolist(), -1, cv2.LINE_AA)
        cv2.circle(image, middle, radius // 3, (colour + 25).clip(0, 255).tolist(), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), side / 60)


def _text(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Write a word, as on the label of a slide, in a colour that stands out."""
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVWXYZ23456789"), 4))
    colour = (0, 0, 0) if image[0, 0].mean() > 127 else (230, 230, 230)
    side = len(image)
    for line in range(3):
        place = (int(side * 0.05), int(side * (0.3 + 0.3 * line)))
        cv2.putText(
            image, letters, place, cv2.FONT_HERSHEY_SIMPLEX, side / 90, colour, side // 40,
            cv2.LINE_AA,
        )  # fmt: skip
    return image


def _path(settings: Settings, name: str, pixels: np.ndarray, rows: np.ndarray) -> Path:
    """Return a file whose name depends on all that its content depends on."""
    facts = [
        provenance.digest(pixels), rows.tobytes(), settings.seed, list(budget(settings)),
        lineup.software(), code.version(__name__),
    ]  # fmt: skip
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
    return settings.folder("generative") / f"{name}-{key}.npy"
