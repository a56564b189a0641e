"""The process that marks notebooks of one chapter: ``python -m helpers.course.grading_worker``.

It runs the chapter once, without solutions. Then it forks for each notebook

- a *student's process*, in which the answers are run, shut in as far as the system allows it,
- for each exercise a *checker's process*, in which no line of a student's code ever runs. It gets
  what the student's process sends (:mod:`helpers.course.grading_values`), runs the instructor's
  check cell, and tells the result through a pipe that no student's process has.

A process can be forked safely only as long as it has one thread, and TensorFlow starts threads
with its first operation. So the chapter is run up to that cell, then only its imports and
definitions. The rest is run by the process that needs a name of it (`_Builtins`).

What this does not stop: an answer that was copied, or that holds the results which the checker
asks for (the checkers' source can be read in the installed package); a hole in the system's
kernel, or in Keras's loader of networks, which reads what a student's process sends.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import ctypes
import io
import json
import multiprocessing
import os
import pickle
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from helpers import exercises as course_exercises
from helpers.course import confinement, grading_values
from helpers.exercises import checking

#: Most bytes of one message of a student's process.
_LARGEST = 2**28


class Gone(BaseException):
    """The process at the other end is not there any more, or not in time."""


def _told(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# The chapter.


class _Builtins(dict):
    """Python's built-in names; a name that the chapter sets later makes it run to its end."""

    def __init__(self, chapter: Chapter) -> None:
        super().__init__(vars(builtins))
        self.chapter = chapter

    def __missing__(self, name: str) -> Any:
        if name in self.chapter.later:
            self.chapter.finish()
            return self.chapter.names[name]
        return vars(builtins)[name]


class Chapter:
    """The cells of a chapter before its exercises, run in this process as far as it may be.

    RuntimeError is raised when a cell fails: then the course does not work here.
    """

    def __init__(self, cells: list[str]) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config({"HistoryManager": {"enabled": False}})
        self.shell = InteractiveShell.instance(config=config, colors="NoColor")
        for name in ("matplotlib", "pip", "tensorflow_version"):  # no notebook, no network
            self.shell.register_magic_function(lambda _: None, magic_name=name)
        self.names: dict[str, Any] = self.shell.user_ns
        self.names["__builtins__"] = _Builtins(self)
        self.cells, self.later = cells, set()
        told, ours = multiprocessing.Pipe(duplex=False)
        confinement.start(self._try, ours)
        tried = told.recv()  # all that is computed once and kept is there now
        if isinstance(tried, str):
            raise RuntimeError(tried)
        alone, later, self.seconds = tried
        for cell in cells[:alone]:
            self.run(cell)
        for name in later & self.names.keys():
            del self.names[name]
        for definition in (part for cell in cells[alone:] for part in _definitions(cell)):
            self.run(definition)
        self.later = later - self.names.keys()
        self.begun = dict(self.names)

    def run(self, source: str) -> str:
        """Run a cell; return its error in one line, or nothing."""
        result = self.shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        return _told(error) if error else ""

    def finish(self) -> None:
        """Run all cells; names that are somebody's own keep their values."""
        own = {name: value for name, value in self.names.items()
               if value is not self.begun.get(name, self)}  # fmt: skip
        self.later = set()
        list(self._each())
        self.names |= own

    def _each(self) -> Iterator[None]:
        """Run one cell after the other."""
        for cell in self.cells:
            if error := self.run(cell):
                raise RuntimeError(f"{error}, in the cell that begins {cell.splitlines()[0]!r}")
            yield

    def _try(self, told: Connection) -> None:
        """Tell how many cells need one thread, what the others set, and the seconds of all."""
        alone, before = 0, dict(self.names)
        try:
            for _ in self._each():
                if len(os.listdir("/proc/self/task")) == 1:
                    alone, before = alone + 1, dict(self.names)
        except RuntimeError as error:
            told.send(str(error))
        else:
            later = {name for name, value in self.names.items() if value is not before.get(name)}
            told.send((alone, later, time.process_time() if alone < len(self.cells) else 0.0))


