"""The pages and the HTTP API, on the real store and a really trained, tiny network."""

from __future__ import annotations

import dataclasses
import errno
import io
import re
import socket
import zipfile

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from helpers import datasets
from helpers.app import guard, rendering, samples, service, serving, store, web
from helpers.app.answers import ModelFacts
from helpers.app.desk import Desk
from helpers.app.uploads import Limits
from helpers.base.errors import AppError
from tests.unit.app.samples import cell as kept
from tests.unit.app.samples import picture

pytestmark = pytest.mark.slow

HERE = "http://127.0.0.1:7860"
#: Names that do harm where they are taken for HTML, for a path or for a header.
HOSTILE = (
    "<img src=x onerror=document.title=1>.png",
    "../../x.bmp",
    '"><script>document.title=1</script>.png',
    "{{ 7 * 7 }}.png",
    "C:\\temp\\cell.png",
    "Zelle \u202egnp.exe",
    "ж" * 300 + ".png",
)


@pytest.fixture
def desk(tmp_path, trained, loaded):
    records = store.Store(tmp_path / "data")
    yield Desk(records, trained, loaded)
    records.close()


@pytest.fixture
def client(desk):
    with TestClient(web.create(desk), base_url=HERE) as client:
        yield client


@pytest.fixture
def bare(tmp_path):
    """Return a client of an app that found no network."""
    records = store.Store(tmp_path / "data")
    yield TestClient(web.create(Desk(records, tmp_path)), base_url=HERE)
    records.close()


@pytest.fixture(scope="module")
def cell() -> bytes:
    return samples.draw(0)


def send(client, *files, **fields):
    return client.post("/api/images", files=[("images", file) for file in files], data=fields)


def coloured(side: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(side)
    Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)).save(file, kind)
    return file.getvalue()


def test_a_drawn_cell_is_answered_and_verified_without_a_script(client, loaded):
    page = client.get("/")
    assert "trained on drawn cells" in page.text, "notes come before any answer"
    answered = client.post("/", data={"sample": "0"})
    assert answered.history[0].status_code == 303
    assert "Where the model looked" in answered.text
    record = client.get("/api/cells").json()["cells"][0]
    other = next(label for label in loaded.facts.classes if label != record["label"])
    done = client.post("/cell/1", data={"label": other, "comment": "<b>round</b>", "reader": "Ada"})
    assert "The verdict is kept." in done.text
    assert "&lt;b&gt;round&lt;/b&gt;" in done.text
    client.post("/cell/1", data={"label": "", "comment": "", "reader": ""})
    found = client.get("/api/cells/1").json()
    assert [verdict["verdict"] for verdict in found["verdicts"]] == ["unsure", "disagree"]
    assert found["verdict"]["verdict"] == "unsure"
    history = client.get("/history?disagreement=1").text
    assert "Cell 1" in history
    assert "Cell 1" not in client.get("/history?verdict=agree").text


def test_a_kept_answer_comes_with_its_class_and_the_notes_of_its_model(tmp_path):
    desk = Desk(store.Store(tmp_path / "data"), tmp_path)
    texts = ("run", "net", "phantom", "tiny")
    about = (7, "subject", ("hem", "all"), 32, "2026-11-27", "", {}, ("net",), ("Drawn cells.",))
    desk._facts["run"] = ModelFacts(*texts, *about, "")
    desk.store.add(picture(), "a.png", [kept("hem", probability=0.32)], "run", "net")
    client = TestClient(web.create(desk), base_url=HERE)
    history = client.get("/history").text
    assert "<b>HEM</b> (32% ALL)" in history
    assert history.count("Drawn cells.") == 1
    page = client.get("/cell/1").text
    assert page.index("Drawn cells.") < page.index("32% ALL")


def test_the_verdict_of_a_cell_without_an_answer_names_the_right_label(client):
    white = io.BytesIO()
    Image.new("RGB", (200, 200), "white").save(white, "PNG")
    answer = send(client, ("white.png", white.getvalue())).json()[0]["cells"][0]
    assert answer["label"] == ""
    assert answer["probability"] is None
    assert "No answer" in client.get(f"/cell/{answer['id']}").text
    assert client.post(f"/cell/{answer['id']}", data={"label": "all"}).status_code == 200
    assert client.get(f"/api/cells/{answer['id']}").json()["verdict"]["label"] == "all"


