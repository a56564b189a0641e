"""Settings stop a chapter before Keras does: channels first in the user's keras.json."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest

from helpers import datasets
from helpers.base import settings
from helpers.base.files import FileError


@pytest.fixture
def file(monkeypatch, tmp_path):
    """Return the keras.json of a process that has not imported Keras."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    return tmp_path / "keras.json"


def test_channels_first_is_refused_with_the_file_and_what_to_write(file):
    file.write_text(json.dumps({"image_data_format": "channels_first"}))
    with pytest.raises(settings.SettingsError) as refused:
        settings.read()
    assert str(file) in str(refused.value)
    assert "'channels_first'" in str(refused.value)
    assert 'write "channels_last"' in str(refused.value)
    assert "keras" not in sys.modules


def test_the_file_in_the_home_folder_is_read_where_no_other_is_named(file, monkeypatch):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(settings.os.path, "expanduser", lambda path: str(path).replace("~", "HOME"))
    assert settings._keras_json().as_posix() == "HOME/.keras/keras.json"


@pytest.mark.parametrize(
    "text", ['{"image_data_format": "channels_last"}', "{}", "[]", "not JSON", None]
)
def test_any_other_file_is_left_to_keras(file, text):
    if text is not None:
        file.write_text(text)
    assert settings.read().dataset == "phantom"


@pytest.mark.parametrize(("found", "refused"), [("channels_last", False), ("channels_first", True)])
def test_what_the_running_keras_says_counts_more_than_the_file(file, monkeypatch, found, refused):
    other = {"channels_last": "channels_first", "channels_first": "channels_last"}[found]
    file.write_text(json.dumps({"image_data_format": other}))
    config = SimpleNamespace(image_data_format=lambda: found)
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(config=config))
    if refused:
        with pytest.raises(settings.SettingsError, match="channels_first"):
            settings.read()
    else:
        settings.read()


def test_a_folder_without_its_data_set_is_not_taken_for_drawn_cells(tmp_path):
    told = "DATASET is 'phantom'.*set DATASET to .*cnmc.*or leave DATA_DIR out"
    for read in (settings.read, datasets.load):
        with pytest.raises(settings.SettingsError, match=told):
            read("phantom", data_dir=tmp_path)


def test_finished_results_are_kept_elsewhere_and_images_are_not(monkeypatch, tmp_path):
    """As Google Drive on Colab: the next machine finds the runs, and makes images again."""
    drive = tmp_path / "drive"
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "machine 1"))
    monkeypatch.delenv(settings.KEEP, raising=False)
    first = settings.read(profile="smoke")
    (first.folder("runs", "before") / "record.json").write_text("1")
    monkeypatch.setenv(settings.KEEP, str(drive))
    (first.folder("runs", "after") / "record.json").write_text("2")
    (first.folder("predictions") / "table.csv").write_text("3")
    (first.folder("leukocytes") / "images.npy").write_text("many bytes")
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "machine 2"))
    second = settings.read(profile="smoke")
    records = {p.parent.name: p.read_text() for p in second.folder("runs").glob("*/record.json")}
    assert records == {"before": "1", "after": "2"}
    assert second.artifacts.joinpath("phantom-smoke-24", "runs").is_symlink()
    assert (second.folder("predictions") / "table.csv").read_text() == "3"
    assert not list(second.folder("leukocytes").iterdir())
    kept = {p.relative_to(drive).as_posix() for p in drive.rglob("*") if p.is_file()}
    run = "phantom-smoke-24"
    assert kept == {
        f"{run}/{p}"
        for p in ("runs/before/record.json", "runs/after/record.json", "predictions/table.csv")
    }


def test_keeping_may_be_moved_to_another_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "machine"))
    course = settings.read(profile="smoke")
    for name in ("one", "two"):
        monkeypatch.setenv(settings.KEEP, str(tmp_path / name))
        assert course.folder("runs").resolve() == tmp_path / name / "phantom-smoke-24" / "runs"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
@pytest.mark.parametrize("variable", ["COURSE_ARTIFACTS", settings.KEEP])
def test_place_where_no_folder_can_be_made_is_told(variable, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv(variable, "/proc/new")
    with pytest.raises(FileError, match=r"^/proc/new.*no folder can be made there"):
        settings.read("phantom", "smoke").folder("runs")
