"""One file in `readers` adds a data set: the example of the book's page, taken from there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

from helpers import datasets
from helpers.datasets import origins, readers
from tests.conftest import ROOT

NAME = "ourlab"


def example() -> str:
    page = (ROOT / "book" / "datasets.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(\"\"\".*?)```", page, re.S)
    return code


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Drawn cells, with the person and the class in their names, and a file that does not fit."""
    folder = tmp_path_factory.mktemp("ourlab")
    drawn = datasets.load("phantom", None, "smoke", 3)
    drawn = drawn[drawn["positive"].notna()].groupby("subject").head(4)
    people = {subject: f"p{n:02d}" for n, subject in enumerate(sorted(drawn["subject"].unique()))}
    for number, row in enumerate(drawn.itertuples()):
        label = "sick" if row.positive else "healthy"
        shutil.copy(row.path, folder / f"{people[row.subject]}_{number:03d}_{label}.bmp")
    (folder / "notes.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the course with one file more."""
    root = tmp_path_factory.mktemp("clone") / "course"
    kept = ("_build", "artifacts", ".git", ".venv", "__pycache__", ".ci", "tests", "shared")
    shutil.copytree(ROOT, root, symlinks=True, ignore=shutil.ignore_patterns(*kept))
    (root / "helpers" / "datasets" / "readers" / f"{NAME}.py").write_text(example())
    return root


def run(clone, *words: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone), "PYTHONUTF8": "1", **env},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("key", ["image_id", "label", "subject", "fold", "file"])
def test_a_reader_that_forgets_an_entry_is_told(key, images, monkeypatch):
    reader = types.ModuleType(NAME)
    exec(example(), vars(reader))
    read = reader.read

    def forget(files):
        rows, left_out = read(files)
        return [{k: v for k, v in row.items() if k != key} for row in rows], left_out

    monkeypatch.setattr(reader, "read", forget)
    monkeypatch.setattr(datasets, "_reader", lambda _: reader)
    with pytest.raises(datasets.DatasetError, match=f"returns a row without {key}: "):
        datasets.load("taleqani", images, "smoke")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "return rows, left_out",
            "return rows",
            "read .*ourlab.py returns a list, but .*two lists",
        ),
        ('"file": file}', '"file": file.path}', "whose entry file is '/.*must be the File[.]"),
        ('"image_id": file.stem', '"image_id": person', "same image_id, 'p.*such as file.stem"),
        ("SIZES = None", "SIZES = (450, 450)", r"needs SIZES = None, or .*\(\(450, 450\),\)"),
        ("ORIGIN = Origin(", "ORIGIN = dict(", r"needs ORIGIN = Origin\(...\)"),
        ("EXPECTED =", "AWAITED =", "ourlab.py needs EXPECTED"),
        ("def read(", "def reads(", "needs a function read"),
        ("rows, left_out = [], []", "rows, left_out = [], [", "imported: SyntaxError in line 24"),
        ("import re", "import nowhere", "imported: ModuleNotFoundError in line 3: .*nowhere"),
    ],
)
def test_a_half_written_reader_gets_a_sentence(old, new, told, images, monkeypatch, tmp_path):
    assert example().count(old) == 1
    (tmp_path / f"{NAME}.py").write_text(example().replace(old, new))
    monkeypatch.setattr(readers, "__path__", [str(tmp_path), *readers.__path__])
    monkeypatch.setattr(datasets, "check_dataset", lambda *_: None)
    monkeypatch.delitem(sys.modules, f"{readers.__name__}.{NAME}", raising=False)
    with pytest.raises(datasets.DatasetError, match=told) as error:
        datasets.load(NAME, images, "smoke")
    assert "helpers/datasets/readers/ourlab.py" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_new_data_set_is_known_everywhere(clone, images, tmp_path):
    code = (
        "from helpers import datasets\n"
        "from helpers.base import settings\n"
        "from helpers.report import cards\n"
        "from helpers.datasets.origins import described, section\n"
        f"course = settings.read({NAME!r}, 'smoke', 24, {str(images)!r})\n"
        "table = datasets.load(course)\n"
        "print(described(course.dataset, table))\n"
        "print(cards.data_sheet(table, course, traces=False))\n"
        "print(section(course.dataset))"
    )
    done = run(clone, "-c", code, COURSE_ARTIFACTS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "1 file was left out: 1 not named as an image of our laboratory (notes.png)." in text
    assert "images each. The images are real. A subject is a patient." in text
    assert "who may use them, and for what" in text
    assert "Take `DATASET=ourlab`." in text
    told = run(clone, "-m", "helpers", "run", "--dataset", "ourlap")
    assert told.returncode == 2
    assert NAME in told.stderr
    assert NAME in run(clone, "-m", "helpers", "run", "--help").stdout
    told = run(clone, "-m", "helpers", "run", "--dataset", NAME, "--data-dir", str(tmp_path))
    assert told.returncode == 2
    assert "expected names like p07_012_sick.png" in told.stderr
    told = run(clone, "-c", f"from helpers import datasets; datasets.load({NAME!r})")
    assert "it comes from where the images come from, and whom to cite." in told.stderr


@pytest.mark.slow
def test_the_book_of_the_new_data_set(clone, images, tmp_path):
    """Four chapters in CI; COURSE_OWN_READER=all builds the whole book."""
    only = (
        [] if os.environ.get("COURSE_OWN_READER") == "all" else ["--only", "01", "02", "05", "14"]
    )
    words = ["--dataset", NAME, "--data-dir", str(images), "--profile", "smoke", "--jobs", "2"]
    build = tmp_path / "_build"
    done = run(
        clone,
        *("-m", "helpers", "book", *words, "--build", str(build), *only),
        COURSE_ARTIFACTS=str(tmp_path / "artifacts"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (build / "html/notebooks/01_dataset_exploration.html").read_text(encoding="utf-8")
    assert "Run on real images" in page
    assert "Cells of our laboratory" in page
    assert "The images are real. A subject is a patient." in page
    data = (build / "html/book/datasets.html").read_text(encoding="utf-8")
    assert "<h2>Cells of our laboratory" in data
    assert "DATASET=ourlab" in data
    for path in (build / "executed").rglob("*.ipynb"):
        sources = json.dumps(json.loads(path.read_text(encoding="utf-8")))
        assert "healthy" in sources, path.name


def test_sizes_that_are_all_the_same_are_named_once():
    sizes = [[2, 78, 5], np.array([5, 5]), np.array([1])]
    found = [origins.span(each, "image") for each in sizes]
    assert found == ["2 to 78 images", "5 images", "1 image"]