def _definitions(source: str) -> Iterator[str]:
    """Yield the statements of a cell that compute nothing: imports, functions, classes, values."""
    for node in ast.parse(source).body:
        plain = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if plain or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            yield ast.unparse(node)


# The student's process.


class Remote(grading_values.Function):
    """A function, or the stand-in for a network, of the checker's: it runs over there."""

    predict = predict_on_batch = grading_values.Function.__call__


class Student:
    """The student's end of the pipe: does what it is asked for, until it is ended."""

    def __init__(self, end: Connection, chapter: Chapter) -> None:
        self.end, self.chapter = end, chapter
        self.kept: list[Any] = []
        self.checked: dict[str, Any] = {}
        course_exercises.check = lambda name, answer, *_, **__: self.checked.update({name: answer})

    def encode(self, value: Any) -> Any:
        """Return a value as JSON can hold it; functions stay here and get a number."""

        def refer(function: Any) -> int:
            self.kept.append(function)
            return len(self.kept) - 1

        return grading_values.encode(value, refer)

    def tell(self, **message: Any) -> None:
        """Send a message."""
        text = json.dumps(message).encode()
        if len(text) > _LARGEST:
            text = json.dumps({"gone": f"its answer has {len(text) / 2**20:.0f} MB"}).encode()
        self.end.send_bytes(text)

    def request(self) -> Any:
        """Return the next message. It is pickled: it comes from the checker's process."""
        load = pickle.Unpickler(io.BytesIO(self.end.recv_bytes()))
        load.persistent_load = lambda number: Remote(self.ask, number)
        return load.load()

    def ask(self, number: int, given: tuple, more: dict) -> Any:
        """Call something of the checker's and return what it returns."""
        self.tell(ask=number, given=self.encode(given), more=self.encode(more))
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

    def define(self, cells: list[tuple]) -> dict:
        """Take imports, functions and plain values that the chapter lacks; one may fail."""
        names, before = self.chapter.names, dict(self.chapter.names)
        for cell, _ in cells:
            with contextlib.suppress(Exception):
                for part in _definitions(self.chapter.shell.transform_cell(cell)):
                    self.chapter.run(part)
        names |= before
        for name in self.chapter.later & names.keys():
            del names[name]
        return {"value": ""}

    def run(self, cells: list[tuple[str, bool]], exercise: str, seed: int) -> dict:
        """Run the cells of an answer, until one fails; below a check of it, none matters."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (an answer may draw from it)
        if "keras" in sys.modules:
            sys.modules["keras"].utils.set_random_seed(seed)
        names, answer = self.chapter.names, ...
        names |= {"answer": ..., "check": course_exercises.check}  # many check in the same cell

        def given() -> Any:
            value = names.get("answer", ...)
            return self.checked.get(exercise, ...) if value is ... else value

        for source, checks in cells:
            answer = given() if checks else answer
            if (error := self.chapter.run(source)) and answer is ...:
                return {"value": error}
            answer = given() if checks and not error else answer
        names["answer"] = given() if answer is ... else answer
        return {"value": ""}

    def get(self) -> dict:
        """Return the answer."""
        return {"value": self.encode(self.chapter.names.get("answer", ...))}

    def call(self, number: int, given: tuple, more: dict) -> dict:
        """Call a function of the student's; tell also which arguments it changed."""

        def state(part: Any) -> Any:
            if isinstance(part, list | dict | np.ndarray | np.random.Generator):
                with contextlib.suppress(TypeError):
                    return self.encode(part)
            return None

        before = [state(part) for part in given]
        value = self.kept[number](*given, **more)
        after = [state(part) for part in given]
        changed = {place: new for place, new in enumerate(after) if new != before[place]}
        return {"value": self.encode(value), "changed": changed}


