"""The checkers of chapter 21 know right from wrong, and its page does what it says."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from helpers.exercises.checking import exercises
from tests.unit.chapter_page import code_cells, functions, missed, run, solutions, told, verdict


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(3)
    pixels = rng.integers(20, 200, (12, 16, 16, 3)).astype(np.uint8)
    table = pd.DataFrame({"subject": list("aabbccddeeff")})
    strangers = {"a test cell": pixels[0], "red and blue\nswapped": pixels[0][..., ::-1]}
    return solutions(
        "21",
        pd=pd, pixels=pixels, table=table, train=np.arange(6), test=np.arange(6, 12), size=16,
        strangers=strangers, images=SimpleNamespace(prepare=lambda picture, size: picture),
        THRESHOLD=0.5, probability=np.linspace(0, 1, 12), truth=np.arange(12) % 2,
        classes=("hem", "all"),
    )  # fmt: skip


def test_the_solutions_solve_the_exercises(answers):
    assert sorted(answers) == exercises("21") == ["21-a", "21-b", "21-c"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", told(name, answer)


def with_the_ground(crop, known):
    low, high = np.percentile(known, [1, 99], axis=0)
    mean = crop.reshape(-1, 3).mean(axis=0)
    return bool(((mean < low) | (mean > high)).any())


def of_all_colours(crop, known):
    cell = crop[crop.max(axis=2) > 12]
    if not len(cell):
        return True
    low, high = np.percentile(known, [1, 99])
    return bool(not low <= cell.mean() <= high)


def of_extremes(crop, known):
    cell = crop[crop.max(axis=2) > 12]
    if not len(cell):
        return True
    mean = cell.mean(axis=0)
    return bool(((mean < known.min(axis=0)) | (mean > known.max(axis=0))).any())


def all_three(crop, known):
    cell = crop[crop.max(axis=2) > 12]
    if not len(cell):
        return True
    low, high = np.percentile(known, [1, 99], axis=0)
    mean = cell.mean(axis=0)
    return bool(((mean < low) | (mean > high)).all())


def none_is_fine(crop, known):
    cell = crop[crop.max(axis=2) > 12]
    return bool(len(cell)) and of_all_colours(crop, known)


def any_cell(results, old, new):
    over = [results["probability"] >= one for one in (old, new)]
    return sorted(set(results["subject"][over[0] != over[1]]))


def by_mean(results, old, new):
    mean = results.groupby("subject")["probability"].mean()
    return sorted(mean.index[(mean >= old) != (mean >= new)])


def strictly_above(results, old, new):
    calls = [
        (results["probability"] > one).groupby(results["subject"]).mean() >= 0.5
        for one in (old, new)
    ]
    return sorted(calls[0].index[calls[0] != calls[1]])


def more_than_half(results, old, new):
    calls = [
        (results["probability"] >= one).groupby(results["subject"]).mean() > 0.5
        for one in (old, new)
    ]
    return sorted(calls[0].index[calls[0] != calls[1]])


def counted(results, sure=True):
    rows = results[results["verdict"] != ""] if sure else results
    right = rows["answer"] == rows["verdict"]
    return right, right.groupby(rows["subject"]).agg(["sum", "size", "mean"])


def lowest_accuracy(results):
    right, each = counted(results)
    return each["mean"].idxmin() if len(each) and each["mean"].min() < right.mean() else None


def most_wrong(results):
    _, each = counted(results)
    return (each["size"] - each["sum"]).idxmax() if len(each) else None


def unsure_is_wrong(results):
    right, each = counted(results, sure=False)
    upper = proportion_confint(each["sum"], each["size"], method="wilson")[1]
    return each.index[np.argmin(upper)] if np.min(upper) < right.mean() else None


def always_somebody(results):
    _, each = counted(results)
    if not len(each):
        return None
    upper = proportion_confint(each["sum"], each["size"], method="wilson")[1]
    return each.index[np.argmin(upper)]


def by_lower_limit(results):
    right, each = counted(results)
    if not len(each):
        return None
    lower = proportion_confint(each["sum"], each["size"], method="wilson")[0]
    return each.index[np.argmin(lower)] if np.min(lower) < right.mean() - 0.2 else None


@pytest.mark.parametrize(
    ("letter", "wrong", "hint"),
    [
        ("a", with_the_ground, "the black ground does not count"),
        ("a", of_all_colours, "swapped"),
        ("a", of_extremes, "take the percentiles"),
        ("a", all_three, "One colour is enough"),
        ("a", none_is_fine, "A black picture"),
        ("a", lambda crop, known: "odd", "True or False"),
        ("b", any_cell, "a single cell"),
        ("b", by_mean, "Count cells"),
        ("b", strictly_above, "just at the threshold counts"),
        ("b", more_than_half, "Half of the cells is enough"),
        ("b", lambda results, old, new: 2, "a list of subjects"),
        ("c", lowest_accuracy, "two cells"),
        ("c", most_wrong, "you seem to count them"),
        ("c", unsure_is_wrong, "do not count as wrong"),
        ("c", always_somebody, "alike"),
        ("c", by_lower_limit, "two cells"),
    ],
)
def test_the_checkers_find_the_common_mistakes(letter, wrong, hint):
    assert hint in missed(f"21-{letter}", wrong)


@pytest.fixture
def store(tmp_path):
    page = run("21", "TABLES = ", "import io\n", np=np)
    place = SimpleNamespace(name=str(tmp_path))
    names = {**page, "Path": Path, "tempfile": tempfile, "place": place}
    return functions("21", "open_store", **names)


SAID = {"label": "all", "probability": 0.75}


def test_the_store_of_the_page_keeps_a_picture_once_and_every_verdict(store):
    db = store["open_store"]()[0]
    first, second = (store["keep"](db, b"picture", name, "p1", SAID) for name in ("a", "b"))
    for label in ("hem", "all"):
        store["verify"](db, second, label)
    images = db.execute("SELECT * FROM images").fetchall()
    assert images == [(hashlib.sha256(b"picture").hexdigest(), b"picture")]
    assert [row[0] for row in db.execute("SELECT id FROM cells")] == [first, second]
    assert db.execute("SELECT cell, label FROM verdicts").fetchall() == [
        (second, "hem"),
        (second, "all"),
    ]


def test_the_store_of_the_page_keeps_all_or_nothing(store):
    db = store["open_store"]()[0]
    with pytest.raises(sqlite3.Error):
        store["keep"](db, b"picture", object(), "p1", SAID)  # fails behind the first command
    assert db.execute("SELECT count(*) FROM images").fetchone()[0] == 0
    with pytest.raises(sqlite3.IntegrityError):
        store["verify"](db, 7, "all")  # there is no such cell


def test_the_addresses_of_the_page_store_an_answer_and_a_verdict(store):
    db, _ = store["open_store"]()
    names = {**store, **run("21", "def read_upload", np=np), "db": db}
    names["answer_for"] = lambda picture: {**SAID, "size": picture.shape[0]}
    client = run("21", "async def add_cell", **names)
    client = client["TestClient"](client["web"])
    sound = io.BytesIO()
    Image.new("RGB", (40, 30)).save(sound, "PNG")
    reply = client.post("/cells", content=sound.getvalue(), params={"name": "<b>.png"})
    assert reply.json() == {"id": 1, **SAID, "size": 30}
    assert client.post("/cells/1/verdict", params={"label": "hem"}).json() == {"stored": 1}
    assert db.execute("SELECT name FROM cells").fetchall() == [("<b>.png",)]
    assert db.execute("SELECT label FROM verdicts").fetchall() == [("hem",)]
    refused = client.post("/cells", content=b"<html>")
    assert (refused.status_code, list(refused.json())) == (422, ["error"])
    assert client.get("/openapi.json").status_code == client.get("/docs").status_code == 404


@pytest.mark.parametrize("missing", ["fastapi", "fastapi.testclient"])
def test_without_fastapi_the_page_says_what_to_install_and_goes_on(missing, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    assert run("21", "async def add_cell")["web"] is None
    assert "pip install fastapi httpx" in capsys.readouterr().out
    run("21", "client = TestClient", web=None)


@pytest.mark.slow
def test_the_page_refuses_what_is_no_picture():
    page = run("21", "def read_upload", np=np)
    sound = io.BytesIO()
    Image.new("RGB", (40, 30), "purple").save(sound, "PNG")
    bomb = io.BytesIO()
    Image.new("1", (6_000, 5_000)).save(bomb, "PNG")
    larger = io.BytesIO()  # beyond Pillow's own limit
    Image.new("1", (20_000, 10_000)).save(larger, "PNG")
    assert page["read_upload"](sound.getvalue()).shape == (30, 40, 3)
    for content, reason in (
        (b"", "no BMP"),
        (b"<html>", "no BMP"),
        (sound.getvalue()[:60], "damaged"),
        (bomb.getvalue(), "too many pixels"),
        (larger.getvalue(), "too many pixels"),
        (bytes(21_000_000), "too large"),
    ):
        with pytest.raises(ValueError, match=reason):
            page["read_upload"](content)


def test_the_page_prints_nothing_that_changes():
    """No port, path, date or time is printed."""
    printed = [line for cell in code_cells("21") for line in cell.source.splitlines()]
    printed = [line for line in printed if "print(" in line]
    assert not [line for line in printed if "place.name" in line or "folder" in line]
