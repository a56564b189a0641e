"""Black bars and frames around a photograph are padding, not the ground of a cut-out."""

import numpy as np
import pytest

from helpers.cells.segmentation.segment import dice, otsu_nucleus, segment_cell, segment_field
from tests.unit import simulated_smears

SIDES = {
    "a thin frame": ((1, 1), (1, 1)),
    "a thick frame": ((15, 15), (15, 15)),
    "a bar": ((0, 0), (10, 0)),
    "a letter box": ((30, 30), (0, 0)),
    "one row": ((0, 1), (0, 0)),
}


@pytest.fixture(scope="module")
def smear():
    return simulated_smears.draw(2003)


@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
@pytest.mark.parametrize("black", [0, 9])
@pytest.mark.parametrize("segment", [segment_cell, segment_field])
def test_padding_changes_nothing(smear, sides, black, segment):
    plain, padded = smear.image, np.pad(smear.image, (*sides, (0, 0)), constant_values=black)
    expected, found = segment(plain), segment(padded)
    assert found.nucleus.shape == padded.shape[:2]
    for name in ("nucleus", "cytoplasm", "nuclei", "cells"):
        whole = np.pad(getattr(expected, name), sides)
        np.testing.assert_array_equal(getattr(found, name), whole)
    np.testing.assert_array_equal(otsu_nucleus(padded), np.pad(otsu_nucleus(plain), sides))


def test_a_cut_out_in_a_frame_of_its_own_is_still_one():
    from helpers.datasets.drawn import frames as phantom

    recipe = phantom.recipe_of("smoke")
    truth = phantom.redraw(recipe, phantom.plan(recipe)["image_id"][0])
    rows, columns = (np.flatnonzero(truth.frame.any(axis=(axis, 2))) for axis in (1, 0))
    close = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    whole = segment_cell(truth.frame)
    found = segment_cell(np.pad(truth.frame[close], ((40, 3), (0, 9), (0, 0))))
    assert dice(np.pad(whole.nucleus[close], ((40, 3), (0, 9))), found.nucleus) > 0.99


def test_black_alone_is_no_padding():
    assert segment_field(np.zeros((60, 60, 3), np.uint8)).count == 0
