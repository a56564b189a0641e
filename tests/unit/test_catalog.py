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
    ("labels", "classes", "target"),
    [
        (("all", "hem"), ["hem", "all"], [1, 0]),
        (("all", "mm"), ["all", "mm"], [0, 1]),
        (("pro", "benign", "early"), ["benign", "early", "pro"], [1, 0, 1]),
        (("hem",), ["hem"], [0]),
        (("mm",), ["mm"], [1]),
    ],
)
def test_negative_classes_come_first_and_are_0(labels, classes, target):
    catalog = catalogs.make(rows(*labels))
    assert catalogs.classes(catalog) == classes
    assert catalogs.target(catalog).tolist() == target
    assert catalogs.target(catalog).dtype == "int8"


def test_labels_of_no_question_and_unlabelled_rows_are_refused():
    with pytest.raises(CatalogError, match="cat"):
        catalogs.target(catalogs.make(rows("cat", "dog")))
    with pytest.raises(CatalogError, match="1 rows of the catalog are unlabelled"):
        catalogs.target(catalogs.make(rows("all", "unlabelled")))


def test_fingerprint_names_pixels_and_their_order():
    one = catalogs.make([{**row, "sha256": row["image_id"] * 3} for row in rows("all", "hem")])
    assert catalogs.fingerprint(one) == catalogs.fingerprint(one.assign(path="/elsewhere"))
    assert catalogs.fingerprint(one) != catalogs.fingerprint(one[::-1])
    assert catalogs.fingerprint(one) != catalogs.fingerprint(one.assign(transform="rot90"))
    assert catalogs.fingerprint(one) == catalogs.fingerprint(one.assign(label="all"))
    assert catalogs.fingerprint(one, ["label"]) != catalogs.fingerprint(one)


def test_what_is_written_is_read_back(tmp_path):
    catalog = catalogs.make([{**row, "fold": "0", "subject": "007"} for row in rows("all", "hem")])
    catalogs.write(tmp_path / "catalog.csv", catalog)
    pd.testing.assert_frame_equal(catalogs.read(tmp_path / "catalog.csv"), catalog)
