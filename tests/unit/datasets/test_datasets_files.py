"""Looking into files and remembering what was found."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import time
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.base import image_files
from helpers.datasets import files as data_files
from helpers.datasets.files import Memory, look_into, scan


@pytest.fixture(autouse=True)
def _own_artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    old = time.time() - 3600
    for number in range(6):
        path = place / f"{number}.bmp"
        path.write_bytes(bytes([number]) * 100)
        os.utime(path, (old, old))
    return place


def hashes(folder: Path, **more) -> list[str]:
    return Memory(folder, **more).hashes(scan(folder)[0])


@pytest.mark.parametrize("ending", [".bmp", ".png", ".jpg", ".tif"])
@pytest.mark.parametrize("shape", [(31, 47, 3), (31, 47)])
def test_sizes_are_told_without_decoding(tmp_path, ending, shape):
    path = tmp_path / f"image{ending}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))
    content = look_into(path)
    assert content.problem == ""
    assert (content.width, content.height) == (47, 31)


@pytest.mark.parametrize("ending", [".bmp", ".png", ".jpg"])
def test_an_image_cut_off_is_noticed(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:-20])
    assert look_into(path).problem == "cut off before its end"


def test_what_looks_like_an_image_and_is_none_is_told(tmp_path):
    path = tmp_path / "image.bmp"
    for content, problem in {
        b"": "empty file",
        b"version https://git-lfs.github.com/spec/v1\n": (
            "git-lfs pointer, to be fetched with `git lfs pull`"
        ),
        b"<!DOCTYPE html><html></html>": "web page, not an image",
        b"1,2\n": "text, not an image",
        b"GIF89a" + bytes(99): "no readable BMP, JPEG, PNG or TIFF image",
    }.items():
        path.write_bytes(content)
        assert look_into(path).problem == problem
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((10_001, 10_000), np.uint8))
    assert look_into(tmp_path / "image.png").problem == "more than 100 megapixels"


def test_a_photograph_of_several_pictures_is_a_jpeg(tmp_path):
    one, other = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    one.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[other])
    assert look_into(tmp_path / "a.jpg") == data_files.Content("", 40, 30)


@pytest.mark.slow
@given(st.binary(max_size=300), st.sampled_from(sorted(data_files.IMAGE_ENDINGS)))
def test_any_bytes_are_looked_into_without_an_error(tmp_path_factory, content, ending):
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    for head in (b"", b"BM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0"):
        path.write_bytes(head + content)
        assert isinstance(look_into(path).problem, str)


def test_hashes_are_those_of_the_bytes(folder):
    expected = [hashlib.sha256(bytes([number]) * 100).hexdigest() for number in range(6)]
    assert hashes(folder) == expected


def test_a_file_is_hashed_once_until_it_changes(folder, monkeypatch):
    first = hashes(folder)
    read = []
    true_hash = data_files.sha256_of
    monkeypatch.setattr(data_files, "sha256_of", lambda path: read.append(path) or true_hash(path))
    assert hashes(folder) == first
    assert read == []
    (folder / "3.bmp").write_bytes(b"other")
    second = hashes(folder)
    assert [Path(path).name for path in read] == ["3.bmp"]
    assert second[3] == hashlib.sha256(b"other").hexdigest()
    assert hashes(folder, trust=False) == second
    assert len(read) == 1 + 6


def test_swapped_files_of_one_size_and_time_are_noticed(folder):
    one, other = sorted(path for path in folder.iterdir() if path.is_file())[:2]
    for path, byte in ((one, b"1"), (other, b"2")):
        path.write_bytes(byte * 50)
        os.utime(path, ns=(10**18, 10**18))
    before = hashes(folder)
    time.sleep(0.02)  # the clock of a disk is coarse
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)
    assert [path.stat().st_mtime_ns for path in (one, other)] == [10**18] * 2
    assert hashes(folder)[:2] == before[1::-1]


def test_a_file_that_has_just_changed_is_not_remembered(folder):
    # Same size and, on a coarse clock, the same time: only a fresh look tells.
    path = folder / "0.bmp"
    path.write_bytes(b"a" * 100)
    stamp = os.stat(path)
    hashes(folder)
    path.write_bytes(b"b" * 100)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert hashes(folder)[0] == hashlib.sha256(b"b" * 100).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 0}',
        '{"version": 1, "files": 3}',
        '{"files": {"0.bmp": 1}}',
    ],
)
def test_a_damaged_store_is_started_afresh(folder, content):
    first = hashes(folder)
    store = Memory(folder).store
    assert json.loads(store.read_text())["files"]
    store.write_text(content)
    assert hashes(folder) == first
    assert len(json.loads(store.read_text())["files"]) == 6


def test_entries_of_another_shape_are_ignored(folder):
    first = hashes(folder)
    store = Memory(folder).store
    stored = json.loads(store.read_text())
    stored["files"]["0.bmp"] = [1, 2]
    stored["files"]["1.bmp"] = {"stamp": stored["files"]["1.bmp"]["stamp"], "content": "x"}
    store.write_text(json.dumps(stored))
    assert hashes(folder) == first
    assert all(len(content.problem) > 1 for content in Memory(folder).contents(scan(folder)[0]))


def test_a_read_only_store_only_costs_time(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(data_files, "write_text", refuse)
    assert len(hashes(folder)) == 6


def _hash_part(folder: Path, artifacts: str, part: slice) -> None:
    os.environ["COURSE_ARTIFACTS"] = artifacts
    Memory(folder).hashes(scan(folder)[0][part])


def test_two_processes_add_to_each_other(folder, tmp_path):
    context = multiprocessing.get_context("fork")
    artifacts = str(tmp_path / "artifacts")
    parts = [slice(0, 3), slice(3, 6)]
    workers = [context.Process(target=_hash_part, args=(folder, artifacts, p)) for p in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(json.loads(Memory(folder).store.read_text())["files"]) == 6


def test_links_that_lead_in_circles_end(tmp_path):
    place = tmp_path / "data"
    (place / "all").mkdir(parents=True)
    (place / "all" / "1.bmp").write_bytes(b"x")
    (place / "all" / "back").symlink_to(place)
    assert [file.relative for file in scan(place)[0]] == ["all/1.bmp"]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 400))
def test_a_plain_bmp_is_told_from_its_header_as_pillow_tells_it(width, height, cut):
    whole = io.BytesIO()
    Image.new("RGB", (width, height), (10, 20, 30)).save(whole, "BMP")
    content = whole.getvalue()[: max(54, len(whole.getvalue()) - cut)]
    quick = image_files.open_image(io.BytesIO(content))
    with mock.patch.object(image_files, "_plain_bmp", return_value=None):
        slow = image_files.open_image(io.BytesIO(content))
    assert quick[1:4] == slow[1:4] == ("BMP", width, height)
    assert quick.problem == ("cut off before its end" if cut else "")
    if slow.problem or not cut:  # Pillow does not miss the zeros that fill up the last row
        assert quick.problem == slow.problem
    assert quick.bgr_rows is not None


@pytest.mark.parametrize("mode", ["L", "1", "RGBA", "P"])
def test_other_kinds_of_bmp_are_left_to_pillow(mode):
    content = io.BytesIO()
    Image.new("RGB", (5, 4), "red").convert(mode).save(content, "BMP")
    assert image_files._plain_bmp(content.getvalue()[:54], 10_000) is None
    assert image_files.open_image(content)[:4] == ("", "BMP", 5, 4)
