"""`course grade`: right, wrong and hostile notebooks. The hostile ones are of a small chapter."""

from __future__ import annotations

import copy
import csv
import json
import os
import socket
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable

import psutil
import pytest

from helpers.base.errors import RunError
from helpers.course import grading
from helpers.course.project import Project, find
from tests.conftest import ROOT
from tests.minicourse import PARAMETERS, code, markdown, notebook, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="course grade needs Linux"),
]
RIGHT = {
    "01-a": "answer = lambda name: name.split('_')[1].upper()",
    "01-b": """import numpy as np
def alarms(truth, score, wanted):
    truth, score = np.array(truth), np.array(score)
    for threshold in sorted(set(score), reverse=True):
        if (score[truth == 1] >= threshold).mean() >= wanted:
            return (score[truth == 0] >= threshold).mean()
answer = alarms""",
}
WRONG = "answer = lambda name: '11'"
COMMAND = [sys.executable, "-m", "helpers", "grade", "--root"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
FORGED = "Exercise 01-a: solved."

#: What stands in the cell of exercise 01-a, and what its reason must say.
HOSTILE = {
    "raises": ("raise ValueError('no')", "ValueError: no"),
    "syntax": ("answer = (", "SyntaxError"),
    "loop": ("while True: pass", "Stopped: it took longer than 4 s"),
    "loop_in_check": (
        "def answer(name):\n    while True: pass",
        "Stopped: while it was checked, it took longer than 4 s",
    ),
    "sleeps": ("import time; time.sleep(999)", "Stopped: it took longer than 4 s"),
    "leaves": ("import os; os._exit(0)", "Stopped: its process ended"),
    "leaves_in_check": (
        "import os\nanswer = lambda name: os._exit(0)",
        "Stopped: its process ended",
    ),
    "exits": ("raise SystemExit(0)", "SystemExit: 0"),
    "exits_in_check": ("import sys\nanswer = lambda name: sys.exit(0)", "SystemExit: 0"),
    "memory": ("answer = bytearray(2**36)", "MemoryError"),
    "large": ("answer = lambda name: 'x' * 2**28", "Stopped: its answer has 256 MB"),
    "forks": ("import os\nfor _ in range(4): os.fork()\nwhile True: pass", "Stopped: it took"),
    "own_check": (f"def check(*_, **__): print({FORGED!r})\n{WRONG}", "1 and H1"),
    "prints": (
        f"print({FORGED!r})\ndef answer(name):\n    print({FORGED!r})\n    return '1'",
        "It reads a subject",
    ),
    "says_solved": (f"raise ValueError('x\\n{FORGED}')", "ValueError: x"),
    "error_named_solved": (
        f"def answer(name):\n    raise type({FORGED!r}, (Exception,), {{}})({FORGED!r})",
        "could not be checked",
    ),
    "equals_all": (
        "class Same(str):\n    __eq__ = lambda *_: True\n    __hash__ = str.__hash__\n"
        "answer = lambda name: Same(name)",
        "It reads a subject",
    ),
    "modules": (
        "import sys, pandas, helpers.exercises, helpers.exercises.checking as checking\n"
        "def good(*_, **__): yield True, 'It is right.'\n"
        "checking._CHECKERS['01-a'] = good\n"
        f"checking.check = helpers.exercises.check = lambda *_: print({FORGED!r})\n"
        "sys.modules['helpers.exercises.chapter_01'] = checking\n"
        f"pandas.Series.all = lambda *_: True\n{WRONG}",
        "1 and H1",
    ),
    "descriptors": (
        "import os\nfor number in range(3, 200):\n    try:\n        "
        f"os.write(number, b'{FORGED}' * 9)\n    except OSError: pass\n{WRONG}",
        "Stopped",
    ),
    "network": (
        "import socket\nsocket.create_connection(('127.0.0.1', PORT), 3)",
        "OSError: [Errno 101]",
    ),
    "solutions": ("open('ROOT/notebooks/01_small.ipynb').read()", "FileNotFoundError"),
    "others": (
        "import os; raise ValueError(os.listdir('ROOT/../returned'))",
        "ValueError: []",
    ),
    "marks": (
        "try: open('ROOT/../marks.csv', 'w').write('01_small,marks,01-a,1,1,,,')\n"
        f"except OSError as error: raise ValueError(error)\n{WRONG}",
        "Read-only file system",
    ),
    "unmounts": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.umount2(b'ROOT/notebooks', 2)\n"
        "libc.mount(b'none', b'/', None, 32 | 4096, None)\n"
        "open('ROOT/notebooks/01_small.ipynb').read()",
        "FileNotFoundError",
    ),
    "secret": ("import os; raise ValueError(os.environ.get('TOKEN'))", "ValueError: None"),
}
SHUT_IN = {"network", "solutions", "others", "marks", "unmounts"}


