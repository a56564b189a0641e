"""How many chapters a machine takes at a time, how they share a GPU, and silence at the start."""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
import types

import psutil
import pytest

from helpers.base import runtime

GIB = 2**30


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sixteen cores, 64 GB free, no container, no GPU; a function changes that."""
    groups = tmp_path / "cgroups"

    def describe(cores=16, memory=64.0, group="", limits=(), gpu=None):
        monkeypatch.setattr(runtime, "cores", lambda: cores)
        free = types.SimpleNamespace(available=int(memory * GIB))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
        (tmp_path / "own").write_text(group)
        for path, limit, stat in limits:
            name = "memory.limit_in_bytes" if path.startswith("memory") else "memory.max"
            (groups / path).mkdir(parents=True, exist_ok=True)
            (groups / path / name).write_text(f"{limit}\n")
            (groups / path / "memory.stat").write_text(stat)
        monkeypatch.setattr(runtime, "_CGROUPS", groups)
        monkeypatch.setattr(runtime, "_CGROUPS_OF_THIS_PROCESS", tmp_path / "own")

        def smi(command, **_):
            if gpu is None:
                raise FileNotFoundError(command[0])
            return subprocess.CompletedProcess(command, 0, gpu, "")

        monkeypatch.setattr(runtime.subprocess, "run", smi)

    return describe


@pytest.mark.parametrize(
    ("given", "chapters"),
    [
        ({}, 16),
        ({"cores": 2}, 2),
        ({"memory": 9.9}, 4),
        ({"memory": 0.5}, 1),
        ({"gpu": "40000\n80000\n"}, 16),
        ({"gpu": "15000\n"}, 7),
        ({"gpu": "No devices were found\n"}, 16),
        ({"gpu": ""}, 16),
        # version 2: the file cache of a container is not counted, only `anon` is
        ({"group": "0::/\n", "limits": [("", 8 * GIB, f"anon {2 * GIB}\nfile {6 * GIB}\n")]}, 3),
        ({"group": "0::/\n", "limits": [("", "max", "anon 0\n")]}, 16),
        # a batch job: its limit stands above the group of the process
        ({"group": "0::/job/step\n", "limits": [("job", 6 * GIB, "anon 0\n")]}, 3),
        # version 1
        (
            {
                "group": "9:cpu:/a\n4:memory:/a\n0::/\n",
                "limits": [("memory/a", 5 * GIB, f"total_cache {GIB}\ntotal_rss {GIB}\n")],
            },
            2,
        ),
    ],
)
def test_as_many_chapters_as_cores_and_memory_allow(machine, given, chapters):
    machine(**given)
    assert runtime.chapters_at_a_time(2.0) == chapters


def test_a_chosen_gpu_is_the_one_that_counts(machine, monkeypatch):
    machine(gpu="8192\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    commands = []
    answer = runtime.subprocess.run
    monkeypatch.setattr(
        runtime.subprocess,
        "run",
        lambda command, **how: commands.append(command) or answer(command),
    )
    assert runtime._free_gpu_memory() == 8
    assert commands[0][-2:] == ["--id", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert runtime._free_gpu_memory() == math.inf


def test_this_machine_has_memory():
    assert 0 < runtime._free_memory() < math.inf
    assert runtime.cores() >= 1


def test_notebooks_share_a_gpu_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    runtime.share_gpu()
    assert runtime.os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert runtime.os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


def test_known_lines_are_dropped_and_others_passed_on(capfd):
    with runtime.held_back(re.compile(rb"chatter")):
        os.write(2, b"chatter 1\nsomething else\nchatter 2\n")
    assert capfd.readouterr().err == "something else\n"


def test_after_an_error_every_line_is_passed_on(capfd):
    def fail():
        os.write(2, b"chatter\n")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), runtime.held_back(re.compile(rb"chatter")):
        fail()
    assert capfd.readouterr().err == "chatter\n"


def test_without_a_folder_for_temporary_files_nothing_is_held_back(capfd, monkeypatch):
    def full():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with runtime.held_back(re.compile(rb"chatter")):
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == "chatter\n"
