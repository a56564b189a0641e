"""The table of predictions: what every model hands on, and every report starts from.

It has one row an image: `image_id`, `subject`, `label`, `positive` (1 where that
is the positive class, 0 where it is not: the truth), `split` and `score`, the
probability of the positive class.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base.errors import CatalogError, PredictionsError
from helpers.base.files import write_csv

#: Columns of every table of predictions, in their order.
COLUMNS = ("image_id", "subject", "label", "positive", "split", "score")


def make(rows: pd.DataFrame, scores: np.ndarray, split: str | None = None) -> pd.DataFrame:
    """Return checked predictions: a catalog's rows and what a model says of each.

    Parameters
    ----------
    rows : pandas.DataFrame
        A catalog, or the part of it that was scored.
    scores : numpy.ndarray
        Shape (n,): the probability of the positive class, row by row.
    split : str, optional
        What the column `split` says of all rows, instead of the catalog's own.

    Raises
    ------
    PredictionsError
        When there is not one score a row; otherwise as :func:`check`.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.shape != (len(rows),):
        raise PredictionsError(
            f"The scores are of shape {scores.shape}, but there must be one for each of the "
            f"{len(rows)} rows."
        )
    table = rows if split is None else rows.assign(split=split)
    table = table[list(COLUMNS[:-1])].reset_index(drop=True)
    return check(table.assign(score=scores))


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return `predictions` as it is when it is sound, raise otherwise.

    Raises
    ------
    PredictionsError
        When it is empty, a column is missing, an image stands twice, a label
        or a subject is missing, `positive` is neither 0 nor 1 (it may be missing
        where an image is unlabelled), or a score is missing or outside 0..1.
    """
    missing = [column for column in COLUMNS if column not in predictions]
    if missing:
        raise PredictionsError(
            f"The predictions lack the columns {missing}; helpers.training.zoo.predict makes them."
        )
    if predictions.empty:
        raise PredictionsError("The predictions have no rows: was the split left empty?")
    repeated = predictions["image_id"][predictions["image_id"].duplicated()]
    if len(repeated):
        raise PredictionsError(
            f"{len(repeated)} rows of the predictions repeat an image, first "
            f"{repeated.iloc[0]!r}: each image counts once."
        )
    for column in ("label", "subject"):
        blank = predictions["image_id"][predictions[column].isna()]
        if len(blank):
            raise PredictionsError(
                f"{len(blank)} rows of the predictions have no {column}, first {blank.iloc[0]!r}."
            )
    try:
        catalog.truth(predictions["positive"])
    except CatalogError as error:
        raise PredictionsError(f"In the predictions, {error}") from error
    scores = pd.to_numeric(predictions["score"], errors="coerce").to_numpy(dtype=float)
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        row = predictions.iloc[int(np.argmax(wrong))]
        raise PredictionsError(
            f"{int(wrong.sum())} scores are not probabilities from 0 to 1, first "
            f"{row['score']} of {row['image_id']!r}: did the training diverge?"
        )
    return predictions


def save_predictions(path: str | os.PathLike, predictions: pd.DataFrame) -> Path:
    """Write checked predictions to `path` as CSV, whole or not at all, digit by digit."""
    return write_csv(path, check(predictions)[list(COLUMNS)])


def load_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Return the predictions that :func:`save_predictions` wrote to `path`.

    Raises
    ------
    PredictionsError
        When the file is missing or does not hold sound predictions.
    """
    path = Path(path)
    if not path.is_file():
        raise PredictionsError(
            f"{path} is not there: run the chapter that makes these predictions."
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).astype(object)
        if "positive" in table:
            table["positive"] = catalog.truth(table["positive"])
        if "score" in table:  # by Python's float: exact whatever the version of pandas
            table["score"] = np.array([float(score) for score in table["score"]])
        return check(table)
    except ValueError as error:
        raise PredictionsError(f"{path} does not hold sound predictions. {error}") from error


def read_predictions(path: Path) -> pd.DataFrame | None:
    """Return the predictions in `path`, None where there are none or they are damaged."""
    try:
        return load_predictions(path)
    except PredictionsError:
        return None
