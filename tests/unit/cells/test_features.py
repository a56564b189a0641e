"""Features against scikit-image, against shapes of known measure, and under turning."""

import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from skimage import measure as reference
from skimage.color import rgb2hsv, rgb2lab
from skimage.feature import graycomatrix, graycoprops
from skimage.morphology import disk

from helpers import catalog
from helpers.base.errors import CellError, CourseError
from helpers.cells import features, shape, texture
from helpers.datasets.drawn import frames as phantom
from tests.unit.redrawn import redrawn_frame


def grid(side=240):
    return np.mgrid[:side, :side] - (side - 1) / 2


def ellipse(a, b, side=240):
    y, x = grid(side)
    return (x / a) ** 2 + (y / b) ** 2 <= 1


def purple(mask, seed=0):
    """An image with grain, of stained colour inside the mask."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*mask.shape, 3), np.uint8)
    image[mask] = rng.integers((90, 40, 120), (131, 81, 161), (np.count_nonzero(mask), 3))
    return image


def measured(nucleus, cell=None):
    cell = nucleus if cell is None else cell
    return features.measure(purple(cell), nucleus, cell & ~nucleus)


@pytest.fixture(scope="module")
def phantoms():
    recipe = phantom.recipe_of("smoke")
    names = phantom.plan(recipe)["image_id"]
    return [redrawn_frame(recipe, names.iloc[place]) for place in (0, 40, 90, 159)]


def test_a_feature_has_a_name_a_unit_and_a_family():
    assert list(features.UNITS) == list(features.FAMILIES) == list(features.NAMES)
    assert set(features.FAMILIES.values()) == {"geometry", "colour", "texture"}
    assert all(features.UNITS.values())
    assert 55 <= len(features.NAMES) <= 75
    assert tuple(measured(ellipse(40, 40))) == features.NAMES


@pytest.mark.parametrize("radius", [25, 60, 110])
def test_a_disc_is_round(radius):
    found = measured(ellipse(radius, radius))
    assert found["nucleus_area"] == pytest.approx(math.pi * radius**2, rel=0.01)
    assert found["nucleus_perimeter"] == pytest.approx(2 * math.pi * radius, rel=0.02)
    assert found["nucleus_major_axis"] == pytest.approx(2 * radius, rel=0.01)
    for name in ("circularity", "solidity", "convexity"):
        assert found[f"nucleus_{name}"] == pytest.approx(1, abs=0.03)
    assert found["nucleus_eccentricity"] < 0.05
    assert found["nucleus_notch"] < 2
    assert found["nucleus_offset"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [(100, 50), (90, 80), (60, 20)])
def test_an_ellipse_has_its_eccentricity(a, b):
    found = measured(ellipse(a, b))
    assert found["nucleus_eccentricity"] == pytest.approx(math.sqrt(1 - (b / a) ** 2), abs=0.01)
    assert found["nucleus_major_axis"] == pytest.approx(2 * a, rel=0.01)
    assert found["nucleus_minor_axis"] == pytest.approx(2 * b, rel=0.02)


def test_a_notch_is_as_deep_as_it_was_cut():
    y, x = grid()
    disc = ellipse(80, 80)
    kidney = disc & ~((abs(x) < 12) & (y < -40))
    found = measured(kidney)
    diameter = 2 * math.sqrt(kidney.sum() / math.pi)
    assert found["nucleus_notch"] == pytest.approx(100 * 39 / diameter, rel=0.05)
    assert found["nucleus_solidity"] < measured(disc)["nucleus_solidity"] - 0.02
    assert found["nucleus_convexity"] < 0.95


def test_lobes_are_counted_and_specks_are_not():
    lobes = np.roll(ellipse(30, 30), -50, axis=1) | np.roll(ellipse(30, 30), 50, axis=1)
    lobes[3:6, 3:6] = True
    assert measured(lobes)["nucleus_lobes"] == 2


def test_a_nucleus_beside_the_middle():
    cell = ellipse(100, 100)
    found = measured(np.roll(ellipse(40, 40), 30, axis=1), cell)
    assert found["nucleus_offset"] == pytest.approx(100 * 30 / 200, rel=0.01)
    assert found["nucleus_to_cell"] == pytest.approx(0.16, rel=0.01)


def test_shapes_agree_with_scikit_image(phantoms):
    for cell in phantoms:
        found = features.measure(cell.frame, cell.nucleus, cell.cytoplasm)
        regions = {"nucleus": cell.nucleus, "cell": cell.nucleus | cell.cytoplasm}
        for region, mask in regions.items():
            known = reference.regionprops(mask.astype(np.uint8))[0]
            for ours, theirs in (
                ("area", known.area),
                ("major_axis", known.axis_major_length),
                ("minor_axis", known.axis_minor_length),
                ("eccentricity", known.eccentricity),
                ("perimeter", reference.perimeter_crofton(mask, 4)),
            ):
                assert found[f"{region}_{ours}"] == pytest.approx(theirs, rel=1e-6), ours
            # scikit-image counts the pixels in the hull, we take the area of the polygon.
            assert found[f"{region}_solidity"] == pytest.approx(known.solidity, abs=0.01)


@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24))
def test_solidity_of_any_mask_is_its_share_of_the_hull_of_its_pixels(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    mask[height // 2, width // 2] = True
    corners = [np.argwhere(mask) + corner for corner in ((0, 0), (0, 1), (1, 0), (1, 1))]
    hull = ConvexHull(np.concatenate(corners)).volume  # the area, in two dimensions
    assert shape.describe(mask)[0]["solidity"] == pytest.approx(mask.sum() / hull, rel=1e-9)


def test_solidity_of_shapes_of_known_hull():
    assert shape.describe(np.ones((5, 9), bool))[0]["solidity"] == 1
    corner = np.array([[True, False], [True, True]])
    assert shape.describe(corner)[0]["solidity"] == pytest.approx(3 / 3.5)


def test_colours_agree_with_scikit_image(phantoms):
    for cell in phantoms:
        found = features.measure(cell.frame, cell.nucleus, cell.cytoplasm)
        for region in ("nucleus", "cytoplasm"):
            pixels = cell.frame[getattr(cell, region)]
            lab, hsv = (convert(pixels[None])[0] for convert in (rgb2lab, rgb2hsv))
            means = {"red": pixels[:, 0].mean(), "blue": pixels[:, 2].mean()}
            means |= {"saturation": 100 * hsv[:, 1].mean(), "value": 100 * hsv[:, 2].mean()}
            for name, value in means.items():
                assert found[f"{region}_{name}"] == pytest.approx(value, abs=0.2)
            for place, name in enumerate(("lightness", "green_red", "blue_yellow")):
                mean, sd = found[f"{region}_{name}"], found[f"{region}_{name}_sd"]
                assert mean == pytest.approx(lab[:, place].mean(), abs=0.3)
                assert sd == pytest.approx(lab[:, place].std(), abs=0.3)
            assert found[f"{region}_hue"] == pytest.approx(np.median(360 * hsv[:, 0]), abs=10)


def test_hue_has_no_jump_at_red():
    mask, hues = ellipse(40, 40), []
    for colour in ((150, 60, 70), (150, 70, 60)):
        image = np.zeros((240, 240, 3), np.uint8)
        image[mask] = colour
        hues.append(features.measure(image, mask, ~mask)["nucleus_hue"])
    assert hues[0] < 360 < hues[1]
    assert hues[1] - hues[0] < 20


def test_cooccurrence_agrees_with_scikit_image(phantoms):
    """On a mask without an edge, scikit-image needs no masking."""
    grey = phantoms[0].frame[190:260, 190:260, 1]
    mask = np.ones(grey.shape, bool)
    levels = texture._levels(grey.ravel())[grey] - 1
    known = graycomatrix(
        levels, texture.DISTANCES, np.arange(4) * np.pi / 4, texture.LEVELS, True, True
    )
    found = texture.cooccurrence(grey, mask)
    for name in texture.MATRIX:
        for distance, value in zip(
            texture.DISTANCES, graycoprops(known, name).mean(axis=1), strict=True
        ):
            assert found[f"glcm_{name}_{distance}"] == pytest.approx(value, rel=1e-9)


def test_cooccurrence_counts_pairs_inside_the_mask_alone():
    """By hand, pair by pair, on a mask with a ragged edge and a hole."""
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 256, (14, 17)).astype(np.uint8)
    mask = rng.random((14, 17)) < 0.7
    levels = texture._levels(grey[mask])[grey].astype(int)
    contrasts = []
    for dy, dx in ((0, 1), (1, 1), (1, 0), (1, -1)):
        squares = [
            (levels[y, x] - levels[y + dy, x + dx]) ** 2
            for y in range(14)
            for x in range(17)
            if 0 <= y + dy < 14 and 0 <= x + dx < 17 and mask[y, x] and mask[y + dy, x + dx]
        ]
        contrasts.append(np.mean(squares))
    found = texture.cooccurrence(grey, mask)
    assert found["glcm_contrast_1"] == pytest.approx(np.mean(contrasts))


def test_local_patterns_one_by_one():
    rng = np.random.default_rng(4)
    grey = rng.integers(0, 12, (20, 20)).astype(np.uint8)
    mask = cv2.erode((rng.random((20, 20)) < 0.98).astype(np.uint8), np.ones((2, 2))) > 0
    bins = []
    for y in range(1, 19):
        for x in range(1, 19):
            if not mask[y - 1 : y + 2, x - 1 : x + 2].all():
                continue
            ring = [grey[y + dy, x + dx] >= grey[y, x] for dy, dx in texture._AROUND]
            changes = sum(a != b for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
            bins.append(sum(ring) if changes <= 2 else 9)
    shares = np.bincount(bins, minlength=10) / len(bins)
    found = texture.patterns(grey, mask)
    assert found["lbp_mixed"] == pytest.approx(100 * shares[9])
    assert found["lbp_flat"] == pytest.approx(100 * (shares[0] + shares[8]))
    assert found["lbp_spot"] == pytest.approx(100 * (shares[1] + shares[7]))
    assert sum(found[f"lbp_{k}"] for k in ("flat", "spot", "edge", "mixed")) == pytest.approx(100)
    present = shares[shares > 0]
    assert found["lbp_entropy"] == pytest.approx(-(present * np.log2(present)).sum())


def test_grains_are_found_at_their_size():
    grey = np.full((120, 120), 50, np.uint8)
    for y in range(15, 120, 30):
        for x in range(15, 120, 30):
            grey[y - 3 : y + 4, x - 3 : x + 4][disk(3) > 0] = 150
    shares = texture.granularity(grey, np.ones(grey.shape, bool))
    assert shares.argmax() == 2  # a disc of 4 takes away what one of 2 left
    assert shares[[0, 1, 3]].max() < shares[2] / 4  # a tip or two
    assert shares.sum() == pytest.approx(100 * 16 * disk(3).sum() * 100 / grey.sum())


def test_what_lies_outside_the_masks_has_no_influence(phantoms):
    cell = phantoms[1]
    other = cell.frame.copy()
    other[~(cell.nucleus | cell.cytoplasm)] = (7, 250, 130)
    masks = cell.nucleus, cell.cytoplasm
    assert features.measure(cell.frame, *masks) == features.measure(other, *masks)


TURNS = {
    "rot90": lambda array: np.rot90(array),
    "rot180": lambda array: np.rot90(array, 2),
    "rot270": lambda array: np.rot90(array, 3),
    "mirrored": lambda array: array[:, ::-1],
    "upside down": lambda array: array[::-1],
}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    turn=st.sampled_from(sorted(TURNS)),
    height=st.integers(12, 60),
    width=st.integers(12, 60),
)
def test_turning_and_mirroring_change_nothing(seed, turn, height, width):
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 3)
    cell = field > np.quantile(field, 0.3)
    nucleus = field > np.quantile(field, 0.6)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    before = features.measure(image, nucleus, cell & ~nucleus)
    turned = (np.ascontiguousarray(TURNS[turn](a)) for a in (image, nucleus, cell & ~nucleus))
    after = features.measure(*turned)
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-6, abs=1e-4, nan_ok=True), name


@settings(max_examples=15, deadline=None)
@given(
    axes=st.tuples(st.floats(30, 38), st.floats(30, 38)),
    inner=st.floats(0.7, 0.9),
    times=st.sampled_from([2, 3]),
)
def test_units_tell_what_enlarging_does(axes, inner, times):
    """px grow with the scale, px^2 with its square, all else stays."""
    found = []
    for scale in (1, times):
        a, b = (scale * axis for axis in axes)
        cell = ellipse(a, b, 80 * scale)
        nucleus = ellipse(inner * a, inner * b, 80 * scale)
        image = np.full((*cell.shape, 3), (180, 150, 190), np.uint8)
        image[nucleus] = (90, 50, 120)
        found.append(features.measure(image, nucleus, cell & ~nucleus))
    small, large = found
    for name, unit in features.UNITS.items():
        if features.FAMILIES[name] == "texture":
            continue
        exponent = {"px": 1, "px^2": 2}.get(unit, 0)
        expected = small[name] * times**exponent
        # a small ellipse is a coarse one: its notch and eccentricity are those of its steps
        slack = {"%": 6, "1": 0.25}.get(unit[0], 0.01)
        assert large[name] == pytest.approx(expected, rel=0.08, abs=slack), name


def test_no_cytoplasm_has_no_colour_and_all_else_has_a_value():
    found = measured(ellipse(50, 50))
    assert found["nucleus_to_cell"] == 1
    for name, value in found.items():
        assert math.isnan(value) == name.startswith("cytoplasm_"), name


@pytest.mark.parametrize("side", [1, 2, 5])
def test_a_nucleus_of_few_pixels_has_what_it_can_have(side):
    nucleus = np.zeros((20, 20), bool)
    nucleus[4 : 4 + side, 4 : 4 + side] = True
    found = measured(nucleus)
    assert found["nucleus_area"] == side**2
    assert math.isnan(found["glcm_contrast_12"])
    assert math.isnan(found["lbp_entropy"]) == (side < 3)


def test_one_colour_has_no_texture_and_no_warning(recwarn):
    nucleus = ellipse(50, 50)
    image = np.full((240, 240, 3), 90, np.uint8)
    found = features.measure(image, nucleus, np.zeros_like(nucleus))
    assert found["glcm_contrast_1"] == 0
    assert found["glcm_homogeneity_4"] == found["glcm_correlation_12"] == 1
    assert found["grains_dark"] == found["lbp_entropy"] == 0
    assert not recwarn.list


@pytest.mark.parametrize(
    ("image", "nucleus", "cytoplasm", "words"),
    [
        (np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), bool), np.zeros((9, 9), bool), "empty"),
        (np.zeros((9, 9, 3), np.uint8), np.ones((9, 8), bool), np.zeros((9, 9), bool), r"\(9, 8\)"),
        (np.zeros((9, 9, 3)), np.ones((9, 9), bool), np.zeros((9, 9), bool), "float64"),
        (np.zeros((9, 9, 3), np.uint8), np.ones((9, 9), bool), np.ones((9, 9), bool), "81 pixels"),
        (np.zeros((9, 9, 3), np.uint8), np.ones((9, 9), bool), None, r"\(9, 9\) and \(\)"),
        (None, np.ones((9, 9), bool), np.zeros((9, 9), bool), "object of shape"),
    ],
)
def test_what_cannot_be_measured_is_refused(image, nucleus, cytoplasm, words):
    with pytest.raises(CellError, match=words) as error:
        features.measure(image, nucleus, cytoplasm)
    assert isinstance(error.value, CourseError)


@pytest.fixture
def cells(phantoms, tmp_path, monkeypatch):
    """A catalog of phantoms, one of them black; artifacts of its own."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    frames = [cell.frame for cell in phantoms]
    frames[2] = np.zeros_like(frames[2])
    rows = []
    for place, frame in enumerate(frames):
        path = tmp_path / f"cell_{place}.bmp"
        cv2.imwrite(str(path), frame[..., ::-1])
        rows.append({"image_id": f"cell_{place}", "path": path, "label": "all"})
    return catalog.make(rows)


