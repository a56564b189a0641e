"""How alike several models are in what they get right and wrong, from tables of predictions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from helpers.predictions.alignment import Aligned, Tables, align, last_largest

__all__ = ["called", "oracle_accuracy", "pairs", "right"]


def called(tables: Tables) -> pd.DataFrame:
    """Return which class each model calls, by its place: a column a model, a row an image."""
    aligned = align(tables)
    return _by_model(aligned, last_largest(aligned.probabilities))


def right(tables: Tables) -> pd.DataFrame:
    """Return whether each model is right: bool, a column a model, a row an image."""
    aligned = align(tables)
    return _by_model(aligned, last_largest(aligned.probabilities) == aligned.truth())


def oracle_accuracy(tables: Tables) -> float:
    """Return the share of images on which at least one model is right.

    No rule that picks the answer of one of the models can do better.
    """
    return float(right(tables).any(axis=1).mean())


def pairs(tables: Tables) -> pd.DataFrame:
    """Return how alike the models are, pair by pair.

    Returns
    -------
    pandas.DataFrame
        `first`, `second`; `disagreement`, the share of images that they call
        differently; `double_fault`, the share on which both are wrong; `correlation` of
        their errors (phi); Yule's `q`. The last two are 1 for models that err
        together, 0 for independent ones, negative where one is right when the other
        is wrong, and NaN where a model is never or always right.

    References
    ----------
    Kuncheva, Whitaker 2003, doi:10.1023/A:1022859003006.
    """
    aligned = align(tables)
    calls, truth = last_largest(aligned.probabilities), aligned.truth()
    result = []
    for first, second in combinations(range(len(aligned.names)), 2):
        a, b = calls[first] == truth, calls[second] == truth
        both, neither = float((a & b).mean()), float((~a & ~b).mean())
        only_a, only_b = float((a & ~b).mean()), float((~a & b).mean())
        spread = a.mean() * (1 - a.mean()) * b.mean() * (1 - b.mean())
        cross = both * neither - only_a * only_b
        total = both * neither + only_a * only_b
        result.append(
            {
                "first": aligned.names[first],
                "second": aligned.names[second],
                "disagreement": float((calls[first] != calls[second]).mean()),
                "double_fault": neither,
                "correlation": cross / np.sqrt(spread) if spread > 0 else np.nan,
                "q": cross / total if total > 0 else np.nan,
            }
        )
    columns = ["first", "second", "disagreement", "double_fault", "correlation", "q"]
    return pd.DataFrame(result, columns=columns)


def _by_model(aligned: Aligned, values: np.ndarray) -> pd.DataFrame:
    index = pd.Index(aligned.rows["image_id"], name="image_id")
    return pd.DataFrame(values.T, columns=aligned.names, index=index)
