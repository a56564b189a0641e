"""Nuclei in fields whose truth is known: SN-AM-like phantoms, with plasma cells among them."""

import cv2
import numpy as np
import pytest

from helpers.cells.segmentation.segment import dice, segment_cell, segment_field
from helpers.datasets.drawn import fields as phantom_fields

FEW = phantom_fields.Recipe(3, 5, 49, 0.25)


@pytest.fixture(scope="module")
def fields():
    """Drawn fields, and what was found in each."""
    drawn = [phantom_fields.redraw(FEW, name) for name in phantom_fields.plan(FEW)["name"]]
    return drawn, [segment_field(field.image) for field in drawn]


def test_nuclei_of_phantom_fields(fields):
    fields, found = fields
    similar = [dice(f.nucleus, t.nuclei > 0) for f, t in zip(found, fields, strict=True)]
    assert np.mean(similar) > 0.98
    assert min(similar) > 0.95
    for segmented, field in zip(found, fields, strict=True):
        assert abs(segmented.count - len(field.table)) <= 1


def test_deep_blue_cytoplasm_is_not_the_nucleus_wherever_that_lies(fields):
    """The nucleus of a plasma cell lies at the edge of a cytoplasm nearly as dark as itself."""
    pairs = [(d, f) for d, f in zip(*fields, strict=True) if (d.table["label"] == "mm").all()]
    blue = np.concatenate([(drawn.cells > 0) & (drawn.nuclei == 0) for drawn, _ in pairs])
    called = np.concatenate([found.nucleus for _, found in pairs])
    assert (blue & called).sum() < 0.04 * blue.sum()


def test_a_dark_cell_with_its_nucleus_at_the_edge():
    image = np.full((120, 120, 3), (238, 234, 228), np.uint8)
    cv2.circle(image, (60, 60), 36, (118, 112, 190), -1)
    cv2.circle(image, (46, 60), 20, (60, 25, 120), -1)
    truth = np.zeros((120, 120), np.uint8)
    cv2.circle(truth, (46, 60), 20, 1, -1)
    image = cv2.GaussianBlur(image, (0, 0), 0.8)
    assert dice(segment_cell(image).nucleus, truth > 0) > 0.95
    assert dice(segment_field(image).nucleus, truth > 0) > 0.95


def test_a_nucleus_beside_a_clump_of_many_is_no_speck():
    image = np.full((260, 320, 3), (238, 234, 228), np.uint8)
    middles = [(30 + 29 * i, 60) for i in range(10)]
    for x, y in [*middles, (260, 200)]:
        cv2.circle(image, (x, y), 16, (92, 48, 140), -1)
    found = segment_field(cv2.GaussianBlur(image, (0, 0), 0.8))
    assert found.nuclei[200, 260]
    assert found.count == 11


def test_cells_of_phantom_fields_end_where_the_glass_begins(fields):
    similar = [dice(f.cells > 0, t.cells > 0) for t, f in zip(*fields, strict=True)]
    assert np.mean(similar) > 0.975
    assert min(similar) > 0.95


def test_cytoplasm_of_phantom_fields(fields):
    """A rim of one or two pixels leaves no more than a quarter of a pixel to either outline."""
    similar = [
        dice(f.cytoplasm, (t.cells > 0) & (t.nuclei == 0)) for t, f in zip(*fields, strict=True)
    ]
    assert np.mean(similar) > 0.9
    assert min(similar) > 0.83
    plasma = [
        s for s, t in zip(similar, fields[0], strict=True) if (t.table["label"] == "mm").all()
    ]
    assert min(plasma) > 0.9


def test_a_blue_rim_as_dark_as_the_nucleus_is_none_of_it():
    image = np.full((120, 160, 3), (238, 234, 228), np.uint8)
    cv2.circle(image, (80, 60), 26, (108, 122, 196), -1)
    cv2.circle(image, (82, 60), 22, (131, 95, 172), -1)
    truth = np.zeros((2, 120, 160), np.uint8)
    cv2.circle(truth[0], (80, 60), 26, 1, -1)
    cv2.circle(truth[1], (82, 60), 22, 1, -1)
    found = segment_field(cv2.GaussianBlur(image, (0, 0), 0.8))
    assert dice(found.nucleus, truth[1] > 0) > 0.97
    assert dice(found.cells > 0, truth[0] > 0) > 0.97


def test_the_shade_of_a_fields_corner_is_no_cytoplasm():
    shade = np.linspace(1, 0.8, 240)[None, :, None]
    image = np.full((200, 240, 3), (238, 234, 228), np.float64)
    cv2.circle(image, (190, 100), 22, (110, 70, 165), -1)
    image = cv2.GaussianBlur((image * shade).astype(np.uint8), (0, 0), 0.8)
    truth = np.zeros((200, 240), np.uint8)
    cv2.circle(truth, (190, 100), 22, 1, -1)
    assert dice(segment_field(image).cells > 0, truth > 0) > 0.9


def test_a_cell_alone_keeps_the_cytoplasm_far_from_its_nucleus():
    """Others lie near that look the same: they are no reason to take it for a red cell."""
    image = np.full((160, 320, 3), (238, 234, 228), np.uint8)
    truth = np.zeros((160, 320), np.uint8)
    for x, y in ((60, 80), (160, 50), (260, 100)):
        cv2.circle(image, (x, y), 36, (146, 142, 204), -1)
        cv2.circle(truth, (x, y), 36, 1, -1)
        cv2.circle(image, (x - 12, y), 21, (92, 48, 140), -1)
    found = segment_field(cv2.GaussianBlur(image, (0, 0), 0.8))
    assert dice(found.cells > 0, truth > 0) > 0.97
