"""Image arrays: prepared, aligned, made once, whole or not at all."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers import catalog
from helpers.base.errors import ImageError
from helpers.catalog import augmentation
from helpers.datasets.files import sha256_of
from helpers.images import loading as images
from helpers.images.cropping import crop_to_cell
from helpers.images.loading import load_images, prepare, read_image, readable
from tests.unit.images.pictures import picture, save

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
RNG = np.random.default_rng


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts" / "images"


@pytest.fixture
def rows(tmp_path):
    """A catalog of 70 frames: more than a batch."""
    folder = tmp_path / "frames"
    folder.mkdir()
    made = []
    for i in range(70):
        path = save(folder / f"f{i:02d}.bmp", picture(48 + i % 3, 64, seed=i))
        row = {"image_id": path.stem, "path": path, "label": "all", "sha256": sha256_of(path)}
        made.append(row)
    return catalog.make(made)


# Preparing


@pytest.mark.parametrize("size", [1, 48, 75, 96, 224, 500])
def test_prepared_images_are_square(size):
    for image in (picture(450, 450), picture(600, 600), picture(90, 240) + 90):
        assert prepare(image, size).shape == (size, size, 3)
        assert prepare(image, size, crop=False).shape == (size, size, 3)


def test_a_frame_is_cropped_and_a_field_is_not():
    image = picture(96, 96)
    np.testing.assert_array_equal(prepare(image, crop_to_cell(image).shape[0]), crop_to_cell(image))
    field = RNG(0).integers(1, 256, (96, 160, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare(field, 96), field[:, 32:128])
    whole = prepare(field, 160, crop=False)
    np.testing.assert_array_equal(whole[32:128], field)
    assert not whole[:32].any()


@pytest.mark.parametrize("size", [48, 96, 224])
def test_resizing_is_close_to_averaging_areas(size):
    smooth = cv2.GaussianBlur(RNG(0).integers(0, 256, (300, 300, 3), dtype=np.uint8), (0, 0), 10)
    smooth = cv2.normalize(smooth, None, 1, 255, cv2.NORM_MINMAX)
    area = cv2.resize(smooth, (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(prepare(smooth, size).astype(float) - area).mean() < 1.5
    assert abs(prepare(smooth, size).mean() - smooth.mean()) < 0.5


# The array


def expected(table, size=32, crop=True):
    made = [prepare(read_image(path), size, crop) for path in table["path"]]
    turns = zip(made, table["transform"], strict=True)
    return np.stack([augmentation.apply(image, transform) for image, transform in turns])


def test_the_array_is_aligned_read_only_and_on_disk(rows, artifacts):
    loaded = load_images(rows, 32)
    assert isinstance(loaded, np.memmap)
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, expected(rows))
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 0
    np.testing.assert_array_equal(load_images(rows, 32, crop=False), expected(rows, crop=False))
    assert len(list(artifacts.glob("*.npy"))) == 2
    assert not list(artifacts.glob(".*.npy"))


@pytest.mark.parametrize("workers", [1, 3])
def test_any_order_and_any_number_of_threads_give_aligned_rows(rows, workers, monkeypatch):
    shuffled = rows.sample(frac=1, random_state=1)
    order = shuffled.index.to_numpy()
    monkeypatch.setattr(images, "cores", lambda: workers)
    loaded = load_images(shuffled, 32)
    np.testing.assert_array_equal(loaded, expected(rows)[order])


def test_copies_are_turned_after_crop_and_resize(rows):
    copies = rows.head(8).assign(transform=list(augmentation.TRANSFORMS), split="train")
    copies["original"] = copies["image_id"]
    copies["image_id"] += "-" + copies["transform"]
    both = catalog.check(copies.reset_index(drop=True))
    loaded = load_images(both, 32)
    np.testing.assert_array_equal(loaded, expected(both))
    assert len({image.tobytes() for image in loaded}) == 8


def test_made_once_and_again_when_what_it_is_made_of_changes(rows, artifacts, monkeypatch):
    load_images(rows, 16)
    calls = []
    build = images._build
    monkeypatch.setattr(images, "_build", lambda *all_: (calls.append(1), build(*all_)))
    load_images(rows, 16)
    load_images(rows.assign(split="train", label="hem"), 16)  # the same pixels
    assert not calls
    load_images(rows, 17)
    load_images(rows.iloc[1:], 16)
    save(rows["path"].iloc[3], picture(48, 64, seed=100))
    rows = rows.assign(sha256=rows["path"].map(sha256_of))
    load_images(rows, 16)
    monkeypatch.setattr(images.code, "version", lambda *_: "other")
    load_images(rows, 16)
    assert len(calls) == 4


def test_without_hashes_the_files_themselves_are_the_key(rows):
    bare = rows.assign(sha256="")
    before = load_images(bare, 32)
    save(bare["path"].iloc[0], 255 - picture(200, 200))
    after = load_images(bare, 32)
    assert not np.array_equal(before[0], after[0])
    np.testing.assert_array_equal(after, expected(bare))


def test_a_corrupt_image_names_itself_and_nothing_is_kept(rows, artifacts):
    for row in (66, 11):
        Path(rows["path"].iloc[row]).write_bytes(b"BM")
    black = save(rows["path"].iloc[40], np.zeros((50, 50, 3), np.uint8))
    rows.loc[40, "sha256"] = sha256_of(black)
    with pytest.raises(ImageError, match=r"f11\.bmp cannot be used as an image"):
        load_images(rows, 32)
    assert not [file for file in artifacts.iterdir() if file.suffix != ".lock"]

    usable, left_out = readable(rows)
    assert list(left_out["image_id"]) == ["f11", "f40", "f66"]
    assert (
        "f40.bmp cannot be cropped. The frame of 50x50 pixels holds nothing"
        in (left_out["problem"][1])
    )
    np.testing.assert_array_equal(load_images(usable, 32), expected(usable))
    assert list(usable.index) == list(range(67))


@pytest.mark.parametrize("ending", [".bmp", ".png"])
def test_a_file_that_changed_after_it_was_cataloged_is_named(rows, tmp_path, ending, artifacts):
    paths = [save(tmp_path / f"c{i}{ending}", picture(40, 40, seed=i)) for i in range(3)]
    table = rows.head(3).assign(path=list(map(str, paths)), sha256=list(map(sha256_of, paths)))
    before = load_images(table, 16).copy()
    save(paths[1], picture(40, 40, seed=9))
    with pytest.raises(ImageError, match=rf"c1\{ending} is not the file .*load the data set again"):
        load_images(table, 17)
    assert not [file for file in artifacts.iterdir() if "-17-" in file.name and file.stem[0] != "."]
    assert readable(table)[1]["image_id"].tolist() == ["f01"]
    np.testing.assert_array_equal(load_images(table, 16), before)  # these are of the old bytes


def test_a_frame_without_a_cell_says_what_to_do(rows):
    table = rows.head(1).assign(sha256="")
    save(table["path"].iloc[0], np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(ImageError, match=r"f00\.bmp cannot be cropped.*Remove the file"):
        load_images(table, 16)


def test_a_sound_catalog_is_readable_as_it_is(rows):
    usable, left_out = readable(rows)
    assert usable.equals(rows)
    assert left_out.empty


@pytest.mark.parametrize("size", [0, -1, 9.5, "96", True])
def test_impossible_sizes_are_refused(rows, size):
    with pytest.raises(ImageError, match="must be a whole number from 1 up"):
        load_images(rows, size)


def test_a_damaged_array_is_made_again(rows, artifacts):
    load_images(rows, 32)
    (file,) = artifacts.glob("*.npy")
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(load_images(rows, 32), expected(rows))


def test_opencv_keeps_its_threads(rows):
    before = cv2.getNumThreads()
    workers = [threading.Thread(target=load_images, args=(rows, size)) for size in (20, 21, 22)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert cv2.getNumThreads() == before


def test_nothing_is_printed_where_no_terminal_is(rows, capfd):
    load_images(rows, 32)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def processes(monkeypatch):
    """Let even a small build be shared with other processes, two images at a time."""
    monkeypatch.setattr(images, "PROCESSES_FROM", 0)
    monkeypatch.setattr(images, "cores", lambda: 2)
    monkeypatch.setattr(images, "_BATCH", 2)
    from joblib.externals import loky

    pools = []

    class Pool(loky.ProcessPoolExecutor):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            pools.append(self)

    monkeypatch.setattr(loky, "ProcessPoolExecutor", Pool)
    return pools


@pytest.fixture
def done_here(monkeypatch):
    """Slow every batch down, so that other processes get their share; return this one's share."""
    done, prepare_rows = [], images.prepare_rows

    def slowly(rows, *more):  # other processes get a copy, with a list of their own
        time.sleep(0.05)
        done.append(rows)
        return prepare_rows(rows, *more)

    monkeypatch.setattr(images, "prepare_rows", slowly)
    return done


