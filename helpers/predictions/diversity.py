"""How similar several models are in their errors, from their tables of predictions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from helpers.predictions.alignment import Aligned, Tables, align


def predicted_positive(tables: Tables) -> pd.DataFrame:
    """Return whether each model predicts the positive class: bool, one column for each model."""
    aligned = align(tables)
    return _by_model(aligned, aligned.predicted_positive)


def correct(tables: Tables) -> pd.DataFrame:
    """Return whether each prediction is correct: bool, one column for each model."""
    aligned = align(tables)
    return _by_model(aligned, aligned.predicted_positive == aligned.truth())


def oracle_accuracy(tables: Tables) -> float:
    """Return the share of images on which at least one model is correct.

    No rule that takes the prediction of one of the models can be better.
    """
    return float(correct(tables).any(axis=1).mean())


def pairs(tables: Tables) -> pd.DataFrame:
    """Return how similar the models are, for each pair of them.

    Returns
    -------
    pandas.DataFrame
        `first`, `second`; `disagreement`, the share of images with different
        predictions; `double_fault`, the share on which both are wrong; `correlation`
        of their errors (phi); Yule's `q`. The last two are 1 for models that err
        together, 0 for independent ones, and negative where one is correct when the
        other is wrong; NaN where a model is never or always correct.

    References
    ----------
    Kuncheva, Whitaker 2003, doi:10.1023/A:1022859003006.
    """
    table = correct(tables)
    result = []
    for first, second in combinations(table, 2):
        a, b = table[first].to_numpy(), table[second].to_numpy()
        both, neither = float((a & b).mean()), float((~a & ~b).mean())
        only_a, only_b = float((a & ~b).mean()), float((~a & b).mean())
        spread = a.mean() * (1 - a.mean()) * b.mean() * (1 - b.mean())
        cross = both * neither - only_a * only_b
        total = both * neither + only_a * only_b
        phi = cross / np.sqrt(spread) if spread > 0 else np.nan
        q = cross / total if total > 0 else np.nan
        result.append((first, second, float((a != b).mean()), neither, phi, q))
    columns = ["first", "second", "disagreement", "double_fault", "correlation", "q"]
    return pd.DataFrame(result, columns=columns)


def _by_model(aligned: Aligned, values: np.ndarray) -> pd.DataFrame:
    index = pd.Index(aligned.rows["image_id"], name="image_id")
    return pd.DataFrame(values.T, columns=aligned.names, index=index)
