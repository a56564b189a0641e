"""The kernel that chapters run in: the same Python interpreter, with a fixed environment.

Jupyter lets kernels talk over TCP by default: the manager picks free ports, closes them, and
the kernel binds them seconds later. With many kernels at a time, some find their port taken.
Here each kernel has Unix sockets in a folder of its own, which no other kernel can take.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TextIO

import psutil
import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient

from helpers.base.files import WAITS_FILE
from helpers.base.runtime import SHARED_GPU, cores

#: Beginning of the names of the folders that hold the kernels' sockets.
_PREFIX = "course-kernel-"
#: Longest folder of temporary files, in bytes, with which the path of a Unix socket, which may
#: have 103, does not become too long.
_LONGEST = 60
# TensorFlow and Keras are most of a million objects that live to the end. With Python's own
# thresholds the garbage collector walks them so often that it takes a tenth of a chapter's time.
_SELDOM = '--IPKernelApp.exec_lines=__import__("gc").set_threshold(10_000, 20, 100)'
# Evaluated after the last cell, since only the kernel knows its device. Helpers note pretrained
# weights in `WEIGHTS_USED` and networks that learned nothing in `COLLAPSED`, lists of sentences.
_PROBE = """
def _probe():
    import json, sys
    weights = getattr(sys.modules.get("helpers.models.weights"), "WEIGHTS_USED", [])
    collapsed = getattr(sys.modules.get("helpers.predictions.collapse"), "COLLAPSED", [])
    keras = sys.modules.get("keras")
    backend = keras.backend.backend() if keras else ""
    gpus = []
    if tensorflow := sys.modules.get("tensorflow"):
        for device in tensorflow.config.list_physical_devices("GPU"):
            details = tensorflow.config.experimental.get_device_details(device)
            gpus.append(details.get("device_name", device.name))
    elif jax := sys.modules.get("jax"):
        gpus = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    sentences = {"weights": weights, "collapsed": collapsed}
    sentences = {key: sorted(set(map(str, texts))) for key, texts in sentences.items()}
    return json.dumps({**sentences, "backend": backend, "gpu": gpus})
"""


def environment(root: Path, artifacts: Path, jobs: int = 1) -> dict[str, str]:
    """Return the environment variables of a kernel.

    Parameters
    ----------
    root : pathlib.Path
        The clone, whose own helpers are the ones imported.
    artifacts : pathlib.Path
        Value of ``COURSE_ARTIFACTS``.
    jobs : int
        Number of chapters that run at a time; they share the cores.
    """
    variables = {**SHARED_GPU, **os.environ}
    path = [str(root)] if (root / "helpers").is_dir() else []
    path += [entry for entry in variables.get("PYTHONPATH", "").split(os.pathsep) if entry]
    variables.update(
        COURSE_ARTIFACTS=str(artifacts),
        PYTHONHASHSEED="0",
        # A figure on a page needs the inline backend, also if the caller's shell sets another.
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        # Neither a home that cannot be written nor the user's own style may reach a page.
        MPLCONFIGDIR=str(artifacts / "matplotlib"),
        PYDEVD_DISABLE_FILE_VALIDATION="1",
        # Nobody looks at the bars of `helpers.base.progress` here.
        TQDM_DISABLE="1",
        # The kernel's shell commands (pip, python) must be those of this environment.
        PATH=os.pathsep.join([str(Path(sys.executable).parent), variables.get("PATH", os.defpath)]),
    )
    # Relative folders are relative to the caller's working directory, not to the kernel's.
    for name in ("WEIGHTS_DIR", "COURSE_EXTERNAL_DIR"):
        if variables.get(name):
            variables[name] = str(Path(variables[name]).expanduser().resolve())
    # JAX would compile a network again for each fold and in each chapter, although only its weights
    # differ. With a limit (in bytes) it also locks the folder that all kernels share.
    variables.setdefault("JAX_COMPILATION_CACHE_DIR", str(artifacts / "compiled"))
    variables.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**32))
    variables.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # An entry that cannot be read or written is compiled again, and that is no news for a page.
    quiet = [f"ignore:Error {what} persistent compilation cache" for what in ("reading", "writing")]
    variables["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), *quiet]))
    # `helpers` keeps TensorFlow's start-up lines off the pages, unless this variable is set.
    variables.pop("TF_CPP_MIN_LOG_LEVEL", None)
    # Sums on a GPU depend on their order, unless it is fixed: a second run would differ.
    if has_gpu():
        variables.setdefault("TF_DETERMINISTIC_OPS", "1")
        flags = variables.get("XLA_FLAGS", "")
        if "xla_gpu_deterministic_ops" not in flags:
            variables["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    if path:
        variables["PYTHONPATH"] = os.pathsep.join(path)
    if jobs > 1:
        # Not so TensorFlow, whose threads wait without work: the chapter for whose network the
        # others wait, and the last one of a run, should have all cores.
        threads = str(max(1, cores() // jobs))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            variables.setdefault(name, threads)
    return variables


def has_gpu() -> bool:
    """Return whether chapters may use a GPU here: NVIDIA's or AMD's, and not hidden from them."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return bool(
        shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists()
    )


