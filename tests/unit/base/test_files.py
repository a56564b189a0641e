"""What is computed once is kept whole, read without a lock, and made by one process only."""

import ast
import errno
import multiprocessing
import os
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import numpy as np
import pytest

from helpers.base.code import PACKAGE
from helpers.base.files import (
    WAITS_FILE,
    FileError,
    atomic_path,
    kept,
    locked,
    printable,
    read_array,
    read_sealed,
    sealed,
    write_json,
    write_text,
)


def read(path):
    return path.read_text() if path.is_file() else None


def test_a_result_is_made_once_and_then_read(tmp_path):
    made = []

    def make(temporary):
        made.append(temporary.suffix)
        temporary.write_text("42")

    for _ in range(3):
        assert kept(tmp_path / "new" / "answer.txt", read, make) == "42"
    assert made == [".txt"]
    names = [".answer.lock", ".answer.txt.sums", "answer.txt"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == names


def test_a_finished_result_is_read_without_a_lock_and_without_a_write(tmp_path, monkeypatch):
    kept(tmp_path / "answer.txt", read, lambda path: path.write_text("42"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.iterdir())}

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    assert kept(tmp_path / "answer.txt", read, refuse) == "42"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.iterdir())} == before


def test_a_damaged_file_is_made_again(tmp_path):
    path = tmp_path / "array.npy"
    path.write_bytes(b"\x93NUMPY and then the disk was full")
    array = kept(
        path,
        lambda path: read_array(path, (3,), "uint8"),
        lambda path: np.save(path, np.arange(3, dtype=np.uint8)),
    )
    assert array.tolist() == [0, 1, 2]


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail(temporary):
        temporary.write_text("half")
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        kept(tmp_path / "answer.txt", read, fail)
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    half, others = (tmp_path / f".{stem}-0123456789ab.txt" for stem in ("answer", "answer-2"))
    half.write_text("half")
    others.write_text("half")  # of another result, which its process may be writing now
    kept(tmp_path / "answer.txt", read, lambda path: path.write_text("42"))
    assert others.exists()
    assert not half.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_one_sentence_with_the_remedy(tmp_path, number):
    def refuse(temporary):
        raise OSError(number, os.strerror(number))

    with pytest.raises(FileError, match=r"answer.txt cannot be written .*COURSE_ARTIFACTS") as told:
        kept(tmp_path / "answer.txt", read, refuse)
    assert ("make room" in str(told.value)) == (number == errno.ENOSPC)


