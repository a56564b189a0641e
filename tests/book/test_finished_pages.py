"""The finished pages: light, with names and descriptions; a published and a placeholder address."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from helpers.course import book, pages, repository, weight
from tests.conftest import ROOT, course


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path):
    """A book of two pages, as Sphinx would leave it."""
    from PIL import Image

    write(tmp_path, "_static/basic.css", ".base { color: red }")
    write(tmp_path, "_static/a.css", '@import "basic.css"; .used, .not-there { top: 0 } @media '
          "print { .gone { left: 0 } .used:not(.gone) { left: 1px } }")  # fmt: skip
    write(tmp_path, "_static/a.js", "const a = 1\n//# sourceMappingURL=a.js.map")
    write(tmp_path, "_static/documentation_options.js", "const OPTIONS = 1")
    (tmp_path / "_images").mkdir()
    Image.new("RGB", (900, 300), "white").save(tmp_path / "_images" / "figure.png")
    up = '<link rel="stylesheet" type="text/css" href="{0}_static/a.css?v=1" />'
    up += '<script src="{0}_static/documentation_options.js?v=2"></script>'
    up += '<script src="{0}_static/a.js?v=2"></script>'
    figure = '<img alt="A > b." src="../_images/figure.png" />'.replace(">", "&gt;", 1)
    body = f'<article class="used base"><h1>One</h1>{figure}{figure}<th></th></article>'
    head = "<html><head><title>One</title>"
    write(tmp_path, "book/one.html", f"{head}{up.format('../')}</head>{body}")
    write(tmp_path, "404.html", f"{head}{up.format('')}</head><article>Lost</article>")
    return tmp_path


def test_a_page_loads_one_style_sheet_and_one_script(small):
    pages.finish(small)
    text = (small / "book" / "one.html").read_text()
    assert re.findall(r'href="([^"?]+)\?', text) == ["../_static/book.css"]
    assert re.findall(r'<script defer src="([^"?]+)\?', text) == ["../_static/book.js"]
    assert "const OPTIONS = 1" in text
    sheet = (small / "_static" / "book.css").read_text()
    assert ".base { color: red }" in sheet
    assert ".used{ top: 0 }" in sheet
    assert "not-there" not in sheet
    assert ".used:not(.gone)" in sheet
    assert "sourceMappingURL" not in (small / "_static" / "book.js").read_text()


def test_figures_are_webp_with_size_and_all_but_the_first_wait(small):
    pages.finish(small)
    text = (small / "book" / "one.html").read_text()
    images = re.findall(r"<img[^>]*>", text)
    assert all('width="900" height="300"' in i and "figure.webp" in i for i in images), images
    assert ["lazy" in image for image in images] == [False, True]
    assert text.count('<a class="enlarge" href="../_images/figure.webp">') == 2
    assert not list(small.rglob("*.png"))
    assert "<th></th>" not in text


def test_row_numbers_that_tell_nothing_are_not_shown():
    table = pd.DataFrame({"image": ["a", "b"], "at 5 %": [1, 2]})

    def shown(table):
        html = table.to_html().replace("<th></th>", "<td></td>")  # as `finish` leaves it
        return pages._TABLE.sub(pages._table, html)

    text = shown(table)
    assert re.findall(r"<th>(.*?)</th>", text) == ["image", "at 5\u00a0%", "a", "b"]
    assert "<td></td>" not in text
    assert re.findall(r"<td>(.*?)</td>", shown(table[["at 5 %"]])) == ["1", "2"]
    for kept in (table.rename_axis("run"), table.set_index("image"), table[1:], table.T):
        assert f"<th>{kept.index[0]}</th>" in shown(kept)


def test_outputs_keep_numbers_and_units_together(small):
    page = small / "book" / "one.html"
    output = '<div class="output stream highlight"><div><pre>5 % of 20 px, 3 people</pre></div>'
    page.write_text(page.read_text().replace("<h1>", f"{output}<pre>x = 5 % 2</pre><h1>"))
    pages.finish(small)
    assert "5\u00a0% of 20\u00a0px, 3 people" in page.read_text()
    assert "x = 5 % 2" in page.read_text()


def test_a_published_book_has_a_sitemap_and_its_lost_page_finds_home(small):
    pages.finish(small, "https://o.github.io/r/")
    assert "<loc>https://o.github.io/r/book/one.html</loc>" in (small / "sitemap.xml").read_text()
    assert '<base href="https://o.github.io/r/">' in (small / "404.html").read_text()


def test_without_an_address_nothing_needs_one(small):
    pages.finish(small)
    assert not (small / "sitemap.xml").exists()
    assert "<base" not in (small / "404.html").read_text()


def test_buttons_and_canonical_address_come_with_the_address():
    import yaml

    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    text = text.replace(repository.url(ROOT), repository.PLACEHOLDER)
    before = yaml.safe_load(book._staged_config(text))["html"]
    assert "baseurl" not in before
    assert not [key for key in before if key.startswith("use_")]
    given = text.replace(repository.PLACEHOLDER, "https://github.com/Owner/name")
    after = yaml.safe_load(book._staged_config(given))["html"]
    assert after["baseurl"] == "https://owner.github.io/name/"
    assert after["use_issues_button"]
    assert after["use_edit_page_button"]


def test_the_page_on_citing_names_the_version_of_the_citation_file():
    version = re.search(r"(?m)^version: (\S+)", (ROOT / "CITATION.cff").read_text())[1]
    assert f"{{{version}}}" in (ROOT / "book" / "citing.md").read_text()
    assert f"## {version}" in (ROOT / "book" / "changelog.md").read_text()
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()


def test_selectors_in_brackets_do_not_count():
    assert weight._used(".a:is(.b, .c) { top: 0 }", {"a"}) == ".a:is(.b, .c) { top: 0 }"
    assert weight._used(".a, .d { top: 0 }.d{}", {"a"}) == ".a{ top: 0 }"


@pytest.mark.slow
@pytest.mark.browser
class TestBuilt:
    def test_a_page_without_figures_is_light(self, chromium, site):
        page = chromium.new_page()
        loaded = []
        page.on("response", lambda response: loaded.append(len(response.body())))
        page.goto(f"{site}/book/glossary.html", wait_until="networkidle")
        page.close()
        assert len(loaded) <= 12
        assert sum(loaded) < 700_000

    def test_every_page_says_what_it_is_about(self, smoke_book, pages):
        for name in pages:
            text = (smoke_book / name).read_text(encoding="utf-8")
            assert '<meta property="og:title"' in text, name
            if name.startswith("notebooks/"):
                assert '<meta name="description"' in text, name
                assert "Skip to the exercises" in text, name

    def test_no_page_shows_what_is_for_authors(self, smoke_book, chapters):
        for name in chapters:
            text = (smoke_book / name).read_text(encoding="utf-8")
            for words in ("not answered yet", "# noqa", "# fmt:", "<td>NaN</td>", "p = 0.0000"):
                assert words not in text, f"{name}: {words}"
            assert "<th></th>" not in text, name
            assert not re.search(r"[\s>(\[]-0\.0+(?!\d)", text), f"{name}: a zero with a minus"

    def test_no_line_ends_between_a_number_and_its_unit(self, smoke_book):
        text = (smoke_book / "book" / "intro.html").read_text(encoding="utf-8")
        article = text.partition("<article")[2].partition("</article>")[0]
        assert re.findall(r"\d\u00a0%", article)
        assert not re.findall(r"\d %", article)

    def test_search_finds_both_chapters_on_fine_tuning(self, open_page):
        watched = open_page("search.html?q=fine-tuning")
        watched.page.locator("ul.search li a").first.wait_for(timeout=30_000)
        found = " ".join(watched.page.locator("ul.search li a").all_inner_texts())
        assert "07 " in found
        assert "08 " in found

    def test_a_tap_enlarges_a_figure_on_a_telephone(self, open_page, chapters):
        page = open_page(chapters[0], width=390, height=844).page
        figure = page.locator("a.enlarge > img").first
        figure.scroll_into_view_if_needed()
        assert figure.bounding_box()["width"] <= 390
        figure.click()
        assert pages.WIDE < figure.bounding_box()["width"] <= 800
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

    def test_a_wide_table_says_so_and_keeps_what_names_its_rows(self, open_page, chapters):
        page = open_page(chapters[0], width=390, height=844).page
        wide = """() => [...document.querySelectorAll('article .text_html')]
            .filter(box => box.scrollWidth > box.clientWidth + 2)"""
        assert page.evaluate(f"() => ({wide})().length")
        page.wait_for_function(f"() => ({wide})().every(b => b.classList.contains('more'))")
        first = f"({wide})()[0].querySelector('tbody th, tbody td').getBoundingClientRect().x"
        before = page.evaluate(f"() => {first}")
        page.evaluate(f"() => {{ ({wide})()[0].scrollLeft = 9999; }}")
        page.wait_for_function(f"() => !({wide})()[0].classList.contains('more')")
        assert abs(page.evaluate(f"() => {first}") - before) < 2

    def test_print_from_the_dark_is_dark_on_white(self, open_page, chapters):
        page = open_page(chapters[0], scheme="dark").page
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"

    def test_a_closed_fold_takes_no_paper(self, open_page, chapters):
        page = open_page(chapters[0]).page
        page.emulate_media(media="print")
        assert not page.locator(".tag_solution summary").first.is_visible()

    def test_a_chapter_becomes_a_pdf_that_its_page_offers(self, smoke_build, tmp_path, chapters):
        import shutil

        shutil.copytree(smoke_build / "html", tmp_path / "html")
        name = chapters[0].removeprefix("notebooks/").removesuffix(".html")
        file = tmp_path / "html" / "pdf" / f"{name}.pdf"
        pages_of = {}
        for words in ((), ("--solutions",)):
            done = course("pdf", "--only", name, *words, build=tmp_path)
            assert done.returncode == 0, done.stderr
            printed = file.read_bytes()
            assert printed.startswith(b"%PDF")
            assert b"file:///" not in printed
            pages_of[words] = len(re.findall(rb"/Type\s*/Page\b", printed))
        assert pages_of[("--solutions",)] > pages_of[()] > 2
        text = (tmp_path / "html" / chapters[0]).read_text(encoding="utf-8")
        assert f'href="../pdf/{name}.pdf"' in text
        assert not (tmp_path / "html" / "notebooks" / ".print.html").exists()
