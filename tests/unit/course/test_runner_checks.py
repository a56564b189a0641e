"""The checks of chapters bite: each fault, put into a sound chapter, is named."""

from __future__ import annotations

import copy
import json

import pytest

from helpers.course import checks, messages, repository
from helpers.course.project import Chapter, Project
from tests import minicourse
from tests.minicourse import PARAMETERS, code, markdown

PNG = {"output_type": "display_data", "data": {"image/png": "AA=="}, "metadata": {}}


def exercise(letter):
    name = f"07-{letter}"
    return [
        markdown(f"### Exercise {name}: count\n\nHow many?"),
        code("answer = ..."),
        code(f'from helpers.exercises.checking import check\ncheck("{name}", answer)'),
        code("# @title Solution\nanswer = 3", "solution", "hide-cell", cellView="form"),
    ]


def sound():
    return minicourse.notebook(
        markdown("# Title\n\nPromise.\n\n## What you will learn\n\n- count"),
        code("import sys", "setup"),
        code(PARAMETERS, "parameters"),
        markdown("What is drawn? See [the paper](https://doi.org/10.1000/1)."),
        code("draw()", mystnb=minicourse.FIGURE),
        *exercise("a"),
        *exercise("b"),
        *exercise("c"),
        markdown("## What to remember\n\nMuch.\n\n## Where to go next\n\nOn."),
    )


def problems(tmp_path, notebook):
    path = minicourse.write(tmp_path / "07_title.ipynb", notebook)
    return checks.check_notebook(Chapter("07_title", path))


def test_a_sound_chapter_has_no_problems(tmp_path):
    assert problems(tmp_path, sound()) == []


def cell(notebook, text):
    return next(c for c in notebook["cells"] if text in c["source"])


def drop(notebook, text):
    notebook["cells"].remove(cell(notebook, text))


FAULTS = {
    "format 4.5": lambda n: n.update(nbformat_minor=4),
    "kernelspec": lambda n: n["metadata"].clear(),
    "an id twice": lambda n: n["cells"][1].update(id="cell-0"),
    "without an id": lambda n: n["cells"][1].pop("id"),
    "stores outputs": lambda n: cell(n, "draw()").update(outputs=[PNG]),
    "empty code cell": lambda n: cell(n, "draw()").update(source=" \n"),
    "ends with ';'": lambda n: cell(n, "draw()").update(source="draw();"),
    "has the tag raises-exception": lambda n: cell(n, "draw()")["metadata"].update(
        tags=["raises-exception"]
    ),
    "'digits-x', but it must be like 'digits-3'": lambda n: cell(n, "draw()")["metadata"].update(
        tags=["digits-x"]
    ),
    "draw()' imports helpers.course": lambda n: cell(n, "draw()").update(
        source="draw()\nfrom helpers import course"
    ),
    "'run()' imports helpers.course": lambda n: cell(n, "draw()").update(
        source="run()\nimport helpers.course.runner"
    ),
    "begin with a title": lambda n: n["cells"].pop(0),
    "needs one cell tagged 'setup'": lambda n: drop(n, "import sys"),
    "and after it one tagged 'parameters'": lambda n: n["cells"].insert(1, n["cells"].pop(2)),
    "does not set exactly": lambda n: cell(n, "PROFILE").update(
        source=PARAMETERS.replace("quick", "smoke")
    ),
    "no 'What to remember'": lambda n: drop(n, "What to remember"),
    "has 2 exercises": lambda n: [n["cells"].pop(-2) for _ in range(4)],
    "another chapter's number": lambda n: cell(n, "07-a").update(source="### Exercise 05-a: x"),
    "07-a has no cell 'answer": lambda n: drop(n, "answer = ..."),
    "07-a has no cell that calls": lambda n: drop(n, 'check("07-a"'),
    "07-a has no solution": lambda n: drop(n, "# @title Solution"),
    "needs the tag 'hide-cell'": lambda n: cell(n, "# @title")["metadata"].update(
        tags=["solution"]
    ),
    "MyST shows raw on Colab: '```{note}'": lambda n: cell(n, "drawn?").update(
        source="```{note}\nx\n```"
    ),
    "MyST shows raw on Colab: '{cite}": lambda n: cell(n, "drawn?").update(source="{cite}`a`"),
    "image without alt text": lambda n: cell(n, "drawn?").update(source="![](a.png)"),
    "lacks alt text": lambda n: cell(n, "draw()")["metadata"]["mystnb"].pop("image"),
    "lacks a caption": lambda n: cell(n, "draw()")["metadata"]["mystnb"].pop("figure"),
}


