"""Threads, kills, full disks, damage: what the store confirmed is there, and nothing else."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from helpers.app import store as stores
from helpers.app.records import Verdict
from helpers.app.store import Store
from helpers.base.errors import AppError
from tests.unit.app.samples import cell, picture
from tests.unit.app.stored import PICTURES, all_of, files, hashes, sound
from tests.unit.app.writer import die_in_the_middle, write

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


@pytest.mark.slow
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


@pytest.mark.slow
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
