"""The app as a person meets it, in Chromium: upload, verify, come back, filter, export."""

from __future__ import annotations

import re
import zipfile

import pytest

from helpers import datasets
from helpers.app import samples
from tests.app.conftest import running
from tests.watched import Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDE, PHONE = (1280, 900), (390, 844)
HOSTILE = "<img src=x onerror=document.title=1>.png"
PAGES = ("/", "/?cells={}", "/history", "/cell/{}", "/models", "/api", "/nothing")
LOADED = "image => image.complete && image.naturalWidth"
OPEN_ALL = "() => document.querySelectorAll('details').forEach(d => d.open = true)"
WIDTH = "() => document.documentElement.scrollWidth"
# Files that come by drag and drop or from the clipboard.
TRANSFER = """async ([kind, files]) => {
    const given = new DataTransfer();
    for (const [name, bytes] of files)
        given.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
    const event = kind == "drop" ? new DragEvent("drop", {dataTransfer: given, bubbles: true})
        : new ClipboardEvent("paste", {clipboardData: given, bubbles: true});
    document.querySelector("#upload, body").dispatchEvent(event);
}"""


@pytest.fixture
def visit(chromium, app):
    """Open the app in a fresh, watched tab."""
    contexts = []

    def visited(path="/", size=WIDE, scheme="light", **options) -> Watched:
        view = {"width": size[0], "height": size[1]}
        context = chromium.new_context(viewport=view, color_scheme=scheme, **options)
        contexts.append(context)
        watched = Watched(context.new_page(), app.url)
        watched.page.goto(app.url + path, wait_until="load")
        return watched

    yield visited
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def axe():
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe()


@pytest.fixture(scope="module")
def some(app) -> str:
    """Ids of a cell, a blurred one and those of a field; the first is verified."""
    with app.client(9) as client:
        found = []
        for number in (0, 4, 5):
            [answer] = client.post("/api/images", data={"sample": str(number)}).json()
            found += [cell["id"] for cell in answer["cells"]]
        verdict = {"verdict": "agree", "comment": "round", "reader": "Ada"}
        assert client.post(f"/api/cells/{found[0]}/verdict", json=verdict).status_code == 200
    return ",".join(map(str, found))


def as_file(name: str, number: int) -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": samples.draw(number)}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["desktop", "phone"])
def test_upload_verify_reload_filter_export_import(visit, size, tmp_path):
    watched = visit(size=size)
    page = watched.page
    page.get_by_label("Subject").fill("H7")
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no image"}
    given = [as_file("one.png", 0), broken, as_file(HOSTILE, 1)]
    page.get_by_label("Images").set_input_files(given)
    page.get_by_text("3 of 3 answered. 1 could not be used.").wait_for()
    cards = page.locator(".card")
    assert cards.count() == 2
    page.get_by_text(HOSTILE).wait_for()
    assert "cannot be used" in page.locator(".result:has-text('broken.png')").inner_text()

    first = cards.first
    first.get_by_text("Where the model looked").click()
    layer = first.locator(".map")
    page.wait_for_function(LOADED, arg=layer.element_handle())
    first.get_by_label("Strength").fill("100")
    assert layer.evaluate("image => getComputedStyle(image).opacity") == "1"

    first.get_by_text("Comment and name").click()
    first.get_by_label("Comment").fill("<b>smudged</b>")
    first.get_by_label("Your name").fill("Ada")
    first.get_by_role("button", name="Disagree").click()
    first.locator(".tag.bad").wait_for()
    cards.last.get_by_role("button", name=re.compile("^Agree")).click()
    cards.last.locator(".tag.good").wait_for()

    page.reload()
    cards.first.locator(".tag.bad").wait_for()
    cards.first.get_by_role("link", name="Cell").click()
    page.locator(".verdicts").get_by_text("<b>smudged</b>").wait_for()
    page.get_by_role("link", name="History").click()
    page.get_by_label("Verified").select_option(label="disagreed")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**verdict=disagree*")
    verdicts = page.locator(".records .tag:not(.warn)").all_inner_texts()
    assert verdicts
    assert all(verdict.startswith("disagreed") for verdict in verdicts)
    with page.expect_download() as table:
        page.get_by_role("link", name="Export CSV").click()
    assert len(table.value.path().read_text("utf-8").splitlines()) >= 2
    page.get_by_role("link", name="Clear").click()
    with page.expect_download() as archive:
        page.get_by_role("link", name="data set").click()
    zipfile.ZipFile(archive.value.path()).extractall(tmp_path)
    catalog = datasets.load("folders", tmp_path, positive="all")
    assert len(catalog) >= 2
    assert "H7" in set(catalog["subject"])
    assert page.title().startswith("History"), "a file name was taken for HTML"
    assert not watched.faults


