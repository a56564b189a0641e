"""Rebuilt systems do not leak with the split by subject; what is not as in the paper is listed."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers.base import settings
from helpers.base.errors import StudyError
from helpers.studies import lineup, marrow, paper_systems
from tests.unit import chapter_page
from tests.unit.squares import make_squares


def smears(subjects=12, each=6):
    rows = []
    for number in range(subjects):
        label = "hem" if number % 3 == 0 else "all"
        for place in range(each):
            name = f"{number:02}_{place}"
            rows.append(
                {
                    "image_id": name,
                    "path": f"/none/{name}",
                    "label": label,
                    "subject": f"S{number:02}",
                    "sha256": name,
                    "split": "train",
                }
            )
    # One file with two names joins two subjects of one class.
    rows[6]["sha256"] = rows[12]["sha256"]
    return catalogs.make(rows, positive="all")


@pytest.fixture
def course(tmp_path):
    return settings.Settings("phantom", settings.PROFILES["smoke"], 24, None, tmp_path)


@pytest.fixture
def heads(monkeypatch):
    """Replace features by row numbers and the head by one that notes what it saw."""
    table, seen = smears(), []

    class Head:
        def fit(self, rows, _):
            self.rows = set(rows[:, 0].astype(int))
            return self

        def predict_proba(self, rows):
            seen.append((self.rows, set(rows[:, 0].astype(int))))
            return np.column_stack([np.full(len(rows), 0.3), np.full(len(rows), 0.7)])

    monkeypatch.setattr(lineup, "catalog", lambda *_: table)
    numbers = np.arange(len(table), dtype=float)[:, None]
    monkeypatch.setattr(lineup, "backbone_features", lambda *_: numbers)
    monkeypatch.setattr(lineup, "linear_head", lambda *_: Head())
    return table, seen


def test_no_head_scores_a_subject_that_it_saw(course, heads):
    table, seen = heads
    found = paper_systems.predictions(course, "resnet50_folds", "subject")
    assert found["image_id"].tolist() == table["image_id"].tolist()
    assert sorted(row for _, rows in seen for row in rows) == list(range(len(table)))
    subject = table["subject"].replace({"S01": "S02"})  # joined by their file
    for fitted, scored in seen:
        assert not {subject[row] for row in fitted} & {subject[row] for row in scored}


def test_folds_at_random_do_leak_subjects_and_no_image(course, heads):
    table, seen = heads
    paper_systems.predictions(course, "resnet50_folds", "random")
    assert len(seen) == 5
    for fitted, scored in seen:
        assert not fitted & scored
        assert {table["subject"][row] for row in fitted} >= {
            table["subject"][row] for row in scored
        }


@pytest.mark.usefixtures("heads")
def test_both_splits_judge_the_same_images(course):
    for name in ("mobilenet", "majority_vote"):
        one, other = (paper_systems.in_folds(course, name, split) for split in lineup.SPLITS)
        columns = ["image_id", "subject", "label", "positive"]
        assert one[columns].equals(other[columns])
        assert len(one) == 72
    with pytest.raises(StudyError, match="has no backbone"):
        paper_systems.in_folds(course, "custom_cnn", "random")


def test_unknown_and_unaffordable(course):
    with pytest.raises(StudyError, match="does not rebuild 'lstm'"):
        paper_systems.predictions(course, "lstm", "random")
    with pytest.raises(StudyError, match="random or subject"):
        paper_systems.predictions(course, "dcnn", "by date")
    with pytest.raises(StudyError, match="random or subject"):
        paper_systems.in_folds(course, "mobilenet", "by date")
    with pytest.raises(StudyError, match="no recipe 'ladder'"):
        paper_systems.predict_recipe(course, "ladder", "random")
    with pytest.raises(StudyError, match="take 'quick'"):
        paper_systems.predictions(course, "majority_vote", "random")


@pytest.mark.parametrize("profile", ["smoke", "quick", "full"])
def test_the_reasons_follow_the_run(monkeypatch, tmp_path, profile):
    table = pd.DataFrame({"split": ["train"] * 80 + ["test"] * 20})
    monkeypatch.setattr(lineup, "catalog", lambda *_: table)
    source = {"path": None}
    monkeypatch.setattr(lineup.weights, "find", lambda *_: SimpleNamespace(**source))
    course = settings.Settings("phantom", settings.PROFILES[profile], 24, None, tmp_path)
    told = paper_systems.reasons(course, "mobilenetv2")
    assert told[:2] == ["drawn cells", "RANDOM weights"]
    assert "80 training images" in told
    small = profile != "full"
    assert ("width 0.35" in told) == small
    assert any("frozen, linear head; theirs tuned, up to 100 epochs" in t for t in told) == small
    assert any("instead of 224" in text for text in told) == small
    source["path"] = "somewhere"
    real = settings.Settings("cnmc", settings.PROFILES[profile], 24, None, tmp_path)
    told = paper_systems.reasons(real, "mobilenetv2")
    assert "drawn cells" not in told
    assert "RANDOM weights" not in told
    assert "another data set (taleqani)" in paper_systems.reasons(
        settings.Settings("taleqani", settings.PROFILES[profile], 24, None, tmp_path), "custom_cnn"
    )


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_the_dcnn_is_that_of_chapter_12(monkeypatch, tmp_path, profile):
    """Both take crops of the same side, split and select alike, and train as long."""
    from helpers.cells import field_crops
    from helpers.models import dcnn

    table = smears().assign(split="")
    pixels = np.random.default_rng(0).integers(0, 256, (len(table), 8, 8, 3), dtype=np.uint8)
    model = SimpleNamespace(predict=lambda pixels, **_: np.full((len(pixels), 1), 0.5))
    sides, kept, steps = [], [], []
    monkeypatch.setattr(marrow, "fields", lambda *_: None)
    monkeypatch.setattr(field_crops, "crops", lambda _, side: sides.append(side) or (table, pixels))
    monkeypatch.setattr(dcnn, "build", lambda _side, _seed, keep: kept.append(keep) or model)
    monkeypatch.setattr(dcnn, "train", lambda *_, iterations, **__: steps.append(iterations))
    course = settings.Settings("phantom", settings.PROFILES[profile], 24, None, tmp_path)
    judged = paper_systems.predictions(course, "dcnn", "subject")
    given = {"DATASET": "phantom", "PROFILE": profile, "SEED": 24, "DATA_DIR": None, "POSITIVE": ""}
    cells = ("field_crops.crops(", "splits = {", "def select(", "iterations = ")
    page = chapter_page.run("12", *cells, np=np, pd=pd, **given)
    assert sides == [page["side"]] * 2
    np.testing.assert_array_equal(kept[0], page["keep"])
    assert steps == [page["iterations"]]
    split = page["splits"]["field split"]
    assert judged["image_id"].tolist() == split["image_id"][split["split"] == "test"].tolist()


def test_the_dcnn_trains_as_long_as_the_published_one_where_a_profile_is_no_test():
    from helpers.models import dcnn

    published = dcnn.PUBLISHED.iterations
    assert {"smoke": 30, "quick": published, "full": published} == marrow.ITERATIONS


@pytest.mark.slow
def test_the_cnn_with_lstm_is_trained_once_and_judged_on_test_images(tmp_path, monkeypatch):
    pytest.importorskip("keras")
    from helpers import images, training

    table, pixels = make_squares()
    tiny = dataclasses.replace(settings.PROFILES["quick"], size=pixels.shape[1], epochs=1)
    course = settings.Settings("phantom", tiny, 24, None, tmp_path)
    monkeypatch.setattr(lineup, "catalog", lambda *_: table)
    monkeypatch.setattr(images, "load_images", lambda *_: pixels)
    found = paper_systems.predictions(course, "cnn_lstm", "subject")
    assert found["image_id"].tolist() == table["image_id"][table["split"] == "test"].tolist()
    monkeypatch.setattr(training, "fit", None)  # it is not called again
    assert paper_systems.predictions(course, "cnn_lstm", "subject").equals(found)
    told = paper_systems.reasons(course, "cnn_lstm")
    assert any("theirs: an order in time, not told" in text for text in told)
    small = settings.Settings("phantom", settings.PROFILES["smoke"], 24, None, tmp_path)
    with pytest.raises(StudyError, match="take 'quick'"):
        paper_systems.predictions(small, "cnn_lstm", "subject")
