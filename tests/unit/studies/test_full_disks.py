"""A disk that is full, small or closed: one sentence, and nothing half-written stays.

The limit on the size of a file makes every write fail as a full disk does, also in C.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from helpers import datasets, images
from helpers.base import files, settings
from helpers.base.files import FileError
from helpers.base.settings import Profile
from helpers.course import cli, editions
from helpers.datasets.copies import download
from helpers.datasets.drawn import frames
from tests import minicourse
from tests.conftest import ROOT
from tests.unit.damage import files_of, files_of_at_most


@pytest.fixture
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.fixture
def catalog(tmp_path, artifacts):
    for number in range(4):
        path = tmp_path / "data" / ("even", "odd")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            cv2.imencode(".png", np.full((9, 9, 3), 100 + number, np.uint8))[1].tobytes()
        )
    return datasets.load("folders", tmp_path / "data", "full", positive="odd")


def is_a_sentence(told, *words, cure="make room, or choose"):
    text = str(told.value)
    assert "\n" not in text
    assert text.endswith(".")
    for word in (*words, cure, "COURSE_ARTIFACTS", "--build", "--out"):
        assert word in text


def test_images_that_do_not_fit(catalog, artifacts):
    with files_of_at_most(1000), pytest.raises(FileError) as told:
        images.load_images(catalog, 32)
    is_a_sentence(told, str(artifacts / "images"), "File too large")
    assert files_of(artifacts / "images") == []
    assert images.load_images(catalog, 32).shape == (4, 32, 32, 3)


def test_what_is_known_not_to_fit_is_not_begun(catalog, artifacts, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=5_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr("helpers.images.loading._build", None)
    with pytest.raises(FileError, match=r"12\.0 MB are needed.*0\.0 MB are free") as told:
        images.load_images(catalog, 1000)
    is_a_sentence(told, str(artifacts / "images"))


def test_phantoms_that_do_not_fit(artifacts):
    few = Profile("tiny", 48, 48, 12, 48, 1, 1, 8, 10)
    with files_of_at_most(100_000), pytest.raises(FileError) as told:
        datasets.load("phantom", profile=few)
    is_a_sentence(told, str(artifacts / "phantoms"))
    assert not list(artifacts.rglob("*.bmp"))
    assert not list(artifacts.rglob("*_finished.json"))


def test_phantoms_are_not_begun_where_they_do_not_fit(tmp_path, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=5_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FileError, match=r"97\.4 MB are needed"):
        frames.draw(tmp_path, "smoke")
    assert not list(tmp_path.rglob("*.bmp"))


def test_a_download_that_does_not_fit_is_not_tried_again(tmp_path, monkeypatch):
    calls = []

    def full(handle):
        calls.append(handle)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("kagglehub.dataset_download", full)
    with pytest.raises(FileError) as told:
        download.fetch("cnmc", tmp_path / "here")
    is_a_sentence(told, str(tmp_path / "here"), "No space left")
    assert len(calls) == 1


def test_a_student_edition_that_does_not_fit(tmp_path):
    root = minicourse.make(tmp_path / "course")
    with files_of_at_most(300), pytest.raises(FileError) as told:
        editions.write_student_edition(tmp_path / "out", root)
    is_a_sentence(told, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["course"]


@pytest.mark.parametrize("place", ["artifacts", "artifacts/images", "artifacts/phantom-smoke-24"])
def test_a_file_in_the_place_of_a_folder(tmp_path, catalog, artifacts, place):
    shutil.rmtree(artifacts, ignore_errors=True)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("somebody's")
    run = settings.read("phantom", "smoke")
    in_a_folder = functools.partial(run.folder, "runs")
    work = (
        in_a_folder if place.endswith("24") else functools.partial(images.load_images, catalog, 8)
    )
    with pytest.raises(FileError) as told:
        work()
    is_a_sentence(told, f": {tmp_path / place})", cure="move away what is in its place, or choose")
    assert "make room" not in str(told.value)
    assert (tmp_path / place).read_text() == "somebody's"


def test_a_name_that_is_too_long_for_the_disk(tmp_path):
    with pytest.raises(FileError, match="File name too long"):
        files.write_text(tmp_path / ("a" * 300), "42")
    assert files.write_text(tmp_path / ("a" * 250), "42").read_text() == "42"


def test_a_build_folder_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch, capsys):
    root = minicourse.make(tmp_path / "course")
    (tmp_path / "file").write_text("somebody's")
    words = ["course", "run", "--root", str(root), "--build", str(tmp_path / "file" / "build")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(
        r"file/build.* cannot be written \(Not a directory: \S+/file\): move away", told
    )


@pytest.mark.slow
@pytest.mark.parametrize(("size", "where"), [(4_000, "executed"), (200_000, "_build")])
def test_a_course_on_a_disk_that_is_full(tmp_path, size, where):
    """In 4 kB not even an executed copy fits, in 200 kB not every file of the book."""
    root = minicourse.make(tmp_path / "course")
    build = tmp_path / "_build"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size},) * 2);"
    limited += "import sys; sys.argv[0] = 'course'; from helpers.course import cli; cli.main()"
    words = ["book", "--profile", "smoke", "--only", "01"] if size < 10_000 else ["book"]
    words += ["--root", str(root), "--build", str(build)]
    done = subprocess.run(
        [sys.executable, "-c", limited, *words],
        cwd=ROOT,
        env={**os.environ, "COURSE_ARTIFACTS": str(tmp_path / "artifacts")},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "Error:" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "cannot be written" in line]
    assert re.search(rf"{where}.*File too large.*: make room, or", line)
    assert not (build / "html").exists()
    copies = [path.name for path in (build / "executed").rglob("*.ipynb")]
    assert sorted(copies) == ([] if size < 10_000 else ["01_lines.ipynb", "02_files.ipynb"])
    assert sorted(path.name for path in build.rglob(".*")) == [".lock"]
