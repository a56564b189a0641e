"""Every kind of kept result, damaged in every way: it is made again, and never wrong in silence.

Those of trainings stand in ``tests/unit/training``.
"""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers import datasets, images
from helpers.base import settings
from helpers.base.errors import ImageError
from helpers.base.settings import Profile
from helpers.cells import features, field_crops
from helpers.datasets.drawn import fields, frames
from helpers.datasets.drawn.fields import Recipe
from helpers.studies import lineup
from tests.unit.damage import DAMAGES, heals

FRAMES = Profile("tiny", 48, 48, 12, 48, 1, 1, 8, 10)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of two classes, with small images of noise."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    for number in range(6):
        path = folder / ("even", "odd")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        image = noise.integers(0, 256, (24, 24, 3), np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


@pytest.fixture(scope="module")
def smears(tmp_path_factory):
    return fields.draw(tmp_path_factory.mktemp("fields"), Recipe(2, 5, 20, 0.1))


@pytest.fixture
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.fixture
def catalog(pictures, artifacts):
    return datasets.load("folders", pictures, "full", positive="odd")


each_damage = pytest.mark.parametrize("damage", DAMAGES)


@pytest.mark.slow
@each_damage
def test_an_array_of_images(catalog, artifacts, damage):
    heals(artifacts / "images", damage, lambda: images.load_images(catalog, 16), np.array_equal)


@pytest.mark.slow
@each_damage
def test_features_of_cells(catalog, artifacts, damage, monkeypatch):
    monkeypatch.setattr(features, "of_image", lambda image, kind: ({features.NAMES[0]: 0.1}, 1))
    heals(artifacts / "features", damage, lambda: features.table(catalog), pd.DataFrame.equals)


@pytest.mark.slow
@each_damage
def test_crops_of_fields(smears, artifacts, damage):
    table = datasets.load_with_report("snam", smears)[0].iloc[:1]
    heals(
        artifacts / "crops",
        damage,
        lambda: field_crops.crops(table, 16),
        lambda one, other: one[0].equals(other[0]) and np.array_equal(one[1], other[1]),
    )


@pytest.mark.slow
@each_damage
def test_predictions(catalog, artifacts, damage):
    course = settings.read("phantom", "smoke")
    table = catalog.assign(split="test")

    def predictions():
        scores = np.linspace(0, 1, len(table))
        return lineup.cached_predictions(course, "a/b", table, {"model": "c"}, lambda: scores)

    heals(course.folder("predictions"), damage, predictions, pd.DataFrame.equals)


@pytest.mark.slow
@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - {"a_folder"}))
def test_the_memory_of_a_data_folder(pictures, artifacts, damage, monkeypatch):
    monkeypatch.setattr(datasets.data_files.time, "time_ns", lambda: 2**62)  # all are settled

    def load():
        return datasets.load("folders", pictures, "full", positive="odd")

    heals(artifacts / "hashes", damage, load, pd.DataFrame.equals)


def _content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.bmp"))}


@pytest.fixture
def remembered(monkeypatch):
    """Drawings are a few bytes: what is tested is the folder."""

    def write(folder, recipe, row):
        if not (folder / row.path).is_file():
            (folder / row.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / row.path).write_text(f"the drawing of {row.image_id}")

    monkeypatch.setattr(frames, "_write", write)


@pytest.mark.slow
@each_damage
@pytest.mark.parametrize("which", ["first", "last"])
def test_a_drawn_folder(tmp_path, remembered, damage, which):
    drawn = frames.draw(tmp_path / "drawn", FRAMES)
    whole = _content(drawn)
    path = sorted(drawn.rglob("*.bmp"))[0 if which == "first" else -1]
    DAMAGES[damage](path)
    if damage == "a_folder":
        with pytest.raises(OSError, match=path.name):
            frames.draw(drawn, FRAMES)
        shutil.rmtree(path)
    frames.draw(drawn, FRAMES)
    assert _content(drawn) == whole


@pytest.mark.slow
@each_damage
@pytest.mark.parametrize(
    "name", ["phantoms.json", "phantoms_finished.json", ".phantoms_finished.json.sums"]
)
def test_the_mark_of_a_drawn_folder(tmp_path, remembered, damage, name):
    drawn = frames.draw(tmp_path / "drawn", FRAMES)
    whole = _content(drawn)
    DAMAGES[damage](drawn / name)
    if damage == "a_folder":
        with pytest.raises(OSError, match=name):
            frames.draw(drawn, FRAMES)
        shutil.rmtree(drawn / name)
    frames.draw(drawn, FRAMES)
    assert _content(drawn) == whole
    for marker in ("phantoms.json", "phantoms_finished.json"):
        assert json.loads((drawn / marker).read_text())["phantoms"] == 48


def test_a_drawn_folder_that_was_copied_is_not_drawn_again(tmp_path, remembered, monkeypatch):
    frames.draw(tmp_path / "drawn", FRAMES)
    shutil.copytree(tmp_path / "drawn", tmp_path / "copy", copy_function=shutil.copyfile)
    monkeypatch.setattr(frames, "_write", None)
    frames.draw(tmp_path / "copy", FRAMES)


def test_artifacts_deleted_under_an_open_chapter(catalog, artifacts):
    held = images.load_images(catalog, 16)
    before = held.copy()
    shutil.rmtree(artifacts)
    assert np.array_equal(held, before)  # the chapter goes on with what it holds
    assert np.array_equal(images.load_images(catalog, 16), before)  # and makes it again


def test_images_deleted_under_an_open_chapter_are_told(tmp_path, artifacts):
    path = tmp_path / "gone.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    row = {"image_id": "a", "path": str(path), "label": "hem", "positive": 0, "sha256": "0"}
    catalog = catalogs.make([row])
    path.unlink()
    with pytest.raises(ImageError, match=r"gone\.png.*(not there|No such file)"):
        images.load_images(catalog, 16)
