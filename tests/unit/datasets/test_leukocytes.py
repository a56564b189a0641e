"""Phantom leukocytes: deterministic, true to what an atlas says of the five kinds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import catalog as catalogs
from helpers.base.errors import DatasetError
from helpers.datasets.drawn import leukocytes
from helpers.datasets.drawn.leukocyte_cell import RADII


@pytest.fixture(scope="module")
def cells(leukocyte_cells):
    return leukocyte_cells


def of(cells, kind, array):
    """Return the rows of an array that belong to a kind."""
    return array[(cells.catalog["label"] == kind).to_numpy()]


@pytest.mark.slow
def test_a_catalog_with_every_kind_in_every_subject(cells):
    catalogs.check(cells.catalog)
    table = cells.catalog.groupby(["subject", "label"]).size().unstack()
    assert set(table.columns) == set(leukocytes.KINDS)
    assert (table == 4).all().all()
    assert cells.catalog["sha256"].is_unique
    assert cells.images.shape == (80, leukocytes.SIDE, leukocytes.SIDE, 3)
    assert cells.images.dtype == np.uint8
    assert cells.nuclei.dtype == cells.cytoplasms.dtype == bool


@pytest.mark.slow
def test_same_seed_same_pixels_and_other_seed_other_pixels():
    one, again = (leukocytes.make(2, 2, seed=5) for _ in range(2))
    other = leukocytes.make(2, 2, seed=6)
    for name in ("images", "nuclei", "cytoplasms"):
        assert np.array_equal(getattr(one, name), getattr(again, name))
    assert one.catalog.equals(again.catalog)
    assert not np.array_equal(one.images, other.images)
    # A cell does not depend on how many others are drawn, or of which kinds.
    part = leukocytes.make(1, 2, seed=5, kinds=["monocyte"])
    assert np.array_equal(part.images[0], of(one, "monocyte", one.images)[0])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.sampled_from(leukocytes.KINDS), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_masks_are_apart_whole_and_inside(kind, seed, subject):
    slide = leukocytes.styles(9, seed % 100)[f"p{subject:02d}"]
    cell = leukocytes.draw_leukocyte(kind, slide, np.random.default_rng(seed))
    assert not (cell.nucleus & cell.cytoplasm).any()
    whole = (cell.nucleus | cell.cytoplasm).astype(np.uint8)
    assert cv2.connectedComponents(whole)[0] == 2
    assert not (whole[[0, -1]].any())
    assert not (whole[:, [0, -1]].any())
    assert 0.15 < cell.nucleus.sum() / whole.sum() < 0.97
    # The ground is bright, the nucleus the darkest of all.
    tone = cell.image.mean(axis=2)
    assert tone[cell.nucleus].mean() < tone[cell.cytoplasm].mean() < 225
    assert np.percentile(tone[whole == 0], 95) > 180


@pytest.mark.slow
def test_sizes_are_those_of_the_kinds(cells):
    whole = cells.nuclei | cells.cytoplasms
    area = {kind: of(cells, kind, whole).sum(axis=(1, 2)).mean() for kind in RADII}
    assert min(area, key=area.get) == "lymphocyte"
    assert max(area, key=area.get) == "monocyte"
    share = {
        kind: (of(cells, kind, cells.nuclei).sum() / of(cells, kind, whole).sum()) for kind in RADII
    }
    assert max(share, key=share.get) == "lymphocyte"
    assert share["lymphocyte"] > 0.7 > 0.5 > share["neutrophil"]


def solidity(mask):
    """Return the area of a mask over that of its convex hull."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    return mask.sum() / max(cv2.contourArea(cv2.convexHull(points)), 1)


def test_shapes_of_the_nuclei_are_those_of_the_kinds(cells):
    found = {
        kind: np.mean([solidity(mask) for mask in of(cells, kind, cells.nuclei)]) for kind in RADII
    }
    assert found["lymphocyte"] > 0.95
    assert found["neutrophil"] < found["eosinophil"] < found["monocyte"] < found["lymphocyte"]


def test_colours_are_those_of_the_granules(cells):
    def tone(kind, channel):
        images, masks = of(cells, kind, cells.images), of(cells, kind, cells.cytoplasms)
        return images[masks][:, channel].astype(float).mean()

    redness = {kind: tone(kind, 0) - tone(kind, 2) for kind in RADII}
    assert max(redness, key=redness.get) == "eosinophil"
    assert redness["eosinophil"] > 40
    red = {kind: tone(kind, 0) for kind in RADII}
    assert min(red, key=red.get) == "basophil"
    assert redness["monocyte"] < 0  # grey-blue
    assert redness["lymphocyte"] < 0  # blue


def test_subjects_differ_in_stain_and_light():
    slides = leukocytes.styles(12, 24)
    assert next(iter(slides)) == "p01"
    glass = np.array([slide.glass for slide in slides.values()])
    assert (glass.std(axis=0) > 2).all()
    assert slides["p03"] == leukocytes.styles(3, 24)["p03"]


def test_bad_input_is_told_in_one_sentence():
    with pytest.raises(DatasetError, match="not 'platelet'"):
        leukocytes.make(1, 1, kinds=["platelet"])
    with pytest.raises(DatasetError, match="not 'blast'"):
        leukocytes.draw_leukocyte("blast", leukocytes.Slide(), np.random.default_rng(1))
    for each, subjects, kinds in ((0, 1, leukocytes.KINDS), (1, 0, leukocytes.KINDS), (1, 1, [])):
        with pytest.raises(DatasetError, match="cannot be drawn"):
            leukocytes.make(each, subjects, kinds=kinds)


def test_speed(benchmark):
    slide = leukocytes.Slide()
    benchmark(lambda: leukocytes.draw_leukocyte("eosinophil", slide, np.random.default_rng(1)))
