"""Images or features in batches: for an epoch of training, for validation, for predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

#: The most bytes of features that are copied into memory for an epoch.
_IN_MEMORY = 2**28


def padded(images: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the images in batches, and how many images of each batch count.

    The last of several batches is filled up to `batch_size` with copies of its first
    image: a network would be compiled again for a batch of another shape.
    """
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size])
        count = len(batch)
        yield _filled(batch, batch_size) if start else batch, count


def _filled(batch: np.ndarray, size: int) -> np.ndarray:
    """Return the batch with copies of its first image behind it, so that it has `size` images."""
    return np.concatenate([batch, batch[:1].repeat(size - len(batch), axis=0)])


def feed(
    images: np.ndarray,
    target: np.ndarray,
    rows: np.ndarray,
    batch_size: int,
    class_weight: Mapping[int, float] | None = None,
    versions: np.ndarray | None = None,
    whole: bool = False,
) -> keras.utils.PyDataset:
    """Return the batches of one pass through `rows`; each is read when it is needed.

    Parameters
    ----------
    images, class_weight : numpy.ndarray, mapping of int to float
        As in :func:`helpers.training.fit`.
    target : numpy.ndarray
        float32, shape (n, 1).
    rows : numpy.ndarray
        Indices of images, in the order of the pass.
    batch_size : int
        The last batch may be smaller.
    versions : numpy.ndarray of int, optional
        Which version of each image to take, shape (n,), for features of several
        versions; by default the first one, the image itself.
    whole : bool
        Fill up the last of several batches with the first rows, which then come twice: a
        network would be compiled again for a batch of another shape.
    """
    import keras

    if whole and len(rows) > batch_size:
        rows = np.resize(rows, -(-len(rows) // batch_size) * batch_size)
    weight = None
    if class_weight is not None:
        weight = np.where(target[:, 0] > 0, class_weight[1], class_weight[0]).astype(np.float32)

    class Batches(keras.utils.PyDataset):
        """Slices of the array."""

        def __len__(self) -> int:
            return -(-len(rows) // batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
            # The order within a batch does not matter, and reading in file order is faster.
            batch = np.sort(rows[index * batch_size : (index + 1) * batch_size])
            index = batch
            if images.ndim == 3:
                index = batch, 0 if versions is None else versions[batch]
            weights = () if weight is None else (weight[batch],)
            return np.asarray(images[index]), target[batch], *weights

    return Batches()


def train_pass(model: keras.Model, batches: keras.utils.PyDataset, size: int) -> dict:
    """Train on the batches in their order; return loss and accuracy."""
    data = {"x": batches}
    if (arrays := _in_memory(batches)) is not None:  # Keras reads small arrays much faster
        data = dict(zip(("x", "y", "sample_weight"), arrays, strict=False), batch_size=size)
    history = model.fit(**data, epochs=1, shuffle=False, verbose=0).history
    return {name: values[-1] for name, values in history.items()}


def validation_pass(model: keras.Model, batches: keras.utils.PyDataset, size: int) -> np.ndarray:
    """Return what the model answers to the images of the batches, float64, shape (n,)."""
    if (arrays := _in_memory(batches)) is not None:
        return model.predict_on_batch(arrays[0])[:, 0].astype(np.float64)
    answers = []
    for index in range(len(batches)):
        images = batches[index][0]
        given = _filled(images, size) if index else images
        answers.append(model.predict_on_batch(given)[: len(images), 0])
    return np.concatenate(answers).astype(np.float64)


def _in_memory(batches: keras.utils.PyDataset) -> list[np.ndarray] | None:
    """Return the concatenated batches if they are features and small enough, else None."""
    first = batches[0][0]
    if first.ndim != 2 or first.nbytes * len(batches) > _IN_MEMORY:
        return None
    parts = zip(*(batches[index] for index in range(len(batches))), strict=True)
    return [np.concatenate(part) for part in parts]
