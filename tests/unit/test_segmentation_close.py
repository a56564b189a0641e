"""Leukocytes photographed so close that the image's border cuts them."""

import cv2
import numpy as np
import pytest

from helpers.cells.segmentation.segment import dice, segment_cell
from tests.unit import simulated_smears

SEEDS = range(6000, 6024)


def closer(smear, zoom, side=120):
    """Return image and nucleus, magnified around the middle of the image."""
    part = np.float32([[zoom, 0, (1 - zoom) * side / 2], [0, zoom, (1 - zoom) * side / 2]])
    image = cv2.warpAffine(
        smear.image, part, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return image, cv2.warpAffine(smear.nucleus.astype(np.float32), part, (side, side)) > 0.5


@pytest.mark.parametrize(("zoom", "share"), [(1.6, 0.25), (1.9, 0.35)])
def test_a_nucleus_that_the_border_cuts_is_taken_whole(zoom, share):
    """Round nuclei of up to two thirds of the image; lobes that are cut may be lost."""
    kinds = ("lymphocyte", "blast", "monocyte")
    drawn = [closer(simulated_smears.draw(seed, kind=kinds[seed % 3]), zoom) for seed in SEEDS]
    assert np.mean([nucleus.mean() for _, nucleus in drawn]) > share
    found = [dice(segment_cell(image).nucleus, nucleus) for image, nucleus in drawn]
    assert np.median(found) > 0.97
    assert np.percentile(found, 10) > 0.93
