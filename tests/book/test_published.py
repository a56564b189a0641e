"""A small book with the course's own settings, before and after its repository has an address."""

from __future__ import annotations

import re
import shutil

import pytest

from helpers.course import repository
from tests import minicourse
from tests.conftest import ROOT, course

pytestmark = pytest.mark.slow

ADDRESS = "https://github.com/Somebody/leukaemia"
PLACE = "https://somebody.github.io/leukaemia/"


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """Folders of the HTML: without an address, and with one."""
    root = minicourse.make(tmp_path_factory.mktemp("published") / "course")
    for name in ("_config.yml", "pyproject.toml", "book/references.bib"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "book" / "_static", root / "book" / "_static")
    folders = {}
    for name, address in {"before": repository.PLACEHOLDER, "after": ADDRESS}.items():
        repository.set_repository(address, root)
        done = course("book", "--profile", "smoke", build=root / "_build", root=root)
        assert done.returncode == 0, done.stdout + done.stderr
        folders[name] = shutil.copytree(root / "_build" / "html", root.parent / name)
    return folders


def chapter(folder):
    return (folder / "notebooks" / "01_lines.html").read_text(encoding="utf-8")


def test_nothing_leads_to_a_placeholder(books):
    for page in books["before"].rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for words in ("OWNER/REPOSITORY", 'rel="canonical"', "og:url", "og:image", "github.com/",
                      "colab.research", "dropdown-launch", "dropdown-source"):  # fmt: skip
            assert words not in text, f"{page.name}: {words}"
    assert not (books["before"] / "sitemap.xml").exists()


def test_an_address_brings_the_buttons(books):
    links = set(re.findall(r'href="([^"]+)"', chapter(books["after"])))
    file = "main/notebooks/01_lines.ipynb"
    assert ADDRESS in links
    assert f"{ADDRESS}/edit/{file}" in links
    assert any(link.startswith(f"{ADDRESS}/issues/new") for link in links)
    colab = ADDRESS.replace("https://github.com", "https://colab.research.google.com/github")
    assert f"{colab}/blob/{file}" in links


def test_an_address_makes_pages_found_and_shared(books):
    text = chapter(books["after"])
    page = f"{PLACE}notebooks/01_lines.html"
    assert f'<link rel="canonical" href="{page}"' in text
    assert f'<meta property="og:url" content="{page}">' in text
    assert f'<meta property="og:image" content="{PLACE}_static/cover.png">' in text
    assert (books["after"] / "_static" / "cover.png").is_file()
    sitemap = (books["after"] / "sitemap.xml").read_text(encoding="utf-8")
    assert f"<loc>{page}</loc>" in sitemap
    assert f"<loc>{PLACE}book/intro.html</loc>" in sitemap
    assert "404" not in sitemap


def test_the_menu_offers_the_chapter_with_and_without_its_outputs(books):
    text = chapter(books["before"])
    folder = books["before"] / "_sources" / "notebooks"
    assert 'href="../_sources/notebooks/01_lines.exercise.ipynb"' in text
    assert 'href="../_sources/notebooks/01_lines.ipynb"' in text
    assert '"image/png"' in (folder / "01_lines.ipynb").read_text(encoding="utf-8")
    exercise = (folder / "01_lines.exercise.ipynb").read_text(encoding="utf-8")
    assert "image/png" not in exercise
    assert "Run on drawn cells" not in exercise
    assert "PROFILE" in exercise


@pytest.mark.browser
def test_make_pdf_prints_each_chapter_and_the_book(books, chromium):
    root = books["before"].parent / "course"
    done = course("pdf", build=root / "_build", root=root)
    assert done.returncode == 0, done.stderr
    html = root / "_build" / "html"
    paper = (html / "pdf" / "book.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 4  # each page begins on its own
    assert set(re.findall(rb"/MediaBox \[0 0 (\d+)[.\d]* (\d+)", paper)) == {(b"594", b"841")}
    menu = re.findall(r'href="../pdf/([^"]+)"', chapter(html))
    assert menu == ["01_lines.pdf", "book.pdf"]
    assert (html / "pdf" / "02_files.pdf").is_file()
