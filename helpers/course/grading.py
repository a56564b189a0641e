"""Marks for returned notebooks: each answer is run in the instructor's copy of the chapter.

This process reads notebooks and writes marks, and runs no line of them:
:mod:`helpers.course.grading_worker` does.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

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
#: How Moodle names what a student returned, and Canvas the file.
_PLATFORMS = re.compile(
    r"(?P<moodle>.+_\d+)_assignsubmission_"
    r"|(?P<canvas>[^_]+)(_LATE)?_(?P<number>\d+)_\d{4,}_.*\.(?i:ipynb|zip)$"
)
_HEADING = re.compile(r"(?m)^#+ Exercise (\d\d-[a-z])\b")
_NO_NOTEBOOK = "it is neither a notebook nor a zip file"
# What a worker gets of this process's environment; nothing else, so no password or key.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "COURSE_ARTIFACTS", "WEIGHTS_DIR", "COURSE_EXTERNAL_DIR")
# Threads would not outlive a fork.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
            "OPENCV_FOR_THREADS_NUM")  # fmt: skip


@dataclass
class Submission:
    """A returned notebook, and what can be said about it before anything is run."""

    student: str
    notebook: str
    sha256: str
    problem: str = ""
    chapter: Chapter | None = None
    cells: list[dict] = field(default_factory=list)

    def key(self) -> tuple[str, ...]:
        """Return what its rows in the table begin and end with."""
        name = self.chapter.name if self.chapter else ""
        return name, self.student, self.notebook, self.sha256

    def rows(self, results: list[dict]) -> list[dict]:
        """Return its rows in the table of marks."""
        first, last = self.key()[:2], self.key()[2:]
        marks = [(each["exercise"], int(each["solved"]), 1, _plain(each["reason"]))
                 for each in results]  # fmt: skip
        return [dict(zip(COLUMNS, (*first, *mark, *last), strict=True)) for mark in marks]

    def lost(self, reason: str) -> list[dict]:
        """Return its rows where nothing could be marked."""
        names = [each["name"] for each in _parts(self.chapter)[1]] if self.chapter else [""]
        return self.rows([{"exercise": n, "solved": False, "reason": reason} for n in names])


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
    """Mark returned notebooks; return the rows of their table, and how many need a look.

    Parameters
    ----------
    project : Project
        The clone whose chapters and checks are used.
    returned : path-like
        A notebook, or a folder with a notebook, a folder or a zip file for each student.
    out : path-like
        The table, as CSV. One that is there is continued: other students and chapters stay,
        and a notebook that has not changed is not marked again, unless `force` is true.
    only : str
        A chapter by number or name: notebooks of other chapters are left aside.
    jobs, cell_timeout, memory : int, int, float
        Notebooks at a time; seconds of an answer, and of its check, which are up to ten times
        as long on a busy machine; what an answer may take, in GiB.

    Raises
    ------
    RunError
        When nothing was returned, `out` is no table of marks, or a chapter does not run here.
    """
    if not sys.platform.startswith("linux"):
        raise RunError("course grade needs Linux (on Windows: WSL): answers run in its processes.")
    returned, out = Path(returned).expanduser().resolve(), Path(out).expanduser().resolve()
    wanted = project.select([only])[0] if only else None
    if not returned.exists():
        raise RunError(f"{returned} is not there.")
    submissions, aside = _sorted(list(_submissions(project, returned, out)), wanted)
    if not submissions:
        what = f"notebook of {wanted.name}" if wanted else "notebook (.ipynb)"
        raise RunError(f"{returned} has no {what}, also not in folders or zip files.")
    limits = {"seconds": cell_timeout, "memory": memory, "hidden": _hidden(project, returned)}
    before = _read(out, {one.student for one in submissions})
    now = {one.key()[:2] for one in submissions}
    now |= {("", one.student) for one in submissions}  # what was of no chapter came again
    rest = [row for key, found in before.items() if key[:2] not in now for row in found]
    rows: dict[int, list[dict]] = {}
    for number, one in enumerate(submissions):
        if one.problem:
            rows[number] = one.lost(f"Not marked: {one.problem}.")
        elif not force and one.key() in before:
            rows[number] = before[one.key()]
    left = [number for number in range(len(submissions)) if number not in rows]
    _write(out, [row for found in before.values() for row in found], {})  # if it may be written
    print(f"{len(left)} of {len(submissions)} notebooks are marked now.", flush=True)
    for chapter in project.chapters:
        of_it = {n: submissions[n] for n in left if submissions[n].chapter == chapter}
        if not of_it:
            continue
        for number, results in _marked(project, chapter, of_it, limits, jobs):
            rows[number] = submissions[number].rows(results)
            _write(out, rest, rows)
            solved = sum(result["solved"] for result in results)
            print(f"{submissions[number].student}: {solved} of {len(results)}", flush=True)
        for number in of_it.keys() - rows.keys():
            rows[number] = submissions[number].lost("Stopped: the process that marks has ended.")
    table = _write(out, rest, rows)
    if aside:
        names = ", ".join(sorted(aside, key=lambda name: "/" in name)[:5])
        why = "of another chapter, one of several, or no notebook"
        print(f"Left aside ({why}): {len(aside)}, such as {names}.")
    return table, sum(
        any(row["reason"].startswith(("Not marked", "Stopped")) for row in found)
        for found in rows.values()
    )


def summary(table: list[dict]) -> str:
    """Return how many points each exercise got, and how many each student in all chapters."""
    marks, lines = pd.DataFrame(table).astype({"score": float}), []
    for column, by in (("exercise", ["assignment", "exercise"]), ("student_id", ["student_id"])):
        lines += ["", f"{'assignment':<32} {column:<24} points"]
        for key, part in marks.groupby(by):
            chapters = sorted(set(part["assignment"]))
            first = chapters[0] if len(chapters) == 1 else f"{len(chapters)} chapters"
            points = f"{part['score'].sum():g} of {len(part)}"
            lines.append(f"{first:<32} {key[-1]:<24} {points}")
    return "\n".join([*lines[1:], "", f"Students: {marks['student_id'].nunique()}."])


# What was returned.


def _sorted(found: list[Submission], wanted: Chapter | None) -> tuple[list[Submission], list[str]]:
    """Return one notebook for each student and chapter, and the names of all other files."""
    good = Counter((one.student, one.chapter) for one in found if not one.problem)
    taken = {key for key, count in good.items() if count == 1}
    submissions, aside = [], []
    for one in found:
        if one.problem:
            one.chapter = one.chapter or wanted
        elif good[one.student, one.chapter] > 1:
            one.problem = "several of this chapter came (unpack a zip file of the whole class)"
        key, other = (one.student, one.chapter), wanted and one.chapter != wanted
        if other or one.problem == _NO_NOTEBOOK or (one.problem and key in taken):
            aside.append(one.notebook)
        else:
            taken.add(key)
            submissions.append(one)
    return submissions, aside


def _submissions(project: Project, returned: Path, out: Path) -> Iterator[Submission]:
    """Yield the notebooks in a file, a folder, or the zip files in it, in the order of names.

    What else lies in the folder comes too, apart from the table `out`.
    """
    files = {returned.name: returned}
    if returned.is_dir():
        found = [path for path in returned.rglob("*") if _ending(path) and not path.is_dir()]
        files = {str(path.relative_to(returned)): path for path in found}
        known = {Path(name).parts[0] for name in files}
        files |= {path.name: path for path in returned.iterdir() if path.name not in known}
    for name, path in sorted(files.items()):
        if path == out:
            continue
        for inner, content, problem in _contents(name, path):
            if any(part.startswith((".", "__MACOSX")) for part in Path(inner).parts):
                continue
            student, sha256 = _plain(_student(inner, project)), hashlib.sha256(content).hexdigest()
            one = Submission(student, _plain(inner), sha256, problem)
            if not problem:
                try:
                    _recognise(project, one, json.loads(content))
                except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                    one.problem = "it cannot be read as a notebook"
            yield one


def _contents(name: str, path: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yield name, bytes and problem of a notebook, or of each notebook in a zip file."""
    if path.is_symlink():
        yield name, b"", "it is a link to another file"
    elif path.is_dir():
        yield name, b"", "there is no notebook in it"
    elif not _ending(path):
        yield name, b"", "there is no notebook in it" if _PLATFORMS.match(name) else _NO_NOTEBOOK
    elif _ending(path) != ".zip":
        large = path.stat().st_size > _LARGEST
        yield name, b"" if large else path.read_bytes(), "it is too large" if large else ""
    else:
        yield from _unpacked(name, path)


