"""Marks for returned notebooks: each answer is run in the instructor's copy of the chapter.

This process reads notebooks and writes marks, and runs no line of them:
:mod:`helpers.course.grading_worker` does.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from helpers.base.errors import RunError
from helpers.base.files import printable, write_text
from helpers.course.editions import SOLUTION
from helpers.course.project import Chapter, Parameters, Project
from helpers.course.staleness import read_notebook, source_of, tags_of

#: Columns of the table of marks. Those that nbgrader's export has too have its names.
COLUMNS = (
    *("assignment", "student_id", "exercise", "score", "max_score"),
    *("reason", "notebook", "sha256"),
)
#: Largest notebook that is read, in bytes.
_LARGEST = 50 * 2**20
_HEADING = re.compile(r"(?m)^#+ Exercise (\d\d-[a-z])\b")
# What a worker gets of this process's environment; nothing else, so no password or key.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "COURSE_ARTIFACTS", "WEIGHTS_DIR", "COURSE_EXTERNAL_DIR")


@dataclass
class Exercise:
    """An exercise as the instructor has it."""

    name: str
    ids: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    check: str = ""


@dataclass
class Submission:
    """A returned notebook, and what can be said about it before anything is run."""

    student: str
    notebook: str
    content: bytes
    chapter: Chapter | None = None
    cells: list[dict] = field(default_factory=list)
    problem: str = ""

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def assignment(self, wanted: Chapter | None = None) -> str:
        """Return the name of its chapter, or else of the wanted one."""
        chapter = self.chapter or wanted
        return chapter.name if chapter else ""


def grade(
    project: Project,
    returned: str | os.PathLike,
    out: str | os.PathLike,
    *,
    only: str = "",
    jobs: int | None = None,
    cell_timeout: int = 60,
    memory: float = 4,
    force: bool = False,
) -> tuple[list[dict], int]:
    """Mark returned notebooks and write the table of marks.

    Parameters
    ----------
    project : Project
        The clone whose chapters and checks are used.
    returned : path-like
        A notebook, or a folder with notebooks, with a folder or a zip file for each student.
    out : path-like
        The table, as CSV. One that is there is continued: other students and chapters stay,
        and a notebook that has not changed is not marked again.
    only : str
        A chapter by number or name: notebooks of other chapters get no points.
    jobs : int, optional
        Notebooks at a time; by default two, or one on a single core.
    cell_timeout : int
        Longest time of an answer, and of its check, in seconds; waiting for the processor
        does not count.
    memory : float
        What an answer may take, in GiB.
    force : bool
        Mark all notebooks again.

    Returns
    -------
    list of dict, int
        The rows of the table, and how many notebooks need a look.

    Raises
    ------
    RunError
        When nothing was returned, `out` is no table of marks, or a chapter does not run here.
    """
    if not sys.platform.startswith("linux"):
        raise RunError("course grade needs Linux (on Windows: WSL): answers run in its processes.")
    returned, out = Path(returned).expanduser().resolve(), Path(out).expanduser().resolve()
    wanted = project.select([only])[0] if only else None
    submissions = list(_submissions(project, returned, wanted))
    if not submissions:
        raise RunError(f"{returned} has no notebook (.ipynb), also not in folders or zip files.")
    _note_twins(submissions)
    before = _read(out)
    now = {(one.assignment(wanted), one.student) for one in submissions}
    rest = [row for key, found in before.items() if key[:2] not in now for row in found]
    rows: dict[int, list[dict]] = {}
    for number, one in enumerate(submissions):
        if one.problem:
            chapter = one.chapter or wanted
            names = [each.name for each in _parts(chapter)[1]] if chapter else [""]
            results = [_result(name, reason=f"Not marked: {one.problem}.") for name in names]
            rows[number] = _rows(one, chapter, results)
        elif not force and (
            same := before.get((one.assignment(), one.student, one.notebook, one.sha256))
        ):
            rows[number] = same
    left = [number for number in range(len(submissions)) if number not in rows]
    print(f"{len(left)} of {len(submissions)} notebooks are marked now.", flush=True)
    limits = {"seconds": cell_timeout, "memory": memory, "hidden": _hidden(project, returned)}
    jobs = jobs or min(2, os.cpu_count() or 1)
    open_to_them: set[str] = set()
    for chapter in project.chapters:
        of_it = {n: submissions[n] for n in left if submissions[n].chapter == chapter}
        if not of_it:
            continue
        for number, results in _marked(project, chapter, of_it, limits, min(jobs, len(of_it))):
            rows[number] = _rows(submissions[number], chapter, results)
            open_to_them |= {what for result in results for what in result["open"]}
            _write(out, rest, rows)
            solved = sum(result["solved"] for result in results)
            print(f"{submissions[number].student}: {solved} of {len(results)}", flush=True)
    if open_to_them:
        what = ", ".join(sorted(open_to_them))
        print(f"On this system the answers could reach: {what}.", file=sys.stderr)
    table = _write(out, rest, rows)
    look = [found for found in rows.values() if any(_needs_a_look(row) for row in found)]
    return table, len(look)


def summary(table: list[dict]) -> str:
    """Return how many points each exercise got, and how many each student."""
    lines = []
    for column in ("exercise", "student_id"):
        scores: dict[tuple, list[float]] = {}
        for row in table:
            scores.setdefault((row["assignment"], row[column]), []).append(float(row["score"]))
        lines += ["", f"{'assignment':<32} {column:<24} points"]
        lines += [
            f"{assignment:<32} {name:<24} {sum(points):g} of {len(points)}"
            for (assignment, name), points in sorted(scores.items())
        ]
    return "\n".join(lines[1:])


def _needs_a_look(row: dict) -> bool:
    return row["reason"].startswith(("Not marked", "Stopped"))


# What was returned.


def _submissions(project: Project, returned: Path, wanted: Chapter | None) -> Iterator[Submission]:
    """Yield the notebooks in a file, a folder, or the zip files in it, in the order of names."""
    if returned.is_file():
        files = [(returned.name, returned)]
    else:
        found = sorted(path for path in returned.rglob("*") if path.suffix in (".ipynb", ".zip"))
        files = [(str(path.relative_to(returned)), path) for path in found]
    for name, path in files:
        if any(part.startswith((".", "__MACOSX")) for part in Path(name).parts):
            continue
        for inner, content, problem in _contents(name, path):
            student = _plain(_student(inner, project))
            one = Submission(student, _plain(inner), content, problem=problem)
            if not problem:
                try:
                    one.chapter, one.cells, one.problem = _recognised(project, one)
                except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                    one.problem = "it cannot be read as a notebook"
                if not one.problem and wanted and one.chapter != wanted:
                    one.problem = f"it is of another chapter, {one.chapter.name}"
                    one.chapter = wanted
            yield one


def _contents(name: str, path: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yield name, bytes and problem of a notebook, or of each notebook in a zip file."""
    if path.is_symlink():
        yield name, b"", "it is a link to another file"
    elif path.suffix != ".zip":
        large = path.stat().st_size > _LARGEST
        yield name, b"" if large else path.read_bytes(), "it is too large" if large else ""
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                parts = [
                    part
                    for part in archive.infolist()
                    if part.filename.endswith(".ipynb") and "/." not in f"/{part.filename}"
                    and "__MACOSX" not in part.filename
                ]  # fmt: skip
                for part in parts:
                    large = part.file_size > _LARGEST
                    content = b"" if large else archive.read(part)
                    yield f"{name}/{part.filename}", content, "it is too large" if large else ""
                if not parts:
                    yield name, b"", "there is no notebook in it"
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError):
            yield name, b"", "the zip file cannot be read"


