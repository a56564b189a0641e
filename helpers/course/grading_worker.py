"""The process that marks notebooks of one chapter: ``python -m helpers.course.grading_worker``.

It runs the chapter once, without solutions, and then reads one submission a line. For each it
forks a *student's process*, in which the answers are run, shut in as far as the system allows;
and for each exercise a *checker's process*, in which no line of a student's code ever runs: it
gets what the student's process sends (:mod:`helpers.course.grading_values`), runs the
instructor's check cell, and tells the result through a pipe that no student's process has.

A process can be forked safely only as long as it has one thread. TensorFlow starts threads with
its first operation. So the chapter is run up to that cell, then only its imports and definitions;
an answer that needs more gets a process that runs the whole chapter first.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import ctypes
import io
import json
import os
import pickle
import random
import re
import resource
import select
import signal
import socket
import struct
import symtable
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from helpers.course import grading_values
from helpers.exercises import checking

#: Most bytes of one message.
_LARGEST = 2**28
#: Seconds in which the whole chapter must be run.
_CHAPTER_LIMIT = 900
#: Seconds from one look at the time to the next.
_GLANCE = 0.5
_ERRORS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception)
}


class Gone(BaseException):
    """The process at the other end is not there any more, or not in time."""


def _send(end: socket.socket, message: bytes) -> None:
    """Send a message: pickled to a student's process, which trusts it; JSON from there."""
    try:
        end.sendall(struct.pack(">Q", len(message)) + message)
    except OSError:
        raise Gone("its process ended") from None


