"""`course grade`: what is returned, whose it is, and the table of marks."""

from __future__ import annotations

# ruff: noqa: F811  (a fixture of another module)
import csv
import json
import subprocess
import zipfile

import pytest

from helpers.base.errors import CourseError
from helpers.course import grading
from tests.minicourse import write
from tests.unit.course.test_grading import (
    COMMAND,
    ENVIRONMENT,
    RIGHT,
    answered,
    clone,  # noqa: F401
    pytestmark,  # noqa: F401
)


def test_chapter_is_picked_out_of_a_folder_and_other_files_are_no_students(clone, tmp_path, capsys):
    ann = tmp_path / "returned" / "ann"
    write(ann / "01.ipynb", answered(clone, RIGHT))
    write(ann / "02.ipynb", answered(clone, {}, "02"))
    (ann / "03.ipynb").write_text("{")
    for name in ("list of students.xlsx", "Thumbs.db", "Ray_1_assignsubmission_file_a.pdf"):
        (ann.parent / name).write_bytes(b"\xff")
    table, look = grading.grade(clone, ann.parent, ann.parent / "marks.csv", only="01")
    assert [(row["student_id"], row["exercise"], row["score"]) for row in table] == [
        *(("Ray_1", name, 0) for name in ("01-a", "01-b")),
        *(("ann", name, 1) for name in ("01-a", "01-b")),
    ]
    assert look == 1, "what a learning platform named is somebody's"
    (line,) = (text for text in capsys.readouterr().out.splitlines() if "aside" in text)
    assert "4, such as Thumbs.db, list of students.xlsx, ann/02.ipynb, ann/03.ipynb." in line


def test_zeros_that_a_spreadsheet_took_come_back(clone, tmp_path, capsys):
    write(tmp_path / "returned" / "0071234.ipynb", answered(clone, RIGHT))
    out = tmp_path / "marks.csv"
    grading.grade(clone, tmp_path / "returned", out)
    out.write_text(out.read_text().replace(",0071234,", ",71234,"))
    table, _ = grading.grade(clone, tmp_path / "returned", out)
    assert {row["student_id"] for row in table} == {"0071234"}
    assert len(table) == 2
    assert "0 of 1 notebooks" in capsys.readouterr().out
    rows = out.read_text().splitlines()
    out.write_text("\n".join([*rows, *(row.replace(",0071234,", ",71234,") for row in rows[1:])]))
    table, _ = grading.grade(clone, tmp_path / "returned", out)
    assert len(table) == 4, "two students that are both in the table stay two"


def test_two_at_a_time_into_one_table_lose_no_marks(clone, tmp_path):
    for name in ("ann", "bob"):
        write(tmp_path / name / f"{name}.ipynb", answered(clone, RIGHT))
    both = [
        subprocess.Popen([*COMMAND, clone.root, name], cwd=tmp_path, env=ENVIRONMENT)
        for name in ("ann", "bob")
    ]
    assert [one.wait() for one in both] == [0, 0]
    with (tmp_path / "marks.csv").open(encoding="utf-8", newline="") as file:
        assert sorted({row["student_id"] for row in csv.DictReader(file)}) == ["ann", "bob"]


def test_what_could_not_be_read_leaves_the_table_when_it_comes_again(clone, tmp_path):
    returned, out = tmp_path / "returned", tmp_path / "marks.csv"
    returned.mkdir()
    for name in ("ann", "bob"):
        (returned / f"{name}.ipynb").write_text("{")
    table, _ = grading.grade(clone, returned, out)
    assert [(row["assignment"], row["student_id"]) for row in table] == [("", "ann"), ("", "bob")]
    (returned / "ann.ipynb").unlink()
    for name in ("one", "two"):
        write(returned / "ann" / f"{name}.ipynb", answered(clone, RIGHT))
    table, _ = grading.grade(clone, returned, out)
    rows = {(row["assignment"], row["student_id"]) for row in table}
    assert rows == {("01_small", "ann"), ("", "bob")}


def test_table_that_cannot_be_written_is_told_before_anything_is_marked(clone, tmp_path, capsys):
    write(tmp_path / "a.ipynb", answered(clone, RIGHT))
    (tmp_path / "file").write_text("x")
    for out, told in ((tmp_path, "is a folder"), (tmp_path / "file" / "m.csv", "be written")):
        with pytest.raises(CourseError, match=told):
            grading.grade(clone, tmp_path / "a.ipynb", out)
    assert "marked now" not in capsys.readouterr().out


def packed(path, files: dict[str, dict | bytes]) -> bytes:
    """Write a zip file of notebooks and other files; return its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            whole = content if isinstance(content, bytes) else json.dumps(content)
            archive.writestr(name, whole)
    return path.read_bytes()


def test_downloads_of_a_whole_class_are_taken_apart(clone, tmp_path):
    """As Moodle and Canvas pack them, also with a zip file of a student in it."""
    mine = answered(clone, RIGHT)
    inner = packed(tmp_path / "work.zip", {"a.ipynb": mine})
    deep = packed(tmp_path / "deep.zip", {"work.zip": inner})
    moodle = {
        "Ann Lee_101_assignsubmission_file/01_small.ipynb": mine,
        "Ann Lee_102_assignsubmission_file/work.zip": inner,
        "Bob Ray_103_assignsubmission_file_work.ipynb": mine,
    }
    canvas = {
        "leeann_11_90001_01_small.ipynb": mine,
        "raybob_LATE_12_90002_work.zip": inner,
        "odd_13_90003_deep.zip": deep,
    }
    packed(tmp_path / "returned" / "moodle.zip", moodle)
    packed(tmp_path / "returned" / "canvas.zip", canvas)
    for name in ("group_1_2026_a", "group_1_2026_b"):  # folders of students, of neither
        write(tmp_path / "returned" / name / "work.ipynb", mine)
    found = grading._submissions(clone, tmp_path / "returned", tmp_path / "marks.csv")
    assert {one.student: one.problem for one in found} == {
        **dict.fromkeys(("Ann Lee_101", "Ann Lee_102", "Bob Ray_103"), ""),
        **dict.fromkeys(("leeann_11", "raybob_12", "group_1_2026_a", "group_1_2026_b"), ""),
        "odd_13": "it is a zip file in a zip file of a zip file",
    }


def test_zip_of_a_class_that_names_no_students_is_to_be_unpacked(clone, tmp_path):
    mine = answered(clone, RIGHT)
    packed(tmp_path / "class.zip", {"ann.ipynb": mine, "bob.ipynb": mine})
    table, look = grading.grade(clone, tmp_path / "class.zip", tmp_path / "marks.csv")
    assert look == 1
    assert [row["exercise"] for row in table] == ["01-a", "01-b"], "no total is doubled"
    assert "unpack a zip file of the whole class" in table[0]["reason"]


def test_student_of_two_chapters_is_counted_once():
    marks = [("01_a", "ann", "01-a", 1), ("02_b", "ann", "02-a", 1), ("01_a", "bob", "01-a", 0)]
    names = ("assignment", "student_id", "exercise", "score")
    text = grading.summary([dict(zip(names, row, strict=True)) for row in marks])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "01_a 01-a 1 of 2" in lines
    assert [line for line in lines if "ann" in line] == ["2 chapters ann 2 of 2"]
    assert lines[-1] == "Students: 2."


def test_reason_is_no_formula_in_a_spreadsheet():
    assert grading._plain("=HYPERLINK(1)\n2") == "'=HYPERLINK(1) 2"
