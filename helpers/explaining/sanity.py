"""Randomisation checks: a map that survives random weights explains nothing.

Part of :mod:`helpers.explaining`. Adebayo et al. 2018, Sanity Checks for Saliency
Maps, arXiv 1810.03292. The network that is given is not changed: a clone is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.base.errors import ExplainError
from helpers.explaining import gradients

if TYPE_CHECKING:
    import keras


def weighted_layers(model: keras.Model) -> list[str]:
    """Return the paths of the layers that have kernels, from the output down.

    Those of nested networks are among them, as ``backbone/Conv_1``.
    """
    found = [
        leaf.path
        for leaf in gradients.leaves(model)
        if any("kernel" in weight.name or len(weight.shape) > 1 for weight in leaf.layer.weights)
    ]
    return found[::-1]


def randomise(model: keras.Model, layers: Sequence[str], seed: int = 24) -> keras.Model:
    """Return a clone of the network in which some layers' weights are shuffled.

    Parameters
    ----------
    model : keras.Model
        Stays as it is.
    layers : sequence of str
        Names or paths, as :func:`weighted_layers` gives them.
    seed : int
        Of the shuffles; a layer is shuffled in the same way whatever the others are.

    Returns
    -------
    keras.Model
        Uncompiled. Each array of weights of the named layers keeps its numbers, in
        another order: their mean and spread stay, so that signals neither die out nor
        grow, and what was learned is gone. (The paper draws new numbers instead.)

    Raises
    ------
    ExplainError
        When there is no such layer, or it has no weights.
    """
    import keras

    paths = [leaf.path for leaf in gradients.leaves(model)]
    wanted = [gradients.find_leaf(model, name) for name in layers]
    for leaf in wanted:
        if not leaf.layer.weights:
            raise ExplainError(f"{leaf.path} has no weights that could be made random.")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    there = dict(gradients.leaves(clone))
    for leaf in wanted:
        rng = np.random.default_rng([seed, paths.index(leaf.path)])
        layer = there[leaf.path]
        layer.set_weights([_shuffled(rng, values) for values in layer.get_weights()])
    return clone


def similarity(
    first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None
) -> tuple[float, float]:
    """Return how alike two maps are: Spearman's rank correlation, and SSIM.

    Parameters
    ----------
    first, second : numpy.ndarray
        Shape (height, width), at least 7 x 7.
    mask : numpy.ndarray of bool, optional
        Where to compare. On black ground many maps are zero whatever the network
        does, and there all of them agree.

    Returns
    -------
    rank, ssim : float
        1 for equal maps, near 0 for maps that have nothing to do with each other.
        SSIM (Wang et al. 2004, doi:10.1109/TIP.2003.819861) is of maps scaled to a
        largest absolute value of 1, each by itself. NaN where a map is the same everywhere.

    Raises
    ------
    ExplainError
        When the shapes differ or are too small.
    """
    from scipy.stats import spearmanr
    from skimage.metrics import structural_similarity

    first, second = (np.asarray(each, np.float64) for each in (first, second))
    mask = np.ones(first.shape, bool) if mask is None else np.asarray(mask, bool)
    if first.shape != second.shape or first.shape != mask.shape or first.ndim != 2:
        raise ExplainError(
            f"Two maps and their mask must have one shape (height, width), got {first.shape}, "
            f"{second.shape} and {mask.shape}."
        )
    if min(first.shape) < 7:
        raise ExplainError(f"SSIM needs maps of at least 7 x 7 places, got {first.shape}.")
    if not mask.any() or any(np.ptp(each[mask]) == 0 for each in (first, second)):
        return float("nan"), float("nan")
    rank = float(spearmanr(first[mask], second[mask]).statistic)
    scaled = [each / np.abs(each).max() for each in (first, second)]
    low = min(0.0, *(each.min() for each in scaled))
    _, local = structural_similarity(*scaled, data_range=1 - low, full=True)
    return rank, float(local[mask].mean())


def sanity_check(
    model: keras.Model,
    images: np.ndarray,
    explain: Callable[[keras.Model, np.ndarray], np.ndarray],
    *,
    cascading: bool = True,
    stops: int | None = None,
    masks: np.ndarray | None = None,
    seed: int = 24,
) -> pd.DataFrame:
    """Compare the maps of a network with those of the same network with random layers.

    Parameters
    ----------
    model : keras.Model
        Stays as it is.
    images : numpy.ndarray
        Shape (n, height, width, 3).
    explain : callable
        From a network and images to maps (n, height, width), as
        :func:`helpers.explaining.grad_cam`.
    cascading : bool
        Make layers random from the output down, each together with all above it;
        otherwise each layer alone.
    stops : int, optional
        At how many layers, spread evenly from the output to the image, to stop and
        compare; by default at each.
    masks : numpy.ndarray of bool, optional
        Shape (n, height, width): compare inside of these as well.
    seed : int
        Of the shuffles.

    Returns
    -------
    pandas.DataFrame
        One row a stop and image: `random` (layers made random), `layer` (the lowest
        of them), `image` (its place), `rank` and `ssim` as :func:`similarity` gives
        them of the whole image, `blank` (whether the map of the random network is
        zero everywhere), and with masks `rank_inside` and `ssim_inside`.

    Raises
    ------
    ExplainError
        When the network has no layers with weights.
    """
    layers = weighted_layers(model)
    if not layers or (stops is not None and stops < 1):
        raise ExplainError(
            f"{model.name} has {len(layers)} layers with kernels, and stops is {stops}: "
            "the check needs at least one of each."
        )
    count = len(layers) if stops is None else min(stops, len(layers))
    ends = np.unique(np.linspace(0, len(layers) - 1, count).round().astype(int))
    before = explain(model, images)
    rows = []
    for end in ends:
        chosen = layers[: end + 1] if cascading else [layers[end]]
        after = explain(randomise(model, chosen, seed), images)
        for place, pair in enumerate(zip(before, after, strict=True)):
            row = {"random": len(chosen), "layer": layers[end], "image": place}
            row["rank"], row["ssim"] = similarity(*pair)
            row["blank"] = not np.any(pair[1])
            if masks is not None:
                row["rank_inside"], row["ssim_inside"] = similarity(*pair, masks[place])
            rows.append(row)
    return pd.DataFrame(rows)


def _shuffled(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return rng.permutation(values.ravel()).reshape(values.shape)
