"""Every chapter runs, on phantoms and on real images, and says the same when run again."""

from __future__ import annotations

import json
import shutil

import pytest

from helpers.course import checks, clean, project, runner, verify
from tests.conftest import ROOT, SHARED, course

pytestmark = pytest.mark.slow

COURSE = project.find(ROOT)
CHAPTERS = [chapter.name for chapter in COURSE.chapters]
SMOKE = project.parameters(profile="smoke")
JOBS = 2
OWN = ["02", "04", "05", "13", "14", "15", "22"]
# The chapters that train most run on one of the real data sets, all others on both: fields of
# many cells (taleqani) matter to maps and drawn cells, single cells (cnmc) to the backbones.
REAL = {
    "cnmc": [name for name in CHAPTERS if name[:2] not in ("07", "10", "11", "16")],
    "taleqani": [name for name in CHAPTERS if name[:2] not in ("05", "06", "08", "09")],
}


def test_the_chapters_are_sound_as_written():
    assert checks.check_sources(COURSE) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_runs_in_the_smoke_profile(smoke_build, name):
    built = project.find(ROOT, smoke_build)
    (state,) = (s for s in runner.states(built, SMOKE) if s.chapter.name == name)
    assert not state.reasons
    assert state.record["profile"] == "smoke"
    assert state.record["seconds"] > 0


def test_the_course_killed_five_times_then_finished(smoke_build):
    """The real chapters, killed on the way; what was done is not done again."""
    told = smoke_build / "kills.json"
    if not told.is_file():
        pytest.skip("the smoke book is kept from an earlier session (COURSE_SMOKE_BUILD)")
    kills = json.loads(told.read_text(encoding="utf-8"))
    assert not kills["wrong"], "\n".join(kills["wrong"])
    assert kills["finished"], "no kill came after a finished chapter"
    states = runner.states(project.find(ROOT, smoke_build), SMOKE)
    records = {state.chapter.name: state.record["finished"] for state in states}
    assert kills["finished"].items() <= records.items()


def test_a_second_make_book_executes_and_builds_nothing(smoke_build):
    before = (smoke_build / "html" / "index.html").stat().st_mtime_ns
    done = course("book", "--profile", "smoke", build=smoke_build)
    assert done.returncode == 0
    assert f"all {len(CHAPTERS)} chapters are up to date" in done.stdout
    assert (smoke_build / "html" / "index.html").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_library_writes_to_a_page(smoke_build, name):
    """It would block nothing, but on the pinned versions nothing needs to be there."""
    copy = project.find(ROOT, smoke_build).executed(SMOKE) / f"{name}.ipynb"
    assert checks.messages_shown(json.loads(copy.read_text(encoding="utf-8"))) == []


def test_course_clean_knows_every_file_that_the_chapters_keep(smoke_build):
    folder = smoke_build.parent / "artifacts"
    known = {path for artifact in clean.artifacts(folder) for path in artifact.paths}
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(files) > 100
    strange = [path for path in files if known.isdisjoint((path, *path.parents))]
    assert not strange


@pytest.fixture(scope="session")
def second_runs(smoke_build):
    """Every chapter once more, by the same function as `course verify`; verdicts by chapter."""
    built = project.find(ROOT, smoke_build)
    return {verdict.chapter: verdict for verdict in verify.verify(built, SMOKE, jobs=JOBS)}


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_text_output_comes_out_the_same_a_second_time(second_runs, name):
    differences = second_runs[name].differences
    assert not differences, "\n".join(differences)
    assert second_runs[name].seconds > 1


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory):
    """Run chapters on a real data set, once for each; return the stories by chapter."""
    done: dict[str, dict[str, str]] = {}

    def run(dataset: str) -> dict[str, str]:
        if dataset not in done:
            folder = SHARED / dataset
            if not folder.is_dir():
                pytest.skip(f"the real images are not there: {folder}")
            base = tmp_path_factory.mktemp(dataset)
            built = project.find(ROOT, base / "_build")
            given = project.parameters(dataset, "smoke", 24, folder)
            results = runner.run_chapters(
                built, given, only=REAL[dataset], jobs=JOBS, artifacts=base / "artifacts"
            )
            done[dataset] = {result.chapter: result.failure for result in results}
            for name, story in done[dataset].items():
                if not story:
                    copy = json.loads((built.executed(given) / f"{name}.ipynb").read_text())
                    done[dataset][name] = "\n".join(checks.check_executed(copy))
        return done[dataset]

    return run


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("dataset", "name"), [(dataset, name) for dataset, names in REAL.items() for name in names]
)
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
    assert "positive (1): Nemoc, těžká" in own_runs["05"]
    assert "negative (0): zdravé buňky" in own_runs["05"]


@pytest.mark.realdata
def test_a_second_data_set_is_tested_on_in_chapter_15(tmp_path, monkeypatch):
    """Trained on phantoms, tested on real frames: the folder may be named from where one stands."""
    if not (SHARED / "cnmc").is_dir():
        pytest.skip(f"the real images are not there: {SHARED / 'cnmc'}")
    monkeypatch.chdir(SHARED)
    monkeypatch.setenv("COURSE_EXTERNAL_DIR", "cnmc")
    built = project.find(ROOT, tmp_path / "_build")
    (result,) = runner.run_chapters(built, SMOKE, only=["15"], artifacts=tmp_path / "artifacts")
    assert not result.failure, result.failure
    page = (built.executed(SMOKE) / f"{result.chapter}.ipynb").read_text(encoding="utf-8")
    assert "from home to: external: cnmc" in page
