"""The files of a training, finished or not, damaged in every way: it is done again, never wrong."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest

from helpers.base import files, settings
from helpers.training import runs
from tests.unit.damage import DAMAGES, files_of, files_of_at_most, heals
from tests.unit.squares import make_squares
from tests.unit.training.test_training import course, fit, same_weights, undisturbed

pytestmark = pytest.mark.slow

__all__ = ["course", "undisturbed"]  # fixtures


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_finished_run(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))

    def load(path):
        texts = {p.name: p.read_text() for p in path.parent.glob("[!.]*")}
        return SimpleNamespace(files=texts, record={})

    monkeypatch.setattr(runs, "_load", load)

    def train(folder, started):
        files.write_text(folder / "best.keras", "the weights of a network")
        files.write_text(folder / "history.csv", "epoch,loss\n1,0.5\n")
        return {**started, "epochs": 1}

    course = settings.read("phantom", "smoke")
    heals(
        course.folder("runs"),
        damage,
        lambda: runs.kept_run("a", {"seed": 1}, course, train),
        lambda one, other: one == other and set(one.files) > {"best.keras", "history.csv"},
    )


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["state.json", "epoch-0003.keras", "epoch-0002.keras"])
def test_a_stopped_run(tmp_path, damage, name):
    sums = {}
    for epoch in (2, 3):
        path = files.write_text(tmp_path / f"epoch-000{epoch}.keras", f"weights {epoch}")
        sums[path.name] = files.checksum(path)
    state = {"epoch": 3, "best": 2, "history": [{"loss": 0.5}], "files": sums}
    files.write_json(tmp_path / "state.json", files.sealed(state))
    assert runs._whole_state(tmp_path) == state
    DAMAGES[damage](tmp_path / name)
    assert runs._whole_state(tmp_path) is None


def stopped(course, monkeypatch):
    """Train until the second epoch is kept; return the folder and the names of its files."""
    keep = runs._keep

    def stop(model, state, *more):
        keep(model, state, *more)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_keep", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(course, *make_squares())
    (folder,) = course.folder("runs").glob("tiny-*")
    return folder


def test_training_begins_again_where_its_last_epoch_is_damaged(course, undisturbed, monkeypatch):
    folder = stopped(course, monkeypatch)
    assert json.loads((folder / "state.json").read_text())["epoch"] == 2
    DAMAGES["half_zeroed"](folder / "epoch-0002.keras")
    run = fit(course, *make_squares())
    pd.testing.assert_frame_equal(run.history, undisturbed.history)
    assert same_weights(run.model.get_weights(), undisturbed.model.get_weights())


def test_a_folder_removed_under_the_training_is_made_again(course, undisturbed, monkeypatch):
    keep, removed = runs._keep, []

    def remove(model, state, row, seconds, all_seconds, folder):
        keep(model, state, row, seconds, all_seconds, folder)
        if state["epoch"] == 3 and not removed:
            removed.append(folder)
            shutil.rmtree(folder)

    monkeypatch.setattr(runs, "_keep", remove)
    run = fit(course, *make_squares())
    assert removed
    pd.testing.assert_frame_equal(run.history, undisturbed.history)


def test_a_training_on_a_full_disk_is_told_in_one_sentence(course):
    with files_of_at_most(5_000), pytest.raises(files.FileError, match=": make room, or") as told:
        fit(course, *make_squares())
    assert "\n" not in str(told.value)
    assert files_of(course.folder("runs")) == []


def test_a_damaged_model_of_a_finished_run_is_trained_again(course, undisturbed):
    run = fit(course, *make_squares())
    DAMAGES["half_zeroed"](run.folder / "best.keras")
    again = fit(course, *make_squares())
    assert same_weights(again.model.get_weights(), undisturbed.model.get_weights())
