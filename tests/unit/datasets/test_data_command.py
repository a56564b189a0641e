"""``course data``: what is printed, where things go, what the exit status says."""

from __future__ import annotations

import os
import shlex
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.base.errors import CourseError, DatasetError
from helpers.course import data
from helpers.course.data import app
from helpers.datasets.copies import download
from helpers.datasets.copies import verify as checks
from helpers.datasets.copies.index import cnmc_index

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A kagglehub whose downloads do what `answers` say, one after the other."""
    calls = []
    answers = []

    def dataset_download(handle: str) -> str:
        calls.append((handle, os.environ.get("KAGGLEHUB_CACHE")))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    module = types.ModuleType("kagglehub")
    module.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    module.calls, module.answers = calls, answers
    return module


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A folder with one file, and an index in which it is all there is."""
    monkeypatch.setattr(checks, "cnmc_index", lambda: cnmc_index().head(1).assign(sha256=_X))
    path = tmp_path / "mount" / "all" / "UID_11_10_1_all.bmp"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    monkeypatch.setattr(checks, "PARTS", ("train",))
    return tmp_path / "mount"


_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # sha256 of b"x"


def test_cnmc_is_fetched_and_checked_where_it_lies(kaggle, copy):
    kaggle.answers += [copy]
    before = sorted(copy.rglob("*"))
    done = run("cnmc", "--verify")
    assert done.exit_code == 0, done.output
    assert kaggle.calls == [("andrewmvd/leukemia-classification", None)]
    assert "1 of 1 files of the release are there, all intact (complete copy)." in done.output
    assert f"DATA_DIR={copy}" in done.output
    assert sorted(copy.rglob("*")) == before  # Colab's mount is read only


def test_it_is_checked_on_request_only(kaggle, copy, monkeypatch):
    kaggle.answers += [copy]
    monkeypatch.setattr(checks, "verify", lambda folder: pytest.fail("10 GB were read"))
    done = run("cnmc")
    assert done.exit_code == 0
    assert "No file was checked" in done.output


def test_outside_of_a_clone_it_ends_in_the_lines_for_a_notebook(
    kaggle, copy, monkeypatch, tmp_path
):
    (tmp_path / "content").mkdir()
    monkeypatch.chdir(tmp_path / "content")
    mount = copy.rename(copy.with_name("it's a mount"))
    kaggle.answers += [mount]
    before = [(path, path.stat().st_mtime_ns) for path in sorted(mount.rglob("*"))]
    done = run("cnmc")
    assert "make" not in done.output
    lines = done.output.splitlines()[-2:]
    values: dict[str, str] = {}
    exec("\n".join(lines), values)
    assert (values["DATASET"], values["DATA_DIR"]) == ("cnmc", str(mount))
    assert [(path, path.stat().st_mtime_ns) for path in sorted(mount.rglob("*"))] == before


def test_out_is_where_kagglehub_keeps_it(kaggle, copy, tmp_path):
    kaggle.answers += [copy]
    assert run("cnmc", "--out", tmp_path / "here", "--source", "me/mine").exit_code == 0
    assert kaggle.calls == [("me/mine", str(tmp_path / "here"))]
    assert "KAGGLEHUB_CACHE" not in os.environ


