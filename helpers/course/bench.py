"""Runs the course's benchmarks and keeps their figures."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from helpers.course.project import Project


def run(project: Project, words: str = "") -> int:
    """Run the tests that use pytest-benchmark, print their medians, return the exit status.

    The full figures go to ``_build/benchmarks/<time>-<commit>.json``.
    """
    folder = project.build / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"{stamp}-{project.commit[:10] or 'nogit'}.json"
    command = [sys.executable, "-m", "pytest", "tests/unit", "-q", "--benchmark-enable"]
    command += ["--benchmark-only", f"--benchmark-json={path}", "-p", "no:cacheprovider"]
    command += ["-k", words] if words else []
    done = subprocess.run(command, cwd=project.root)
    if path.is_file():
        for line in table(path):
            print(line)
        print(f"Kept in {path}")
    return done.returncode


def table(path: Path) -> list[str]:
    """Return one line a benchmark: its name, median time, and what it says of itself."""
    found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    lines = []
    for entry in sorted(found, key=lambda entry: entry["name"]):
        more = ", ".join(f"{key} {value}" for key, value in entry["extra_info"].items())
        lines.append(f"{entry['name']:<56} {entry['stats']['median'] * 1e3:10.2f} ms  {more}")
    return lines
