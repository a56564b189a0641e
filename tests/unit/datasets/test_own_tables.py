"""Tables beside images of one's own: what they mean, or one sentence that says what to correct."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from helpers import datasets
from helpers.base.errors import DatasetError
from tests.unit.datasets.test_folders import labels, put


@pytest.fixture(autouse=True)
def _artifacts(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))


@pytest.fixture
def mine(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        put(tmp_path / name)
    return tmp_path


def load(folder, table=None, name="subjects.csv", **more):
    if table is not None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(table, encoding="utf-8")
    return datasets.load("folders", folder, positive="a", **more)


def subjects(catalog):
    return dict(zip(catalog["image_id"], catalog["subject"], strict=True))


ROWS = "a/1.png,Ann\na/2.png,Ann\nb/1.png,Bob\n"
THREE = {"a/1": "Ann", "a/2": "Ann", "b/1": "Bob"}


@pytest.mark.parametrize("name", ["subjects.csv", "who is who.CSV"])
@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("image,subject\na/1.png,Ann\na/2.png,Lee, Bob\n", "line 3: it has 3 entries, but the hea"),
        ("image,subject\n\na/1.png,Lee, Bob,,\n", "line 3: it has 5 entries.*needs quotes around"),
        (
            'image,subject\na/1.png,Ann\na/2.png,"Ann\nb/1.png,Bob\n',
            "line 3: its quotes do not fit",
        ),
        ('image,subject\na/1.png,"Ann\nb/1.png,"Bob"\n', "line 2: its quotes do not fit"),
        ('image,subject\na/1.png,"Ann\na/2.png,Ann"\nb/1.png,Bob\n', "line 2: .* several lines"),
        (ROWS, "line 1: it names an image, where the columns must be named"),
        ("\n\n1;Ann\n2;Bob\n", "line 3: it names an image"),
        ("", "is an empty table"),
        (" \n\n", "is an empty table"),
        ("sep=;\n", "is an empty table"),
        ("image,subject\n", "line 1: no rows follow"),
        ("image,subject,Subject\na/1.png,Ann,Bob\n", "line 1: several columns tell the subject"),
        ("image,subject,patient\na/1.png,Ann,Bob\n", r"tell the subject \('subject' and 'patient'"),
        ("Image;Patient ID;Donor\na/1.png;Ann;Bob\n", r"\('Patient ID' and 'Donor'\); keep one"),
        ("image,image,subject\na/1.png,a/2.png,Bob\n", r"several columns tell the image"),
        ("image,label,Label\na/1.png,a,b\n", r"several columns tell the label"),
        ("PK\x03\x04\0\0subjects", "holds no text"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error_and_not_passed_over(mine, table, sentence, name):
    with pytest.raises(DatasetError, match=sentence) as told:
        load(mine, table, name)
    assert str(told.value).startswith(name)
    assert "\n" not in str(told.value)
    assert any(cure in str(told.value) for cure in ("Correct the file", "fill it in", "save the t"))


@pytest.mark.parametrize("name", ["subjects.csv", "Patients.csv", "label.csv"])
def test_a_table_named_after_its_purpose_must_serve_it(mine, name):
    with pytest.raises(DatasetError, match=r"line 1: the columns are 'image', 'person'; one must"):
        load(mine, "image,person\na/1.png,Ann\n", name)


def test_a_table_about_something_else_is_named_and_passed_over(mine, capsys):
    load(mine, "time,temperature\n8:00,37\n", "fever.csv")
    assert "1 no image, and no table of images (fever.csv)" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["dead link", "loop", "pipe"])
def test_a_table_that_cannot_be_opened_is_an_error(mine, kind):
    path = mine / "subjects.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else "/nowhere/subjects.csv")
    with pytest.raises(DatasetError, match=r"^subjects\.csv cannot be opened \(.*or remove it"):
        load(mine)


@pytest.mark.parametrize("name", ["subjects.xlsx", "subjects.tsv", "patients.ODS"])
def test_a_table_of_another_kind_is_to_be_saved_as_csv(mine, name, capsys):
    load(mine, "PK", name)
    assert f"the course cannot read; save it as CSV ({name})" in capsys.readouterr().out


@pytest.mark.parametrize("first", ["sep=;", "SEP=;\r", '"sep=;"', "sep=;;"])
def test_the_line_that_spreadsheets_write_first_is_understood(mine, first):
    rows = ("image,subject\n" + ROWS).replace(",", ";")
    assert subjects(load(mine, f"{first}\n{rows}")) == THREE


def test_any_separator_may_be_told(mine):
    table = "sep=|\nimage|subject\n" + ROWS.replace(",", "|")
    assert subjects(load(mine, table)) == THREE
    with pytest.raises(DatasetError, match=r"subjects\.csv, row 4: the subject is missing"):
        load(mine, "sep=\t\nimage\tsubject\na/1.png\tAnn\na/2.png\t\n")


@pytest.mark.parametrize(
    "table",
    [
        "image,subject,\n" + ROWS.replace("\n", ",\n"),
        "image,subject\n" + ROWS.replace("\n", ",,\n"),
        'note,image,subject\n"two\nlines, ""quoted""",a/1.png,Ann\n,a/2,Ann\n,b/1,"Bob"\n',
        "image,subject\r" + ROWS.replace("\n", "\r"),
        "image,slide,patient\na/1,1,Ann\na/2,2,Ann\nb/1,3,Bob\n",
    ],
)
def test_what_spreadsheets_write_is_read(mine, table):
    assert subjects(load(mine, table)) == THREE


