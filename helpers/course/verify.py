"""Runs the executed chapters once more with nbval: every text output must come out the same.

The lower half of this module is a plugin of pytest, in which nbval runs.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.base.errors import RunError
from helpers.base.files import write_json
from helpers.course import kernel, runner, staleness
from helpers.course.executor import copy_path
from helpers.course.project import Parameters, Project

#: Environment variable with the file to which the plugin writes what differs.
_REPORT = "COURSE_VERIFY_REPORT"
#: The most lines shown of one cell's difference.
_LINES = 60
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """The second run of one chapter; without `differences`, every text came out the same."""

    chapter: str
    seconds: float
    differences: tuple[str, ...] = ()


def verify(
    project: Project,
    run: Parameters,
    *,
    only: list[str] | tuple[str, ...] = (),
    jobs: int | None = None,
    cell_timeout: int | None = None,
) -> list[Verdict]:
    """Run executed chapters a second time and compare every text output.

    Each chapter runs alone, in a folder and on artifacts of its own, which are deleted
    afterwards: a chapter that needs what another one left is found out.
    Pictures, standard error and cells tagged ``nbval-ignore-output`` are not compared. On a
    GPU, numbers in a cell tagged ``digits-3`` may differ by one in the third decimal.

    Parameters
    ----------
    project, run, only, jobs, cell_timeout
        As for :func:`helpers.course.runner.run_chapters`.

    Returns
    -------
    list of Verdict
        One for each chapter, in the order of the book.

    Raises
    ------
    RunError
        When a chapter has no up-to-date executed copy, or `jobs` is below 1.
    """
    jobs = runner.at_a_time(run, jobs)
    chosen = {chapter.name for chapter in project.select(only)}
    states = runner.states(project, run)
    if not any(state.record for state in states):
        there = sorted(folder.name for folder in project.build.glob("executed/*-*"))
        raise RunError(
            f"No chapter was executed yet with --dataset {run.dataset} --profile {run.profile} "
            f"--seed {run.seed}: run them first (course run), or name a run that is there "
            f"({', '.join(there) or 'there is none'})."
        )
    states = [state for state in states if state.chapter.name in chosen]
    if stale := [f"{s.chapter.name} ({'; '.join(s.reasons)})" for s in states if s.reasons]:
        raise RunError(
            f"{len(stale)} of {len(states)} chapters have no up-to-date executed copy for "
            f"{run.key}: {', '.join(stale)}; run them first (course run), or name others (--only)."
        )
    if importlib.util.find_spec("nbval") is None:
        raise RunError("nbval is not installed here: run pip install nbval, and try again.")
    for left_behind in project.build.glob(".verify-*"):  # by a process that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    timeout = cell_timeout or runner.CELL_TIMEOUT[run.profile]
    jobs = min(jobs, len(states))
    print(f"{run.key}: {len(states)} executed chapters run once more, on fresh artifacts.")
    sys.stdout.flush()
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = [pool.submit(again, project, run, s, timeout, jobs) for s in states]
        for future in as_completed(futures):
            _tell(future.result())
    finally:
        pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _tell(verdict: Verdict) -> None:
    how = "DIFFERS" if verdict.differences else "same"
    print(f"  {verdict.chapter:<32} {how:>7} {verdict.seconds:8.1f} s")
    for difference in verdict.differences:
        print(textwrap.indent(difference, "    "))
    sys.stdout.flush()


def again(
    project: Project, run: Parameters, state: runner.State, cell_timeout: int, jobs: int = 1
) -> Verdict:
    """Run one executed chapter a second time and return what differs."""
    name, begin = state.chapter.name, time.monotonic()
    # In the build folder, which has the room: artifacts of `full` are gigabytes.
    with tempfile.TemporaryDirectory(prefix=".verify-", dir=project.build) as folder:
        base = Path(folder)
        notebook = _with_tags(state, copy_path(project, run, state.chapter))
        write_json(base / f"{name}.ipynb", notebook)
        report = base / "report.json"
        command = [sys.executable, "-m", "pytest", f"{name}.ipynb", "--rootdir", folder]
        command += ["-c", os.devnull, "-q", "--color=no", "-p", "no:cacheprovider"]
        command += ["-p", kernel.__name__, "-p", __name__, "--nbval", "--nbval-current-env"]
        command += [f"--nbval-cell-timeout={cell_timeout}", "--nbval-kernel-startup-timeout=300"]
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(project, base / "artifacts", jobs, report),
            capture_output=True,
            text=True,
            errors="replace",
        )
        differences = json.loads(report.read_text("utf-8")) if report.is_file() else []
    if done.returncode and not differences:
        differences = [f"nbval could not run it:\n{(done.stdout + done.stderr)[-3000:]}"]
    if differences:
        differences.append(f"The first run was on: {state.record['device']}.")
    return Verdict(name, time.monotonic() - begin, tuple(differences))


def _environment(project: Project, artifacts: Path, jobs: int, report: Path) -> dict[str, str]:
    """Return the environment of the chapters, in which pytest finds this module too."""
    variables = kernel.environment(project.root, artifacts, jobs)
    path = [variables.get("PYTHONPATH", ""), str(Path(__file__).parents[2])]
    return {
        **variables,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        _REPORT: str(report),
    }


def _with_tags(state: runner.State, executed: Path) -> dict:
    """Return an executed copy with today's tags: a new tag alone makes no chapter stale."""
    tags = {
        c["id"]: staleness.tags_of(c) for c in staleness.read_notebook(state.chapter.path)["cells"]
    }
    notebook = staleness.read_notebook(executed)
    for cell in notebook["cells"]:
        cell["metadata"]["tags"] = tags.get(cell["id"], staleness.tags_of(cell))
    return notebook


