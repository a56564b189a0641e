"""The index of the C-NMC release, and copies held against it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers.base.errors import DatasetError
from helpers.datasets import files as data_files
from helpers.datasets.copies import verify as checks
from helpers.datasets.copies.index import as_catalog, cnmc_index

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data"
TRAIN = "C-NMC_Leukemia/training_data"


@pytest.fixture(autouse=True)
def _own_artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))


def test_index_holds_the_whole_release():
    index = cnmc_index()
    assert index["part"].value_counts().to_dict() == {"train": 10661, "final": 2586, "prelim": 1867}
    assert index["image_id"].is_unique
    assert index["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    sizes = index.groupby("part")["size"].unique().map(list).to_dict()
    assert sizes == {"train": [608454], "prelim": [608538], "final": [1080054]}
    assert set(index.loc[index["part"] != "train", "label"]) == {"unlabelled"}
    index["label"] = "spoilt"  # a caller's changes stay the caller's
    assert "spoilt" not in set(cnmc_index()["label"])


def test_training_set_as_the_facts_have_it():
    training = cnmc_index().query("part == 'train'")
    by_class = training.groupby("label").agg(files=("name", "size"), people=("subject", "nunique"))
    assert by_class.loc["all"].tolist() == [7272, 47]
    assert by_class.loc["hem"].tolist() == [3389, 26]
    per_fold = training.groupby(["fold", "label"]).agg(f=("name", "size"), s=("subject", "nunique"))
    assert per_fold.to_numpy().tolist() == [
        [2397, 19],
        [1130, 9],
        [2418, 11],
        [1163, 3],
        [2457, 17],
        [1096, 14],
    ]
    counts = training.groupby("subject").size()
    assert (counts.min(), counts.max(), counts.idxmax()) == (9, 757, "51")
    assert {"1", "H1", "H3"} <= set(counts.index)
    assert "h3" not in set(counts.index)


def test_duplicates_as_the_facts_have_them():
    training = cnmc_index().query("part == 'train'")
    same = training[training["sha256"].duplicated(keep=False)].groupby("sha256")
    assert len(same) == 104
    assert (same["subject"].nunique() > 1).sum() == 99
    assert (same["fold"].nunique() > 1).sum() == 94
    assert (same["label"].nunique() > 1).sum() == 0
    assert set(training["group"][training["group"] != training["subject"]]) == {
        "20+21",
        "51+75+78",
        "H2+H4+H5+H6",
        "H3+H10",
    }


def test_index_as_a_catalog():
    catalog = as_catalog()
    assert len(catalogs.check(catalog)) == 10661
    assert set(catalog["path"]) == {""}
    assert set(catalog["fold"]) == {"0", "1", "2"}
    assert catalogs.target(catalog).sum() == 7272
    assert catalog["group"].nunique() == 73 - 11 + 4


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A release of six files, and an intact copy of it in a folder."""
    content = {f"UID_{n}_1_1_all.bmp": bytes([n]) * 50 for n in range(1, 5)}
    rows = [
        {
            "image_id": name.removesuffix(".bmp"),
            "label": "all",
            "subject": name.split("_")[1],
            "fold": "0",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "part": "train",
            "name": name,
            "folder": f"{TRAIN}/fold_0/all",
        }
        for name, data in content.items()
    ]
    for part in ("prelim", "final"):
        data = part.encode()
        row = {"image_id": f"{part}_1", "label": "unlabelled", "subject": "", "fold": ""}
        row |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "part": part}
        rows.append(row | {"name": "1.bmp", "folder": f"C-NMC_Leukemia/x_{part}_phase_data"})
        content[f"{part}/1.bmp"] = data
    monkeypatch.setattr(checks, "cnmc_index", lambda: pd.DataFrame(rows))
    root = tmp_path / "copy"
    for row in rows:
        path = root / row["folder"] / row["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        key = row["name"] if row["part"] == "train" else f"{row['part']}/1.bmp"
        path.write_bytes(content[key])
    return root


def found(root: Path) -> dict[str, str]:
    table = checks.verify(root).table
    names = table["path"].where(table["path"] != "", table["release"])
    return {
        name.rpartition("/")[2]: status
        for name, status in zip(names, table["status"], strict=True)
        if status != "intact"
    }


def test_an_intact_copy(release):
    result = checks.verify(release)
    assert (result.sound, result.complete) == (True, True)
    assert result.lines()[0] == (
        "6 of 6 files of the release are there, all intact (complete copy)."
    )
    assert len(result.lines()) == 4


def test_everything_that_can_be_wrong_is_named(release):
    place = release / TRAIN / "fold_0" / "all"
    (place / "UID_1_1_1_all.bmp").write_bytes(b"")
    (place / "UID_2_1_1_all.bmp").unlink()
    (place / "UID_3_1_1_all.bmp").rename(place / "renamed.bmp")
    (place / "UID_9_9_9_all.bmp").write_bytes(b"stranger")
    (place / "Thumbs.db").write_bytes(b"x")
    other = release / TRAIN / "fold_2" / "hem"
    other.mkdir(parents=True)
    (place / "UID_4_1_1_all.bmp").rename(other / "UID_4_1_1_all.bmp")
    shutil.copy(other / "UID_4_1_1_all.bmp", other / "copy.bmp")
    assert found(release) == {
        "UID_1_1_1_all.bmp": "altered",
        "UID_2_1_1_all.bmp": "missing",
        "renamed.bmp": "renamed",
        "UID_4_1_1_all.bmp": "misplaced",
        "copy.bmp": "second copy",
        "UID_9_9_9_all.bmp": "extra",
        "Thumbs.db": "extra",
    }
    result = checks.verify(release)
    assert (result.sound, result.complete) == (False, False)
    text = "\n".join(result.lines())
    assert "4 of 6 files of the release are there, NOT ALL INTACT (partial copy)." in text
    assert "UID_1_1_1_all.bmp  [empty file]" in text
    assert "is all, lies in hem" in text


def test_bytes_are_read_whatever_is_remembered(release, monkeypatch):
    path = release / TRAIN / "fold_0" / "all" / "UID_1_1_1_all.bmp"
    assert checks.verify(release).sound
    stamp = path.stat()
    path.write_bytes(b"\xff" * 50)
    data_files.os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert found(release) == {"UID_1_1_1_all.bmp": "altered"}


def test_long_lists_are_cut_and_can_be_had_whole(release):
    for path in (release / TRAIN / "fold_0" / "all").glob("UID_[234]*"):
        path.unlink()
    result = checks.verify(release)
    assert "  ... and 2 more" in result.lines(names=1)
    assert sum("UID_" in line for line in result.lines(names=None)) == 3


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(DatasetError, match="1 images were looked at"):
        checks.verify(tmp_path / "x")
    with pytest.raises(DatasetError, match="not a folder"):
        checks.verify(tmp_path / "nowhere")


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="no real images in ../shared/data")
def test_the_real_frames_are_an_intact_part():
    result = checks.verify(REAL / "cnmc")
    assert (result.sound, result.complete) == (True, False)
    assert result.lines()[0] == (
        "38 of 15,114 files of the release are there, all intact (partial copy)."
    )
    assert result.parts["there"].to_dict() == {"train": 38, "prelim": 0, "final": 0}


def test_speed_of_a_whole_release(benchmark, tmp_path):
    """15,114 files of the release's sizes, in memory as links to three: under 30 s."""
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    index = cnmc_index()
    for row in index.itertuples():
        folder = tmp_path / "release" / row.folder
        folder.mkdir(parents=True, exist_ok=True)
        original = tmp_path / f"{row.part}.bin"
        if not original.exists():
            original.write_bytes(data_files.os.urandom(row.size))
        (folder / row.name).hardlink_to(original)
    result = benchmark.pedantic(checks.verify, (tmp_path / "release",), rounds=1, warmup_rounds=0)
    assert (result.table["status"] == "altered").sum() == len(index)
    assert benchmark.stats["max"] < 30


def test_what_is_no_image_is_said_of_files_beside_the_release(release):
    (release / "notes.png").write_text("just text")
    (release / "readme.txt").write_text("just text")
    table = checks.verify(release).table.set_index("path")["detail"]
    assert table["notes.png"] == "text, not an image"
    assert table["readme.txt"] == "not an image by its ending"
