"""The pictures in chapter 21 can be made again from the app as it is.

    COURSE_APP_PICTURES=book/app python -m pytest tests/app/test_pictures.py

writes them into the book.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.app import pictures
from tests.app.conftest import running


@pytest.mark.browser
@pytest.mark.slow
def test_the_pictures_of_chapter_21_are_made_from_the_app(chromium, artifacts, tmp_path):
    folder = Path(os.environ.get("COURSE_APP_PICTURES") or tmp_path)
    with running(artifacts, tmp_path / "data") as app:
        pictures.take(chromium, app, folder)
    for name in pictures.NAMES:
        made = Image.open(folder / name)
        assert made.width == pictures.WIDTH
        assert len(made.convert("RGB").getcolors(maxcolors=2**24)) > 50, "an empty page"
        assert (folder / name).stat().st_size < 80_000


def test_the_book_has_the_pictures():
    page = (pictures.ROOT / "notebooks" / "21_web_app.ipynb").read_text(encoding="utf-8")
    for name in pictures.NAMES:
        stored = pictures.FOLDER / name
        assert stored.stat().st_size < 80_000
        assert Image.open(stored).width == pictures.WIDTH
        assert f"](../book/app/{name})" in page
