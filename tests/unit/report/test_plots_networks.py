"""The drawings of networks and of their codes show what their tables say."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers.report import plots_networks


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_both_kinds_of_block_are_drawn():
    figure = plots_networks.residual_blocks()
    texts = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert [found.count("1 x 1, 256") for found in texts] == [1, 2]  # the second has a projection
    assert all("F(x) + x" in found for found in texts)


def test_each_layer_is_a_bar_and_the_cut_stands_behind_its_stage():
    stages = ["conv1", *["conv2"] * 3, *["conv3"] * 3, *["conv4"] * 3, *["conv5"] * 3, "dense"]
    counted = pd.DataFrame({"stage": stages, "parameters": range(1000, 1014)})
    (axis,) = plots_networks.layer_parameters(counted, cut="conv4").axes
    assert [round(bar.get_height() * 1e6) for bar in axis.patches] == list(range(1000, 1014))
    *arcs, line = axis.lines
    assert len(arcs) == 4
    assert line.get_xdata()[0] == 10.5
    assert "conv4\n3" in [text.get_text() for text in axis.texts]


def test_maps_name_all_their_colours_and_stand_side_by_side():
    rng = np.random.default_rng(0)
    points, people = rng.normal(size=(60, 2)), rng.integers(0, 9, 60).astype(str)
    figure = plots_networks.coloured_maps(
        points, {"class": np.repeat(["all", "hem"], 30), "subject": people, "stain": points[:, 0]}
    )
    figure.canvas.draw()
    told = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in figure.axes[:2]]
    assert told[0] == ["all", "hem"]
    assert len(told[1]) == 7
    assert told[1][-1] == "others"
    edges = [axis.get_window_extent().bounds[1::2] for axis in figure.axes[:3]]
    np.testing.assert_allclose(edges, [edges[0]] * 3, atol=1)