class _OwnSockets(KernelManager):
    """Starts ``ipykernel`` in this interpreter, independent of the kernelspecs of the machine.

    Where Unix sockets do not exist, or with ``transport="tcp"``, the kernel has ports.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        base = tempfile.gettempdir()
        if self.transport == "ipc" and len(os.fsencode(base)) > _LONGEST:
            base = "/tmp"
        _remove_left_behind(Path(base))
        # Only this user can open the folder, so sockets in it need no encryption. Its name has
        # the process, by which a later run knows that the folder is left behind.
        folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base)
        self.connection_file = os.path.join(folder, "kernel.json")
        if self.transport == "ipc":
            self.ip = os.path.join(folder, "k")
        elif self.has_trait("transport_encryption") and zmq.has("curve"):
            # Newer kernels warn when their ports are open to every process on the machine.
            self.transport_encryption = "auto"

    def _transport_default(self) -> str:
        return "ipc" if hasattr(socket, "AF_UNIX") else "tcp"

    @property
    def folder(self) -> Path:
        """The kernel's own folder: its connection file and its sockets."""
        return Path(self.connection_file).parent

    @property
    def kernel_spec(self) -> KernelSpec:
        """The only spec."""
        from ipykernel.kernelspec import get_kernel_dict

        own = get_kernel_dict()
        return KernelSpec(**{**own, "argv": [sys.executable, *own["argv"][1:], _SELDOM]})

    def cleanup_connection_file(self) -> None:
        """Remove the kernel's folder; called when the kernel has ended, however it ended."""
        super().cleanup_connection_file()
        shutil.rmtree(self.folder, ignore_errors=True)


class CourseKernelManager(_OwnSockets, AsyncKernelManager):
    """The manager of the runner's kernels, for nbclient."""


def _remove_left_behind(base: Path) -> None:
    """Remove the folders of kernels whose manager was killed; the kernels end by themselves."""
    for folder in base.glob(f"{_PREFIX}*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def pytest_configure() -> None:
    """Let nbval start its kernels as the runner does: ``pytest -p helpers.course.kernel --nbval``.

    nbval offers no option for it.
    """
    import nbval.kernel

    nbval.kernel.KernelManager = _OwnSockets


def run_cells(
    client: NotebookClient,
    variables: dict[str, str],
    log: TextIO,
    stop: threading.Event,
    say: Callable[[str], object] = print,
) -> dict:
    """Run the cells of a client's notebook in a new kernel, until the first cell that fails.

    Any thread may call it: each call has an event loop of its own.

    Parameters
    ----------
    client : nbclient.NotebookClient
        With the notebook, into whose cells the outputs are written.
    variables : dict of str
        Environment variables of the kernel.
    log : file
        Open for the messages of the kernel itself, which belong to no cell.
    stop : threading.Event
        Once it is set, the kernel is killed.
    say : callable
        Takes what the run should tell besides: the kernel is started again, or it waits
        for something that another process computes.

    Returns
    -------
    dict
        ``weights`` and ``collapsed`` (lists of sentences), ``backend`` (str) and ``gpu`` (list
        of str) of the kernel; empty when the kernel does not answer.

    Raises
    ------
    RuntimeError
        When no kernel comes up in three tries.
    """
    return asyncio.run(_run(client, variables, log, stop, say))


async def _run(
    client: NotebookClient,
    variables: dict[str, str],
    log: TextIO,
    stop: threading.Event,
    say: Callable[[str], object],
) -> dict:
    stopper = asyncio.create_task(_cancel_when(stop, asyncio.current_task()))
    async with _started(client, variables, log, say) as waits:
        teller = asyncio.create_task(_tell(waits, say))
        for index, cell in enumerate(client.nb.cells):
            await client.async_execute_cell(cell, index)
        message = client.kc.execute(_PROBE, silent=True, user_expressions={"facts": "_probe()"})
        reply = await client.async_wait_for_reply(message)
        teller.cancel()
        stopper.cancel()
    answer = reply["content"].get("user_expressions", {}).get("facts", {})
    if answer.get("status") != "ok":
        return {}
    return json.loads(ast.literal_eval(answer["data"]["text/plain"]))


@contextlib.asynccontextmanager
async def _started(
    client: NotebookClient, variables: dict[str, str], log: TextIO, say: Callable[[str], object]
) -> AsyncIterator[Path]:
    """Give the client a running kernel, try again if none comes up; yield its file of waits."""
    transports = [None, None, "tcp"]  # the last in case that Unix sockets do not work here
    manager = None
    try:
        while client.kc is None:
            transport = transports.pop(0)
            manager = CourseKernelManager(**({"transport": transport} if transport else {}))
            client.km = manager
            waits = manager.folder / "waits.txt"
            try:
                await client.async_start_new_kernel(
                    env={**variables, WAITS_FILE: str(waits)}, stderr=log
                )
                await client.async_start_new_kernel_client()
            except RuntimeError as error:
                if not transports:
                    raise
                say(f"its kernel did not start ({error}), trying again")
        yield waits
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
        if manager is not None and manager.has_kernel:
            await manager.shutdown_kernel()


async def _tell(waits: Path, say: Callable[[str], object]) -> None:
    """Pass on each line that the kernel's process adds to its file of waits."""
    told = 0
    while True:
        await asyncio.sleep(0.5)
        with contextlib.suppress(FileNotFoundError):
            lines = waits.read_text(encoding="utf-8").splitlines()
            for line in lines[told:]:
                say(f"waits for {line}, which another chapter makes")
            told = len(lines)


async def _cancel_when(stop: threading.Event, task: asyncio.Task) -> None:
    """Cancel `task` soon after `stop` is set; the kernel is then killed."""
    while not stop.is_set():
        await asyncio.sleep(0.1)
    while not task.done():  # `wait_for` of Python 3.11 can swallow a cancellation: ask again
        task.cancel()
        await asyncio.sleep(10)