def _receive(end: socket.socket, limit: _Limit | None = None) -> bytes:
    end.settimeout(_GLANCE if limit else None)

    def exactly(size: int) -> bytes:
        parts = []
        while size:
            try:
                part = end.recv(min(size, 2**20))
            except TimeoutError:
                limit.check()
                continue
            except OSError:
                part = b""
            if not part:
                raise Gone("its process ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    (size,) = struct.unpack(">Q", exactly(8))
    if size > _LARGEST:
        raise Gone(f"its answer has {size / 2**20:.0f} MB")
    return exactly(size)


class _Limit:
    """The time in which something must be done, by some processes and all that they start.

    It is the time in which they compute or wait for nothing. The time in which they wait for
    the processor does not count: a busy machine must not cost a student points.
    """

    def __init__(self, seconds: float, *pids: int) -> None:
        self.seconds, self.pids, self.idle = seconds, pids, 0.0
        self.before, _ = self._look()
        self.last = self.before

    def check(self) -> None:
        """Raise `Gone` when the time is over; to be called every `_GLANCE` seconds."""
        computed, ready = self._look()
        if not ready and computed - self.last < 0.02:
            self.idle += _GLANCE
        self.last = computed
        if computed - self.before + self.idle > self.seconds:
            raise Gone(f"it took longer than {self.seconds:g} s")

    def _look(self) -> tuple[float, bool]:
        """Return the seconds computed so far, and whether a thread could compute now."""
        total, ready = 0.0, False
        for pid in self.pids:
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(pid)
                for process in (parent, *parent.children(recursive=True)):
                    with contextlib.suppress(psutil.Error, OSError):
                        total += sum(process.cpu_times()[:4])
                        for thread in Path(f"/proc/{process.pid}/task").glob("*/stat"):
                            ready |= thread.read_text().rpartition(")")[2].split()[0] in "RD"
        return total, ready


def _told(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """End this process, which was forked, whatever happens in it."""
    try:
        yield
    except BaseException as error:
        print(_told(error), file=sys.stderr)
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(0)


class Chapter:
    """The cells of a chapter before its exercises, run in this process as far as it may be.

    Parameters
    ----------
    cells : list of str
        Their code, with the parameters of the run.
    """

    def __init__(self, cells: list[str]) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config({"HistoryManager": {"enabled": False}})
        self.shell = InteractiveShell.instance(config=config, colors="NoColor")
        self.cells = cells
        self.names = set().union(*map(_assigned, cells)) - {"answer"}
        self.complete = False

    def run(self, source: str) -> str:
        """Run a cell; return its error in one line, or nothing."""
        result = self.shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        return _told(error) if error else ""

    def finish(self) -> None:
        """Run all cells.

        Raises
        ------
        RuntimeError
            When one of them fails: then the course does not work here.
        """
        for cell in self.cells:
            if error := self.run(cell):
                raise RuntimeError(f"{error}, in the cell that begins {cell.splitlines()[0]!r}")
        self.complete = True

    def begin(self, alone: int | None = None) -> int:
        """Run the cells as long as this process has one thread, then imports and definitions.

        Parameters
        ----------
        alone : int, optional
            How many cells that are. Without it, a forked process finds out: it runs the
            whole chapter, so that all which is computed once and kept is there.

        Returns
        -------
        int
            How many cells.

        Raises
        ------
        RuntimeError
            When a cell fails.
        """
        alone = self._alone() if alone is None else alone
        for cell in self.cells[:alone]:
            self.run(cell)
        for cell in self.cells[alone:]:
            for definition in _definitions(cell):
                self.run(definition)
        self.complete = alone == len(self.cells)
        return alone

    def _alone(self) -> int:
        inside, outside = os.pipe()
        if os.fork() == 0:
            with _leaving():
                for cell in self.cells:
                    error = self.run(cell)
                    threads = len(os.listdir("/proc/self/task"))
                    os.write(outside, (json.dumps([threads, error]) + "\n").encode())
        os.close(outside)
        with os.fdopen(inside) as lines:
            told = [json.loads(line) for line in lines]
        os.wait()
        errors = [*(error for _, error in told), "its process ended"]
        failed = next(number for number, error in enumerate(errors) if error)
        if failed < len(self.cells):
            begins = self.cells[failed].splitlines()[0]
            raise RuntimeError(f"{errors[failed]}, in the cell that begins {begins!r}")
        return next((n for n, (threads, _) in enumerate(told) if threads > 1), len(told))

    def lacks(self, sources: list[str]) -> bool:
        """Return whether sources use names of the chapter that are not there yet."""
        if self.complete:
            return False
        return bool(set().union(*map(_used, sources)) & self.names - self.shell.user_ns.keys())


def _assigned(source: str) -> set[str]:
    """Return the names that the statements of a cell set."""
    table = symtable.symtable(source, "cell", "exec")
    return {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}


def _used(source: str) -> set[str]:
    """Return the names that a cell takes from elsewhere; none where it is not plain Python."""

    def walk(table: symtable.SymbolTable) -> Iterator[str]:
        outer = table.get_type() == "module"
        for one in table.get_symbols():
            if one.is_referenced() and (not one.is_assigned() if outer else one.is_global()):
                yield one.get_name()
        for inner in table.get_children():
            yield from walk(inner)

    with contextlib.suppress(SyntaxError, ValueError):
        return set(walk(symtable.symtable(source, "cell", "exec")))
    return set()


def _definitions(source: str) -> Iterator[str]:
    """Yield the statements of a cell that compute nothing: imports, functions, classes, values."""
    for node in ast.parse(source).body:
        plain = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if plain or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            yield ast.unparse(node)


def _limit(memory: float) -> None:
    """Limit what this process may take: memory beyond what it has, in GiB, and files."""
    used = psutil.Process().memory_info().vms
    for kind, limit in (
        (resource.RLIMIT_AS, used + int(memory * 2**30)),
        (resource.RLIMIT_FSIZE, 2**28),
        (resource.RLIMIT_NOFILE, 512),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "spread", "users")]


def _shut_in(folder: str, hidden: list[str]) -> list[str]:
    """Take network, files and other processes away; say in words what the system does not allow."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounts, users, processes, network = 0x00020000, 0x10000000, 0x20000000, 0x40000000
    ids = {"setgroups": "deny", "uid_map": f"{os.getuid()} {os.getuid()} 1"}
    ids["gid_map"] = f"{os.getgid()} {os.getgid()} 1"
    if libc.unshare(users | processes | network | mounts) != 0:
        return ["the network", "files outside its folder", "the chapters with their solutions"]
    for name, text in ids.items():
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(text)
    resource.setrlimit(resource.RLIMIT_NPROC, (256, 256))  # counted in here, not for the user
    open_to_it = []
    private = libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_PRIVATE, MS_REC
    change = _MountAttributes(set=1)  # read-only
    # mount_setattr, which has no function in libc, with AT_FDCWD and AT_RECURSIVE
    done = libc.syscall(442, -100, b"/", 0x8000, ctypes.byref(change), ctypes.sizeof(change)) == 0
    if not (private and done):
        open_to_it.append("files outside its folder")
    for place in (*hidden, "/dev/shm", folder):
        if os.path.isfile(place):
            empty = libc.mount(b"/dev/null", os.fsencode(place), None, 0x1000, None) == 0  # MS_BIND
        else:
            empty = libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=256m") == 0
        if not empty and place in hidden:
            open_to_it.append("the chapters with their solutions")
    libc.unshare(users | mounts)  # again: what was mounted before cannot be undone in there
    if child := os.fork():
        # The first process with numbers of its own: all others in there end with it.
        os.waitpid(child, 0)
        os._exit(0)
    _end_with_parent()
    return open_to_it


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class Remote:
    """In a student's process: something of the checker's, which runs over there."""

    def __init__(self, ask: Callable, number: int) -> None:
        self._ask, self._number = ask, number

    def __call__(self, *given: Any, **more: Any) -> Any:
        """Call a function."""
        return self._ask(self._number, "__call__", given, more)

    def predict(self, *given: Any, **more: Any) -> Any:
        """Ask a network."""
        return self._ask(self._number, "predict", given, more)

    predict_on_batch = predict


class Student:
    """The student's end of the socket: does what it is asked for, until it is ended."""

    def __init__(self, end: socket.socket, chapter: Chapter) -> None:
        self.end, self.chapter = end, chapter
        self.kept: list[Any] = []

    def refer(self, value: Any) -> int:
        """Keep a value; return its number."""
        self.kept.append(value)
        return len(self.kept) - 1

    def tell(self, **message: Any) -> None:
        """Send a message."""
        _send(self.end, json.dumps(message).encode())

    def request(self) -> Any:
        """Return the next message."""
        load = pickle.Unpickler(io.BytesIO(_receive(self.end)))
        load.persistent_load = lambda number: Remote(self.ask, number)
        return load.load()

    def ask(self, number: int, method: str, given: tuple, more: dict) -> Any:
        """Call something of the checker's and return what it returns."""
        given, more = (grading_values.encode(part, self.refer) for part in (given, more))
        self.tell(ask=number, method=method, given=given, more=more)
        error, value = self.request()
        if error:
            raise RuntimeError(error)
        return value

    def serve(self) -> None:
        """Do what is asked for, again and again."""
        while True:
            what, *rest = self.request()
            try:
                done = getattr(self, what)(*rest)
            except (Exception, SystemExit) as error:
                kinds = [kind.__name__ for kind in type(error).__mro__]
                done = {"error": kinds, "text": _told(error).partition(": ")[2]}
            self.tell(**done)

    def run(self, cells: list[str], seed: int) -> dict:
        """Run the cells of an answer, until one fails."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (an answer may draw from it)
        if "keras" in sys.modules:
            sys.modules["keras"].utils.set_random_seed(seed)
        self.chapter.shell.user_ns["answer"] = ...
        return {"value": next(filter(None, map(self.chapter.run, cells)), "")}

    def finish(self) -> dict:
        """Run the whole chapter."""
        self.chapter.finish()
        return {"value": ""}

    def get(self) -> dict:
        """Return the answer."""
        answer = self.chapter.shell.user_ns.get("answer", ...)
        return {"value": grading_values.encode(answer, self.refer)}

    def each(self, number: int, given: tuple, more: dict) -> dict:
        """Call a function of the student's for each of many values."""
        values = [self.kept[number](value) for value in given[0]]
        return {"value": grading_values.encode(values, self.refer)}

    def call(self, number: int, given: tuple, more: dict) -> dict:
        """Call a function of the student's; tell also which arguments it changed."""

        def state(part: Any) -> Any:
            if isinstance(part, list | dict | np.ndarray | np.random.Generator):
                with contextlib.suppress(TypeError):
                    return grading_values.encode(part, self.refer)
            return None

        before = [state(part) for part in given]
        value = self.kept[number](*given, **more)
        after = [state(part) for part in given]
        changed = {place: new for place, new in enumerate(after) if new != before[place]}
        return {"value": grading_values.encode(value, self.refer), "changed": changed}


def _map_at_once() -> None:
    """Let pandas call a student's function for the rows of a column in one message."""
    one_by_one = pd.Series.map

    def at_once(self: pd.Series, function: Any, *given: Any, **more: Any) -> pd.Series:
        if not isinstance(function, grading_values.Function):
            return one_by_one(self, function, *given, **more)
        return pd.Series(function.each(self.tolist()), index=self.index)

    pd.Series.map = at_once


class _Pickler(pickle.Pickler):
    """Gives a number to what must stay here: stand-ins for networks, functions without a name."""

    kept: list[Any]

    def persistent_id(self, value: Any) -> int | None:
        local = type(value).__name__ == "function" and value is not getattr(
            sys.modules.get(value.__module__), value.__qualname__, None
        )
        if not local and not isinstance(value, checking.Network):
            return None
        self.kept.append(value)
        return len(self.kept) - 1


class Checker:
    """The checker's end of the socket."""

    def __init__(self, end: socket.socket) -> None:
        self.end, self.kept = end, []
        self.end.settimeout(None)

    def request(self, *message: Any) -> None:
        """Send a message."""
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.kept = self.kept
        pickler.dump(message)
        _send(self.end, file.getvalue())

    def result(self) -> dict:
        """Return the next message of a student's process, after the calls it has in between."""
        while "ask" in (message := json.loads(_receive(self.end))):
            if message["method"] not in ("__call__", "predict"):
                raise Gone("it asked for what it may not have")
            try:
                function = getattr(self.kept[message["ask"]], message["method"])
                given = grading_values.decode(message["given"], self.call)
                more = grading_values.decode(message["more"], self.call)
                self.request("", function(*given, **more))
            except Exception as error:
                self.request(_told(error), None)
        if names := message.get("error"):
            known = [kind for name in names if (kind := _ERRORS.get(name))]
            raise type(str(names[0]), (known[0] if known else Exception,), {})(message["text"])
        return message

    def call(self, what: str, number: int, given: tuple, more: dict) -> Any:
        """Call a function of the student's."""
        self.request(what, number, given, more)
        message = self.result()
        for place, new in message.get("changed", {}).items():
            grading_values.update(given[int(place)], grading_values.decode(new, self.call))
        return grading_values.decode(message["value"], self.call)

    def check(self, chapter: Chapter, asked: list[str], check: str) -> list[str]:
        """Run an exercise's cells as the instructor has them, with the student's answer."""
        _limit(8)
        _map_at_once()
        if chapter.lacks([*asked, check]):
            chapter.finish()
        for cell in asked:
            chapter.run(cell)
        self.request("get")
        try:
            answer = grading_values.decode(self.result()["value"], self.call)
        except Exception as error:
            return [f"✗ Your answer could not be checked: {_told(error)}"]
        chapter.shell.user_ns |= {"answer": answer, "check": checking.check}
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            exec(check, chapter.shell.user_ns)
        return text.getvalue().splitlines()


class _Pair:
    """A student's process, and a checker's for each exercise."""

    def __init__(self, chapter: Chapter, limits: dict, full: bool, ran: list[list[str]]) -> None:
        self.chapter, self.limits = chapter, limits
        self.end, other = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            with _leaving():
                _become_a_students(other, chapter, limits)
        other.close()
        try:
            self.open_to_it = json.loads(_receive(self.end, _Limit(60, self.pid)))["open"]
            if full:
                self._ask(_CHAPTER_LIMIT, "finish")
            for number, cells in enumerate(ran):
                self._ask(limits["seconds"], "run", cells, number)
        except Gone:
            self.close()
            raise

    def _ask(self, seconds: float, *message: Any) -> str:
        _send(self.end, pickle.dumps(message))
        try:
            told = json.loads(_receive(self.end, _Limit(seconds, self.pid)))
            return str(told["value"] if "value" in told else told["text"])
        except (ValueError, LookupError, TypeError):
            raise Gone("its process sent what cannot be read") from None

    def exercise(self, exercise: dict, number: int) -> list[str]:
        """Run one answer and its check; return the lines of the check."""
        seconds = self.limits["seconds"]
        if error := self._ask(seconds, "run", exercise["answer"], number):
            return [f"✗ {error}"]
        if self.chapter.lacks([*exercise["asked"], exercise["check"]]):
            seconds += _CHAPTER_LIMIT
        inside, outside = os.pipe()
        pid = os.fork()
        if pid == 0:
            with _leaving():
                try:
                    checker = Checker(self.end)
                    told = checker.check(self.chapter, exercise["asked"], exercise["check"])
                    message = {"lines": told}
                except Gone as gone:
                    message = {"gone": str(gone)}
                except Exception as error:
                    message = {"gone": f"what its process sent could not be read ({_told(error)})"}
                os.write(outside, json.dumps(message).encode())
        os.close(outside)
        with os.fdopen(inside, "rb") as pipe:
            limit = _Limit(seconds, self.pid, pid)
            try:
                while not select.select([pipe], [], [], _GLANCE)[0]:
                    limit.check()
            except Gone as gone:
                _end(pid)
                raise Gone(f"while it was checked, {gone}") from None
            message = json.loads(pipe.read() or b'{"gone": "its check ended early"}')
        _end(pid)
        if "gone" in message:
            raise Gone(message["gone"])
        return message["lines"]

    def close(self) -> None:
        """End the student's process and all that it started."""
        self.end.close()
        _end(self.pid)


def _become_a_students(end: socket.socket, chapter: Chapter, limits: dict) -> None:
    """Turn this process, which was forked, into a student's."""
    os.setsid()
    _end_with_parent()
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # what /proc says about it is its own again
    for number in (0, 2):
        os.dup2(1, number)  # which leads nowhere: output is thrown away
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number != end.fileno():
            with contextlib.suppress(OSError):
                os.close(number)
    open_to_it = _shut_in(limits["folder"], limits["hidden"])
    os.chdir(limits["folder"])
    tempfile.tempdir = os.environ["TMPDIR"] = os.environ["HOME"] = limits["folder"]
    _limit(limits["memory"])
    student = Student(end, chapter)
    student.tell(open=open_to_it)
    student.serve()


def _end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL) if os.getpgid(pid) == pid else os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def grade(chapter: Chapter, exercises: list[dict], limits: dict) -> Iterator[dict]:
    """Yield for each exercise whether it is solved, and the first hint or a reason.

    Parameters
    ----------
    chapter : Chapter
        Begun.
    exercises : list of dict
        ``name``, ``answer`` (the student's cells), ``asked`` and ``check`` (the instructor's).
    limits : dict
        ``seconds`` of a cell, ``memory`` in GiB, ``hidden`` folders, ``folder`` to work in.
    """
    ran: list[list[str]] = []
    pair = None
    full = chapter.lacks([cell for exercise in exercises for cell in exercise["answer"]])
    for number, exercise in enumerate(exercises):
        for again in (False, True):
            lines, stopped = [], ""
            try:
                pair = pair or _Pair(chapter, limits, full, ran)
                lines = pair.exercise(exercise, number)
            except Gone as gone:
                stopped = str(gone)
            hint = stopped or next((line[2:] for line in lines if line.startswith("✗")), "")
            unknown = re.search(r"NameError: name '(\w+)'", hint)
            missed = unknown and unknown[1] in chapter.names and not full and not chapter.complete
            open_to_it = pair.open_to_it if pair else []
            if pair and (stopped or missed):
                pair.close()
                pair = None
            if again or not missed:
                break
            full = True  # a function of the chapter wants what only the whole chapter gives
        if not stopped:
            ran.append(exercise["answer"])
        solved = bool(lines) and lines[-1] == f"Exercise {exercise['name']}: solved."
        if lines and "not answered yet" in lines[-1]:
            hint = "not answered"
        yield {
            "exercise": exercise["name"],
            "solved": solved,
            "reason": "" if solved else hint,
            "stopped": bool(stopped),
            "open": open_to_it,
        }
    if pair:
        pair.close()


def main() -> None:
    """Read the chapter, then submissions, each a line of JSON; write what they are worth."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # no other process may look into this one

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=told, flush=True)

    given = iter(sys.stdin.buffer.readline, b"")
    task = json.loads(next(given))
    chapter = Chapter(task["cells"])
    try:
        tell(alone=chapter.begin(task["alone"]))
    except RuntimeError as error:
        tell(failed=str(error))
        return
    for line in given:
        with tempfile.TemporaryDirectory() as folder:
            for row in grade(chapter, json.loads(line), {**task["limits"], "folder": folder}):
                tell(**row)
        tell(done=True)


if __name__ == "__main__":
    main()
