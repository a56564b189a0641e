"""The web app's store: whatever happens, what was confirmed is there, and nothing else."""

from __future__ import annotations

import errno
import hashlib
import math
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from helpers.app import store as stores
from helpers.app.store import Store, Verdict
from helpers.base.errors import AppError
from tests.unit.app.samples import BOX, cell, picture
from tests.unit.app.writer import die_in_the_middle, write

PICTURES = [picture(0), picture(1, "BMP"), picture(2, "JPEG"), picture(3, "TIFF")]
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


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def store(folder):
    with closing(Store(folder)) as made:
        yield made


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("images/*/*"))


def hashes(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def all_of(store: Store, count: int = 3, **filters) -> list[int]:
    """Return the ids that paging through all records gives."""
    ids, page = [], store.page(count=count, **filters)
    while True:
        ids += [record.id for record in page.records]
        assert page.total >= len(ids)
        if page.next is None:
            assert page.total == len(ids)
            return ids
        page = store.page(count=count, after=page.next, **filters)


def sound(folder: Path) -> None:
    """Assert that every record has its file, every file its record, and the database is whole."""
    with closing(sqlite3.connect(folder / "records.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = database.execute("SELECT sha256, ending FROM images ORDER BY 1").fetchall()
        lonely = "SELECT count(*) FROM images WHERE sha256 NOT IN (SELECT image FROM cells)"
        assert database.execute(lonely).fetchone() == (0,)
    assert files(folder) == [digest + ending for digest, ending in rows]
    for path in folder.glob("images/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


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


TestAnyOrder = AnyOrder.TestCase


# Threads, processes, kills


def test_threads_do_not_mix_up_their_answers(store, folder):
    made: dict[int, int] = {}

    def work(number: int) -> None:
        for turn in range(5):
            own = [cell(f"label {number}")]
            (made_id,) = store.add(picture(number), f"{number}", own, f"m{number}", "M")
            assert store.verify(made_id, Verdict("agree")).verdict.label == f"label {number}"
            assert store.page(model=f"m{number}").total == turn + 1
            made[made_id] = number

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20
    for made_id, number in made.items():
        assert store.image(store.get(made_id).image) == picture(number)
    sound(folder)


def test_a_start_waits_for_a_record_whose_file_is_there_already(folder, monkeypatch):
    """Else it took the file of another process for an orphan."""
    first, opened = Store(folder), []
    second = threading.Thread(target=lambda: opened.append(Store(folder)))
    insert = Store._insert

    def slowly(self, *arguments):
        assert len(files(folder)) == 1
        second.start()
        second.join(0.3)
        assert not opened
        return insert(self, *arguments)

    monkeypatch.setattr(Store, "_insert", slowly)
    (made,) = first.add(PICTURES[0], "a", [cell()], "m", "M")
    second.join()
    assert opened[0].image(opened[0].get(made).image) == PICTURES[0]
    for store in (first, *opened):
        store.close()
    sound(folder)


def confirmed(log: Path) -> list[list[str]]:
    """Return the lines that a writer has finished; a kill may cut off the last one."""
    text = log.read_text() if log.exists() else ""
    return [line.split() for line in text.split("\n")[:-1]]


def check_confirmed(store: Store, lines: list[list[str]]) -> None:
    for line in lines:
        record = store.get(int(line[1]))
        if line[0] == "added":
            assert record.image == line[2]
            assert hashlib.sha256(store.image(line[2])).hexdigest() == line[2]
            assert store.thumbnail(record.id)
        else:
            assert line[2] in {verdict.comment for verdict in store.verdicts(record.id)}


@pytest.fixture(scope="module")
def processes():
    """Return what starts processes that have imported the store already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.app.writer"])
    return context


def test_two_processes_write_at_once(folder, tmp_path, processes):
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    writers = [
        processes.Process(target=write, args=(folder, log, number, 15))
        for number, log in enumerate(logs)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with closing(Store(folder)) as store:
        for log in logs:
            assert len(confirmed(log)) == 15 * 3
            check_confirmed(store, confirmed(log))
        assert store.page().total == 15 * 2 * 2
    sound(folder)


def test_half_a_file_of_a_killed_process_is_not_taken_for_the_picture(store, folder, processes):
    killed = processes.Process(target=die_in_the_middle, args=(folder, PICTURES[0]))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert len(list(folder.glob("images/*/*"))) == 1
    (made,) = store.add(PICTURES[0], "a", [cell()], "m", "M")
    assert store.image(store.get(made).image) == PICTURES[0]
    Store(folder).close()
    sound(folder)


@pytest.mark.slow
def test_fifty_kills_lose_nothing_that_was_confirmed(folder, tmp_path, processes):
    """Two writers at a time are killed at random moments, while they start or write."""
    chance, lines = random.Random(24), []
    for kills in range(0, 50, 2):
        logs = [tmp_path / f"{kills + number}.log" for number in range(2)]
        writers = [
            processes.Process(target=write, args=(folder, log, kills + number, 10**6))
            for number, log in enumerate(logs)
        ]
        for writer in writers:
            writer.start()
        for writer, log in zip(writers, logs, strict=True):
            enough = chance.randrange(12)
            while len(confirmed(log)) < enough and writer.is_alive():
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.03))
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
            assert writer.exitcode == -signal.SIGKILL
        new = [line for log in logs for line in confirmed(log)]
        with closing(Store(folder)) as store:
            check_confirmed(store, new)
        sound(folder)
        lines += new
    assert len(lines) > 100
    assert len(list(folder.glob("unrecorded/*"))) <= 50
    with closing(Store(folder)) as store:
        check_confirmed(store, lines)


# Disks and databases that refuse


def test_a_full_disk_while_the_file_is_written(store, folder, monkeypatch):
    store.add(PICTURES[0], "a", [cell()], "m", "M")

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(AppError, match="No space left") as told:
            store.add(PICTURES[1], "b", [cell()], "m", "M")
    assert "COURSE_ARTIFACTS" not in str(told.value)
    assert store.page().total == 1
    assert len(files(folder)) == 1
    store.add(PICTURES[1], "b", [cell()], "m", "M")
    sound(folder)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("thumbnail", [b"x", b"x" * 30_000])
def test_a_disk_that_runs_full(small_disk, thumbnail):
    """With large thumbnails the database finds no room, with small ones the files do not."""
    folder = small_disk / "data"
    store, made = Store(folder), []
    (small_disk / "ballast").write_bytes(bytes(200_000))

    def fill(first: int) -> str:
        for seed in range(first, first + 2000):
            try:
                new = store.add(picture(seed), "a", [cell(thumbnail=thumbnail)], "m", "M")
            except AppError as told:
                return str(told)
            made.append((*new, picture(seed)))
        raise AssertionError("a disk of 1 MB took 2,000 pictures")

    for turn in range(2):
        assert "full" in (text := fill(5000 * turn)) or "No space left" in text
        assert "Nothing that was stored before is lost" in text
        assert all_of(store, 500) == [number for number, _ in reversed(made)]
        for number, content in made:
            assert store.image(store.get(number).image) == content
        sound(folder)
        before = len(made)
        (small_disk / "ballast").unlink(missing_ok=True)
    assert before > 5
    store.close()
    with closing(Store(folder)) as store:
        assert len(all_of(store, 500)) == len(made)


def test_a_disk_that_is_read_only(small_disk):
    folder = small_disk / "data"
    with closing(Store(folder)) as store:
        store.add(PICTURES[0], "a", [cell()], "m", "M")
    before = hashes(folder)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(AppError, match="Read-only file system"):
        Store(folder)
    assert hashes(folder) == before


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("here")
    with pytest.raises(AppError, match="cannot be used"):
        Store(tmp_path / "data")
    assert (tmp_path / "data").read_text() == "here"


def test_another_process_that_writes_for_too_long(store, folder, monkeypatch):
    with closing(sqlite3.connect(folder / "records.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        store._run("PRAGMA busy_timeout = 20")
        with pytest.raises(AppError, match="another program has been writing"):
            store.add(PICTURES[0], "a", [cell()], "m", "M")
        assert store.page().total == 0
    store.add(PICTURES[0], "a", [cell()], "m", "M")
    sound(folder)


def _overwrite(place: float, count: int = 3000):
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        start = int(len(content) * place)
        content[start : start + count] = bytes(range(256)) * 20
        path.write_bytes(content)

    return damage


def _other_hash(path: Path) -> None:
    """Change one place where the hash of a picture stands; its index still has the old one."""
    content = path.read_bytes()
    digest = hashlib.sha256(PICTURES[0]).hexdigest().encode()
    start = content.index(digest)
    path.write_bytes(content[:start] + b"0" * 64 + content[start + 64 :])


DAMAGES = {
    "no database": _overwrite(0),
    "in the middle": _overwrite(0.4),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another hash": _other_hash,
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_refused_and_nothing_is_deleted(folder, damage):
    with closing(Store(folder)) as store:
        for content in PICTURES:
            store.add(content, "a", [cell(thumbnail=bytes(9000))] * 5, "m", "M")
    path = folder / "records.sqlite"
    whole = path.read_bytes()
    DAMAGES[damage](path)
    before = hashes(folder)
    with pytest.raises(AppError, match=r"is damaged|their records are lost"):
        Store(folder)
    after = hashes(folder)
    assert {name: after[name] for name in before} == before
    path.write_bytes(whole)
    with closing(Store(folder)) as store:
        assert store.page().total == 20
    sound(folder)


def test_files_that_are_not_the_stores_stay(folder):
    Store(folder).close()
    (folder / "images" / "ab").mkdir(parents=True)
    for name in ("images/ab/my cell.png", "notes.txt", "images/ab/" + "a" * 64 + ".txt"):
        (folder / name).write_text("mine")
    before = hashes(folder)
    Store(folder).close()
    assert {name: hashes(folder)[name] for name in before} == before


def test_an_old_copy_of_the_database_costs_no_picture(folder):
    """A damaged database asks for a copy, which may be older than some pictures."""
    path = folder / "records.sqlite"
    with closing(Store(folder)) as store:
        store.add(PICTURES[0], "a", [cell()], "m", "M")
    old = path.read_bytes()
    with closing(Store(folder)) as store:
        store.add(PICTURES[1], "b", [cell()], "m", "M")
    path.write_bytes(old)
    with closing(Store(folder)) as store:
        sound(folder)
        (aside,) = (folder / "unrecorded").iterdir()
        assert aside.read_bytes() == PICTURES[1]
        store.add(aside.read_bytes(), "b", [cell()], "m", "M")
    sound(folder)


def test_a_newer_database_is_refused_and_an_older_one_brought_up(folder, monkeypatch):
    with closing(Store(folder)) as store:
        store.add(PICTURES[0], "a", [cell()], "m", "M")
    with monkeypatch.context() as patch:
        newer = (*stores._MIGRATIONS, "ALTER TABLE cells ADD COLUMN note TEXT; ")
        patch.setattr(stores, "_MIGRATIONS", newer)
        for _ in range(2):
            with closing(Store(folder)) as store:
                assert store.table()["note"].tolist() == [None]
    before = hashes(folder)
    with pytest.raises(AppError, match="newer version of the course"):
        Store(folder)
    assert hashes(folder) == before


def test_a_migration_that_fails_leaves_the_database_as_it_was(folder, monkeypatch):
    with closing(Store(folder)) as store:
        store.add(PICTURES[0], "a", [cell()], "m", "M")
    with monkeypatch.context() as patch:
        broken = (*stores._MIGRATIONS, "ALTER TABLE cells ADD COLUMN note TEXT; CREATE NONSENSE")
        patch.setattr(stores, "_MIGRATIONS", broken)
        with pytest.raises(AppError):
            Store(folder)
    with closing(Store(folder)) as store:
        assert "note" not in store.table()
        assert store.page().total == 1
