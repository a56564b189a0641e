"""How long an image takes, compared with decoding alone. Run with ``--benchmark-enable``.

Promised: 0.7 of the speed of ``cv2.imread`` on one core, and 1.7 times that on two
cores in a large build. ``imread`` is measured twice. In a plain loop, the memory of
each image may be requested from the system anew, which takes four times as long as
decoding (it depends on what the process allocated before). Where the last image is
kept until the next is read, its memory is reused.
"""

import itertools

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers import catalog
from helpers.datasets.files import sha256_of
from helpers.images import loading as images

pytestmark = pytest.mark.slow

FRAMES = 400


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A catalog of 450x450 BMP files, each of one cell as large as C-NMC's."""
    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        frame = np.zeros((450, 450, 3), np.uint8)
        mask = np.zeros((450, 450), np.uint8)
        half = tuple(int(half) for half in rng.integers(80, 140, 2))
        cv2.ellipse(mask, (225, 225), half, 0, 0, 360, 1, -1)
        frame[mask > 0] = rng.integers(60, 200, (int(mask.sum()), 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i:03d}.bmp"), frame)
    for i, file in zip(range(FRAMES), itertools.cycle(sorted(folder.iterdir())), strict=False):
        rows.append(
            {"image_id": f"{i:04d}", "path": file, "label": "all", "sha256": sha256_of(file)}
        )
    return catalog.make(rows)


def build(table, folder):
    images._build(folder / "images.npy", table, (len(table), 96, 96, 3), True)


@pytest.mark.parametrize("workers", [1, 2])
def test_decode_crop_resize_and_write(benchmark, frames, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(images, "cores", lambda: workers)
    benchmark.extra_info["images"] = FRAMES
    benchmark(build, frames, tmp_path)
    assert np.load(tmp_path / "images.npy", mmap_mode="r").shape == (FRAMES, 96, 96, 3)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_of_thousands(benchmark, frames, tmp_path, monkeypatch, workers):
    """As large as the training set of C-NMC: in smaller builds, processes do not pay."""
    monkeypatch.setattr(images, "cores", lambda: workers)
    table = pd.concat([frames] * 27, ignore_index=True)
    table["image_id"] = [f"{i:05d}" for i in range(len(table))]
    benchmark.extra_info["images"] = len(table)
    benchmark.pedantic(build, (table, tmp_path), rounds=3)


@pytest.mark.parametrize("kept", ["fresh memory", "kept memory"])
def test_plain_imread(benchmark, frames, kept):
    def read():
        held = None
        for path in frames["path"]:
            image = cv2.imread(path)
            if kept == "kept memory":
                held = image  # noqa: F841  two blocks take turns, none goes back to the system

    benchmark.extra_info["images"] = FRAMES
    benchmark(read)