def test_a_table_has_a_row_for_each_image_and_names_the_ones_it_could_not_measure(cells, capsys):
    cells.index = [7, 5, 3, 1]
    found = features.table(cells)
    assert list(found.columns) == ["image_id", "cells", "problem", *features.NAMES]
    assert list(found.index) == [7, 5, 3, 1]
    assert list(found["image_id"]) == list(cells["image_id"])
    assert found.loc[3, list(features.NAMES)].isna().all()
    assert found.drop(index=3)["nucleus_area"].notna().all()
    said = capsys.readouterr().out
    assert said.startswith("1 of 4 image")
    assert "cell_2" in said
    assert "no cell" in said
    assert list(found["cells"]) == [1, 1, 0, 1]


@pytest.mark.slow
def test_a_table_is_measured_once_and_again_when_a_file_changed(cells, monkeypatch):
    first = features.table(cells)
    monkeypatch.setattr(features, "of_image", lambda *_: pytest.fail("measured again"))
    pd.testing.assert_frame_equal(features.table(cells), first)
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_ARTIFACTS", str(cells["path"].iloc[0]) + "-artifacts")
    again = features.table(cells)
    pd.testing.assert_frame_equal(again, first)
    with open(cells["path"].iloc[3], "r+b") as file:
        file.seek(54 + 1352 * 225 + 3 * 210)
        file.write(bytes(range(90)))
    assert not features.table(cells).equals(first)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_comes_back_is_measured(cells, known):
    path = Path(cells["path"].iloc[1])
    if known:
        cells["sha256"] = [f"{place:064d}" for place in range(4)]
    content = path.read_bytes()
    path.unlink()
    assert str(path) in features.table(cells)["problem"].iloc[1]
    path.write_bytes(content)
    assert features.table(cells)["problem"].iloc[1] == ""


def test_a_change_of_the_code_makes_a_new_table(cells, monkeypatch):
    before = features._key(cells, "auto")
    monkeypatch.setattr(features.code, "version", lambda *_: "another")
    assert features._key(cells, "auto") != before


def test_a_copy_is_measured_as_it_is_turned(cells):
    good = cells[cells["image_id"] == "cell_0"]
    copy = good.assign(image_id="cell_0_rot90", original="cell_0", transform="rot90")
    both = features.table(catalog.make(pd.concat([good, copy])))
    numbers = both[list(features.NAMES)].to_numpy()
    assert numbers[1] == pytest.approx(numbers[0], rel=0.05, abs=0.5)


def test_an_unknown_kind_is_refused(cells):
    with pytest.raises(CellError, match="auto, cell or field"):
        features.table(cells, kind="smear")
