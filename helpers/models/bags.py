"""A subject as a bag of cells, and networks with one answer for each bag: chapter 10.

The cells come as numbers (features of a frozen network). The order of the cells of a subject
means nothing. :func:`attention` cannot see it; :func:`lstm` can, and is there to be compared.
Attention pooling: Ilse, Tomczak & Welling 2018, arXiv 1802.04712; sums over a set: Zaheer et al.
2017, arXiv 1703.06114.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.base import provenance
from helpers.base.errors import ModelError

if TYPE_CHECKING:
    import keras

#: Cells in a bag that is drawn for training, subjects in a step.
CELLS, SUBJECTS = 16, 32
#: Units of the layer that sees single cells, of the layer that weighs them, and of the LSTM.
UNITS, WEIGHING = 16, 8


def of_subjects(table: pd.DataFrame) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return one row for each subject of a catalog, and the positions of its cells.

    A subject with cells of both classes is positive: one malignant cell decides.

    Returns
    -------
    subjects : pandas.DataFrame
        Rows of the catalog (for a mixed subject, one of a positive cell), sorted by subject.
    bags : list of numpy.ndarray
        The positions in `table` of each subject's cells.
    """
    if table.empty:
        raise ModelError("The catalog has no rows, so there are no bags.")
    ordered = table.sort_values(["subject", "positive"], ascending=[True, False], kind="stable")
    subjects = ordered.drop_duplicates("subject").reset_index(drop=True)
    places = table.reset_index(drop=True).groupby("subject").indices
    return subjects, [np.sort(places[name]) for name in subjects["subject"]]


def attention(width: int, seed: int = 24) -> keras.Model:
    """Return the network with attention pooling: bags (batch, cells, `width`) in, logits out.

    Its layer ``weights`` gives one weight to each cell; the weights of a bag sum to 1.
    """
    from keras import layers

    cells, hidden, dense = _begin(width, seed)
    weighing = dense(WEIGHING, "tanh", "weighing")(hidden)
    weights = layers.Softmax(axis=1, name="weights")(dense(1, None, "importance")(weighing))
    pooled = layers.Flatten(name="subject")(layers.Dot(axes=1, name="pooled")([weights, hidden]))
    return _end(cells, dense(1, None, "logit")(pooled), "attention")


def lstm(width: int, seed: int = 24) -> keras.Model:
    """Return the network that reads the cells of a bag in order, by an LSTM: logits out."""
    import keras
    from keras import layers

    cells, hidden, dense = _begin(width, seed)
    read = layers.LSTM(
        UNITS,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed * 1000 + 900),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seed * 1000 + 901),
        name="reader",
    )(hidden)
    return _end(cells, dense(1, None, "logit")(read), "lstm")


def draw(
    bags: Sequence[np.ndarray], target: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches without end: positions of cells (subjects, cells), and the classes.

    Each batch has :data:`CELLS` cells of up to :data:`SUBJECTS` subjects, in random order. A
    subject with fewer cells gives some of them twice.
    """
    while True:
        chosen = rng.choice(len(bags), min(SUBJECTS, len(bags)), replace=False)
        cells = [rng.choice(bags[i], CELLS, replace=len(bags[i]) < CELLS) for i in chosen]
        yield np.stack(cells), target[chosen]


def train(
    model: keras.Model,
    numbers: np.ndarray,
    bags: Sequence[np.ndarray],
    target: np.ndarray,
    *,
    steps: int = 150,
    learning_rate: float = 3e-3,
    seed: int = 24,
) -> list[float]:
    """Train `model` in place for a fixed number of steps on drawn bags; return its losses.

    No other subject is looked at, not even to stop: the numbers of the cells that are in none
    of the bags are never read.

    Parameters
    ----------
    model : keras.Model
        Of :func:`attention` or :func:`lstm`.
    numbers : numpy.ndarray
        Shape (n, width): a row for each cell.
    bags : sequence of numpy.ndarray
        The rows of each training subject.
    target : numpy.ndarray
        0 or 1 for each of these subjects.
    steps : int
    learning_rate : float
    seed : int
        For the drawn bags.

    Raises
    ------
    ModelError
        When there is not one class for each bag, or the bags are all of one class.
    """
    import keras

    target = np.asarray(target)
    if len(target) != len(bags) or len(np.unique(target)) < 2:
        raise ModelError(
            f"There are {len(bags)} bags and {len(target)} classes, {len(np.unique(target))} of "
            "them different: each bag needs a class, and both classes must be there."
        )
    model.compile(
        keras.optimizers.Adam(learning_rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False if provenance.spares_xla() else "auto",
    )
    model.optimizer.build(model.trainable_variables)  # else Keras traces the step twice
    losses, drawn = [], draw(bags, target, np.random.default_rng(seed))
    for _, (cells, truth) in zip(range(steps), drawn, strict=False):
        model.reset_metrics()  # otherwise Keras returns the mean over all steps so far
        losses.append(float(model.train_on_batch(numbers[cells], truth[:, None])))
    return losses


def scores(model: keras.Model, numbers: np.ndarray, bags: Sequence[np.ndarray]) -> np.ndarray:
    """Return the score of each subject from all of its cells, in the order of its bag."""
    import keras
    from scipy.special import expit

    with warnings.catch_warnings():  # of a single cell, the softmax is 1, as it should be
        warnings.filterwarnings("ignore", "You are using a softmax over axis")
        answers = [model(numbers[bag][None], training=False) for bag in bags]
    return expit(np.array([float(keras.ops.squeeze(answer)) for answer in answers]))


def _begin(width: int, seed: int) -> tuple[keras.KerasTensor, keras.KerasTensor, Callable]:
    """Return the input, the cells behind a first dense layer, and a maker of dense layers."""
    import keras
    from keras import layers

    if width < 1:
        raise ModelError(f"A cell must have at least one number, got {width}.")
    seeds = iter(range(seed * 1000, seed * 1000 + 900))

    def dense(units: int, activation: str | None, name: str) -> keras.layers.Layer:
        start = keras.initializers.GlorotUniform(seed=next(seeds))
        return layers.Dense(units, activation, kernel_initializer=start, name=name)

    cells = keras.Input((None, width), name="cells")
    return cells, dense(UNITS, "relu", "cell")(cells), dense


def _end(cells: keras.KerasTensor, logit: keras.KerasTensor, name: str) -> keras.Model:
    import keras

    return keras.Model(cells, logit, name=name)
