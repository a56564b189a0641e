"""Slides of a chapter: headings, figures and questions, in one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json

import pytest
from PIL import Image

from helpers.base.errors import RunError
from helpers.base.files import FileError
from helpers.course import slides
from helpers.course.project import Parameters, Project, find
from tests import minicourse
from tests.conftest import ROOT, course
from tests.unit.course.test_runner import executed
from tests.watched import Watched

RUN = Parameters(profile="smoke")
TEXT = """## How long is it?

Prose that stays in the chapter, as does [the next one](02_files.ipynb).

**Predict first.** Write down your guess: see [files](02_files.ipynb).

## Deeper

### How wide?"""
EXERCISES = """## Exercises

### Exercise 01-a (easy): a line

Draw *one* line."""
QUIZ = """## Quiz

**1. What is a line?**

- A: long
- B: short

<details><summary>Answer to question 1</summary>

**A.** It is long.

</details>

## What to remember

- Lines."""


@pytest.fixture
def built(tmp_path):
    """A course whose first chapter was executed, with a figure in it and one in a solution."""
    root = minicourse.make(tmp_path / "course")
    path = root / "notebooks" / "01_lines.ipynb"
    cells = json.loads(path.read_text())["cells"]
    solution = minicourse.code("1 + 1", "solution", mystnb=minicourse.FIGURE)
    texts = [minicourse.markdown(text) for text in (TEXT, EXERCISES, QUIZ)]
    minicourse.write(path, minicourse.notebook(cells[0], cells[1], texts[0], cells[5], solution,
                                               *texts[1:]))  # fmt: skip
    project = Project(root, root / "_build")
    copy = executed(project, RUN, "01")
    notebook = json.loads(copy.read_text())
    picture = io.BytesIO()
    Image.new("RGB", (600, 300), "#0072b2").save(picture, "PNG")
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"image/png": base64.b64encode(picture.getvalue()).decode()},
    }
    for cell in notebook["cells"]:
        if cell["metadata"].get("mystnb"):
            cell["outputs"] = [output]
    at = next(i for i, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code")
    injected = minicourse.code("DATASET = 'phantom'", "injected-parameters")
    notebook["cells"].insert(at + 1, {**injected, "id": "injected", "execution_count": 9})
    minicourse.write(copy, notebook)
    record = json.loads(copy.with_suffix(".json").read_text())
    record["executed"] = hashlib.sha256(copy.read_bytes()).hexdigest()
    copy.with_suffix(".json").write_text(json.dumps(record))
    return project


def shown(page) -> list[str]:
    """Go through the slides with a key and return what each of them says."""
    words = []
    for _ in range(200):
        slide = page.evaluate("Reveal.getCurrentSlide().innerText")
        words.append(" ".join(slide.split()))
        height = page.evaluate("Reveal.getCurrentSlide().scrollHeight")
        assert height <= 720, f"does not fit: {words[-1][:80]}"
        if page.evaluate("Reveal.isLastSlide()"):
            return words
        page.keyboard.press("Space")
    raise AssertionError("there is no last slide")


@pytest.mark.browser
@pytest.mark.slow
def test_slides_open_move_show_figures_and_load_nothing(built, chromium):
    file = slides.build(built, RUN, "01")
    assert file == built.build / "slides" / "01_lines.html"
    watched = Watched(chromium.new_page(viewport={"width": 1280, "height": 720}), file.as_uri())
    page = watched.page
    page.goto(file.as_uri(), wait_until="load")
    first = page.evaluate("Reveal.getCurrentSlide().innerText")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getCurrentSlide().innerText") != first
    page.keyboard.press("ArrowLeft")
    title, *words = shown(page)
    assert title.startswith("01 Lines What a line is. Run on drawn cells")
    assert words == [
        "How long is it? Predict first. Write down your guess: see files.",
        "How wide?",
        "How wide? A line.",
        "Exercise 01-a (easy): a line Draw one line.",
        "Quiz 1. What is a line? A: long B: short",
    ]
    (width,) = page.evaluate("[...document.querySelectorAll('img')].map(i => i.naturalWidth)")
    assert width == 600
    assert page.get_attribute("img", "alt") == "A line that rises"
    assert page.evaluate("document.querySelectorAll('section a[href]').length") == 0
    page.goto(f"{file.as_uri()}?print-pdf", wait_until="load")
    page.wait_for_selector(".pdf-page")
    assert page.locator(".pdf-page").count() == 6
    assert watched.faults == []


def test_slides_replace_slides_and_no_other_file(built, tmp_path):
    chapter, page = built.root / "notebooks" / "01_lines.ipynb", tmp_path / "page.html"
    page.write_text("<html>mine</html>")
    for place, why in ((chapter, "name ends in .html"), (page, "not from this command")):
        before = place.read_bytes()
        with pytest.raises(FileError, match=why):
            slides.build(built, RUN, "01", place)
        assert place.read_bytes() == before
    assert slides.build(built, RUN, "01", tmp_path / "deck.html")
    assert slides.build(built, RUN, "01", tmp_path / "deck.html")


def test_a_chapter_that_was_not_run_has_no_slides(built):
    with pytest.raises(RunError, match=r"no slides of 02_files .*not executed yet.*--only 02"):
        slides.build(built, RUN, "02")


@pytest.mark.browser
@pytest.mark.slow
def test_every_chapter_has_slides_that_fit(smoke_build, chromium, tmp_path):
    for chapter in find(ROOT).chapters:
        file = tmp_path / f"{chapter.name}.html"
        words = ["slides", chapter.number, "--profile", "smoke", "--out", str(file)]
        done = course(*words, build=smoke_build)
        assert done.returncode == 0, done.stderr
        watched = Watched(chromium.new_page(viewport={"width": 1280, "height": 720}), file.as_uri())
        watched.page.goto(file.as_uri(), wait_until="load")
        said = shown(watched.page)
        assert len([text for text in said if text.startswith(f"Exercise {chapter.number}-")]) >= 3
        assert len([text for text in said if text.startswith("Quiz ")]) == 4
        assert watched.page.locator("img").count() >= 1
        assert watched.faults == []
        watched.page.close()
