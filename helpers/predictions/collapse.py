"""Collapse: a network that gives every image nearly the same score has learned nothing.

It is judged from scores alone, so that predictions read from disk are judged like those that
a network has just made.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

#: One sentence for each collapsed network that this process trained, loaded or read scores of,
#: for the page's banner.
COLLAPSED: list[str] = []
#: Scores closer than this to their median are the same: the course shows three digits. A network
#: that has hardly been trained differs by ten times as much from image to image.
SAME = 1e-3
#: Share of the images of each class that must have the same score.
SHARE = 0.9


def nearly_equal(scores: np.ndarray, target: np.ndarray) -> bool:
    """Return whether a model has the same score for nearly all images, whatever their class.

    Parameters
    ----------
    scores : numpy.ndarray of float
        Shape (n,): probabilities of the positive class.
    target : numpy.ndarray
        0 or 1, shape (n,). Each class is counted for itself: where few images are positive, a
        good network too gives nearly all images a score of 0.
    """
    scores, target = np.asarray(scores, dtype=float), np.asarray(target)
    if len(scores) < 2:
        return False
    same = np.abs(scores - np.median(scores)) < SAME
    return bool(min(same[target == side].mean() for side in np.unique(target)) >= SHARE)


def words(scores: np.ndarray, images: str = "validation images") -> str:
    """Say what the scores of a collapsed model are: half a sentence."""
    middle = np.median(scores)
    many = "all" if (np.abs(scores - middle) < SAME).all() else "nearly all"
    return f"{many} its scores on the {images} are {middle:.3f}"


def judge(name: str, predictions: pd.DataFrame) -> str:
    """Return a sentence about a collapsed model, or ``""``.

    Parameters
    ----------
    name : str
    predictions : pandas.DataFrame
        Judged on the rows ``val`` if they have both classes, otherwise on all labelled rows.
        Rows of one class show nothing: a good network may be sure of all of them.
    """
    labelled = predictions[predictions["positive"].notna()]
    val = labelled[labelled["split"] == "val"]
    for rows, images in ((val, "validation images"), (labelled, "images")):
        if rows["positive"].nunique() == 2:
            scores = rows["score"].to_numpy(dtype=float)
            same = nearly_equal(scores, rows["positive"])
            return f"{name} collapsed: {words(scores, images)}." if same else ""
    return ""


def named(name: str, predictions: pd.DataFrame) -> str:
    """Return the name of a model, followed by "(collapsed)" if :func:`judge` finds it so."""
    return f"{name} (collapsed)" if judge(name, predictions) else name


def note(text: str) -> None:
    """Print a sentence and note it for the banner of the page, once; ``""`` is no sentence."""
    if text and text not in COLLAPSED:
        print(text)
        COLLAPSED.append(text)