def _student(name: str, project: Project) -> str:
    """Return whose notebook it is: its folder or zip file, else its name less the chapter's."""
    first, *rest = Path(name).parts
    if rest:
        return first.removesuffix(".zip")
    stem = Path(first).stem
    for chapter in project.chapters:
        stem = stem.replace(chapter.name, "")
    return stem.strip(" _-") or Path(first).stem


def _recognised(project: Project, one: Submission) -> tuple[Chapter | None, list[dict], str]:
    """Return a notebook's chapter (by its cells, not by the file's name), its cells, a problem."""
    notebook = json.loads(one.content)
    cells = [
        {
            "code": cell["cell_type"] == "code",
            "id": str(cell.get("id", "")),
            "source": source_of(cell),
            "solution": SOLUTION in tags_of(cell),
        }
        for cell in notebook["cells"]
    ]
    language = notebook.get("metadata", {}).get("kernelspec", {}).get("language") or "python"
    text = "\n".join(cell["source"] for cell in cells)
    numbers = Counter(name[:2] for name in _HEADING.findall(text))
    ids = {cell["id"] for cell in cells}
    best, most = None, 0
    for chapter in project.chapters:
        own = {cell["id"] for cell in read_notebook(chapter.path)["cells"]}
        points = len(own & ids) + 5 * numbers[chapter.number]
        if points > max(most, 2):
            best, most = chapter, points
    if best is None:
        return None, [], "it is no chapter of the course"
    return best, cells, "" if language == "python" else f"its language is {language!r}, not Python"


