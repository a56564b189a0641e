"""The symmetries of the square: exact, complete, closed."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.base.errors import CatalogError, CourseError
from helpers.catalog import augmentation

CORNERS = np.array([[1, 2], [3, 4]], np.uint8)[..., None]

images = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    elements=st.integers(0, 255),
)


@pytest.mark.parametrize(
    ("transform", "seen"),
    [
        ("identity", [[1, 2], [3, 4]]),
        ("flip_horizontal", [[2, 1], [4, 3]]),
        ("flip_vertical", [[3, 4], [1, 2]]),
        ("rot90", [[2, 4], [1, 3]]),
        ("rot180", [[4, 3], [2, 1]]),
        ("rot270", [[3, 1], [4, 2]]),
        ("transpose", [[1, 3], [2, 4]]),
        ("antitranspose", [[4, 2], [3, 1]]),
    ],
)
def test_each_does_what_its_name_says(transform, seen):
    assert augmentation.apply(CORNERS, transform)[..., 0].tolist() == seen


def test_all_eight_differ_and_any_two_in_a_row_are_a_third():
    seen = {augmentation.apply(CORNERS, name).tobytes() for name in augmentation.TRANSFORMS}
    assert len(seen) == len(augmentation.TRANSFORMS) == 8
    for first, second in itertools.product(augmentation.TRANSFORMS, repeat=2):
        both = augmentation.apply(augmentation.apply(CORNERS, first), second)
        assert both.tobytes() in seen


@given(images, st.sampled_from(augmentation.TRANSFORMS))
@settings(max_examples=40, deadline=None)
def test_no_pixel_changes_and_the_input_stays(image, transform):
    before = image.copy()
    out = augmentation.apply(image, transform)
    assert out.dtype == image.dtype
    assert out.flags.c_contiguous
    assert not np.shares_memory(out, image)
    np.testing.assert_array_equal(image, before)
    pixels = [np.sort(a.reshape(-1, a.shape[-1]), axis=0) for a in (image, out)]
    np.testing.assert_array_equal(*pixels)


@given(images, st.sampled_from(augmentation.TRANSFORMS))
@settings(max_examples=40, deadline=None)
def test_a_stack_is_turned_image_by_image(image, transform):
    stack = np.stack([image, image[::-1]])
    one_by_one = np.stack([augmentation.apply(a, transform) for a in stack])
    np.testing.assert_array_equal(augmentation.apply(stack, transform), one_by_one)


def test_unknown_names_and_wrong_arrays_are_refused_in_one_sentence():
    with pytest.raises(CatalogError, match=r"'rot45', but must be one of identity"):
        augmentation.apply(CORNERS, "rot45")
    with pytest.raises(CourseError, match=r"\(2, 2\) is no image"):
        augmentation.apply(CORNERS[..., 0], "rot90")
