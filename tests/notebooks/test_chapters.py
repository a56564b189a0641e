"""Every chapter runs, on phantoms and on real images, and says the same when run again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.course import checks, kernel, project, runner
from tests.conftest import ROOT, SHARED, course

pytestmark = pytest.mark.slow

COURSE = project.find(ROOT)
CHAPTERS = [chapter.name for chapter in COURSE.chapters]
SMOKE = project.parameters(profile="smoke")
JOBS = 2
OWN = ["02", "04", "06", "13", "14", "17"]


def test_the_chapters_are_sound_as_written():
    assert checks.check_sources(COURSE) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_runs_in_the_smoke_profile(smoke_build, name):
    built = project.find(ROOT, smoke_build)
    (state,) = (s for s in runner.states(built, SMOKE) if s.chapter.name == name)
    assert not state.reasons
    assert state.record["profile"] == "smoke"
    assert state.record["seconds"] > 0


def test_a_second_make_book_executes_and_builds_nothing(smoke_build):
    before = (smoke_build / "html" / "index.html").stat().st_mtime_ns
    done = course("book", "--profile", "smoke", build=smoke_build)
    assert done.returncode == 0
    assert f"all {len(CHAPTERS)} chapters are up to date" in done.stdout
    assert (smoke_build / "html" / "index.html").stat().st_mtime_ns == before


@pytest.fixture(scope="session")
def second_runs(smoke_build, tmp_path_factory):
    """Outcome of nbval for every chapter, each alone on fresh artifacts in a foreign folder."""
    base = tmp_path_factory.mktemp("nbval")

    def again(name: str) -> subprocess.CompletedProcess:
        folder = base / name
        folder.mkdir()
        source = project.find(ROOT, smoke_build).executed(SMOKE) / f"{name}.ipynb"
        shutil.copy(source, folder)
        command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-x"]
        command += ["-p", "no:cacheprovider", "--rootdir", str(folder), "--color=no"]
        return subprocess.run(
            [*command, "-c", os.devnull, str(folder / source.name)],
            cwd=folder,
            env=kernel.environment(ROOT, folder / "artifacts", JOBS),
            capture_output=True,
            text=True,
        )

    with ThreadPoolExecutor(JOBS) as pool:
        return dict(zip(CHAPTERS, pool.map(again, CHAPTERS), strict=True))


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_text_output_comes_out_the_same_a_second_time(second_runs, name):
    done = second_runs[name]
    assert done.returncode == 0, done.stdout[-6000:]
    assert "passed" in done.stdout


def test_nbval_sees_a_difference(smoke_build, tmp_path):
    """The comparison bites: one altered output fails."""
    source = project.find(ROOT, smoke_build).executed(SMOKE) / f"{CHAPTERS[0]}.ipynb"
    notebook = json.loads(source.read_text(encoding="utf-8"))
    for index, cell in enumerate(notebook["cells"]):
        streams = [o for o in cell.get("outputs", []) if o["output_type"] == "stream"]
        if streams and "nbval-ignore-output" not in cell["metadata"].get("tags", []):
            streams[0]["text"] = "something else\n"
            notebook["cells"] = notebook["cells"][: index + 1]
            break
    (tmp_path / "altered.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(tmp_path / "altered.ipynb")],
        env=kernel.environment(ROOT, tmp_path / "artifacts"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "something else" in done.stdout


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory):
    """Run every chapter on a real data set, once for each; return the stories by chapter."""
    done: dict[str, dict[str, str]] = {}

    def run(dataset: str) -> dict[str, str]:
        if dataset not in done:
            folder = SHARED / dataset
            if not folder.is_dir():
                pytest.skip(f"the real images are not there: {folder}")
            base = tmp_path_factory.mktemp(dataset)
            built = project.find(ROOT, base / "_build")
            given = project.parameters(dataset, "smoke", 24, folder)
            results = runner.run_chapters(built, given, jobs=JOBS, artifacts=base / "artifacts")
            done[dataset] = {result.chapter: result.failure for result in results}
            for name, story in done[dataset].items():
                if not story:
                    copy = json.loads((built.executed(given) / f"{name}.ipynb").read_text())
                    done[dataset][name] = "\n".join(checks.check_executed(copy))
        return done[dataset]

    return run


@pytest.mark.realdata
@pytest.mark.parametrize("dataset", ["cnmc", "taleqani"])
@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_runs_on_real_images(real_runs, dataset, name):
    story = real_runs(dataset)[name]
    assert not story, story


@pytest.fixture(scope="session")
def own_runs(tmp_path_factory):
    """Run chapters on sixty images in two folders of names that the course has never heard of."""
    from helpers import datasets

    base = tmp_path_factory.mktemp("own")
    table = datasets.load("phantom", None, "smoke", 3)
    table = table[table["positive"].notna()].groupby("subject").head(4)
    lines = ["image;subject"]
    for row in table.itertuples():
        name = f"{'Nemoc, těžká' if row.positive else 'zdravé buňky'}/{row.image_id[4:-4]}.bmp"
        (base / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(row.path, base / "images" / name)
        lines.append(f"{name};{row.subject}")
    (base / "images" / "subjects.csv").write_text("\n".join(lines), encoding="utf-8")
    built = project.find(ROOT, base / "_build")
    given = project.parameters("folders", "smoke", 24, base / "images", "Nemoc, těžká")
    results = runner.run_chapters(built, given, only=OWN, jobs=JOBS, artifacts=base / "artifacts")
    pages = {}
    for result in results:
        assert not result.failure, result.failure
        page = built.executed(given) / f"{result.chapter}.ipynb"
        pages[result.chapter[:2]] = page.read_text(encoding="utf-8")
    return pages


@pytest.mark.parametrize("number", OWN)
def test_chapter_runs_on_folders_of_any_names(own_runs, number):
    assert not checks.check_executed(json.loads(own_runs[number]))


def test_a_chapter_calls_classes_by_the_names_of_their_folders(own_runs):
    assert "positive (1): Nemoc, těžká" in own_runs["06"]
    assert "negative (0): zdravé buňky" in own_runs["06"]


@pytest.mark.realdata
def test_a_second_data_set_is_tested_on_in_chapter_14(tmp_path, monkeypatch):
    """Trained on phantoms, tested on real frames: the folder may be named from where one stands."""
    if not (SHARED / "cnmc").is_dir():
        pytest.skip(f"the real images are not there: {SHARED / 'cnmc'}")
    monkeypatch.chdir(SHARED)
    monkeypatch.setenv("COURSE_EXTERNAL_DIR", "cnmc")
    built = project.find(ROOT, tmp_path / "_build")
    (result,) = runner.run_chapters(built, SMOKE, only=["14"], artifacts=tmp_path / "artifacts")
    assert not result.failure, result.failure
    page = (built.executed(SMOKE) / f"{result.chapter}.ipynb").read_text(encoding="utf-8")
    assert "from home to: external: cnmc" in page