def _become_a_students(end: Connection, chapter: Chapter, limits: dict) -> None:
    """Turn this process, which was forked, into a student's."""
    os.setsid()
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # what /proc says about it is its own again
    for number in (0, 2):
        os.dup2(1, number)  # which leads nowhere: output is thrown away
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number != end.fileno():
            with contextlib.suppress(OSError):
                os.close(number)
    confinement.shut_in(limits["folder"], limits["hidden"])
    os.chdir(limits["folder"])
    tempfile.tempdir = os.environ["TMPDIR"] = os.environ["HOME"] = limits["folder"]
    confinement.restrict(limits["memory"])
    Student(end, chapter).serve()


# The checker's process.


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
    """The checker's end of the pipe."""

    def __init__(self, end: Connection) -> None:
        self.end, self.kept = end, []

    def ask(self, *message: Any) -> dict:
        """Let the student's process do something; return what it tells."""
        self._send(*message)
        while "ask" in (told := self._receive()):
            try:
                given, more = (grading_values.decode(told[name], self.call)
                               for name in ("given", "more"))  # fmt: skip
                self._send("", self.kept[told["ask"]](*given, **more))
            except Exception as error:
                self._send(_told(error), None)
        if names := told.get("error"):
            kinds = [vars(builtins).get(name) for name in names]
            known = [k for k in kinds if isinstance(k, type) and issubclass(k, Exception)]
            raise type(str(names[0]), (*known, Exception)[:1], {})(told["text"])
        return told

    def call(self, number: int, given: tuple, more: dict) -> Any:
        """Call a function of the student's."""
        told = self.ask("call", number, given, more)
        for place, new in told["changed"].items():
            grading_values.update(given[int(place)], grading_values.decode(new, self.call))
        return grading_values.decode(told["value"], self.call)

    def check(self, chapter: Chapter, asked: list[str], check: str) -> list[str]:
        """Run an exercise's cells as the instructor has them, with the student's answer."""
        for cell in asked:
            chapter.run(cell)
        try:
            answer = grading_values.decode(self.ask("get")["value"], self.call)
        except Exception as error:
            return [f"✗ Your answer could not be checked: {_told(error)}"]
        chapter.names |= {"answer": answer, "check": checking.check}
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            exec(check, chapter.names)
        return text.getvalue().splitlines()

    def _send(self, *message: Any) -> None:
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.kept = self.kept
        pickler.dump(message)
        with contextlib.suppress(OSError):  # it has ended: `_receive` will find that, too
            self.end.send_bytes(file.getvalue())

    def _receive(self) -> dict:
        try:
            told = json.loads(self.end.recv_bytes(_LARGEST))
        except (EOFError, OSError):
            raise Gone("its process ended") from None
        if gone := told.get("gone"):
            raise Gone(str(gone))
        return told


def _check(
    told: Connection, end: Connection, chapter: Chapter, exercise: dict, todo: list[tuple]
) -> None:
    """Have answers run and the last one checked; tell two results, or why there are none."""
    confinement.restrict(8)
    try:
        checker = Checker(end)
        for message in todo:
            error = str(checker.ask(*message)["value"])
        told.send((error, ""))
        if not error:
            told.send((checker.check(chapter, exercise["asked"], exercise["check"]), ""))
    except Gone as gone:
        told.send((None, str(gone)))
    except Exception as error:
        told.send((None, f"what its process sent could not be read ({_told(error)})"))


# The process that marks one notebook.


