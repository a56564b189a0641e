"""Maps drawn over their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.base.errors import ExplainError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_maps(
    images: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[str],
    *,
    columns: int = 5,
    clip: float = 1.0,
    outlined: bool = True,
) -> Figure:
    """Draw each map over its image, with a colour scale.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (n, height, width, 3); drawn in grey, so that only the map has colours.
    maps : numpy.ndarray
        Shape (n, height, width). Each is scaled by its own largest value. If one map
        has negative values, all are drawn signed: vermillion is evidence for the class,
        blue (within a dashed line) against it.
    titles : sequence of str
        One above each image.
    columns : int
        Images in a row.
    clip : float
        The quantile of a map's absolute values from which on it has the full colour.
        Choose one below 1 when a few pixels are much larger than all others.
    outlined : bool
        Draw lines in signed maps at half of the full colour, solid for the class and
        dashed against it, so that the two differ in grey print as well.

    Raises
    ------
    ExplainError
        When maps and images do not have the same number and size.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from helpers.report import plots

    images, maps = np.asarray(images), np.asarray(maps, np.float64)
    if len(images) != len(maps) or images.shape[1:3] != maps.shape[1:]:
        raise ExplainError(f"The maps {maps.shape} are not of the images {images.shape}.")
    signed = bool((maps < 0).any())
    sizes = np.abs(maps)
    largest = np.quantile(sizes, clip, axis=(1, 2))
    largest = np.where(largest > 0, largest, np.maximum(sizes.max(axis=(1, 2)), 1e-30))
    shown = np.clip(maps / largest[:, None, None], -1, 1)
    if signed:
        colours = mpl.colors.LinearSegmentedColormap.from_list(
            "against_for", [plots.BLUE, "#FFFFFF", plots.VERMILLION]
        )
    else:
        colours = mpl.colormaps["viridis"]
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    side = (plots.WIDTH - 0.9) / columns
    size = plots.WIDTH, rows * (side + 0.19 * lines + 0.04)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-1 if signed else 0, 1), colours)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, one, title in zip(axes.flat, images, shown, titles, strict=False):
        grey = image.mean(axis=-1)
        axis.imshow(grey, cmap="gray", vmin=0, vmax=max(255 if grey.max() > 200 else grey.max(), 1))
        rgba = scale.to_rgba(one)
        rgba[..., 3] = np.clip(0.15 + 0.75 * np.abs(one), 0, 0.8) if signed else 0.6
        axis.imshow(rgba)
        if signed and outlined:
            for level, dash in ((-0.5, "dashed"), (0.5, "solid")):
                if one.min() < level < one.max():
                    axis.contour(one, [level], colors="black", linewidths=0.7, linestyles=dash)
        axis.set_title(title, fontsize=10)
    bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.01, aspect=30)
    bar.set_ticks([-1, 0, 1] if signed else [0, 1])
    bar.set_ticklabels(["against", "0", "for"] if signed else ["0", "most"])
    bar.outline.set_visible(False)
    return figure


def randomised_layers(checks: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how alike maps stay while more and more layers are shuffled, one panel a method.

    Parameters
    ----------
    checks : mapping
        From the name of each method to its table of
        :func:`helpers.explaining.sanity.sanity_check`, made with masks.
    """
    import matplotlib.pyplot as plt

    from helpers.report import plots

    lines = (
        ("rank", "whole image", "o", "-", plots.BLUE),
        ("rank_inside", "inside the cell", "s", ":", plots.VERMILLION),
    )
    size = plots.WIDTH, 3.2
    figure, axes = plt.subplots(1, len(checks), figsize=size, sharey=True, squeeze=False)
    for axis, (method, found) in zip(axes[0], checks.items(), strict=True):
        by_layer = found.groupby("layer", sort=False)
        for column, where, mark, dash, colour in lines:
            mean = by_layer[column].mean()
            axis.plot(list(mean.index), mean, mark, linestyle=dash, color=colour, label=where)
        axis.axhline(0, color=plots.GREY, linewidth=1)
        axis.set(title=method, xlabel="shuffled down to", ylim=(-0.75, 1.05))
        axis.tick_params(axis="x", rotation=90)
    axes[0, 0].set_ylabel("rank correlation")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2)
    return figure
