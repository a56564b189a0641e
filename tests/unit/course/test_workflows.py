"""The workflows for GitHub: pinned, bounded in time, with no more rights than they need.

Their commands are executed by tests/notebooks/test_workflow_commands.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.conftest import ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = ("ci", "gpu", "publish")


def workflow(name):
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


def steps(name):
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def test_these_are_all():
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.yml" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_rights_time_and_concurrency_are_bounded(name):
    content = workflow(name)
    assert content["permissions"] in ({}, {"contents": "read"})
    assert content["concurrency"]["group"]
    assert content["defaults"]["run"]["shell"] == "bash"  # with pipefail
    for job in content["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 240
    rights = {right for job in content["jobs"].values() for right in job.get("permissions", {})}
    assert rights <= ({"actions", "pages", "id-token"} if name == "publish" else set())


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_and_say_their_version(name):
    text = (FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (.+)", text)
    assert used
    for action in used:
        pinned = (
            r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|docker://\S+:[\d.]+@sha256:[0-9a-f]{64}"
        )
        assert re.fullmatch(pinned, action), action


@pytest.mark.parametrize("name", NAMES)
def test_no_secrets_and_nothing_is_pasted_into_a_shell(name):
    assert "secrets." not in (FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    for step in steps(name):
        assert "${{" not in step.get("run", ""), step["name"]  # values come by `env`
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_ci_runs_the_command_of_the_readme_on_the_oldest_and_newest_python():
    job = workflow("ci")["jobs"]["test"]
    (command,) = (step["run"] for step in job["steps"] if "run" in step)
    assert re.search(rf"(?m)^{command} ", (ROOT / "README.md").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in project
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]


def test_gpu_runs_weekly_and_by_hand_with_full_at_the_end():
    content = workflow("gpu")
    assert set(content[True]) == {"schedule", "workflow_dispatch"}  # YAML reads `on` as true
    assert content["jobs"]["book"]["env"]["BOOK_PROFILE"] == "${{ inputs.profile || 'full' }}"
    commands = " ; ".join(step.get("run", "") for step in steps("gpu"))
    order = ["make run PROFILE=smoke", "make verify PROFILE=smoke", 'make book PROFILE="$BOOK']
    places = [commands.index(command) for command in order]
    assert places == sorted(places)


def test_the_book_keeps_its_nojekyll_on_the_way_to_pages():
    kept = [s["with"] for s in (*steps("gpu"), *steps("publish")) if "upload" in s.get("uses", "")]
    books = [given for given in kept if given["path"] in ("_build/html", "book")]
    assert [given["include-hidden-files"] for given in books] == [True, True]


def test_actionlint_finds_nothing():
    program = shutil.which("actionlint")
    if program is None:
        pytest.skip("no actionlint here; the workflow CI runs it")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
