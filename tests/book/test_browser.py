"""The book as a reader meets it, in Chromium: loads, reads, searches, folds, prints."""

from __future__ import annotations

import re

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PHONE = {"width": 390, "height": 844}

# Figures that are laid out and loaded; a picture that failed has no natural width.
FIGURES = """() => [...document.querySelectorAll('article img')].map(image => ({
    src: image.getAttribute('src'), alt: image.alt, natural: image.naturalWidth,
    shown: image.checkVisibility() ? image.getBoundingClientRect().width : null}))"""

# Figures further down are loaded when the reader comes near; one that is damaged throws.
LOAD_ALL = """() => Promise.all([...document.querySelectorAll('article img')].map(image => {
    image.loading = 'eager'; return image.decode(); }))"""

OPEN_ALL = "() => document.querySelectorAll('details').forEach(d => d.open = true)"

# Tables and texts that are wider than their box: one must scroll sideways to read them.
CUT = """() => [...document.querySelectorAll('article table, article pre')]
    .filter(e => e.checkVisibility()).filter(element => {
        for (let e = element; e.tagName != 'ARTICLE'; e = e.parentElement) {
            const scrolls = ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
            if (scrolls && e.scrollWidth > e.clientWidth + 1) return true;
        }
        return false;
    }).map(e => e.innerText.slice(0, 80))"""

# Headings whose words end well above their box.
GAPS = """() => [...document.querySelectorAll('article :is(h1, h2, h3) > a.headerlink')]
    .filter(link => {
        const words = document.createRange();
        words.setStart(link.parentElement, 0);
        words.setEndBefore(link);
        const ends = [...words.getClientRects()].map(line => line.bottom);
        return link.parentElement.getBoundingClientRect().bottom - Math.max(...ends) > 14;
    }).map(link => link.parentElement.innerText)"""

# Lowest contrast between text and what lies behind it, by the WCAG formula.
CONTRAST = """selector => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = rgba(getComputedStyle(e).backgroundColor);
            if (colour[3] > 250) return colour;
        }
        return [255, 255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll(selector)) {
        const own = [...element.childNodes].some(n => n.nodeType == 3 && n.data.trim());
        if (!own || !element.checkVisibility()) continue;
        const pair = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
        const name = element.tagName + '.' + element.className;
        found.push([ratio, name, element.textContent.slice(0, 40)]);
    }
    return found.sort((a, b) => a[0] - b[0]).slice(0, 3);
}"""


def test_every_page_loads_without_a_fault_and_shows_its_figures(open_page, pages, site):
    watched = open_page(pages[0])
    for name in pages:
        watched.page.goto(f"{site}/{name}", wait_until="load")
        watched.page.evaluate("() => document.fonts.ready")
        watched.page.evaluate(LOAD_ALL)
        for figure in watched.page.evaluate(FIGURES):
            assert figure["natural"] > 0, f"{name}: {figure}"
            assert figure["shown"] is None or figure["shown"] > 20, f"{name}: {figure}"
            assert figure["alt"].strip(), f"{name}: {figure}"
        assert not watched.faults, f"{name}: {watched.faults}"


def test_pages_read_from_the_disk_as_well(chromium, smoke_book, pages):
    page = chromium.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append((request.url, request.failure)))
    for name in pages:
        page.goto((smoke_book / name).as_uri(), wait_until="load")
        assert page.locator("h1:visible").count(), name
    page.close()
    # Aborted: the test went on to the next page before an icon was there.
    assert [fault for fault in faults if "net::ERR_ABORTED" not in fault] == []


def test_first_page_is_the_introduction(open_page):
    watched = open_page("index.html")
    watched.page.wait_for_url(re.compile(r"book/intro\.html"))
    assert "White-Blood-Cell" in watched.page.locator("h1").first.inner_text()


def test_search_finds_chromatin(open_page):
    watched = open_page("search.html?q=chromatin")
    watched.page.locator("ul.search li a").first.wait_for(timeout=15_000)
    found = watched.page.locator("ul.search li a").all_inner_texts()
    assert any("Glossary" in text for text in found)
    assert not watched.faults


