"""What leaves the app comes back as it was: a table for spreadsheets, a data set for the course."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import datasets
from helpers.app import export
from helpers.app.records import Verdict
from helpers.app.store import Store
from helpers.base.errors import AppError
from tests.unit.app.samples import BOX, cell, picture, read


@pytest.fixture(autouse=True)
def _artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "data")) as made:
        yield made


def add(store: Store, content: bytes, *cells, subject: str = "", model: str = "m") -> list[int]:
    return store.add(content, "<img src=x onerror=alert(1)>.png", cells, model, "M", subject)


def load(store: Store, folder, **filters) -> pd.DataFrame:
    """Export the store and load it as a chapter does."""
    export.to_folder(store, folder, read, **filters)
    return datasets.load("folders", folder, positive="all")


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


# Tables


@pytest.mark.parametrize("start", [*"=+-@", " =", "\t=", "＝", "a;=", "a,-", "line\n="])
def test_no_text_is_a_formula_for_a_spreadsheet(store, start):
    (made,) = store.add(
        picture(), f"{start}1+1", [cell()], "m", f"{start}model", subject=f"{start}1"
    )
    store.verify(made, Verdict("disagree", f"{start}x", f"{start}comment", f"{start}reader"))
    text = "".join(export.to_csv(store))
    (row,) = csv.DictReader(io.StringIO(text))
    assert "'" in row["comment"]
    for entry in re.split("[\n\t;,]", "\n".join(row.values())):
        assert not entry.strip().startswith(tuple("=+-@＝＋－＠"))


def test_numbers_stay_numbers_and_texts_come_back(store):
    for seed in range(3):
        add(store, picture(seed), cell(distance=-0.5, probability=float("nan")))
    store.verify(2, Verdict("unsure", comment='said "so", é\nand more'))
    table = pd.read_csv(io.StringIO("".join(export.to_csv(store))))
    assert table["id"].tolist() == [1, 2, 3]
    assert table["distance"].tolist() == [-0.5] * 3
    assert table["comment"][1] == 'said "so", é\nand more'
    assert table["name"][0] == "<img src=x onerror=alert(1)>.png"
    (line,) = csv.DictReader(io.StringIO("".join(export.to_csv(store, verdict="unsure"))))
    assert line["id"] == "2"


def test_a_long_table_comes_in_pieces_with_one_header(store):
    add(store, picture(), *[cell()] * 1100)
    pieces = list(export.to_csv(store))
    assert len(pieces) == 3
    assert pd.read_csv(io.StringIO("".join(pieces)))["id"].tolist() == list(range(1, 1101))


def test_the_table_of_nothing_has_a_header(store):
    assert pd.read_csv(io.StringIO("".join(export.to_csv(store)))).empty


# Data sets


def test_verified_images_become_a_data_set(store, tmp_path):
    whole, field, bare = picture(0, "BMP"), picture(1), picture(2, "JPEG")
    add(store, whole, cell("ALL"), subject="P1")
    add(store, field, cell("ALL", BOX), cell("HEM", (0, 0, 9, 9)), cell("HEM", (9, 9, 20, 20)))
    add(store, bare, cell("HEM"), cell("HEM", (-4, 20, 9, 99)))
    store.verify(1, Verdict("agree"))
    store.verify(2, Verdict("disagree", "HEM"))
    store.verify(3, Verdict("disagree", "ALL"))
    store.verify(4, Verdict("unsure"))
    store.verify(6, Verdict("agree"))
    catalog = load(store, tmp_path / "out")
    catalog.index = catalog["image_id"].str.rpartition("-")[2].astype(int)
    assert catalog["label"].to_dict() == {1: "ALL", 2: "HEM", 3: "ALL", 6: "HEM"}
    assert catalog["positive"].to_dict() == {1: 1, 2: 0, 3: 1, 6: 0}
    assert catalog["subject"][1] == "P1"
    assert catalog["subject"][2] == catalog["subject"][3] != catalog["subject"][6]
    assert (tmp_path / "out" / "images" / catalog["path"][1]).read_bytes() == whole
    top, left, bottom, right = BOX
    assert (pixels(catalog["path"][2]) == read(field)[top:bottom, left:right]).all()
    assert (pixels(catalog["path"][3]) == read(field)[:9, :9]).all()
    assert (pixels(catalog["path"][6]) == read(bare)[:9, 20:]).all()


def test_the_file_of_a_whole_picture_keeps_its_format(store, tmp_path):
    kinds = {"BMP": ".bmp", "JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif"}
    for seed, kind in enumerate(kinds):
        store.verify(*add(store, picture(seed, kind), cell()), Verdict("agree"))
    paths = load(store, tmp_path / "out")["path"].tolist()
    assert sorted(path[path.rindex(".") :] for path in paths) == sorted(kinds.values())


def test_one_place_in_a_picture_is_one_image_with_the_newest_verdict(store, tmp_path):
    for model in ("m1", "m2"):
        add(store, picture(), cell("ALL", BOX), cell("ALL"), model=model)
    for made, verdict in ((3, "agree"), (1, "disagree"), (2, "agree"), (4, "unsure")):
        store.verify(made, Verdict(verdict, "HEM"))
    add(store, picture(1), cell("ALL"), model="m1")
    store.verify(5, Verdict("agree"))
    labels = load(store, tmp_path / "out").set_index("image_id")["label"]
    assert sorted(image.rpartition("-")[2] for image in labels.index) == ["1", "5"]
    assert sorted(labels) == ["ALL", "HEM"]


def test_filters_choose_what_is_exported(store, tmp_path):
    for seed, model in enumerate(["m1", "m2"]):
        store.verify(*add(store, picture(seed), cell(), model=model), Verdict("agree"))
    assert len(load(store, tmp_path / "out", model="m2")) == 1


@pytest.mark.parametrize("nobody", ["", "unknown", "N/A", "-", "?"])
def test_cells_of_one_picture_are_of_one_subject(store, tmp_path, nobody):
    """Also where the subject was named in one upload only, or nobody knows it."""
    add(store, picture(0), cell("ALL"), subject="P1")
    add(store, picture(0), cell("ALL", BOX), subject=nobody)
    add(store, picture(1), cell("ALL"), cell("HEM", BOX), subject=nobody)
    add(store, picture(2), cell("HEM"), subject=nobody)
    for made in range(1, 6):
        store.verify(made, Verdict("agree"))
    catalog = load(store, tmp_path / "out")
    subjects = catalog.set_index(catalog["image_id"].str.rpartition("-")[2])["subject"]
    assert subjects["1"] == subjects["2"] == "P1"
    assert subjects["3"] == subjects["4"] != subjects["5"]
    assert not {"P1", nobody} & set(subjects[["3", "5"]])


def test_odd_labels_and_subjects_come_back(store, tmp_path):
    add(store, picture(0), cell("ALL"), subject="a, b; \"c\" 'd'")
    add(store, picture(1), cell("ALL"), subject="=1+1")
    add(store, picture(2), cell("ALL"), subject="P3")
    store.verify(1, Verdict("agree"))
    store.verify(2, Verdict("disagree", "B, \"mature\" 'é'"))
    store.verify(3, Verdict("disagree", "nan"))
    catalog = load(store, tmp_path / "out")
    assert set(catalog["label"]) == {"ALL", "B, \"mature\" 'é'"}
    assert set(catalog["subject"]) == {"a, b; \"c\" 'd'", "'=1+1"}


def test_the_zip_holds_the_same_files(store, tmp_path):
    add(store, picture(0, "BMP"), cell("ALL"), cell("HEM", BOX), subject="P1")
    for made in (1, 2):
        store.verify(made, Verdict("agree"))
    folder = export.to_folder(store, tmp_path / "out", read)
    pieces = list(export.to_zip(store, read))
    assert len(pieces) == 4
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        inside = {name: archive.read(name) for name in archive.namelist()}
    outside = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.*")
    }  # fmt: skip
    assert inside == outside


def test_nothing_verified_is_said_before_anything_is_written(store, tmp_path):
    add(store, picture(), cell(), cell())
    store.verify(1, Verdict("unsure"))
    for write in (
        lambda: export.to_folder(store, tmp_path / "out", read),
        lambda: export.to_zip(store, read),
    ):
        with pytest.raises(AppError, match="verify some cells first"):
            write()
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone(store, tmp_path):
    store.verify(*add(store, picture(), cell()), Verdict("agree"))
    (tmp_path / "out").mkdir()
    assert export.to_folder(store, tmp_path / "out", read) == tmp_path / "out"
    with pytest.raises(AppError, match="not empty"):
        export.to_folder(store, tmp_path / "out", read)


def test_an_export_that_fails_leaves_no_folder(store, tmp_path):
    store.verify(*add(store, picture(), cell(box=BOX)), Verdict("agree"))

    def broken(content: bytes) -> np.ndarray:
        raise AppError("It cannot be read.")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(AppError, match="cannot be read"):
        export.to_folder(store, tmp_path / "out", broken)
    assert sorted(tmp_path.iterdir()) == before


# Ten thousand records: `pytest --benchmark-enable --benchmark-only`


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Twenty pictures of 500 cells; of ten cells seven have a verdict."""
    with closing(Store(tmp_path_factory.mktemp("large"))) as store:
        for seed in range(20):
            places = [(row, 0, row + 8, 8) for row in range(500)]
            cells = [cell(("ALL", "HEM")[box[0] % 2], box, thumbnail=bytes(8000)) for box in places]
            content = picture(seed, shape=(512, 16))
            store.add(content, f"{seed}.png", cells, f"m{seed % 3}", "M", f"P{seed}")
        with store._writing():
            for made in range(1, 10_001):
                word, right = ("agree", "ALL") if made % 2 else ("disagree", "ALL")
                store._run(
                    "INSERT INTO verdicts (cell, verdict, label, comment, reader, created)"
                    " SELECT ?, ?, ?, '', '', '2026-01-01T00:00:00+00:00' WHERE ? % 10 < 7",
                    made, word, right, made,
                )  # fmt: skip
        yield store


ASKED = {
    "start": lambda store: Store(store.folder).close(),
    "page": lambda store: store.page(),
    "last page": lambda store: store.page(after=40),
    "disagreement": lambda store: store.page(disagreement=True),
    "all filters": lambda store: store.page(
        label="HEM", verdict="disagree", model="m1", since="2026-01-01", until="2100-01-01",
        disagreement=True,
    ),
    "choices": lambda store: store.choices(),
    "agreement": lambda store: store.agreement(),
    "first piece of CSV": lambda store: next(export.to_csv(store)),
    "whole CSV": lambda store: "".join(export.to_csv(store)),
    "first piece of ZIP": lambda store: next(export.to_zip(store, read)),
    "whole ZIP": lambda store: sum(map(len, export.to_zip(store, read))),
}  # fmt: skip


@pytest.mark.parametrize("what", ASKED)
def test_ten_thousand_records(benchmark, request, what):
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    benchmark.pedantic(ASKED[what], [request.getfixturevalue("large")], rounds=5)
