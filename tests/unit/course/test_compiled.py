"""JAX compiles a computation once for all kernels; a damaged entry costs time, nothing else."""

import subprocess
import sys

import pytest

from helpers.course import kernel
from tests.conftest import ROOT

SCRIPT = "import jax; print(jax.jit(lambda x: 2 * x + 1)(20.5))"


@pytest.mark.slow
def test_what_one_kernel_compiled_the_next_one_reads(tmp_path):
    pytest.importorskip("jax")
    variables = {**kernel.environment(ROOT, tmp_path), "JAX_PLATFORMS": "cpu"}

    def run():
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("42.0\n", "")
        return {file: file.read_bytes() for file in (tmp_path / "compiled").glob("*-cache")}

    compiled = run()
    assert compiled
    assert run() == compiled
    for file in compiled:
        file.write_bytes(b"cut off")
    assert run().keys() == compiled.keys()


def test_who_keeps_compilations_elsewhere_keeps_them_there(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning")
    variables = kernel.environment(ROOT, tmp_path)
    assert variables["JAX_COMPILATION_CACHE_DIR"] == "/elsewhere"
    assert variables["PYTHONWARNINGS"].startswith("error::DeprecationWarning,ignore:")
