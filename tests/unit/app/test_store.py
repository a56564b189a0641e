"""The web app's store: what it keeps, and what it answers about it."""

from __future__ import annotations

import hashlib
import math
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from helpers.app import store as stores
from helpers.app.records import Verdict
from helpers.app.store import Store
from helpers.base.errors import AppError
from tests.unit.app.samples import BOX, cell
from tests.unit.app.stored import PICTURES, all_of, files, sound

HOSTILE = [
    "<img src=x onerror=alert(1)>.png",
    "../../x.bmp",
    "/etc/passwd",
    "a\0b.png",
    "two\nlines.png",
    "\ud800\udc80.png",
    "\u202egnp.exe",
    "'; DROP TABLE cells; --",
    "x" * 10_000,
    "",
]


# What it keeps


def test_a_record_comes_back_as_it_was_given(store):
    given = [cell("ALL", BOX), cell("", None, probability=math.nan, votes=())]
    ids = store.add(PICTURES[0], "a.png", given, "run-1", "First", "P1")
    first, second = map(store.get, ids)
    assert first.cell.__dict__ == {**given[0].__dict__, "thumbnail": b""}
    assert first.cell.votes[0].name == "net"
    assert math.isnan(second.cell.probability)
    assert second.cell.box is None
    assert (first.name, first.subject, first.model, first.model_name, first.verdict) == (
        "a.png", "P1", "run-1", "First", None
    )  # fmt: skip
    assert first.created.endswith("+00:00")
    assert store.image(first.image) == PICTURES[0]
    assert store.thumbnail(first.id) == given[0].thumbnail


def test_the_numbers_may_be_numpys(store):
    import numpy as np

    box = tuple(np.array(BOX))
    (made,) = store.add(
        PICTURES[0], "a", [cell("ALL", box, probability=np.float32(0.5), threshold=1)], "m", "M"
    )
    assert store.get(made).cell.box == BOX
    assert store.get(made).cell.probability == 0.5


def test_a_picture_is_stored_once(store, folder):
    for name in ("a.png", "b.png"):
        store.add(PICTURES[0], name, [cell()], "m", "M")
    assert len(files(folder)) == 1
    assert [record.name for record in store.page().records] == ["b.png", "a.png"]


