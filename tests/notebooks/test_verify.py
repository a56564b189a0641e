"""`course verify`: a chapter that comes out differently is told, with both of its texts."""

from __future__ import annotations

import json

import pytest

from helpers.base.errors import RunError
from helpers.course import kernel, project, verify
from tests import minicourse
from tests.conftest import course

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A small executed course that does not come out the same.

    One chapter prints the time, one lives on what a run left, one kills its kernel then.
    """
    root = minicourse.make(tmp_path_factory.mktemp("verify") / "course")
    minicourse.change(
        root / "notebooks/01_lines.ipynb",
        "print(PROFILE, DATASET, SEED)",
        "import os, sys, time\\nprint('kept', os.environ.get('TF_CPP_MIN_LOG_LEVEL'))\\n"
        "print('nanoseconds', time.time_ns())\\n"
        "print(time.time_ns(), file=sys.stderr)",
    )
    # nbval compares also what a semicolon hides.
    minicourse.change(
        root / "notebooks/01_lines.ipynb", "plt.plot([1, 2]);", "_ = plt.plot([1, 2])"
    )
    minicourse.change(
        root / "notebooks/02_files.ipynb",
        "print(len(list(folder.glob('*.csv'))))",
        "print('csv')\\nassert (folder / 'mine').exists()",
    )
    dies = "(folder / 'mine').exists() or __import__('os').kill(__import__('os').getpid(), 9)"
    text = (root / "notebooks/02_files.ipynb").read_text()
    text = text.replace("assert (folder / 'mine').exists()", dies)
    minicourse.write(root / "notebooks/03_dies.ipynb", json.loads(text))
    minicourse.change(
        root / "_toc.yml", "- file: book/status", "- file: notebooks/03_dies\n  - file: book/status"
    )
    (root / "artifacts").mkdir()
    (root / "artifacts" / "mine").touch()
    done = run(root, "run", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    return root


def run(root, command, *words):
    build = root / "_build"
    return course(command, "--profile", "smoke", *words, build=build, root=root)


def test_chapter_cell_and_both_texts_are_told(executed):
    done = run(executed, "verify", "--jobs", "2")
    assert done.returncode == 1
    assert done.stderr == "3 of 3 chapters came out differently.\n"
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert sum(line.startswith("01_lines") and "DIFFERS" in line for line in lines) == 1
    assert "code cell 3 (import os, sys, time) came out differently:" in lines
    assert sum(line.startswith("-nanoseconds") for line in lines) == 1
    assert sum(line.startswith("+nanoseconds") for line in lines) == 1
    assert not any(line.startswith("-kept") for line in lines)  # also TensorFlow is as quiet
    # The chapter that is not able to stand alone:
    assert "code cell 3 (import pandas as pd) failed: Cell execution caused an exception" in lines
    assert "AssertionError:" in lines
    (dead,) = (line for line in lines if "the kernel died" in line)
    assert dead.startswith("code cell 3 (import pandas as pd) failed")
    assert not list((executed / "_build").glob(".verify-*"))  # the artifacts are gone


def test_a_tag_says_that_a_cell_may_differ(executed):
    path = executed / "notebooks/01_lines.ipynb"
    before = path.read_text()
    notebook = json.loads(before)
    (cell,) = (c for c in notebook["cells"] if "time_ns" in c["source"])
    cell["metadata"]["tags"] = ["nbval-ignore-output"]
    minicourse.write(path, notebook)
    done = run(executed, "verify", "--only", "01")
    path.write_text(before)
    assert done.returncode == 0, done.stdout
    assert "01_lines                            same" in done.stdout
    assert done.stdout.endswith("All chapters came out the same.\n")


def test_a_chapter_that_is_not_executed_is_no_success(executed):
    done = run(executed, "verify", "--seed", "7", "--only", "02")
    assert done.returncode == 2
    assert done.stderr.startswith("No chapter was executed yet with --dataset phantom --profile ")
    assert "--seed 7: run them first (course run), or name a run that is there (" in done.stderr
    assert "Traceback" not in done.stderr


def test_jobs_must_be_one_or_more(executed):
    with pytest.raises(RunError, match="--jobs is 0"):
        verify.verify(project.find(executed), project.parameters(profile="smoke"), jobs=0)


@pytest.mark.parametrize(
    ("new", "equal"),
    [
        ("AUC 0.912 in 3 epochs", True),
        ("AUC 0.914 in 3 epochs", False),
        ("AUC 0.912 in 4 epochs", False),
        ("AUC 0.912 in 3 epochs, 5", False),
        ("ACC 0.912 in 3 epochs", False),
    ],
)
def test_a_cell_may_promise_fewer_digits(new, equal):
    old = "AUC 0.911 in 3 epochs"
    assert (verify._settled(new, old, 0.001) == old) == equal


def test_tables_with_promised_digits_are_compared_number_by_number():
    def output(score):
        return {"data": {"text/plain": f"score {score}", "text/html": f"<td>{score}</td>"}}

    compare = verify._tolerant(lambda new, old: new == old, 0.01)
    assert compare([output(0.52)], [output(0.51)])
    assert not compare([output(0.53)], [output(0.51)])
    assert not compare([output(0.51), output(0.51)], [output(0.51)])


def test_operations_are_deterministic_where_there_is_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/nowhere")
    monkeypatch.delenv("TF_DETERMINISTIC_OPS", raising=False)
    for there in (True, False):
        monkeypatch.setattr(kernel, "has_gpu", lambda there=there: there)
        variables = kernel.environment(tmp_path, tmp_path)
        assert ("xla_gpu_deterministic_ops=true" in variables["XLA_FLAGS"]) == there
        assert ("TF_DETERMINISTIC_OPS" in variables) == there
        assert variables["XLA_FLAGS"].startswith("--xla_dump_to=/nowhere")


def test_a_hidden_gpu_is_none(monkeypatch):
    monkeypatch.setattr(kernel.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert kernel.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not kernel.has_gpu()
