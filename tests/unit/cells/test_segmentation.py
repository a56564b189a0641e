"""What segmentation promises whatever the image: on drawn cells, whose outlines are known."""

import contextlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.base.errors import CellError
from helpers.cells.segmentation import Segmentation, cut_out, dice, segment_cell, segment_field
from helpers.cells.segmentation.nucleus import part_touching
from helpers.datasets.drawn import fields as phantom_fields
from helpers.datasets.drawn import frames as phantom
from helpers.datasets.drawn import leukocytes
from tests.unit import simulated_smears
from tests.unit.redrawn import redrawn_field, redrawn_frame

WHITE, PLASMA, NUCLEUS = (238, 234, 228), (196, 190, 224), (92, 48, 140)
RED = (224, 150, 140)


def canvas(height=120, width=120, colour=WHITE):
    return np.full((height, width, 3), colour, np.uint8)


def discs(image, *drawn):
    """Draw discs (x, y, radius, colour) and let the lens blur them a little."""
    for x, y, radius, colour in drawn:
        cv2.circle(image, (x, y), radius, colour, -1)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def disc_mask(x, y, radius, shape=(120, 120)):
    rows, columns = np.indices(shape)
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


@pytest.fixture(scope="module")
def phantoms():
    recipe = phantom.recipe_of("quick")
    chosen = phantom.plan(recipe)["image_id"].iloc[::60]
    return [redrawn_frame(recipe, image_id) for image_id in chosen]


@pytest.fixture(scope="module")
def simulated():
    return [simulated_smears.draw(seed) for seed in range(2000, 2030)]


@pytest.fixture(scope="module")
def fields():
    """Drawn fields, and what was found in each."""
    few = phantom_fields.Recipe(3, 5, 49, 0.25)
    drawn = [redrawn_field(few, name) for name in phantom_fields.plan(few)["name"][:6]]
    return drawn, [segment_field(field.image) for field in drawn]


# Dice


def test_dice_of_known_masks():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert dice(a, b) == 1
    a[:2], b[1:3] = True, True
    assert dice(a, b) == 0.5
    assert dice(a, ~a) == 0
    with pytest.raises(CellError, match="cannot be compared"):
        dice(a, b[:2])


@given(st.integers(0, 2**32 - 1))
def test_dice_is_symmetric_and_at_most_one(seed):
    a, b = np.random.default_rng(seed).random((2, 6, 7)) < 0.4
    assert dice(a, b) == dice(b, a)
    assert 0 <= dice(a, b) <= 1
    assert dice(a, a) == 1


# Single cells


def test_a_drawn_cell_is_found_where_it_was_drawn():
    image = discs(canvas(), (58, 62, 36, PLASMA), (55, 60, 22, NUCLEUS))
    found = segment_cell(image)
    assert isinstance(found, Segmentation)
    assert found.count == 1
    assert dice(found.nucleus, disc_mask(55, 60, 22)) > 0.97
    cell = found.nucleus | found.cytoplasm
    assert dice(cell, disc_mask(58, 62, 36)) > 0.95
    assert not (found.nucleus & found.cytoplasm).any()
    assert ((found.nuclei > 0) == found.nucleus).all()
    assert ((found.cells > 0) == cell).all()
    assert found.nuclei.dtype == found.cells.dtype == np.int32


def test_red_cells_and_a_platelet_stay_outside():
    reds = [(20, 25, 17), (97, 30, 18), (100, 95, 17), (22, 62, 14)]  # the last touches the cell
    image = discs(
        canvas(),
        *[(*red, RED) for red in reds],
        (30, 104, 4, NUCLEUS),
        (60, 62, 32, PLASMA),
        (60, 62, 20, NUCLEUS),
    )
    found = segment_cell(image)
    assert dice(found.nucleus, disc_mask(60, 62, 20)) > 0.97
    assert dice(found.cells > 0, disc_mask(60, 62, 32)) > 0.94
    assert not found.cells[disc_mask(20, 25, 14) | disc_mask(100, 95, 14)].any()
    assert not found.cells[disc_mask(30, 104, 4)].any()


def test_all_lobes_of_a_nucleus_are_taken_and_a_second_leukocyte_is_not():
    lobes = [(48, 50), (70, 52), (62, 74)]
    image = discs(
        canvas(),
        (60, 60, 38, PLASMA),
        *[(x, y, 9, NUCLEUS) for x, y in lobes],
        (4, 110, 22, NUCLEUS),
    )
    found = segment_cell(image)
    drawn = np.logical_or.reduce([disc_mask(x, y, 9) for x, y in lobes])
    assert dice(found.nucleus, drawn) > 0.93
    assert found.count == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "turn",
    [np.flipud, np.fliplr, np.rot90, lambda a: a.swapaxes(0, 1)],
    ids=["flip", "flop", "rotate", "transpose"],
)
def test_a_turned_image_gives_the_turned_masks(simulated, phantoms, turn):
    for image in [smear.image for smear in simulated[:5]] + [p.frame for p in phantoms[:2]]:
        straight = segment_cell(image)
        turned = segment_cell(np.ascontiguousarray(turn(image)))
        assert dice(turned.nucleus, turn(straight.nucleus)) > 0.97
        assert dice(turned.cells > 0, turn(straight.cells > 0)) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("gain", [(0.7, 0.7, 0.7), (1, 0.95, 0.75), (0.8, 1, 1)])
