"""Catalogs read from folders: layouts, what is left out, what it depends on."""

from __future__ import annotations

import os
import random
import shutil
import struct
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers import datasets
from helpers.base.errors import DatasetError
from helpers.base.settings import Profile, SettingsError
from helpers.datasets.copies.index import as_catalog
from helpers.datasets.readers import all_idb, cnmc
from helpers.datasets.sampling import take

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data"
KAGGLE = "C-NMC_Leukemia/training_data/fold_{fold}/{label}"


@pytest.fixture(autouse=True)
def _own_artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))


def bmp(path: Path, side: int = 450, mark: int = 0) -> Path:
    """Write a black BMP whose last bytes are `mark`; a sparse file of the true size."""
    row = (3 * side + 3) // 4 * 4
    size = 54 + row * side
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(struct.pack("<2sIHHI", b"BM", size, 0, 0, 54))
        stream.write(struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, size - 54, 0, 0, 0, 0))
        stream.seek(size - 8)
        stream.write(struct.pack("<Q", mark))
    return path


def jpeg(path: Path, side: int = 224, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((side, side, 3), value, np.uint8))
    return path


FRAMES = [
    ("UID_1_1_1_all.bmp", 0),
    ("UID_11_2_3_all.bmp", 1),
    ("UID_H1_1_1_hem.bmp", 0),
    ("UID_h3_4_1_hem.bmp", 2),
]


def layout(root: Path, pattern: str) -> Path:
    for mark, (name, fold) in enumerate(FRAMES):
        label = name.removesuffix(".bmp").rpartition("_")[2]
        bmp(root / pattern.format(fold=fold, label=label) / name, mark=mark)
    return root


@pytest.mark.parametrize(
    ("pattern", "folds"),
    [
        (KAGGLE, {"0", "1", "2"}),
        ("fold_{fold}/fold_{fold}/{label}", {"0", "1", "2"}),
        ("PKG - C-NMC 2019/C-NMC_training_data/fold_{fold}/{label}", {"0", "1", "2"}),
        ("{label}", {""}),
        ("", {""}),
    ],
)
def test_every_layout_gives_the_same_images(tmp_path, pattern, folds, capsys):
    catalog = datasets.load("cnmc", layout(tmp_path / "data", pattern))
    assert catalog["image_id"].tolist() == sorted(Path(name).stem for name, _ in FRAMES)
    found = catalog.set_index("image_id")
    assert found["subject"].to_dict() == {
        "UID_1_1_1_all": "1",
        "UID_11_2_3_all": "11",
        "UID_H1_1_1_hem": "H1",
        "UID_h3_4_1_hem": "H3",
    }
    assert set(catalog["fold"]) == folds
    assert catalogs.target(catalog).sum() == 2
    assert all(Path(path).is_absolute() for path in catalog["path"])
    assert capsys.readouterr().out == ""


def test_catalog_depends_neither_on_the_disk_nor_on_the_folder(tmp_path, monkeypatch):
    one = datasets.load("cnmc", layout(tmp_path / "one", KAGGLE))
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere" / "two")
    listed = datasets.files.os.scandir

    def shuffled(folder):
        entries = list(listed(folder))
        random.Random(str(folder)).shuffle(entries)
        return entries

    monkeypatch.setattr(datasets.files.os, "scandir", shuffled)
    two = datasets.load("cnmc", tmp_path / "elsewhere" / "two")
    pd.testing.assert_frame_equal(one.drop(columns="path"), two.drop(columns="path"))


