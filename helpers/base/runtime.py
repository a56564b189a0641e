"""What this process may use of the machine, and silence when TensorFlow starts.

``TF_CPP_MIN_LOG_LEVEL`` silences TensorFlow once it runs, but not its C++
libraries while they are loaded (tensorflow issue 100442). While ``tensorflow``
is imported, their known messages are removed from standard error; all other
lines are passed on, and if the import fails, all lines are.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

#: The first characters of lines that TensorFlow's libraries write when they start.
NOISE = re.compile(
    rb"^(I\d{4} |.*: I .*\.cc:|WARNING: All log messages before absl|To enable the following instr"
    rb"|E\d{4} .*Unable to register cu|W\d{4} .*computation_placer)"
)
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUPS_OF_THIS_PROCESS = Path("/proc/self/cgroup")

#: Environment variables with which several processes can share one GPU.
SHARED_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def cores() -> int:
    """Return the number of cores that this process may use; the machine may have more."""
    import joblib

    return joblib.cpu_count()  # knows affinity masks and the shares of containers


def chapters_at_a_time(memory: float) -> int:
    """Return how many chapters to run at a time: one a core, as far as they fit into memory.

    Free memory is what the machine has left now, or the container or batch job that this
    process runs in (cgroups). Where there is an NVIDIA GPU, chapters must also fit into the
    free memory of the first one: all of them use that.

    Parameters
    ----------
    memory : float
        Gigabytes (2**30 bytes) that a chapter needs, of the GPU's memory at most as many.
    """
    fit = min(_free_memory(), _free_gpu_memory()) / memory
    return max(1, int(min(cores(), fit)))


def _free_memory() -> float:
    """Return the gigabytes that new processes can take."""
    import psutil

    free = [psutil.virtual_memory().available]
    with contextlib.suppress(OSError):
        for line in _CGROUPS_OF_THIS_PROCESS.read_text().splitlines():
            _, controller, name = line.split(":", 2)
            if controller in ("", "memory"):  # version 2, version 1
                group = _CGROUPS / controller / name.lstrip("/")
                free += [_left(each) for each in (group, *group.parents)]
    return min(free) / 2**30


def _left(group: Path) -> float:
    """Return the bytes that a cgroup's limit leaves; what it holds in the file cache is free."""
    for limit, used in (("memory.max", "anon"), ("memory.limit_in_bytes", "total_rss")):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max": no limit
            maximum = int((group / limit).read_text())
            lines = (group / "memory.stat").read_text().splitlines()
            return maximum - int(dict(line.split() for line in lines)[used])
    return math.inf


def _free_gpu_memory() -> float:
    """Return the free gigabytes of the first GPU that chapters see, infinity if there is none."""
    try:
        return int(_ask_gpu("memory.free")) / 1024
    except ValueError:
        return math.inf


def gpu() -> str:
    """Return the name of the first NVIDIA GPU that chapters see, "" if there is none."""
    return _ask_gpu("name")


def _ask_gpu(what: str) -> str:
    """Return what NVIDIA's tool says of the first GPU that chapters see, "" where it says none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if visible.strip() in ("", "-1"):  # hidden
        return ""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    command += ["--id", visible]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter(done.stdout.splitlines()), "").strip()


def share_gpu() -> None:
    """Let TensorFlow and JAX take the memory of a GPU as they need it, unless told otherwise.

    By default each process takes all or three quarters of it: a second notebook gets none.
    """
    for name, value in SHARED_GPU.items():
        os.environ.setdefault(name, value)


def quieten_tensorflow() -> None:
    """Suppress the messages of TensorFlow, unless TF_CPP_MIN_LOG_LEVEL is set already."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Lets Python import ``tensorflow`` as usual, but quietly."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with held_back():
                    load(module)
                # The Python part of TensorFlow warns of retracing whenever a notebook uses a second
                # model. The level is set after the import, which resets it in a notebook.
                logging.getLogger("tensorflow").setLevel(logging.ERROR)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def held_back(noise: re.Pattern[bytes] = NOISE) -> Iterator[None]:
    """Hold back what the block writes to file descriptor 2; then pass on all but the noise.

    C++ libraries write there directly, not through Python's ``sys.stderr``. If the block
    raises an error, everything is passed on.

    Parameters
    ----------
    noise : re.Pattern
        Lines that begin like this are dropped; by default TensorFlow's start-up messages.
    """
    try:
        held = tempfile.TemporaryFile()  # noqa: SIM115
        real = os.dup(2)
    except OSError:  # no disk for temporary files, or no standard error
        yield
        return
    failed = True
    with held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            failed = False
        finally:
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            for line in held:
                if failed or not noise.match(line):
                    os.write(2, line)
