"""What goes wrong is told in one sentence with the remedy, in a notebook as on the command line."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from helpers import datasets, images
from helpers.base.errors import CourseError, ImageError, RunError
from tests import minicourse


def test_outside_of_a_notebook_the_sentence_is_all():
    assert RunError("Try again.")._render_traceback_() == ["RunError: Try again."]


@pytest.mark.slow
def test_in_a_notebook_an_error_is_the_line_and_the_sentence(tmp_path):
    """As Jupyter runs it: deleted artifacts under an open chapter."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    artifacts = tmp_path / "artifacts"
    cells = [
        f"import os, shutil\nos.environ['COURSE_ARTIFACTS'] = {str(artifacts)!r}\n"
        "from helpers import datasets, images\ncatalog = datasets.load('phantom', profile='smoke')",
        f"shutil.rmtree({str(artifacts)!r})",
        "few = catalog.head(2)\nimages.load_images(few)",
        "catalog = datasets.load('phantom', profile='smoke')\nlen(images.load_images(few))",
    ]
    notebook = nbformat.reads(
        json.dumps(minicourse.notebook(*map(minicourse.code, cells))), as_version=4
    )
    client(notebook, timeout=300, allow_errors=True).execute()
    *_, broken, again = notebook.cells
    (error,) = (output for output in broken.outputs if output.output_type == "error")
    place, sentence = error.traceback
    assert place == "line 2 of the cell: images.load_images(few)"
    assert re.fullmatch(
        r"ImageError: .*cannot be read: No such file or directory\. If it was deleted while the "
        r"notebook was open, run it from the top\.",
        sentence,
    )
    # From the top: everything is made again.
    assert again.outputs[-1].data["text/plain"] == "2"


@pytest.mark.slow
def test_artifacts_that_were_deleted_are_told_and_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    catalog = datasets.load("phantom", profile="smoke").head(2)
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(ImageError, match="run it from the top") as told:
        images.load_images(catalog)
    assert isinstance(told.value, CourseError)
    datasets.load("phantom", profile="smoke")
    assert len(images.load_images(catalog)) == 2