def test_light_and_white_balance_do_not_matter(simulated, gain):
    for smear in [smear for smear in simulated if smear.contrast > 50][:4]:
        other = np.round(smear.image * np.array(gain)).astype(np.uint8)
        assert dice(segment_cell(other).nucleus, segment_cell(smear.image).nucleus) > 0.95


@pytest.mark.slow
def test_the_same_image_gives_the_same_masks_and_is_left_as_it_was(simulated):
    image = simulated[0].image
    before = image.copy()
    one = segment_cell(image)
    np.random.seed(3)  # noqa: NPY002 - what others do with the global state does not matter
    cv2.setRNGSeed(3)
    two = segment_cell(np.asfortranarray(image))
    assert (one.nucleus == two.nucleus).all()
    assert (one.cells == two.cells).all()
    assert (image == before).all()


@pytest.mark.slow
def test_nuclei_on_smears_of_any_look(simulated):
    found = [segment_cell(smear.image) for smear in simulated]
    nucleus = [dice(f.nucleus, s.nucleus) for f, s in zip(found, simulated, strict=True)]
    assert np.median(nucleus) > 0.96
    assert np.percentile(nucleus, 10) > 0.92


@pytest.mark.slow
def test_nuclei_of_drawn_leukocytes_of_five_kinds():
    drawn = leukocytes.make(3, 6)
    found = [segment_cell(image).nucleus for image in drawn.images]
    similar = [dice(a, b) for a, b in zip(found, drawn.nuclei, strict=True)]
    assert np.median(similar) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("side", [60, 300, 700])
def test_crops_of_any_size(side):
    found = []
    for seed in range(5):
        smear = simulated_smears.draw(9000 + seed)
        image = cv2.resize(smear.image, (side, side), interpolation=cv2.INTER_AREA)
        parts = segment_cell(image)
        assert parts.nucleus.shape == (side, side)
        truth = cv2.resize(smear.nucleus.astype(np.float32), (side, side)) > 0.5
        found.append(dice(parts.nucleus, truth))
    assert np.median(found) > (0.9 if side < 100 else 0.96)


def test_a_touching_nucleus_that_the_border_cuts_is_left_out():
    image = discs(canvas(), (56, 60, 21, NUCLEUS), (100, 60, 26, NUCLEUS))
    assert dice(segment_cell(image).nucleus, disc_mask(56, 60, 21)) > 0.93


def test_a_dark_cytoplasm_is_not_the_nucleus():
    image = discs(canvas(), (60, 60, 38, (120, 110, 170)), (56, 62, 22, (60, 25, 120)))
    assert dice(segment_cell(image).nucleus, disc_mask(56, 62, 22)) > 0.95


# Cells cut out, and photographs in black bars


@pytest.mark.slow
def test_phantoms(phantoms):
    nucleus, cell = [], []
    for p in phantoms:
        found = segment_cell(p.frame)
        nucleus.append(dice(found.nucleus, p.nucleus))
        cell.append(dice(found.cells > 0, p.nucleus | p.cytoplasm))
        assert not found.cells[p.frame.max(axis=2) == 0].any()
    assert np.median(nucleus) > 0.97
    assert np.percentile(nucleus, 10) > 0.95
    assert np.median(cell) > 0.97


@pytest.mark.parametrize("strength", [0.7, 1.4])
def test_a_cut_out_of_any_stain_has_its_outlines_at_the_edges(strength):
    """Flat discs: 8 pixels of cytoplasm, 5 of glass."""
    glass, plasma, nucleus = (114, 74, 118), (62, 34, 92), (60, 22, 66)
    cell, core = disc_mask(120, 120, 80, (240, 240)), disc_mask(121, 118, 72, (240, 240))
    light = np.full((240, 240, 3), glass, np.float32)
    for mask, colour in ((cell, plasma), (core, nucleus)):
        light[mask] = np.float32(glass) * (np.float32(colour) / np.float32(glass)) ** strength
    light = cv2.GaussianBlur(light, (0, 0), 1)
    light[~disc_mask(120, 120, 85, (240, 240))] = 0
    found = segment_cell(np.round(light).astype(np.uint8))
    assert dice(found.nucleus, core) > 0.97
    assert dice(found.cells > 0, cell) > 0.97


