"""Image files are read right, or refused by name."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import CourseError, ImageError
from helpers.images.loading import read_image
from tests.unit.images.pictures import picture, save

RNG = np.random.default_rng


@pytest.mark.parametrize("ending", ["bmp", "png", "tif"])
def test_lossless_files_come_back_as_they_were(tmp_path, ending):
    image = picture(31, 41)
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a.{ending}", image)), image)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_plain_bmp_files_are_read_as_opencv_reads_them(tmp_path_factory, height, width, seed):
    image = RNG(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = save(tmp_path_factory.mktemp("bmp") / "a.bmp", image)
    np.testing.assert_array_equal(read_image(path), image)
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


def test_a_top_down_bmp_is_read_right(tmp_path):
    path = save(tmp_path / "a.bmp", picture(8, 8))
    content = bytearray(path.read_bytes())
    height = int.from_bytes(content[22:26], "little")
    content[22:26] = (-height).to_bytes(4, "little", signed=True)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path), picture(8, 8)[::-1])


def test_a_jpeg_is_rgb_and_the_content_counts_not_the_ending(tmp_path):
    red = np.full((16, 16, 3), (200, 30, 40), np.uint8)
    path = save(tmp_path / "a.jpg", red).rename(tmp_path / "a.bmp")
    assert np.abs(read_image(path).astype(int) - red).max() < 6


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_are_scaled_to_8(tmp_path, ending):
    image = picture()
    path = save(tmp_path / f"a.{ending}", image.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(path), image)
    save(path, np.full((4, 4, 3), 65535, np.uint16))
    assert read_image(path).min() == 255


def test_grey_is_repeated_in_three_channels(tmp_path):
    grey = picture()[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", grey)), expected)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.bmp", grey)), expected)
    deep = grey.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(save(tmp_path / "b.png", deep)), expected)


def test_what_is_transparent_is_black(tmp_path):
    image = picture() // 2 + 60
    alpha = np.zeros((30, 40), np.uint8)
    alpha[10:20], alpha[20:] = 255, 102
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([image[..., ::-1], alpha]))
    read = read_image(tmp_path / "a.png")
    assert not read[:10].any()
    np.testing.assert_array_equal(read[10:20], image[10:20])
    np.testing.assert_allclose(read[20:], image[20:] * 0.4, atol=0.51)


def test_exif_orientation_is_not_applied(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown after a quarter turn
    Image.fromarray(picture(20, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (20, 40, 3)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.bmp", b"", "empty file"),
        ("a.bmp", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        ("a.jpg", b"<!DOCTYPE html><html></html>", "web page, not an image"),
        ("a.bmp", b"not an image, just a note", "text, not an image"),
        ("a.png", b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", "no readable BMP, JPEG, PNG or TIFF"),
        ("a.bmp", b"BM\x00\x00", "no readable BMP"),
        ("a.tif", b"II*\x00\xff\xff\xff\xff", "no readable BMP, JPEG, PNG or TIFF"),
    ],
)
def test_what_is_no_image_is_refused_by_name(tmp_path, name, content, found):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError, match=found) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, CourseError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("ending", ["bmp", "jpg", "png", "tif"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_a_truncated_file_is_refused_by_name(tmp_path, ending, share):
    path = save(tmp_path / f"a.{ending}", RNG(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match=path.name):
        read_image(path)


def test_missing_files_and_folders_are_refused_by_name(tmp_path):
    with pytest.raises(ImageError, match=r"none\.bmp cannot be read: No such file"):
        read_image(tmp_path / "none.bmp")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


def test_a_float_tiff_is_refused_by_name(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), np.ones((4, 4), np.float32))
    with pytest.raises(ImageError, match=r"a\.tif .*floating-point values"):
        read_image(tmp_path / "a.tif")


@pytest.mark.slow
def test_too_many_pixels_are_refused_from_the_header(tmp_path):
    for side in (10_001, 20_000):  # above the course's limit, and above Pillow's
        path = save(tmp_path / f"{side}.png", np.zeros((side, side), np.uint8))
        with pytest.raises(ImageError, match=rf"{side}\.png .*more than 100 megapixels"):
            read_image(path)


@pytest.mark.parametrize("tail", [b"\0\0\0\x18ftypmp42" + b"\x11" * 200_000, bytes(100_000)])
def test_what_phones_write_behind_a_jpeg_does_not_matter(tmp_path, tail):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "plain.jpg").write_bytes(whole)
    (tmp_path / "tail.jpg").write_bytes(whole + tail)
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2] + tail)
    plain = read_image(tmp_path / "plain.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "tail.jpg"), plain)
    with pytest.raises(ImageError, match="cut off before its end"):
        read_image(tmp_path / "half.jpg")


def test_twelve_bits_in_sixteen_are_not_read_as_black(tmp_path):
    image = np.full((20, 20, 3), 3000, np.uint16)
    cv2.imwrite(str(tmp_path / "dark.tif"), image)
    cv2.imwrite(str(tmp_path / "bright.tif"), image * 16)
    with pytest.raises(ImageError, match=r"dark\.tif .*nearly black: 16-bit values below 4096"):
        read_image(tmp_path / "dark.tif")
    assert read_image(tmp_path / "bright.tif").max() == round(48000 / 257)
