"""The pictures of the app that chapter 21 shows, made by Chromium from the running app."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from helpers.app import samples
from tests.conftest import ROOT

FOLDER = ROOT / "book" / "app"
NAMES = ("upload.png", "cell.png", "history.png")
WIDTH, HEIGHT = 1000, 1250  # pixels; a longer page is cut off below
# What the reader says of each sample: the class it was drawn as, and nothing where it is blurred.
_READER = ("all", "hem", "hem", "all", "")
_OPEN = "() => document.querySelectorAll('.card > details').forEach(one => one.open = true)"
# An image further down is not loaded before somebody scrolls to it.
_LOADED = """() => [...document.images]
    .filter(one => one.checkVisibility() && one.getBoundingClientRect().top < innerHeight)
    .every(one => one.complete && one.naturalWidth)"""


def take(chromium, app, folder: Path) -> None:
    """Write the pictures `NAMES`: an upload with answers, one cell with its reasons, the history.

    Parameters
    ----------
    chromium : playwright.sync_api.Browser
    app : tests.app.conftest.App
        With an empty data folder. It is given cells that the course draws, and no others.
    folder : pathlib.Path
        Exists.
    """
    context = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    page = context.new_page()
    for subject, numbers in (("P1", (3, 4)), ("P2", (0, 1, 2))):
        page.goto(app.url)
        page.get_by_label("Subject").fill(subject)
        page.get_by_label("Images").set_input_files([_file(subject, one) for one in numbers])
        page.get_by_text(f"{len(numbers)} of {len(numbers)} answered.").wait_for()
        if subject == "P1":
            _keep(page, folder / "upload.png")
        for number in numbers:
            card = page.locator(".card").filter(has_text=f"{subject}-{number}.png")
            card.locator(f".choices button[name=label][value='{_READER[number]}']").click()
            card.locator("button[aria-pressed=true]").wait_for()
    page.goto(f"{app.url}/cell/1")
    page.evaluate(_OPEN)
    _keep(page, folder / "cell.png")
    page.goto(f"{app.url}/history")
    _keep(page, folder / "history.png")
    context.close()


def _file(subject: str, number: int) -> dict:
    name = f"{subject}-{number}.png"
    return {"name": name, "mimeType": "image/png", "buffer": samples.draw(number)}


def _keep(page, path: Path) -> None:
    """Write what the page shows, cut below, in 128 colours: enough for text and cells."""
    page.mouse.move(0, 0)
    page.evaluate("() => scrollTo(0, 0)")
    page.wait_for_function(_LOADED)
    shown = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    box = page.locator("main").bounding_box()
    cut = shown.crop((0, 0, WIDTH, min(round(box["y"] + box["height"]), HEIGHT)))
    cut.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
