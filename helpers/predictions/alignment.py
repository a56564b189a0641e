"""Tables of predictions of several models, checked and brought to one order of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base.errors import PredictionsError
from helpers.predictions.table import check

Tables = Mapping[str, pd.DataFrame] | Sequence[pd.DataFrame]

#: Columns that tell which image a row is of.
ROW = ["image_id", "subject", "label", "positive", "split"]


@dataclass(frozen=True)
class Aligned:
    """Predictions of several models on the same images.

    Attributes
    ----------
    names : list of str
        Of the models.
    rows : pandas.DataFrame
        `image_id`, `subject`, `label`, `positive`, `split`, in the order of the first table.
    classes : list of str or None
        Names of the classes, negative ones first; None where the tables are binary.
    probabilities : numpy.ndarray
        float64, shape (models, images, classes); of a binary table the class 0
        is negative and 1 positive.
    """

    names: list[str]
    rows: pd.DataFrame
    classes: list[str] | None
    probabilities: np.ndarray

    def table(self, probabilities: np.ndarray) -> pd.DataFrame:
        """Return the table of predictions with these (images, classes) probabilities."""
        rows = self.rows.copy()
        if self.classes is None:
            rows["score"] = probabilities[:, 1]
        else:
            for place, name in enumerate(self.classes):
                rows[f"score_{name}"] = probabilities[:, place]
        return rows

    def truth(self) -> np.ndarray:
        """Return each image's class by its place, int64, shape (images,)."""
        if self.classes is None:
            return catalogs.target(self.rows).astype(np.int64)
        unknown = sorted(set(self.rows["label"]) - set(self.classes))
        if unknown:
            raise PredictionsError(f"The labels {unknown} have no column among {self.classes}.")
        return self.rows["label"].map(self.classes.index).to_numpy(dtype=np.int64)


def align(tables: Tables) -> Aligned:
    """Return the tables lined up by `image_id`, in the order of the first.

    Raises
    ------
    PredictionsError
        When there is no table; a model lacks an image that another one has, or
        has it twice; two models tell different subjects, labels, truths or splits of an image; a
        probability is missing or none; the classes differ. It names the model and the image.
    """
    if not isinstance(tables, Mapping):
        tables = {f"model {place}": table for place, table in enumerate(tables, start=1)}
    if not tables:
        raise PredictionsError("There is no table of predictions to combine.")
    names = list(tables)
    kinds = {name: _classes(name, table) for name, table in tables.items()}
    classes = kinds[names[0]]
    for name, kind in kinds.items():
        if kind != classes:
            raise PredictionsError(
                f"{names[0]!r} predicts {classes or 'one score'}, but {name!r} "
                f"{kind or 'one score'}: only models of the same classes can be combined."
            )
    tables = {
        name: table.assign(positive=catalogs.truth(table["positive"]))
        for name, table in tables.items()
    }
    rows = tables[names[0]][ROW].reset_index(drop=True)
    columns = ["score"] if classes is None else [f"score_{name}" for name in classes]
    parts = []
    for name, table in tables.items():
        _check_rows(names[0], rows, name, table)
        places = pd.Index(table["image_id"]).get_indexer(rows["image_id"])
        here = table[ROW].iloc[places].reset_index(drop=True)
        for column in ROW[1:]:
            ours, theirs = (part[column].astype(str).to_numpy() for part in (rows, here))
            differ = np.flatnonzero(ours != theirs)
            if len(differ):
                first = differ[0]
                raise PredictionsError(
                    f"{name!r} and {names[0]!r} differ in the {column} of {len(differ)} images, "
                    f"first {rows['image_id'][first]!r} ({theirs[first]!r} and "
                    f"{ours[first]!r}): they are not of the same split of the same data."
                )
        values = table[columns].to_numpy(dtype=float)[places]
        parts.append(np.hstack([1 - values, values]) if classes is None else values)
    return Aligned(names, rows, classes, np.stack(parts))


def last_largest(values: np.ndarray) -> np.ndarray:
    """Return the place of the largest value on the last axis; of equal ones the last."""
    return values.shape[-1] - 1 - np.argmax(values[..., ::-1], axis=-1)


def mean(probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the (weighted) mean over the models, shape (images, classes).

    Added up in order of size, and rounded to 15 decimals: neither the order of the
    models nor the last bit of a sum decides where two classes are equal.
    """
    if len(probabilities) == 1:
        return probabilities[0]
    if weights is None:
        weights = np.full(len(probabilities), 1 / len(probabilities))
    parts = np.sort(weights[:, np.newaxis, np.newaxis] * probabilities, axis=0)
    total = np.clip(np.round(parts.sum(axis=0), 15), 0, 1)
    if total.shape[-1] == 2:
        total[:, 0] = 1 - total[:, 1]
    return total


def _classes(name: str, table: pd.DataFrame) -> list[str] | None:
    """Return the classes of a sound table, None of a binary one; refuse others by the model."""
    missing = [column for column in ROW if column not in table]
    columns = [column for column in table if str(column).startswith("score_")]
    if missing or not (columns or "score" in table):
        raise PredictionsError(
            f"The predictions of {name!r} lack the columns "
            f"{missing or ['score']}; helpers.training.zoo.predict makes them."
        )
    if not columns:
        try:
            check(table)
        except PredictionsError as error:
            raise PredictionsError(f"Model {name!r}: {error}") from error
        return None
    first = columns[0]
    for column in columns:  # one class after the other is one score each
        try:
            check(table[ROW].assign(score=table[column]))
        except PredictionsError as error:
            raise PredictionsError(f"Model {name!r}, column {column}: {error}") from error
    total = table[columns].to_numpy(dtype=float).sum(axis=1)
    wrong = np.flatnonzero(np.abs(total - 1) > 1e-4)
    if len(columns) < 2 or "score" in table or len(wrong):
        found = "they stand beside a column 'score'" if "score" in table else f"only {first} is"
        if len(wrong):
            where = table["image_id"].iloc[wrong[0]]
            found = f"those of {where!r} sum to {total[wrong[0]]:.4f}"
        raise PredictionsError(
            f"Model {name!r}: the scores of several classes must sum to 1, but {found}."
        )
    _, positive = catalogs.sides(table)
    names = [column.removeprefix("score_") for column in columns]
    return sorted(names, key=lambda name: (name in positive, name))


def _check_rows(reference: str, rows: pd.DataFrame, name: str, table: pd.DataFrame) -> None:
    """Raise when two models were not asked about the same images, naming the first of them."""
    for lacking, other, here, there in (
        (name, reference, rows["image_id"], table["image_id"]),
        (reference, name, table["image_id"], rows["image_id"]),
    ):
        gone = here[~here.isin(there)]
        if len(gone):
            raise PredictionsError(
                f"{lacking!r} lacks {len(gone)} images that {other!r} has, first "
                f"{gone.iloc[0]!r}: let each model predict the same images."
            )
