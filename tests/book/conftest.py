"""The built smoke book behind a local server, and pages of it that remember their faults."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import pytest

from tests.watched import Watched


def pages_of(book: Path) -> list[str]:
    """Return the book's pages, relative to its folder, without the index that leads on."""
    return sorted(
        path.relative_to(book).as_posix()
        for path in book.rglob("*.html")
        if "_static" not in path.relative_to(book).parts and path.name != "index.html"
    )


@pytest.fixture(scope="session")
def pages(smoke_book) -> list[str]:
    return pages_of(smoke_book)


@pytest.fixture(scope="session")
def chapters(pages) -> list[str]:
    return [page for page in pages if page.startswith("notebooks/")]


@pytest.fixture(scope="session")
def site(smoke_book):
    """Address of the book on this machine, without a slash at its end."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    handler = functools.partial(Quiet, directory=str(smoke_book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def open_page(chromium, site):
    """Open a page by its name in a fresh, watched tab; ``open_page("index.html", width=390)``."""
    contexts = []

    def opened(
        name: str, *, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> Watched:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",  # nothing is measured while it still moves
        )
        contexts.append(context)
        watched = Watched(context.new_page(), site)
        watched.page.goto(f"{site}/{name}", wait_until="load")
        return watched

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which tests a page for people who use assistive technology."""
    package = pytest.importorskip("axe_playwright_python")
    from importlib.resources import files

    return (files(package) / "axe.min.js").read_text(encoding="utf-8")
