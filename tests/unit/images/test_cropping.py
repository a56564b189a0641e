"""Crops: the largest contour, square, nothing of the cell lost, nothing invented."""

from pathlib import Path

import cv2
import jupytext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from helpers import images
from helpers.base.errors import CourseError, ImageError
from helpers.images import cropping, preparing
from helpers.images.cropping import crop_to_cell, find_cell

ROOT = Path(__file__).resolve().parents[3]
CNMC = ROOT.parent / "shared" / "data" / "cnmc"
TALEQANI = ROOT.parent / "shared" / "data" / "taleqani"


def frame(height=450, width=450, cells=(((225, 225), (100, 70)),), specks=()):
    """Return a black frame with textured ellipses (centre, half axes) and 3x3 specks."""
    image = np.zeros((height, width, 3), np.uint8)
    noise = np.random.default_rng(0).integers(40, 255, image.shape, dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    for centre, axes in cells:
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    for x, y in specks:
        mask[y : y + 3, x : x + 3] = 1
    image[mask > 0] = noise[mask > 0]
    return image


def reference_box(image):
    """Return the box of the largest component of connected pixels, by SciPy."""
    labels, _ = ndimage.label(image.any(axis=2), structure=np.ones((3, 3)))
    largest = np.bincount(labels.ravel())[1:].argmax() + 1
    rows, columns = ndimage.find_objects((labels == largest).astype(int))[0]
    return columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start


@st.composite
def cells(draw):
    """Draw a frame of one cell, dense enough to be one contour, and where it stands."""
    # A cell of 4 pixels a side, in the largest frame, is a speck already.
    width, height = draw(st.integers(5, 40)), draw(st.integers(5, 40))
    left, top = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    right, bottom = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    seed = draw(st.integers(0, 2**16))
    pixels = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    if draw(st.booleans()):  # an outline that is not a rectangle
        ellipse = np.zeros((height, width), np.uint8)
        centre, axes = ((width - 1) // 2, (height - 1) // 2), ((width - 1) // 2, (height - 1) // 2)
        cv2.ellipse(ellipse, centre, axes, 0, 0, 360, 1, -1)
        pixels[ellipse == 0] = 0
    return np.pad(pixels, ((top, bottom), (left, right), (0, 0)))


@pytest.mark.parametrize("size", [450, 600])
def test_the_box_is_the_ellipse(size):
    image = frame(size, size, (((200, 300), (90, 60)),))
    assert find_cell(image) == (110, 240, 181, 121)


def test_the_largest_contour_is_taken_not_the_first():
    clean = frame()
    for corner in [(5, 5), (440, 440), (5, 440), (440, 5)]:
        assert find_cell(frame(specks=[corner])) == find_cell(clean)
        np.testing.assert_array_equal(crop_to_cell(frame(specks=[corner])), crop_to_cell(clean))


def test_touching_cells_stay_together_and_apart_ones_do_not():
    touching = frame(cells=(((150, 225), (60, 60)), ((265, 225), (60, 50))))
    assert find_cell(touching).width == 325 - 90 + 1
    apart = frame(cells=(((150, 225), (60, 60)), ((300, 225), (60, 50))))
    assert find_cell(apart) == (90, 165, 121, 121)


def test_a_hollow_cell_is_weighed_by_its_outline():
    image = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(image, (130, 130), 50, (200, 90, 160), 1)
    cv2.circle(image, (30, 30), 15, (200, 90, 160), -1)
    assert find_cell(image) == (80, 80, 101, 101)


def test_one_dim_channel_is_enough_to_be_cell():
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 10:50, 2] = 1
    assert find_cell(image) == (10, 20, 40, 20)
    with pytest.raises(ImageError, match="holds nothing"):
        find_cell(image, threshold=1)


def test_a_threshold_removes_noise_of_the_ground():
    noisy = np.maximum(frame(), np.random.default_rng(1).integers(0, 6, (450, 450, 3), np.uint8))
    assert find_cell(noisy, threshold=5) == find_cell(frame())


def test_a_cell_at_the_edge_is_kept():
    image = frame(cells=(((0, 225), (80, 80)),))
    assert find_cell(image) == (0, 145, 81, 161)
    assert crop_to_cell(image).shape == (161, 161, 3)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((450, 450, 3), np.uint8), "450x450 pixels holds nothing"),
        (frame(cells=(), specks=[(200, 200)]), "a speck in a box of 3x3 pixels"),
        (frame()[..., 0], r"RGB image of shape \(height, width, 3\), but was given \(450, 450\)"),
        (np.dstack([frame(), frame()[..., :1]]), r"was given \(450, 450, 4\)"),
        (frame().astype(np.uint16) * 257, "8 bits .*was given uint16"),
        (frame().astype(np.float32), "was given float32"),
        (np.zeros((0, 5, 3), np.uint8), "has no pixels"),
        ([[1, 2], [3, 4]], "was given list"),
    ],
)
def test_what_cannot_be_cropped_is_refused_by_name(image, sentence):
    with pytest.raises(ImageError, match=sentence) as caught:
        crop_to_cell(image)
    assert isinstance(caught.value, CourseError)
    assert isinstance(caught.value, ValueError)