def _unpacked(name: str, file: Path | io.BytesIO) -> Iterator[tuple[str, bytes, str]]:
    """Yield the same of each notebook in a zip file, and in the zip files in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = [one for one in archive.infolist() if _ending(one.filename)]
            for part in parts:
                inner, large = f"{name}/{part.filename}", part.file_size > _LARGEST
                content = b"" if large else archive.read(part)
                if _ending(inner) == ".ipynb" or large:
                    yield inner, content, "it is too large" if large else ""
                elif isinstance(file, Path):
                    yield from _unpacked(inner, io.BytesIO(content))
                else:
                    yield inner, b"", "it is a zip file in a zip file of a zip file"
            if not parts:
                yield name, b"", "there is no notebook in it"
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError):
        yield name, b"", "the zip file cannot be read"


def _ending(name: str | Path) -> str:
    """Return the ending of a notebook or zip file in small letters; of all else, nothing."""
    ending = Path(name).suffix.lower()
    return ending if ending in (".ipynb", ".zip") else ""


def _student(name: str, project: Project) -> str:
    """Return whose notebook it is: as a learning platform says it, else its folder or zip file.

    Without either, it is the name of the file, less that of the chapter.
    """
    first, *rest = Path(name).parts
    for part in (first, *rest):
        if named := _PLATFORMS.match(part):
            return named["moodle"] or f"{named['canvas']}_{named['number']}"
    if rest:
        return Path(first).stem if _ending(first) else first
    stem = Path(first).stem
    for chapter in project.chapters:
        stem = stem.replace(chapter.name, "")
    return stem.strip(" _-") or Path(first).stem


def _recognise(project: Project, one: Submission, notebook: dict) -> None:
    """Find a notebook's cells and chapter, by ids and headings and not by the file's name."""
    one.cells = [
        {
            "code": cell["cell_type"] == "code",
            "id": str(cell.get("id") or cell.get("metadata", {}).get("id", "")),  # so on Colab
            "source": source_of(cell),
            "solution": SOLUTION in tags_of(cell),
        }
        for cell in notebook["cells"]
    ]
    language = notebook.get("metadata", {}).get("kernelspec", {}).get("language") or "python"
    if "python" not in str(language).lower():
        one.problem = f"its language is {language!r}, not Python"
    text = "\n".join(cell["source"] for cell in one.cells)
    numbers = Counter(name[:2] for name in _HEADING.findall(text))
    ids = {cell["id"] for cell in one.cells}
    points = {
        chapter: 5 * numbers[chapter.number]
        + len(ids & {cell["id"] for cell in read_notebook(chapter.path)["cells"]})
        for chapter in project.chapters
    }
    best = max(points, key=points.get)
    if points[best] > 2:
        one.chapter = best
    else:
        one.problem = "it is no chapter of the course"


# What is run.


def _parts(chapter: Chapter) -> tuple[list[dict], list[dict], set[str]]:
    """Return the code cells before the exercises, the exercises, and the headings after one.

    The `ids` and sources (`asked`) of an exercise are of its cells for the answer.
    """
    before, exercises, ends, current = [], [], set(), None
    for cell in read_notebook(chapter.path)["cells"]:
        source = source_of(cell)
        if cell["cell_type"] != "code":
            if heading := _HEADING.search(source):
                current = {"name": heading[1], "ids": [], "asked": [], "check": ""}
                exercises.append(current)
            elif exercises and re.match("##? ", source):
                ends.add(source.splitlines()[0])
                current = None
        elif SOLUTION in tags_of(cell):
            continue
        elif not exercises:
            before.append(cell)
        elif current and f'check("{current["name"]}"' in source:
            current["check"] = source
        elif current:
            current["asked"].append(source)
            current["ids"].append(cell["id"])
    return before, exercises, ends


def _answers(
    exercises: list[dict], ends: set[str], known: set[str], cells: list[dict]
) -> tuple[list[tuple], list[dict]]:
    """Return what a student wrote outside the exercises, and the exercises with their `answer`.

    An answer is its cell (by its id), and what else the student wrote below the heading of the
    exercise; each cell comes with whether it checks the answer. The chapter's cells, `known`,
    are the instructor's business: they are empty here. What the instructor's answer cell gives
    comes first, in case that the student removed it.
    """
    found = {one["name"]: [(source, False) for source in one["asked"]] for one in exercises}
    owners = {name: one["name"] for one in exercises for name in one["ids"]}
    asked = {source for one in exercises for source in one["asked"]}
    outside, inside = [], ""
    for cell in cells:
        source = cell["source"]
        if not cell["code"]:
            heading = _HEADING.search(source)
            if heading or ends & set(source.splitlines()):
                inside = heading[1] if heading else ""
            continue
        name = owners.get(cell["id"], inside)
        given = asked if cell["id"] in owners else known
        own = "" if cell["solution"] or source in given else source
        call = rf"""check\(\s*["']{name}["']"""
        checks = bool(re.search(call, source))
        writes = rf"(?m)^\s*(def |class )?answer\b|{call}\s*,\s*(?!answer\b)"
        if checks and not re.search(writes, own):
            own = ""  # it is a check and no more
        found.get(name, outside).append((own, checks))
    return outside, [{**one, "answer": found[one["name"]]} for one in exercises]


def _marked(
    project: Project, chapter: Chapter, submissions: dict[int, Submission], limits: dict,
    jobs: int | None,
) -> Iterator[tuple[int, list[dict]]]:  # fmt: skip
    """Mark notebooks of one chapter, several at a time; yield their numbers and results."""
    before, exercises, ends = _parts(chapter)
    cells = []
    for cell in before:
        cells.append(source_of(cell))
        if "parameters" in tags_of(cell):
            given = Parameters(profile="smoke").injected()
            cells += [f"{name} = {value!r}" for name, value in given.items()]
    known = {source_of(cell) for cell in read_notebook(chapter.path)["cells"]}
    notebooks = [
        (number, *_answers(exercises, ends, known, one.cells))
        for number, one in submissions.items()
    ]
    jobs = jobs or min(2, os.cpu_count() or 1)
    task = {"cells": cells, "limits": limits, "notebooks": notebooks, "jobs": jobs}
    with tempfile.TemporaryDirectory(prefix="course-grade-") as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "helpers.course.grading_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(project, home),
            cwd=project.root / "notebooks",
            text=True,
        )
        try:
            with process.stdin as given:
                json.dump(task, given)
            for told in map(json.loads, process.stdout):
                if "failed" in told:
                    raise RunError(f"{chapter.name} does not run here: {told['failed']}.")
                if told.get("open"):
                    what = told["open"]
                    print(f"On this system the answers could reach: {what}.", file=sys.stderr)
                if "number" in told:
                    yield told["number"], told["results"]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _environment(project: Project, home: str) -> dict[str, str]:
    own = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return own | {
        **dict.fromkeys(_THREADS, "1"),
        **dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR"), home),
        "CUDA_VISIBLE_DEVICES": "-1",
        "MPLBACKEND": "agg",
        "PYTHONPATH": str(project.helpers.parent),
        "PYTHONHASHSEED": "0",
        "COURSE_ARTIFACTS": str(project.artifacts),
        "COURSE_OFFLINE": "1",
        "KERAS_HOME": os.environ.get("KERAS_HOME", str(Path.home() / ".keras")),
    }


def _hidden(project: Project, returned: Path) -> list[str]:
    """Return what no answer may see: where solutions are, and what others returned."""
    places = [*(project.root / name for name in ("notebooks", "tests", ".git")), project.build]
    needed = [project.helpers, Path(sys.prefix), Path(tempfile.gettempdir())]
    if not any(path.is_relative_to(returned) for path in needed):
        places.append(returned)
    return [str(place) for place in places if place.exists()]


# The table.


def _plain(text: str) -> str:
    """Return one line that a spreadsheet does not take for a formula."""
    text = " ".join(printable(text).split())[:300]
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _write(out: Path, rest: list[dict], rows: dict[int, list[dict]]) -> list[dict]:
    table = [*rest, *(row for number in sorted(rows) for row in rows[number])]
    write_text(out, pd.DataFrame(table, columns=COLUMNS).to_csv(index=False, lineterminator="\n"))
    return table


def _read(out: Path, students: set[str]) -> dict[tuple, list[dict]]:
    """Return the rows of a table of marks by `Submission.key`.

    A spreadsheet takes zeros off the beginning of a student's number: they come back.
    """
    if not out.exists():
        return {}
    if out.is_dir():
        raise RunError(f"{out} is a folder: add the name of the table, such as marks.csv.")
    try:
        table = pd.read_csv(out, dtype=str, keep_default_na=False)
    except OSError as error:
        raise RunError(f"{out} cannot be read: {error}.") from error
    except ValueError:
        table = pd.DataFrame()
    if tuple(table.columns) != COLUMNS:
        raise RunError(f"{out} is no table of marks: name another file.")
    column = table["student_id"]
    whole = {name.lstrip("0"): name for name in students - set(column)}
    table["student_id"] = [one if one in students else whole.get(one, one) for one in column]
    found: dict[tuple, list[dict]] = {}
    for row in table.to_dict("records"):
        key = tuple(row[name] for name in ("assignment", "student_id", "notebook", "sha256"))
        found.setdefault(key, []).append(row)
    return found