def test_a_file_that_cannot_be_read_back_is_said(tmp_path):
    with pytest.raises(FileError, match="was written but cannot be read back"):
        kept(tmp_path / "answer.txt", lambda path: None, lambda path: path.write_text("42"))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_fsync_keeps_the_file(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    assert kept(tmp_path / "a.txt", read, lambda path: path.write_text("42")) == "42"


def test_a_disk_that_says_only_at_the_end_that_it_is_full(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")

    def refuse(_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FileError, match=r"quota exceeded.*make room"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_kept_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("stored"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("named"), replace(*paths)))
    kept(tmp_path / "a.txt", read, lambda path: path.write_text("42"))
    assert done == ["stored", "named"] * 2  # the checksums, then the result


def test_a_disk_without_hard_links_or_chmod_is_served(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("link", "symlink", "chmod", "chown", "utime", "setxattr"):
        monkeypatch.setattr(os, name, refuse, raising=False)
    assert kept(tmp_path / "a.txt", read, lambda path: path.write_text("42")) == "42"


def test_a_clock_that_goes_backwards_costs_nothing(tmp_path):
    kept(tmp_path / "a.txt", read, lambda path: path.write_text("42"))
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    assert kept(tmp_path / "a.txt", read, None) == "42"


@pytest.mark.parametrize(
    "folder", ['it\'s "here"', "Präparate é", "a b", "x" * 200, "[ab]*?{}%s\n"]
)
def test_any_folder_will_do(tmp_path, folder):
    (tmp_path / folder).mkdir()
    stale = tmp_path / folder / f".{folder[:20]}-0123456789ab.txt"
    stale.write_text("half")
    path = tmp_path / folder / f"{folder[:20]}.txt"
    assert kept(path, read, lambda path: path.write_text("42")) == "42"
    assert not stale.exists()


def test_a_folder_emptied_under_the_work_is_filled_again(tmp_path):
    path, tries = tmp_path / "new" / "a.txt", []

    def make(temporary):
        temporary.write_text("42")
        tries.append(1)
        if len(tries) == 1:
            shutil.rmtree(path.parent)

    assert kept(path, read, make) == "42"
    assert len(tries) == 2


def test_a_folder_emptied_again_and_again_is_told(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(FileError, match=r"was removed while .*a\.txt was being made"):
        kept(path, read, lambda temporary: shutil.rmtree(path.parent))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_a_place_for_no_folders_is_not_said_to_be_removed():
    for write in (lambda path: kept(path, read, None), lambda path: write_text(path, "42")):
        with pytest.raises(
            FileError, match=r"^/proc/new cannot be written \(no folder can be made"
        ):
            write(Path("/proc/new/a.txt"))


def test_an_error_of_the_work_itself_is_not_hidden(tmp_path):
    def make(temporary):
        (tmp_path / "elsewhere" / "image.bmp").read_bytes()

    with pytest.raises(FileNotFoundError, match=r"image\.bmp") as error:
        kept(tmp_path / "new" / "a.txt", read, make)
    assert not isinstance(error.value, FileError)


def test_a_json_file_with_a_changed_byte_is_not_taken(tmp_path):
    path = write_json(tmp_path / "a.json", sealed({"epoch": 1, "loss": 0.5}))
    assert read_sealed(path) == {"epoch": 1, "loss": 0.5}
    path.write_text(path.read_text().replace("0.5", "0.4"))
    assert read_sealed(path) is None
    assert read_sealed(write_json(tmp_path / "b.json", {"epoch": 1})) == {"epoch": 1}


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "no locks")])
def test_a_disk_without_locks_is_served_without_one(tmp_path, monkeypatch, error):
    def refuse(self, *_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert kept(tmp_path / "a.txt", read, lambda path: path.write_text("42")) == "42"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_disk_that_refuses_flock_gets_no_lock_and_no_mark_that_another_machine_waits_for(
    tmp_path, monkeypatch, number
):
    """As Google Drive may: a machine that is lost must not leave a lock behind."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "a.lock"), locked(tmp_path / "a.lock"):  # the first one was lost
        assert kept(tmp_path / "a.txt", read, lambda path: path.write_text("42")) == "42"


def test_another_refusal_of_the_lock_is_not_hidden(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(OSError, match="broken"), locked(tmp_path / "a.lock"):
        pass


def test_a_disk_that_refuses_chmod_keeps_the_file(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    assert write_text(tmp_path / "a.txt", "42").read_text() == "42"


def test_new_files_have_the_rights_that_the_umask_asks_for(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "42")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_writing_never_changes_the_umask_of_other_threads(tmp_path):
    stop = threading.Event()

    def write():
        while not stop.is_set():
            write_text(tmp_path / "a.txt", "42")

    old = os.umask(0o077)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(300):
            path = tmp_path / f"private-{number}"
            path.touch()
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        stop.set()
        thread.join()
        os.umask(old)


def test_a_disk_that_refuses_mmap_has_its_array_read_into_memory(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))

    def refuse(*_, **__):
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(np, "memmap", refuse)
    monkeypatch.setattr(np.lib.format, "open_memmap", refuse)
    array = read_array(tmp_path / "a.npy", (2, 3), "int64")
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 7


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), "int64"), ((2, 3), "uint8")])
def test_an_array_of_another_shape_or_type_is_not_taken(tmp_path, shape, dtype):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    assert read_array(tmp_path / "a.npy", shape, dtype) is None


def test_an_array_without_a_row_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 4, 4, 3), np.uint8))
    assert read_array(tmp_path / "a.npy", (0, 4, 4, 3), "uint8").shape == (0, 4, 4, 3)


def count(folder, number):
    def make(temporary):
        time.sleep(0.1)
        with open(folder / "made.txt", "a") as file:
            file.write("x")
        temporary.write_text("42")

    assert kept(folder / "answer.txt", read, make) == "42"


def test_of_several_processes_one_makes_the_result(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=count, args=(tmp_path, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
        assert worker.exitcode == 0
    assert (tmp_path / "made.txt").read_text() == "x"


def write_for_ever(folder):
    """Make results of two files, one after the other, until this process is killed."""
    while True:
        for number in range(5):
            path = folder / f"{number}.txt"
            path.unlink(missing_ok=True)
            two_files(path, lambda path: True)


def two_files(path, read):
    def make(temporary):
        temporary.write_text("42" * 50_000)
        write_text(path.with_suffix(".more"), "43" * 50_000)

    return kept(path, read, make, also=[f"{path.stem}.more"])


@pytest.mark.slow
def test_what_a_killed_process_was_writing_is_made_again(tmp_path):
    context = multiprocessing.get_context("fork")
    for moment in range(40):
        writer = context.Process(target=write_for_ever, args=(tmp_path,))
        writer.start()
        time.sleep(random.Random(moment).uniform(0, 0.1))
        writer.kill()
        writer.join()
        for number in range(5):
            path = tmp_path / f"{number}.txt"
            whole = two_files(path, lambda p: (p.read_text(), p.with_suffix(".more").read_text()))
            assert whole == ("42" * 50_000, "43" * 50_000)
        assert not list(tmp_path.glob(".*.txt")) + list(tmp_path.glob(".*.more"))


def test_a_path_keeps_its_old_content_when_writing_fails(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def fail():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_is_no_utf8_is_written_as_it_is_and_printed_with_a_mark(tmp_path):
    name = os.fsdecode(b"Pr\xe4parate")
    assert write_text(tmp_path / "a.txt", name).read_bytes() == b"Pr\xe4parate"
    assert printable(name) == "Pr\ufffdparate"
    assert printable("Präparate") == "Präparate"


def test_who_waits_says_so_in_the_file_of_waits_and_nowhere_else(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(WAITS_FILE, str(tmp_path / "waits.txt"))
    waits, path = tmp_path / "waits.txt", tmp_path / "networks" / "a.txt"
    second = []
    with ThreadPoolExecutor(1) as pool:

        def make(temporary):
            second.append(pool.submit(kept, path, read, lambda _: pytest.fail("made twice")))
            deadline = time.monotonic() + 10
            while not waits.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            temporary.write_text("42")

        assert kept(path, read, make) == "42"
        assert second[0].result() == "42"
    assert waits.read_text() == "networks/a.txt\n"
    assert capfd.readouterr() == ("", "")


#: Modules that write directly, and into what: it gets its name only when it is whole.
DIRECT = {
    "app/api.py": "no file: text that is sent",
    "app/export.py": "bytes in memory, and a folder that is renamed once it is whole",
    "app/prepare.py": "the file of `kept`",
    "app/store.py": "the file of `atomic_path`",
    "base/files.py": "the file of `atomic_path`",
    "base/settings.py": "a copy, made again until it is whole: only then its source goes",
    "cells/field_crops.py": "the file of `kept`",
    "course/book.py": "the folder that the book is built from",
    "course/confinement.py": "no file on a disk: the process's own namespace",
    "course/editions.py": "a copy in the folder that is renamed once it is whole",
    "course/grading.py": "what the marking process reads: a pipe",
    "course/grading_values.py": "a temporary folder",
    "course/pages.py": "pages of a book that is moved once it is whole",
    "course/template.py": "what was there before is put back",
    "course/weight.py": "pages of a book that is moved once it is whole",
    "datasets/drawn/fields.py": "the file of `atomic_path`",
    "datasets/drawn/frames.py": "the file of `atomic_path`",
    "datasets/drawn/leukocytes.py": "the file of `atomic_path`",
    "exercises/chapter_22.py": "a temporary folder",
    "images/loading.py": "the file of `kept`",
    "images/preparing.py": "the file of `kept`",
    "studies/generative.py": "the file of `kept`",
    "studies/transfers.py": "the file of `kept`",
    "training/frozen.py": "the file of `kept`",
    "training/runs.py": "the file of `atomic_path`",
    "training/zoo.py": "the file of `atomic_path`",
}
WRITERS = {
    "copy", "copy2", "copyfile", "copytree", "dump", "imwrite", "save", "savefig", "savez",
    "to_csv", "to_json", "to_pickle", "tofile", "write_bytes", "write_html", "write_text",
}  # fmt: skip


def writes_to_a_path(call):
    if not isinstance(call.func, ast.Attribute):
        modes = [a.value for a in call.args[1:2] if isinstance(a, ast.Constant)]
        return getattr(call.func, "id", "") == "open" and bool(set("wax+") & set(*modes or [""]))
    owner = getattr(call.func.value, "id", "")
    if call.func.attr in ("copy", "dump"):  # `copy` of an array, `dump` of a text
        return owner in ("shutil", "json", "pickle")
    return call.func.attr in WRITERS and owner != "files" and bool(call.args)


@pytest.mark.slow
def test_every_other_module_writes_through_this_one():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        found[path.relative_to(PACKAGE).as_posix()] = [
            ast.unparse(call) for call in calls if writes_to_a_path(call)
        ]
    others = {name: calls for name, calls in found.items() if calls and name not in DIRECT}
    assert not others, "write with atomic_path, write_text, write_json, write_csv or kept"
    assert all(found[name] for name in DIRECT)
