"""The table of predictions: the output of every model and the input of every report.

It has one row for each image: `image_id`, `subject`, `label`, `positive` (the truth: 1 for
the positive class, 0 for the negative one), `split` and `score`, the probability of the
positive class.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.base import arguments
from helpers.base.errors import CatalogError, PredictionsError
from helpers.base.files import read_csv, write_csv

#: Columns of every table of predictions, in their order.
COLUMNS = ("image_id", "subject", "label", "positive", "split", "score")
_NAMED = ("image_id", "subject", "label", "split")
_WHAT = "predictions"


def make(rows: pd.DataFrame, scores: np.ndarray, split: str | None = None) -> pd.DataFrame:
    """Return checked predictions: rows of a catalog, and the score of each.

    Parameters
    ----------
    rows : pandas.DataFrame
        A catalog, or the part of it that was scored.
    scores : numpy.ndarray
        Shape (n,): the probability of the positive class, row by row.
    split : str, optional
        The value of the column `split` in all rows, instead of the catalog's own.

    Raises
    ------
    PredictionsError
        When there is not one score for each row; otherwise as :func:`check`.
    """
    columns = COLUMNS[:-1] if split is None else COLUMNS[:-2]
    arguments.table(rows, columns, "rows", PredictionsError)
    scores = arguments.array("The scores", scores, PredictionsError, missing=True)
    if scores.shape != (len(rows),):
        raise PredictionsError(
            f"The scores are of shape {scores.shape}, but there must be one for each of the "
            f"{len(rows)} rows."
        )
    if split is not None:
        rows = rows.assign(split=arguments.string("The split", split, PredictionsError))
    table = rows[list(COLUMNS[:-1])].reset_index(drop=True)
    return check(table.assign(score=scores))


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return `predictions` if it is valid, else raise an error.

    Returns
    -------
    pandas.DataFrame
        `predictions` itself, or a copy where names are stored as categories, scores as
        text or single precision, or `positive` as text or booleans: there they are plain
        text, float64 and Int64.

    Raises
    ------
    PredictionsError
        When it is no table or has no rows, a column is missing, stands twice or holds
        something else than text, an image is repeated, `positive` is neither 0 nor 1 (it
        may be missing where an image is unlabelled) or not the same in all rows of a class,
        or a score is missing or outside 0..1.
    """
    cure = "; helpers.training.zoo.predict makes them"
    arguments.table(predictions, COLUMNS, _WHAT, PredictionsError, cure)
    if predictions.empty:
        raise PredictionsError("The predictions have no rows: was the split left empty?")
    predictions = arguments.text(predictions, ["image_id"], _WHAT, PredictionsError)
    repeated = predictions["image_id"][predictions["image_id"].duplicated()]
    if len(repeated):
        raise PredictionsError(
            f"{len(repeated)} rows of the predictions repeat an image, first "
            f"{repeated.iloc[0]!r}: each image counts once."
        )
    for column in ("image_id", "label", "subject"):
        missing = predictions[column].isna() | (predictions[column] == "")
        blank = predictions["image_id"][missing]
        if len(blank):
            raise PredictionsError(
                f"{len(blank)} rows of the predictions have no {column}, first {blank.iloc[0]!r}."
            )
    predictions = arguments.text(predictions, _NAMED, _WHAT, PredictionsError)
    try:
        truth = catalog.truth(predictions["positive"])
    except CatalogError as error:
        raise PredictionsError(f"In the predictions, {error}") from error
    _require_one_side(predictions["label"], truth)
    scores = arguments.column(predictions["score"])
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        score, image = (predictions[name].iloc[row] for name in ("score", "image_id"))
        raise PredictionsError(
            f"{int(wrong.sum())} scores are not probabilities from 0 to 1, first "
            f"{' '.join(str(score).split())[:60]} of {image!r}: {_reason(scores)}"
        )
    plain = {}
    if predictions["positive"].dtype.kind not in "iu":
        plain["positive"] = truth
    if predictions["score"].dtype != np.float64:
        plain["score"] = scores
    return predictions.assign(**plain) if plain else predictions


def _require_one_side(labels: pd.Series, truth: pd.Series) -> None:
    """Raise an error if a class is positive in one row and negative in another."""
    classes, names = pd.factorize(labels.to_numpy())
    values = truth.to_numpy(dtype=float, na_value=np.nan)
    counts = [np.bincount(classes[values == side], minlength=len(names)) for side in (0, 1)]
    both = np.flatnonzero(np.all(counts, axis=0))
    if len(both):
        negative, positive = (count[both[0]] for count in counts)
        raise PredictionsError(
            f"The class {names[both[0]]!r} is negative (`positive` is 0) in {negative} rows of the "
            f"predictions and positive in {positive}: a class is on one side only."
        )


def _reason(scores: np.ndarray) -> str:
    """Return why scores are no probabilities, as far as they show it."""
    if ((scores >= 0) & (scores <= 100)).all() and scores.max() > 2:
        return "they look like percent, divide them by 100."
    return "did the training diverge, or are they logits?"


def check_fitting(predictions: pd.DataFrame, what: str) -> pd.DataFrame:
    """Return checked predictions from which `what` may be chosen: no row is of the split ``test``.

    Raises
    ------
    PredictionsError
        When a row is one of the test set, or as :func:`check`.
    """
    predictions = check(predictions)
    if tested := int((predictions["split"] == "test").sum()):
        raise PredictionsError(
            f"{what} must be chosen on validation rows, but {tested} of {len(predictions)} rows "
            "are of the split 'test', which only judges: give table[table['split'] == 'val']."
        )
    return predictions


def save_predictions(path: str | os.PathLike, predictions: pd.DataFrame) -> Path:
    """Write checked predictions to `path` as CSV: atomically, and without rounding the scores.

    Raises
    ------
    PredictionsError
        When `path` names no file, or as :func:`check`.
    """
    path = arguments.path("The path of the predictions", path, PredictionsError)
    return write_csv(path, check(predictions)[list(COLUMNS)])


def load_predictions(path: str | os.PathLike) -> pd.DataFrame:
    """Return the predictions that :func:`save_predictions` wrote to `path`.

    Raises
    ------
    PredictionsError
        When the file is missing or does not contain valid predictions.
    """
    path = arguments.path("The path of the predictions", path, PredictionsError)
    if not path.exists():
        raise PredictionsError(
            f"{path} does not exist: run the chapter that makes these predictions."
        )
    try:
        return check(read_csv(path, PredictionsError))
    except PredictionsError as error:
        where = " ".join(str(path).split())
        raise PredictionsError(f"{where} does not contain valid predictions. {error}") from error


def read_predictions(path: Path) -> pd.DataFrame | None:
    """Return the predictions in `path`, or None if it is missing or damaged."""
    try:
        return load_predictions(path)
    except PredictionsError:
        return None