def test_search_field_leads_to_the_results(open_page):
    page = open_page("book/intro.html").page
    page.keyboard.press("Control+K")
    field = page.locator("input[name=q]:visible").first
    field.fill("chromatin")
    field.press("Enter")
    page.wait_for_url(re.compile(r"search\.html\?q=chromatin"))


def test_hidden_solutions_open_on_click(open_page, chapters):
    for name in chapters:
        page = open_page(name).page
        solutions = page.locator(".cell.tag_solution")
        assert solutions.count() >= 3, name
        for index in range(solutions.count()):
            code = solutions.nth(index).locator("pre").first
            assert not code.is_visible(), f"{name}: solution {index} is not folded"
            solutions.nth(index).locator("summary").click()
            assert code.is_visible(), f"{name}: solution {index} does not open"


#: Words of tables that stand on two lines, though they have at most 17 letters.
BROKEN_WORDS = """() => [...document.querySelectorAll("article .cell_output :is(td, th)")]
    .flatMap(cell => {
        const found = [], range = document.createRange();
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        while (texts.nextNode())
            for (const word of texts.currentNode.data.matchAll(/[^\\s-]+/g)) {
                if (word[0].length > 17) continue;
                range.setStart(texts.currentNode, word.index);
                range.setEnd(texts.currentNode, word.index + word[0].length);
                const lines = [...range.getClientRects()].map(line => Math.round(line.top));
                if (new Set(lines).size > 1) found.push(word[0]);
            }
        return found;
    })"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(open_page, pages, site, scheme):
    watched = open_page(pages[0], **PHONE, scheme=scheme)
    for name in pages:
        watched.page.goto(f"{site}/{name}", wait_until="load")
        watched.page.evaluate(OPEN_ALL)
        wide = watched.page.evaluate(
            """() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll('article *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .slice(0, 4).map(e => e.outerHTML.slice(0, 120))"""
        )
        width = watched.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{name} is {width} wide: {wide}"
        for figure in watched.page.evaluate(FIGURES):
            assert (figure["shown"] or 0) <= PHONE["width"], f"{name}: {figure}"
        assert not watched.page.evaluate(BROKEN_WORDS), name


def test_nothing_is_cut_on_a_laptop(open_page, pages, site):
    """At 1280 pixels no table hides its last column, and no line of text or code its end."""
    page = open_page(pages[0]).page
    for name in pages:
        page.goto(f"{site}/{name}", wait_until="load")
        page.evaluate(OPEN_ALL)
        assert page.evaluate(CUT) == [], name
        assert page.evaluate(GAPS) == [], f"{name}: the sign of a link has a line of its own"


def test_dark_mode_is_one_click_away(open_page):
    page = open_page("book/intro.html").page
    ground = "() => getComputedStyle(document.body).backgroundColor"
    seen = {page.evaluate(ground)}
    for _ in range(3):
        page.locator("button.theme-switch-button:visible").first.click()
        seen.add(page.evaluate(ground))
    assert len(seen) == 2, "light and dark"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_code_stand_out_from_their_ground(open_page, chapters, scheme):
    # The last chapter shows cards: tables and code that no data frame wraps.
    for name in ("book/intro.html", "book/glossary.html", *chapters[:2], chapters[-1]):
        page = open_page(name, scheme=scheme).page
        page.evaluate(OPEN_ALL)
        lowest = page.evaluate(
            CONTRAST,
            "article p, article li, article td, article th, article h1, article h2, article h3, "
            "article a:not(.headerlink), article pre, article pre span, article code, "
            "article figcaption span, article dt, nav.bd-links a",
        )
        assert lowest
        assert lowest[0][0] >= 4.5, f"{name}, {scheme}: {lowest}"


def test_page_prints_without_its_frame(open_page, chapters):
    page = open_page(chapters[-1]).page
    page.emulate_media(media="print")
    for frame in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer", ".copybtn"):
        assert not page.locator(frame).first.is_visible(), f"{frame} is printed"
    assert page.locator("h1:visible").count() >= 1
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 2
