"""The catalog: what it holds, what it refuses, what its hash names."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import catalog as catalogs
from helpers.base.errors import CatalogError
from helpers.catalog.table import COLUMNS


def rows(*labels: str) -> list[dict]:
    return [{"image_id": f"i{n}", "path": f"/x/{n}", "label": one} for n, one in enumerate(labels)]


def test_what_is_missing_is_filled():
    catalog = catalogs.make([{**row, "note": 7} for row in rows("hem", "all")])
    assert tuple(catalog.columns) == (*COLUMNS, "note")
    assert catalog["subject"].tolist() == catalog["group"].tolist() == ["i0", "i1"]
    assert set(catalog["transform"]) == {"identity"}
    assert set(catalog["split"]) == set(catalog["original"]) == {""}


def test_group_is_the_subject_unless_told():
    catalog = catalogs.make([{**row, "subject": "7"} for row in rows("all", "all")])
    assert catalog["group"].tolist() == ["7", "7"]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.permutations(rows("all", "hem", "all", "hem", "unlabelled")))
def test_the_order_of_the_rows_does_not_matter(shuffled):
    ordered = catalogs.make(rows("all", "hem", "all", "hem", "unlabelled"))
    pd.testing.assert_frame_equal(catalogs.make(shuffled), ordered)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.drop(columns="sha256"), r"lacks the columns \['sha256'\]"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(subject=None), r"\['subject'\] hold missing values"),
        (lambda t: t.assign(image_id="same"), "'same'"),
        (lambda t: t.assign(split="tset"), "tset"),
        (lambda t: t.assign(original="i9", split="val"), "augment after splitting"),
    ],
)
def test_an_unsound_table_is_refused(spoil, sentence):
    table = spoil(catalogs.make(rows("all", "hem")))
    with pytest.raises(CatalogError, match=sentence):
        catalogs.check(table)


def test_a_table_without_paths_is_refused():
    with pytest.raises(CatalogError, match="'path'"):
        catalogs.make([{"image_id": "a", "label": "all"}])


@pytest.mark.parametrize(
    ("labels", "positive", "classes", "target", "names"),
    [
        (("all", "hem"), "all", ["hem", "all"], [1, 0], ("hem", "all")),
        (("all", "mm"), "mm", ["all", "mm"], [0, 1], ("all", "mm")),
        (("all", "mm"), "all", ["mm", "all"], [1, 0], ("mm", "all")),
        (
            ("pro", "benign", "early"),
            ("early", "pre", "pro"),
            ["benign", "early", "pro"],
            [1, 0, 1],
            ("benign", "early/pro"),
        ),
        (("cat", "Zelle, blau"), "Zelle, blau", ["cat", "Zelle, blau"], [0, 1], None),
        (("mm",), "mm", ["mm"], [1], ("negative", "mm")),
    ],
)
def test_negative_classes_come_first_and_are_0(labels, positive, classes, target, names):
    catalog = catalogs.make(rows(*labels), positive)
    assert catalogs.classes(catalog) == classes
    assert catalogs.target(catalog).tolist() == target
    assert catalogs.target(catalog).dtype == "int8"
    assert catalogs.class_names(catalog) == (names or labels)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True), st.data())
def test_the_truth_of_a_row_does_not_depend_on_the_other_rows(names, data):
    names = [name for name in names if name != "unlabelled"]
    positive = data.draw(st.sampled_from(names))
    whole = catalogs.make(rows(*names), positive)
    for name in names:
        part = whole[whole["label"] == name]
        assert catalogs.target(part).tolist() == [int(name == positive)]
        assert catalogs.sides(part) == (([], [name]) if name == positive else ([name], []))


def test_what_has_no_truth_has_no_target():
    with pytest.raises(CatalogError, match="For 2 rows it is unknown"):
        catalogs.target(catalogs.make(rows("cat", "dog")))
    with pytest.raises(CatalogError, match="1 rows of the catalog are unlabelled"):
        catalogs.target(catalogs.make(rows("all", "unlabelled"), "all"))
    with pytest.raises(CatalogError, match="lacks the column `positive`"):
        catalogs.target(pd.DataFrame(rows("all", "hem")))


def test_a_wrong_truth_is_refused():
    with pytest.raises(CatalogError, match=r"No row is of the positive class 'mm'.*'all', 'hem'"):
        catalogs.make(rows("all", "hem"), "mm")
    with pytest.raises(CatalogError, match="neither 0 nor 1, first 2"):
        catalogs.make([{**row, "positive": 2} for row in rows("all")])
    mixed = [{**row, "positive": n} for n, row in enumerate(rows("all", "all"))]
    with pytest.raises(CatalogError, match="'all' is positive in some rows and negative in others"):
        catalogs.make(mixed)


@pytest.mark.parametrize("entries", [[0, 1, None], ["0", "1", ""], [0.0, 1.0, float("nan")]])
def test_the_truth_is_one_kind_of_column_wherever_it_comes_from(entries):
    column = catalogs.truth(pd.Series(entries))
    pd.testing.assert_series_equal(column, pd.Series([0, 1, pd.NA], dtype="Int64"))


def test_fingerprint_names_pixels_and_their_order():
    one = catalogs.make([{**row, "sha256": row["image_id"] * 3} for row in rows("all", "hem")])
    assert catalogs.fingerprint(one) == catalogs.fingerprint(one.assign(path="/elsewhere"))
    assert catalogs.fingerprint(one) != catalogs.fingerprint(one[::-1])
    assert catalogs.fingerprint(one) != catalogs.fingerprint(one.assign(transform="rot90"))
    assert catalogs.fingerprint(one) == catalogs.fingerprint(one.assign(label="all"))
    assert catalogs.fingerprint(one, ["label"]) != catalogs.fingerprint(one)


def test_what_is_written_is_read_back(tmp_path):
    given = rows("all", "hem", "unlabelled")
    catalog = catalogs.make([{**row, "fold": "0", "subject": "007"} for row in given], "all")
    catalogs.write(tmp_path / "catalog.csv", catalog)
    pd.testing.assert_frame_equal(catalogs.read(tmp_path / "catalog.csv"), catalog)


def test_a_catalog_with_unlabelled_rows_has_a_fingerprint_and_one_with_two_labels_is_told():
    rows = [{"image_id": f"{n}", "path": f"/{n}.bmp", "label": label, "subject": f"{n}"}
            for n, label in enumerate(["all", "hem", "unlabelled"])]  # fmt: skip
    catalog = catalogs.make(rows, positive="all")
    assert catalogs.fingerprint(catalog, catalogs.TRAINED_ON)
    twice = pd.concat([catalog[:2], catalog[:2][["label"]]], axis=1)
    with pytest.raises(CatalogError, match="label"):
        catalogs.target(twice)