def test_nothing_is_dropped_in_silence(tmp_path, capsys):
    root = layout(tmp_path / "data", KAGGLE)
    place = root / KAGGLE.format(fold=0, label="all")
    expected = {}

    def add(name: str, reason: str, content: bytes = b"") -> None:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        expected[path.relative_to(root).as_posix()] = reason

    whole = (place / FRAMES[0][0]).read_bytes()
    add("UID_2_1_1_all.bmp", "empty file")
    add(
        "UID_2_1_2_all.bmp",
        "git-lfs pointer, to be fetched with `git lfs pull`",
        b"version https://git-lfs.github.com/spec/v1\n",
    )
    add("UID_2_1_3_all.bmp", "web page, not an image", b"<html>Sign in to go on</html>")
    add("UID_2_1_4_all.bmp", "no readable BMP, JPEG, PNG or TIFF image", bytes(range(200)))
    add("UID_2_1_5_all.bmp", "cut off before its end", whole[:300_000])
    add("UID_2_1_6_hem.bmp", "name says hem, folder says all", whole)
    add("UID_2_1_7_all (1).bmp", "not named as a C-NMC image", whole)
    add("UID_2_1_8_all.jpg", "BMP inside, against its name", whole)
    add("._UID_1_1_1_all.bmp", "system file", b"\0")
    add("Thumbs.db", "system file", b"\0")
    add("UID_1_1_1_all_nucleus_mask.bmp", "mask", whole)
    add(".ipynb_checkpoints/UID_1_1_1_all.bmp", "notebook check point", whole)
    add("frames.zip", "archive, to be unpacked first", b"PK")
    bmp(place / "UID_2_1_9_all.bmp", side=100)
    expected[f"{KAGGLE.format(fold=0, label='all')}/UID_2_1_9_all.bmp"] = (
        "100x100 pixels, not 450x450 or 600x600"
    )
    (place / "UID_2_2_1_all.bmp").symlink_to(root / "nowhere.bmp")
    expected[f"{KAGGLE.format(fold=0, label='all')}/UID_2_2_1_all.bmp"] = (
        "cannot be opened (No such file or directory)"
    )
    (root / "fold_1" / ".ipynb_checkpoints").mkdir(parents=True)
    expected["fold_1/.ipynb_checkpoints"] = "notebook check point"
    (root / "readme.txt").write_text("no image, and does not look like one")
    expected["readme.txt"] = "not an image by its ending"

    catalog, report = datasets.load_with_report("cnmc", root)
    assert len(catalog) == len(FRAMES)
    assert dict(zip(report["path"], report["reason"], strict=True)) == expected
    datasets.load("cnmc", root)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert line.startswith(f"{len(expected)} files were left out: ")
    assert "1 empty file (UID_2_1_1_all.bmp)" in line


def test_an_image_that_lies_there_twice_counts_once(tmp_path):
    root = layout(tmp_path / "data", KAGGLE)
    layout(root / "again", "{label}")
    bmp(root / "again" / "all" / "UID_1_1_1_all.bmp", mark=99)
    catalog, report = datasets.load_with_report("cnmc", root)
    assert len(catalog) == len(FRAMES)
    assert set(catalog["fold"]) == {"0", "1", "2"}
    assert report["reason"].value_counts().to_dict() == {
        "second copy": 3,
        "second file of that name, other bytes": 1,
    }


@pytest.mark.slow
def test_links_of_the_release_are_in_the_catalog(tmp_path):
    for name in ("UID_20_1_1_all", "UID_21_1_1_all", "UID_1_1_1_all"):
        bmp(tmp_path / "data" / "all" / f"{name}.bmp")
    groups = datasets.load("cnmc", tmp_path / "data").set_index("subject")["group"]
    assert groups.to_dict() == {"20": "20+21", "21": "20+21", "1": "1"}
    index = as_catalog()
    assert index["subject"].map(cnmc.group_of).tolist() == index["group"].tolist()


@pytest.mark.parametrize("nested", ["", "C-NMC_test_prelim_phase_data/"])
def test_preliminary_and_final_test_set(tmp_path, nested):
    root = layout(tmp_path / "data", KAGGLE)
    prelim = root / "validation_data" / "C-NMC_test_prelim_phase_data"
    for number in (1, 2, 3):
        bmp(prelim / nested / f"{number}.bmp", mark=number)
        bmp(root / "testing_data" / "C-NMC_test_final_phase_data" / f"{number}.bmp", 600)
    table = (
        "Patient_ID,new_names,labels\nUID_57_29_1_all.bmp,1.bmp,1\nUID_H30_2_1_hem.bmp,2.bmp,0\n"
    )
    (prelim.parent / "C-NMC_test_prelim_phase_data_labels.csv").write_text(table)
    catalog = datasets.load("cnmc", root).set_index("image_id")
    assert len(catalog) == len(FRAMES) + 6
    assert catalog.loc["prelim_1", ["label", "subject", "split"]].tolist() == ["all", "57", "test"]
    assert catalog.loc["prelim_2", ["label", "subject", "split"]].tolist() == ["hem", "H30", "test"]
    for name in ("prelim_3", "final_1", "final_2", "final_3"):
        assert catalog.loc[name, ["label", "split"]].tolist() == ["unlabelled", ""]