@pytest.mark.slow
def test_the_nucleus_of_a_cut_out_stays_off_its_edge(phantoms):
    """Once it grew to the edge of the cut-out wherever that touched its own rectangle."""
    for p in phantoms:
        lit, nucleus = p.frame.max(axis=2) > 0, segment_cell(p.frame).nucleus
        for axis in (0, 1):
            outer, inner = (np.flatnonzero(mask.any(axis=axis)) for mask in (lit, nucleus))
            assert outer[0] + 1 < inner[0]
            assert inner[-1] < outer[-1] - 1


def test_a_thin_or_tiny_cut_out_keeps_a_nucleus():
    for axes in ((90, 4), (60, 3), (6, 6), (30, 9)):
        frame = np.zeros((200, 200, 3), np.uint8)
        cv2.ellipse(frame, (100, 100), axes, 30, 0, 360, (92, 48, 140), -1)
        found = segment_cell(frame)
        assert found.nucleus.any()
        assert not found.cells[frame.max(axis=2) == 0].any()


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0, 3])
def test_a_cut_out_needs_no_black_border(phantoms, margin):
    drawn = phantoms[0]
    rows, columns = (np.flatnonzero(drawn.frame.any(axis=(axis, 2))) for axis in (1, 0))
    box = np.s_[
        rows[0] - margin : rows[-1] + 1 + margin, columns[0] - margin : columns[-1] + 1 + margin
    ]
    assert dice(segment_cell(drawn.frame[box]).nucleus, drawn.nucleus[box]) > 0.97


def test_a_frame_that_was_saved_as_jpeg(phantoms):
    drawn = phantoms[1]
    _, code = cv2.imencode(".jpg", drawn.frame, [cv2.IMWRITE_JPEG_QUALITY, 85])
    found = segment_cell(cv2.imdecode(code, cv2.IMREAD_COLOR))
    assert dice(found.nucleus, drawn.nucleus) > 0.85  # JPEG smears colour over the edge
    assert dice(found.cells > 0, drawn.nucleus | drawn.cytoplasm) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    "sides",
    [((1, 1), (1, 1)), ((15, 15), (15, 15)), ((0, 0), (10, 0)), ((30, 30), (0, 0))],
    ids=["a thin frame", "a thick frame", "a bar", "a letter box"],
)
@pytest.mark.parametrize("black", [0, 9])
@pytest.mark.parametrize("segment", [segment_cell, segment_field])
def test_black_bars_around_a_photograph_change_nothing(simulated, sides, black, segment):
    plain = simulated[3].image
    padded = np.pad(plain, (*sides, (0, 0)), constant_values=black)
    expected, found = segment(plain), segment(padded)
    for name in ("nucleus", "cytoplasm", "nuclei", "cells"):
        np.testing.assert_array_equal(getattr(found, name), np.pad(getattr(expected, name), sides))


# Bad input


@pytest.mark.parametrize("function", [segment_cell, segment_field])
@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((50, 50), np.uint8), "RGB image of shape"),
        (np.zeros((50, 50, 4), np.uint8), "RGB image of shape"),
        (np.zeros((50, 50, 3), np.uint16), "8 bits"),
        (np.zeros((50, 50, 3), float), "8 bits"),
        (np.zeros((4, 4, 3), np.uint8), "too small"),
        ("cell.png", "RGB image of shape"),
        (None, "RGB image of shape"),
    ],
)
def test_what_is_no_image_is_told_in_a_sentence(function, image, told):
    with pytest.raises(CellError, match=told):
        function(image)


@pytest.mark.parametrize(
    "image",
    [
        canvas(50, 50, (0, 0, 0)),
        canvas(50, 50),
        canvas(60, 40, (90, 90, 90)),
        discs(canvas(), (60, 60, 20, RED), (20, 30, 18, RED), (95, 80, 19, RED)),
        discs(canvas(colour=(0, 0, 0)), (60, 60, 2, NUCLEUS)),
    ],
    ids=["black", "white", "grey", "red cells", "a speck on black"],
)
def test_an_image_without_a_leukocyte(image):
    with pytest.raises(CellError, match="holds no cell"):
        segment_cell(image)
    found = segment_field(image)
    assert found.count == 0
    assert not found.cells.any()
    assert found.nucleus.shape == image.shape[:2]


def test_any_noise_is_segmented_or_told():
    rng = np.random.default_rng(5)
    for shape in ((8, 8), (9, 200), (64, 31)):
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        assert segment_field(image).cells.shape == shape
        with contextlib.suppress(CellError):
            assert segment_cell(image).nucleus.any()


# Fields


