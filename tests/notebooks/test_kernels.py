"""Kernels start at once, are tried again, and leave nothing behind; the log tells of waits."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from jupyter_client.kernelspec import KernelSpec

from helpers.course import executor, kernel, project, runner
from tests import minicourse
from tests.conftest import ROOT, course

pytestmark = pytest.mark.slow

SMOKE = project.parameters(profile="smoke")


@pytest.fixture
def temporary(monkeypatch):
    """A folder of temporary files whose path is short enough for sockets, as the usual one is."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def chapters(root: Path, count: int, code: str) -> Path:
    """Write a course of equal chapters, each with one cell."""
    minicourse.make(root)
    names = [f"{number:02d}_lines" for number in range(1, count + 1)]
    for name in names:
        cells = [
            minicourse.markdown("# Lines"),
            minicourse.code(minicourse.PARAMETERS, "parameters"),
            minicourse.code(code.replace("NAME", repr(name))),
        ]
        minicourse.write(root / f"notebooks/{name}.ipynb", minicourse.notebook(*cells))
    files = "".join(f"- file: notebooks/{name}\n" for name in names)
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\nchapters:\n{files}")
    return root


def printed(root: Path, name: str) -> list[str]:
    copy = root / f"_build/executed/phantom-smoke-24/{name}.ipynb"
    return json.loads(copy.read_text())["cells"][-1]["outputs"][0]["text"]


def test_fifty_kernels_start_at_once(tmp_path, temporary):
    root = chapters(tmp_path / "course", 50, "print(NAME)")
    done = course("run", "--profile", "smoke", "--jobs", "50", build=root / "_build", root=root)
    assert done.returncode == 0, done.stderr
    assert "50 of 50 chapters to run, 50 at a time" in done.stdout
    assert "did not start" not in done.stdout
    for number in range(1, 51):
        assert printed(root, f"{number:02d}_lines") == [f"{number:02d}_lines\n"]
    assert not list(temporary.glob("course-kernel-*"))


def test_the_garbage_collector_goes_round_seldom_and_leaves_no_name(tmp_path, temporary):
    code = "print('gc' in globals(), __import__('gc').get_threshold())"
    root = chapters(tmp_path / "course", 1, code)
    done = course("run", "--profile", "smoke", build=root / "_build", root=root)
    assert done.returncode == 0, done.stderr
    assert printed(root, "01_lines") == ["False (10000, 20, 100)\n"]


@pytest.mark.parametrize("failures", [2, 3])
def test_a_kernel_that_does_not_come_up_is_tried_again(
    failures, tmp_path, temporary, monkeypatch, capsys
):
    root = chapters(tmp_path / "course", 1, "print('up')")
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import os, pathlib, sys\n"
        f"tries = pathlib.Path({str(tmp_path)!r}, 'tries')\n"
        "with tries.open('a') as file: file.write('x')\n"
        f"if len(tries.read_text()) <= {failures}: raise SystemExit('Address already in use')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'ipykernel_launcher', *sys.argv[1:]])"
    )
    argv = [sys.executable, str(starter), "-f", "{connection_file}"]
    spec = KernelSpec(argv=argv, display_name="Python 3", language="python")
    monkeypatch.setattr(kernel._OwnSockets, "kernel_spec", spec)
    (result,) = runner.run_chapters(
        project.find(root), SMOKE, jobs=1, artifacts=tmp_path / "artifacts"
    )
    told = capsys.readouterr().out.count("01_lines: its kernel did not start")
    assert told == 2
    if failures < 3:
        assert not result.failure
        assert printed(root, "01_lines") == ["up\n"]
    else:
        assert "failed before its first cell" in result.failure
        log = root / "_build/executed/phantom-smoke-24/failed/01_lines.log"
        assert "Address already in use" in log.read_text()
    assert not list(temporary.glob("course-kernel-*"))


def test_a_stop_does_not_wait_for_a_kernel_that_is_starting(tmp_path, temporary, monkeypatch):
    root = chapters(tmp_path / "course", 1, "print('up')")
    (chapter,) = project.find(root).chapters
    argv = [
        sys.executable,
        "-c",
        f"open({str(tmp_path / 'on')!r}, 'w'); import time; time.sleep(99)",
    ]
    spec = KernelSpec(argv=argv, display_name="Python 3", language="python")
    monkeypatch.setattr(kernel._OwnSockets, "kernel_spec", spec)
    stop = threading.Event()

    def press() -> None:
        while not (tmp_path / "on").exists():
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=press, daemon=True).start()
    begin, before = time.monotonic(), psutil.Process().children()
    # In a thread, as the runner does: Playwright keeps an event loop in the main thread.
    with ThreadPoolExecutor() as pool:
        options = {"artifacts": tmp_path, "cell_timeout": 60, "stop": stop}
        running = pool.submit(executor.execute, project.find(root), chapter, SMOKE, **options)
        with pytest.raises(asyncio.CancelledError):
            running.result()
    assert time.monotonic() - begin < 30
    assert set(psutil.Process().children()) <= set(before)  # one of them may have ended
    assert not list(temporary.glob("course-kernel-*"))


def test_the_log_says_who_waits_for_what_and_the_page_does_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the small course has no helpers of its own
    code = (
        "import time, pathlib\n"
        "from helpers.base import files, settings\n"
        "read = lambda path: path.read_text() if path.is_file() else None\n"
        "def make(path):\n"
        "    time.sleep(4)\n"
        "    path.write_text('made')\n"
        "print(files.kept(settings.artifacts_folder() / 'networks' / 'a.txt', read, make))"
    )
    root = chapters(tmp_path / "course", 2, code)
    results = runner.run_chapters(
        project.find(root), SMOKE, jobs=2, artifacts=tmp_path / "artifacts"
    )
    assert [result.failure for result in results] == [""] * len(results)
    assert capsys.readouterr().out.count("lines: waits for networks/a.txt") == 1
    for name in ("01_lines", "02_lines"):
        assert printed(root, name) == ["made\n"]


def test_nbval_starts_kernels_as_the_runner_does(tmp_path, temporary):
    code = "from ipykernel.connect import get_connection_info\n"
    code += "print(get_connection_info(unpack=True)['ip'])"
    cell = minicourse.code(code)
    cell["execution_count"] = 1
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "elsewhere\n"}]
    path = minicourse.write(tmp_path / "a.ipynb", minicourse.notebook(cell))
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "helpers.course.kernel"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), str(path)]
    done = subprocess.run(
        command, env=kernel.environment(ROOT, tmp_path), capture_output=True, text=True
    )
    assert f"{temporary}/course-kernel-" in done.stdout
    assert not list(temporary.glob("course-kernel-*"))
