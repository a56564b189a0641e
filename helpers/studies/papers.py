"""What the five papers report, as data: every figure with its source, and the mistakes behind them.

The figures are read off the papers, and off the notebooks that the second one
publishes; none is the course's own. Chapter 17 holds re-runs against them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.base.errors import StudyError

#: Images of C-NMC's training part, ``all`` and ``hem``: counted on the files, and as told.
COUNTED, TOLD = (7272, 3389), (7273, 3389)


@dataclass(frozen=True)
class Paper:
    """One of the five papers.

    Attributes
    ----------
    title, authors : str
    source : str
        DOI or where it came out. Of four of the five no DOI is known.
    data, protocol : str
        What it was judged on, and how images were dealt to training and test.
    """

    title: str
    authors: str
    source: str
    data: str
    protocol: str


@dataclass(frozen=True)
class Figure:
    """One figure of a paper.

    Attributes
    ----------
    paper : str
        Key in :data:`PAPERS`.
    system : str
        What it is the figure of, in the paper's words where it has any.
    metric : str
        A name in :data:`helpers.predictions.metrics.METRICS`.
    value : float
        0..1; NaN where the paper speaks of the system and tells no figure.
    images : int or None
        How many images it rests on (for a sensitivity the positive ones), where known.
    at_most : bool
        `images` is all that the paper had; how many it judged on is not told.
    rebuilt : str
        Name in ``paper_systems.SYSTEMS``; empty for what the course does not rebuild.
    rung : str
        Of an experiment on the way there: its name in ``transfer.RECIPES``, where it has one.
    experiment : bool
        Whether it is an experiment on the way and not the paper's result.
    source : str
        Where exactly it stands.
    """

    paper: str
    system: str
    metric: str
    value: float
    images: int | None = None
    at_most: bool = False
    rebuilt: str = ""
    rung: str = ""
    experiment: bool = False
    source: str = ""


@dataclass(frozen=True)
class Bug:
    """A mistake of a paper.

    Attributes
    ----------
    paper : str
        Key in :data:`PAPERS`.
    what, consequence : str
    exercise : str
        Of chapter 17, in which it is repaired.
    """

    paper: str
    what: str
    consequence: str
    exercise: str


#: The five, in the order in which the course meets them.
PAPERS: dict[str, Paper] = {
    "devi": Paper(
        "Automatic Detection of White Blood Cancer from Bone Marrow Microscopic Image Using "
        "Convolution Neural Networks",
        "Archana Devi, Samatha Reddy, Janvi, Deepthi",
        "no DOI; the system is that of Kumar et al. 2020, doi:10.1109/ACCESS.2020.3012292",
        "424 images of ALL and multiple myeloma (SN-AM)",
        "not told",
    ),
    "shreya": Paper(
        "Bone Marrow Cancer Detection from Leukocytes Using Neural Networks",
        "Shreya, Lekhya Sri, Mili Preethika",
        "no DOI; project report of 2023, and its notebooks",
        "C-NMC 2019, training part",
        "images at random, 60/20/20",
    ),
    "sunitha": Paper(
        "Early Diagnosis of Acute Lymphoblastic Leukemia in Bone Marrow Histopathological Images "
        "through Deep Learning",
        "Sunitha, Pradeep",
        "no DOI",
        "bone marrow images from Kaggle; which ones is not told",
        "not told",
    ),
    "gohil": Paper(
        "Leukemia Blood Cell Image Classification Using Convolutional Neural Network",
        "Gohil, Pandya",
        "no DOI",
        "ALL and HEM images, 1600 of them for the test",
        "not told; no patient is mentioned",
    ),
    "sonawane": Paper(
        "Deep Learning For Leukemia Diagnosis",
        "Sonawane, Kulkarni",
        "no DOI",
        "ALL-IDB and C-NMC are named, a third set is described; which was judged is not told",
        "5 folds, stratified by class; no patient is mentioned",
    ),
}

#: Gohil's confusion matrix: rows are the truth, ``all`` before ``hem``.
GOHIL_CONFUSION = ((1049, 42), (26, 483))


def _experiments(
    network: str, rows: Iterable[tuple[str, str, float]], rebuilt: str
) -> list[Figure]:
    source = "notebooks of the report, one random split, accuracy on the test images"
    return [
        Figure(
            "shreya",
            f"{network}: {what}",
            "accuracy",
            value,
            2133,
            rung=rung,
            experiment=True,
            rebuilt=rebuilt,
            source=source,
        )
        for what, rung, value in rows
    ]


_RESNET50 = (
    ("frozen, Flatten, Dense 64", "resnet50_frozen_flatten", 0.808),
    ("frozen, GAP, Dense 64", "resnet50_frozen_gap", 0.829),
    ("frozen, GAP, 2 x Dense 512 (RMSprop)", "resnet50_frozen_gap_two_dense", 0.843),
    ("Flatten, tuned from conv5_block3", "resnet50_flatten_from_conv5_block3", 0.807),
    ("GAP, tuned from conv5_block3", "resnet50_gap_from_conv5_block3", 0.831),
    ("2 x Dense 512, tuned from conv5_block3", "resnet50_from_conv5_block3", 0.842),
    ("last block cut, frozen, GAP, Dense 256", "resnet50_cut_frozen", 0.863),
    ("cut, tuned from conv2_block1, first", "", 0.917),
    ("cut, tuned from conv2_block1, second", "resnet50_cut_from_conv2", 0.919),
    ("cut, all tuned, Dense 256, dropout", "resnet50_cut_all_256", 0.938),
    ("cut, all tuned, Dense 512", "resnet50_cut_all", 0.935),
    ("cut, all tuned, 2 x Dense 512", "resnet50_cut_all_two_dense", 0.924),
)
_MOBILENETV2 = (
    ("frozen, first head", "", 0.811),
    ("frozen, second head", "", 0.760),
    ("frozen, third head", "mobilenetv2_frozen", 0.818),
    ("tuned from block_16", "mobilenetv2_from_block16", 0.711),
    ("tuned from block_10, Dense 256, dropout", "mobilenetv2_from_block10_256", 0.867),
    ("tuned from block_10, dropout", "mobilenetv2_from_block10", 0.873),
    ("cut at block_15, frozen, first head", "", 0.808),
    ("cut at block_15, frozen, second head", "", 0.748),
    ("cut at block_15, frozen, third head", "mobilenetv2_cut_block15", 0.822),
)
_SONAWANE = (
    ("CNN (custom)", "custom_cnn", (0.924, 0.913, 0.935, 0.96)),
    ("ResNet-50", "resnet50_folds", (0.947, 0.951, 0.942, 0.97)),
    ("InceptionV3", "inceptionv3_folds", (0.961, 0.967, 0.954, 0.98)),
    ("CNN + LSTM", "", (0.943, 0.939, 0.948, 0.97)),
)


def _figures() -> tuple[Figure, ...]:
    nan = float("nan")
    found = [
        Figure("devi", "DCNN, ALL against MM", "accuracy", nan, source="no figure of its own"),
        Figure(
            "devi",
            "DCNN of Kumar et al. 2020",
            "accuracy",
            0.972,
            424,
            at_most=True,
            rebuilt="dcnn",
            source="doi:10.1109/ACCESS.2020.3012292",
        ),
        Figure(
            "shreya", "ResNet-50", "accuracy", 0.9348, 2133, rebuilt="resnet50", source="sec. 5.4"
        ),
        Figure(
            "shreya",
            "MobileNetV2",
            "accuracy",
            0.8734,
            2133,
            rebuilt="mobilenetv2",
            source="sec. 5.4",
        ),
        *_experiments("ResNet-50", _RESNET50, ""),
        *_experiments("MobileNetV2", _MOBILENETV2, ""),
        Figure("sunitha", "MobileNet", "accuracy", 0.94, rebuilt="mobilenet", source="sec. 4"),
        Figure("sunitha", "Xception", "accuracy", 0.94, rebuilt="xception", source="sec. 4"),
        Figure(
            "sunitha",
            "InceptionV3",
            "accuracy",
            nan,
            rebuilt="inceptionv3",
            source='sec. 4: "less", no figure',
        ),
        Figure(
            "sunitha", "majority vote", "accuracy", 0.965, rebuilt="majority_vote", source="sec. 4"
        ),
    ]
    for metric, value, images in (
        ("accuracy", 0.9575, 1600),
        ("sensitivity", 0.96, 1091),
        ("specificity", 0.95, 509),
    ):
        where = "model.evaluate" if metric == "accuracy" else "classification report"
        found.append(
            Figure("gohil", "CNN", metric, value, images, rebuilt="custom_cnn", source=where)
        )
    for what, value in (("training images", 0.99625), ("validation images", 0.94875)):
        found.append(
            Figure(
                "gohil",
                f"CNN, 800 {what}",
                "accuracy",
                value,
                800,
                experiment=True,
                source="model.evaluate, 20 batches of 40",
            )
        )
    for system, rebuilt, values in _SONAWANE:
        for metric, value in zip(
            ("accuracy", "sensitivity", "specificity", "auc"), values, strict=True
        ):
            found.append(
                Figure(
                    "sonawane", system, metric, value, rebuilt=rebuilt, source="table of sec. VI"
                )
            )
    return tuple(found)


#: Every figure of the five papers.
FIGURES: tuple[Figure, ...] = _figures()

#: The papers' mistakes; each is repaired in an exercise of chapter 17.
BUGS: tuple[Bug, ...] = (
    Bug(
        "shreya",
        "argmax over a single sigmoid output",
        "the shipped predictor calls every cell hem",
        "17-a",
    ),
    Bug(
        "shreya",
        "the predictor divides by 255, and the model scales once more inside",
        "it is shown a nearly black image",
        "17-b",
    ),
    Bug(
        "shreya",
        "the crop takes the first contour, not the largest",
        "a stray speck can be what is cropped",
        "17-c",
    ),
    Bug(
        "shreya",
        "a hidden folder counted as an image",
        "one image more than there are",
        "17-d",
    ),
    Bug(
        "shreya",
        "cells of one patient on both sides of the split",
        "the test asks about known people",
        "17-e",
    ),
    Bug(
        "shreya",
        "a dozen experiments chosen on one test set",
        "the best of a dozen is partly luck",
        "17-f",
    ),
    Bug(
        "sonawane",
        "the validation set is balanced by augmentation, like the training set",
        "what decides when to stop is no longer like what comes",
        "17-g",
    ),
    Bug(
        "gohil",
        "as many training batches are scored as there are test batches",
        "800 images stand for all of them",
        "17-h",
    ),
)


def table(experiments: bool = True) -> pd.DataFrame:
    """Return all figures with the interval that the number of images alone gives.

    Parameters
    ----------
    experiments : bool
        Also those of experiments on the way to a paper's result.

    Returns
    -------
    pandas.DataFrame
        `paper`, `system`, `metric`, `value`, `images` (NaN where not told), `at_most`,
        `low` and `high` (:func:`at_best`), `experiment`, `rebuilt`, `rung`, `source`.
    """
    rows = []
    for figure in FIGURES:
        if figure.experiment and not experiments:
            continue
        low, high = at_best(figure.value, figure.images)
        rows.append({**vars(figure), "low": low, "high": high})
    made = pd.DataFrame(rows)
    made["images"] = made["images"].astype(float)
    order = ["paper", "system", "metric", "value", "images", "at_most", "low", "high"]
    return made[[*order, "experiment", "rebuilt", "rung", "source"]]


def at_best(value: float, images: int | None, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share of so many images: the least that can be open.

    It takes the images for independent. Cells of one patient are not, so the
    honest interval is wider; how much cannot be told from a paper without
    patients. NaN where the value or the number is not told.

    Raises
    ------
    StudyError
        When the value is not a share or the number not positive.
    """
    from statsmodels.stats.proportion import proportion_confint

    if images is None or np.isnan(value):
        return float("nan"), float("nan")
    if not 0 <= value <= 1 or images < 1:
        raise StudyError(f"{value} of {images} images is not a share of images.")
    low, high = proportion_confint(value * images, images, 1 - level, method="wilson")
    return float(low), float(high)