def test_each_file_has_its_own_answer_or_sentence_in_order(client, cell):
    files = [("one.png", cell), ("two.png", b"no image"), ("three.bmp", samples.draw(1))]
    answer = send(client, *files, subject="H7")
    assert [one["name"] for one in answer.json()] == ["one.png", "two.png", "three.bmp"]
    assert [bool(one["problem"]) for one in answer.json()] == [False, True, False]
    first, _, third = (one["cells"] for one in answer.json())
    assert first[0]["subject"] == "H7"
    assert first[0]["image"] != third[0]["image"]
    assert send(client, ("two.png", b"no image")).status_code == 422


def test_a_field_has_numbered_boxes_and_a_picture_of_them(client):
    page = client.post("/", data={"sample": str(samples.NAMES.index("Sample field"))}).text
    cells = client.get("/api/cells").json()["cells"]
    assert len(cells) > 1
    assert all(cell["box"] for cell in cells)
    picture = re.search(r'src="(/pictures/[^"]+)"', page).group(1)
    boxed = np.asarray(Image.open(io.BytesIO(client.get(picture).content)))
    plain = np.asarray(Image.open(io.BytesIO(client.get(picture.split("?")[0]).content)))
    assert (boxed != plain).any()


def test_a_picture_that_is_sent_twice_is_shown_twice(client, cell):
    send(client, ("same.png", cell), ("same.png", cell))
    page = client.get("/?cells=1,2").text
    assert page.count('class="card"') == 2
    assert "/pictures/" not in page


def test_maps_and_crops_are_remembered_or_computed_again(client, desk, loaded):
    client.post("/", data={"sample": "0"})
    addresses = ["/cell/1/crop.png", "/cell/1/map.png"]
    first = [client.get(address).content for address in addresses]
    desk._seen.clear()
    assert [client.get(address).content for address in addresses] == first
    colours = Image.open(io.BytesIO(first[1]))
    assert colours.mode == "RGBA"
    assert colours.size == (loaded.facts.size, loaded.facts.size)
    desk.service = None  # another model, or none: what is kept is still shown
    desk._seen.clear()
    assert client.get("/cell/1/crop.png").status_code == 200
    assert client.get("/cell/1/map.png").status_code == 404
    assert client.get("/cell/1").status_code == 200


@pytest.mark.parametrize("name", HOSTILE)
def test_file_names_are_text(client, cell, name, tmp_path):
    before = set(tmp_path.parent.rglob("*"))
    answer = send(client, (name, cell))
    assert answer.status_code == 200
    for page in ("/history", "/cell/1", "/?cells=1"):
        text = client.get(page).text
        assert not re.search(r"<(img|script)[^>]*(onerror|title=1)", text)
        assert "49.png" not in text
    written = {path.name for path in set(tmp_path.parent.rglob("*")) - before if path.is_file()}
    assert all(re.match(r"[0-9a-f]{64}|\.?records", name) for name in written), written


def test_only_requests_to_this_address_from_its_own_pages_are_answered(client):
    refused = {
        "another name (DNS rebinding)": (421, {"host": "evil.example"}),
        "no name": (421, {"host": ""}),
        "another site's form": (403, {"origin": "http://evil.example"}),
        "a page without an origin": (403, {"origin": "null"}),
        "another port": (403, {"origin": "http://127.0.0.1:9"}),
        "an old browser's form": (403, {"sec-fetch-site": "cross-site"}),
    }
    for who, (status, headers) in refused.items():
        for path in ("/", "/cell/1", "/models", "/api/images", "/api/cells/1/verdict"):
            assert client.post(path, headers=headers).status_code == status, f"{who}, {path}"
    assert client.get("/", headers={"host": "evil.example:7860"}).status_code == 421
    for headers in ({"origin": HERE}, {"host": "localhost:7860"}, {"host": "[::1]:7860"}):
        assert client.post("/", data={"sample": "0"}, headers=headers).status_code == 200