@pytest.mark.slow
def test_processes_give_the_same(rows, processes, done_here):
    copies = rows.head(8).assign(transform=list(augmentation.TRANSFORMS), split="train")
    copies["original"] = copies["image_id"]
    copies["image_id"] += "-" + copies["transform"]
    everything = catalog.make(pd.concat([rows, copies]))
    np.testing.assert_array_equal(load_images(everything, 32), expected(everything))
    assert len(processes) == 1
    assert len(done_here) < 39  # the others did something


@pytest.mark.slow
def test_processes_name_the_first_corrupt_image(rows, processes, done_here, artifacts):
    for row in (66, 31, 11):
        Path(rows["path"].iloc[row]).write_bytes(b"BM")
    with pytest.raises(ImageError, match=r"f11\.bmp cannot be used as an image"):
        load_images(rows, 32)
    assert not [file for file in artifacts.iterdir() if file.suffix != ".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.8])
def test_the_work_of_a_killed_process_is_done_here(rows, processes, done_here, pause):
    def kill():
        wait_for(lambda: processes and processes[0]._processes)
        time.sleep(pause)  # while it starts, and while it works
        for pid in list(processes[0]._processes):
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    np.testing.assert_array_equal(load_images(rows, 32), expected(rows))
    killer.join()


SLOW = """
import sys, time
from helpers import catalog, images
from helpers.images import loading, preparing
loading.cores = lambda: 1
prepare = preparing.read_and_prepare
def slowly(*all_):
    time.sleep(float(sys.argv[2]))
    return prepare(*all_)
preparing.read_and_prepare = slowly
print("ready", flush=True)
images.load_images(catalog.read(sys.argv[1]), 32)
print("done", flush=True)
"""


def start(table, tmp_path, pause):
    catalog.write(tmp_path / "catalog.csv", table)
    words = [sys.executable, "-c", SLOW, str(tmp_path / "catalog.csv"), str(pause)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def wait_for(what, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_that_is_taken_for_whole(rows, tmp_path, artifacts):
    process = start(rows, tmp_path, 0.02)
    # 64 of the 70 images are a batch: once they are on disk, the build is half done.
    wait_for(lambda: any(f.stat().st_size > 100_000 for f in artifacts.glob(".*.npy")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(artifacts.glob(".*.npy"))
    assert not list(artifacts.glob("[!.]*.npy"))
    np.testing.assert_array_equal(load_images(rows, 32), expected(rows))
    assert not list(artifacts.glob(".*.npy"))


@pytest.mark.slow
def test_two_processes_at_once_make_it_once(rows, tmp_path, artifacts):
    processes = [start(rows, tmp_path, 0.005) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["ready\ndone\n"] * 2
    assert len(list(artifacts.glob("*.npy"))) == 1
    np.testing.assert_array_equal(load_images(rows, 32), expected(rows))


@pytest.mark.slow
@pytest.mark.realdata
def test_real_frames_are_what_their_pieces_give():
    files = sorted((SHARED / "cnmc").rglob("*.bmp"))
    if not files:
        pytest.skip(f"no real frames in {SHARED / 'cnmc'}")
    table = catalog.make(
        {"image_id": file.stem, "path": file, "label": file.parent.name, "sha256": sha256_of(file)}
        for file in files
    )
    for size in (48, 96, 224):
        np.testing.assert_array_equal(load_images(table, size), expected(table, size))
    for file in files:
        np.testing.assert_array_equal(read_image(file), cv2.imread(str(file))[..., ::-1])
        crop = crop_to_cell(read_image(file))
        np.testing.assert_array_equal(prepare(read_image(file), crop.shape[0]), crop)


@pytest.mark.parametrize("call", ["load_images", "readable", "prepare"])
@pytest.mark.parametrize("crop", ["no", None, 1])
def test_whether_to_crop_is_said_by_true_or_false(call, crop):
    from tests.unit import strange

    given = strange.images()[0] if call == "prepare" else strange.catalog()
    with pytest.raises(ImageError, match="crop must be True or False, but is"):
        getattr(images, call)(given, crop=crop)


def test_what_is_no_image_or_path_is_told():
    for path in (None, "", 3, b"x.png"):
        with pytest.raises(ImageError, match="The path of an image must"):
            images.read_image(path)
    for image in (None, np.zeros((8, 8)), np.zeros((8, 8, 3)), "cell.png"):
        with pytest.raises(ImageError, match="must be uint8 of shape"):
            images.prepare(image)