# The plugin: pytest calls what follows.


def pytest_configure() -> None:
    """Let nbval notice a kernel that died; by itself, it would wait until the time limit."""
    from nbval.kernel import RunningKernel

    # Set by `import helpers` in this process; a kernel that inherits it would not be quiet.
    os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    get = RunningKernel.get_message

    def get_message(self: Any, stream: str, timeout: float) -> dict:
        end = time.monotonic() + timeout
        while True:
            try:
                return get(self, stream, timeout=min(5, timeout))
            except queue.Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died; often it ran out of memory") from None
                if time.monotonic() > end:
                    raise

    RunningKernel.get_message = get_message


def pytest_collectstart(collector: Any) -> None:
    """Leave standard error out of the comparison: libraries write there what they like."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_collection_modifyitems(items: list) -> None:
    """Let cells that promise few digits be compared by these, where there is a GPU."""
    for item in items:
        item.output_timeout = 60  # of messages, on a busy machine
        digits = [
            tag[-1] for tag in staleness.tags_of(item.cell) if re.fullmatch(r"digits-\d", tag)
        ]
        if digits and kernel.has_gpu():
            item.compare_outputs = _tolerant(item.compare_outputs, 10.0 ** -int(digits[0]))


def _tolerant(compare: Any, step: float) -> Any:
    """Return `compare` with numbers that are at most `step` apart made equal first."""

    def compare_digits(test: list, reference: list) -> bool:
        for new, old in zip(test, reference, strict=False):
            for texts, former in ((new, old), (new.get("data", {}), old.get("data", {}))):
                for key in ("text", "text/plain", "text/html"):
                    if key in texts and key in former:
                        texts[key] = _settled(texts[key], former[key], step)
        return compare(test, reference)

    return compare_digits


def _settled(text: str, former: str, step: float) -> str:
    """Return `text` with the numbers of `former` where both are at most `step` apart."""
    numbers = iter(_NUMBER.findall(former))

    def settle(match: re.Match) -> str:
        old = next(numbers, match[0])
        return old if abs(float(old) - float(match[0])) <= step * 1.000001 else match[0]

    return _NUMBER.sub(settle, text)


def pytest_exception_interact(node: Any, call: Any) -> None:
    """Write down a cell that came out differently; stop at one that failed."""
    if not hasattr(node, "cell_num"):
        return
    lines = node.cell.source.strip().splitlines() or [""]
    where = f"code cell {node.cell_num + 1} ({lines[0][:60]})"
    error = call.excinfo.value
    if str(error) == "Cell outputs differ":
        diff = _difference(node.cell.outputs, node.test_outputs) or [error.inner_traceback]
        more = [f"... and {len(diff) - _LINES} lines more"] if len(diff) > _LINES else []
        told = "\n".join([f"{where} came out differently:", *diff[:_LINES], *more])
    else:
        why = f"{error}\n{getattr(error, 'inner_traceback', None) or ''}".strip()
        told = f"{where} failed: {why[-3000:]}"
        node.session.shouldstop = "a cell failed"
    report = Path(os.environ[_REPORT])
    before = json.loads(report.read_text("utf-8")) if report.is_file() else []
    write_json(report, [*before, re.sub(r"\x1b\[[0-9;]*m", "", told)])


def _difference(old: list, new: list) -> list[str]:
    """Return the lines of text that differ between the outputs of two runs of a cell."""
    for kind in ("plain", "html"):
        first, second = list(_texts(old, kind)), list(_texts(new, kind))
        diff = difflib.unified_diff(first, second, "first run", "second run", n=1, lineterm="")
        if lines := list(diff):
            return lines
    return []


def _texts(outputs: list, kind: str) -> Iterator[str]:
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        text = output.get("text", "") if kind == "plain" else ""
        yield from (text or output.get("data", {}).get(f"text/{kind}", "")).splitlines()
