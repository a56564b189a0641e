"""What the book's HTML says, read without a browser: links, anchors, figures, other hosts."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

pytestmark = pytest.mark.slow

# Attributes by which a page loads something by itself; a plain <a href> does not.
LOADS = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "link": ("href",),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
}
# Links of these kinds name a page and load nothing.
NAMES_ONLY = {"canonical", "next", "prev", "search", "index", "author", "top", "up"}


class Page(HTMLParser):
    """Ids, links, loaded files and images of one page."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict] = []
        self.text: list[str] = []
        self._skip = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self._skip += tag in ("script", "style")
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "name" in values:
            self.ids.add(values["name"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img":
            self.images.append(values)
        if tag == "link" and set(values.get("rel", "").split()) & NAMES_ONLY:
            return
        self.loads += [values[name] for name in LOADS.get(tag, ()) if values.get(name)]

    def handle_endtag(self, tag):
        self._skip -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._skip:
            self.text.append(data)


@pytest.fixture(scope="module")
def parsed(smoke_book, pages) -> dict[str, Page]:
    return {name: Page((smoke_book / name).read_text(encoding="utf-8")) for name in pages}


def is_external(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.scheme or parts.netloc)


def test_every_page_of_the_contents_is_there(pages, course_root):
    from helpers.course.project import toc_files

    expected = {f"{name}.html" for name in toc_files(course_root / "_toc.yml")}
    assert expected <= set(pages)


def test_internal_links_and_anchors_resolve(parsed, smoke_book):
    dead = defaultdict(set)
    for name, page in parsed.items():
        for link in page.links:
            if is_external(link):
                continue
            address, anchor = urldefrag(urljoin(f"/{name}", link))
            target = unquote(address).lstrip("/") or name
            lost = anchor and target in parsed and unquote(anchor) not in parsed[target].ids
            if lost or not (smoke_book / target).is_file():
                dead[name].add(link)
    assert not dead, dict(dead)


def test_nothing_is_loaded_from_another_host(parsed):
    foreign = {
        name: [load for load in page.loads if is_external(load) and not load.startswith("data:")]
        for name, page in parsed.items()
    }
    assert not {name: loads for name, loads in foreign.items() if loads}


def test_style_sheets_load_nothing_from_another_host(smoke_book):
    for path in (smoke_book / "_static").rglob("*.css"):
        text = path.read_text(encoding="utf-8", errors="replace")
        found = re.findall(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""", text)
        assert not found, f"{path.name} loads {found[:3]}"


def test_loaded_files_are_there(parsed, smoke_book):
    missing = set()
    for name, page in parsed.items():
        for load in page.loads:
            if not is_external(load):
                target = unquote(urlsplit(urljoin(f"/{name}", load)).path).lstrip("/")
                if not (smoke_book / target).is_file():
                    missing.add((name, load))
    assert not missing


def test_external_links_are_plain_and_safe(parsed):
    schemes = {
        urlsplit(link).scheme
        for page in parsed.values()
        for link in page.links
        if is_external(link)
    }
    assert schemes <= {"https", "http", "mailto"}


def test_every_image_has_alt_text(parsed):
    bare = [
        (name, image.get("src"))
        for name, page in parsed.items()
        for image in page.images
        if not image.get("alt", "").strip()
    ]
    assert not bare


def test_chapters_show_figures_a_banner_and_folded_solutions(parsed, chapters, smoke_book):
    assert chapters
    for name in chapters:
        text = (smoke_book / name).read_text(encoding="utf-8")
        assert "run-banner" in text, f"{name} does not say what it was run on"
        assert any("_images" in image["src"] for image in parsed[name].images), f"{name}: no figure"
        assert text.count("tag_solution") >= 3
        # Folded: the cell lies in a <details> that is not open.
        assert "<details open" not in text


def test_no_page_names_a_folder_of_this_machine(parsed, smoke_book, course_root):
    places = {str(course_root), str(smoke_book.parent), str(Path.home())} - {"/"}
    for name, page in parsed.items():
        text = "".join(page.text)
        found = [place for place in places if place in text]
        assert not found, f"{name} shows {found}"


def test_no_page_shows_warnings_or_addresses_in_memory(parsed):
    for name, page in parsed.items():
        text = "".join(page.text)
        found = re.findall(
            r"(?:WARNING|Warning):.{0,80}|Traceback \(.{0,40}|at 0x[0-9a-f]{6,}", text
        )
        assert not found, f"{name}: {found[:3]}"


def test_placeholder_address_is_no_link(parsed, course_root):
    """Until the repository has an address, no button and no link leads to it."""
    from helpers.course import repository

    address = repository.url(course_root)
    links = {link for page in parsed.values() for link in page.links}
    if address == repository.PLACEHOLDER:
        assert not [link for link in links if "OWNER/REPOSITORY" in link]
    else:
        assert [link for link in links if link.startswith("https://colab.research.google.com/")]


def test_glossary_explains_the_words_that_the_other_pages_point_at(parsed):
    words = {i for i in parsed["book/glossary.html"].ids if i.startswith("term-")}
    assert len(words) > 60
    for word in ("accuracy", "chromatin", "calibration", "leakage", "subject", "Giemsa"):
        assert f"term-{word}" in words


def test_search_index_holds_the_chapters(smoke_book):
    text = (smoke_book / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert {"book/glossary", "book/intro"} <= set(index["docnames"])
    assert "chromatin" in index["terms"]


def test_github_pages_serves_the_folders_that_begin_with_an_underscore(smoke_book):
    assert (smoke_book / ".nojekyll").is_file()
