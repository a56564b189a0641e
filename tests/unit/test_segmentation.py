import numpy as np
import pytest

from helpers import segmentation
from helpers.datasets import phantom
from helpers.segmentation import SegmentationError, dice, segment_cell


def test_dice_of_known_masks():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert dice(a, b) == 1
    a[:2], b[1:3] = True, True
    assert dice(a, b) == 0.5
    assert dice(a, ~a) == 0
    with pytest.raises(SegmentationError, match="cannot be compared"):
        dice(a, b[:2])


def test_masks_of_a_phantom_do_not_overlap():
    recipe = phantom.recipe_of("smoke")
    drawn = phantom.redraw(recipe, phantom.plan(recipe)["image_id"][0])
    found = segment_cell(drawn.frame)
    assert not (found.nucleus & found.cytoplasm).any()
    assert dice(found.nucleus, drawn.nucleus) > 0.9
    assert found.count == 1


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((50, 50), np.uint8), "RGB image of shape"),
        (np.zeros((50, 50, 4), np.uint8), "RGB image of shape"),
        (np.zeros((50, 50, 3), np.uint16), "8 bits"),
        (np.zeros((50, 50, 3), np.uint8), "holds no cell"),
        (np.full((50, 50, 3), 240, np.uint8), "holds no cell"),
        (np.zeros((4, 4, 3), np.uint8), "too small"),
        ("cell.png", "RGB image of shape"),
    ],
)
def test_what_is_no_image_of_a_cell_is_told_in_a_sentence(image, told):
    with pytest.raises(SegmentationError, match=told):
        segmentation.segment_cell(image)