def test_a_password_is_asked_of_everybody(desk):
    rules = guard.Rules(any_address=True, login=("Ada", "lovelace:24"))
    client = TestClient(web.create(desk, rules), base_url="http://10.1.2.3")
    for path in ("/", "/static/app.css", "/api/cells", "/nothing"):
        asked = client.get(path)
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic")
    assert client.get("/", auth=("Ada", "lovelace:24")).status_code == 200
    assert client.get("/", headers={"authorization": b"Basic \xff"}).status_code == 401
    statuses = [client.get("/", auth=("Ada", f"guess {n}")).status_code for n in range(30)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert client.get("/", auth=("Ada", "lovelace:24")).status_code == 429, "guessing goes on"


def test_too_much_is_refused_before_it_is_read(client, desk, monkeypatch):
    monkeypatch.setattr(guard, "MOST_BYTES", 100_000)
    monkeypatch.setattr("helpers.app.uploads.read", lambda *_: pytest.fail("an image was decoded"))
    told = client.post("/api/images", content=b"", headers={"content-length": "100001"})
    assert told.status_code == 413
    assert "0.1 MB" in told.json()["problem"]

    for length in ("9" * 5000, "-1", "x"):
        answer = client.post("/", content=b"", headers={"content-length": length})
        assert answer.status_code == 413
    many = send(client, *[(f"{n}.png", b"x") for n in range(desk.limits.files + 1)])
    assert many.status_code == 400
    assert "500" in many.json()["problem"]
    form = {"label": "all", "comment": "x" * 70_000}
    long = client.post("/cell/1", data=form)
    assert long.status_code == 413
    assert "files" not in long.text, "it is about a comment"


def test_file_name_that_is_too_long_to_be_read_is_told(client, cell):
    told = send(client, ("x" * 5000 + ".png", cell))
    assert told.status_code == 400
    assert "longer than 200 letters" in told.json()["problem"]


def test_a_file_that_is_too_large_does_not_stop_the_others(desk, cell):
    desk.limits = Limits(bytes=len(cell), pixels=450 * 450)
    client = TestClient(web.create(desk), base_url=HERE)
    answer = send(client, ("large.png", coloured(400)), ("cell.png", cell)).json()
    assert "MB" in answer[0]["problem"]
    assert answer[1]["cells"]


def test_images_in_a_minute_are_counted_for_each_client(desk, cell):
    desk.limits = dataclasses.replace(desk.limits, per_minute=3)
    app = web.create(desk)
    client = TestClient(app, base_url=HERE)
    assert send(client, ("a.png", cell), ("b.png", cell)).status_code == 200
    assert send(client, ("a.png", cell), ("b.png", cell)).status_code == 429
    assert send(client, ("a.png", cell)).status_code == 200
    refused = client.post("/", data={"sample": "0"})
    assert refused.status_code == 429
    assert "in a minute" in refused.text
    other = TestClient(app, base_url=HERE, client=("10.0.0.7", 1))
    assert send(other, ("a.png", cell)).status_code == 200


def test_every_answer_carries_the_security_headers_and_names_no_other_host(client):
    client.post("/", data={"sample": "0"})
    client.post("/cell/1", data={"label": "all"})
    pages = ("/", "/?cells=1", "/history", "/cell/1", "/models", "/api", "/nothing", "/cell/77")
    for page in (*pages, "/static/app.js", "/static/app.css", "/cell/1/thumbnail", "/export.csv"):
        answer = client.get(page)
        assert "default-src 'self'" in answer.headers["content-security-policy"], page
        assert answer.headers["x-content-type-options"] == "nosniff", page
    for page in pages:
        text = client.get(page).text
        assert "Teaching only, not for diagnosis" in text, page
        assert not re.search(r"<script(?! src=\"/static)|<style|\sstyle=|\son\w+=", text), page
        assert not re.search(r"(src|href|action)=\"(?!/|#|\?)", text), page
    for path in rendering.STATIC.iterdir():
        content = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//\w+\.", content), path.name
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/cell/77", "/cell/-1", "/cell/99999999999999999999999", "/cell/x"),
        *("/cell/77/map.png", "/cell/77/crop.png", "/cell/77/thumbnail", "/samples/99.png"),
        *("/pictures/ab.png", "/pictures/..%2F..%2Fx.png", f"/pictures/{'0' * 64}.png"),
        *("/static/..%2Fweb.py", "/static/../web.py", "/static/%2Fetc%2Fpasswd", "/?cells=x"),
        *("/?cells=77", "/?cells=,,1,", "/history?since=x", "/history?verdict=x"),
        *("/history?after=x", "/history?after=-1", "/history?since=2026-01-01%00"),
        *("/api/cells?count=0", "/api/cells?count=x", "/api/cells/77", "/export.zip"),
    ],
)
def test_what_is_not_there_gets_a_sentence(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404), path
    assert "secrets" not in answer.text
    assert len(answer.text) < 4000