def test_a_picture_whose_file_was_removed_says_so_and_can_be_uploaded_again(store, folder):
    (made,) = store.add(PICTURES[0], "a.png", [cell()], "m", "M")
    next(folder.glob("images/*/*")).unlink()
    with pytest.raises(AppError, match="No such file"):
        store.image(store.get(made).image)
    store.add(PICTURES[0], "a.png", [cell()], "m", "M")
    assert store.image(store.get(made).image) == PICTURES[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_never_paths(store, folder, name):
    before = set(folder.parent.rglob("*"))
    (made,) = store.add(PICTURES[0], name, [cell()], "m", "M", subject=name[:200])
    new = {path.relative_to(folder).parts[0] for path in set(folder.parent.rglob("*")) - before}
    assert new == {"images"}
    stored = store.get(made).name
    assert len(stored) <= 255
    assert stored.isprintable()
    if name.isprintable() and len(name) < 200:
        assert stored == name


def test_every_verdict_is_kept_and_the_newest_counts(store):
    (made,) = store.add(PICTURES[0], "a", [cell("ALL")], "m", "M")
    store.verify(made, Verdict("agree", "ignored", "two\nlines ", " A. Reader "))
    record = store.verify(made, Verdict("disagree", "HEM"))
    store.verify(made, Verdict("unsure", "HEM"))
    assert (record.verdict.verdict, record.verdict.label) == ("disagree", "HEM")
    assert store.get(made).verdict.label == ""
    history = store.verdicts(made)
    assert [verdict.verdict for verdict in history] == ["unsure", "disagree", "agree"]
    assert (history[2].label, history[2].comment, history[2].reader) == (
        "ALL", "two\nlines", "A. Reader"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("label", "verdict"),
    [
        ("ALL", Verdict("perhaps")),
        ("ALL", Verdict("disagree")),
        ("ALL", Verdict("disagree", "ALL")),
        ("", Verdict("agree")),
        ("ALL", Verdict("unsure", comment="x" * 5001)),
        ("ALL", Verdict("unsure", reader="x" * 256)),
    ],
)
def test_a_verdict_that_says_nothing_is_refused(store, label, verdict):
    (made,) = store.add(PICTURES[0], "a", [cell(label)], "m", "M")
    with pytest.raises(AppError):
        store.verify(made, verdict)
    assert store.verdicts(made) == []


@pytest.mark.parametrize("number", [0, -1, 2, 10**30])
def test_what_is_not_there_is_said(store, number):
    store.add(PICTURES[0], "a", [cell()], "m", "M")
    for ask in (store.get, store.thumbnail, store.verdicts):
        with pytest.raises(AppError, match="no record"):
            ask(number)
    with pytest.raises(AppError, match="no record"):
        store.verify(number, Verdict("agree"))
    with pytest.raises(AppError, match="no record"):
        store.image("../../etc/passwd")


@pytest.mark.parametrize(("content", "cells"), [(b"GIF89a", [cell()]), (PICTURES[0], [])])
def test_what_is_no_picture_or_has_no_cell_is_refused(store, folder, content, cells):
    with pytest.raises(AppError, match="Nothing was stored"):
        store.add(content, "a", cells, "m", "M")
    assert files(folder) == []


def test_a_failure_in_the_last_cell_leaves_nothing(store, folder):
    with pytest.raises(sqlite3.Error):
        store.add(PICTURES[0], "a", [cell(), cell(thumbnail=object())], "m", "M")
    assert files(folder) == []
    assert store.page() == ([], 0, None)
    sound(folder)


# Pages, filters, agreement


@pytest.fixture
def five(store, monkeypatch):
    """Five records on two days: agreed, disagreed, unsure, disagreed and then agreed, new."""
    days = iter(["2026-01-01", "2026-01-01", "2026-01-02", "2026-01-03", "2026-01-03"])
    ids = []
    for number, label in enumerate(["ALL", "ALL", "HEM", "HEM", "ALL"]):
        day = next(days)
        monkeypatch.setattr(stores, "_now", lambda day=day: f"{day}T23:59:59+00:00")
        ids += store.add(PICTURES[0], "a", [cell(label)], f"m{number % 2}", f"Model {number % 2}")
    for number, verdicts in enumerate(["a", "d", "u", "da"]):
        for letter in verdicts:
            word = {"a": "agree", "d": "disagree", "u": "unsure"}[letter]
            store.verify(ids[number], Verdict(word, "other"))
    return store


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"newest_first": False}, [1, 2, 3, 4, 5]),
        ({"label": "HEM"}, [4, 3]),
        ({"label": "nothing"}, []),
        ({"verdict": "agree"}, [4, 1]),
        ({"verdict": "disagree"}, [2]),
        ({"verdict": "none"}, [5]),
        ({"disagreement": True}, [4, 2]),
        ({"model": "m1"}, [4, 2]),
        ({"since": "2026-01-02"}, [5, 4, 3]),
        ({"until": "2026-01-02"}, [3, 2, 1]),
        ({"since": "2026-01-02", "until": "2026-01-02"}, [3]),
        ({"label": "ALL", "verdict": "agree", "model": "m0", "until": "2026-01-01"}, [1]),
    ],
)
def test_pages_with_filters(five, filters, ids):
    for count in (1, 2, 5, 500):
        assert all_of(five, count, **filters) == ids
    filters.pop("newest_first", None)
    assert sorted(ids) == five.table(**filters)["id"].tolist()


def test_strange_pages(five):
    assert five.page(count=0).total == 5
    assert len(five.page(count=10**9).records) == 5
    assert five.page(after=10**30).records[0].id == 5
    assert five.page(after=-1).records == []


@pytest.mark.parametrize(
    "filters", [{"verdict": "maybe"}, {"since": "soon"}, {"until": "2026-13-01"}]
)
def test_filters_that_mean_nothing_are_refused(store, filters):
    with pytest.raises(AppError, match="filter"):
        store.page(**filters)


def test_a_record_added_meanwhile_neither_repeats_nor_hides_another(five):
    first = five.page(count=2)
    five.add(PICTURES[1], "new", [cell()], "m", "M")
    assert [record.id for record in five.page(count=5, after=first.next).records] == [3, 2, 1]


def test_choices_are_those_of_the_records(five):
    assert five.choices() == {
        "label": {"ALL": "ALL", "HEM": "HEM"},
        "model": {"m0": "Model 0", "m1": "Model 1"},
    }


def test_agreement(five):
    confusion, summary = five.agreement()
    assert confusion.to_dict() == {
        "ALL": {"ALL": 1, "HEM": 0},
        "HEM": {"ALL": 0, "HEM": 1},
        "other": {"ALL": 1, "HEM": 0},
    }
    assert summary == (
        "Readers agree on 2 of 3 cells that they labelled (67%) and are unsure of 1; 1 wait."
    )
    assert five.agreement("m0").summary.startswith("Readers agree on 1 of 1 cells")


