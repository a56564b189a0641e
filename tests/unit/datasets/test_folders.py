"""Images of one's own, one folder per class: every layout read, everything else named."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from helpers import catalog as catalogs
from helpers import datasets
from helpers.base import settings
from helpers.base.errors import CourseError, DatasetError
from helpers.base.settings import SettingsError
from helpers.catalog import splitting
from helpers.course import project
from helpers.datasets.drawn import leukocytes
from helpers.datasets.files import scan
from helpers.images import loading


@pytest.fixture(autouse=True)
def _artifacts(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))


def put(path, content=None):
    """Write a small image of its own content, or that of another path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(content or path).encode()))
    image = rng.integers(0, 255, (12, 14, 3)).astype(np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def labels(catalog):
    return dict(zip(catalog["image_id"], zip(catalog["label"], catalog["positive"], strict=True),
                    strict=True))  # fmt: skip


def test_a_folder_is_a_class_and_one_of_them_is_positive(tmp_path, capsys):
    for name in ("tabby cat/1.png", "tabby cat/old/2.JPG", "dog/1.png", "dog/3.bmp", "dog/4.tif"):
        put(tmp_path / name)
    catalog = datasets.load("folders", tmp_path, positive="tabby cat")
    assert labels(catalog) == {
        "dog/1": ("dog", 0),
        "dog/3": ("dog", 0),
        "dog/4": ("dog", 0),
        "tabby cat/1": ("tabby cat", 1),
        "tabby cat/old/2": ("tabby cat", 1),
    }
    assert catalog["subject"].tolist() == catalog["image_id"].tolist()
    assert "each image counts as its own subject" in capsys.readouterr().out
    assert labels(datasets.load("folders", tmp_path, positive="DOG"))["dog/1"] == ("dog", 1)


def people(folder, **classes):
    """Write images of two classes and who they are of; `a=(3, 10)`: 3 people, 10 images."""
    lines = ["image,subject"]
    for label, (subjects, images) in classes.items():
        for number in range(images):
            put(folder / label / f"{label}{number}.png")
            lines.append(f"{label}{number}.png,{label}{number % subjects}")
    (folder / "subjects.csv").write_text("\n".join(lines) + "\n")


def test_a_chapters_settings_are_enough(tmp_path):
    people(tmp_path, a=(3, 10), b=(3, 10))
    chosen = settings.read("folders", "smoke", 24, tmp_path, "b")
    catalog = datasets.load(chosen)
    assert catalogs.class_names(catalog) == ("a", "b")
    assert chosen.as_dict()["positive"] == "b"


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ({"a": (2, 20), "b": (3, 20)}, "but the class 'a' has 20 images of 2 subjects. Add"),
        (
            {"a": (1, 9), "b": (1, 20)},
            "'a' has 9 images of 1 subject, the class 'b' has 20 images of 1 subject",
        ),
        ({"a": (9, 9), "b": (3, 20)}, "'a' has 9 images of 9"),
        ({"b": (3, 20)}, "one class only, 'b'"),
    ],
)
def test_too_few_people_or_images_are_told_before_a_chapter_runs(tmp_path, classes, told):
    people(tmp_path, **classes)
    told = rf"at least 10 images .* of 3 subjects .*{told}"
    with pytest.raises(DatasetError, match=told):
        project.parameters("folders", "smoke", 24, tmp_path, "b")
    with pytest.raises(DatasetError, match=told):
        datasets.load(settings.read("folders", "smoke", 24, tmp_path, "b"))
    assert len(datasets.load("folders", tmp_path, positive="b"))  # to look at, any number will do


def test_a_profile_that_takes_too_few_of_a_class_is_named(tmp_path, monkeypatch):
    people(tmp_path, a=(3, 10), b=(10, 60))
    few = dataclasses.replace(settings.PROFILES["smoke"], images=35)
    monkeypatch.setitem(settings.PROFILES, "smoke", few)
    with pytest.raises(
        DatasetError, match=r"'a' has 5 images of 3.*profile smoke takes 35 of 70 images"
    ):
        project.parameters("folders", "smoke", 24, tmp_path, "b")
    assert project.parameters("folders", "quick", 24, tmp_path, "b")


