"""The teaching plans add up, and no figure on their page is invented."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "book" / "sample_capstone.txt"
EXERCISES = {
    name
    for path in (ROOT / "notebooks").glob("*.ipynb")
    for name in re.findall(r"### Exercise (\d\d-[a-z])", path.read_text(encoding="utf-8"))
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its first two lines."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("heading", "sessions"),
    [("A session", 1), ("Four sessions", 4), ("Eight sessions", 8), ("Sixteen sessions", 16)],
)
def test_each_session_has_ninety_minutes(heading, sessions):
    minutes: list[int] = []
    for row in rows(heading):
        if heading == "A session":
            row = ["" if minutes else "1", *row]
        if row[0]:
            assert row[0] == str(len(minutes) + 1)
            minutes.append(0)
        minutes[-1] += int(row[1])
    assert minutes == [90] * sessions


def test_exercises_of_the_plans_exist():
    named = set(re.findall(r"\b\d\d-[a-z]\b", PAGE))
    assert len(named) > 15
    assert named <= EXERCISES


def test_figures_are_recorded_or_published_ones():
    known = set(re.findall(r"\d\.\d+", (ROOT / "helpers/studies/papers.csv").read_text()))
    for path in (ROOT / "book" / "results").glob("*.json"):
        for figure in json.loads(path.read_text(encoding="utf-8"))["figures"]:
            known |= {str(figure.get(key)) for key in ("value", "low", "high")}
    stated = re.findall(r"\d\.\d+", PAGE.split("## What comes out")[1].split("\n## ")[0])
    assert len(stated) >= 8
    assert {str(float(number)) for number in stated} <= {
        str(float(n)) for n in known if n != "None"
    }


def test_marks_of_the_sample_are_those_of_the_scheme_and_add_up():
    scheme = (ROOT / "book" / "capstone.md").read_text(encoding="utf-8")
    full = dict(re.findall(r"(?m)^\| ([A-Z][a-z ]+) \| (\d+) \| ", scheme))
    marks = re.findall(r"(?m)^\| (?:\*\*)?([A-Za-z ]+?)(?:\*\*)? \| \**(\d+) of (\d+)", PAGE)
    *parts, (_, total, most) = marks
    assert {name: given for name, _, given in parts} == full
    assert (sum(int(points) for _, points, _ in parts), int(most)) == (int(total), 100)
    assert sum(map(int, full.values())) == 100


@pytest.mark.slow
def test_the_sample_prints_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    spec = importlib.util.spec_from_file_location("sample", ROOT / "book" / "sample_capstone.py")
    sample = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sample)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        sample.main()
    number = re.compile(r"[-+]?\d+\.\d+")
    stored = SAMPLE.read_text(encoding="utf-8")
    assert number.sub("#", text.getvalue()) == number.sub("#", stored)
    values = [[float(v) for v in number.findall(t)] for t in (text.getvalue(), stored)]
    assert values[0] == pytest.approx(values[1], abs=0.002)
