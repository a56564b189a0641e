"""Collapse: a network that gives every image nearly the same score has learned nothing.

It is judged from scores alone, so that predictions read from disk are judged like those that
a network has just made.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

#: One sentence for each collapsed network that this process used, for the page's banner.
COLLAPSED: list[str] = []
#: So close together lie 98 of 100 scores of a collapsed network.
SPREAD = 0.005


def nearly_equal(scores: np.ndarray) -> bool:
    """Return whether the scores are so alike that they cannot tell two classes apart.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape (n,): probabilities of the positive class, for images of both classes. The
        lowest and the highest hundredth do not count.
    """
    if len(scores) < 2:
        return False
    low, high = np.percentile(np.asarray(scores, dtype=float), [1, 99])
    return bool(high - low < SPREAD)


def named(name: str, predictions: pd.DataFrame) -> str:
    """Return the name of a model, followed by "(collapsed)" if its scores are nearly equal."""
    return f"{name} (collapsed)" if nearly_equal(predictions["score"].to_numpy()) else name


def sentence(name: str, predictions: pd.DataFrame) -> str:
    """Return a sentence about a collapsed model, or ``""`` when its scores differ."""
    scores = predictions["score"].to_numpy()
    if not nearly_equal(scores):
        return ""
    return (
        f"{name} has collapsed: its scores of {len(scores)} images are nearly all "
        f"{np.median(scores):.3f}, so it cannot tell the classes apart."
    )


def note(text: str) -> None:
    """Note a sentence for the banner of the page, once; ``""`` is no sentence."""
    if text and text not in COLLAPSED:
        COLLAPSED.append(text)
