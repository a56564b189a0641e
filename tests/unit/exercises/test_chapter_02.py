"""Chapter 02: the page computes what the helpers compute; its checkers know wrong answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import catalog as catalogs
from helpers.base.settings import DATASETS
from helpers.catalog import splitting
from helpers.datasets.copies.index import as_catalog
from helpers.datasets.origins import described
from tests.unit import chapter_page
from tests.unit.chapter_page import missed, verdict


def people(seed: int = 0, subjects: int = 24) -> pd.DataFrame:
    """Return a catalog of subjects of both classes, of 3 to 120 images each."""
    sizes = np.random.default_rng(seed).geometric(0.03, subjects).clip(3, 120)
    rows = [
        {
            "image_id": f"{subject}-{number}",
            "path": "/x",
            "label": ("all", "hem")[subject % 3 == 0],
            "positive": int(subject % 3 != 0),
            "subject": f"p{subject}",
            "sha256": f"{subject}-{number}",
        }
        for subject, size in enumerate(sizes)
        for number in range(size)
    ]
    return catalogs.make(rows)


@pytest.fixture(scope="module")
def page():
    """Return the functions of the page; the split of its table is made as well."""
    table = people()[["image_id", "label", "subject"]]
    texts = ("def split_by_person(", "def interval(", "def files_on_two_sides(", "def link(")
    cells = [c.source for c in chapter_page.code_cells("02")]
    found: dict = {"np": np, "table": table, "SEED": 24}
    for text in texts:
        (source,) = (s for s in cells if text in s)
        # The functions only: what a cell does with them needs the rest of the page.
        body = source if text == "def split_by_person(" else source.split("\n\n\n")[0]
        exec(source if text == "def link(" else body, found)
    return found


# ------------------------------------------------------------------ the page and the helpers


def test_the_split_without_a_helper_works_on_a_table_of_two_columns_it_names(page):
    table = people(1)[["label", "subject"]]
    parts = page["split_by_person"](table)
    assert set(parts) == {"train", "val", "test"}
    assert table.groupby("subject")["label"].nunique().max() == 1
    assert table.assign(split=parts).groupby("subject")["split"].nunique().max() == 1


@pytest.mark.parametrize("seed", range(6))
def test_the_split_without_a_helper_passes_the_audit_of_the_helper(page, seed):
    catalog = people(seed)
    table = catalog[["image_id", "label", "subject"]]
    split = catalog.assign(split=page["split_by_person"](table, seed))
    assert splitting.audit_leakage(split).empty
    assert pd.crosstab(split["split"], split["label"]).shape == (3, 2)
    assert (pd.crosstab(split["split"], split["label"]) > 0).all(axis=None)


@pytest.mark.parametrize("seed", range(3))
def test_the_random_split_of_the_page_has_the_sizes_of_the_helpers(seed):
    from sklearn.model_selection import train_test_split

    catalog = people(seed)
    labels = catalog["label"].to_numpy()
    rows = np.arange(len(catalog))
    _, test = train_test_split(rows, test_size=0.2, stratify=labels, random_state=seed)
    helper = splitting.split_at_random(catalog, seed=seed)
    assert (
        catalog["label"].iloc[test].value_counts().to_dict()
        == helper.loc[helper["split"] == "test", "label"].value_counts().to_dict()
    )


def test_the_assert_of_the_page_names_whom_the_audit_names():
    split = splitting.split_at_random(people())
    sides = split.groupby("subject")["split"].nunique()
    found = splitting.audit_leakage(split)
    assert set(sides.index[sides > 1]) == set(found.loc[found["kind"] == "subject", "name"])


def test_files_on_two_sides_are_counted_as_the_audit_counts_them(page):
    release = as_catalog()
    for test_fold, val_fold in (("2", "1"), ("0", None)):
        split = splitting.official_folds(release, test_fold, val_fold)
        found = splitting.audit_leakage(split)
        files = int((found["kind"] == "identical file").sum())
        assert page["files_on_two_sides"](split) == files > 0


def as_table(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    rows = [
        {"image_id": f"{i}{one}", "path": "/x", "label": "all", "subject": one, "sha256": f"f{i}"}
        for i, pair in enumerate([*pairs, ("z", "z")])
        for one in sorted(set(pair))
    ]
    return catalogs.make(rows)


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=9))
@settings(max_examples=30, deadline=None)
def test_union_find_on_the_page_joins_whom_the_helper_joins(page, pairs):
    table = as_table(pairs)
    ours, theirs = page["linked"](table), splitting.link_subjects(table)["group"]
    groups = pd.DataFrame({"ours": ours, "theirs": theirs}).drop_duplicates()
    assert groups["ours"].is_unique
    assert groups["theirs"].is_unique


@pytest.mark.slow
def test_the_page_links_the_release_as_the_helper_does(page):
    release = as_catalog().assign(group="")
    ours, theirs = page["linked"](release), splitting.link_subjects(release)["group"]
    groups = pd.DataFrame({"ours": ours, "theirs": theirs}).drop_duplicates()
    assert groups["ours"].is_unique
    assert groups["theirs"].is_unique
    assert len(groups) < release["subject"].nunique()


def test_the_interval_of_the_page_is_that_of_the_helper(page):
    from helpers.predictions import metrics

    rng = np.random.default_rng(0)
    table = people()[["image_id", "subject", "label", "positive"]].assign(split="test")
    table["score"] = rng.random(len(table))
    right = (table["score"] >= 0.5).to_numpy() == catalogs.target(table)
    value, *limits = page["interval"](right, table["subject"].to_numpy(), 200)
    assert value == pytest.approx(metrics.accuracy(table))
    np.testing.assert_allclose(
        limits, metrics.bootstrap_interval(table, "accuracy", 200, method="percentile")
    )


def test_every_data_set_is_described_in_words():
    catalog = people()
    for name in DATASETS:
        counted, sentence = described(name, catalog).split("\n", 1)
        assert counted.startswith(f"{len(catalog):,} images of 24 subjects, 3 to ")
        assert sentence.endswith(".")
        assert max(map(len, sentence.splitlines())) <= 88
    assert "draws these cells itself" in described("phantom", catalog)
    equal = catalog.groupby("subject").head(3)
    assert described("cnmc", equal).startswith("72 images of 24 subjects, 3 images each.\n")
    alone = catalog.assign(subject=catalog["image_id"])
    assert "each image counts as a subject" in described("folders", alone)


# ------------------------------------------------------------------ the exercises


def test_share_of_known_images():
    def known(table, part="train", unit=None):
        there = set(table.loc[table["split"] == part, "subject"])
        test = table.loc[table["split"] == "test", "subject"]
        return (test if unit is None else unit(test)).isin(there).mean()

    assert verdict("02-a", known) == "solved."
    of_subjects = missed("02-a", lambda t: known(t, unit=lambda s: s.drop_duplicates()))
    assert "You seem to count subjects; count images." in of_subjects
    assert "percentage" in missed("02-a", lambda t: 100 * known(t))
    assert "divide by the test images" in missed("02-a", lambda t: known(t) * 5 / 6)

    def anywhere(table):
        elsewhere = table.loc[table["split"] != "test", "subject"]
        return table.loc[table["split"] == "test", "subject"].isin(elsewhere).mean()

    wrong = missed("02-a", anywhere)
    assert "✗ Images in validation do not make a subject known." in wrong


def test_recordings_split_by_speaker():
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    def dealt(folds, groups):
        def answer(voices):
            group = groups(voices)
            given = {} if group is None else {"groups": group}
            _, rows = next(folds.split(voices, voices["voice"], **given))
            return np.where(np.isin(np.arange(len(voices)), rows), "test", "train")

        return answer

    whole = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    right = dealt(whole, lambda v: v["speaker"].where(v["speaker"] != "", v["recording"]))
    assert verdict("02-b", right) == "solved."
    leaky = missed("02-b", dealt(StratifiedKFold(5, shuffle=True), lambda v: None))
    assert "✗ No speaker is in both parts" in leaky
    together = missed("02-b", dealt(whole, lambda v: v["speaker"]))
    assert "✗ Recordings of unknown speakers are of different people" in together
    assert "✗ Both parts have" in missed("02-b", lambda v: ["train"] * len(v))
    assert '✗ It returns "train" or "test"' in missed("02-b", lambda v: ["train"])


def test_repaired_folds():
    official = splitting.official_folds(as_catalog())
    leaky = splitting.link_subjects(official)
    emptied = leaky.assign(split=leaky["split"].where(leaky["split"] == "test", ""))
    assert "✗ No group of linked subjects" in missed("02-c", leaky, official)
    assert "✗ No row of train is cleared without need." in missed("02-c", emptied, official)
    fewer = official[official["split"] == "test"]
    assert "✗ It has all rows" in missed("02-c", fewer, official)


@pytest.mark.slow
def test_solutions_of_the_page_solve_the_exercises(page):
    official = splitting.official_folds(as_catalog())
    given = {**page, "pd": pd, "official": official}
    answers = chapter_page.solutions("02", **given)
    assert verdict("02-a", answers["02-a"]) == "solved."
    assert verdict("02-b", answers["02-b"]) == "solved."
    assert verdict("02-c", answers["02-c"], official) == "solved."