def possible_counts(value: float, images: int, digits: int) -> list[int]:
    """Return how many of `images` may have been right if the share was told as `value`.

    Parameters
    ----------
    value : float
        The share, 0..1, rounded.
    images : int
    digits : int
        Decimals of the share that were told: 4 for 93.48 %.

    Returns
    -------
    list of int
        Empty where no count rounds to the figure: then one of the two is not
        what it is said to be. A last digit 5 may have been rounded either way.

    References
    ----------
    Brown, Heathers 2017, doi:10.1177/1948550616673876.
    """
    if images < 1:
        raise StudyError(f"{images} images cannot have been judged.")
    reach = 0.5 * 10.0**-digits + 1e-12
    first = max(0, int(np.floor((value - reach) * images)))
    last = min(images, int(np.ceil((value + reach) * images)))
    return [count for count in range(first, last + 1) if abs(count / images - value) <= reach]


def implied_share(
    accuracy: float, sensitivity: float, specificity: float, digits: int = 3
) -> tuple[float, float]:
    """Return the least and the largest share of positive images that three figures allow.

    Accuracy is sensitivity and specificity, weighted by the classes' shares. So
    three figures of the same images tell the share, as far as rounding lets them.

    Parameters
    ----------
    accuracy, sensitivity, specificity : float
        0..1, rounded to `digits` decimals.

    Returns
    -------
    low, high : float
        Within 0..1. Both NaN where the figures contradict each other.
    """
    reach = 0.5 * 10.0**-digits
    shares = np.linspace(0, 1, 10_001)
    made = shares * sensitivity + (1 - shares) * specificity
    # Sensitivity and specificity may be off by `reach` each, and so may their mean.
    fits = shares[np.abs(made - accuracy) <= 2 * reach + 1e-12]
    if not len(fits):
        return float("nan"), float("nan")
    return float(fits[0]), float(fits[-1])


def paper(name: str) -> Paper:
    """Return the paper of that name."""
    if name not in PAPERS:
        raise StudyError(f"There is no paper {name!r}; the five are {', '.join(PAPERS)}.")
    return PAPERS[name]
