"""The number of cores, and silence when TensorFlow starts.

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
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType

#: The first characters of lines that TensorFlow's libraries write when they start.
NOISE = re.compile(
    rb"^(I\d{4} |.*: I .*\.cc:|WARNING: All log messages before absl|To enable the following instr"
    rb"|E\d{4} .*Unable to register cu|W\d{4} .*computation_placer)"
)


def cores() -> int:
    """Return the number of cores that this process may use; the machine may have more."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
