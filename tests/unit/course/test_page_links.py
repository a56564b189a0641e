"""Published chapters carry their numbers, and lead to the chapters and terms that they name."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.slow
GLOSSARY = """# Glossary

```{glossary}
blast
  An immature blood cell.

generator
  The part of a GAN that draws.

kernel
  The weights of a convolution.

MM
  Multiple myeloma.
```
"""
FIRST = """# One network

A blast is immature. Blasts grow. See chapter 07, chapters 07 and 09, and chapter 05.

The kernel of the matter is 5 mm long, MM is not. A `blast` in code. A *kernel* is small.
NumPy has a random generator.
"""
TWO = """# Two

See chapters 07 (this) and 05: its blast, its blast.

| what | where |
| --- | --- |
| kernel | chapter 05 |
"""


def build(root, **pages: str) -> str:
    """Build a small book in `root` and return its warnings."""
    application = pytest.importorskip("sphinx.application")
    from sphinx.util.docutils import docutils_namespace

    config = "extensions = ['myst_parser', 'helpers.course.links']\nhtml_theme = 'basic'\n"
    for name, text in {**pages, "conf.py": config + pages.get("conf.py", "")}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    with (root / "warnings.txt").open("w+") as warnings, docutils_namespace():
        folders = (root, root, root / "html", root / "trees")
        application.Sphinx(*folders, "html", status=None, warning=warnings).build()
        warnings.seek(0)
        return warnings.read()


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The pages of a small book: their article as HTML, by name."""
    root = tmp_path_factory.mktemp("book")
    pages = {
        "index.md": "# Book\n\n```{toctree}\nglossary\nnotebooks/05_one\nnotebooks/07_two\n```\n",
        "glossary.md": GLOSSARY,
        "notebooks/05_one.md": FIRST,
        "notebooks/07_two.md": TWO,
    }
    assert build(root, **pages) == ""
    return {p.stem: p.read_text(encoding="utf-8") for p in (root / "html").rglob("*.html")}


def test_links_to_what_the_book_does_not_hold_become_text_and_others_stay_faults(tmp_path):
    text = (
        "# One\n\n[](03_gone.ipynb), [the third](03_gone.ipynb#part), [](../book/other.md), "
        "[](09_never.ipynb), {term}`blast`, [](../book/typo.md), [](05_typo.ipynb).\n"
    )
    pages = {
        "conf.py": "absent_pages = {'notebooks/03_gone': 'Gone', 'book/other': 'Other'}\n",
        "index.md": "# Book\n\n```{toctree}\nnotebooks/05_one\n```\n",
        "notebooks/05_one.md": text,
    }
    told = build(tmp_path, **pages)
    assert told.count("WARNING") == 2
    assert "typo.md" in told
    assert "05_typo" in told
    page = (tmp_path / "html/notebooks/05_one.html").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", "", page)
    assert "Gone, the third, Other, chapter 09, blast, " in plain
    assert [target for target, _ in links(page) if "typo" not in target] == []


def links(page: str) -> list[tuple[str, str]]:
    """Return where a page's own links lead, and what they say."""
    body = page[page.index('<div class="body"') : page.index('<div class="clearer"')]
    found = re.findall(r'<a class="reference internal" href="([^"]+)"[^>]*>(.*?)</a>', body)
    return [(target, re.sub(r"<[^>]+>", "", text)) for target, text in found]


def test_a_title_has_its_number_also_where_other_pages_list_it(html):
    plain = {name: re.sub(r"<[^>]+>", "", page) for name, page in html.items()}
    assert "05 One network" in plain["05_one"]
    assert "05 One network" in plain["index"]
    assert "07 Two" in plain["index"]


def test_cited_chapters_and_the_first_use_of_a_term_are_links(html):
    assert links(html["05_one"]) == [
        ("../glossary.html#term-blast", "blast"),
        ("07_two.html", "chapter 07"),
        ("07_two.html", "chapters 07"),
        ("../glossary.html#term-MM", "MM"),
        ("../glossary.html#term-kernel", "kernel"),
    ]
    assert [text for _, text in links(html["07_two"])] == ["05", "blast", "chapter 05"]
    assert links(html["glossary"]) == []
