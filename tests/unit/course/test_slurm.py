"""The script for SLURM: its syntax, that of the Python in it, and the options that it names."""

from __future__ import annotations

import ast
import re
import subprocess

from tests.conftest import ROOT

SCRIPT = ROOT / "book" / "slurm" / "grid.sh"


def test_bash_and_python_can_read_the_script():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    text = SCRIPT.read_text(encoding="utf-8")
    (python,) = re.findall(r"<<'PYTHON' &\n(.*?)^PYTHON$", text, re.DOTALL | re.MULTILINE)
    ast.parse(python)
    # Each variable of the environment that the Python part reads is exported before.
    for name in re.findall(r'environ\[["\'](\w+)', python):
        assert re.search(rf"^export {name}\b", text, re.MULTILINE), name


def test_slurm_reads_its_options_before_the_first_command():
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    places = [place for place, line in enumerate(lines) if line.startswith("#SBATCH --")]
    command = next(place for place, line in enumerate(lines) if line and line[0] != "#")
    assert len(places) == 4
    assert max(places) < command


def test_the_pages_name_the_script():
    for page in ("running", "instructor"):
        assert "slurm/grid.sh" in (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8")