def test_of_three_classes_one_stands_against_the_rest(tmp_path):
    for name in ("a/1.png", "b/1.png", "c/1.png", "unlabelled/1.png"):
        put(tmp_path / name)
    catalog = datasets.load("folders", tmp_path, positive="b")
    assert catalogs.sides(catalog) == (["a", "c"], ["b"])
    assert catalog["positive"].isna().tolist() == (catalog["label"] == "unlabelled").tolist()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_accent_may_be_written_in_two_ways(tmp_path, form):
    for name in ("zdravé/1.png", "nemocné/1.png"):
        put(tmp_path / unicodedata.normalize(form, name))
    catalog = datasets.load("folders", tmp_path, positive="nemocné")
    assert catalogs.class_names(catalog) == ("zdravé", "nemocné")


@pytest.mark.parametrize("above", ["download", "download/my images"])
def test_folders_around_all_classes_are_no_classes(tmp_path, above):
    for name in ("a/1.png", "b/1.png", "b/deep/down/2.png"):
        put(tmp_path / above / name)
    put(tmp_path / "loose.png")
    catalog, report = datasets.load_with_report("folders", tmp_path, positive="a")
    assert sorted(labels(catalog)) == ["a/1", "b/1", "b/deep/down/2"]
    assert report.to_numpy().tolist() == [["loose.png", "in no class folder"]]


def test_parts_are_kept_as_folds(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "Test/a/1.png", "Test/b/2.png"):
        put(tmp_path / name)
    catalog = datasets.load("folders", tmp_path, positive="a").set_index("image_id")
    assert catalog["label"].to_dict() == {
        "Test/a/1": "a", "Test/b/2": "b", "train/a/1": "a", "train/b/1": "b"
    }  # fmt: skip
    assert catalog.loc["Test/b/2", "fold"] == "test"


@pytest.mark.parametrize(
    ("positive", "sentence"),
    [
        ("", r"needs the name of the positive class.*'a' \(2 images\), 'b' \(1 images\)"),
        ("x", r"No class with images is called 'x'.*'a' \(2 images\), 'b' \(1 images\)"),
        ("empty", "No class with images is called 'empty'"),
    ],
)
def test_a_positive_class_that_is_not_there_is_asked_for(tmp_path, positive, sentence):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        put(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=sentence):
        datasets.load("folders", tmp_path, positive=positive)
    with pytest.raises(CourseError, match=sentence):  # before any chapter starts
        project.parameters("folders", "smoke", 24, tmp_path, positive)


def test_only_folders_are_told_their_positive_class(tmp_path):
    for call in (datasets.load, settings.read, project.parameters):
        with pytest.raises(SettingsError, match="phantom knows its positive class"):
            call("phantom", positive="all")


def test_a_single_image_and_a_single_class_are_read(tmp_path, capsys):
    put(tmp_path / "sick" / "1.png")
    catalog = datasets.load("folders", tmp_path, positive="sick")
    assert labels(catalog) == {"sick/1": ("sick", 1)}
    assert "All images are of one class, 'sick'" in capsys.readouterr().out


def test_no_image_at_all(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DatasetError, match=r"expected one folder per class.*found no image file"):
        datasets.load("folders", tmp_path, positive="a")


def test_every_file_is_an_image_of_the_catalog_or_named_in_the_report(tmp_path):
    put(tmp_path / "a" / "1.png")
    put(tmp_path / "a" / "1.jpg")
    put(tmp_path / "b" / "1.png")
    put(tmp_path / "b" / "both.png", content="one")
    put(tmp_path / "a" / "other.png", content="one")
    put(tmp_path / "b" / "1_mask.png")
    for name in ("a/broken.png", "a/film.webp", "notes.txt", "b/table.csv", "a/Thumbs.db"):
        (tmp_path / name).write_text("x,y\n1,2\n")
    catalog, report = datasets.load_with_report("folders", tmp_path, positive="a")
    assert sorted(catalog["image_id"]) == ["a/1.jpg", "a/1.png", "b/1"]
    assert dict(report.to_numpy().tolist()) == {
        "a/Thumbs.db": "system file",
        "a/broken.png": "text, not an image",
        "a/film.webp": "image of a kind that the course cannot read; save it as PNG",
        "a/other.png": "same bytes as b/both, of another class",
        "b/1_mask.png": "mask",
        "b/both.png": "same bytes as a/other, of another class",
        "b/table.csv": "no image, and no table of images",
        "notes.txt": "not an image by its ending",
    }
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    taken = {path.removeprefix(f"{tmp_path}/") for path in catalog["path"]}
    assert files == set(report["path"]) | taken


