"""Chapter 07's transfer: which network it starts from, on what, and whether that helps."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.base import settings
from helpers.base.errors import StudyError
from helpers.models import transfer, weights
from helpers.predictions.table import COLUMNS
from helpers.studies import transfers


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setattr(weights, "WEIGHTS_USED", [])
    return settings.read("phantom", "smoke")


def found(names):
    """Return a stand-in for `weights.look` that finds the weights of the backbones named."""

    def look(backbone):
        path = Path(f"{backbone}.h5") if backbone in names else None
        return weights.Weights(path, "folder" if path else "random", "", backbone)

    return look


@pytest.mark.parametrize(
    ("there", "begins"),
    [
        (("resnet50", "mobilenetv2_035"), "resnet50"),
        (("mobilenetv2_035",), "mobilenetv2_035"),
        ((), "drawn"),
    ],
)
def test_it_starts_from_the_best_weights_there_are(course, monkeypatch, there, begins):
    monkeypatch.setattr(weights, "look", found(there))
    monkeypatch.setattr(transfers, "_source", lambda _: Path("source.keras"))
    begin = transfers.start(course)
    assert begin.backbone == begins
    assert begin.side == course.profile.size == transfers.SIDE
    assert ("No ImageNet weights" in str(begin)) == (begins != "resnet50")
    (told,) = weights.WEIGHTS_USED
    assert "RANDOM" not in told
    assert ("drawn" in told) == (begins == "drawn")


@pytest.mark.slow
def test_without_weights_the_images_are_the_new_kinds(course):
    catalog, pixels = transfers.material(course, transfers.Start("drawn", "", transfers.SIDE))
    assert set(catalog["label"]) == set(transfers.NEW)
    assert catalog.groupby("label")["positive"].first().to_dict() == {
        "neutrophil": 0,
        "eosinophil": 1,
    }
    assert pixels.shape == (len(catalog), transfers.SIDE, transfers.SIDE, 3)
    assert catalog.groupby("subject")["label"].value_counts().eq(2).all()
    assert "eosinophil and neutrophil" in transfers.described(catalog, pixels)
    assert not set(transfers.SEEN) & set(transfers.NEW)


@pytest.mark.slow
def test_with_weights_or_other_data_they_are_those_of_the_data_set(course, tmp_path):
    catalog, pixels = transfers.material(course, transfers.Start("mobilenetv2_035", "", 32), 3)
    assert set(catalog["label"]) == {"all", "hem"}
    assert catalog.groupby("subject").size().max() <= 3
    assert pixels.shape == (len(catalog), 32, 32, 3)


@pytest.mark.slow
def test_the_cameras_change_colours_only(course):
    with_them, without = (transfers.new_cells(course, cameras) for cameras in (True, False))
    assert with_them.catalog["image_id"].equals(without.catalog["image_id"])
    slides = with_them.catalog["subject"].to_numpy()
    bright = [cells.images.mean(axis=(1, 2)) for cells in (with_them, without)]
    spread = [pd.DataFrame(b).groupby(slides).mean().std().mean() for b in bright]
    assert spread[0] > 3 * spread[1]
    # Within a slide the order of pixels from dark to light stays.
    one, same = with_them.images[0, ..., 1].ravel(), without.images[0, ..., 1].ravel()
    assert (np.diff(one[np.argsort(same, kind="stable")].astype(int)) >= 0).all()


def test_the_interval_of_a_mean():
    value, low, high = transfers.mean_interval(pd.Series([1.0, 2.0, 3.0]))
    assert value == pytest.approx(2)
    assert (low, high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)  # 4.303 / sqrt(3)


@pytest.mark.parametrize(("each", "draws"), [(0, 10), (16, 10), (5, 1)])
def test_impossible_numbers_are_told(course, each, draws):
    with pytest.raises(StudyError, match="take 1 to 15"):
        transfers.few_images(course, each, draws)


def test_the_ladder_is_on_the_backbone_that_has_weights(course):
    assert transfers.rungs(transfers.Start("drawn", "", 48), course) == {}
    whole = dataclasses.replace(course, profile=settings.PROFILES["full"])
    own = transfers.rungs(transfers.Start("resnet50", "", 224), whole)
    assert all(recipe in transfer.RECIPES.values() for recipe in own.values())
    small = transfers.rungs(transfers.Start("mobilenetv2_035", "", 224), whole)
    assert list(small) == list(own)
    for rung, recipe in small.items():
        assert recipe.backbone == "mobilenetv2_035"
        assert recipe.published is None  # what a paper reports is of another network
        assert recipe.stages == own[rung].stages
        assert bool(recipe.cut) == bool(own[rung].cut)


def predictions(scores):
    rows = [
        (f"{part}{n}", f"{part}-{n % 5}", "all" if n % 4 else "hem", int(n % 4 > 0), part)
        for part in ("val", "test")
        for n in range(20)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS[:-1])).assign(score=scores)


def test_validation_chooses_and_a_dead_rung_is_named(course):
    dead = predictions(1.0)
    wrong = predictions(np.where(dead["positive"] == 1, 0.1, 0.9))
    text = transfers.told({"random split": {"alive": wrong, "dead": dead}}, course)
    assert "validation chooses dead (collapsed)" in text
    assert "alive" in text
    assert "No ladder" in transfers.told({"random split": {}}, course)


@pytest.mark.slow
def test_what_was_learned_before_helps(tmp_path, monkeypatch):
    """The page's claim, with another seed than the page's, and how often it is computed."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    course = settings.read("phantom", "quick", 77)
    results = transfers.few_images(course, draws=4)
    assert list(results.columns) == list(transfers.WAYS)
    for other in ("random", "from scratch"):
        _, low, _ = transfers.mean_interval(results["learned"] - results[other])
        assert low > 0.05
    monkeypatch.setattr(transfers, "_few_images", None)
    pd.testing.assert_frame_equal(transfers.few_images(course, draws=4), results)
