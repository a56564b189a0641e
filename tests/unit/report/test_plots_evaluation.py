"""Figures that judge models: matplotlib objects that can be told apart without colour."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.base.errors import ReportError
from helpers.predictions import metrics, thresholds
from helpers.report import plots
from helpers.report import plots_evaluation as pe
from tests.unit.evaluation_tables import study, table
from tests.unit.strange import predictions

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        plots.use_style()
        yield
    mpl.pyplot.close("all")


@pytest.fixture(scope="module")
def models():
    return {f"model {k}": one for k, one in enumerate(study(0, subjects=20, models=7))}


def look(handle):
    """Return what of a line is left in grey print: dash and marker, filled or not."""
    line = handle[0] if isinstance(handle, tuple) else handle
    grey = mpl.colors.rgb_to_hsv(mpl.colors.to_rgb(line.get_markerfacecolor()))[1] < 0.05
    return (
        str(getattr(line, "_unscaled_dash_pattern", line.get_linestyle())),
        line.get_marker(),
        bool(grey),
    )


def legend_handles(figure):
    """Return the handles and labels of every legend of the figure."""
    handles, labels = [], []
    for axis in figure.axes:
        more, names = axis.get_legend_handles_labels()
        handles += more
        labels += names
    return handles, labels


FIGURES = {
    "roc": lambda tables: pe.roc_bands(tables, resamples=20),
    "precision_recall": lambda tables: pe.precision_recall_bands(tables, resamples=20),
    "reliability": lambda tables: pe.reliability(tables, resamples=20),
    "forest": lambda tables: pe.forest(
        pd.DataFrame(
            [
                (name, where, metrics.auc(one), *metrics.bootstrap_interval(one, "auc", 20))
                for name, one in list(tables.items())[:3]
                for where in tables
            ],
            columns=["model", "split", "value", "low", "high"],
        ),
        "AUC",
        group="split",
    ),
    "subjects": lambda tables: pe.per_subject(next(iter(tables.values()))),
    "prevalence": lambda tables: pe.prevalence(
        thresholds.by_prevalence(next(iter(tables.values())), resamples=20), mark=0.4
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FIGURES)
def test_figures_can_be_read_in_grey(kind, models):
    """Seven lines of a figure differ by dash, marker or filling, whatever their colours."""
    handles, labels = legend_handles(FIGURES[kind](models))
    assert len(handles) == len(labels) >= 2
    looks = [look(handle) for handle in handles]
    for (one, first), (other, second) in itertools.combinations(zip(labels, looks, strict=True), 2):
        assert first != second, (one, other)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FIGURES)
def test_figures_say_what_they_show_and_keep_it_inside(kind, models):
    figure = FIGURES[kind](models)
    assert isinstance(figure, Figure)
    assert all(axis.get_xlabel() or axis is figure.axes[0] for axis in figure.axes)
    assert figure.axes[-1].get_xlabel()
    figure.canvas.draw()
    drawn = figure.get_tightbbox()  # in inches
    width, height = figure.get_size_inches()
    assert min(drawn.x0, drawn.y0) > -0.05
    assert drawn.x1 < width + 0.05
    assert drawn.y1 < height + 0.05


def test_a_figure_can_be_restyled(models):
    figure = pe.roc_bands(models["model 0"], resamples=20)
    axis = figure.axes[0]
    axis.set_title("mine")
    axis.lines[-1].set_color("black")
    assert axis.get_title() == "mine"


def test_the_seven_colours_are_the_palettes_and_turn_round():
    assert [pe.style(k)["color"] for k in range(7)] == list(plots.PALETTE)
    assert pe.style(7) == pe.style(0)
    assert len({str(pe.style(k)["linestyle"]) for k in range(7)}) == 7
    assert len({pe.style(k)["marker"] for k in range(7)}) == 7


def test_legends_tell_the_figures_with_their_intervals(models):
    one = models["model 0"]
    value, (low, high) = metrics.auc(one), metrics.bootstrap_interval(one, "auc", 50)
    _, labels = legend_handles(pe.roc_bands({"net": one}, resamples=50))
    assert f"net, AUC {value:.3f} ({low:.3f} to {high:.3f})" in labels
    _, labels = legend_handles(pe.precision_recall_bands(one, resamples=50))
    assert any(label.startswith(f"AP {metrics.average_precision(one):.3f} (") for label in labels)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [pe.roc_bands, pe.precision_recall_bands])
def test_bands_are_drawn_where_they_can_be_told_apart(draw, models):
    for count, bands in ((2, 2), (7, 0)):
        figure = draw(dict(list(models.items())[:count]), resamples=10)
        assert len(figure.axes[0].collections) == bands


@pytest.mark.parametrize("draw", [pe.roc_bands, pe.precision_recall_bands])
def test_one_class_has_no_curve_and_one_subject_no_band(draw):
    figure = draw(
        {"half": table([1, 1], [0.3, 0.9]), "lone": table([0, 1], [0.3, 0.9], ["s", "s"])}
    )
    _, labels = legend_handles(figure)
    assert "half, one class only: no curve" in labels
    assert any(label.startswith("lone, A") and "(" not in label for label in labels)


def test_reliability_shows_share_over_score():
    predictions = table([1, 0, 1, 1], [0.25, 0.35, 0.85, 0.95], list("abcd"))
    figure = pe.reliability(predictions, count=5, resamples=20)
    drawn = figure.axes[0].containers[0].lines[0]
    assert drawn.get_xdata().tolist() == pytest.approx([0.3, 0.9])
    assert drawn.get_ydata().tolist() == [0.5, 1]
    assert "ECE 0.150" in legend_handles(figure)[1]


def test_a_forest_has_a_row_a_name_and_a_bar_where_there_is_an_interval():
    rows = pd.DataFrame(
        {"model": ["b", "a"], "value": [0.8, 0.9], "low": [0.7, np.nan], "high": [0.85, np.nan]}
    )
    axis = pe.forest(rows, "accuracy", reference=0.5).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["b", "a"]
    assert axis.get_xlabel() == "accuracy"
    (bars,) = axis.containers[0].lines[2]
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [
        pytest.approx([0.7, 0.85]),
        pytest.approx([0.9, 0.9]),
    ]
    assert axis.yaxis_inverted()  # the first row on top


@pytest.mark.parametrize("rows", [pd.DataFrame({"model": ["a"], "value": [1]}), pd.DataFrame()])
def test_a_forest_of_nothing_is_refused(rows):
    with pytest.raises(ReportError, match=r"needs rows and the columns \['model', 'value'"):
        pe.forest(rows, "accuracy")


def test_subjects_stand_from_worst_to_best_by_class():
    predictions = table([1, 1, 1, 1, 0, 0], [0.9, 0.1, 0.9, 0.9, 0.1, 0.2], list("aabbcd"))
    axis = pe.per_subject(predictions).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["c", "d", "a", "b"]
    _, labels = legend_handles(axis.figure)
    assert {"hem (2 subjects)", "all (2 subjects)", "all images 0.833"} <= set(labels)
    assert not pe.per_subject(predictions, names=3).axes[0].get_xticklabels()
    mixed = predictions.assign(subject="one")
    assert "all/hem (1 subjects)" in legend_handles(pe.per_subject(mixed))[1]
    blocks = pe.per_subject(mixed, who="blocks of files")  # where nobody knows the patients
    assert "all/hem (1 blocks of files)" in legend_handles(blocks)[1]
    assert blocks.axes[0].get_xlabel() == "blocks of files"


@pytest.mark.slow
@pytest.mark.parametrize("evil", ["$\\frac$", "a$b$c", "x\n$y", "\udc80", "z\0"])
def test_text_of_a_user_is_drawn_as_it_is(evil, recwarn):
    """A dollar begins mathematics, and a byte that is no UTF-8 has no letter."""
    table = predictions()
    table.loc[table["label"] == "hem", "label"] = evil
    table["subject"] = evil + table["subject"]
    for figure in (
        pe.roc_bands({evil: table}, resamples=20),
        pe.reliability({evil: table}, resamples=20),
        pe.per_subject(table),
        pe.forest(pd.DataFrame({"model": [evil], "value": 0.5, "low": 0.4, "high": 0.6}), "AUC"),
    ):
        figure.canvas.draw()
    assert not recwarn.list


def test_a_score_on_an_edge_is_drawn_in_the_bin_that_begins_there():
    table = predictions().assign(score=0.15)
    bars = pe.reliability(table, resamples=20).axes[1].patches[0].get_data().values
    assert bars.nonzero()[0].tolist() == [3]
