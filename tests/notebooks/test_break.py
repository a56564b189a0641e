"""Break a chapter, a page or a run on purpose; see the run, the book and the status fail."""

from __future__ import annotations

import json
import os
import re

import pytest

from helpers.base import files
from tests import minicourse
from tests.conftest import course

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small course with its published book."""
    root = minicourse.make(tmp_path_factory.mktemp("whole") / "course")
    done = run(root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def broken(finished, tmp_path):
    """A copy of the finished course to break; its book is already there."""
    import shutil

    root = tmp_path / "course"
    shutil.copytree(finished, root)
    return root


def run(root, command="book", *words, **env):
    build = root / "_build"
    return course(command, "--profile", "smoke", *words, build=build, root=root, **env)


def written(path):
    return path.stat().st_mtime_ns, path.stat().st_ino


def seal(root):
    return (root / "_build/html/.course.json").read_text()


def test_the_book_carries_banner_and_status_page(finished):
    page = (finished / "_build/html/notebooks/01_lines.html").read_text(encoding="utf-8")
    assert 'class="admonition caution run-banner"' in page
    assert "not a medical device" in page
    assert "smoke phantom 24" in page
    assert 'alt="A line that rises"' in page
    status = (finished / "_build/html/book/status.html").read_text(encoding="utf-8")
    assert "02_files.html" in status


def test_a_book_of_some_chapters_says_so_and_links_to_no_other(broken):
    html = broken / "_build/html"

    def words(name: str) -> str:
        return re.sub(r"<[^>]+>", "", (html / name).read_text(encoding="utf-8"))

    config = "title: A course\nsphinx: {extra_extensions: [helpers.course.links]}\n"
    minicourse.change(broken / "_config.yml", "title: A course\n", config)
    done = run(broken, "book", "--only", "02")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("This book holds chapter 02.\n")
    assert not (html / "notebooks/01_lines.html").exists()
    assert "This book holds chapter 02." in words("book/intro.html")
    assert "01_lines" not in (html / "book/status.html").read_text()
    assert "After lines." in words("notebooks/02_files.html")
    told = course("pdf", "--only", "01", build=broken / "_build", root=broken)
    assert told.returncode == 2
    assert told.stderr == "The published book does not hold 01_lines: publish it first.\n"
    # Chapters may be named without repeating --only; all of them are the whole book again.
    done = run(broken, "book", "--only", "01", "02")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "This book holds" not in done.stdout + words("book/intro.html")
    # A shortened table of contents does the same, also where the notebook is gone.
    minicourse.change(broken / "_toc.yml", "  - file: notebooks/01_lines\n", "")
    (broken / "notebooks/01_lines.ipynb").unlink()
    done = run(broken)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "This book holds chapter 02." in words("book/intro.html")
    assert "chapter 01" in words("book/intro.html")


def test_a_collapsed_network_reaches_run_record_and_status(broken):
    code = (
        "import pandas as pd\n"
        "from helpers.predictions import collapse\n"
        "ids, label = list('abcd'), ['hem', 'all'] * 2\n"
        "table = pd.DataFrame({'image_id': ids, 'subject': ids, 'label': label})\n"
        "table = table.assign(positive=[0, 1] * 2, split='val', score=1.0)\n"
        "collapse.note(collapse.judge('net', table))"
    )
    new = json.dumps(code)[1:-1]
    minicourse.change(broken / "notebooks/01_lines.ipynb", "print(PROFILE, DATASET, SEED)", new)
    done = run(broken, "run")
    assert done.returncode == 0, done.stderr
    record = broken / "_build/executed/phantom-smoke-24/01_lines.json"
    (told,) = json.loads(record.read_text())["collapsed"]
    assert told == "net collapsed: all its scores on the validation images are 1.000."
    assert json.loads(record.with_name("02_files.json").read_text())["collapsed"] == []
    assert run(broken, "status").stdout.count(told) == 1


def test_nothing_changed_executes_and_builds_nothing(broken):
    html = broken / "_build/html/index.html"
    before = written(html)
    done = run(broken)
    assert done.returncode == 0
    assert "all 2 chapters are up to date" in done.stdout
    assert "The book is up to date" in done.stdout
    assert written(html) == before


def test_one_changed_chapter_is_the_only_one_that_runs(broken):
    minicourse.change(broken / "notebooks/01_lines.ipynb", "print(PROFILE", "print('new', PROFILE")
    copy = broken / "_build/executed/phantom-smoke-24/02_files.ipynb"
    before = written(copy)
    done = run(broken)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 chapters to run" in done.stdout
    assert "01_lines: its cells changed" in done.stdout
    assert written(copy) == before
    assert "new smoke" in (broken / "_build/html/notebooks/01_lines.html").read_text()


def test_a_corrected_sentence_reaches_the_page_without_a_run(broken):
    minicourse.change(broken / "notebooks/01_lines.ipynb", "look like?", "resemble, after all?")
    done = run(broken)
    assert done.returncode == 0, done.stderr
    assert "all 2 chapters are up to date" in done.stdout
    assert "resemble" in (broken / "_build/html/notebooks/01_lines.html").read_text()


def test_a_library_that_writes_to_stderr_is_shown_and_blocks_nothing(broken):
    new = "import sys; print('libtiff: odd tag', file=sys.stderr); print(PROFILE"
    minicourse.change(broken / "notebooks/01_lines.ipynb", "print(PROFILE", new)
    done = run(broken)
    assert done.returncode == 0, done.stderr
    assert "01_lines: code cell 3" in done.stdout
    assert "libtiff: odd tag" in done.stdout
    assert "libtiff: odd tag" in (broken / "_build/html/notebooks/01_lines.html").read_text()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_cell_that_raises(broken, jobs):
    before = seal(broken)
    new = "raise ValueError('no such stain')"
    minicourse.change(broken / "notebooks/01_lines.ipynb", "print(PROFILE, DATASET, SEED)", new)
    minicourse.change(broken / "notebooks/02_files.ipynb", "range(20)", "range(2)")
    done = run(broken, "book", "--jobs", jobs)
    assert done.returncode == 1
    for part in (
        "01_lines failed in code cell 3 of 4",  # papermill's injected cell is one of them
        "question: Which profile is this?",
        "error: ValueError: no such stain",
        "1 of 2 chapters failed",
    ):
        assert part in done.stderr
    assert "02_files" in done.stdout  # the other chapter ran all the same
    assert "done" in done.stdout
    assert seal(broken) == before  # and the former book stands
    folder = broken / "_build/executed/phantom-smoke-24"
    assert "no such stain" in (folder / "failed/01_lines.ipynb").read_text()
    assert not list(folder.glob(".running-*"))
    again = run(broken)
    assert again.returncode == 1
    assert "1 of 2 chapters to run" in again.stdout  # what was done is not done again


def test_a_cell_that_takes_too_long(broken):
    new = "import time; time.sleep(60)"
    minicourse.change(broken / "notebooks/01_lines.ipynb", "print(PROFILE, DATASET, SEED)", new)
    done = run(broken, "run", "--cell-timeout", "2")
    assert done.returncode == 1
    assert "Time limit: the cell ran longer than 2 s" in done.stderr
    assert "code cell 3 of 4" in done.stderr


def test_a_kernel_that_dies(broken):
    new = "import os; os.kill(os.getpid(), 9)"
    minicourse.change(broken / "notebooks/01_lines.ipynb", "print(PROFILE, DATASET, SEED)", new)
    done = run(broken, "run")
    assert done.returncode == 1
    assert "Kernel died" in done.stderr
    assert "code cell 3 of 4" in done.stderr


def test_a_cell_that_was_not_executed(broken):
    """An executed copy may only come from a run: one that was edited does not count."""
    copy = broken / "_build/executed/phantom-smoke-24/01_lines.ipynb"
    notebook = json.loads(copy.read_text())
    notebook["cells"][-1].update(execution_count=None, outputs=[])
    copy.write_text(json.dumps(notebook))
    (broken / "_build/html/.course.json").unlink()
    done = run(broken, "status")
    assert "its executed copy is not the one recorded" in done.stdout
    # Even with a record that agrees, the book is refused.
    import hashlib

    record = files.read_sealed(copy.with_suffix(".json"))
    record["executed"] = hashlib.sha256(copy.read_bytes()).hexdigest()
    files.write_json(copy.with_suffix(".json"), files.sealed(record))
    done = run(broken)
    assert done.returncode == 2
    assert "was not executed" in done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("book/intro.md", "01_lines.ipynb", "09_missing.ipynb", "09_missing"),
        ("book/intro.md", "# A course", "# A course\n\n{cite}`nobody`", "cite"),
        ("notebooks/02_files.ipynb", "01_lines.ipynb", "09_missing.ipynb", "09_missing"),
        ("notebooks/01_lines.ipynb", '"alt": "A line that rises"', '"alt": ""', "without alt"),
        ("notebooks/01_lines.ipynb", '"caption": "A line."', '"caption": ""', "without a caption"),
    ],
)
def test_a_faulty_page_is_not_published(broken, file, old, new, told):
    before = seal(broken)
    minicourse.change(broken / file, old, new)
    for _ in range(2):  # a second try must not forget the fault
        done = run(broken)
        assert done.returncode == 2, done.stdout
        assert "not published" in done.stderr
        assert told in done.stderr
        assert seal(broken) == before


def test_a_part_is_published_only_when_asked_for_and_says_so(tmp_path):
    root = minicourse.make(tmp_path / "course")
    assert run(root, "run", "--only", "01").returncode == 0
    assert not (root / "_build/html").exists()
    told = run(root, "book", "--only", "01")
    assert told.returncode == 0, told.stderr
    assert "This book holds chapter 01." in told.stdout
    assert not (root / "_build/html/notebooks/02_files.html").exists()
    minicourse.change(root / "notebooks/02_files.ipynb", "print(len(", "raise SystemError((")
    before = seal(root)
    assert run(root).returncode == 1  # the whole book, or none
    assert seal(root) == before


def test_a_kernelspec_of_another_python_does_not_win(broken, tmp_path):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["/bin/false"], "display_name": "Python 3", "language": "python"}')
    jupyter = {"JUPYTER_PATH": str(tmp_path / "jupyter"), "MPLBACKEND": "agg"}
    done = run(broken, "run", "--force", "--only", "01", **jupyter)
    assert done.returncode == 0, done.stderr
    copy = broken / "_build/executed/phantom-smoke-24/01_lines.ipynb"
    assert "image/png" in copy.read_text()  # nor does a backend without pictures


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_by_the_keyboard(broken, jobs):
    import signal
    import subprocess
    import sys
    import time

    import psutil

    for name, old in (("01_lines", "print(PROFILE, DATASET, SEED)"), ("02_files", "range(20)")):
        new = f"__import__('pathlib').Path('{name}').touch(), __import__('time').sleep(60)"
        minicourse.change(broken / f"notebooks/{name}.ipynb", old, new)
    words = ["run", "--profile", "smoke", "--root", str(broken), "--jobs", str(jobs)]
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", *words],
        stderr=-1,
        stdout=-1,
        text=True,
        env=os.environ,
        # A shell starts what it runs in the background with SIGINT ignored; tests may run there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not all((broken / "notebooks" / n).exists() for n in ("01_lines", "02_files")[:jobs]):
        assert process.poll() is None
        time.sleep(0.05)
    kernels = psutil.Process(process.pid).children(recursive=True)
    assert len(kernels) >= jobs
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "continues from here" in told
    assert "Traceback" not in told
    assert not any(kernel.is_running() for kernel in kernels)