def field_of(nuclei, width=320, height=260):
    rng = np.random.default_rng(1)
    reds = [(int(x), int(y), 15, RED) for x, y in rng.uniform(0, (width, height), (12, 2))]
    cells = [(x, y, radius + 7, PLASMA) for x, y, radius in nuclei]
    cores = [(x, y, radius, NUCLEUS) for x, y, radius in nuclei]
    image = discs(canvas(height, width), *reds, *cells, *cores)
    cv2.putText(image, "200 px", (240, 250), 0, 0.5, (0, 0, 0), 1)
    cv2.line(image, (230, 256), (310, 256), (0, 0, 0), 2)
    return image


def test_each_leukocyte_of_a_field_has_one_label():
    nuclei = [(60, 60, 18), (200, 70, 20), (236, 76, 18), (120, 190, 16), (300, 180, 20)]
    found = segment_field(field_of(nuclei))
    assert found.count == len(nuclei)
    for x, y, radius in nuclei:
        here = disc_mask(x, y, radius, found.nuclei.shape)
        label = found.nuclei[y, x]
        assert dice(found.nuclei == label, here) > 0.9
    assert (found.cells[found.nuclei > 0] == found.nuclei[found.nuclei > 0]).all()
    assert (found.nucleus == (found.nuclei > 0)).all()
    assert (found.cytoplasm == (found.cells > 0) & ~found.nucleus).all()
    first = [np.flatnonzero(found.nuclei == i)[0] for i in range(1, found.count + 1)]
    assert first == sorted(first)


@pytest.mark.slow
def test_a_large_field_is_found_as_a_small_one_is():
    small = field_of([(60, 60, 18), (200, 70, 20), (120, 190, 16)])
    large = cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    found = segment_field(large)
    assert found.nuclei.shape == large.shape[:2]
    assert found.count == 3
    nucleus = cv2.resize(found.nucleus.astype(np.uint8), None, fx=1 / 8, fy=1 / 8) > 0
    assert dice(nucleus, segment_field(small).nucleus) > 0.9


def test_a_nucleus_beside_a_clump_of_many_is_no_speck():
    middles = [(30 + 29 * i, 60) for i in range(10)]
    cells = [(x, y, 16, NUCLEUS) for x, y in [*middles, (260, 200)]]
    found = segment_field(discs(canvas(260, 320), *cells))
    assert found.nuclei[200, 260]
    assert found.count == 11


def test_small_lobes_close_together_are_one_nucleus():
    lobes = [(40, 40, 9, NUCLEUS), (61, 40, 9, NUCLEUS)]
    whole = [(x, y, 18, NUCLEUS) for x, y in ((160, 50), (60, 150), (160, 150), (230, 90))]
    found = segment_field(discs(canvas(200, 260), (50, 40, 24, PLASMA), *lobes, *whole))
    assert found.count == 5
    assert found.nuclei[40, 40] == found.nuclei[40, 61] > 0


def test_a_frame_on_black_is_a_field_of_one_cell(phantoms):
    frame = phantoms[0].frame
    assert (segment_field(frame).cells == segment_cell(frame).cells).all()


@pytest.mark.slow
def test_phantom_fields(fields):
    for field, found in zip(*fields, strict=True):
        assert dice(found.nucleus, field.nuclei > 0) > 0.94
        assert dice(found.cells > 0, field.cells > 0) > 0.9
        assert abs(found.count - len(field.table)) <= 1


def test_touching_nuclei_are_parted_and_others_are_not():
    shape = (80, 140)
    left, right = disc_mask(45, 40, 28, shape), disc_mask(93, 40, 26, shape)
    assert part_touching(left).max() == 1
    parts = part_touching(left | right)
    assert parts.max() == 2
    assert dice(parts == parts[40, 45], left) > 0.97
    assert part_touching(np.zeros(shape, bool)).max() == 0


# Speed


def test_segmentation_benchmark_frame(benchmark, phantoms):
    benchmark(segment_cell, phantoms[0].frame)


@pytest.mark.slow
def test_segmentation_benchmark_smear(benchmark, simulated):
    image = cv2.resize(simulated[0].image, (300, 300), interpolation=cv2.INTER_CUBIC)
    benchmark(segment_cell, image)


@pytest.mark.slow
def test_segmentation_benchmark_field(benchmark, fields):
    benchmark(segment_field, fields[0][0].image)


@pytest.mark.parametrize("radius", [1.0, 2.5, 7.3])
def test_what_is_opened_and_grown_is_as_in_scikit_image(radius):
    from skimage.morphology import isotropic_dilation, isotropic_opening

    mask = cv2.GaussianBlur(np.random.default_rng(3).random((90, 81)), (0, 0), 4) > 0.5
    np.testing.assert_array_equal(cut_out._grown(mask, radius), isotropic_dilation(mask, radius))
    np.testing.assert_array_equal(cut_out._opened(mask, radius), isotropic_opening(mask, radius))
    assert not cut_out._opened(np.zeros((20, 20), bool), radius).any()
