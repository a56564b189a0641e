"""Randomisation checks: a map that stays the same with random weights explains nothing.

Adebayo et al. 2018, Sanity Checks for Saliency Maps, arXiv 1810.03292. The given network
is never changed, only a clone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.base.errors import ExplainError
from helpers.models.layers import layers_of, path_of

if TYPE_CHECKING:
    import keras


def weighted_layers(model: keras.Model) -> list[str]:
    """Return the paths of the layers that have kernels, from the output to the image.

    Layers of nested networks are included, as ``backbone/Conv_1``.
    """
    return [
        path
        for path, layer in reversed(layers_of(model).items())
        if any("kernel" in weight.name or len(weight.shape) > 1 for weight in layer.weights)
    ]


def randomise(model: keras.Model, layers: Sequence[str], seed: int = 24) -> keras.Model:
    """Return a clone of the network in which some layers' weights are shuffled.

    Parameters
    ----------
    model : keras.Model
        It is not changed.
    layers : sequence of str
        Names or paths, as :func:`weighted_layers` gives them.
    seed : int
        For the shuffles; how a layer is shuffled does not depend on the other layers.

    Returns
    -------
    keras.Model
        Uncompiled. Each weight array of the named layers keeps its numbers in another
        order. So their mean and spread stay, signals neither fade nor grow, and what was
        learned is lost. (The paper draws new numbers instead.)

    Raises
    ------
    ExplainError, ModelError
        When there is no such layer, or it has no weights.
    """
    import keras

    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    copies = layers_of(clone)
    for path in [path_of(model, name) for name in layers]:
        layer = copies[path]
        if not layer.weights:
            raise ExplainError(f"{path} has no weights that could be shuffled.")
        rng = np.random.default_rng([seed, list(copies).index(path)])
        shuffled = [rng.permutation(a.ravel()).reshape(a.shape) for a in layer.get_weights()]
        layer.set_weights(shuffled)
    return clone


def similarity(
    first: np.ndarray, second: np.ndarray, mask: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the similarity of two maps: Spearman's rank correlation, and SSIM.

    Parameters
    ----------
    first, second : numpy.ndarray
        Shape (height, width), at least 7 x 7.
    mask : numpy.ndarray of bool, optional
        Where to compare. On black background many maps are zero for any network, so
        there they always agree.

    Returns
    -------
    rank, ssim : float
        1 for equal maps, near 0 for unrelated maps, NaN when a map is the same everywhere.
        For SSIM (Wang et al. 2004, doi:10.1109/TIP.2003.819861) each map is divided by its
        largest absolute value.

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
        raise ExplainError(f"SSIM needs maps of at least 7 x 7 pixels, got {first.shape}.")
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
        It is not changed.
    images : numpy.ndarray
        Shape (n, height, width, 3).
    explain : callable
        From a network and images to maps (n, height, width), such as
        :func:`helpers.explaining.grad_cam`.
    cascading : bool
        Shuffle layers from the output to the image, each together with all layers
        behind it; otherwise each layer alone.
    stops : int, optional
        After how many layers, evenly spaced from the output to the image, to compare
        the maps; by default after each.
    masks : numpy.ndarray of bool, optional
        Shape (n, height, width): compare inside these as well.
    seed : int
        For the shuffles.

    Returns
    -------
    pandas.DataFrame
        One row for each stop and image: `random` (number of shuffled layers), `layer` (the
        last one shuffled), `image` (its index), `rank` and `ssim` of the whole image
        (:func:`similarity`), `blank` (whether the map of the shuffled network is zero
        everywhere), and with masks `rank_inside` and `ssim_inside`.

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
        for index, pair in enumerate(zip(before, after, strict=True)):
            row = {"random": len(chosen), "layer": layers[end], "image": index}
            row["rank"], row["ssim"] = similarity(*pair)
            row["blank"] = not np.any(pair[1])
            if masks is not None:
                row["rank_inside"], row["ssim_inside"] = similarity(*pair, masks[index])
            rows.append(row)
    return pd.DataFrame(rows)
