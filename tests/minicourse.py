"""A course of two short chapters, for tests that break or kill something."""

from __future__ import annotations

import json
from pathlib import Path

PARAMETERS = 'DATASET = "phantom"\nPROFILE = "quick"\nSEED = 24\nDATA_DIR = ""\nPOSITIVE = ""'
FIGURE = {
    "image": {"alt": "A line that rises"},
    "figure": {"caption": "A line.", "name": "fig-01-line"},
}


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(text: str, *tags: str, **metadata: object) -> dict:
    metadata = {"tags": list(tags), **metadata} if tags else metadata
    return {
        "cell_type": "code",
        "metadata": metadata,
        "source": text,
        "outputs": [],
        "execution_count": None,
    }


def notebook(*cells: dict) -> dict:
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    numbered = [{**cell, "id": f"cell-{index}"} for index, cell in enumerate(cells)]
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernel},
        "cells": numbered,
    }


def write(path: Path, content: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def change(path: Path, old: str, new: str) -> None:
    """Replace text in the JSON of a notebook, or in any file; `old` must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def make(root: Path) -> Path:
    """Write the course below `root` and return `root`."""
    write(
        root / "notebooks" / "01_lines.ipynb",
        notebook(
            markdown("# Lines\n\nWhat a line is."),
            code(PARAMETERS, "parameters"),
            markdown("Which profile is this?"),
            code("print(PROFILE, DATASET, SEED)"),
            markdown("What does a line look like?"),
            code("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", mystnb=FIGURE),
        ),
    )
    write(
        root / "notebooks" / "02_files.ipynb",
        notebook(
            markdown("# Files\n\nWhat is kept. After [lines](01_lines.ipynb)."),
            code(PARAMETERS, "parameters"),
            markdown("How is a table kept?"),
            code(
                "import pandas as pd\n"
                "from helpers.base import files, settings\n"
                "folder = settings.artifacts_folder()\n"
                "for name in range(20):\n"
                "    table = pd.DataFrame({'n': range(2000)})\n"
                "    files.write_csv(folder / f'{name}.csv', table)\n"
                "    files.write_json(folder / f'{name}.json', list(range(2000)))\n"
                "print(len(list(folder.glob('*.csv'))))"
            ),
        ),
    )
    (root / "book").mkdir()
    (root / "book" / "intro.md").write_text("# A course\n\n[](../notebooks/01_lines.ipynb)\n")
    (root / "book" / "status.md").write_text("# Status\n\nNot run yet.\n")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n- caption: All\n  chapters:\n"
        "  - file: notebooks/01_lines\n  - file: notebooks/02_files\n  - file: book/status\n"
    )
    (root / "_config.yml").write_text("title: A course\nonly_build_toc_files: true\n")
    (root / "requirements.lock").write_text("numpy==1.0\n")
    return root
