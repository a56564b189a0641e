"""Figures in the course's one style, returned as matplotlib objects to restyle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import catalog
from helpers.predictions import metrics

#: The palette of Okabe and Ito (2008), which colour-blind eyes tell apart.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PINK, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
PALETTE = (BLUE, VERMILLION, GREEN, PINK, ORANGE, SKY, BLACK)
#: Colours of the two classes in every figure: negative (healthy) and positive.
NEGATIVE, POSITIVE = BLUE, VERMILLION
#: For what is there to compare with: chance, a baseline, a grid.
GREY = "#767676"
#: Full page width of the book in inches; text at 10 points stays legible there.
WIDTH = 7.5
#: Each colour has its own dash, so that lines differ in grey print too.
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 1)))


def use_style() -> None:
    """Set matplotlib to the course's style: white ground, legible text, safe colours."""
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.8),
            "figure.dpi": 130,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": False,
            "grid.color": "#DDDDDD",
            "lines.linewidth": 2,
            "lines.markersize": 5,
            "axes.prop_cycle": mpl.cycler(color=PALETTE) + mpl.cycler(linestyle=DASHES),
            "image.cmap": "gray",
            "image.interpolation": "nearest",
        }
    )


def class_colours(table: pd.DataFrame) -> dict[str, str]:
    """Return a colour for each class of a catalog or of predictions, negative classes first.

    Negative classes are blue, positive ones vermillion, orange and pink; what has
    no truth in the table is grey.
    """
    _, positive = catalog.sides(table)
    names = sorted(set(table["label"]), key=lambda name: (name in positive, name))
    unknown = set(table["label"][table["positive"].isna()])
    return {
        name: GREY
        if name in unknown
        else (POSITIVE, ORANGE, PINK)[positive.index(name) % 3]
        if name in positive
        else NEGATIVE
        for name in names
    }


def image_grid(
    images: Sequence[np.ndarray] | np.ndarray,
    titles: Sequence[str] | None = None,
    columns: int = 5,
    width: float = WIDTH,
    colours: Sequence[str] | None = None,
) -> Figure:
    """Show images side by side, each under its title.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        RGB uint8, shape (h, w, 3), or one channel, shape (h, w).
    titles : sequence of str, optional
        One above each image.
    columns : int
        Images in a row.
    width : float
        Of the figure in inches.
    colours : sequence of str, optional
        One for each title.
    """
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    lines = max((str(title).count("\n") + 1 for title in titles), default=0) if titles else 0
    tall = max((image.shape[0] / image.shape[1] for image in images), default=1)
    side = width / columns
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, rows * (side * tall + 0.19 * lines + 0.02)), squeeze=False
    )
    for place, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if place >= len(images):
            continue
        axis.imshow(images[place])
        if titles:
            colour = colours[place] if colours else BLACK
            axis.set_title(titles[place], fontsize=10, color=colour)
    return figure


def learning_curves(history: pd.DataFrame | Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and accuracy against the epoch, in training (dotted) and validation.

    Parameters
    ----------
    history : pandas.DataFrame or mapping of str to pandas.DataFrame
        Columns `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`; with a
        mapping, one pair of curves for each name.
    """
    histories = {"": history} if isinstance(history, pd.DataFrame) else dict(history)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    quantities = (("loss", "loss (cross-entropy, nats)"), ("accuracy", "accuracy"))
    for axis, (column, label) in zip(axes, quantities, strict=True):
        for (name, table), colour in zip(histories.items(), PALETTE, strict=False):
            line = {"color": colour, "markerfacecolor": "white"}
            lead = f"{name}, " if name else ""
            epochs = table["epoch"]
            axis.plot(
                epochs, table[column], linestyle=":", marker="o", label=f"{lead}training", **line
            )
            axis.plot(
                epochs,
                table[f"val_{column}"],
                linestyle="-",
                marker="s",
                label=f"{lead}validation",
                **line,
            )
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(axis="y")
    axes[0].set_ylim(bottom=0)
    _legend_below(figure, axes[0])
    return figure


def confusion_matrix(
    predictions: pd.DataFrame | Mapping[str, pd.DataFrame], threshold: float = 0.5
) -> Figure:
    """Draw the confusion matrix: images by true class and predicted class.

    Parameters
    ----------
    predictions : pandas.DataFrame or mapping of str to pandas.DataFrame
        Labelled predictions; with a mapping, one matrix for each name.
    threshold : float
        From this score up an image counts as positive.
    """
    tables = {"": predictions} if isinstance(predictions, pd.DataFrame) else dict(predictions)
    figure, axes = plt.subplots(
        1, len(tables), figsize=(min(WIDTH, 3.7 * len(tables)), 3.5), squeeze=False
    )
    for axis, (name, table) in zip(axes.flat, tables.items(), strict=True):
        _one_matrix(axis, table, threshold)
        axis.set_title(name)
    return figure


def roc_curves(predictions: pd.DataFrame | Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the ROC curve of each named table of predictions, with its AUC in the legend.

    A table of one class has no curve; the legend says so.
    """
    tables = {"": predictions} if isinstance(predictions, pd.DataFrame) else dict(predictions)
    figure, axis = plt.subplots(figsize=(5.2, 4.6))
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="guessing, AUC 0.5")
    for place, (name, table) in enumerate(tables.items()):
        lead = f"{name}, " if name else ""
        style = {"color": PALETTE[place % 7], "linestyle": DASHES[place % 7]}
        area = metrics.auc(table)
        if np.isnan(area):
            axis.plot([], [], label=f"{lead}one class only: no curve", **style)
            continue
        axis.plot(*_roc_points(table), label=f"{lead}AUC {area:.3f}", **style)
    axis.set(
        xlabel="1 - specificity (share of negatives called positive)",
        ylabel="sensitivity (share of positives found)",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        aspect="equal",
    )
    axis.legend(loc="lower right")
    return figure


def _roc_points(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.metrics import roc_curve

    missed, found, _ = roc_curve(catalog.target(table), table["score"])
    return missed, found


def _one_matrix(axis: Axes, table: pd.DataFrame, threshold: float) -> None:
    counts = metrics.confusion_counts(table, threshold)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = catalog.class_names(table)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            axis.text(
                column,
                row,
                f"{counts[row, column]}\n{shares[row, column]:.0%}",
                ha="center",
                va="center",
                fontsize=12,
                color="white" if shares[row, column] > 0.68 else "black",
            )
    axis.set(xticks=(0, 1), yticks=(0, 1), xlabel="predicted class", ylabel="true class")
    axis.set_xticklabels(names)
    axis.set_yticklabels(names, rotation=90, va="center")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _legend_below(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
