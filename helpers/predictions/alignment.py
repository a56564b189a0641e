"""Tables of predictions of several models, checked and brought into one order of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions.table import check

#: A table of predictions for each model name.
Tables = Mapping[str, pd.DataFrame]

#: Columns that describe the image of a row.
ROW = ["image_id", "subject", "label", "positive", "split"]


@dataclass(frozen=True)
class Aligned:
    """Predictions of several models on the same images.

    Attributes
    ----------
    names : list of str
        Names of the models.
    rows : pandas.DataFrame
        `image_id`, `subject`, `label`, `positive`, `split`, in the order of the first table.
    scores : numpy.ndarray
        float64, shape (models, images): probability of the positive class.
    """

    names: list[str]
    rows: pd.DataFrame
    scores: np.ndarray

    @property
    def predicted_positive(self) -> np.ndarray:
        """Whether each model predicts the positive class, bool, shape (models, images)."""
        return self.scores >= 0.5

    def truth(self) -> np.ndarray:
        """Return the true class of each image, 1 for positive, int64, shape (images,)."""
        return catalogs.target(self.rows).astype(np.int64)


def checked(tables: Tables) -> dict[str, pd.DataFrame]:
    """Return the tables by name, each of them checked; the message names the model.

    Raises
    ------
    PredictionsError
        When there is no dict of tables, or a table is not one of predictions.
    """
    if not isinstance(tables, Mapping):
        raise PredictionsError(
            f"Tables of predictions come as a dict by name, not {arguments.shown(tables)}."
        )
    result = {}
    for name, table in tables.items():
        try:
            result[name] = check(table)
        except PredictionsError as error:
            if name == "":  # a single table
                raise
            raise PredictionsError(f"Model {name!r}: {error}") from error
    return result


def align(tables: Tables, same: Sequence[str] = ROW[1:]) -> Aligned:
    """Return the tables brought into the order of the first one, by `image_id`.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        Predictions by model name.
    same : sequence of str
        Columns that must be the same for an image in every table.

    Raises
    ------
    PredictionsError
        When there is no table, a table is not one of predictions, a model lacks an
        image that another one has, or one of the columns `same` differs for an image.
        The message names the model and the image.
    """
    tables = checked(tables)
    if not tables:
        raise PredictionsError("There is no table of predictions to combine.")
    if wrong := [
        name for name in arguments.names("same", same, PredictionsError) if name not in ROW
    ]:
        raise PredictionsError(f"The columns `same` must be of {ROW}, but one is {wrong[0]!r}.")
    first, *_ = tables
    tables = {
        name: table.assign(positive=catalogs.truth(table["positive"]))
        for name, table in tables.items()
    }
    rows = tables[first][ROW].reset_index(drop=True)
    scores = []
    for name, table in tables.items():
        for lacking, ids, other, other_ids in (
            (name, table["image_id"], first, rows["image_id"]),
            (first, rows["image_id"], name, table["image_id"]),
        ):
            missing = other_ids[~other_ids.isin(ids)]
            if len(missing):
                raise PredictionsError(
                    f"{lacking!r} lacks {len(missing)} images that {other!r} has, first "
                    f"{missing.iloc[0]!r}: let each model predict the same images."
                )
        ordered = table.set_index("image_id").loc[rows["image_id"]].reset_index()
        for column in same:
            ours, theirs = (part[column].astype(str).to_numpy() for part in (rows, ordered))
            differ = np.flatnonzero(ours != theirs)
            if len(differ):
                row = differ[0]
                raise PredictionsError(
                    f"{name!r} and {first!r} differ in the {column} of {len(differ)} images, "
                    f"first {rows['image_id'][row]!r} ({theirs[row]!r} and "
                    f"{ours[row]!r}): they are not of the same split of the same data."
                )
        scores.append(ordered["score"].to_numpy(dtype=float))
    return Aligned(list(tables), rows, np.stack(scores))