# -- the same person, written in several ways -------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (" Ann  Lee", "Ann Lee "),
        ("Ann\u00a0Lee", "Ann\tLee"),
        (unicodedata.normalize("NFC", "Zoë"), unicodedata.normalize("NFD", "Zoë")),
    ],
)
def test_blanks_and_the_coding_of_accents_make_nobody_another_person(mine, one, other, capsys):
    found = load(mine, f"image;subject\na/1;{one}\na/2;{other}\nb/1;Bob\n")
    assert found["subject"].nunique() == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("one", "other"), [("Ann", "ANN"), ("7", "007"), ("p01-2", "P1-02")])
def test_subjects_that_are_nearly_the_same_are_told(mine, one, other, capsys):
    found = load(mine, f"image,subject\na/1,{one}\na/2,{other}\nb/1,Bob\n")
    assert found["subject"].nunique() == 3
    told = capsys.readouterr().out
    assert f"{one!r}" in told
    assert f"{other!r}" in told
    assert "differ only in capitals or leading zeros and count as different people" in told
    assert "'Bob'" not in told


def test_different_numbers_are_different_people_without_a_word(mine, capsys):
    load(mine, "image,subject\na/1,10\na/2,1\nb/1,100\n")
    assert capsys.readouterr().out == ""


# -- the classes of a table -------------------------------------------------------------------


def test_a_column_of_classes_that_overrides_the_folders_is_named(mine, capsys):
    table = "image,subject,type\na/1,Ann,smear\na/2,Ann,smear\nb/1,Bob,film\n"
    sentence = (
        r"'a' \(POSITIVE\).*'smear' \(2 images\); they are those of the column 'type' of subj"
    )
    with pytest.raises(DatasetError, match=sentence):
        load(mine, table)
    catalog = datasets.load("folders", mine, positive="film")
    assert "label_source" not in catalog
    told = "The classes are those of the column 'type' of subjects.csv; the folders give none."
    assert told in capsys.readouterr().out


def test_nearly_equal_classes_of_a_table_are_no_matter_of_folders(mine, capsys):
    load(mine, "image,subject,label\na/1,Ann,a\na/2,Ann,B b\nb/1,Bob,b  B\n")
    told = capsys.readouterr().out
    assert "'B b', 'b B' differ only in capitals" in told
    assert "write them alike in the table" in told
    assert "rename a folder" not in told


@pytest.mark.parametrize("name", ["Unlabelled", "UNLABELLED", " unlabelled", "Unlabeled"])
def test_unlabelled_is_no_class_however_it_is_written(mine, name, capsys):
    put(mine / name / "9.png")
    catalog = load(mine)
    assert sorted(set(catalog["label"])) == ["a", "b", "unlabelled"]
    assert catalog["positive"].isna().sum() == 1
    load(mine, f"image,label\na/1,a\na/2,{name}\nb/1,b\n", "labels.csv")
    assert "differ only" not in capsys.readouterr().out
    assert (load(mine)["label"] == "unlabelled").sum() == 1


# -- which image a row means ------------------------------------------------------------------


def test_a_table_in_a_folder_means_the_images_of_that_folder(mine):
    load(mine, "image,subject\n1.png,Ann\n2,Ann\n", "a/subjects.csv")
    catalog = load(mine, "image,subject\n1.png,Bob\n", "b/subjects.csv")
    assert subjects(catalog) == THREE
    with pytest.raises(DatasetError, match=r"row 2: '1\.png' may be 'a/1\.png' and 'b/1\.png'"):
        load(mine, "image,subject\n1.png,Ann\n")


