"""The kernel that chapters run in: this very interpreter, with a known environment."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

from helpers.base.runtime import cores

#: Called with the index of the cell that begins.
OnCell = Callable[[int], None]

# Asked of the kernel after the last cell, since only it knows what it ran on. A helper that
# loads pretrained weights notes them in `helpers.models.weights.WEIGHTS_USED`, a list of sentences.
_PROBE = """
def _course_probe():
    import json, sys
    found = {"weights": [], "gpu": []}
    models = sys.modules.get("helpers.models.weights")
    found["weights"] = sorted({str(item) for item in getattr(models, "WEIGHTS_USED", [])})
    keras = sys.modules.get("keras")
    found["backend"] = keras.backend.backend() if keras else ""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        for device in tensorflow.config.list_physical_devices("GPU"):
            details = tensorflow.config.experimental.get_device_details(device)
            found["gpu"].append(details.get("device_name", device.name))
    elif "jax" in sys.modules:
        devices = sys.modules["jax"].devices()
        found["gpu"] = [d.device_kind for d in devices if d.platform != "cpu"]
    elif "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        found["gpu"] = [sys.modules["torch"].cuda.get_device_name(0)]
    return json.dumps(found)
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
        Chapters that run side by side; they share the cores.
    """
    found = dict(os.environ)
    path = [str(root)] if (root / "helpers").is_dir() else []
    path += [entry for entry in found.get("PYTHONPATH", "").split(os.pathsep) if entry]
    found.update(
        COURSE_ARTIFACTS=str(artifacts),
        PYTHONHASHSEED="0",
        # A figure on a page needs the inline backend, whatever the caller's shell says.
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
        # The kernel's shell commands (pip, python) shall be this environment's.
        PATH=os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", os.defpath)]),
    )
    # The caller means folders seen from where he stands; the kernel stands elsewhere.
    for name in ("WEIGHTS_DIR", "COURSE_EXTERNAL_DIR"):
        if found.get(name):
            found[name] = str(Path(found[name]).expanduser().resolve())
    # `helpers` keeps TensorFlow's start-up lines off the pages, unless this variable is set.
    found.pop("TF_CPP_MIN_LOG_LEVEL", None)
    # Chapters that run side by side share one GPU: none may take all of its memory at once.
    found.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if path:
        found["PYTHONPATH"] = os.pathsep.join(path)
    if jobs > 1:
        threads = str(max(1, cores() // jobs))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            found.setdefault(name, threads)
    return found


class CourseKernelManager(AsyncKernelManager):
    """Starts ``ipykernel`` in this interpreter, whatever kernelspecs a machine has."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Newer kernels warn when their channels are open to every process on the machine.
        if self.has_trait("transport_encryption") and zmq.has("curve"):
            self.transport_encryption = "auto"

    @property
    def kernel_spec(self) -> KernelSpec:
        """The one spec there is."""
        from ipykernel.kernelspec import get_kernel_dict

        own = get_kernel_dict()
        return KernelSpec(**{**own, "argv": [sys.executable, *own["argv"][1:]]})


class CourseClient(PapermillNotebookClient):
    """Runs the cells one by one, tells where it is, and asks the kernel what it ran on."""

    def __init__(self, manager: Any, on_cell: OnCell, report: dict, **more: Any) -> None:
        super().__init__(manager, **more)
        self._on_cell = on_cell
        self._report = report

    def papermill_execute_cells(self) -> None:
        """Run the cells until the first that fails."""
        for index, cell in enumerate(self.nb.cells):
            self._on_cell(index)
            try:
                self.nb_man.cell_start(cell, index)
                self.execute_cell(cell, index)
            except CellExecutionError as error:
                self.nb_man.cell_exception(cell, cell_index=index, exception=error)
                return
            finally:
                self.nb_man.cell_complete(cell, cell_index=index)
        self._report.update(self._probe())

    def _probe(self) -> dict:
        message = self.kc.execute(
            _PROBE, silent=True, user_expressions={"found": "_course_probe()"}
        )
        reply = self.wait_for_reply(message)
        answer = (reply or {}).get("content", {}).get("user_expressions", {}).get("found", {})
        if answer.get("status") != "ok":
            return {}
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))


class CourseEngine(NBClientEngine):
    """papermill's engine with the course's kernel, environment and working directory."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        *,
        on_cell: OnCell,
        report: dict,
        environment: dict[str, str],
        folder: str,
        log: str,
        cell_timeout: int,
        start_timeout: int = 120,
        **_: Any,
    ) -> None:
        """Run the notebook that `nb_man` holds; see papermill for the base class."""
        client = CourseClient(
            nb_man,
            on_cell,
            report,
            timeout=cell_timeout,
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            kernel_manager_class=CourseKernelManager,
            resources={"metadata": {"path": folder}},
        )
        # What the kernel's own machinery says belongs to no cell, and not on the terminal.
        with open(log, "w", encoding="utf-8") as stream:
            client.execute(env=environment, stderr=stream)


def register() -> str:
    """Make the engine known to papermill and return its name."""
    papermill_engines.register("course", CourseEngine)
    return "course"
