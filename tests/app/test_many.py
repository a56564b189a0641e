"""Many people, many images, damaged images, endless uploads: the app goes on answering."""

from __future__ import annotations

import io
import socket
import statistics
import threading
import time

import numpy as np
import pytest
from PIL import Image

from helpers.app import samples

pytestmark = pytest.mark.slow

PEOPLE, EACH = 8, 6
DAMAGED, AT_A_TIME = 2000, 50


def cells_of(answer: dict) -> list[tuple]:
    return [(cell["box"], cell["label"], round(cell["probability"], 4)) for cell in answer["cells"]]


def test_eight_people_at_once_get_their_own_answers_in_time(app):
    pictures = [turned(samples.draw(number % 4), number) for number in range(PEOPLE * EACH)]
    with app.client(2) as client:
        right = []
        for number, picture in enumerate(pictures):
            [answer] = client.post("/api/images", files={"images": (f"{number}", picture)}).json()
            right.append(cells_of(answer))
    assert len({str(cells) for cells in right}) > PEOPLE, "the answers must differ to be told apart"
    seconds: list[float] = []
    wrong: list[str] = []

    def ask(person: int) -> None:
        with app.client(10 + person) as client:
            for number in range(person * EACH, person * EACH + EACH):
                began = time.perf_counter()
                files = {"images": (f"picture {number}", pictures[number])}
                [answer] = client.post("/api/images", files=files).json()
                seconds.append(time.perf_counter() - began)
                if answer["name"] != f"picture {number}" or cells_of(answer) != right[number]:
                    wrong.append(f"{person} asked about {number} and got {answer}")

    people = [threading.Thread(target=ask, args=(person,)) for person in range(PEOPLE)]
    for person in people:
        person.start()
    for person in people:
        person.join(120)
    assert not wrong
    assert len(seconds) == PEOPLE * EACH
    print(f"\nmedian of {len(seconds)} answers to {PEOPLE}: {statistics.median(seconds):.3f} s")
    assert statistics.median(seconds) < 2


def test_the_first_answer_and_five_hundred(app):
    with app.client(3) as client:
        began = time.perf_counter()
        assert client.post("/api/images", data={"sample": "0"}).status_code == 200
        first = time.perf_counter() - began
        picture = samples.draw(1)
        files = [("images", (f"{number}.png", picture)) for number in range(500)]
        began = time.perf_counter()
        answers = client.post("/api/images", files=files).json()
        many = time.perf_counter() - began
    print(f"\none: {first:.3f} s; 500: {many:.1f} s, {500 / many:.0f} a second")
    assert first < 1
    assert len(answers) == 500
    assert len({str(cells_of(answer)) for answer in answers}) == 1


def test_two_thousand_damaged_images_each_get_an_answer_or_a_sentence(app):
    rng = np.random.default_rng(24)
    valid = [coded(kind, mode) for kind, mode in KINDS]
    answered = refused = 0
    for start in range(0, DAMAGED, AT_A_TIME):
        files = [
            ("images", (f"{number}", damaged(valid[number % len(valid)], rng)))
            for number in range(start, start + AT_A_TIME)
        ]
        with app.client(100 + start // 1000) as client:
            answer = client.post("/api/images", files=files)
        assert answer.status_code in (200, 422), f"from {start}: {answer.text[:500]}"
        for one in answer.json():
            if one["problem"]:
                assert one["problem"].endswith("."), one
                assert "Traceback" not in one["problem"], one
                refused += 1
            else:
                assert one["cells"], one
                answered += 1
    assert app.process.poll() is None
    assert answered + refused == DAMAGED
    assert min(answered, refused) > DAMAGED / 20, "both are tested"
    assert "Traceback" not in app.printed


def test_an_endless_upload_is_cut_off(app):
    host, port = app.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/cells/1/verdict HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(head.encode())
        sent = 0
        try:
            while sent < 10_000_000:
                line.sendall(b"2710\r\n" + b"0" * 10_000 + b"\r\n")
                sent += 10_000
        except OSError:
            pass  # the app has hung up
    assert sent < 10_000_000
    with app.client(4) as client:
        assert client.get("/api/cells").status_code == 200


def test_an_upload_that_stops_halfway_is_no_mistake_of_the_app(app):
    host, port = app.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/images HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(head.encode())
    with app.client(4) as client:
        assert client.get("/api/cells").status_code == 200
    assert "Traceback" not in app.printed


KINDS = [
    *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "P", "I;16")),
    *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
    *(("BMP", mode) for mode in ("RGB", "L", "P")),
    *(("TIFF", mode) for mode in ("RGB", "L", "lzw", "pages", "I;16")),
]


def coded(kind: str, mode: str) -> bytes:
    """Return a small valid file of a kind, showing a drawn cell."""
    image = Image.open(io.BytesIO(samples.draw(0))).crop((150, 150, 300, 300)).resize((64, 64))
    options: dict = {}
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    elif mode == "lzw":
        options = {"compression": "tiff_lzw"}
    elif mode == "pages":
        options = {"save_all": True, "append_images": [image.copy()]}
    else:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, mostly in the header; or cut off, repeat or remove a part."""
    content = bytearray(content)
    way = rng.integers(6)
    if way == 0:
        return bytes(content[: rng.integers(len(content))])
    if way == 1:
        start = int(rng.integers(len(content)))
        del content[start : start + int(rng.integers(1, 64))]
    elif way == 2:
        start = int(rng.integers(len(content)))
        content[start:start] = content[start : start + 64]
    else:
        reach = len(content) if way == 3 else min(128, len(content))
        for place in rng.integers(reach, size=rng.integers(1, 9)):
            content[place] = rng.choice((0, 1, 255, int(rng.integers(256))))
    return bytes(content)


def turned(content: bytes, number: int) -> bytes:
    """Return another picture for each number."""
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).rotate(7 * number).save(file, "PNG")
    return file.getvalue()
