"""Folders of labelled single cells: every layout read, everything else named."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest

from helpers.base.errors import DatasetError
from helpers.datasets.drawn import leukocytes
from helpers.datasets.readers import labelled_cells


@pytest.fixture(autouse=True)
def _artifacts(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))


def put(path, tone=None):
    """Write a small image of its own content, or of one tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    image = rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)
    if tone is not None:
        image[:] = tone
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("EOSINOPHIL", "eosinophil"),
        ("eos", "eosinophil"),
        ("Basophils", "basophil"),
        ("ba", "basophil"),
        ("LYT", "lymphocyte"),
        ("Lymphocyte (typical)", "lymphocyte"),
        ("MON", "monocyte"),
        ("mono", "monocyte"),
        ("NGS", "neutrophil"),
        ("Segmented-Neutrophils", "neutrophil"),
        ("band neutrophils", "neutrophil"),
        ("3_neutrophil", "neutrophil"),
    ],
)
def test_folders_are_known_by_words_and_abbreviations(tmp_path, folder, kind):
    put(tmp_path / "images" / folder / "a.jpeg")
    catalog = labelled_cells.load(tmp_path)
    assert list(catalog["label"]) == [kind]


def test_the_nearest_folder_counts_and_the_releases_part_is_kept(tmp_path):
    put(tmp_path / "TRAIN" / "EOSINOPHIL" / "_0_207.jpeg")
    put(tmp_path / "TEST" / "EOSINOPHIL" / "_0_207.jpeg")
    put(tmp_path / "neutrophil" / "monocyte" / "x.png")
    catalog = labelled_cells.load(tmp_path).set_index("image_id")
    assert catalog.loc["TRAIN_EOSINOPHIL__0_207", "fold"] == "train"
    assert catalog.loc["TEST_EOSINOPHIL__0_207", "fold"] == "test"
    assert catalog.loc["neutrophil_monocyte_x", "label"] == "monocyte"
    assert (catalog["subject"] == catalog.index).all()


def test_junk_is_named_and_counted(tmp_path, capsys):
    put(tmp_path / "basophil" / "good.png", 10)
    put(tmp_path / "basophil" / "copy.png", 10)
    put(tmp_path / "basophil" / "twin.png", 20)
    put(tmp_path / "monocyte" / "twin.png", 20)
    put(tmp_path / "platelet" / "p.png")
    put(tmp_path / "loose.png")
    put(tmp_path / "basophil" / "good_mask.png", 30)
    (tmp_path / "basophil" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "basophil" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0cut")
    (tmp_path / "basophil" / "empty.jpg").write_bytes(b"")
    put(tmp_path / "basophil" / ".ipynb_checkpoints" / "good-checkpoint.png")
    catalog, report = labelled_cells.load_with_report(tmp_path)
    assert len(catalog) == 1
    reasons = dict(zip(report["path"], report["reason"], strict=True))
    assert len(report) == 10
    assert reasons["platelet/p.png"] == "in folder 'platelet', no known kind"
    assert reasons["loose.png"] == "in no folder of a kind"
    assert reasons["basophil/twin.png"] == "same bytes as basophil and monocyte"
    assert reasons["basophil/good.png"] == "second copy"  # copy.png comes first
    labelled_cells.load(tmp_path)
    assert capsys.readouterr().out.startswith("10 files were left out: ")


def test_a_table_of_class_numbers_beside_masks(tmp_path):
    for number in (1, 2, 3):
        put(tmp_path / "Dataset" / f"{number:03d}.bmp")
        put(tmp_path / "Dataset" / f"{number:03d}.png", 40 * number)
    table = tmp_path / "labels.csv"
    table.write_text("image ID,class label\n1,1\n2,5\n3,9\n4,1\n")
    numbers = {"1": "neutrophil", "5": "basophil"}
    catalog, report = labelled_cells.load_with_report(tmp_path, table, numbers)
    assert list(catalog["label"]) == ["neutrophil", "basophil"]
    assert all(path.endswith(".bmp") for path in catalog["path"])
    reasons = dict(zip(report["path"], report["reason"], strict=True))
    assert reasons["Dataset/003.bmp"] == "labelled '9', no known kind"
    assert reasons["4"] == "named by the table, not there"
    assert reasons["Dataset/001.png"] == "not in the table"


def test_a_table_with_paths_words_and_subjects(tmp_path):
    put(tmp_path / "a" / "x.jpg")
    put(tmp_path / "b" / "x.jpg")
    table = tmp_path / "labels.csv"
    table.write_text("File;Category;Patient\na\\x.jpg;EOSINOPHIL;7\nb/x.jpg;mono;8\nx;mono;8\n")
    catalog, report = labelled_cells.load_with_report(tmp_path, table)
    assert list(catalog["label"]) == ["eosinophil", "monocyte"]
    assert list(catalog["subject"]) == ["7", "8"]
    assert list(report["reason"]) == ["named by the table, ambiguous"]


def test_the_only_table_is_found_by_itself(tmp_path):
    put(tmp_path / "images" / "x.jpg")
    (tmp_path / "labels.csv").write_text("file,label\nx.jpg,EOSINOPHIL\n")
    assert list(labelled_cells.load(tmp_path)["label"]) == ["eosinophil"]
    (tmp_path / "more.csv").write_text("file,label\nx.jpg,BASOPHIL\n")
    assert list(labelled_cells.load(tmp_path, "more.csv")["label"]) == ["basophil"]
    with pytest.raises(DatasetError, match="image folders there"):
        labelled_cells.load(tmp_path)  # which of the two?
    put(tmp_path / "monocyte" / "y.jpg")
    assert list(labelled_cells.load(tmp_path)["label"]) == ["monocyte"]


def test_errors_say_what_was_found(tmp_path):
    for nothing in (None, "", 3):  # "" would be wherever one stands
        with pytest.raises(DatasetError, match="is not a folder"):
            labelled_cells.load(nothing)
    with pytest.raises(DatasetError, match="is not a folder"):
        labelled_cells.load(tmp_path / "no")
    with pytest.raises(DatasetError, match="no image is there"):
        labelled_cells.load(tmp_path)
    put(tmp_path / "cats" / "x.png")
    with pytest.raises(DatasetError, match=r"image folders there: 'cats' \(1\)"):
        labelled_cells.load(tmp_path)
    assert len(labelled_cells.load(tmp_path, names={"cats": "basophil"})) == 1
    with pytest.raises(DatasetError, match="is not a file"):
        labelled_cells.load(tmp_path, tmp_path / "no.csv")
    table = tmp_path / "labels.csv"
    table.write_text("one,two\n1,2\n")
    with pytest.raises(DatasetError, match="no column of file names: found 'one', 'two'"):
        labelled_cells.load(tmp_path, table)
    table.write_text("")
    with pytest.raises(DatasetError, match="cannot be read as a table"):
        labelled_cells.load(tmp_path, table)
    table.write_text("file,label\nx.png,cat\n")
    with pytest.raises(DatasetError, match=r"No image that labels\.csv gives a known kind"):
        labelled_cells.load(tmp_path, table)


def test_saved_phantoms_come_back_pixel_by_pixel(tmp_path):
    from helpers.images import loading as images

    cells = leukocytes.make(2, 2, seed=5)
    saved = leukocytes.save(cells, tmp_path)
    catalog = labelled_cells.load(tmp_path)
    assert len(catalog) == len(saved) == 10
    for row in catalog.itertuples():
        index = saved.index[saved["path"] == row.path][0]
        assert saved["label"][index] == row.label
        assert np.array_equal(images.read_image(row.path), cells.images[index])
