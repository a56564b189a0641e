"""Segmentation of real frames and fields: no truth is known, but much is implausible."""

import cv2
import numpy as np
import pytest

from helpers.cells.segmentation.segment import dice, segment_cell, segment_field
from helpers.images.loading import read_image
from tests.conftest import SHARED

pytestmark = pytest.mark.realdata


def some(pattern, count):
    paths = sorted(SHARED.glob(pattern))
    if not paths:
        pytest.skip(f"no real images: {SHARED}/{pattern} is missing")
    return paths[:: max(1, len(paths) // count)][:count]


def test_real_frames_hold_one_large_nucleus():
    ratios = []
    for path in some("cnmc/**/*.bmp", 10):
        image = read_image(path)
        found = segment_cell(image)
        lit = image.max(axis=2) > 0
        assert not (found.cells[~lit] > 0).any()
        assert found.nucleus.sum() > 0.4 * lit.sum()
        assert cv2.connectedComponents(found.nucleus.astype(np.uint8))[0] == 2
        ratios.append(found.nucleus.sum() / (found.cells > 0).sum())
    assert 0.7 < np.median(ratios) < 0.95


def test_real_fields_hold_some_leukocytes_of_one_size_and_no_red_cells():
    shares, areas = [], []
    for path in some("taleqani/Original/*/*.jpg", 4):
        image = read_image(path)
        found = segment_field(image)
        assert 1 <= found.count <= 60
        shares.append(found.nucleus.mean())
        areas += list(np.bincount(found.nuclei.ravel())[1:])
        inside, outside = image[found.nucleus].mean(0), image[found.cells == 0].mean(0)
        # green is what nuclei take most of, against what is left of blue
        assert outside[1] - inside[1] > outside[2] - inside[2] + 10
    assert 0.01 < np.median(shares) < 0.25
    assert 150 < np.median(areas) < 1200


def test_a_recoloured_field_has_the_same_nuclei():
    for path in some("taleqani/Original/*/*.jpg", 2):
        image = read_image(path)
        other = np.round(image * np.array([0.9, 0.85, 0.7])).astype(np.uint8)
        assert dice(segment_field(image).nucleus, segment_field(other).nucleus) > 0.85
