"""Drawings of networks: the residual block, the layers of ResNet50, maps of codes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from helpers.report import plots

_DARK = "#444444"
#: Heights of the input, the three convolutions and the sum in the drawing of a block.
_STOPS = (4.9, 3.9, 2.8, 1.7, 0.75)


def residual_blocks() -> Figure:
    """Draw the two kinds of residual block of ResNet50 side by side."""
    figure, axes = plt.subplots(1, 2, figsize=(plots.WIDTH, 3.6))
    _block(axes[0], "identity block", "256 maps", "")
    _block(axes[1], "projection block", "64 maps", "1 x 1, 256")
    return figure


def layer_parameters(counted: pd.DataFrame, cut: str) -> Figure:
    """Draw the parameters of the counted layers of ResNet50, with its skips as arcs.

    Parameters
    ----------
    counted : pandas.DataFrame
        One row for each counted layer, in order: `stage` and `parameters`.
    cut : str
        The stage behind which a dashed line is drawn.
    """
    counted = counted.reset_index(drop=True)
    palette = (plots.BLACK, plots.SKY, plots.BLUE, plots.ORANGE, plots.VERMILLION, plots.GREY)
    colours = dict(zip(counted["stage"].unique(), palette, strict=True))
    figure, axis = plt.subplots(figsize=(plots.WIDTH, 3.4))
    axis.bar(counted.index + 1, counted["parameters"] / 1e6, color=counted["stage"].map(colours))
    angle = np.linspace(0, np.pi, 20)
    for middle in range(3, 3 + 3 * ((len(counted) - 2) // 3), 3):
        across, down = middle - 1.5 * np.cos(angle), -0.05 - 0.28 * np.sin(angle)
        axis.plot(across, down, color="black", lw=1.2, ls="-")
    for stage, rows in counted.groupby("stage", sort=False):
        middle = rows.index[0] + 1 + (len(rows) - 1) / 2
        axis.text(middle, 2.62, f"{stage}\n{len(rows)}", ha="center", fontsize=9.5)
    end = counted.index[counted["stage"] == cut][-1] + 1.5
    axis.axvline(end, color="black", lw=1.5, ls="--", ymax=0.82)
    axis.set(xlabel="counted layer", ylabel="parameters (millions)")
    axis.set(xlim=(-1.5, len(counted) + 2.5), ylim=(-0.45, 3.1))
    return figure


def _block(axis: Axes, title: str, maps: str, projection: str) -> None:
    """Draw one block from top to bottom, with the skip on its right."""
    axis.text(1.3, 5.25, title, ha="center", fontsize=11)
    for y, text in zip(_STOPS[1:4], ("1 x 1, 64", "3 x 3, 64", "1 x 1, 256"), strict=True):
        _box(axis, 0, y, text, plots.BLUE)
    for (first, then), note in zip(pairwise(_STOPS), (maps, "ReLU", "ReLU", ""), strict=True):
        start, end = first - (0.35 if first < 4.5 else 0.1), then + (0.35 if then > 1 else 0.22)
        _arrow(axis, (0, start), (0, end))
        y = 4.8 if first > 4.5 else (first + then) / 2 - 0.02  # the input's above the skip
        axis.text(0.12, y, note, fontsize=8.5, va="center", color=_DARK)
    _arrow(axis, (0, 4.6), (2.6, 4.6), (2.6, 0.75), (0.25, 0.75))
    axis.text(2.75, 4.2, "x, by the skip", fontsize=9.5)
    if projection:
        _box(axis, 2.6, 2.8, projection, plots.VERMILLION)
    axis.text(0, 0.75, "+", ha="center", va="center", fontsize=15)
    axis.add_patch(plt.Circle((0, 0.75), 0.22, fill=False, lw=1.5))
    _arrow(axis, (0, 0.53), (0, -0.1))
    axis.text(0.12, 0.22, "ReLU, out", fontsize=8.5, color=_DARK, va="center")
    axis.text(-0.35, 0.75, "F(x) + x", ha="right", va="center", fontsize=10)
    axis.set(xlim=(-1.7, 5), ylim=(-0.15, 5.6), aspect="equal")
    axis.set_axis_off()


def _box(axis: Axes, x: float, y: float, text: str, colour: str) -> None:
    style = {"fc": "white", "ec": colour, "lw": 2, "zorder": 3}
    axis.add_patch(FancyBboxPatch((x - 0.95, y - 0.3), 1.9, 0.6, "round,pad=0.05", **style))
    axis.text(x, y, text, ha="center", va="center", fontsize=9.5, zorder=4)


def _arrow(axis: Axes, *points: tuple[float, float]) -> None:
    """Draw an arrow along a line of points."""
    for start, end in pairwise(points[:-1]):
        axis.plot(*zip(start, end, strict=True), color="black", lw=1.5, ls="-")
    head = {"arrowstyle": "-|>", "lw": 1.5, "fc": "black"}
    axis.annotate("", points[-1], points[-2], arrowprops=head)


def coloured_maps(points: np.ndarray, panels: Mapping[str, np.ndarray], most: int = 6) -> Figure:
    """Draw a map of images several times, each time coloured by something else.

    Parameters
    ----------
    points : numpy.ndarray
        Shape (n, 2): where each image stands.
    panels : mapping of str to numpy.ndarray
        By the panel's title: a name or a number for each image. Of names the `most` frequent
        ones have a colour and a marker each, the others are grey. The legend names them.
    most : int
        At most six.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(plots.WIDTH, 4), squeeze=False)
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=True):
        axis.set(title=title, xticks=[], yticks=[], aspect="equal", xlabel="map, first direction")
        if np.asarray(values).dtype.kind in "fiu":
            shown = axis.scatter(*points.T, c=values, s=9, cmap="viridis")
            # Inside the panel's own place, so that all maps have the same size and height.
            figure.colorbar(shown, cax=axis.inset_axes((0.1, -0.26, 0.8, 0.06)), location="bottom")
            continue
        names, counts = np.unique(values, return_counts=True)
        chosen = names[np.argsort(-counts, kind="stable")][:most]
        rest = ~np.isin(values, chosen)
        for number, name in enumerate(chosen):
            look = plots.style(number)
            axis.scatter(
                *points[values == name].T, s=9, color=look["color"], marker=look["marker"],
                label=plots.plain(name if len(name) < 15 else f"{name[:12]}..."),
            )  # fmt: skip
        if rest.any():
            axis.scatter(*points[rest].T, s=6, color="#CCCCCC", label="others", zorder=0)
        axis.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, markerscale=1.5, fontsize=9
        )
    axes.flat[0].set_ylabel("map, second direction")
    return figure