def part_of_chapter_one() -> list[dict]:
    """Return what exercises 01-a and 01-b need, and they themselves, as cells."""
    (path,) = (ROOT / "notebooks").glob("01_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = ["".join(cell["source"]) for cell in cells]
    start = next(i for i, source in enumerate(text) if "Exercise 01-a" in source)
    end = next(i for i, source in enumerate(text) if "Exercise 01-c" in source)
    needed = next(i for i, source in enumerate(text) if source.startswith("from helpers.datasets"))
    return [cells[needed + 0], *cells[start:end]]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Project:
    root = tmp_path_factory.mktemp("grading") / "clone"
    index = "from helpers.datasets.copies.index import cnmc_index\n\nindex = cnmc_index()\n"
    end = markdown("## Quiz\n\nWhat?")
    before = [
        markdown("# Small"),
        code(PARAMETERS, "parameters"),
        code(f'{index}training = index[index["part"] == "train"]'),
    ]
    exercises = part_of_chapter_one()[1:]
    content = notebook(*before, *exercises, end)
    for cell, own in zip(content["cells"][len(before) :], exercises, strict=False):
        cell["id"] = own["id"]
    write(root / "notebooks" / "01_small.ipynb", content)
    other = notebook(markdown("# Other"), *(code(f"print({number})") for number in range(9)))
    for number, cell in enumerate(other["cells"]):
        cell["id"] = f"other-{number}"
    write(root / "notebooks" / "02_other.ipynb", other)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: notebooks/01_small\nchapters:\n- file: notebooks/02_other\n"
    )
    return find(root)


def answered(project: Project, answers: dict[str, str], number: str = "01") -> dict:
    """Return a student's notebook of a chapter: no solutions, answers in their cells."""
    (chapter,) = project.select([number])
    content = json.loads(chapter.path.read_text(encoding="utf-8"))
    content["cells"] = [
        c for c in content["cells"] if "solution" not in c["metadata"].get("tags", [])
    ]
    name = ""
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and "### Exercise " in source:
            name = source.split("### Exercise ")[1].split()[0]
        elif name in answers and "answer = ..." in source:
            cell["source"] = source.replace("answer = ...", answers[name] + "\n#")
    return content


def without_checks(content: dict) -> None:
    content["cells"] = [c for c in content["cells"] if "check(" not in "".join(c["source"])]


def with_forged_checks(content: dict) -> None:
    for cell in content["cells"]:
        if "check(" in "".join(cell["source"]):
            cell["source"] = f"check = lambda *_: print({FORGED!r})\nprint({FORGED!r})"


def without_ids(content: dict) -> None:
    for cell in content["cells"]:
        cell["id"] = uuid.uuid4().hex[:8]


def with_own_cell(content: dict) -> None:
    """Move the answer to a new cell below the one meant for it."""
    (place,) = (i for i, c in enumerate(content["cells"]) if RIGHT["01-a"] in "".join(c["source"]))
    own = copy.deepcopy(content["cells"][place])
    content["cells"][place]["source"] = "answer = ..."
    content["cells"].insert(place + 1, {**own, "id": "own"})


def with_checks_in_answers(content: dict) -> None:
    for cell in content["cells"]:
        for name, given in (("01-a", "answer, training"), ("01-b", "answer")):
            if RIGHT[name] in "".join(cell["source"]):
                cell["source"] += f'\ncheck("{name}", {given})'