def _note_twins(submissions: list[Submission]) -> None:
    """Where a student returned two notebooks of a chapter, note that as the problem of both."""
    both = Counter((one.student, one.chapter) for one in submissions if not one.problem)
    for one in submissions:
        if not one.problem and both[one.student, one.chapter] > 1:
            one.problem = f"{one.student} returned several notebooks of this chapter"


# What is run.


def _parts(chapter: Chapter) -> tuple[list[dict], list[Exercise]]:
    """Return the code cells before the exercises, and the exercises, of a chapter."""
    before, exercises = [], []
    current = None
    for cell in read_notebook(chapter.path)["cells"]:
        source = source_of(cell)
        if cell["cell_type"] != "code":
            if heading := _HEADING.search(source):
                current = Exercise(heading[1])
                exercises.append(current)
            elif exercises and re.match("##? ", source):
                current = None
        elif SOLUTION in tags_of(cell):
            continue
        elif not exercises:
            before.append(cell)
        elif current and f'check("{current.name}"' in source:
            current.check = source
        elif current:
            current.asked.append(source)
            current.ids.add(cell["id"])
    return before, exercises


def _answer(exercise: Exercise, cells: list[dict], ids: set[str]) -> list[str]:
    """Return the cells of a student's answer, whatever was done to the cells around them.

    They are the answer cell (by its id) and the student's own cells below the heading of the
    exercise. The chapter's other cells, `ids`, are the instructor's business. What the
    instructor's answer cell gives comes first, in case that the student removed it.
    """
    found, inside = [], False
    for cell in cells:
        if not cell["code"]:
            heading = _HEADING.search(cell["source"])
            if heading or re.match("##? ", cell["source"]):
                inside = bool(heading) and heading[1] == exercise.name
            continue
        source = cell["source"]
        checks = re.search(rf"""check\(\s*["']{exercise.name}""", source)
        own = cell["id"] not in ids and not cell["solution"] and "# @title Solution" not in source
        if cell["id"] in exercise.ids or (
            inside and own and not (checks and not re.search(r"(?m)^answer\b", source))
        ):
            found.append(source)
    return [*exercise.asked, *(source for source in found if source not in exercise.asked)]


