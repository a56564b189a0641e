"""Recorded results: each file of the book is a whole record, and a damaged one is told."""

import json

import pytest

from helpers.base.errors import ReportError
from helpers.report import recorded
from tests.conftest import ROOT

GOOD = {
    "title": "A frozen backbone on twelve images",
    "chapters": ["07"],
    "date": "2026-11-26",
    "device": "two CPU cores",
    "versions": {"Keras": "3.15.1", "Python": "3.12"},
    "data": "twelve images",
    "split": "by subject",
    "weights": "random",
    "figures": [{"name": "AUC", "value": 0.5, "low": 0.25, "high": 0.75}],
}


def written(folder, **changes):
    record = {key: value for key, value in (GOOD | changes).items() if value is not None}
    (folder / "one.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_a_record_is_shown_with_all_that_it_depends_on(tmp_path):
    figures = [*GOOD["figures"], {"name": "networks", "value": 1200}]
    text = recorded.rendered("07", written(tmp_path, figures=figures, note="Nothing learned."))
    for part in ("A frozen", "2026-11-26", "two CPU cores", "Keras 3.15.1", "twelve", "by subject"):
        assert part in text
    assert "AUC: 0.500 [0.250, 0.750]" in text
    assert "networks: 1,200" in text
    assert text.endswith("note: Nothing learned.")
    assert max(map(len, text.splitlines())) <= 88


def test_a_chapter_shows_its_own_records_only(tmp_path):
    assert len(recorded.read("07", written(tmp_path))) == 1
    assert recorded.read("08", tmp_path) == []
    assert "belong to the book" in recorded.rendered("08", tmp_path)
    assert "belong to the book" in recorded.rendered("07", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"device": None}, r"one\.json is not a record of results: in \$, 'device' is a required"),
        ({"colour": "red"}, "'colour' was unexpected"),
        ({"data": ""}, r"in \$\.data, '' does not match"),
        ({"title": 7}, r"in \$\.title, 7 is not of type 'string'"),
        ({"date": "yesterday"}, r"in \$\.date, 'yesterday' is not a 'date'"),
        ({"date": "2026-02-30"}, "is not a 'date'"),
        ({"date": 20261126}, r"in \$\.date, "),
        ({"chapters": "07"}, r"in \$\.chapters, "),
        ({"chapters": [7]}, r"in \$\.chapters\[0\], 7 is not"),
        ({"chapters": [12]}, r"in \$\.chapters\[0\], 12 is not"),
        ({"chapters": []}, r"in \$\.chapters, \[\] should be non-empty\.$"),
        ({"versions": {}}, r"in \$\.versions, \{\} should be non-empty"),
        ({"versions": {"Keras": 3}}, r"in \$\.versions\.Keras, 3 is not"),
        ({"figures": []}, r"in \$\.figures, \[\] should be non-empty"),
        ({"figures": [{"name": "AUC", "value": 0.9, "low": 0.91, "high": 0.95}]}, "AUC is 0.900"),
        ({"figures": [{"name": "AUC", "value": 0.9, "low": 0.8}]}, "'high' is a dependency"),
        ({"figures": [{"name": "AUC", "value": True}]}, "True is not of type 'number'"),
        ({"figures": [{"name": "AUC", "value": float("nan")}]}, "AUC is nan"),
        ({"figures": [{"name": "AUC", "value": float("inf")}]}, "AUC is inf"),
        ({"figures": [{"name": 3, "value": 0.5}]}, "3 is not of type 'string'"),
        ({"figures": [3]}, "3 is not of type 'object'"),
        ({"note": 3}, r"in \$\.note, 3 is not"),
    ],
)
def test_what_is_no_record_is_told(tmp_path, changes, why):
    with pytest.raises(ReportError, match=why):
        recorded.read("07", written(tmp_path, **changes))


@pytest.mark.parametrize("content", ["", "[1]", "{", '"text"'])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "one.json").write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match=r"one\.json is not a record"):
        recorded.read("07", tmp_path)


def test_the_records_of_the_book_are_whole():
    files = sorted((ROOT / "book" / "results").glob("*.json"))
    assert recorded.FOLDER == ROOT / "book" / "results"
    assert files
    shown = {chapter for path in files for chapter in json.loads(path.read_text())["chapters"]}
    assert sum(len(recorded.read(chapter)) for chapter in shown) >= len(files)
