"""Every `run:` block of the workflows is executed in a clean clone, in order, on the CPU.

Two things are smaller than on GitHub. The block of CI would run this test again, and all
others: it gets one test file (TESTS). The chapters are those of the small course, since the
real ones are run by other tests; `full` is replaced by `smoke`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import minicourse
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clean clone whose environment is this one, ready to use."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: no .git")
    folder = tmp_path_factory.mktemp("github") / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        (folder / ".venv" / entry.name).symlink_to(entry)
    (folder / ".venv" / ".ready").unlink(missing_ok=True)
    (folder / ".venv" / ".ready").touch()
    return folder


def blocks(name):
    """Return each step of a workflow with the environment of its job."""
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    return [
        (step, {**job.get("env", {}), **step.get("env", {})})
        for job in yaml.safe_load(text)["jobs"].values()
        for step in job["steps"]
    ]


def execute(step, env, folder, given):
    """Run a block as GitHub does; `given` has a value for each name whose own is computed."""
    computed = {name for name, value in env.items() if "${{" in value}
    assert computed <= given.keys()
    left = {name: value for name, value in os.environ.items() if name != "COURSE_ARTIFACTS"}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env={**left, **env, **given},
        capture_output=True,
        text=True,
    )


def test_ci(clone):
    (step, env) = next((step, env) for step, env in blocks("ci") if "run" in step)
    done = execute(step, env, clone, {"TESTS": "tests/unit/base/test_runtime.py"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "chapters have no problems" in done.stdout
    assert re.search(r"\d+ passed", done.stdout)


@pytest.fixture(scope="module")
def uploaded(clone, tmp_path_factory):
    """Run the blocks of gpu.yml; return the folder with what they upload."""
    small = minicourse.make(tmp_path_factory.mktemp("small") / "course")
    for name in ("notebooks", "book"):
        shutil.rmtree(clone / name)
        shutil.copytree(small / name, clone / name)
    for name in ("_toc.yml", "_config.yml"):
        shutil.copy(small / name, clone)
    minicourse.change(clone / "notebooks/01_lines.ipynb", "plt.plot([1, 2]);", "_ = plt.plot([1])")
    store = tmp_path_factory.mktemp("artifacts")
    given = {
        "GPU": "",
        "BOOK_PROFILE": "smoke",
        "BOOK_DATASET": "phantom",
        "BOOK_DATA_DIR": "",
        "GITHUB_STEP_SUMMARY": str(store / "summary.md"),
    }
    for step, env in blocks("gpu"):
        if "run" in step:
            done = execute(step, env, clone, given)
            assert done.returncode == 0, f"{step['name']}:\n{done.stdout}{done.stderr}"
        elif "upload-artifact" in step["uses"]:
            for pattern in step["with"]["path"].split():
                assert list(clone.glob(pattern)), f"{step['name']}: nothing is {pattern}"
                for path in clone.glob(pattern):
                    target = store / step["with"]["name"] / path.relative_to(clone)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    return store


def test_gpu(uploaded, clone):
    assert (uploaded / "executed/_build/executed/phantom-smoke-24/01_lines.json").is_file()
    log = (uploaded / "executed/_build/verify.log").read_text()
    assert "All chapters came out the same." in log
    summary = (uploaded / "summary.md").read_text()
    assert "01_lines" in summary
    assert "artifacts" in summary
    assert (clone / "_toc.yml").is_file()
    assert not (clone / "_build").exists()
    assert not (clone / ".venv").exists()
    assert Path(sys.executable).exists()


@pytest.mark.parametrize(("number", "code"), [("123", 0), ("", 1)])
def test_publish(uploaded, tmp_path, number, code):
    gh = tmp_path / "bin" / "gh"  # stands in for GitHub's own program
    gh.parent.mkdir()
    gh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho {number}\n')
    gh.chmod(0o755)
    given = {
        "PATH": f"{gh.parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        **{"GH_TOKEN": "none", "GH_REPO": "owner/course", "BRANCH": "main"},
    }
    for step, env in blocks("publish"):
        if "download-artifact" in step.get("uses", ""):
            source = uploaded / step["with"]["name"] / "_build" / "html"
            shutil.copytree(source, tmp_path / step["with"]["path"])
        elif "run" in step:
            done = execute(step, env, tmp_path, given)
            assert done.returncode == code, done.stdout + done.stderr
            if code:
                assert "::error::No green run of the workflow GPU on main" in done.stdout
                break
    else:
        assert (tmp_path / "output").read_text() == "number=123\n"
    assert "--workflow gpu.yml --branch main --status success" in (tmp_path / "asked").read_text()
