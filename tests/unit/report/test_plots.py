"""Figures are matplotlib objects that say what they show."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from helpers.report import plots

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        plots.use_style()
        yield
    mpl.pyplot.close("all")


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3 > 0
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(60)],
            "subject": [f"s{k // 10}" for k in range(60)],
            "label": np.where(truth, "all", "hem"),
            "positive": truth,
            "split": "test",
            "score": np.clip(0.3 * truth + rng.random(60) * 0.7, 0, 1),
        }
    )


def luminance(colour):
    red, green, blue = mpl.colors.to_rgb(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_classes_keep_their_colours():
    two = pd.DataFrame({"label": ["tabby cat", "dog"], "positive": [1, 0]})
    assert plots.class_colours(two) == {"dog": plots.NEGATIVE, "tabby cat": plots.POSITIVE}
    assert plots.class_colours(two[1:]) == {"dog": plots.NEGATIVE}
    assert plots.class_colours(two[:1]) == {"tabby cat": plots.POSITIVE}
    labels = ["benign", "early", "pre", "pro"]
    colours = plots.class_colours(pd.DataFrame({"label": labels, "positive": [0, 1, 1, 1]}))
    assert colours["benign"] == plots.NEGATIVE
    assert len(set(colours.values())) == 4
    assert abs(luminance(plots.NEGATIVE) - luminance(plots.POSITIVE)) > 0.05


def test_lines_differ_in_dash_as_well_as_in_colour():
    cycle = list(mpl.rcParams["axes.prop_cycle"])
    assert len({str(style["linestyle"]) for style in cycle}) == len(cycle)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_grid_shows_each_image_under_its_title(count):
    images = np.zeros((count, 8, 8, 3), dtype=np.uint8)
    titles = [f"cell {k}" for k in range(count)]
    figure = plots.image_grid(images, titles, columns=4)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == titles
    assert figure.get_figwidth() <= plots.WIDTH


def test_a_grid_takes_grey_and_coloured_images_of_several_sizes():
    figure = plots.image_grid([np.zeros((8, 8)), np.zeros((4, 6, 3), dtype=np.uint8)])
    assert len([axis for axis in figure.axes if axis.images]) == 2


def test_curves_name_their_area_and_say_where_there_is_none(predictions):
    one_class = predictions[predictions["label"] == "all"]
    _, axis = mpl.pyplot.subplots()
    plots.draw_curves(axis, {"model": predictions, "half": one_class}, "roc")
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert legend[1].startswith("model, AUC 0.")
    assert legend[2] == "half, one class only: no curve"
