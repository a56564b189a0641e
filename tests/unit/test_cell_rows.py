"""Reading only the rows that hold the cell: what the whole file gives, or nothing."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import ImageError
from helpers.images.cropping import find_cell
from helpers.images.decoding import Desk
from helpers.images.frame_rows import read_cell
from helpers.images.loading import is_frame, read_image

REAL = Path(__file__).resolve().parents[2] / "../shared/data/cnmc"


def store(folder, frame):
    path = folder / "frame.bmp"
    cv2.imwrite(str(path), frame)
    return path


def by_the_whole_file(path):
    """Return BGR of the cell's box, or None where no crop is made."""
    image = read_image(path)
    try:
        x, y, width, height = find_cell(image)
    except ImageError:
        return None
    return image[y : y + height, x : x + width, ::-1] if is_frame(image) else None


def frame(height, width, *ellipses):
    drawn = np.zeros((height, width, 3), np.uint8)
    for x, y, half_width, half_height in ellipses:
        cv2.ellipse(drawn, (x, y), (half_width, half_height), 0, 0, 360, (90, 60, 120), -1)
    return drawn


@st.composite
def frames(draw):
    """Draw frames with a cell somewhere, further things anywhere, single lit pixels."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    things = st.tuples(
        st.integers(0, width), st.integers(0, height), st.integers(0, 30), st.integers(0, 30)
    )
    drawn = frame(height, width, *draw(st.lists(things, max_size=3)))
    for row, column, channel in draw(
        st.lists(
            st.tuples(st.integers(0, height - 1), st.integers(0, width - 1), st.integers(0, 2)),
            max_size=3,
        )
    ):
        drawn[row, column, channel] = 1
    return drawn


@settings(max_examples=250, deadline=None)
@given(frames())
def test_it_is_the_cell_of_the_whole_file_or_nothing(tmp_path_factory, drawn):
    path = store(tmp_path_factory.getbasetemp(), drawn)
    found = read_cell(path, Desk())
    if found is not None:
        np.testing.assert_array_equal(found, by_the_whole_file(path))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(-30, 30), st.integers(-30, 30)),
    st.tuples(st.integers(40, 110), st.integers(40, 150)),
)
def test_cells_as_large_as_those_of_c_nmc_are_found_so(tmp_path_factory, off, half):
    drawn = frame(450, 450, (225 + off[0], 225 + off[1], *half))
    path = store(tmp_path_factory.getbasetemp(), drawn)
    np.testing.assert_array_equal(read_cell(path, Desk()), by_the_whole_file(path))


@pytest.mark.parametrize(
    "drawn",
    [
        frame(450, 450, (225, 225, 60, 60), (100, 50, 90, 40)),  # a larger one near the edge
        frame(450, 450, (225, 225, 60, 60), (225, 440, 60, 60)),  # a cell at the edge, too
        frame(450, 450, (120, 225, 60, 60), (320, 225, 60, 60)),  # two of one size
        frame(450, 450, (225, 225, 225, 225)),  # it fills the frame
        frame(450, 450, (225, 225, 400, 400)),  # no frame
        frame(450, 450),
        frame(450, 450, (225, 225, 3, 3)),
        frame(3, 450, (225, 1, 3, 1)),
    ],
)
def test_where_in_doubt_the_whole_file_is_read(tmp_path, drawn):
    assert read_cell(store(tmp_path, drawn), Desk()) is None


@pytest.mark.parametrize(
    "drawn",
    [
        frame(450, 450, (225, 225, 60, 60), (320, 225, 5, 5)),
        frame(450, 450, (140, 220, 60, 80), (320, 220, 70, 60)),
        frame(450, 450, (310, 220, 60, 80), (130, 220, 70, 60)),
        frame(450, 450, (310, 230, 60, 60), (130, 220, 70, 80)),
    ],
)
def test_of_several_things_it_is_the_largest(tmp_path, drawn):
    path = store(tmp_path, drawn)
    np.testing.assert_array_equal(read_cell(path, Desk()), by_the_whole_file(path))


def test_specks_that_it_never_sees_change_nothing(tmp_path):
    drawn = frame(450, 450, (225, 225, 90, 80))
    drawn[20, 30] = drawn[431, 400] = 255
    path = store(tmp_path, drawn)
    np.testing.assert_array_equal(read_cell(path, Desk()), by_the_whole_file(path))


def test_other_files_are_left_to_others(tmp_path):
    drawn = frame(450, 450, (225, 225, 90, 80))
    whole = store(tmp_path, drawn).read_bytes()
    (tmp_path / "short.bmp").write_bytes(whole[:-1])
    (tmp_path / "text.bmp").write_text("not an image")
    (tmp_path / "empty.bmp").touch()
    cv2.imwrite(str(tmp_path / "frame.png"), drawn)
    cv2.imwrite(str(tmp_path / "grey.bmp"), drawn[..., 0])
    for name in ("short.bmp", "text.bmp", "empty.bmp", "frame.png", "grey.bmp", "missing.bmp", "."):
        assert read_cell(tmp_path / name, Desk()) is None


def test_memory_used_before_leaves_no_trace(tmp_path):
    desk = Desk()
    desk.content[:] = 255
    small, large = frame(100, 120, (60, 50, 20, 22)), frame(700, 700, (350, 350, 120, 160))
    for drawn in (large, small, large):
        path = store(tmp_path, drawn)
        np.testing.assert_array_equal(read_cell(path, desk), by_the_whole_file(path))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real frames are not there")
def test_real_frames_are_read_so():
    paths = sorted(REAL.rglob("UID_*.bmp"))
    assert paths
    for path in paths:
        np.testing.assert_array_equal(read_cell(path, Desk()), by_the_whole_file(path))
