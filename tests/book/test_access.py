"""Pages for everybody: screen readers, keyboard, fingers on a telephone."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Opened folds fade in: their colours are those of the end.
OPEN_ALL = """() => {
    document.querySelectorAll('details').forEach(d => d.open = true);
    document.getAnimations().forEach(a => a.finish()); }"""

# Contrast is slow to compute and does not depend on the width: it is asked for once a scheme.
AXE = """contrast => axe.run(document, {
    resultTypes: ['violations'], rules: {'color-contrast': {enabled: contrast}},
    runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
                                    'best-practice', 'experimental']}})"""

# Controls smaller than a finger; a link inside a sentence is as high as its line.
SMALL = """() => [...document.querySelectorAll(
        'a[href], button, summary, input:not([type=hidden]), [tabindex="0"]')]
    .filter(e => e.checkVisibility({visibilityProperty: true}))
    .filter(e => !(getComputedStyle(e).display == 'inline' && e.closest('p, td, th, dd, li')))
    .map(e => [e, (e.closest('label') ?? e).getBoundingClientRect()])
    .filter(([e, box]) => box.width && (box.width < 24 || box.height < 24))
    .map(([e, box]) => [e.outerHTML.slice(0, 120), box.width, box.height])"""

# What the keyboard is on, and whether one sees it: an outline, in a colour of its own.
FOCUS = """() => {
    const element = document.activeElement, style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    return {name: element === document.body ? '' : element.outerHTML.slice(0, 160),
            seen: style.outlineStyle != 'none' && parseFloat(style.outlineWidth) >= 2
                  && box.width > 5 && box.height > 5};
}"""


@pytest.fixture(scope="module")
def kinds(chapters) -> list[str]:
    """One page of each kind."""
    plain = [f"book/{name}.html" for name in ("intro", "references", "instructor", "citing")]
    return [*plain, chapters[0], "search.html?q=chromatin", "404.html"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_above_minor(open_page, kinds, axe, width, scheme):
    for name in kinds:
        page = open_page(name, width=width, scheme=scheme).page
        if name.startswith("search"):
            page.locator("ul.search li a").first.wait_for(timeout=30_000)
        page.evaluate(axe)
        folds = page.locator("article details").count()
        for opened in {False, bool(folds)}:
            if opened:
                page.evaluate(OPEN_ALL)
            contrast = width == 1280 and opened == bool(folds)
            faults = [
                (fault["id"], fault["impact"], fault["nodes"][0]["html"][:160])
                for fault in page.evaluate(AXE, contrast)["violations"]
                if fault["impact"] != "minor"
            ]
            assert not faults, f"{name}, folds {'open' if opened else 'closed'}"
        page.close()


@pytest.mark.parametrize("which", ["primary", "secondary"])
def test_the_contents_open_on_a_telephone(open_page, chapters, which):
    page = open_page(chapters[0], width=390, height=844).page
    page.locator(f".{which}-toggle:visible").click()
    contents = page.locator(f"#pst-{which}-sidebar-modal")
    contents.get_by_role("link").last.wait_for()
    assert contents.get_by_role("link").count() > 5
    page.keyboard.press("Escape")
    contents.get_by_role("link").last.wait_for(state="hidden")


def test_a_finger_hits_every_control(open_page, kinds):
    for name in kinds:
        page = open_page(name, width=390, height=844).page
        assert page.evaluate(SMALL) == [], name
        page.evaluate(OPEN_ALL)
        page.locator(".primary-toggle:visible").click()
        page.locator("#pst-primary-sidebar-modal a").last.wait_for()
        assert page.evaluate(SMALL) == [], f"{name}, with the contents open"
        page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_one_sees_what_the_keyboard_is_on(open_page, kinds, width):
    for name in kinds:
        page = open_page(name, width=width).page
        reached = []
        while True:
            page.keyboard.press("Tab")
            focus = page.evaluate(FOCUS)
            if not focus["name"] or len(reached) > 400:
                break
            reached.append(focus["name"])
            assert focus["seen"], f"{name}: {focus['name']}"
        assert len(reached) > 5, f"{name}: {reached}"
        if width == 1280:
            assert any("theme-switch" in control for control in reached), "the toolbar"
        page.close()


def test_the_second_link_leads_to_the_exercises(open_page, chapters):
    page = open_page(chapters[0]).page
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    link = page.locator(":focus")
    assert link.inner_text() == "Skip to the exercises"
    assert link.bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    page.wait_for_function("() => scrollY > 500")
    assert page.locator("#exercises h2").bounding_box()["y"] < 200


def test_who_asked_for_less_motion_sees_none(open_page, chapters):
    moving = open_page(chapters[0]).page.evaluate("""() => [...document.querySelectorAll("*")]
        .filter(part => [getComputedStyle(part), getComputedStyle(part, "::before")]
            .some(style => [style.transitionDuration, style.animationDuration]
                .some(times => times.split(",").some(time => parseFloat(time) > 0))))
        .map(part => part.className)""")
    assert not moving