class Marker:
    """Marks the exercises of one notebook; where a student's process ends, it starts another.

    The limits: ``seconds`` of a cell, ``memory`` in GiB, ``hidden`` folders, ``folder`` to work in.
    """

    def __init__(self, chapter: Chapter, limits: dict, own: list[tuple]) -> None:
        self.chapter, self.limits = chapter, limits
        self.ran: list[tuple] = [("define", own)]
        self.student: multiprocessing.Process | None = None

    def mark(self, exercise: dict) -> dict:
        """Return whether an exercise is solved, and if not, the first hint or a reason.

        It has a ``name``, an ``answer`` (the student's cells), and the instructor's cells
        ``asked`` and ``check``.
        """
        try:
            lines = self._checked(exercise)
        except Gone as gone:
            self.end()
            return {"exercise": exercise["name"], "solved": False, "reason": f"Stopped: {gone}."}
        solved = lines[-1:] == [f"Exercise {exercise['name']}: solved."]
        hints = [line[2:] for line in lines if line.startswith("✗")] or ["not answered"]
        reason = "" if solved else hints[0]
        if re.search(r"\b(Name|Import|ModuleNotFound)Error:", reason):  # perhaps only here
            remedy = "mark it by hand, or install what is missing here and use --force"
            reason = f"Not marked: {reason.rstrip('.')}: {remedy}."
        return {"exercise": exercise["name"], "solved": solved, "reason": reason}

    def end(self) -> None:
        """End the student's process."""
        if self.student:
            confinement.end(self.student)
            self.pipe.close()
        self.student = None

    def _checked(self, exercise: dict) -> list[str]:
        """Run one answer and its check; return the lines of the check."""
        todo = [("run", exercise["answer"], exercise["name"], len(self.ran))]
        if not self.student:
            self.pipe, other = multiprocessing.Pipe()
            self.student = confinement.start(_become_a_students, other, self.chapter, self.limits)
            todo = [*self.ran, *todo]  # what earlier answers have set is there again
        told, other = multiprocessing.Pipe(duplex=False)
        checker = confinement.start(_check, other, self.pipe, self.chapter, exercise, todo)
        try:
            error = self._wait(told, len(todo))
            lines = [f"✗ {error}"] if error else self._wait(told, 1, "while it was checked, ")
        finally:
            confinement.end(checker)
            told.close()
        self.ran.append(todo[-1])
        return lines

    def _wait(self, told: Connection, answers: int, when: str = "") -> Any:
        seconds = self.limits["seconds"]
        if not told.poll((answers * seconds + 2 * self.chapter.seconds) * confinement.patience()):
            raise Gone(f"{when}it took longer than {seconds:g} s")
        try:
            value, gone = told.recv()
        except EOFError:
            value, gone = None, "its check ended early"
        if gone:
            raise Gone(gone)
        return value


def _mark(told: Connection, chapter: Chapter, limits: dict, own: list, exercises: list) -> None:
    with tempfile.TemporaryDirectory() as folder:
        marker = Marker(chapter, {**limits, "folder": folder}, own)
        told.send([marker.mark(exercise) for exercise in exercises])
        marker.end()


def _marked(chapter: Chapter, task: dict) -> Iterator[dict]:
    """Mark notebooks, ``jobs`` at a time, each in a process of its own."""
    left, running = list(task["notebooks"]), {}
    while left or running:
        while left and len(running) < task["jobs"]:
            number, *notebook = left.pop(0)
            told, other = multiprocessing.Pipe(duplex=False)
            given = other, chapter, task["limits"], *notebook
            running[told] = number, confinement.start(_mark, *given)
        for told in wait(running):
            number, process = running.pop(told)
            with contextlib.suppress(EOFError):  # else the number is missing: nothing was told
                yield {"number": number, "results": told.recv()}
            process.join()


def main() -> None:
    """Read the chapter and the notebooks; write a line of JSON for each."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # no other process may look into this one
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # it ends with the process that began it

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=told, flush=True)

    task = json.load(sys.stdin)
    try:
        chapter = Chapter(task["cells"])
    except (RuntimeError, EOFError) as error:
        tell(failed=str(error) or "its process ended")
        return
    with tempfile.TemporaryDirectory() as folder:
        open_to_it, other = multiprocessing.Pipe(duplex=False)

        def find_out(end: Connection) -> None:
            end.send(confinement.shut_in(folder, task["limits"]["hidden"]))

        confinement.start(find_out, other).join()
        tell(open=open_to_it.recv())
    for row in _marked(chapter, task):
        tell(**row)


if __name__ == "__main__":
    main()
