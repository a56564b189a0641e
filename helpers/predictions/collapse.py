"""Collapse: a network that gives every image nearly the same score has learned nothing.

It is judged from scores alone, so that predictions read from disk are judged like those that
a network has just made.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions.calibration import logit
from helpers.predictions.table import check

#: One sentence for each collapsed network that this process trained, loaded or read scores of,
#: for the page's banner.
COLLAPSED: list[str] = []
#: Logits closer than this are the same. Those of dead units are so to the last bit; those of
#: new networks of the course, untrained and on random weights, differ by ten times as much.
SAME = 1e-3
#: Beyond this logit a score is 1.000 (or, below its negative, 0.000) in three digits.
SURE = np.log(0.9995 / 0.0005)
#: Share of the images of each class that must have the same score.
SHARE = 0.9


def same_scores(logits: np.ndarray, target: np.ndarray, images: str = "validation images") -> str:
    """Return "" or, in half a sentence, that the scores of the images are nearly all the same.

    Parameters
    ----------
    logits : numpy.ndarray of float
        Inputs of the last sigmoid, shape (n,).
    target : numpy.ndarray
        0 or 1, shape (n,). Both classes must have the same score: where few images are
        positive, a good network gives almost all images a score of 0. If all images are of one
        class, a good network may be sure of each: then only equal logits count.
    images : str
        What the images are called.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if len(logits) < 2:
        return ""
    middle, classes = np.median(logits), np.unique(target)
    same = np.abs(logits - middle) < SAME
    if len(classes) == 2 and abs(middle) > SURE:
        same |= logits * np.sign(middle) > SURE
    if min(same[target == side].mean() for side in classes) < SHARE:
        return ""
    many = "all" if same.all() else "nearly all"
    return f"{many} its scores on the {images} are {special.expit(middle):.3f}"


def judge(name: str, predictions: pd.DataFrame) -> str:
    """Return a sentence about a collapsed model, or ``""``.

    Parameters
    ----------
    name : str
    predictions : pandas.DataFrame
        Judged on the rows ``val`` if they have both classes, otherwise on all labelled rows.
        Rows of one class show nothing: a good network may be sure of all of them.

    Raises
    ------
    PredictionsError
        When the table is not one of predictions.
    """
    arguments.string("The name of a model", name, PredictionsError)
    predictions = check(predictions)
    labelled = predictions[predictions["positive"].notna()]
    val = labelled[labelled["split"] == "val"]
    for rows, images in ((val, "validation images"), (labelled, "images")):
        if rows["positive"].nunique() == 2:
            logits = logit(rows["score"].to_numpy(dtype=float))
            same = same_scores(logits, rows["positive"].to_numpy(dtype=float), images)
            return f"{name} collapsed: {same}." if same else ""
    return ""


def named(name: str, predictions: pd.DataFrame) -> str:
    """Return the name of a model, followed by "(collapsed)" if :func:`judge` finds it so."""
    return f"{name} (collapsed)" if judge(name, predictions) else name


def note(text: str) -> None:
    """Print a sentence and note it for the banner of the page, once; ``""`` is no sentence."""
    if text and text not in COLLAPSED:
        print(text)
        COLLAPSED.append(text)
