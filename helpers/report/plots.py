"""Figures in the style of the course; they are matplotlib objects, so a page can change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import catalog
from helpers.base import arguments
from helpers.base.errors import ReportError
from helpers.base.files import printable
from helpers.predictions import curves, metrics

#: The palette of Okabe and Ito (2008), which colour-blind people can distinguish.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PINK, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
PALETTE = (BLUE, VERMILLION, GREEN, PINK, ORANGE, SKY, BLACK)
#: Colours of the two classes in every figure: negative (healthy) and positive.
NEGATIVE, POSITIVE = BLUE, VERMILLION
#: For references: chance, a baseline, a grid.
GREY = "#767676"
#: Full page width of the book in inches, at which text of 10 points is legible.
WIDTH = 7.5
#: Each colour has its own dash, so that lines differ in grey print as well.
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 1)))
#: Markers in the order of the palette.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Style of a reference line: chance, a mean.
REFERENCE = {"color": GREY, "linestyle": ":", "linewidth": 1.2}
_BAND = 0.16  # opacity: where two bands overlap, both are visible
_BANDS = 3  # with more curves than this, bands would hide each other


def style(index: int) -> dict[str, object]:
    """Return colour, dash and marker of line number `index`; they repeat after seven."""
    index = arguments.whole("The number of a line", index, ReportError) % len(PALETTE)
    return {"color": PALETTE[index], "linestyle": DASHES[index], "marker": MARKERS[index]}


def use_style() -> None:
    """Set the style of the course in matplotlib: white background, legible text, safe colours."""
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
    unknown = set(table["label"][catalog.truth(table["positive"]).isna()])
    return {
        name: GREY
        if name in unknown
        else (POSITIVE, ORANGE, PINK)[positive.index(name) % 3]
        if name in positive
        else NEGATIVE
        for name in names
    }


def by_name(tables: pd.DataFrame | Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables by name; a single table has the name ``""``."""
    if isinstance(tables, pd.DataFrame):
        return {"": tables}
    if not isinstance(tables, Mapping) or not tables:
        raise ReportError(
            f"A figure needs a table or a dict of tables, not {arguments.shown(tables)}."
        )
    return dict(tables)


def plain(text: object) -> str:
    """Return text of a user for a figure: one line, in which ``$`` does not begin mathematics."""
    return " ".join(printable(text).replace("\0", " ").split()).replace("$", r"\$")


def columns_of(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a table that is to be drawn, as numbers; NaN where one is missing.

    Raises
    ------
    ReportError
        When it is no table, a column is missing or holds something else than numbers.
    """
    arguments.table(table, names, "table of the figure", ReportError)
    numbers = {
        name: arguments.array(f"The column {name!r}", table[name], ReportError, missing=True)
        for name in names
    }
    return pd.DataFrame(numbers, index=table.index)


def image_grid(
    images: Sequence[np.ndarray] | np.ndarray,
    titles: Sequence[str] | None = None,
    columns: int = 5,
    width: float = WIDTH,
    colours: Sequence[str] | None = None,
) -> Figure:
    """Draw images side by side, each below its title.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        RGB uint8, shape (h, w, 3), or one channel, shape (h, w).
    titles : sequence of str, optional
        One for each image.
    columns : int
        Images in a row.
    width : float
        Of the figure in inches.
    colours : sequence of str, optional
        One for each title.
    """
    images = _drawable(images)
    columns = max(1, min(arguments.whole("columns", columns, ReportError, 1), len(images)))
    arguments.number("The width in inches", width, ReportError, 1, 100)
    titles, colours = (
        [] if texts is None else arguments.names(f"The {what}", texts, ReportError)
        for what, texts in (("titles", titles), ("colours", colours))
    )
    if not all(len(texts) in (0, len(images)) for texts in (titles, colours)):
        raise ReportError(
            f"There are {len(images)} images, but {len(titles)} titles and {len(colours)} colours."
        )
    if wrong := [colour for colour in colours if not mpl.colors.is_color_like(colour)]:
        raise ReportError(f"Matplotlib knows no colour {wrong[0]!r}.")
    rows = max(1, -(-len(images) // columns))
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    tall = max((image.shape[0] / image.shape[1] for image in images), default=1)
    side = width / columns
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, rows * (side * tall + 0.19 * lines + 0.02)), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image)
        if titles:
            colour = colours[index] if colours else BLACK
            axis.set_title(titles[index], fontsize=10, color=colour)
    return figure


def draw_curves(
    axis: Axes,
    predictions: pd.DataFrame | Mapping[str, pd.DataFrame],
    kind: curves.Kind,
    resamples: int = 0,
    seed: int = 24,
) -> None:
    """Draw the curve of each named table of predictions, with the area below it in the legend.

    With `resamples` (see :func:`helpers.predictions.curves.band`), areas have intervals,
    and curves have bands unless there are more than three.
    """
    tables = by_name(predictions)
    arguments.whole("The number of resamples", resamples, ReportError)
    if kind == "roc":
        metric, short, corner = "auc", "AUC", "lower right"
        axis.plot([0, 1], [0, 1], label="guessing, AUC 0.5", **REFERENCE)
        axis.set_xlabel("1 - specificity (share of negatives called positive)")
        axis.set_ylabel("sensitivity (share of positives found)")
    else:
        metric, short, corner = "average_precision", "AP", "lower left"
        axis.set_xlabel("sensitivity or recall (share of positives found)")
        axis.set_ylabel("precision (share of positives among those called so)")
    for index, (name, table) in enumerate(tables.items()):
        line = style(index) | {"marker": ""}
        lead, limits = f"{plain(name)}, " if name else "", ""
        area = metrics.METRICS[metric](table)
        if catalog.target(table).min() == catalog.target(table).max():
            axis.plot([], [], label=f"{lead}one class only: no curve", **line)
            continue
        if resamples:
            low, high = metrics.bootstrap_interval(table, metric, resamples, seed=seed)
            limits = "" if np.isnan(low) else f" ({low:.3f} to {high:.3f})"
        if resamples and len(tables) <= _BANDS:
            heights = curves.band(table, kind, resamples, seed=seed)
            draw_band(axis, heights["x"], heights["low"], heights["high"], line)
        points = curves.roc(table) if kind == "roc" else curves.precision_recall(table)
        _, x, y = points.columns
        axis.plot(points[x], points[y], label=f"{lead}{short} {area:.3f}{limits}", **line)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if resamples:  # bands fill the corners, so the legend is above
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)
    else:
        axis.legend(loc=corner)


def draw_band(axis: Axes, x: pd.Series, low: pd.Series, high: pd.Series, line: dict) -> None:
    """Draw a band around a line of style `line`, with thin edges."""
    axis.fill_between(x, low, high, color=line["color"], alpha=_BAND, linewidth=0)
    for edge in (low, high):
        look = {"color": line["color"], "linestyle": line["linestyle"], "linewidth": 0.7}
        axis.plot(x, edge, **look)


def _drawable(images: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Return the images of a figure as a list of arrays."""
    several = isinstance(images, Sequence) or (isinstance(images, np.ndarray) and images.ndim)
    if not several or isinstance(images, str) or not len(images):
        raise ReportError(f"A figure needs a list of images, not {arguments.shown(images)}.")
    for image in images:
        shape, kind = np.shape(image), getattr(image, "dtype", np.dtype(object)).kind
        if kind not in "buif" or not (len(shape) == 2 or shape[2:] in ((3,), (4,))) or 0 in shape:
            raise ReportError(
                f"An image must be numbers of shape (h, w) or (h, w, 3), not {shape} of {kind!r}."
            )
    return list(images)