def test_a_whole_path_means_no_image_further_down(mine):
    put(mine / "b" / "a" / "1.png")
    catalog = load(mine, "image,subject\na/1.png,Ann\na/2,Ann\nb/1,Bob\nb/a/1.png,Eve\n")
    assert subjects(catalog) == {**THREE, "b/a/1": "Eve"}


def test_rows_that_name_no_image_are_not_counted_as_files(mine, capsys):
    load(mine, "image,subject\na/1.png,Ann\nb/1.png,Bob\ngone.png,Eve\n")
    assert capsys.readouterr().out.startswith(
        "1 file and 1 row were left out: 1 not in subjects.csv (2.png); "
        "1 row that names no image (subjects.csv, row 4)."
    )


# -- any table --------------------------------------------------------------------------------

PIECES = [
    *(
        "image",
        "subject",
        "label",
        "patient",
        "sep=;",
        "a/1.png",
        "a/2",
        "1",
        "b/1.png",
        "Ann",
        "07",
    ),
    *(",", ";", "\t", "\n", "\r\n", '"', " ", "\0", "é", "../", "\\", "/", "C:", "\u2028", "~"),
]
LINES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@pytest.mark.slow
@given(st.sampled_from(["", "image,subject\n", "image;label\n"]), LINES)
@examples(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_a_table_or_refused_in_a_sentence(mine, head, text):
    try:
        (mine / "any.csv").write_bytes((head + text).encode())
        catalog, report = datasets.load_with_report("folders", mine, positive="a")
    except DatasetError as error:
        told = str(error)
        assert "any.csv" in told or "POSITIVE" in told
        assert len(told.splitlines()) == 1
    else:
        taken = {os.path.relpath(path, mine) for path in catalog["path"]}
        assert taken | set(report["path"]) >= {"a/1.png", "a/2.png", "b/1.png"}
        assert catalog["subject"].str.strip().ne("").all()
    finally:
        (mine / "any.csv").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "table",
    [
        "image,subject\na/1.png,Ann\na/2.png,Ann\nb/1.png,Bob\n",
        "\ufeffsubject;image\nAnn;a\\1.png\nAnn;2\n\nBob;b/1\n",
        "Patient ID\tFile name\nAnn\tmine/a/1.png\nAnn\t2.png\nBob\tB/1.PNG\n",
    ],
)
def test_a_table_tells_the_subjects(tmp_path, table, capsys):
    for name in ("mine/a/1.png", "mine/a/2.png", "mine/b/1.png"):
        put(tmp_path / name)
    (tmp_path / "mine" / "subjects.csv").write_text(table, encoding="utf-8")
    catalog = datasets.load("folders", tmp_path, positive="a").set_index("image_id")
    assert catalog["subject"].to_dict() == {"a/1": "Ann", "a/2": "Ann", "b/1": "Bob"}
    assert capsys.readouterr().out == ""


def test_what_table_and_folder_do_not_share_is_named(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        put(tmp_path / name)
    table = tmp_path / "subjects.csv"
    table.write_text("image,subject\na/1.png,Ann\nb/1.png,Bob\ngone.png,Eve\n")
    catalog, report = datasets.load_with_report("folders", tmp_path, positive="a")
    assert sorted(catalog["image_id"]) == ["a/1", "b/1"]
    assert dict(report.to_numpy().tolist()) == {
        "a/2.png": "not in subjects.csv",
        "subjects.csv, row 4": "row that names no image",
    }


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("a/1.png,", r"subjects\.csv, row 2: the subject is missing"),
        ("a/1.png,Ann\n\n,Bob", r"subjects\.csv, row 4: the image is missing"),
        ("1.png,Ann", r"row 2: '1\.png' may be 'a/1\.png' and 'b/1\.png'; write it with its fol"),
        (
            "a/1.png,Ann\n2.png,Ann\na/2.png,Bob",
            r"row 4: 'a/2\.png' is of subject 'Bob', but subjects\.csv, row 3 says 'Ann'",
        ),
    ],
)
def test_a_table_that_cannot_be_meant_so_is_refused_by_its_row(tmp_path, rows, sentence):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        put(tmp_path / name)
    (tmp_path / "subjects.csv").write_text(f"image,subject\n{rows}\n")
    with pytest.raises(DatasetError, match=sentence):
        datasets.load("folders", tmp_path, positive="a")


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ("file,kind,slide\n1,sick,7\nImages/002.png,well,8\n", ["images/001", "images/002"]),
        (
            "File;Category;Patient\nimages\\001.PNG;sick;7\n002;well;8\n",
            ["images/001", "images/002"],
        ),
    ],
)
def test_a_table_tells_the_classes_and_folders_do_not_count(tmp_path, table, ids):
    for name in ("images/001.png", "images/002.png", "images/3.png", "loose.png"):
        put(tmp_path / name)
    (tmp_path / "labels.csv").write_text(table)
    catalog, report = datasets.load_with_report("folders", tmp_path, positive="sick")
    assert labels(catalog) == dict(zip(ids, [("sick", 1), ("well", 0)], strict=True))
    assert catalog["subject"].tolist() == ["7", "8"]
    assert dict(report.to_numpy().tolist()) == {
        "images/3.png": "not in labels.csv",
        "loose.png": "not in labels.csv",
    }