def test_a_failed_fetch_leaves_no_empty_folder(kaggle, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for out in (tmp_path / "new" / "deep", own / "new", own):
        kaggle.answers += [ConnectionError("reset by peer")] * 4
        assert run("cnmc", "--out", out).exception is not None
    assert list(own.iterdir()) == []
    assert not (tmp_path / "new").exists()


def test_a_broken_connection_is_taken_up_again(kaggle, copy):
    kaggle.answers += [ConnectionError("reset by peer"), TimeoutError(), copy]
    done = run("cnmc")
    assert done.exit_code == 0
    assert "reset by peer; going on in 2 s (try 2 of 4)." in done.output
    assert len(kaggle.calls) == 3


def test_a_source_that_is_gone_gives_way_to_the_next(kaggle, copy):
    gone = ConnectionError("404 Client Error.")
    gone.response = types.SimpleNamespace(status_code=404)
    kaggle.answers += [gone, copy]
    assert run("cnmc").exit_code == 0
    assert [handle for handle, _ in kaggle.calls] == list(download.SOURCES["cnmc"])


def test_without_network_one_sentence_says_where_to_fetch_it(kaggle):
    kaggle.answers += [ConnectionError("no route to host\nlong story")] * 4
    done = run("cnmc")
    assert isinstance(done.exception, DatasetError)
    text = str(done.exception)
    assert "no route to host" in text
    assert "long story" not in text
    assert "https://doi.org/10.7937/tcia.2019.dc64i46r" in text
    assert isinstance(done.exception, CourseError)


def test_a_wall_of_words_becomes_a_few():
    words = (
        "HTTPSConnectionPool(host='api.kaggle.com', port=443): Max retries exceeded with url: /x"
    )
    assert download._in_short(ConnectionError(words)) == "no connection to api.kaggle.com"


def test_a_spoilt_download_fails(kaggle, copy):
    next(copy.rglob("*.bmp")).write_bytes(b"y")
    kaggle.answers += [copy]
    done = run("cnmc", "--verify")
    assert done.exit_code == 1
    assert "NOT ALL INTACT" in done.output


def test_verify_writes_everything_where_asked(copy, tmp_path):
    done = run("verify", copy, "--out", tmp_path / "all.csv")
    assert done.exit_code == 0
    assert "intact,all/UID_11_10_1_all.bmp" in (tmp_path / "all.csv").read_text()
    assert run("verify", copy, "--out", tmp_path / "all.csv").exit_code == 0


def test_verify_replaces_no_other_file(copy, tmp_path):
    for name in ("subjects.csv", "notes.txt"):
        (tmp_path / name).write_text("image,subject")
        assert isinstance(run("verify", copy, "--out", tmp_path / name).exception, CourseError)
        assert (tmp_path / name).read_text() == "image,subject"


def test_all_idb_says_what_to_ask_for():
    done = run("all_idb")
    assert done.exit_code == 0
    assert "DATASET=all_idb" in done.output
    assert "xyc/Im001_1.xyc" in done.output


def test_phantoms_are_drawn_where_asked(tmp_path):
    done = run("phantom", "--out", tmp_path / "p", "--profile", "tiny")
    assert isinstance(done.exception, CourseError)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("command", ["phantom", "phantom_fields"])
def test_nothing_is_drawn_between_the_files_of_others(tmp_path, monkeypatch, command):
    (tmp_path / "thesis.docx").write_text("x")
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path, "", "thesis.docx"):
        done = run(command, "--out", out, "--profile", "smoke")
        assert isinstance(done.exception, DatasetError)
        words = "is a file" if out == "thesis.docx" else "did not draw, such as thesis.docx"
        assert words in str(done.exception)
    assert os.listdir(tmp_path) == ["thesis.docx"]


@pytest.mark.parametrize("command", ["phantom", "phantom_fields"])
@pytest.mark.parametrize("seed", [-1, 10**30])
def test_a_seed_that_is_no_seed(tmp_path, command, seed):
    done = run(command, "--out", tmp_path / "new", "--seed", seed)
    assert isinstance(done.exception, DatasetError)
    assert "seed must be a whole number from 0 to" in str(done.exception)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("out", ["", "/", "no/such/folder.csv"])
def test_the_list_needs_the_name_of_a_file(copy, out):
    done = run("verify", copy, "--out", out)
    assert isinstance(done.exception, CourseError)
    assert "--out is" in str(done.exception)


def test_the_real_kagglehub_takes_what_we_hand_it(tmp_path, monkeypatch):
    import inspect

    import kagglehub
    from kagglehub.config import get_cache_folder

    inspect.signature(kagglehub.dataset_download).bind(download.SOURCES["cnmc"][0])
    with download._cache_at(tmp_path / "here"):
        assert get_cache_folder() == str(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="no real images in ../shared/data")
def test_taleqani_is_counted(kaggle):
    kaggle.answers += [REAL / "taleqani"]
    done = run("taleqani")
    assert done.exit_code == 0, done.output
    assert "1,627 fields" in done.output
    assert "benign 252, early 492, pre 481, pro 402" in done.output


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="no real images in ../shared/data")
def test_a_part_is_fine_unless_all_was_asked_for():
    assert run("verify", REAL / "cnmc").exit_code == 0
    assert run("verify", REAL / "cnmc", "--complete").exit_code == 1


def test_the_next_command_can_be_copied_whatever_the_folder_is_called(tmp_path, capsys):
    folder = tmp_path / "it's $HOME, a b"
    data._next_step("cnmc", folder)
    words = shlex.split(capsys.readouterr().out)
    assert words[-2].replace("$$", "$") == f"DATA_DIR={folder}"  # make reads $$ as $
    assert words[-1] == "PROFILE=quick"
