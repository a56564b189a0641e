"""`course clean`: whole artifacts go, the least recently used first; nothing else does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import filelock
import pytest

from helpers.base import files
from helpers.base.errors import RunError
from helpers.course import clean, cli
from tests import minicourse
from tests.conftest import ROOT

DAY = 86400
KEY = "0123456789abcdef"


def keep(folder, name, size, days):
    """Write a file of `size` bytes, last used `days` ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    used = time.time() - days * DAY
    os.utime(path, (used, used))
    return path


@pytest.fixture
def folder(tmp_path):
    """Artifacts of 100 bytes each: names by what they are, days since their last use."""
    root = tmp_path / "artifacts"
    run = "phantom-quick-24"
    keep(root, f"images/{KEY}-96-crop-{KEY}.npy", 100, 9)
    keep(root, f"features/resnet50-{KEY}.npy", 100, 7)
    keep(root, f"{run}/runs/custom_cnn-{KEY}/best.keras", 60, 8)
    keep(root, f"{run}/runs/custom_cnn-{KEY}/record.json", 40, 5)
    keep(root, f"phantoms/160-16-24-{KEY}/C-NMC/all/1.bmp", 50, 3)
    keep(root, f"phantoms/160-16-24-{KEY}/phantoms_finished.json", 50, 3)
    keep(root, f"{run}/predictions/lineup/cnn-{KEY}.csv", 100, 1)
    return root


def names(removed):
    return [artifact.name.split("/")[-1].split("-")[0] for artifact in removed]


def total(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_results_of_trials_are_artifacts(tmp_path):
    keep(tmp_path, f"grid/{KEY}.json", 100, 9)
    keep(tmp_path, "grid/notes.json", 100, 9)  # not the course's
    assert [each.name for each in clean.artifacts(tmp_path)] == [f"grid/{KEY}.json"]


def test_the_least_recently_used_go_first_and_whole(folder, capsys):
    removed = clean.clean(folder, limit=250e-9)
    assert names(removed) == [KEY, "resnet50", "custom_cnn"]
    assert not list(folder.glob("*/runs/*"))
    assert total(folder) == 200
    told = capsys.readouterr().out
    assert f"images/{KEY}-96-crop-{KEY}.npy" in told
    assert "Removed: 3 artifacts, 300 B. Left in" in told
    assert told.endswith("2 artifacts, 200 B.\n")


def test_by_age_a_folder_is_as_young_as_its_youngest_file(folder):
    assert names(clean.clean(folder, older_than=6)) == [KEY, "resnet50"]
    assert total(folder) == 300


def test_both_bounds_together(folder):
    assert names(clean.clean(folder, older_than=6, limit=100e-9)) == [
        *(KEY, "resnet50", "custom_cnn", "160"),
    ]


def test_a_dry_run_says_the_same_and_removes_nothing(folder, capsys):
    before = sorted(folder.rglob("*"))
    would = clean.clean(folder, limit=0, dry_run=True)
    assert sorted(folder.rglob("*")) == before
    assert "To remove: 5 artifacts, 500 B" in capsys.readouterr().out
    assert clean.clean(folder, limit=0) == would
    assert total(folder) == 0


@pytest.mark.parametrize(
    ("lock", "stays"),
    [
        (f"images/.{KEY}-96-crop-{KEY}.lock", KEY),
        (f"phantom-quick-24/runs/custom_cnn-{KEY}/.record.lock", "custom_cnn"),
        (f"phantoms/160-16-24-{KEY}/.phantoms_finished.lock", "160"),
    ],
)
def test_what_a_process_is_making_stays(folder, lock, stays, capsys):
    holder = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, filelock\n"
            "with filelock.FileLock(sys.argv[1]):\n"
            "    print('held', flush=True); sys.stdin.read()",
            str(folder / lock),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    removed = clean.clean(folder, limit=0)
    holder.communicate(b"")
    assert len(removed) == 4
    assert stays not in names(removed)
    assert "in use, stays: " in capsys.readouterr().out
    assert names(clean.clean(folder, limit=0)) == [stays]


def test_reading_a_result_makes_it_recently_used(tmp_path):
    path = tmp_path / f"features/cells-{KEY}.csv"
    path.parent.mkdir()

    def read():
        return files.kept(path, lambda path: path.read_text(), lambda path: path.write_text("1"))

    assert read() == "1"
    long_ago = time.time() - 30 * DAY
    for file in path.parent.iterdir():
        os.utime(file, (long_ago, long_ago))
    assert clean.artifacts(tmp_path)[0].used == pytest.approx(long_ago, abs=1)
    assert read() == "1"
    assert path.stat().st_mtime == pytest.approx(long_ago, abs=1)  # nothing becomes stale by it
    (artifact,) = clean.artifacts(tmp_path)
    assert time.time() - artifact.used < 60


def test_what_a_killed_process_left_goes_with_its_artifact(folder):
    keep(folder, f"images/.{KEY}-96-crop-{KEY}-{KEY[:12]}.npy", 100, 20)
    keep(folder, f"images/.{KEY}-96-crop-{KEY}.npy.sums", 20, 20)
    keep(folder, "images/.removed-1234/rest.npy", 100, 20)
    with filelock.FileLock(folder / f"images/.{KEY}-96-crop-{KEY}.lock"):
        pass
    assert len(clean.artifacts(folder)) == 5
    clean.clean(folder, older_than=8)
    assert not list(folder.glob("images/*.npy*"))
    assert not list(folder.glob("images/.removed*"))


@pytest.mark.parametrize(
    "name",
    [
        "thesis.docx",
        "images/holiday.jpg",
        "features/plan.md",
        "phantom-quick-24/notes.txt",
        "other-quick-24/runs/mine/record.json",
        "holidays/images/0123456789abcdef.npy",
    ],
)
def test_files_of_others_stay(folder, name):
    path = keep(folder, name, 100, 400)
    clean.clean(folder, limit=0)
    assert path.read_bytes()


def test_links_are_removed_and_not_what_they_point_at(folder, tmp_path):
    precious = keep(tmp_path, "elsewhere/1.bmp", 100, 90)
    (folder / f"phantoms/160-16-25-{KEY}").symlink_to(precious.parent)
    clean.clean(folder, limit=0)
    assert precious.read_bytes()
    assert not list(folder.glob("phantoms/*"))


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({}, r"has 5 artifacts, 500 B: say which to remove, --older-than DAYS, --limit GB"),
        ({"limit": -1.0}, "--limit is -1.0, but must be 0 or more"),
        ({"older_than": float("nan")}, "--older-than is nan"),
    ],
)
def test_bad_bounds(folder, bounds, told):
    with pytest.raises(RunError, match=told):
        clean.clean(folder, **bounds)
    assert total(folder) == 500


