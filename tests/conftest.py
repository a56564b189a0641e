"""What tests of several folders share: the clone, the smoke book, Chromium, where real data lie."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import killing

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure() -> None:
    """Let the garbage collector go round seldom.

    TensorFlow, JAX and the tests are most of a million objects that live to the end:
    walking them again and again took a tenth of the unit tests' time.
    """
    gc.set_threshold(5000, 20, 100)


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def course_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def leukocyte_cells():
    """Eighty drawn leukocytes of five kinds and four subjects; several modules look at them."""
    from helpers.datasets.drawn import leukocytes

    cells = leukocytes.make(each=16, subjects=4, seed=24)
    for array in (cells.images, cells.nuclei, cells.cytoplasms):
        array.setflags(write=False)
    return cells


@pytest.fixture
def untraced():
    """Let TensorFlow compute without tracing: a few steps of a tiny network are done sooner."""
    from tests.unit.tiny_backbone import eager

    with eager():
        yield


@pytest.fixture(scope="session")
def smoke_build(tmp_path_factory) -> Path:
    """Build folder with every chapter executed in the smoke profile, and the book of it.

    The first run is killed five times on the way (tests/notebooks/test_chapters.py looks at what
    was left) and then finished. Set COURSE_SMOKE_BUILD to a folder to keep it from one session
    to the next: then only what changed is run again.
    """
    kept = os.environ.get("COURSE_SMOKE_BUILD")
    build = Path(kept).resolve() if kept else tmp_path_factory.mktemp("smoke") / "_build"
    build.mkdir(parents=True, exist_ok=True)
    kills = build / "kills.json"  # of this session's first run only
    if (build / "executed").exists():
        kills.unlink(missing_ok=True)
    else:
        finished, wrong = killing.kill_often(build, times=5)
        told = json.dumps({"finished": finished, "wrong": wrong})
        kills.write_text(told, encoding="utf-8")
    done = course("book", "--profile", "smoke", "--jobs", "2", build=build)
    (build / "smoke.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.returncode == 0, f"the smoke book failed:\n{done.stdout}\n{done.stderr}"
    return build


@pytest.fixture(scope="session")
def smoke_book(smoke_build) -> Path:
    """Folder of the smoke book's HTML; ``smoke_book / "index.html"`` is its first page."""
    return smoke_build / "html"


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium; without one the tests skip, and fail where CI is set."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        reason = "no Chromium: `apt-get install chromium`, or set CHROMIUM to its path"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def course(*words: str, build: Path, root: Path = ROOT, **env: str) -> subprocess.CompletedProcess:
    """Run the command line as a user does, with artifacts beside `build`."""
    return subprocess.run(
        [sys.executable, "-m", "helpers", *words, "--build", str(build), "--root", str(root)],
        cwd=ROOT,
        env={**os.environ, "COURSE_ARTIFACTS": str(build.parent / "artifacts"), **env},
        capture_output=True,
        text=True,
    )
