"""Figures of the evaluation of models: curves with bands, reliability, intervals.

Lines differ in dash and marker as well as in colour, so that figures can be read
in grey print. Each function returns a matplotlib figure, which a page can change.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import catalog
from helpers.base import arguments
from helpers.base.errors import ReportError
from helpers.predictions import calibration, metrics
from helpers.predictions.alignment import checked
from helpers.predictions.table import check
from helpers.report import plots
from helpers.report.plots import REFERENCE, WIDTH, draw_band, draw_curves, style


def roc_bands(
    predictions: pd.DataFrame | Mapping[str, pd.DataFrame], resamples: int = 1000, seed: int = 24
) -> Figure:
    """Draw ROC curves with their bands over subjects, and AUC with its interval in the legend.

    Parameters
    ----------
    predictions : pandas.DataFrame or mapping of str to pandas.DataFrame
        Labelled predictions; with a mapping, one curve for each name. A table
        of one class has no curve; the legend says so. With more than three
        curves there are no bands.
    resamples, seed
        As in :func:`helpers.predictions.curves.band`.
    """
    tables = checked(plots.by_name(predictions))
    figure, axis = plt.subplots(figsize=(5.6, 5.2))
    draw_curves(axis, tables, "roc", resamples, seed)
    return figure


def precision_recall_bands(
    predictions: pd.DataFrame | Mapping[str, pd.DataFrame], resamples: int = 1000, seed: int = 24
) -> Figure:
    """Draw precision against sensitivity with bands over subjects, and average precision.

    Parameters are those of :func:`roc_bands`. A dotted line marks guessing: the
    share of positive images in the first table that has both classes.
    """
    tables = checked(plots.by_name(predictions))
    figure, axis = plt.subplots(figsize=(5.6, 5.2))
    for table in tables.values():
        share = float(catalog.target(table).mean())
        if 0 < share < 1:
            axis.axhline(share, label=f"guessing, AP {share:.3f}", **REFERENCE)
            break
    draw_curves(axis, tables, "precision_recall", resamples, seed)
    return figure


def reliability(
    predictions: pd.DataFrame | Mapping[str, pd.DataFrame],
    count: int = 10,
    resamples: int = 1000,
    seed: int = 24,
) -> Figure:
    """Draw the share of positives against the mean score of each bin, and a histogram of scores.

    Parameters
    ----------
    predictions : pandas.DataFrame or mapping of str to pandas.DataFrame
        Labelled predictions; with a mapping, one line for each name.
    count, resamples, seed
        As in :func:`helpers.predictions.calibration.reliability`; error bars are the
        intervals over subjects.
    """
    tables = checked(plots.by_name(predictions))
    figure, (axis, below) = plt.subplots(
        2, 1, figsize=(5.6, 6.2), sharex=True, height_ratios=(3.4, 1)
    )
    axis.plot([0, 1], [0, 1], label="as the score says", **REFERENCE)
    for index, (name, table) in enumerate(tables.items()):
        bins = calibration.reliability(table, count, resamples, seed)
        error = calibration.ece(table, count)
        line = style(index)
        # Shifted, so that error bars at the same score are not on top of each other.
        shift = 0.006 * (index - (len(tables) - 1) / 2)
        points = axis.errorbar(
            bins["score"] + shift,
            bins["share"],
            yerr=_reach(bins, "share"),
            label=f"{plots.plain(name)}, ECE {error:.3f}" if name else f"ECE {error:.3f}",
            elinewidth=1,
            capsize=2,
            **line,
        )
        points.lines[0].set_markerfacecolor("white")
        below.stairs(
            np.bincount(calibration.bins_of(table["score"].to_numpy(), 20), minlength=20),
            np.linspace(0, 1, 21),
            color=line["color"],
            linestyle=line["linestyle"],
            linewidth=1.5,
        )
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share of positives in the bin")
    axis.legend(loc="upper left", title=f"{count} bins of equal width")
    below.set(xlabel="score (mean of the bin)", ylabel="images")
    return figure


def forest(
    table: pd.DataFrame,
    xlabel: str,
    group: str | None = None,
    reference: float | None = None,
    name: str = "model",
) -> Figure:
    """Draw values with their intervals below each other, the first row on top.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `value`, `low`, `high` and the one that names the rows. Rows of
        the same name are drawn together. A row without an interval (NaN) is a point.
    xlabel : str
        What the values are.
    group : str, optional
        Column that distinguishes the rows of one name (``"split"`` for example): each of
        its values has its own colour and marker.
    reference : float, optional
        Where to draw a vertical line: chance, or no difference.
    name : str
        Column with the names of the rows.

    Raises
    ------
    ReportError
        When a column is missing or there is no row.
    """
    labels = [name] if group is None else [name, group]
    arguments.names("The columns that name rows", labels, ReportError)
    arguments.string("The label of the axis", xlabel, ReportError)
    if reference is not None:
        arguments.number("The reference", reference, ReportError)
    wanted = [name, "value", "low", "high", *labels[1:]]
    is_table = isinstance(table, pd.DataFrame)
    if not is_table or table.empty or not set(wanted) <= set(table.columns):
        got = list(table.columns) if is_table else arguments.shown(table)
        raise ReportError(f"A forest plot needs rows and the columns {wanted}; got {got}.")
    arguments.table(table, wanted, "table of the figure", ReportError)
    table = plots.columns_of(table, wanted[1:4]).assign(
        **{label: [plots.plain(text) for text in table[label]] for label in labels}
    )
    names = list(dict.fromkeys(table[name]))
    kinds = list(dict.fromkeys(table[group])) if group else [None]
    figure, axis = plt.subplots(
        figsize=(WIDTH, 1.1 + len(names) * max(0.32, 0.2 * len(kinds)) + 0.2 * bool(group))
    )
    if reference is not None:
        axis.axvline(reference, **REFERENCE)
    for index, kind in enumerate(kinds):
        rows = table if kind is None else table[table[group] == kind]
        height = rows[name].map(names.index) + (index - (len(kinds) - 1) / 2) * 0.6 / len(kinds)
        axis.errorbar(
            rows["value"],
            height,
            xerr=_reach(rows, "value"),
            markersize=6,
            capsize=3,
            elinewidth=1.6,
            label=kind,
            **_points(index, style(index)["color"]),
        )
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=xlabel, ylim=(len(names) - 0.5, -0.5))
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    if group:
        figure.legend(loc="outside upper center", ncols=min(len(kinds), 4))
    return figure


def per_subject(predictions: pd.DataFrame, names: int = 60, who: str = "subjects") -> Figure:
    """Draw each subject's accuracy with its interval, sorted within each class.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Labelled predictions.
    names : int
        With more subjects than this, the axis has no names.
    who : str
        What the subjects are: ``"blocks of files"`` if the patients are unknown.
    """
    predictions = check(predictions)
    arguments.whole("The number of names", names, ReportError)
    arguments.string("The word for subjects", who, ReportError)
    table = metrics.per_subject(predictions)
    order = catalog.classes(predictions)
    classes = sorted(set(table["label"]))  # with ``all/hem`` for a subject of both classes
    classes.sort(key=lambda name: order.index(name) if name in order else len(order))
    colours = plots.class_colours(predictions)
    figure, axis = plt.subplots(figsize=(WIDTH, 3.9))
    start, ticks = 0, []
    for index, name in enumerate(classes):
        rows = table[table["label"] == name].sort_values(["accuracy", "subject"])
        x = np.arange(start, start + len(rows))
        axis.errorbar(
            x,
            rows["accuracy"],
            yerr=_reach(rows, "accuracy"),
            elinewidth=1,
            label=f"{plots.plain(name)} ({len(rows)} {who})",
            **_points(index, colours.get(name, plots.BLACK)),
        )
        ticks += list(zip(x, map(plots.plain, rows["subject"]), strict=True))
        start += len(rows) + 1
    mean = metrics.accuracy(predictions)
    axis.axhline(mean, label=f"all images {mean:.3f}", **REFERENCE)
    shown = ticks if len(ticks) <= names else []
    axis.set(xlabel=who, ylabel="accuracy", ylim=(-0.03, 1.03))
    axis.set_xticks([x for x, _ in shown], [name for _, name in shown], rotation=90, fontsize=8)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def prevalence(table: pd.DataFrame, mark: float | None = None) -> Figure:
    """Draw predictive values against prevalence, with bands.

    `table` is that of :func:`helpers.predictions.thresholds.by_prevalence`; `mark` is a
    prevalence at which a vertical line is drawn, for example that of the data set.
    """
    ends = [f"{name}{end}" for name in ("ppv", "npv") for end in ("", "_low", "_high")]
    table = plots.columns_of(table, ["prevalence", *ends])
    if mark is not None:
        arguments.number("The marked prevalence", mark, ReportError, 0, 1)
    figure, axis = plt.subplots(figsize=(6.4, 4.2))
    for index, name, label in (
        (1, "ppv", "positive predictive value: the share of ill among those called positive"),
        (0, "npv", "negative predictive value: the share of well among those called negative"),
    ):
        line = style(index)
        axis.plot(table["prevalence"], table[name], label=label, markersize=4, **line)
        draw_band(axis, table["prevalence"], table[f"{name}_low"], table[f"{name}_high"], line)
    if mark is not None:
        axis.axvline(mark, label="share of positive images in the data", **REFERENCE)
    axis.set(xscale="log", ylim=(-0.02, 1.02), ylabel="predictive value")
    axis.set_xlabel("prevalence (share of people who are ill)")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=1)
    return figure


def _points(index: int, color: object) -> dict[str, object]:
    """Return the style of points without a line; every second kind of point is hollow."""
    face = "white" if index % 2 else color
    return style(index) | {"linestyle": "none", "color": color, "markerfacecolor": face}


def _reach(rows: pd.DataFrame, value: str) -> np.ndarray:
    """Return the distances of both limits from the value, (2, n); 0 without an interval."""
    ends = rows[["low", "high"]].to_numpy(dtype=float).T
    return np.nan_to_num(np.abs(ends - rows[value].to_numpy(dtype=float)))
