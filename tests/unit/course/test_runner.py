"""Project, banner, published pages and the command line, all without starting a kernel."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from helpers.base.errors import CourseError, RunError
from helpers.base.settings import SettingsError
from helpers.course import banner, book, cli, executor, project, runner, verify
from helpers.course.project import Parameters, Project
from tests import minicourse
from tests.unit.strange import HOSTILE

RECORD = {
    "chapter": "01_lines",
    "dataset": "phantom",
    "profile": "smoke",
    "seed": 24,
    "parameters": {
        "DATASET": "phantom",
        "PROFILE": "smoke",
        "SEED": 24,
        "DATA_DIR": "",
        "POSITIVE": "",
    },
    "weights": [],
    "collapsed": [],
    "device": "CPU, 2 cores",
    "seconds": 125.2,
    "cells": [{"id": "a", "seconds": 61.0}],
    "commit": "0123456789abcdef+",
    "finished": "2026-01-02T03:04:05+00:00",
    "python": "3.12.1",
    "versions": {"numpy": "2.0"},
}


@pytest.fixture
def course(tmp_path):
    root = minicourse.make(tmp_path / "course")
    return Project(root, root / "_build")


def executed(course, run, name):
    """Pretend that a chapter was executed now."""
    chapter = course.select([name])[0]
    notebook = json.loads(chapter.path.read_text())
    for count, cell in enumerate(c for c in notebook["cells"] if c["cell_type"] == "code"):
        cell["execution_count"] = count + 1
    path = minicourse.write(executor.copy_path(course, run, chapter), notebook)
    record = {
        **RECORD,
        "chapter": chapter.name,
        "digest": runner.staleness.digest(course, chapter, run),
        "executed": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(record))
    return path


def test_chapters_come_in_the_order_of_the_table_of_contents(course):
    assert [chapter.name for chapter in course.chapters] == ["01_lines", "02_files"]


def test_a_chapter_that_is_named_but_missing(course):
    (course.root / "notebooks" / "02_files.ipynb").unlink()
    with pytest.raises(RunError, match=r"02_files.*no file"):
        _ = course.chapters


@pytest.mark.parametrize("word", ["02", "2", "02_files", "files", "notebooks/02_files.ipynb"])
def test_a_chapter_is_called_by_number_or_name(course, word):
    assert [chapter.name for chapter in course.select([word])] == ["02_files"]


@pytest.mark.parametrize(("word", "why"), [("07", "matches no chapter"), ("es", "more than one")])
def test_a_word_that_fits_none_or_many(course, word, why):
    with pytest.raises(RunError, match=why):
        course.select([word])


def test_outside_of_a_clone(tmp_path):
    with pytest.raises(RunError, match="not a clone"):
        project.find(tmp_path)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dataset": "mnist"}, "DATASET"),
        ({"profile": "tiny"}, "PROFILE"),
        ({"seed": -1}, "SEED"),
        ({"seed": 2**32}, "SEED"),
        ({"dataset": "cnmc"}, "needs DATA_DIR"),
        ({"dataset": "cnmc", "data_dir": "no/such"}, "no folder is there"),
    ],
)
def test_parameters_are_checked_before_anything_runs(given, why):
    with pytest.raises(SettingsError, match=why):
        project.parameters(**given)


@pytest.mark.parametrize("dataset", ["cnmc", "taleqani", "all_idb", "snam"])
def test_a_folder_without_the_data_set_is_told_before_anything_runs(tmp_path, monkeypatch, dataset):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(CourseError, match=f"No image of {dataset} was found"):
        project.parameters(dataset, "smoke", 24, tmp_path / "data")


@pytest.mark.parametrize("build", ["", ".", "..", "notebooks", "helpers/base/new", "book"])
def test_a_book_is_not_built_over_the_course(course, monkeypatch, build):
    monkeypatch.chdir(course.root)
    with pytest.raises(RunError, match=r"--build is .*name another folder"):
        project.find(course.root, Path(build))
    assert project.find(course.root, Path("_build/other")).build.name == "other"


def test_a_fresh_course_is_all_stale_and_an_executed_one_is_not(course):
    run = Parameters(profile="smoke")
    assert [s.reasons for s in runner.states(course, run)] == [("not executed yet",)] * 2
    executed(course, run, "01")
    assert [bool(s.reasons) for s in runner.states(course, run)] == [False, True]


@pytest.mark.parametrize("damage", ["{", "{}", ""])
def test_a_copy_that_is_not_the_recorded_one_counts_as_not_done(course, damage):
    run = Parameters(profile="smoke")
    path = executed(course, run, "01")
    path.write_text(damage)
    assert runner.states(course, run)[0].reasons


@pytest.mark.parametrize("damage", ["{", "{}", ""])
def test_a_damaged_record_counts_as_not_done(course, damage):
    run = Parameters(profile="smoke")
    executed(course, run, "01").with_suffix(".json").write_text(damage)
    assert runner.states(course, run)[0].reasons


def test_a_book_with_a_stale_chapter_is_not_published(course):
    run = Parameters(profile="smoke")
    executed(course, run, "01")
    with pytest.raises(RunError, match="02_files"):
        book.build(course, run)
    assert not course.html.exists()


def test_a_notebook_without_a_parameters_cell_is_not_run(course):
    chapter = course.chapters[0]
    minicourse.change(chapter.path, '"parameters"', '"other"')
    with pytest.raises(RunError, match="0 cells tagged"):
        executor.execute(course, chapter, Parameters(), artifacts=course.build, cell_timeout=10)
    assert not list(course.build.rglob("*.ipynb"))


def test_a_parameter_that_the_chapter_does_not_have(course):
    chapter = course.chapters[0]
    minicourse.change(chapter.path, "\\nSEED = 24", "")
    with pytest.raises(RunError, match="does not set SEED"):
        executor.execute(course, chapter, Parameters(), artifacts=course.build, cell_timeout=10)


def published(course, **record):
    source = json.loads(course.chapters[0].path.read_text())
    copy = json.loads(json.dumps(source))
    for count, cell in enumerate(c for c in copy["cells"] if c["cell_type"] == "code"):
        cell["execution_count"] = count + 1
    injected = minicourse.code('DATA_DIR = "/home/me/frames"', "injected-parameters")
    copy["cells"].insert(2, {**injected, "id": "x", "execution_count": 9})
    return book.page(source, copy, {**RECORD, **record})


def test_a_page_is_todays_text_with_the_runs_outputs_and_a_banner(course):
    minicourse.change(course.chapters[0].path, "Which profile is this?", "Which one?")
    page = published(course)
    texts = [cell["source"] for cell in page["cells"]]
    assert texts[0].startswith("# Lines")
    assert "run-banner" in texts[1]
    assert "Which one?" in texts
    assert all(c["execution_count"] for c in page["cells"] if c["cell_type"] == "code")


def test_injected_parameters_are_shown_when_they_differ_without_folders(course):
    same = {"DATASET": "phantom", "PROFILE": "quick", "SEED": 24, "DATA_DIR": "", "POSITIVE": ""}
    assert not any("injected" in c["id"] for c in published(course, parameters=same)["cells"])
    other = {**same, "DATASET": "cnmc", "DATA_DIR": "/home/me/frames"}
    (shown,) = (c for c in published(course, parameters=other)["cells"] if "injected" in c["id"])
    assert shown["source"] == 'DATA_DIR = ".../frames"'


def test_a_page_shows_no_home_folder_whatever_its_letters():
    from papermill.translators import PythonTranslator

    values = {"DATA_DIR": "/home/jérôme/leucémie/C-NMC"}
    cell = minicourse.code(PythonTranslator.codify(values), "injected-parameters")
    shown = book._shown({**cell, "execution_count": 1}, {"parameters": values})["source"]
    assert "home" not in shown
    assert "/C-NMC" in shown


def test_banner_says_what_the_page_was_run_on():
    text = banner.banner(RECORD)
    for fact in ("not photographed", "smoke", "none", "CPU, 2 cores", "2 min 05 s"):
        assert fact in text
    assert "0123456789 with changes" in text
    assert "2026-01-02" in text
    assert "not a medical device" in text
    assert "its figures mean nothing" in text
    assert "mean nothing" not in banner.banner({**RECORD, "profile": "quick"})
    real = banner.banner({**RECORD, "dataset": "cnmc", "weights": ["MobileNetV2 <ImageNet>"]})
    assert "drawn" not in real
    assert "MobileNetV2 &lt;ImageNet&gt;" in real


def test_drawn_fields_under_a_real_name_are_not_called_real(tmp_path):
    from helpers.datasets.drawn import fields

    real, drawn = (tmp_path / name for name in ("real", "drawn"))
    for folder in (real, drawn / "fields"):
        folder.mkdir(parents=True)
    (drawn / "fields" / fields.MARKER).write_text('{"seed": 24}')
    runs = {f: Parameters("snam", "smoke", 24, str(f)) for f in (real, drawn, drawn / "fields")}
    assert [executor.is_drawn(run) for run in runs.values()] == [False, True, True]
    page = banner.banner({**RECORD, "dataset": "snam", "drawn": True})
    assert "Run on drawn cells" in page
    assert "but drawn by the course itself" in page


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (4e3, "1 h 06 min"),
    ],
)
def test_duration(seconds, text):
    assert banner.duration(seconds) == text


def test_backbones_with_equal_weights_are_told_together():
    told = ["a: RANDOM weights", "b: ImageNet, from a folder", "c: RANDOM weights", "no name"]
    record = {**RECORD, "weights": told}
    assert banner.weights(record) == "a, c: RANDOM weights; b: ImageNet, from a folder; no name"


def test_banner_and_status_page_and_status_tell_each_collapsed_network(course, capsys):
    run = Parameters("phantom", "smoke", 24)
    told = "net <1> collapsed: its scores are all 1.000."
    assert "ollapsed" not in banner.banner(RECORD)
    assert "None." in banner.status_page([RECORD], {"01_lines": "Lines"})
    record = {**RECORD, "collapsed": [told, "b collapsed."]}
    page = banner.banner(record)
    assert page.count("<p><b>Collapsed network:</b>") == 2
    assert "net &lt;1&gt; collapsed" in page
    status = banner.status_page([record], {"01_lines": "Lines"})
    assert "- Lines: net \\<1\\> collapsed: its scores are all 1.000.\n" in status
    path = executed(course, run, "01")
    path.with_suffix(".json").write_text(
        json.dumps({**json.loads(path.with_suffix(".json").read_text()), "collapsed": [told]})
    )
    cli.status("phantom", "smoke", 24, "", "", course.build, course.root)
    assert f"    {told}\n" in capsys.readouterr().out


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_value_of_a_run_acts_as_markup(evil):
    """A device, a version, the sentence on a network: none of them was written for a page."""
    record = {**RECORD, "device": evil, "weights": [evil], "collapsed": [evil], "dataset": evil}
    record["versions"] = {evil: evil}
    page = banner.status_page([record], {"01_lines": "Lines"})
    harmless = banner.status_page(
        [{**RECORD, "collapsed": ["x"], "weights": ["x"], "versions": {"x": "1"}}],
        {"01_lines": "Lines"},
    )
    assert page.count("\n") == harmless.count("\n")
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
    assert set(re.findall(r"<(\w+)", shown)) <= {
        "h1", "h2", "p", "ul", "li", "code", "a", "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert re.findall('href="(.*?)"', shown) == ["../notebooks/01_lines.ipynb"]
    assert shown.count("<td") == 7 + 2 * 2
    notice = banner.banner(record)
    assert "\n\n" not in notice
    assert set(re.findall(r"<(\w+)", notice)) == {"div", "p", "b"}


def test_a_record_of_before_has_no_collapsed_networks():
    old = {key: value for key, value in RECORD.items() if key != "collapsed"}
    assert banner.banner(old) == banner.banner(RECORD)


def test_status_page_names_every_chapter_and_version():
    page = banner.status_page([RECORD], {"01_lines": "Lines"})
    plain = page.replace("\u00a0", " ")
    assert "[Lines](../notebooks/01_lines.ipynb) | 2 min 05 s | 1 min 01 s" in plain
    assert "| numpy | 2.0 |" in page


def test_a_book_takes_the_place_of_the_former_one(tmp_path):
    built, html = tmp_path / "new", tmp_path / "html"
    for folder, text in ((built, "new"), (html, "old")):
        folder.mkdir()
        (folder / "index.html").write_text(text)
    book._publish(built, html)
    assert (html / "index.html").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["html"]


def test_killed_between_the_two_renames_the_former_book_comes_back(course):
    old = course.build / "html.old"
    old.mkdir(parents=True)
    (old / "index.html").write_text("old")
    book._recover(course.html)
    assert (course.html / "index.html").read_text() == "old"
    assert not old.exists()


@pytest.mark.slow
def test_two_runs_do_not_share_a_build_folder(course, capsys):
    other = "import sys; from pathlib import Path; from helpers.course import project, runner\n"
    other += "with runner.locked(project.find(sys.argv[1])): print('in', flush=True); input()"
    command = [sys.executable, "-c", other, str(course.root)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "in\n"
        ended = []

        def end() -> None:
            ended.append(True)
            process.stdin.write("\n")
            process.stdin.flush()

        threading.Timer(0.3, end).start()
        with runner.locked(course):
            assert ended, "the second run waits for the first"
    assert "waiting for it" in capsys.readouterr().err


def test_bad_input_is_one_sentence_and_exit_status_2(course, monkeypatch, capsys):
    words = ["course", "run", "--root", str(course.root), "--dataset", "mnist"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "mnist" in told


def test_jobs_must_be_one_or_more(course):
    with pytest.raises(RunError, match="--jobs"):
        runner.run_chapters(course, Parameters(), jobs=0)


def started(course, monkeypatch, **options):
    """Return the order in which a run starts the chapters, and how many at a time."""
    order = []

    def execute(project, chapter, **how):
        order.append((chapter.name, how["jobs"]))
        return executor.Result(chapter.name, 0.0)

    monkeypatch.setattr(runner, "execute", execute)
    monkeypatch.setattr(runner.subprocess, "run", lambda *_, **__: None)
    runner.run_chapters(course, Parameters(profile="smoke"), **options)
    return order


def test_as_many_chapters_run_at_a_time_as_the_machine_takes(course, monkeypatch, capsys):
    memory = []
    monkeypatch.setattr(runner, "chapters_at_a_time", lambda gb: memory.append(gb) or 7)
    assert started(course, monkeypatch) == [("01_lines", 2), ("02_files", 2)]
    assert memory == [runner.CHAPTER_MEMORY["smoke"]]
    assert "2 of 2 chapters to run, 2 at a time." in capsys.readouterr().out
    assert [jobs for _, jobs in started(course, monkeypatch, jobs=1)] == [1, 1]


def test_the_longest_chapter_starts_first(course, monkeypatch):
    run = Parameters(profile="smoke")
    for name, seconds in (("01", 5.0), ("02", 60.0)):
        record = executed(course, run, name).with_suffix(".json")
        record.write_text(json.dumps({**json.loads(record.read_text()), "seconds": seconds}))
    order = started(course, monkeypatch, force=True, jobs=1)
    assert [name for name, _ in order] == ["02_files", "01_lines"]


def test_chapters_that_start_together_parse_one_after_the_other(monkeypatch, tmp_path):
    inside, most = [], []

    def facts(*_):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        raise RunError("far enough")

    monkeypatch.setattr(executor, "_facts", facts)
    course = project.find(minicourse.make(tmp_path / "course"))
    run = project.parameters(profile="smoke")

    def work(chapter):
        with pytest.raises(RunError, match="far enough"):
            executor.execute(course, chapter, run, artifacts=tmp_path, cell_timeout=9)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, course.chapters[:2]))
    assert most == [1, 1]


def test_verify_names_the_run_that_is_missing_and_those_that_are_there(tmp_path):
    course = project.find(minicourse.make(tmp_path / "course"))
    sentence = r"No chapter .* --dataset phantom --profile full --seed 24: run .* \(%s\)\."
    with pytest.raises(RunError, match=sentence % "there is none"):
        verify.verify(course, Parameters(profile="full"))
    course.executed(Parameters(profile="smoke")).mkdir(parents=True)
    with pytest.raises(RunError, match=sentence % "phantom-smoke-24"):
        verify.verify(course, Parameters(profile="full"))