def test_drawn_cells_of_five_kinds_come_back_pixel_by_pixel(tmp_path):
    cells = leukocytes.make(2, 2, seed=5)
    saved = leukocytes.save(cells, tmp_path)
    catalog = datasets.load("folders", tmp_path, positive="monocyte")
    assert catalogs.sides(catalog)[1] == ["monocyte"]
    for row in catalog.itertuples():
        index = saved.index[saved["path"] == row.path][0]
        assert saved["label"][index] == row.label
        assert np.array_equal(loading.read_image(row.path), cells.images[index])


def test_second_copies_stay_and_join_their_subjects(tmp_path):
    put(tmp_path / "a" / "1.png", content="same")
    put(tmp_path / "a" / "2.png", content="same")
    put(tmp_path / "b" / "1.png")
    linked = splitting.link_subjects(datasets.load("folders", tmp_path, positive="a"))
    assert linked["group"].tolist() == ["a/1+a/2", "a/1+a/2", "b/1"]


# -- any two names ----------------------------------------------------------------------------

NAMES = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=["Cs", "Cc", "Zl", "Zp"]),
    min_size=1,
    max_size=12,
).filter(
    lambda name: name.strip(". ") and "mask" not in name.lower() and "unlabel" not in name.lower()
)
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "__macosx"}


@given(st.lists(NAMES, min_size=2, max_size=2, unique_by=lambda name: name.casefold()))
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_two_names_go_from_reading_to_the_report(tmp_path_factory, names):
    from helpers import predictions
    from helpers.predictions import metrics

    if {name.lower() for name in names} <= PARTS or any(name[0] == "." for name in names):
        return  # hidden folders are left out
    root = tmp_path_factory.mktemp("named")
    for name in names:
        for number in range(5):
            put(root / name / f"{number}.png")
    catalog = datasets.load("folders", root, positive=names[1])
    assert catalogs.target(catalog).sum() == 5
    catalogs.write(root / "catalog.csv", catalog)
    pd.testing.assert_frame_equal(catalogs.read(root / "catalog.csv"), catalog)
    split = splitting.split_at_random(catalog, seed=1)
    table = predictions.make(split, catalogs.target(split).astype(float))
    predictions.save_predictions(root / "predictions.csv", table)
    table = predictions.load_predictions(root / "predictions.csv")
    assert metrics.accuracy(table) == metrics.auc(table) == 1
    for name in names:  # a class alone is judged as a part of the whole
        alone = table[table["label"] == catalogs.classes(catalog)[name == names[1]]]
        assert metrics.accuracy(alone) == 1


def test_hidden_and_system_files_are_named_and_never_read(tmp_path):
    put(tmp_path / "a" / "1.png")
    put(tmp_path / "b" / "2.png")
    foreign = {
        "a/@eaDir/1.png/THUMB_M.png": "a/@eaDir",
        "a/.thumbs/1.png": "a/.thumbs",
        ".Trash-1000/files/3.png": ".Trash-1000",
        "$RECYCLE.BIN/4.png": "$RECYCLE.BIN",
    }
    for name in (*foreign, "a/.1_edited.png"):
        put(tmp_path / name)
    catalog, report = datasets.load_with_report("folders", tmp_path, positive="a")
    assert set(catalog["image_id"]) == {"a/1", "b/2"}
    reasons = report.set_index("path")["reason"]
    for folder in foreign.values():
        assert reasons[folder] == "hidden or system folder"
    assert reasons["a/.1_edited.png"] == "hidden file"


def test_images_that_the_course_cannot_read_are_named_whatever_the_data_set(tmp_path):
    (tmp_path / "Original" / "Benign").mkdir(parents=True)
    (tmp_path / "Original" / "Benign" / "1.webp").write_bytes(b"RIFF")
    files, left_out = scan(tmp_path)
    assert files == []
    assert left_out == [
        ("Original/Benign/1.webp", "image of a kind that the course cannot read; save it as PNG")
    ]