@pytest.mark.parametrize("number", ["99", "-1", "x", "9" * 5000])
def test_a_sample_that_is_not_there_gets_a_sentence(bare, number):
    answer = bare.post("/api/images", data={"sample": number})
    assert answer.status_code == 400
    assert "no such sample" in answer.json()["problem"]


def test_verdicts_that_cannot_be_get_a_sentence(client):
    client.post("/", data={"sample": "0"})
    for given in ({}, {"verdict": "no"}, {"verdict": "disagree"}, {"verdict": "agree", "id": "7"}):
        answer = client.post("/api/cells/1/verdict", json=given)
        assert answer.status_code == 400
        assert answer.json()["problem"].endswith(".")
    for content in (b"", b"[]", b"{", b'{"verdict": 7}'):
        assert client.post("/api/cells/1/verdict", content=content).status_code == 400
    assert client.post("/cell/1", data={"label": "all", "reader": "x" * 300}).status_code == 400
    assert client.post("/cell/77", data={"label": "all"}).status_code == 400
    assert client.get("/api/cells/1").json()["verdicts"] == []


def test_without_a_model_the_page_says_so_before_anybody_asks(desk):
    desk.service = None
    client = TestClient(web.create(desk), base_url=HERE)
    page = client.get("/").text
    assert "No model is ready" in page
    assert 'type="file"' not in page
    assert "Choose one" in send(client, ("a.png", b"x")).json()["problem"]
    key = service.available(desk.artifacts)[0].key
    assert client.post("/models", data={"key": "../../etc"}).status_code == 400
    assert client.post("/models", data={"key": key}).status_code == 200
    assert client.post("/", data={"sample": "0"}).status_code == 200
    assert "in use" in client.get("/models").text


def test_runs_that_cannot_be_used_are_listed_with_why(bare, tmp_path):
    damaged = tmp_path / "phantoms" / "runs" / "damaged-1"
    damaged.mkdir(parents=True)
    (damaged / "record.json").write_text("{")
    page = bare.get("/models")
    assert page.status_code == 200
    assert "damaged-1</span>: Its record is damaged." in page.text


def test_a_verdict_with_a_part_that_is_no_text_gets_a_sentence(bare):
    given = {"content": b'{"\\ud800": ""}', "headers": {"content-type": "application/json"}}
    answer = bare.post("/api/cells/1/verdict", **given)
    assert answer.status_code == 400
    assert answer.json()["problem"].startswith("A verdict has")


def test_the_exports_are_read_back(client, tmp_path):
    for number in range(4):
        client.post("/", data={"sample": str(number), "subject": f"H{number}"})
    for record, label in zip(range(1, 5), ("all", "hem", "all", ""), strict=True):
        client.post(f"/cell/{record}", data={"label": label})
    table = client.get("/export.csv?verdict=unsure")
    assert table.headers["content-disposition"].endswith('"cells.csv"')
    assert len(table.text.splitlines()) == 2
    content = client.get("/export.zip").content
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path / "set")
    catalog = datasets.load("folders", tmp_path / "set", positive="all")
    assert sorted(catalog["label"]) == ["all", "all", "hem"]
    assert set(catalog["subject"]) == {"H0", "H1", "H2"}