def in_language(language: str) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        content["metadata"]["kernelspec"] = {"name": "own", "language": language}

    return change


def place_of(content: dict, part: str) -> int:
    return next(i for i, c in enumerate(content["cells"]) if part in "".join(c["source"]))


def with_first_line(line: str) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        cell = content["cells"][place_of(content, RIGHT["01-a"])]
        cell["source"] = f"{line}\n{cell['source']}"

    return change


def with_cell(place: str, after: int, *cells: dict, answer: str = "") -> Callable[[dict], None]:
    """Put cells before (0) or after (1) the one that has `place` in it, or at the end."""

    def change(content: dict) -> None:
        where = place_of(content, place) + after if place else len(content["cells"])
        content["cells"][where:where] = [{**each, "id": f"own-{n}"} for n, each in enumerate(cells)]
        if answer:
            cell = content["cells"][place_of(content, RIGHT["01-a"])]
            cell["source"] = answer

    return change


def as_colab(change: Callable[[dict], None], keeps_ids: bool = True) -> Callable[[dict], None]:
    """Do a change, then store the notebook in the form in which Colab does."""

    def both(content: dict) -> None:
        change(content)
        content["nbformat_minor"] = 0
        for cell in content["cells"]:
            cell["metadata"]["id"] = cell.pop("id") if keeps_ids else uuid.uuid4().hex[:12]
            cell.pop("id", None)

    return both


def with_answer_in_check(source: str) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        content["cells"][place_of(content, RIGHT["01-a"])]["source"] = "answer = ..."
        content["cells"][place_of(content, 'check("01-a"')]["source"] = source

    return change


HELPER = (
    f"import re as regex\nhelper_fa = {RIGHT['01-a'][9:]}\ndef helper(name): return helper_fa(name)"
)
FUNCTION = "def helper(name):\n    return regex.split('_', name)[1].upper()"
NEW_IMPORT = code("%matplotlib inline\nimport no_such_module\nimport re as regex\nprint(1 / 0)")
CHECK_A = 'check("01-a", answer, training)'


#: Notebooks with right answers that were changed besides, and the points that they get.
CHANGED: dict[str, tuple[Callable[[dict], None], int, str]] = {
    "no_checks": (without_checks, 2, ""),
    "forged_checks": (with_forged_checks, 2, ""),
    "no_ids": (without_ids, 2, ""),
    "own_cell": (with_own_cell, 2, ""),
    "checks_in_answers": (with_checks_in_answers, 2, ""),
    "in_r": (in_language("R"), 0, "Not marked: its language is 'R', not Python."),
    "in_Python": (in_language("Python"), 2, ""),
    "in_ipython": (in_language("ipython3"), 2, ""),
    "magic_inline": (with_first_line("%matplotlib inline"), 2, ""),
    "magic_widget": (with_first_line("%matplotlib widget"), 2, ""),
    "titled": (with_first_line("# @title Solution"), 2, ""),
    "titled_on_colab": (as_colab(with_first_line("# @title Solution"), False), 2, ""),
    "scratch_below": (with_cell('check("01-a"', 1, code("answer = answer('nounderscore')")), 2, ""),
    "scratch_check_below": (
        with_cell('check("01-a"', 1, code(f"answer = 1\nraise ValueError\n{CHECK_A}")),
        2,
        "",
    ),
    "another_value_checked_below": (
        with_cell('check("01-a"', 1, code('check("01-a", len, training)')),
        2,
        "",
    ),
    "answer_below": (
        with_cell('check("01-a"', 1, code(RIGHT["01-a"]), answer="answer = ..."),
        2,
        "",
    ),
    "own_heading": (
        with_cell(RIGHT["01-a"], 0, markdown("# My notes"), code(HELPER), answer="answer = helper"),
        2,
        "",
    ),
    "answer_heading_on_colab": (
        as_colab(with_cell(RIGHT["01-a"], 0, markdown("## Answer"))),
        2,
        "",
    ),
    "answer_heading_without_ids": (
        as_colab(with_cell(RIGHT["01-a"], 0, markdown("## Answer")), False),
        2,
        "",
    ),
    "answer_in_check": (with_answer_in_check(f"{RIGHT['01-a']}\n{CHECK_A}"), 2, ""),
    "given_to_check": (
        with_answer_in_check(
            f"from helpers.exercises import check\nmine{RIGHT['01-a'][6:]}\n"
            'check("01-a", mine, training)'
        ),
        2,
        "",
    ),
    "import_at_top": (
        with_cell("# Small", 1, NEW_IMPORT, answer=f"{FUNCTION}\nanswer = helper"),
        2,
        "",
    ),
    "helper_at_end": (
        with_cell("", 0, markdown("## Quiz"), NEW_IMPORT, code(FUNCTION), answer="answer = helper"),
        2,
        "",
    ),
    "names_of_the_chapter": (
        with_cell("# Small", 1, code("training = 5\ndef cnmc_index(): return 5")),
        2,
        "",
    ),
}