def test_agreement_of_nothing(store):
    confusion, summary = store.agreement()
    assert confusion.empty
    assert (
        summary == "Readers agree on 0 of 0 cells that they labelled and are unsure of 0; 0 wait."
    )


# Any order of operations


@settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
class AnyOrder(RuleBasedStateMachine):
    """The store beside a plain list; two stores are open on the folder, as of two processes."""

    @initialize()
    def begin(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name) / "data"
        self.open = [Store(self.folder), Store(self.folder)]
        self.rows: list[dict] = []  # the id is the place, from 1
        self.pictures: set[bytes] = set()

    @rule(
        which=st.integers(0, 1),
        number=st.integers(0, len(PICTURES) - 1),
        labels=st.lists(st.sampled_from(["ALL", "HEM", ""]), min_size=1, max_size=3),
        model=st.sampled_from(["m1", "m2"]),
        name=st.text(max_size=20),
    )
    def add(self, which, number, labels, model, name):
        content = PICTURES[number]
        ids = self.open[which].add(content, name, [cell(label) for label in labels], model, "M")
        assert ids == list(range(len(self.rows) + 1, len(self.rows) + len(labels) + 1))
        self.rows += [{"label": label, "model": model, "history": []} for label in labels]
        self.pictures.add(content)

    @rule(which=st.integers(0, 1), place=st.integers(0, 40), word=st.sampled_from(stores.VERDICTS))
    def verify(self, which, place, word):
        row = self.rows[place] if place < len(self.rows) else None
        if row is None or (word == "agree" and not row["label"]):
            with pytest.raises(AppError):
                self.open[which].verify(place + 1, Verdict(word, "other"))
            return
        record = self.open[which].verify(place + 1, Verdict(word, "other"))
        right = {"agree": row["label"], "disagree": "other", "unsure": ""}[word]
        row["history"].insert(0, (word, right))
        assert (record.verdict.verdict, record.verdict.label) == row["history"][0]

    @rule(which=st.integers(0, 1))
    def fail(self, which):
        with pytest.raises(sqlite3.Error):
            self.open[which].add(PICTURES[0], "", [cell(), cell(thumbnail=object())], "m", "M")

    @rule(which=st.integers(0, 1), killed=st.booleans())
    def reopen(self, which, killed):
        if killed:  # between the file and the record
            digest = hashlib.sha256(b"lost").hexdigest()
            for name in (f"{digest}.png", f".{digest}-0123456789ab.png"):
                path = self.folder / "images" / digest[:2] / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"lo")
        self.open[which].close()
        self.open[which] = Store(self.folder)

    @rule(
        which=st.integers(0, 1),
        label=st.sampled_from(["", "ALL"]),
        verdict=st.sampled_from(["", "none", *stores.VERDICTS]),
        model=st.sampled_from(["", "m1"]),
        disagreement=st.booleans(),
        count=st.integers(1, 5),
    )
    def page(self, which, label, verdict, model, disagreement, count):
        filters = {"label": label, "verdict": verdict, "model": model}
        found = all_of(self.open[which], count, disagreement=disagreement, **filters)
        expected = [
            place
            for place, row in enumerate(self.rows, start=1)
            if label in ("", row["label"])
            and verdict in ("", [*row["history"], ("none", "")][0][0])
            and model in ("", row["model"])
            and (not disagreement or any(word == "disagree" for word, _ in row["history"]))
        ]
        assert found == expected[::-1]

    @invariant()
    def everything_is_there(self):
        if not hasattr(self, "open"):
            return
        store = self.open[0]
        table = store.table()
        assert table["label"].tolist() == [row["label"] for row in self.rows]
        newest = [[*row["history"], ("none", "")][0] for row in self.rows]
        assert list(zip(table["verdict"], table["right_label"], strict=True)) == newest
        for place, row in enumerate(self.rows[-3:], start=max(1, len(self.rows) - 2)):
            said = [(verdict.verdict, verdict.label) for verdict in store.verdicts(place)]
            assert said == row["history"]
        stored = {store.image(digest) for digest in table["image"].unique()}
        assert stored == self.pictures

    def teardown(self):
        if not hasattr(self, "open"):
            return
        for store in self.open:
            store.close()
        with closing(Store(self.folder)):
            sound(self.folder)
        self.temporary.cleanup()


TestAnyOrder = pytest.mark.slow(AnyOrder.TestCase)
