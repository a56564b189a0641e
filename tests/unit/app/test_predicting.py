"""``course predict``: what is printed, and what the exit status says."""

import json
import math
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.app import predicting
from helpers.app.answers import Answer
from helpers.base.errors import AppError
from helpers.course.cli import app

pytestmark = pytest.mark.slow


@pytest.fixture
def run(trained, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(trained))

    def course_predict(*words):
        return CliRunner().invoke(app, ["predict", *map(str, words)])

    return course_predict


@pytest.fixture
def folder(trained, tmp_path):
    """A folder of three drawn frames and a text that is no image."""
    place = tmp_path / "cells"
    (place / "more").mkdir(parents=True)
    for number, path in enumerate(sorted(trained.glob("phantoms/**/*.bmp"))[:3]):
        shutil.copy(path, place / ("more" if number else "") / path.name)
    (place / "notes.txt").write_text("not looked at")
    return place


def test_a_table(run, folder):
    done = run(folder)
    assert done.exit_code == 0
    assert done.stdout.index("Teaching only") < done.stdout.index("drawn cells")
    assert done.stdout.index("drawn cells") < done.stdout.index("probability")
    assert done.stdout.count(".bmp") == 3


def test_a_distance_that_is_unknown_is_called_so(capsys):
    answer = Answer(None, np.zeros((2, 2, 3)), "all", 0.7, 0.5, "", (), math.nan, ())
    predicting._print_rows("a.bmp", [answer])
    assert capsys.readouterr().out == "      0.700  all           unknown  a.bmp\n"


def test_json_holds_nothing_else(run, folder):
    done = run(folder, "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert [one["label"] in ("hem", "all") for one in document["answers"]] == [True] * 3
    assert document["unanswered"] == []
    assert any("drawn" in note for note in document["model"]["notes"])
    assert {"file", "box", "probability", "votes", "distance"} <= set(document["answers"][0])


def test_one_file_and_one_network(run, folder, loaded):
    file = next(folder.glob("*.bmp"))
    done = run(file, "--json", "--model", loaded.facts.key, "--kind", "cell")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["model"]["key"] == loaded.facts.key


def test_the_others_are_answered_where_one_cannot_be(run, folder):
    (folder / "broken.png").write_bytes(b"no picture")
    black = b"BM" + bytes(200)
    (folder / "black.bmp").write_bytes(black)
    done = run(folder, "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert len(document["answers"]) == 3
    assert len(document["unanswered"]) == 2
    lines = [line for line in done.stderr.splitlines() if "broken.png" in line]
    assert len(lines) == 1
    assert lines[0].endswith(".")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "not there"),
        (["."], "No BMP"),
        ([".", "--kind", "film"], "kind"),
    ],
)
def test_bad_input(run, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert isinstance(done.exception, AppError)  # `main` prints it and exits with status 2
    assert says in str(done.exception)


def test_a_network_by_its_folder(run, folder, loaded, trained):
    place = next(trained.glob(f"*/runs/{loaded.facts.key}"))
    done = run(folder, "--json", "--model", place)
    assert json.loads(done.stdout)["model"]["key"] == loaded.facts.key


def test_an_unknown_network(run, folder):
    assert isinstance(run(folder, "--model", "cnn").exception, AppError)


def test_without_any_network(run, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "empty"))
    done = run(folder)
    assert "no trained network" in str(done.exception)
