"""The kernel that chapters run in: the same Python interpreter, with a fixed environment."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from helpers.base.runtime import cores

# Evaluated after the last cell, since only the kernel knows its device. A helper that
# loads pretrained weights notes them in `helpers.models.weights.WEIGHTS_USED`, a list of sentences.
_PROBE = """
def _probe():
    import json, sys
    weights = getattr(sys.modules.get("helpers.models.weights"), "WEIGHTS_USED", [])
    keras = sys.modules.get("keras")
    backend = keras.backend.backend() if keras else ""
    gpus = []
    if tensorflow := sys.modules.get("tensorflow"):
        for device in tensorflow.config.list_physical_devices("GPU"):
            details = tensorflow.config.experimental.get_device_details(device)
            gpus.append(details.get("device_name", device.name))
    elif jax := sys.modules.get("jax"):
        gpus = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return json.dumps({"weights": sorted(set(map(str, weights))), "backend": backend, "gpu": gpus})
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
    variables = dict(os.environ)
    path = [str(root)] if (root / "helpers").is_dir() else []
    path += [entry for entry in variables.get("PYTHONPATH", "").split(os.pathsep) if entry]
    variables.update(
        COURSE_ARTIFACTS=str(artifacts),
        PYTHONHASHSEED="0",
        # A figure on a page needs the inline backend, also if the caller's shell sets another.
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
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
    # Chapters that run at the same time share one GPU: none may take all of its memory.
    variables.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    variables.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if path:
        variables["PYTHONPATH"] = os.pathsep.join(path)
    if jobs > 1:
        threads = str(max(1, cores() // jobs))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            variables.setdefault(name, threads)
    return variables


class CourseKernelManager(AsyncKernelManager):
    """Starts ``ipykernel`` in this interpreter, independent of the kernelspecs of the machine."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Newer kernels warn when their channels are open to every process on the machine.
        if self.has_trait("transport_encryption") and zmq.has("curve"):
            self.transport_encryption = "auto"

    @property
    def kernel_spec(self) -> KernelSpec:
        """The only spec."""
        from ipykernel.kernelspec import get_kernel_dict

        own = get_kernel_dict()
        return KernelSpec(**{**own, "argv": [sys.executable, *own["argv"][1:]]})


def run_cells(
    client: NotebookClient, variables: dict[str, str], log: TextIO, stop: threading.Event
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

    Returns
    -------
    dict
        ``weights`` (list of str), ``backend`` (str) and ``gpu`` (list of str) of the kernel;
        empty when the kernel does not answer.
    """
    return asyncio.run(_run(client, variables, log, stop))


async def _run(
    client: NotebookClient, variables: dict[str, str], log: TextIO, stop: threading.Event
) -> dict:
    async with client.async_setup_kernel(env=variables, stderr=log):
        stopper = asyncio.create_task(_cancel_when(stop, asyncio.current_task()))
        for index, cell in enumerate(client.nb.cells):
            await client.async_execute_cell(cell, index)
        message = client.kc.execute(_PROBE, silent=True, user_expressions={"facts": "_probe()"})
        reply = await client.async_wait_for_reply(message)
        stopper.cancel()
    answer = reply["content"].get("user_expressions", {}).get("facts", {})
    if answer.get("status") != "ok":
        return {}
    return json.loads(ast.literal_eval(answer["data"]["text/plain"]))


async def _cancel_when(stop: threading.Event, task: asyncio.Task) -> None:
    """Cancel `task` soon after `stop` is set; nbclient then kills the kernel."""
    while not stop.is_set():
        await asyncio.sleep(0.1)
    task.cancel()