@pytest.mark.parametrize("told", FAULTS)
def test_each_fault_is_named(tmp_path, told):
    notebook = copy.deepcopy(sound())
    FAULTS[told](notebook)
    assert told in "\n".join(problems(tmp_path, notebook))


def test_set_up_cells_that_differ_and_notebooks_outside_of_the_book(tmp_path):
    root = minicourse.make(tmp_path / "course")
    (root / "pyproject.toml").write_text(
        f'[project.urls]\nRepository = "{repository.PLACEHOLDER}"\n'
    )
    for name in ("01_lines", "02_files"):
        path = root / "notebooks" / f"{name}.ipynb"
        notebook = json.loads(path.read_text())
        notebook["cells"].insert(1, {**code("import sys", "setup"), "id": "setup"})
        minicourse.write(path, notebook)
    repository.set_repository(repository.PLACEHOLDER, root)
    assert "differ" not in "".join(checks.check_sources(Project(root, root / "_build")))
    minicourse.change(root / "notebooks" / "02_files.ipynb", "import subprocess", "import os")
    minicourse.write(root / "notebooks" / "03_lost.ipynb", sound())
    told = "\n".join(checks.check_sources(Project(root, root / "_build")))
    assert "02_files: its set-up, parameters, links or metadata for Colab differ" in told
    assert "01_lines: its set-up" not in told
    assert "03_lost.ipynb is not in _toc.yml" in told


def stderr(text):
    return {"output_type": "stream", "name": "stderr", "text": text.splitlines(keepends=True)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("TIFFReadDirectory: Warning, Unknown field with tag 34118.\n", "TIFFReadDirectory"),
        ("libpng warning: iCCP: known incorrect sRGB profile\n", "libpng warning"),
        ("WARNING:somelib:a logger has a word to say\n", "WARNING:somelib"),
        ("Matplotlib is building the font cache; this may take a moment.\n", ""),
        ("I0000 00:00:1764 gpu_device.cc:2020] Created device\n", ""),
        ("/lib/a.py:3: DeprecationWarning: gone in 9.0\n  a.b()\n", ""),
        ("/lib/a.py:3: MatplotlibDeprecationWarning: gone\n  a.b()\n", ""),
        ("a.py:3: FutureWarning: x\n  a.b()\nlibjpeg: odd marker\n", "libjpeg: odd marker"),
        ("\rReading:  50%|#####     | 1/2\rReading: 100%|##########| 2/2\r          \r", ""),
    ],
)
def test_what_libraries_write_to_stderr_blocks_no_book(text, shown):
    notebook = sound()
    cell(notebook, "draw()").update(outputs=[PNG, stderr(text)], execution_count=1)
    assert not [p for p in checks.check_executed(notebook) if "draw()" in p]
    told = checks.messages_shown(notebook)
    assert len(told) == bool(shown)
    assert shown in "".join(told)
    kept = messages.without_noise([PNG, stderr(text)])
    assert kept[0] == PNG
    assert len(kept) == 1 + bool(shown)
    assert shown in "".join(output.get("text", "") for output in kept)


def executed(**changes):
    notebook = sound()
    for count, c in enumerate(c for c in notebook["cells"] if c["cell_type"] == "code"):
        c["execution_count"] = count + 1
    cell(notebook, "draw()").update(changes)
    return checks.check_executed(notebook)


def test_an_executed_copy_with_a_labelled_figure_is_sound():
    assert executed(outputs=[PNG]) == []


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        ("was not executed", {"execution_count": None}),
        (
            "raised ValueError: bad",
            {"outputs": [{"output_type": "error", "ename": "ValueError", "evalue": "bad"}]},
        ),
        ("figure without alt text", {"outputs": [PNG], "metadata": {}}),
        (
            "warned: RuntimeWarning: Mean of empty slice.",
            {
                "outputs": [
                    stderr("/a b/np.py:3: RuntimeWarning: Mean of empty slice.\n  x.mean()\n")
                ]
            },
        ),
        (
            "warned: ConvergenceWarning: lbfgs failed",
            {
                "outputs": [stderr("x.py:1: ConvergenceWarning: lbfgs failed\n")],
                "metadata": {"tags": ["nbval-ignore-output"]},
            },
        ),
    ],
)
def test_faults_of_an_executed_copy(told, changes):
    assert told in "\n".join(executed(**changes))
