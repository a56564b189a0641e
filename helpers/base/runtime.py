"""The machine and the process: cores to work on, and TensorFlow's start-up messages.

``TF_CPP_MIN_LOG_LEVEL`` silences TensorFlow once it runs, but not what its C++
libraries write while they are loaded (tensorflow issue 100442): those lines
are held back here while ``tensorflow`` is being imported. Whatever else is
written meanwhile is passed on, and everything is if the import fails.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType

_NOISE = re.compile(
    rb"^(I\d{4} |.*: I .*\.cc:|WARNING: All log messages before absl|To enable the following instr"
    rb"|E\d{4} .*Unable to register cu|W\d{4} .*computation_placer)"
)


def cores() -> int:
    """Return the cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quieten_tensorflow() -> None:
    """Quieten TensorFlow from here on, unless the environment asks for its messages."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds ``tensorflow`` as always, and has it loaded quietly."""

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
                # Its Python side warns of retracing wherever a notebook uses a second
                # model. The level is set here, as importing sets it anew in a notebook.
                logging.getLogger("tensorflow").setLevel(logging.ERROR)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def held_back(noise: re.Pattern[bytes] = _NOISE) -> Iterator[None]:
    """Hold back what the block writes to file descriptor 2; then pass on all but the noise.

    C++ libraries write there past Python's ``sys.stderr``. Everything is passed on
    when the block raises.

    Parameters
    ----------
    noise : re.Pattern
        Lines that begin like this are dropped; by default TensorFlow's start-up messages.
    """
    try:
        real = os.dup(2)
    except OSError:  # no such descriptor: nothing to quieten
        yield
        return
    failed = True
    with tempfile.TemporaryFile() as held:
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