@pytest.mark.parametrize("second", ["57_29_1_all", "58_29_1_all"])
def test_a_second_table_of_the_preliminary_set_is_named_or_refused(tmp_path, second):
    folder = tmp_path / "test_prelim"
    for number in (1, 2):
        bmp(folder / f"{number}.bmp", mark=number)
    table = (
        "Patient_ID,new_names,labels\nUID_57_29_1_all.bmp,1.bmp,1\nUID_H30_2_1_hem.bmp,2.bmp,0\n"
    )
    (folder / "labels.csv").write_text(table)
    (tmp_path / "zweite.csv").write_text(table.replace("57_29_1_all", second))
    if second.startswith("58"):
        with pytest.raises(DatasetError, match=r"differ in the label or the subject of 1\.bmp"):
            datasets.load("cnmc", tmp_path)
        return
    catalog, report = datasets.load_with_report("cnmc", tmp_path)
    assert catalog["label"].tolist() == ["all", "hem"]
    assert "a second label table" in report.set_index("path")["reason"]["zweite.csv"]


def test_preliminary_set_without_its_table_says_so(tmp_path, capsys):
    root = layout(tmp_path / "data", KAGGLE)
    bmp(root / "C-NMC_test_prelim_phase_data" / "1.bmp")
    catalog = datasets.load("cnmc", root)
    assert (catalog["label"] == "unlabelled").sum() == 1
    assert "C-NMC_test_prelim_phase_data_labels.csv" in capsys.readouterr().out


def test_taleqani_blocks_and_segmented_copies(tmp_path, capsys):
    root = tmp_path / "data"
    for number, label in [(1, "Benign"), (36, "Benign"), (37, "Benign")]:
        jpeg(root / "Original" / label / f"WBC-{label}-{number:03d}.jpg", value=number)
    jpeg(root / "Original" / "Pro" / "WBC-Malignant-Pro-001.jpg", value=5)
    jpeg(root / "Original" / "Pro" / "WBC-Malignant-Pre-001.jpg", value=5)
    jpeg(root / "Segmented" / "Pro" / "WBC-Malignant-Pro-001.jpg", value=6)
    catalog, report = datasets.load_with_report("taleqani", root)
    assert catalog["subject"].tolist() == ["benign_b00", "benign_b00", "benign_b01", "pro_b00"]
    assert catalogs.target(catalog).tolist() == [0, 0, 0, 1]
    assert report["reason"].tolist() == ["name says pre, folder says pro", "segmented copy"]


@pytest.fixture
def idb1(tmp_path):
    root = tmp_path / "data" / "ALL_IDB1"
    (root / "xyc").mkdir(parents=True)
    for stem, marks in [("Im001_1", "10\t20\n30\t40\n"), ("Im002_0", ""), ("Im003_1", "")]:
        jpeg(root / "im" / f"{stem}.jpg", 64)
        (root / "xyc" / f"{stem}.xyc").write_text(marks)
    return root


def test_all_idb1_is_labelled_by_its_centroids(idb1):
    catalog, report = datasets.load_with_report("all_idb", idb1.parent)
    found = catalog.set_index("image_id")
    assert found["label"].to_dict() == {"idb1_Im001_1": "all", "idb1_Im002_0": "hem"}
    assert found.loc["idb1_Im001_1", "centroids"] == "10,20 30,40"
    assert report["reason"].tolist() == ["name and marked blasts disagree"]


def test_all_idb2_stands_alone(idb1):
    root = idb1.parent
    for number in range(1, 13):
        path = root / "ALL_IDB2" / "img" / f"Im{number:03d}_{int(number < 12)}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((257, 257, 3), number, np.uint8))
    catalog, report = datasets.load_with_report("all_idb", root)
    assert len(catalog) == 12
    assert (catalog["label"] == "all").sum() == 11
    assert catalog["subject"].nunique() == 3
    assert set(catalog["path"].map(lambda path: Path(path).suffix)) == {".tif"}
    assert (report["reason"] == "field of IDB1, from which IDB2 was cut").sum() == 2
    assert all_idb.read([]) == ([], [])