def test_a_file_that_cannot_be_removed_is_named(folder, monkeypatch):
    def refuse(path, target):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(folder), "rename", refuse)
    with pytest.raises(RunError, match=rf"{KEY}\S+ cannot be removed: Permission denied"):
        clean.clean(folder, limit=0)


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    root = minicourse.make(tmp_path / "course")
    monkeypatch.setenv("COURSE_ARTIFACTS", str(folder))
    words = ["course", "clean", "--root", str(root), "--limit", "0.0000001"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    assert re.search(
        r"Removed: 4 artifacts, 400 B\. Left in .*: 1 artifact, 100 B", capsys.readouterr().out
    )
    monkeypatch.setattr(sys, "argv", words[:-2])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_libraries_keep_between_runs_goes_too(folder):
    keep(folder, "matplotlib/fontlist-v390.json", 10, 400)
    keep(folder, "compiled/jit_step-cache", 10, 400)
    removed = clean.clean(folder, older_than=365)
    assert {artifact.name for artifact in removed} == {
        "matplotlib/fontlist-v390.json",
        "compiled/jit_step-cache",
    }


@pytest.mark.parametrize(
    "name",
    [
        "images/holiday-20230101123.jpg",
        "images/20230101123.npy",
        "features/notes.csv",
        "phantom-quick-24/runs/notes.txt",
        "phantom-quick-24/runs/mine/best.keras",
        "phantom-quick-24/predictions/talk.pptx",
        "phantoms/mine/1.bmp",
        "matplotlib/matplotlibrc",
    ],
)
def test_files_of_somebody_else_stay(folder, name):
    own = keep(folder, name, 100, 4000)
    clean.clean(folder, limit=0)
    assert own.is_file()
    assert total(folder) == 100


def test_each_folder_that_the_course_fills_for_a_data_set_is_known():
    sources = (path.read_text() for path in (ROOT / "helpers").rglob("*.py"))
    filled = {name for text in sources for name in re.findall(r'\.folder\("(\w+)"\)', text)}
    assert {"runs", "predictions"} <= filled
    assert filled <= set(clean._RUN_SHELVES)


@pytest.mark.parametrize("name", [f"tuning/settings-{KEY}.csv", f"generative/latents-{KEY}.npy"])
def test_what_chapters_06_and_11_keep_goes_too(tmp_path, name):
    kept = keep(tmp_path, f"phantom-quick-24/{name}", 100, 9)
    clean.clean(tmp_path, limit=0)
    assert not kept.exists()


def test_artifacts_that_are_a_file_or_not_there_are_not_called_empty(tmp_path, capsys):
    assert clean.clean(tmp_path / "none", limit=1) == []
    assert f"There is no folder {tmp_path / 'none'}" in capsys.readouterr().out
    (tmp_path / "file").write_text("somebody's")
    with pytest.raises(RunError, match=r"file \(COURSE_ARTIFACTS\) is a file, not the folder"):
        clean.clean(tmp_path / "file", limit=1)