def test_many_files_a_drop_and_a_paste(visit):
    watched = visit()
    page = watched.page
    page.get_by_label("Images").set_input_files([as_file(f"{n}.png", n % 4) for n in range(20)])
    page.locator("#progress").wait_for()
    page.get_by_text("20 of 20 answered.").wait_for()
    assert page.locator(".card").count() == 20
    assert page.locator("#progress").is_hidden()
    for kind in ("drop", "paste"):
        page.evaluate(TRANSFER, [kind, [[f"{kind}.png", list(samples.draw(2))]]])
        page.locator(f".card:has-text('{kind}.png')").wait_for()
    page.evaluate(TRANSFER, ["paste", [["notes.txt", [65]], ["more.txt", [66]]]])
    page.get_by_text("There is no image here").wait_for()
    assert not watched.faults


def test_the_page_waits_when_the_app_has_had_enough_images(visit):
    watched = visit()
    statuses = iter((429, 429))

    def answer(route):
        status = next(statuses, None) if route.request.method == "POST" else None
        route.fulfill(status=status, body="Wait.") if status else route.continue_()

    watched.page.route("**/", answer)
    watched.page.get_by_label("Images").set_input_files([as_file("late.png", 0)])
    watched.page.locator(".card:has-text('late.png')").wait_for()
    assert next(statuses, None) is None
    assert [fault for fault in watched.faults if "429" not in fault] == []


def test_a_field_shows_its_boxes_beside_its_cells(visit):
    watched = visit()
    watched.page.get_by_role("button", name="Sample field").click()
    watched.page.wait_for_url("**/?cells=*")
    numbers = watched.page.locator(".field .number").all_inner_texts()
    assert numbers == [str(n + 1) for n in range(len(numbers))]
    assert len(numbers) > 1
    assert watched.page.locator(".boxed").evaluate("image => image.naturalWidth") > 100
    assert not watched.faults


def test_the_keyboard_is_enough(visit):
    page = visit().page

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                ring = "() => getComputedStyle(document.activeElement).outlineStyle"
                assert page.evaluate(ring) != "none", f"no focus can be seen on {selector}"
                return
        pytest.fail(f"Tab does not reach {selector}")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main"), "the first stop skips the frame"
    tab_to(".samples button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?cells=*")
    tab_to(".looked summary")
    page.keyboard.press("Space")
    tab_to(".strength")
    page.keyboard.press("End")
    tab_to(".verify button[value=all]")
    page.keyboard.press("Enter")
    page.locator(".verify .tag:not(:text('not verified'))").wait_for()
    chosen = "() => document.activeElement.getAttribute('aria-pressed')"
    page.wait_for_function(f"{chosen}")
    assert page.evaluate(chosen) == "true", "the focus stays on what was pressed"
    tab_to(".verify summary")
    page.keyboard.press("Enter")
    tab_to("input[name=reader]")
    page.keyboard.press("Enter")
    assert page.locator(".problem").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious_and_nothing_is_too_wide(app, visit, axe, some, size, scheme):
    watched = visit(size=size, scheme=scheme)
    for path in PAGES:
        path = path.format(some if "?" in path else some.split(",")[0])
        watched.page.goto(app.url + path)
        watched.page.evaluate(OPEN_ALL)
        found = axe.run(watched.page).response["violations"]
        grave = [
            (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not grave, f"{path}, {size}, {scheme}: {grave}"
        assert watched.page.evaluate(WIDTH) <= size[0], path
        assert watched.page.locator(".teaching").is_visible()
    faults = [one for one in watched.faults if "/nothing" not in one and "404" not in one]
    assert not faults


def test_it_works_without_javascript(visit):
    page = visit(java_script_enabled=False).page
    assert page.get_by_text("Drop images").is_hidden()
    page.get_by_label("Images").set_input_files(as_file("plain.png", 3))
    page.get_by_role("button", name="Classify").click()
    card = page.locator(".card")
    assert "plain.png" in card.inner_text()
    card.get_by_role("button", name="Unsure").click()
    page.get_by_text("The verdict is kept.").wait_for()
    page.goto(page.url.split("/cell")[0] + "/?cells=")
    page.get_by_role("button", name="Classify").click()
    assert "choose one first" in page.get_by_role("alert").inner_text()


def test_the_warning_stays_in_view(visit, some):
    page = visit(f"/?cells={some}", size=PHONE).page
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    assert page.locator(".teaching").bounding_box()["y"] == 0


def test_two_apps_on_one_folder_show_the_same_cells(artifacts, tmp_path):
    with running(artifacts, tmp_path) as one, running(artifacts, tmp_path) as two:
        assert one.url != two.url
        with one.client() as here, two.client() as there:
            ids = []
            for number in range(8):
                client = (here, there)[number % 2]
                [answer] = client.post("/api/images", data={"sample": str(number % 4)}).json()
                ids.append(answer["cells"][0]["id"])
            assert ids == sorted(set(ids))
            there.post(f"/api/cells/{ids[0]}/verdict", json={"verdict": "unsure"})
            assert here.get("/api/cells").json() == there.get("/api/cells").json()
            assert here.get(f"/api/cells/{ids[0]}").json()["verdict"]["verdict"] == "unsure"
        for app in (one, two):
            assert "Traceback" not in app.stop()