def test_a_folder_without_the_data_set_says_what_it_holds(tmp_path):
    place = tmp_path / "x" / "y"
    for number in range(12):
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"cell{number:02d}.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(DatasetError, match=r"12 \.png files in x/y, such as cell00\.png") as raised:
        datasets.load("cnmc", tmp_path)
    assert "UID_11_1_2_all.bmp" in str(raised.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="the folder is empty"):
        datasets.load("taleqani", tmp_path / "empty")


def test_a_folder_of_pointers_says_that_they_are_pointers(tmp_path):
    (tmp_path / "all").mkdir()
    for number in range(5):
        path = tmp_path / "all" / f"UID_1_{number}_1_all.bmp"
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DatasetError, match="5 git-lfs pointer"):
        datasets.load("cnmc", tmp_path)


def test_a_folder_of_another_data_set_is_recognised(tmp_path):
    jpeg(tmp_path / "Benign" / "WBC-Benign-001.jpg")
    with pytest.raises(DatasetError, match="looks like the data set taleqani"):
        datasets.load("cnmc", tmp_path)


def test_no_folder_says_how_to_get_one(tmp_path):
    for folder in (None, "", tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match="course data cnmc"):
            datasets.load("cnmc", folder)
    with pytest.raises(SettingsError, match="DATASET"):
        datasets.load("cmnc", tmp_path)


def rows(sizes: dict[tuple[str, str], int]) -> list[dict]:
    return [
        {"image_id": f"{label}_{subject}_{n}", "label": label, "subject": subject, "split": ""}
        for (label, subject), size in sizes.items()
        for n in range(size)
    ]


def test_a_limit_keeps_class_shares_and_every_subject():
    everything = rows({("all", f"{n}"): 10 * n + 3 for n in range(1, 21)} | {("hem", "H1"): 900})
    taken = pd.DataFrame(take(everything, 200, 24))
    assert len(taken) == 200
    share = sum(row["label"] == "all" for row in everything) / len(everything)
    assert abs((taken["label"] == "all").mean() - share) < 0.01
    counts = taken[taken["label"] == "all"].groupby("subject").size()
    assert len(counts) == 20
    assert counts.max() - counts.min() <= 1


def test_a_limit_is_decided_by_seed_and_ids_alone():
    everything = rows({("all", "1"): 60, ("all", "2"): 60, ("hem", "H1"): 60})
    shuffled = random.Random(0).sample(everything, len(everything))
    chosen = {row["image_id"] for row in take(everything, 50, 24)}
    assert chosen == {row["image_id"] for row in take(shuffled, 50, 24)}
    assert chosen != {row["image_id"] for row in take(everything, 50, 25)}
    assert take(everything, None, 24) is everything


def test_a_limited_load_says_so(tmp_path, capsys):
    root = layout(tmp_path / "data", KAGGLE)
    bmp(root / "C-NMC_test_final_phase_data" / "1.bmp", 600)
    small = Profile("tiny", 2, 2, 2, 48, 1, 1, 2, 10)
    catalog = datasets.load("cnmc", root, small)
    assert sorted(catalog["label"]) == ["all", "hem"]
    line = capsys.readouterr().out
    assert line == (
        "The profile tiny takes 2 of 5 images, evenly over classes and subjects "
        "(the 1 unlabelled ones are left aside).\n"
    )


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="no real images in ../shared/data")
def test_real_frames(capsys):
    catalog = datasets.load("cnmc", REAL / "cnmc", "smoke")
    assert catalog["label"].value_counts().to_dict() == {"all": 19, "hem": 19}
    assert catalog["subject"].nunique() == 18
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="no real images in ../shared/data")
def test_real_fields():
    catalog = datasets.load("taleqani", REAL / "taleqani", "full")
    counts = {"benign": 252, "early": 492, "pre": 481, "pro": 402}
    assert catalog["label"].value_counts().to_dict() == counts
    assert catalogs.target(catalog).sum() == 1627 - 252


def test_speed_of_a_warm_load(benchmark, tmp_path):
    """1,200 frames whose hashes are remembered: well under a second."""
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    root = tmp_path / "data"
    for n in range(1200):
        path = bmp(root / "all" / f"UID_{n % 40}_{n}_1_all.bmp", mark=n)
        os.utime(path, (1, 1))
    datasets.load("cnmc", root, "full")
    catalog = benchmark.pedantic(datasets.load, ("cnmc", root, "full"), rounds=5)
    assert len(catalog) == 1200
    assert benchmark.stats["median"] < 0.5
