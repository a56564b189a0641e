"""Untrusted bytes become the picture that they show, or one sentence."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.app import uploads
from helpers.base.errors import ImageError

SHOWN = np.random.default_rng(3).integers(0, 256, (18, 27, 3), dtype=np.uint8)


def as_file(kind, image=None, **options):
    file = io.BytesIO()
    (image or Image.fromarray(SHOWN)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["BMP", "PNG", "TIFF"])
def test_pixels_come_as_they_are(kind):
    pixels = uploads.read(as_file(kind))
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, SHOWN)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_photograph_is_turned_as_its_camera_says(kind, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    content = as_file(kind, exif=exif)
    expected = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    np.testing.assert_array_equal(uploads.read(content), expected)


def test_an_impossible_orientation_turns_nothing():
    exif = Image.Exif()
    exif[0x0112] = 77
    np.testing.assert_array_equal(uploads.read(as_file("PNG", exif=exif)), SHOWN)


def test_of_sixteen_bits_the_upper_eight_are_taken():
    deep = Image.fromarray(SHOWN[..., 0].astype(np.uint16) * 256 + 7)
    np.testing.assert_array_equal(uploads.read(as_file("PNG", deep))[..., 1], SHOWN[..., 0])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<html>", "web page"),
        (b"BM", "text"),
        (as_file("GIF"), "no readable"),
        (as_file("WEBP"), "no readable"),
        (as_file("PNG")[:-40], "cut off"),
        (as_file("JPEG")[:-40], "cut off"),
        (as_file("JPEG", Image.fromarray(SHOWN).convert("CMYK")), "CMYK"),
        (as_file("TIFF", save_all=True, append_images=[Image.fromarray(SHOWN)]), "several"),
        (as_file("PNG", save_all=True, append_images=[Image.fromarray(~SHOWN)]), "several"),
    ],
)
def test_other_files_are_refused_in_a_sentence(content, says):
    with pytest.raises(ImageError, match=says) as caught:
        uploads.read(content)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["BMP", "PNG", "TIFF"])
def test_pixels_are_counted_before_they_are_decoded(kind, monkeypatch):
    bomb = as_file(kind, Image.new("1" if kind != "BMP" else "RGB", (1000, 600)))
    limits = uploads.Limits(pixels=500_000)
    monkeypatch.setattr(Image.Image, "convert", None)
    monkeypatch.setattr(uploads, "open_image", None)
    with pytest.raises(ImageError, match="1000x600"):
        uploads.read(bomb, limits)


def test_a_decompression_bomb_is_refused():
    content = bytearray(as_file("PNG"))
    content[16:24] = struct.pack(">II", 50_000, 50_000)  # of the header, with its checksum
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(ImageError, match="megapixels"):
        uploads.read(bytes(content))


def test_large_files_are_refused():
    with pytest.raises(ImageError, match=r"larger than 0\.001 MB"):
        uploads.read(bytes(1_001), uploads.Limits(bytes=1_000))


def test_damaged_files_give_pixels_or_a_sentence():
    rng = random.Random(5)
    sound = [as_file("PNG"), as_file("JPEG"), as_file("TIFF", compression="tiff_lzw")]
    sound.append(as_file("BMP"))
    for _ in range(300):
        content = bytearray(rng.choice(sound))
        for _ in range(rng.randint(1, 6)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            pixels = uploads.read(bytes(content[: rng.choice([len(content), 60, 300])]))
        except ImageError:
            continue
        assert pixels.ndim == 3
        assert pixels.dtype == np.uint8
