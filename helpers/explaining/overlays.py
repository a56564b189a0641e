"""Maps drawn over their images; part of :mod:`helpers.explaining`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.base.errors import ExplainError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_maps(
    images: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 5,
    each: bool = True,
    masks: np.ndarray | None = None,
    clip: float = 1.0,
    outlined: bool = True,
) -> Figure:
    """Lay each map over its image, with a colour scale.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (n, height, width, 3); drawn in grey, so that colour is the map's.
    maps : numpy.ndarray
        Shape (n, height, width). Where a map has negative values, all of them are
        drawn signed: vermillion speaks for the class, blue (within a dashed line)
        against it.
    titles : sequence of str, optional
        One above each image.
    columns : int
        Images in a row.
    each : bool
        Scale each map by its own largest value; otherwise all by one scale.
    masks : numpy.ndarray of bool, optional
        Shape (n, height, width); outlined in white.
    clip : float
        Which quantile of a map's absolute values gets the full colour; larger
        values get it too. Below 1 for maps of which a few pixels outshine the rest.
    outlined : bool
        Draw signed maps with lines at half of the full colour, solid for the class
        and dashed against it, so that the two differ in grey print as well.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from helpers.report import plots

    images, maps = np.asarray(images), np.asarray(maps, np.float64)
    if len(images) != len(maps) or images.shape[1:3] != maps.shape[1:]:
        raise ExplainError(f"The maps {maps.shape} are not of the images {images.shape}.")
    signed = bool((maps < 0).any())
    sizes = np.abs(maps)
    largest = np.quantile(sizes, clip, axis=(1, 2)) if each else np.quantile(sizes, clip)
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
    lines = max((str(t).count("\n") + 1 for t in titles), default=0) if titles else 0
    side = (plots.WIDTH - 0.9) / columns
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(plots.WIDTH, rows * (side + 0.19 * lines + 0.04)),
        squeeze=False,
    )
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-1 if signed else 0, 1), colours)
    for place, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if place >= len(images):
            continue
        grey = images[place].mean(axis=-1)
        axis.imshow(grey, cmap="gray", vmin=0, vmax=max(255 if grey.max() > 200 else grey.max(), 1))
        rgba = scale.to_rgba(shown[place])
        rgba[..., 3] = np.clip(0.15 + 0.75 * np.abs(shown[place]), 0, 0.8) if signed else 0.6
        axis.imshow(rgba)
        if signed and outlined:
            for level, dash in ((-0.5, "dashed"), (0.5, "solid")):
                if shown[place].min() < level < shown[place].max():
                    axis.contour(
                        shown[place], [level], colors="black", linewidths=0.7, linestyles=dash
                    )
        if masks is not None and masks[place].any() and not masks[place].all():
            axis.contour(masks[place], [0.5], colors="white", linewidths=0.8)
        if titles:
            axis.set_title(titles[place], fontsize=10)
    bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.01, aspect=30)
    bar.set_ticks([-1, 0, 1] if signed else [0, 1])
    most = "most" if each else "most\nof all"
    bar.set_ticklabels(["against", "0", "for"] if signed else ["0", most])
    bar.outline.set_visible(False)
    return figure