@pytest.fixture(scope="module")
def shut_in() -> bool:
    """Whether this system lets a process have a network and mounts of its own."""
    return subprocess.run(["unshare", "-Urnm", "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def marked(clone, tmp_path_factory):
    """Mark everything at once; return folder, table and the rows by student."""
    returned = clone.root.parent / "returned"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for student, (source, _) in HOSTILE.items():
            source = source.replace("PORT", str(port)).replace("ROOT", str(clone.root))
            write(returned / f"{student}.ipynb", answered(clone, {**RIGHT, "01-a": source}))
        for student, (change, _, _) in CHANGED.items():
            content = answered(clone, RIGHT)
            change(content)
            write(returned / student / "essay.ipynb", content)
        write(returned / "right.ipynb", answered(clone, RIGHT))
        write(returned / "wrong.ipynb", answered(clone, {"01-a": WRONG}))
        loud = "for _ in range(200): print('x' * 2**20)\n" + RIGHT["01-a"]
        write(returned / "loud.ipynb", answered(clone, {**RIGHT, "01-a": loud}))
        for name in ("one", "two"):
            write(returned / "twins" / f"{name}.ipynb", answered(clone, RIGHT))
        write(returned / "other.ipynb", answered(clone, {}, "02"))
        write(returned / "nothing.ipynb", notebook(markdown("# Dear diary")))
        (returned / "broken.ipynb").write_text('{"cells": [')
        (returned / "odd.ipynb").write_text('{"cells": [1, {"cell_type": []}]}')
        with zipfile.ZipFile(returned / "zipped.zip", "w") as archive:
            archive.writestr("work/01_small.ipynb", json.dumps(answered(clone, RIGHT)))
            archive.writestr("work/notes.txt", "x")
        with zipfile.ZipFile(returned / "LOUD NAMES.ZIP", "w") as archive:
            archive.writestr("01_SMALL.IPYNB", json.dumps(answered(clone, RIGHT)))
        write(returned / "LOUDER.IPYNB", answered(clone, RIGHT))
        write(returned / "folder.ipynb" / "essay.ipynb", answered(clone, RIGHT))
        (returned / "no_zip.zip").write_text("PK")
        with zipfile.ZipFile(returned / "bent.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.ipynb", json.dumps(answered(clone, RIGHT)))
        content = bytearray((returned / "bent.zip").read_bytes())
        content[100:400] = b"\xff" * 300
        (returned / "bent.zip").write_bytes(content)
        (returned / "printed.pdf").write_bytes(b"%PDF-1.7\xff")
        (returned / ".DS_Store").write_bytes(b"\0")
        (returned / "empty").mkdir()
        (returned / "script").mkdir()
        (returned / "script" / "essay.py").write_text(RIGHT["01-a"])
        out = clone.root.parent / "marks.csv"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOKEN", "secret")
            _, look = grading.grade(
                clone, returned, out, only="01", jobs=2, cell_timeout=4, memory=2
            )
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    with out.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    students: dict[str, dict[str, dict]] = {}
    for row in table:
        students.setdefault(row["student_id"], {})[row["exercise"]] = row
    return returned, out, students, look


def points(rows: dict[str, dict]) -> int:
    return sum(int(row["score"]) for row in rows.values())


def test_right_and_wrong_answers(marked):
    students = marked[2]
    assert points(students["right"]) == 2
    assert {row["reason"] for row in students["right"].values()} == {""}
    assert points(students["wrong"]) == 0
    assert "1 and H1" in students["wrong"]["01-a"]["reason"]
    assert students["wrong"]["01-b"]["reason"] == "not answered"
    for name in ("zipped", "LOUD NAMES", "LOUDER", "folder"):
        assert points(students[name]) == 2, name
    assert points(students["loud"]) == 2, "output is thrown away"
    assert students["right"]["01-a"]["assignment"] == "01_small"
    assert students["right"]["01-a"]["max_score"] == "1"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answer_costs_its_own_exercise_and_nothing_else(name, marked, shut_in):
    if name in SHUT_IN and not shut_in:
        pytest.skip("this system does not let a process have a network and mounts of its own")
    rows = marked[2][name]
    assert rows["01-a"]["score"] == "0"
    assert HOSTILE[name][1] in rows["01-a"]["reason"]
    assert rows["01-b"]["score"] == "1", rows["01-b"]["reason"]


@pytest.mark.parametrize("name", CHANGED)
def test_cells_around_the_answers_do_not_matter(name, marked):
    _, expected, reason = CHANGED[name]
    rows = marked[2][name]
    assert points(rows) == expected, rows
    assert {row["reason"] for row in rows.values()} == {reason}


def test_what_cannot_be_marked_is_told(marked):
    students = marked[2]
    for name, reason in (
        ("twins", "several of this chapter"),
        ("nothing", "it is no chapter of the course"),
        ("broken", "it cannot be read as a notebook"),
        ("odd", "it cannot be read as a notebook"),
        ("no_zip", "the zip file cannot be read"),
        ("bent", "the zip file cannot be read"),
        ("empty", "there is no notebook in it"),
        ("script", "there is no notebook in it"),
    ):
        assert set(students[name]) == {"01-a", "01-b"}
        for row in students[name].values():
            assert row["score"] == "0"
            assert row["reason"].startswith("Not marked: ")
            assert reason in row["reason"]
    assert not students.keys() & {"other", "printed", "printed.pdf"}
    assert marked[3] == 8 + 1 + sum(reason.startswith("Stopped") for _, reason in HOSTILE.values())


def test_run_goes_on_where_it_was_and_marks_are_the_same_alone(marked, clone, tmp_path, capsys):
    returned, _, students, _ = marked
    some = tmp_path / "some"
    for name in ("right", "wrong", "raises", "modules"):
        write(some / f"{name}.ipynb", json.loads((returned / f"{name}.ipynb").read_text()))
    marks = some / "marks.csv"  # which is no student's
    table, look = grading.grade(clone, some, marks, jobs=1, cell_timeout=30)
    assert look == 0
    for row in table:
        same = students[row["student_id"]][row["exercise"]]
        assert (str(row["score"]), row["reason"]) == (same["score"], same["reason"])
    before = marks.read_bytes()
    capsys.readouterr()
    grading.grade(clone, some, marks)
    assert "0 of 4 notebooks" in capsys.readouterr().out
    assert marks.read_bytes() == before
    write(some / "wrong.ipynb", answered(clone, RIGHT))
    table, _ = grading.grade(clone, some, marks)
    assert "1 of 4 notebooks" in capsys.readouterr().out
    assert {int(row["score"]) for row in table if row["student_id"] == "wrong"} == {1}
    table, _ = grading.grade(clone, some / "right.ipynb", marks)
    assert len(table) == 8, "the others stay in the table"


def test_bad_input_is_refused(clone, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="has no notebook"):
        grading.grade(clone, tmp_path / "empty", tmp_path / "marks.csv")
    with pytest.raises(RunError, match=r"returned/here is not there"):
        grading.grade(clone, tmp_path / "returned" / "here", tmp_path / "marks.csv")
    write(tmp_path / "a.ipynb", answered(clone, RIGHT))
    for text in ("years,of,work\n", "# A\n\nof, three, words\nand, a, lot, more\n", ""):
        (tmp_path / "thesis.csv").write_text(text)
        with pytest.raises(RunError, match="no table of marks"):
            grading.grade(clone, tmp_path / "a.ipynb", tmp_path / "thesis.csv")
        assert (tmp_path / "thesis.csv").read_text() == text
    write(tmp_path / "other.ipynb", answered(clone, {}, "02"))
    with pytest.raises(RunError, match="has no notebook of 01_small"):
        grading.grade(clone, tmp_path / "other.ipynb", tmp_path / "marks.csv", only="01")


def test_names_that_are_not_there_need_a_look(clone, tmp_path):
    for name, line in (("lib", "import no_such_module"), ("name", "no_such_name")):
        content = answered(clone, {**RIGHT, "01-a": f"{line}\n{RIGHT['01-a']}"})
        write(tmp_path / "returned" / f"{name}.ipynb", content)
    late = "def answer(name): return no_such_name(name)"
    write(tmp_path / "returned" / "late.ipynb", answered(clone, {**RIGHT, "01-a": late}))
    table, look = grading.grade(clone, tmp_path / "returned", tmp_path / "marks.csv")
    assert look == 3
    reasons = {row["student_id"]: row["reason"] for row in table if row["exercise"] == "01-a"}
    assert all(reason.startswith("Not marked: ") for reason in reasons.values()), reasons
    assert "install what is missing" in reasons["lib"]
    assert "by hand" in reasons["name"]
    assert sum(row["score"] for row in table) == 3


def test_killed_command_leaves_no_process(clone, tmp_path):
    write(tmp_path / "ann.ipynb", answered(clone, {"01-a": "while True: pass"}))
    run = psutil.Popen([*COMMAND, clone.root, "ann.ipynb"], cwd=tmp_path,
                       env={**ENVIRONMENT, "TMPDIR": str(tmp_path)})  # fmt: skip
    deadline = time.monotonic() + 60
    while len(started := run.children(recursive=True)) < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(started) >= 5
    run.kill()
    run.wait()
    _, left = psutil.wait_procs(started, timeout=10)
    assert not left


def solutions(number: str) -> dict[str, str]:
    """Return the real chapter's own solutions by exercise."""
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    found, name = {}, ""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if "### Exercise " in source:
            name = source.split("### Exercise ")[1].split()[0]
        elif "solution" in cell["metadata"].get("tags", []):
            kept = [line for line in source.splitlines() if not line.startswith("check(")]
            found[name] = "\n".join(kept)
    return found


@pytest.mark.parametrize("number", ["01", "05"])
def test_real_chapter(number, tmp_path, benchmark):
    """Right answers solve all exercises. With --benchmark-enable it is thirty notebooks."""
    course, right = find(), solutions(number)
    half = {name: source for name, source in right.items() if name.endswith(("a", "c"))}
    none = dict.fromkeys(right, "answer = lambda *_: 0")
    count = 1 if benchmark.disabled else 10
    for copy_of in range(count):
        for name, answers in (("right", right), ("half", half), ("none", none)):
            path = tmp_path / "returned" / f"{name}{copy_of}.ipynb"
            write(path, answered(course, answers, number))
    done = benchmark.pedantic(
        subprocess.run,
        ([sys.executable, "-m", "helpers", "grade", "returned", "--root", str(ROOT)],),
        {"cwd": tmp_path, "capture_output": True, "text": True,
         "env": {**os.environ, "PYTHONPATH": str(ROOT)}},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "marks.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    scores = {name: 0 for name in ("right", "half", "none")}
    for row in table:
        scores[row["student_id"].rstrip("0123456789")] += int(row["score"])
    expected = {"right": len(right) * count, "half": len(half) * count, "none": 0}
    assert scores == expected, done.stdout
    assert f"right0{' ' * 19}{len(right)} of {len(right)}" in done.stdout