def test_one_table_tells_the_classes_and_another_the_subjects(tmp_path):
    for name in ("1.png", "2.png", "3.png"):
        put(tmp_path / name)
    (tmp_path / "labels.csv").write_text("image,label\n1,a\n2,b\n3,unlabelled\n")
    (tmp_path / "people.csv").write_text("image,subject\n1,Ann\n2,Bob\n3,Bob\n")
    catalog = datasets.load("folders", tmp_path, positive="a").set_index("image_id")
    assert catalog["label"].to_dict() == {"1": "a", "2": "b", "3": "unlabelled"}
    assert catalog["subject"].to_dict() == {"1": "Ann", "2": "Bob", "3": "Bob"}


def test_a_row_that_is_too_short_is_refused(tmp_path):
    put(tmp_path / "a" / "1.png")
    (tmp_path / "labels.csv").write_text("image,label\n1\n")
    with pytest.raises(DatasetError, match="row 2: the label is missing"):
        datasets.load("folders", tmp_path, positive="a")


def test_a_table_from_another_machine_finds_its_images_by_the_end_of_the_path(tmp_path):
    for name in ("x1.png", "x2.png"):
        put(tmp_path / "images" / name)
    (tmp_path / "labels.csv").write_text(
        "filename,label\nC:\\Users\\Ana\\wbc\\images\\x1.png,a\n/content/drive/images/x2.png,b\n"
    )
    catalog = datasets.load("folders", tmp_path, positive="a")
    assert labels(catalog) == {"images/x1": ("a", 1), "images/x2": ("b", 0)}


def test_a_relative_path_that_is_not_there_is_not_guessed(tmp_path):
    for name in ("a/1.png", "a/2.png"):
        put(tmp_path / name)
    (tmp_path / "labels.csv").write_text("filename,label\na/1.png,a\nb/2.png,b\n")
    _, report = datasets.load_with_report("folders", tmp_path, positive="a")
    reason = report.set_index("path")["reason"]["labels.csv, row 3"]
    assert reason == "row that names no image"


@pytest.mark.parametrize(
    "written",
    [
        "file:///C:/Users/Ana/wbc/a/x1.png",
        "D:\\wbc\\a\\x1.png",
        "D:a\\x1.png",
        "\\\\server\\share\\a\\x1.png",
        "~/wbc/a/x1.png",
        "https://drive.example/wbc/a/x1.png",
        "../a/x1.png",
        "../../elsewhere/a/x1.png",
        "A/X1.PNG",
    ],
)
def test_paths_of_all_kinds_find_their_image(tmp_path, written):
    for name in ("a/x1.png", "b/x1.png", "b/x2.png"):
        put(tmp_path / name)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "labels.csv").write_text(
        f"filename,label\n{written},one\nb/x1.png,two\nx2,two\n"
    )
    catalog = datasets.load("folders", tmp_path, positive="one")
    assert labels(catalog) == {"a/x1": ("one", 1), "b/x1": ("two", 0), "b/x2": ("two", 0)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_tables_of_all_encodings_find_names_with_accents(tmp_path, encoding, form):
    put(tmp_path / "a" / unicodedata.normalize(form, "é1.png"))
    put(tmp_path / "b" / "2.png")
    content = "image,subject\né1.png,Zoë\nb/2.png,Bob\n"
    (tmp_path / "subjects.csv").write_bytes(content.encode(encoding))
    catalog = datasets.load("folders", tmp_path, positive="a")
    assert catalog["subject"].tolist() == ["Zoë", "Bob"]


@pytest.mark.parametrize("nobody", ["", "nan", "NaN", "None", "unknown", " n/a ", "NULL", "?"])
def test_images_of_nobody_are_not_one_person(tmp_path, nobody):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        put(tmp_path / name)
    (tmp_path / "subjects.csv").write_text(
        f"image,subject\na/1.png,Ann\na/2.png,{nobody}\nb/1.png,{nobody}\n"
    )
    with pytest.raises(
        DatasetError, match=r"row 3: the subject is missing .*as in 2 rows; for each .*stranger"
    ):
        datasets.load("folders", tmp_path, positive="a")