def test_a_full_disk_says_so_and_keeps_what_was_there(client, cell, monkeypatch):
    client.post("/", data={"sample": "0"})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("helpers.app.store.atomic_path", full)
    answer = send(client, ("a.png", samples.draw(1)))
    assert answer.status_code == 422
    assert "No space left" in answer.json()[0]["problem"]
    assert client.get("/api/cells").json()["total"] == 1


def test_a_mistake_of_the_app_is_no_page_of_code(desk, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(desk.store, "get", broken)
    client = TestClient(web.create(desk), base_url=HERE, raise_server_exceptions=False)
    answer = client.get("/cell/1")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "The app made a mistake" in answer.text


def test_a_script_gets_parts_of_pages(client, cell):
    files = [("images", ("<b>.png", cell)), ("images", ("two.png", b"x"))]
    part = client.post("/", files=files, headers={"X-Part": "1"})
    assert part.headers["x-refused"] == "1"
    assert "<html" not in part.text
    assert "&lt;b&gt;.png" in part.text
    verified = client.post("/cell/1", data={"label": "all"}, headers={"X-Part": "1"})
    assert verified.text.strip().startswith("<form")
    empty = client.post("/", data={}, headers={"X-Part": "1"})
    assert empty.status_code == 400
    assert empty.text == "No image was sent: choose one first."


def test_nothing_is_sent_to_a_collector(desk, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as collector:
        collector.settimeout(0.2)
        address = f"http://127.0.0.1:{collector.getsockname()[1]}"
        monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        with TestClient(web.create(desk), base_url=HERE) as client:
            client.get("/")
        with pytest.raises(TimeoutError):
            collector.accept()


def test_a_port_is_found_or_the_sentence_names_it(monkeypatch):
    with serving.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AppError, match=f"Port {port} is taken"):
            serving.listen("127.0.0.1", port)
        monkeypatch.setattr(serving, "FIRST_PORT", port)
        with serving.listen("127.0.0.1", None) as free:
            assert port < free.getsockname()[1] < port + serving.TRIED
        monkeypatch.setattr(serving, "TRIED", 1)
        with pytest.raises(AppError, match="are taken"):
            serving.listen("127.0.0.1", None)
    with pytest.raises(AppError, match="Nothing can listen"):
        serving.listen("192.0.2.7", 0)


def test_another_host_needs_a_name_and_a_password(tmp_path, monkeypatch):
    def serve(host="127.0.0.1", login=""):
        serving.serve(tmp_path, "", host, 0, login, tmp_path)

    for host in ("0.0.0.0", "192.0.2.7", "::", "example.org"):
        with pytest.raises(AppError, match="--auth"):
            serve(host)
    monkeypatch.setenv(serving.PASSWORD, "short")
    with pytest.raises(AppError, match="8 characters"):
        serve("0.0.0.0", "Ada")
    with pytest.raises(AppError, match="colon"):
        serve(login="Ada:Byron")


def test_the_newest_model_is_taken_or_the_app_starts_without_one(trained, tmp_path, monkeypatch):
    newest = service.available(trained)[0]
    assert serving._load("", trained).facts.key == newest.key

    def full(_):
        raise AppError("No space is left.")

    monkeypatch.setattr(service, "train_small", full)
    assert serving._load("", tmp_path) is None
    with pytest.raises(AppError):
        serving._load("no such run", trained)


def test_a_folder_that_cannot_be_used_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("of somebody")
    with pytest.raises(AppError, match="cannot be used"):
        serving.serve(tmp_path / "file", "", "127.0.0.1", 0, "", tmp_path)
    assert (tmp_path / "file").read_text() == "of somebody"


def test_numbers_of_cells_may_be_of_any_length(client):
    for digits in (30, 3900, 5000):
        assert client.get(f"/?cells={'9' * digits}").status_code == 400
        assert client.get(f"/cell/{'9' * digits}").status_code in (400, 404)
