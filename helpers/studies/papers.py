"""What the five papers report, as data: every figure with its source.

The figures are those of the papers, and of the notebooks that the second paper publishes;
none is the course's own. Chapter 22 compares them with its re-runs. A paper is named after
its first author; the full references are in ``book/references.bib``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import StudyError

#: Images of C-NMC's training part, ``all`` and ``hem``: as counted in the files, as published.
IMAGES_IN_FILES, IMAGES_AS_PUBLISHED = (7272, 3389), (7273, 3389)
#: Gohil's confusion matrix: rows are the truth, ``all`` before ``hem``.
GOHIL_CONFUSION = ((1049, 42), (26, 483))


class Paper(NamedTuple):
    """The data on which a paper tested its systems, and how it split the images."""

    data: str
    split: str


#: The five papers, in the order of the course.
PAPERS: dict[str, Paper] = {
    "devi": Paper("424 images of ALL and multiple myeloma (SN-AM)", "not told"),
    "shreya": Paper("C-NMC 2019, training part", "images at random, 60/20/20"),
    "sunitha": Paper("bone marrow images from Kaggle; which ones is not told", "not told"),
    "gohil": Paper(
        "ALL and HEM images, 1600 of them for the test", "not told; no patient is mentioned"
    ),
    "sonawane": Paper(
        "three data sets are named, a fourth is described (1,000 images of 50 patients); which of "
        "them was tested is not told",
        "5 folds, stratified by class; patients are not said to be kept apart",
    ),
}


def table(experiments: bool = True) -> pd.DataFrame:
    """Return the figures in ``papers.csv`` with the interval that the number of images gives.

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
          positive ones, for a precision those called positive); NaN where not stated
        - `at_most`: True where `images` is all that the paper had, and the number that it tested
          is not stated
        - `low`, `high`: :func:`at_best`
        - `experiment`: True for an experiment on the way
        - `rebuilt`: a name in ``paper_systems.SYSTEMS``; "" where the course has none
        - `recipe`: of an experiment, its name in ``transfer.RECIPES``; "" where there is none
        - `source`: where the figure is printed
    """
    figures = pd.read_csv(
        Path(__file__).with_suffix(".csv"),
        keep_default_na=False,
        na_values={"value": [""], "images": [""]},
    )
    pairs = zip(figures["value"], figures["images"], strict=True)
    intervals = pd.DataFrame([at_best(*pair) for pair in pairs], columns=["low", "high"])
    for name in intervals:
        figures.insert(figures.columns.get_loc("experiment"), name, intervals[name])
    return figures if experiments else figures[~figures["experiment"]]


def at_best(value: float, images: float | None) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of this many images: the narrowest possible.

    It assumes that the images are independent. Cells of one patient are not, so the
    true uncertainty is larger; a paper that does not name its patients cannot tell by
    how much. Both NaN where the value or the number of images is not stated.

    Raises
    ------
    StudyError
        When the value is not a share or the number not positive.
    """
    from statsmodels.stats.proportion import proportion_confint

    value, images = (
        np.nan
        if number is None
        else arguments.number(f"The {what}", number, StudyError, missing=True)
        for what, number in (("value", value), ("number of images", images))
    )
    if np.isnan(value) or np.isnan(images):
        return float("nan"), float("nan")
    if not 0 <= value <= 1 or not 1 <= images < np.inf:
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
    arguments.number("The share", value, StudyError, 0, 1)
    if arguments.whole("The number of images", images, StudyError, 0, 10**9) < 1:
        raise StudyError(f"{images} images cannot have been judged.")
    arguments.whole("The number of digits", digits, StudyError, 0, 15)
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
    for what, value in (("accuracy", accuracy), ("sensitivity", sensitivity),
                        ("specificity", specificity)):  # fmt: skip
        arguments.number(f"The {what}", value, StudyError, 0, 1)
    reach = 0.5 * 10.0 ** -arguments.whole("The number of digits", digits, StudyError, 0, 15)
    shares = np.linspace(0, 1, 10_001)
    implied = shares * sensitivity + (1 - shares) * specificity
    # Both sides are off by at most `reach`: the accuracy, and a mean of two rounded figures.
    fits = shares[np.abs(implied - accuracy) <= 2 * reach + 1e-12]
    if not len(fits):
        return float("nan"), float("nan")
    return float(fits[0]), float(fits[-1])
