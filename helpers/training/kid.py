"""How far drawn images are from real ones: the kernel inception distance on a named backbone.

Binkowski et al. 2018, arXiv 1801.01401, use the features of InceptionV3 with ImageNet weights.
Features of another backbone give other numbers: name it beside each figure.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from helpers.base import arguments
from helpers.base.errors import TrainingError
from helpers.models import transfer, weights

if TYPE_CHECKING:
    import keras

#: Side to which images are enlarged before the backbone sees them.
SIDE = 96


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the squared distance of two sets of features, estimated without bias.

    It is the maximum mean discrepancy with the kernel (x·y / d + 1)³. Two samples of one
    source have a distance of 0 on average, so single results may be negative.

    Parameters
    ----------
    one, other : numpy.ndarray
        Shape (n, d) and (m, d), at least two rows each.

    Raises
    ------
    TrainingError
        When the shapes are not as above.
    """
    one, other = (arguments.array("The features", rows, TrainingError) for rows in (one, other))
    fit = one.ndim == other.ndim == 2 and one.shape[1] == other.shape[1]
    if not fit or min(len(one), len(other)) < 2:
        raise TrainingError(
            f"The features are of shape {one.shape} and {other.shape}, but both need the same "
            "columns and at least two rows."
        )

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = 0.0
    for rows in (one, other):
        values, count = kernel(rows, rows), len(rows)
        within += (values.sum() - np.trace(values)) / (count * (count - 1))
    return float(within - 2 * kernel(one, other).mean())


def features(pixels: np.ndarray, backbone: str = "mobilenetv2_035", seed: int = 24) -> np.ndarray:
    """Return the pooled features of a backbone, shape (n, d).

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8, shape (n, size, size, 3); they are scaled to `SIDE` pixels.
    backbone : str
        A name of :data:`helpers.models.transfer.REGISTRY`. Without ImageNet weights its weights
        are random, which is printed once (:func:`helpers.models.weights.find`).
    seed : int
        Of random weights.
    """
    pixels = arguments.pixels(pixels, TrainingError)
    way = cv2.INTER_AREA if pixels.shape[1] > SIDE else cv2.INTER_LINEAR
    scaled = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=way) for image in pixels])
    network = _network(backbone, seed, weights.find(backbone).sha256)
    return network.predict(scaled, batch_size=64, verbose=0)


@cache  # building a backbone takes seconds
def _network(backbone: str, seed: int, _: str) -> keras.Model:
    return transfer.extractor(transfer.build(transfer.Recipe(backbone), SIDE, seed))