class _Worker:
    """A process that marks notebooks of one chapter, one after the other."""

    def __init__(self, project: Project, task: dict) -> None:
        own = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
        self.home = tempfile.TemporaryDirectory(prefix="course-grade-")
        own |= {f"{name}_NUM_THREADS": "1" for name in threads}  # threads do not outlive a fork
        own |= {
            "OPENCV_FOR_THREADS_NUM": "1",
            "CUDA_VISIBLE_DEVICES": "-1",
            "MPLBACKEND": "agg",
            "PYTHONPATH": str(project.helpers.parent),
            "PYTHONHASHSEED": "0",
            "COURSE_ARTIFACTS": str(project.artifacts),
            "COURSE_OFFLINE": "1",
            "KERAS_HOME": os.environ.get("KERAS_HOME", str(Path.home() / ".keras")),
            **{name: self.home.name for name in ("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR")},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "helpers.course.grading_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=own,
            cwd=project.root / "notebooks",
            text=True,
        )
        self.send(task)
        begun = self.receive()
        if "failed" in begun:
            self.end()
            raise RunError(f"{task['chapter']} does not run here: {begun['failed']}.")
        self.alone = begun["alone"]

    def send(self, message: object) -> None:
        """Send a line."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def receive(self) -> dict:
        """Return the next line."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failed": "the process that marks has ended"}

    def mark(self, exercises: list[dict]) -> list[dict]:
        """Return the results of one notebook."""
        self.send(exercises)
        results = []
        while "done" not in (message := self.receive()):
            if "failed" in message:
                names = [each["name"] for each in exercises[len(results) :]]
                return results + [
                    _result(n, reason=f"Stopped: {message['failed']}.") for n in names
                ]
            if message["stopped"]:
                message["reason"] = f"Stopped: {message['reason']}."
            results.append(message)
        return results

    def end(self) -> None:
        """End it, and with it all that it started."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.home.cleanup()


def _result(name: str, reason: str) -> dict:
    return {"exercise": name, "solved": False, "reason": reason, "open": []}


def _marked(
    project: Project, chapter: Chapter, submissions: dict[int, Submission], limits: dict, jobs: int
) -> Iterator[tuple[int, list[dict]]]:
    """Mark notebooks of one chapter, several at a time; yield their numbers and results."""
    before, exercises = _parts(chapter)
    parameters = Parameters(profile="smoke").injected()
    cells = []
    for cell in before:
        cells.append(source_of(cell))
        if "parameters" in tags_of(cell):
            cells += [f"{name} = {value!r}" for name, value in parameters.items()]
    task = {"chapter": chapter.name, "cells": cells, "limits": limits, "alone": None}
    ids = {cell["id"] for cell in read_notebook(chapter.path)["cells"]}
    workers = [_Worker(project, task)]
    task["alone"] = workers[0].alone  # the others need not find out too
    idle: SimpleQueue[_Worker] = SimpleQueue()
    idle.put(workers[0])

    def mark(number: int) -> tuple[int, list[dict]]:
        asked = [
            {
                "name": each.name,
                "answer": _answer(each, submissions[number].cells, ids),
                "asked": each.asked,
                "check": each.check,
            }
            for each in exercises
        ]
        try:
            worker = idle.get_nowait()
        except Empty:
            worker = _Worker(project, task)
            workers.append(worker)
        results = worker.mark(asked)
        if worker.process.poll() is None:
            idle.put(worker)
        return number, results

    pool = ThreadPoolExecutor(jobs)
    try:
        for done in as_completed([pool.submit(mark, number) for number in submissions]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.end()


def _hidden(project: Project, returned: Path) -> list[str]:
    """Return what no answer may see: where solutions are, and what others returned."""
    places = [*(project.root / name for name in ("notebooks", "tests", ".git")), project.build]
    needed = [project.helpers, Path(sys.prefix), Path(tempfile.gettempdir())]
    if returned.is_dir() and not any(path.is_relative_to(returned) for path in needed):
        places.append(returned)
    return [str(place) for place in places if place.exists()]


# The table.


def _rows(one: Submission, chapter: Chapter | None, results: list[dict]) -> list[dict]:
    return [
        {
            "assignment": chapter.name if chapter else "",
            "student_id": one.student,
            "exercise": result["exercise"],
            "score": int(result["solved"]),
            "max_score": 1,
            "reason": _plain(result["reason"]),
            "notebook": one.notebook,
            "sha256": one.sha256,
        }
        for result in results
    ]


def _plain(text: str) -> str:
    """Return one line that a spreadsheet does not take for a formula."""
    text = " ".join(printable(text).split())[:300]
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _write(out: Path, rest: list[dict], rows: dict[int, list[dict]]) -> list[dict]:
    table = [*rest, *(row for number in sorted(rows) for row in rows[number])]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_text(out, text.getvalue())
    return table


def _read(out: Path) -> dict[tuple, list[dict]]:
    """Return the rows of a table of marks by assignment, student, notebook and its hash."""
    if not out.exists():
        return {}
    found: dict[tuple, list[dict]] = {}
    try:
        with out.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise RunError(f"{out} is no table of marks: name another file.")
            for row in reader:
                key = tuple(
                    row[name] for name in ("assignment", "student_id", "notebook", "sha256")
                )
                found.setdefault(key, []).append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{out} cannot be read: {error}.") from error
    return found
