"""What the five papers report, as data: every figure with its source, and the mistakes behind them.

The figures are those of the papers, and of the notebooks that the second paper publishes;
none is the course's own. Chapter 17 compares them with its re-runs. A paper is called by
its first author; the full references are in ``book/references.bib``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base.errors import StudyError

#: Images of C-NMC's training part, ``all`` and ``hem``: as counted in the files, as published.
IMAGES_IN_FILES, IMAGES_AS_PUBLISHED = (7272, 3389), (7273, 3389)
#: Gohil's confusion matrix: rows are the truth, ``all`` before ``hem``.
GOHIL_CONFUSION = ((1049, 42), (26, 483))


class Paper(NamedTuple):
    """What a paper judged its systems on, and how it split the images."""

    data: str
    split: str


class Bug(NamedTuple):
    """A mistake of a paper: what it leads to, and the exercise that repairs it."""

    exercise: str
    paper: str
    consequence: str


#: The five papers, in the order in which the course meets them.
PAPERS: dict[str, Paper] = {
    "devi": Paper("424 images of ALL and multiple myeloma (SN-AM)", "not told"),
    "shreya": Paper("C-NMC 2019, training part", "images at random, 60/20/20"),
    "sunitha": Paper("bone marrow images from Kaggle; which ones is not told", "not told"),
    "gohil": Paper(
        "ALL and HEM images, 1600 of them for the test", "not told; no patient is mentioned"
    ),
    "sonawane": Paper(
        "ALL-IDB and C-NMC are named, a third set is described; which was judged is not told",
        "5 folds, stratified by class; no patient is mentioned",
    ),
}

#: The papers' mistakes, in the order of the exercises of chapter 17.
BUGS: tuple[Bug, ...] = (
    Bug("17-a", "shreya", "the shipped predictor calls every cell hem"),
    Bug("17-b", "shreya", "it is shown a nearly black image"),
    Bug("17-c", "shreya", "a stray speck can be what is cropped"),
    Bug("17-d", "shreya", "one image more than there are"),
    Bug("17-e", "shreya", "the test asks about known people"),
    Bug("17-f", "shreya", "the best of a dozen is partly luck"),
    Bug("17-g", "sonawane", "what decides when to stop is no longer like what comes"),
    Bug("17-h", "gohil", "800 images stand for all of them"),
)

_NOT_TOLD, _VI = float("nan"), "table of sec. VI"
_COLUMNS = ("paper", "system", "metric", "value", "images", "rebuilt", "source")
_RESULTS = (
    ("devi", "DCNN, ALL against MM", "accuracy", _NOT_TOLD, None, "", "no figure of its own"),
    ("devi", "DCNN of Kumar et al. 2020", "accuracy", 0.972, 424, "dcnn",
     "doi:10.1109/ACCESS.2020.3012292"),
    ("shreya", "ResNet-50", "accuracy", 0.9348, 2133, "resnet50", "sec. 5.4"),
    ("shreya", "MobileNetV2", "accuracy", 0.8734, 2133, "mobilenetv2", "sec. 5.4"),
    ("sunitha", "MobileNet", "accuracy", 0.94, None, "mobilenet", "sec. 4"),
    ("sunitha", "Xception", "accuracy", 0.94, None, "xception", "sec. 4"),
    ("sunitha", "InceptionV3", "accuracy", _NOT_TOLD, None, "inceptionv3",
     'sec. 4: "less", no figure'),
    ("sunitha", "majority vote", "accuracy", 0.965, None, "majority_vote", "sec. 4"),
    ("gohil", "CNN", "accuracy", 0.9575, 1600, "custom_cnn", "model.evaluate"),
    ("gohil", "CNN", "sensitivity", 0.96, 1091, "custom_cnn", "classification report"),
    ("gohil", "CNN", "specificity", 0.95, 509, "custom_cnn", "classification report"),
    ("sonawane", "CNN (custom)", "accuracy", 0.924, None, "custom_cnn", _VI),
    ("sonawane", "CNN (custom)", "sensitivity", 0.913, None, "custom_cnn", _VI),
    ("sonawane", "CNN (custom)", "specificity", 0.935, None, "custom_cnn", _VI),
    ("sonawane", "CNN (custom)", "auc", 0.96, None, "custom_cnn", _VI),
    ("sonawane", "ResNet-50", "accuracy", 0.947, None, "resnet50_folds", _VI),
    ("sonawane", "ResNet-50", "sensitivity", 0.951, None, "resnet50_folds", _VI),
    ("sonawane", "ResNet-50", "specificity", 0.942, None, "resnet50_folds", _VI),
    ("sonawane", "ResNet-50", "auc", 0.97, None, "resnet50_folds", _VI),
    ("sonawane", "InceptionV3", "accuracy", 0.961, None, "inceptionv3_folds", _VI),
    ("sonawane", "InceptionV3", "sensitivity", 0.967, None, "inceptionv3_folds", _VI),
    ("sonawane", "InceptionV3", "specificity", 0.954, None, "inceptionv3_folds", _VI),
    ("sonawane", "InceptionV3", "auc", 0.98, None, "inceptionv3_folds", _VI),
    ("sonawane", "CNN + LSTM", "accuracy", 0.943, None, "", _VI),
    ("sonawane", "CNN + LSTM", "sensitivity", 0.939, None, "", _VI),
    ("sonawane", "CNN + LSTM", "specificity", 0.948, None, "", _VI),
    ("sonawane", "CNN + LSTM", "auc", 0.97, None, "", _VI),
)  # fmt: skip
#: Experiments on the way to a paper's result: system, recipe of the course, accuracy.
_EXPERIMENTS = {
    ("shreya", 2133, "notebooks of the report, one random split, accuracy on the test images"): (
        ("ResNet-50: frozen, Flatten, Dense 64", "resnet50_frozen_flatten", 0.808),
        ("ResNet-50: frozen, GAP, Dense 64", "resnet50_frozen_gap", 0.829),
        ("ResNet-50: frozen, GAP, 2 x Dense 512 (RMSprop)", "resnet50_frozen_gap_two_dense", 0.843),
        (
            "ResNet-50: Flatten, tuned from conv5_block3",
            "resnet50_flatten_from_conv5_block3",
            0.807,
        ),
        ("ResNet-50: GAP, tuned from conv5_block3", "resnet50_gap_from_conv5_block3", 0.831),
        ("ResNet-50: 2 x Dense 512, tuned from conv5_block3", "resnet50_from_conv5_block3", 0.842),
        ("ResNet-50: last block cut, frozen, GAP, Dense 256", "resnet50_cut_frozen", 0.863),
        ("ResNet-50: cut, tuned from conv2_block1, first", "", 0.917),
        ("ResNet-50: cut, tuned from conv2_block1, second", "resnet50_cut_from_conv2", 0.919),
        ("ResNet-50: cut, all tuned, Dense 256, dropout", "resnet50_cut_all_256", 0.938),
        ("ResNet-50: cut, all tuned, Dense 512", "resnet50_cut_all", 0.935),
        ("ResNet-50: cut, all tuned, 2 x Dense 512", "resnet50_cut_all_two_dense", 0.924),
        ("MobileNetV2: frozen, first head", "", 0.811),
        ("MobileNetV2: frozen, second head", "", 0.760),
        ("MobileNetV2: frozen, third head", "mobilenetv2_frozen", 0.818),
        ("MobileNetV2: tuned from block_16", "mobilenetv2_from_block16", 0.711),
        (
            "MobileNetV2: tuned from block_10, Dense 256, dropout",
            "mobilenetv2_from_block10_256",
            0.867,
        ),
        ("MobileNetV2: tuned from block_10, dropout", "mobilenetv2_from_block10", 0.873),
        ("MobileNetV2: cut at block_15, frozen, first head", "", 0.808),
        ("MobileNetV2: cut at block_15, frozen, second head", "", 0.748),
        ("MobileNetV2: cut at block_15, frozen, third head", "mobilenetv2_cut_block15", 0.822),
    ),
    ("gohil", 800, "model.evaluate, 20 batches of 40"): (
        ("CNN, 800 training images", "", 0.99625),
        ("CNN, 800 validation images", "", 0.94875),
    ),
}


def table(experiments: bool = True) -> pd.DataFrame:
    """Return all figures with the interval that the number of images alone gives.

    Parameters
    ----------
    experiments : bool
        Include the experiments on the way to a paper's result.

    Returns
    -------
    pandas.DataFrame
        - `paper`: a key of :data:`PAPERS`
        - `system`: in the paper's words where it has any
        - `metric`: a name in :data:`helpers.predictions.metrics.METRICS`
        - `value`: 0..1; NaN where the paper gives no figure
        - `images`: how many images the figure is computed from (for a sensitivity the
          positive ones); NaN where not told
        - `at_most`: True where `images` is all that the paper had, and how many it judged
          on is not told
        - `low`, `high`: :func:`at_best`
        - `experiment`: True for an experiment on the way
        - `rebuilt`: a name in ``paper_systems.SYSTEMS``; "" where the course has none
        - `recipe`: of an experiment, its name in ``transfer.RECIPES``; "" where there is none
        - `source`: where the figure stands
    """
    tables = [pd.DataFrame(_RESULTS, columns=_COLUMNS).assign(experiment=False, recipe="")]
    for (paper, images, source), rows in _EXPERIMENTS.items() if experiments else ():
        one = pd.DataFrame(rows, columns=["system", "recipe", "value"])
        constant = {"metric": "accuracy", "rebuilt": "", "experiment": True, "source": source}
        tables.append(one.assign(paper=paper, images=images, **constant))
    figures = pd.concat(tables, ignore_index=True)
    # These are all images of the data set, and not those of a test set.
    figures["at_most"] = figures["system"] == "DCNN of Kumar et al. 2020"
    pairs = zip(figures["value"], figures["images"], strict=True)
    figures[["low", "high"]] = [at_best(value, images) for value, images in pairs]
    order = ["paper", "system", "metric", "value", "images", "at_most", "low", "high"]
    return figures[[*order, "experiment", "rebuilt", "recipe", "source"]]


def at_best(value: float, images: float | None) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of so many images: the narrowest there can be.

    It assumes that the images are independent. Cells of one patient are not, so the
    true uncertainty is larger; a paper that does not name its patients cannot tell by
    how much. Both NaN where the value or the number of images is not told.

    Raises
    ------
    StudyError
        When the value is not a share or the number not positive.
    """
    from statsmodels.stats.proportion import proportion_confint

    if pd.isna(value) or pd.isna(images):
        return float("nan"), float("nan")
    if not 0 <= value <= 1 or images < 1:
        raise StudyError(f"{value} of {images} images is not a share of images.")
    low, high = proportion_confint(value * images, images, method="wilson")
    return float(low), float(high)


def possible_counts(value: float, images: int, digits: int) -> list[int]:
    """Return how many of `images` may have been right if the published share is `value`.

    Parameters
    ----------
    value : float
        The share, 0..1, rounded.
    images : int
    digits : int
        Decimals of the published share: 4 for 93.48 %.

    Returns
    -------
    list of int
        Empty where no count rounds to the figure: then the share or the number of
        images is wrong. A last digit 5 may have been rounded up or down.

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

    Accuracy is the mean of sensitivity and specificity, weighted by the shares of the
    classes. So the three figures determine the share of positives, up to rounding.

    Parameters
    ----------
    accuracy, sensitivity, specificity : float
        0..1, rounded to `digits` decimals.

    Returns
    -------
    low, high : float
        0..1. Both NaN where the figures contradict each other.
    """
    reach = 0.5 * 10.0**-digits
    shares = np.linspace(0, 1, 10_001)
    implied = shares * sensitivity + (1 - shares) * specificity
    # Both sides are off by at most `reach`: the accuracy, and a mean of two rounded figures.
    fits = shares[np.abs(implied - accuracy) <= 2 * reach + 1e-12]
    if not len(fits):
        return float("nan"), float("nan")
    return float(fits[0]), float(fits[-1])
