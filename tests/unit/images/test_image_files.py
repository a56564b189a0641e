"""Every kind of image file: the right picture or a refusal by name, never another picture."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from helpers.base.errors import ImageError
from helpers.datasets.files import look_into
from helpers.images import read_image
from tests.unit.images import image_kinds

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", image_kinds.kinds())
def test_the_right_picture_or_a_refusal_by_name(tmp_path, name, capfd):
    content, shown = image_kinds.kinds()[name]
    path = tmp_path / name
    path.write_bytes(content)
    if name in image_kinds.REFUSED:
        reason = image_kinds.REFUSED[name]
        with pytest.raises(ImageError, match=rf"{name} cannot be used .*({reason})"):
            read_image(path)
        assert re.search(reason, look_into(path).problem)
    else:
        image = read_image(path)
        assert look_into(path)[:3] == ("", image.shape[1], image.shape[0])
        if shown is not None:
            most = 24 if "jp" in name else 2 if "16 bits.bmp" in name else 1
            assert image.shape == shown.shape
            assert np.abs(image.astype(int) - shown).max() <= most
    assert capfd.readouterr() == ("", "")


def opened_in_another_process(count: int, seed: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.images.image_kinds", str(count), str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("count", "seed"), [(300, 1), pytest.param(5000, 2, marks=pytest.mark.slow)]
)
def test_damaged_files_are_read_as_pillow_reads_them_or_refused(count, seed):
    found = opened_in_another_process(count, seed)
    assert found.keys() == {"equal", "refused"}, found
    assert found["equal"] > count / 10
    assert found["refused"] > count / 10


@pytest.mark.parametrize(
    "name", ["plain.png", "tiff_adobe_deflate.tif", "deep predicted.tif", "tiles deflate.tif"]
)
def test_a_changed_byte_in_pixels_with_a_checksum_is_noticed(tmp_path, name):
    content = bytearray(image_kinds.kinds()[name][0])
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=f"{name} .*damaged"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["strips.tif", "tiles.tif"])
def test_a_tiff_that_lacks_a_part_of_its_rows_is_refused(tmp_path, name):
    content = bytearray(image_kinds.kinds()[name][0])
    (place,) = struct.unpack_from("<I", content, 4)
    for entry in range(place + 2, place + 2 + 12 * content[place], 12):
        if struct.unpack_from("<H", content, entry)[0] in (273, 279, 324, 325):
            content[entry + 4] -= 1  # the last strip or tile is not listed
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=f"{name} .*cut off before its end"):
        read_image(tmp_path / name)


def test_the_crash_of_an_animated_png_is_a_refusal(tmp_path):
    """Its second frame has rows with a filter of no kind; OpenCV ended the process."""
    from PIL import Image

    content = image_kinds.kinds()["animated.png"][0]
    chunks = image_kinds.png_chunks(content)
    for cut in range(1, 12):
        broken = [
            (kind, data[:4] + data[4 + cut :]) if kind == b"fdAT" else (kind, data)
            for kind, data in chunks
        ]
        path = tmp_path / f"{cut}.png"
        path.write_bytes(image_kinds.png_of(broken))
        np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path)))


def test_sound_images_of_many_threads_leave_the_error_stream_as_it_was(tmp_path, capfd):
    path = tmp_path / "a.tif"
    path.write_bytes(image_kinds.kinds()["tiff_lzw.tif"][0])
    threads = [threading.Thread(target=read_image, args=(path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


@pytest.mark.parametrize("ending", ["bmp", "jpg", "png", "tif"])
def test_what_is_no_file_is_refused_and_nobody_waits_for_it(tmp_path, ending):
    path = tmp_path / f"pipe.{ending}"
    os.mkfifo(path)
    assert look_into(path).problem.startswith("cannot be opened (a pipe, a socket")
    with pytest.raises(ImageError, match="cannot be read: a pipe"):
        read_image(path)