@settings(max_examples=60, deadline=None)
@given(cells())
def test_a_crop_is_square_and_holds_the_cell_unchanged(image):
    before = image.copy()
    x, y, width, height = find_cell(image)
    crop = crop_to_cell(image)
    side = max(width, height)
    assert crop.shape == (side, side, 3)
    assert crop.dtype == np.uint8
    top, left = (side - height) // 2, (side - width) // 2
    inside = crop[top : top + height, left : left + width]
    np.testing.assert_array_equal(inside, image[y : y + height, x : x + width])
    assert crop.sum(dtype=int) == inside.sum(dtype=int) == image.sum(dtype=int)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(crop, image)


@settings(max_examples=60, deadline=None)
@given(cells())
def test_cropping_a_crop_changes_nothing(image):
    crop = crop_to_cell(image)
    np.testing.assert_array_equal(crop_to_cell(crop), crop)


@settings(max_examples=60, deadline=None)
@given(cells(), st.integers(0, 7))
def test_turning_and_cropping_may_change_places(image, symmetry):
    def turn(array):
        turned = np.rot90(array, symmetry % 4)
        return turned[:, ::-1] if symmetry > 3 else turned

    crop, turned = crop_to_cell(image), crop_to_cell(turn(image))
    _, _, width, height = find_cell(image)
    if (width - height) % 2 == 0:
        np.testing.assert_array_equal(turned, turn(crop))
    else:  # the odd pixel of padding always goes right or below
        assert turned.shape == crop.shape
        assert sorted(turned.ravel()) == sorted(crop.ravel())


@settings(max_examples=30, deadline=None)
@given(cells())
def test_the_inner_loop_finds_the_same_cell(image):
    bottom_up = np.ascontiguousarray(image[::-1])[::-1]  # as BMP files are read
    np.testing.assert_array_equal(cropping.brightest_channel(image), image.max(axis=2))
    for same in (image, bottom_up):
        np.testing.assert_array_equal(preparing._lit_pixels(same), image.max(axis=2))


@pytest.fixture(scope="module")
def real_frames():
    files = sorted(CNMC.rglob("*.bmp"))
    if not files:
        pytest.skip(f"no real frames in {CNMC}")
    return [images.read_image(file) for file in files]


@pytest.mark.slow
@pytest.mark.realdata
def test_real_boxes_are_those_of_the_largest_component(real_frames):
    for image in real_frames:
        assert find_cell(image) == reference_box(image)
        assert images.is_frame(image)
        speckled = image.copy()
        speckled[-4:-1, 2:5] = 255
        assert find_cell(speckled) == reference_box(image)


@pytest.mark.realdata
def test_real_fields_are_no_frames():
    files = sorted(TALEQANI.rglob("*.jpg"))[::100]
    if not files:
        pytest.skip(f"no real fields in {TALEQANI}")
    assert not any(images.is_frame(images.read_image(file)) for file in files)


def taught():
    """Return what the cells of chapter 04 tagged `taught` define."""
    notebook = ROOT / "notebooks" / "04_cropping.ipynb"
    if not notebook.is_file():
        pytest.skip("chapter 04 is not there")
    names = {}
    cells = [c for c in jupytext.read(notebook).cells if "taught" in c.metadata.get("tags", [])]
    exec("import cv2\nimport numpy as np\n" + "\n".join(cell.source for cell in cells), names)
    return names


def test_the_chapter_teaches_what_is_shipped():
    page = taught()
    for image in (frame(specks=[(440, 440)]), frame(600, 600), frame(300, 500)):
        assert tuple(page["find_cell"](image)) == find_cell(image)
        np.testing.assert_array_equal(page["crop_to_cell"](image), crop_to_cell(image))


@pytest.mark.realdata
def test_the_chapter_teaches_what_is_shipped_on_real_frames(real_frames):
    page = taught()
    for image in real_frames:
        np.testing.assert_array_equal(page["crop_to_cell"](image), crop_to_cell(image))