def test_other_names_of_jpeg_and_bmp_are_read(tmp_path):
    for number, ending in enumerate((".jfif", ".jpe", ".dib")):
        image = np.full((20, 20, 3), 40 + number, np.uint8)
        path = tmp_path / ("a" if number else "b") / f"{number}{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(cv2.imencode(".bmp" if ending == ".dib" else ".jpg", image)[1].tobytes())
    catalog, report = datasets.load_with_report("folders", tmp_path, positive="a")
    assert len(catalog) == 3
    assert report.empty


def test_names_that_differ_only_in_capitals_are_told_apart(tmp_path, capsys):
    for name in ("a/cell.png", "a/CELL.png", "A/cell.png", "b/2.png"):
        put(tmp_path / name)
    table = "image,subject\na/cell.png,Ann\na/CELL.png,Bob\nA/cell.png,Eve\nb/2.PNG,Dan\n"
    (tmp_path / "subjects.csv").write_text(table)
    catalog = datasets.load("folders", tmp_path, positive="a").set_index("image_id")
    subjects = {"A/cell": "Eve", "a/CELL": "Bob", "a/cell": "Ann", "b/2": "Dan"}
    assert catalog["subject"].to_dict() == subjects
    assert "The classes 'A', 'a' differ only in capitals" in capsys.readouterr().out


def test_a_name_that_is_no_utf8_is_text_everywhere_and_its_file_is_found(tmp_path):
    put(tmp_path / "b" / "2.png")
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    os.link(tmp_path / "b" / "2.png", folder + b"/\xe8.bmp")
    image = put(tmp_path / "other.png").read_bytes()
    with open(folder + b"/two\nlines\xe8.png", "wb") as file:
        file.write(image)
    catalog, report = datasets.load_with_report("folders", tmp_path, positive="café")
    assert labels(catalog) == {"b/2": ("b", 0), "café/two\ufffdlinesè": ("café", 1)}
    assert loading.readable(catalog, crop=False)[1].empty
    assert dict(report.to_numpy().tolist()) == {
        "café/è.bmp": "PNG inside, against its name",
        "other.png": "in no class folder",
    }


def test_a_folder_of_ones_own_is_not_fetched_by_the_course():
    with pytest.raises(DatasetError, match="one folder of images for each of two classes"):
        datasets.load("folders", None)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".jpg", ".tif"])
def test_a_black_image_is_left_out_and_named(tmp_path, ending):
    for name in ("a/1.png", "b/1.png"):
        put(tmp_path / name)
    for name, value in (("black", 0), ("white", 255)):
        image = np.full((30, 30, 3), value, np.uint8)
        (tmp_path / "a" / f"{name}{ending}").write_bytes(cv2.imencode(ending, image)[1].tobytes())
    for _ in range(2):  # from the files, and from what is remembered of them
        catalog, report = datasets.load_with_report("folders", tmp_path, positive="a")
        assert report.to_numpy().tolist() == [[f"a/black{ending}", "black all over"]]
        assert loading.load_images(catalog, 16).shape == (3, 16, 16, 3)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"seed": -1}, "SEED"),
        ({"seed": None}, "SEED"),
        ({"seed": 10**30}, "SEED"),
        ({"seed": "24"}, "SEED"),
        ({"positive": 1}, "POSITIVE"),
        ({"positive": ["a"]}, "POSITIVE"),
        ({"data_dir": 5}, "is 5"),
        ({"data_dir": b"/tmp"}, "path"),
        ({"data_dir": "~nobody/here"}, "is not a folder"),
        ({"profile": ["quick"]}, "PROFILE"),
    ],
)
def test_arguments_of_another_kind_are_told_in_a_sentence(tmp_path, given, found):
    put(tmp_path / "a" / "1.png")
    with pytest.raises(CourseError, match=found) as told:
        datasets.load(**{"name": "folders", "data_dir": tmp_path, "positive": "a", **given})
    assert "\n" not in str(told.value)
    with pytest.raises(CourseError):
        settings.read(**{"dataset": "folders", "data_dir": tmp_path, "positive": "a", **given})
