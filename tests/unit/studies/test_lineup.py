"""The course's models side by side: always the same rows, whoever ran before."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers.base import settings
from helpers.base.errors import StudyError
from helpers.catalog import splitting
from helpers.models import weights
from helpers.predictions import collapse
from helpers.predictions.table import save_predictions
from helpers.studies import baselines, lineup

pytestmark = pytest.mark.slow

CHEAP = ("size_and_colour", "thumbnail")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))
        patch.setenv("COURSE_OFFLINE", "1")
        few = replace(settings.PROFILES["smoke"], images=72, phantoms=72, subjects=14)
        patch.setitem(settings.PROFILES, "smoke", few)
        yield settings.read("phantom", "smoke")


@pytest.fixture(scope="module")
def made(course):
    return {split: lineup.predictions(course, split, CHEAP) for split in lineup.SPLITS}


def test_every_model_has_a_description_and_a_known_backbone():
    from helpers.models import transfer

    for name, member in lineup.MODELS.items():
        assert member.description
        assert member.kind in ("baseline", "network", "frozen")
        assert (member.kind == "frozen") == bool(member.backbone), name
        if member.backbone:
            assert member.backbone in transfer.REGISTRY
            assert name == f"{member.backbone}_frozen"


def test_a_larger_profile_has_all_models_of_a_smaller_one(course):
    listed = {
        name: lineup.names(replace(course, profile=settings.PROFILES[name]))
        for name in ("smoke", "quick", "full")
    }
    assert set(listed["smoke"]) < set(listed["quick"]) < set(listed["full"])
    assert listed["full"] == list(lineup.MODELS)
    assert {"mobilenet_frozen", "xception_frozen", "inceptionv3_frozen"} <= set(listed["quick"])


@pytest.mark.parametrize("split", lineup.SPLITS)
def test_all_tables_have_the_rows_of_the_catalog(course, made, split):
    table = lineup.catalog(course, split)
    assert set(table["split"]) == {"train", "val", "test"}
    for name, predictions in made[split].items():
        columns = ["image_id", "subject", "label", "positive", "split"]
        pd.testing.assert_frame_equal(predictions[columns], table[columns], obj=name)
        assert predictions["score"].between(0, 1).all()
        assert predictions["score"].nunique() > 10


def test_the_subject_split_keeps_subjects_whole_and_the_random_one_does_not(made):
    for split, most in (("subject", 1), ("random", 3)):
        sides = made[split]["thumbnail"].groupby("subject")["split"].nunique()
        assert sides.max() <= most
        assert (sides.max() > 1) == (split == "random")


def test_a_second_call_returns_the_very_same_digits(course, made):
    again = lineup.predictions(course, "subject", CHEAP)
    for name in CHEAP:
        pd.testing.assert_frame_equal(again[name], made["subject"][name], check_exact=True)


def test_what_is_kept_is_what_is_made_anew(course, made):
    for folder in (course.folder("predictions", "lineup"), course.artifacts / "images"):
        shutil.rmtree(folder)
    anew = lineup.predictions(course, "subject", CHEAP)
    for name in CHEAP:
        pd.testing.assert_frame_equal(anew[name], made["subject"][name], check_exact=True)


def test_tables_that_a_chapter_left_do_not_change_the_lineup(course, made):
    other = made["subject"]["thumbnail"].assign(score=0.5)
    path = course.folder("predictions") / "thumbnail-subject.csv"
    save_predictions(path, other)
    again = lineup.predictions(course, "subject", ["thumbnail"])["thumbnail"]
    pd.testing.assert_frame_equal(again, made["subject"]["thumbnail"], check_exact=True)
    path.unlink()


def test_a_collapsed_model_is_noted_from_its_scores_alone_made_or_read(course, monkeypatch):
    table, asked = lineup.catalog(course), []

    def scores():
        asked.append(1)
        return np.ones(len(table))

    for _ in range(2):  # the second time, from disk
        monkeypatch.setattr(collapse, "COLLAPSED", [])
        lineup.cached_predictions(course, "papers/net-subject", table, {}, scores)
        assert len(collapse.COLLAPSED) == 1
        assert collapse.COLLAPSED[0].startswith("net-subject collapsed: all")
    assert len(asked) == 1


def test_a_network_that_collapsed_is_told_alike_by_its_training_and_by_its_scores(
    course, monkeypatch, capsys
):
    import keras

    from helpers import training
    from helpers.models import custom_cnn

    def dead(size, seed):
        never = keras.initializers.Constant(-1e6)  # no unit is ever active
        hidden = keras.layers.Dense(4, activation="relu", bias_initializer=never)
        last = keras.layers.Dense(1, activation="sigmoid")
        image = keras.Input((size, size, 3))
        answer = last(hidden(keras.layers.GlobalAveragePooling2D()(image)))
        return keras.Model(image, answer, name="custom_cnn")

    monkeypatch.setattr(custom_cnn, "build", dead)
    told = []
    for _ in range(2):
        collapse.COLLAPSED.clear()
        found = lineup.predictions(course, "subject", ["custom_cnn"])["custom_cnn"]
        assert capsys.readouterr().out.count("custom_cnn-subject collapsed: all its scores") == 1
        told.append(list(collapse.COLLAPSED))
        monkeypatch.setattr(training, "fit", None)  # the second time, no network is needed
    collapse.COLLAPSED.clear()
    assert told[0] == told[1] == [collapse.judge("custom_cnn-subject", found)]


def test_predictions_depend_on_the_weights_the_software_and_the_training(course, monkeypatch):
    blank = weights.Weights(None, "random", "", "mobilenet")
    real = replace(blank, source="folder", sha256="ab" * 32)
    longer = replace(course, profile=replace(course.profile, epochs=3))
    other = replace(course, seed=25)
    facts = [lineup._facts(settings, "custom_cnn") for settings in (course, longer, other)]
    for found in (blank, real):
        monkeypatch.setattr(lineup.weights, "find", lambda *_, found=found: found)
        facts.append(lineup._facts(course, "mobilenet_frozen"))
    monkeypatch.setenv("KERAS_BACKEND", "another")
    facts.append(lineup._facts(course, "mobilenet_frozen"))
    assert len({str(one) for one in facts}) == len(facts)


def test_cached_predictions_are_computed_again_when_a_row_or_a_fact_changes(course):
    table, calls = lineup.catalog(course), []

    def scores():
        calls.append(1)
        return np.linspace(0, 1, len(table))

    relabelled = table.assign(split=table["split"].to_numpy()[::-1])
    for rows, facts in ((table, {"a": 1}), (table, {"a": 1}), (table, {"a": 2}), (relabelled, {})):
        made = lineup.cached_predictions(course, "test/model", rows, facts, scores)
        assert made["image_id"].tolist() == rows["image_id"].tolist()
        assert np.array_equal(made["score"], np.linspace(0, 1, len(table)))
    assert len(calls) == 3


def test_features_of_a_backbone_are_computed_once_in_a_process(course, monkeypatch):
    from helpers.models import transfer
    from helpers.training import frozen

    built = []
    monkeypatch.setattr(lineup, "_FEATURES", {})
    monkeypatch.setattr(transfer, "build", lambda recipe, *_: built.append(recipe.cut))
    monkeypatch.setattr(frozen, "features", lambda *_, images: np.zeros((len(images), 2)))
    monkeypatch.setattr(
        lineup.weights, "find", lambda name: weights.Weights(None, "random", "", name)
    )
    table = lineup.catalog(course)
    for cut in ("", "", "conv_pw_6_relu"):
        assert lineup.backbone_features(course, table, "mobilenet", cut).shape == (len(table), 2)
    assert built == ["", "conv_pw_6_relu"]


@pytest.mark.parametrize("name", ["resnet", "", "custom_cnn.keras"])
def test_an_unknown_model_is_refused_by_name(course, name):
    with pytest.raises(StudyError, match="There is no model"):
        lineup.predictions(course, "subject", [name])
    with pytest.raises(StudyError, match="There is no model"):
        lineup.sources([name])


def test_an_unknown_split_is_refused(course):
    with pytest.raises(StudyError, match="'patient'"):
        lineup.predictions(course, "patient", CHEAP)


def test_sources_tell_random_weights_from_none(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("WEIGHTS_DIR", raising=False)
    found = lineup.sources(["thumbnail", "custom_cnn", "mobilenet_frozen"])
    assert found == {"thumbnail": "none", "custom_cnn": "none", "mobilenet_frozen": "RANDOM"}


def test_area_and_colour_of_a_known_disc():
    image = np.zeros((1, 40, 40, 3), np.uint8)
    image[0, 10:30, 10:30] = (100, 50, 150)
    image[0, 10:30, 20:30] = (120, 50, 150)
    assert np.allclose(baselines.size_and_colour(image), [[0.25, 110, 50, 150, 10, 0, 0]])


def test_of_a_field_the_dark_cells_are_measured():
    field = np.full((1, 40, 40, 3), 230, np.uint8)
    field[0, :20, :20] = (90, 40, 120)
    assert np.allclose(baselines.size_and_colour(field)[0, :4], [0.25, 90, 40, 120])


def test_an_image_of_one_colour_is_measured_too():
    assert np.isfinite(baselines.size_and_colour(np.zeros((2, 8, 8, 3), np.uint8))).all()
    assert np.isfinite(baselines.size_and_colour(np.full((2, 8, 8, 3), 9, np.uint8))).all()


def test_a_thumbnail_is_the_mean_of_its_squares():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 96, 96, 3)).astype(np.uint8)
    small = baselines.thumbnails(pixels)
    assert small.shape == (2, 432)
    assert np.isclose(small[1, 0], pixels[1, :8, :8, 0].mean())
    assert np.isclose(small[0, -1], pixels[0, -8:, -8:, 2].mean())


def test_the_probe_is_fitted_on_train_and_chosen_on_val():
    rng = np.random.default_rng(3)
    rows = [
        {"image_id": f"{i:03}", "path": "", "label": "all" if i % 2 else "hem", "subject": f"{i}"}
        for i in range(90)
    ]
    table = splitting.split_at_random(catalogs.make(rows, positive="all"), seed=1)
    features = rng.normal(size=(90, 5))
    features[:, 0] += 4 * catalogs.target(table)
    scores = lineup.probe(features, table)
    test = (table["split"] == "test").to_numpy()
    assert ((scores >= 0.5) == (catalogs.target(table) == 1))[test].mean() > 0.8
    features[test] = 1e3  # the test rows change nothing but their own scores
    assert np.array_equal(lineup.probe(features, table)[~test], scores[~test])


def test_one_class_in_training_is_refused():
    rows = [{"image_id": str(i), "path": "", "label": "all", "split": "train"} for i in range(4)]
    table = catalogs.make(
        [*rows, {"image_id": "9", "path": "", "label": "hem", "split": "val"}], "all"
    )
    with pytest.raises(StudyError, match="holds only"):
        lineup.probe(np.eye(5), table)


def test_features_are_row_by_row_those_of_the_predictions(course, made):
    found = lineup.features(course, "thumbnail")
    table = lineup.catalog(course)
    scores = lineup.probe(found, table, course.seed)
    assert np.array_equal(scores, made["subject"]["thumbnail"]["score"])
    with pytest.raises(StudyError, match="fixed features"):
        lineup.features(course, "custom_cnn")


def test_the_notes_on_data_set_and_split_are_printed_once(course, capsys):
    for split in lineup.SPLITS:
        lineup.catalog(course, split)
    capsys.readouterr()
    for split in lineup.SPLITS:
        table = lineup.catalog(course, split)
        table["label"] = "changed"  # of the copy alone
        assert "changed" not in set(lineup.catalog(course, split)["label"])
    assert capsys.readouterr().out == ""


def test_the_probe_is_that_of_chapter_09():
    """What lineup makes is what the chapter shows: the same head, chosen in the same way."""
    import re
    from pathlib import Path

    import nbformat

    page = Path(__file__).parents[3] / "notebooks" / "09_more_backbones.ipynb"
    cells = [c.source for c in nbformat.read(page, as_version=4).cells if c.cell_type == "code"]
    rng = np.random.default_rng(4)
    rows = [
        {"image_id": f"{i:03}", "path": "", "label": "all" if i % 3 else "hem", "subject": f"{i}"}
        for i in range(120)
    ]
    table = splitting.split_at_random(catalogs.make(rows, positive="all"), seed=1)
    features = rng.normal(size=(120, 200)).astype(np.float32)
    features[:, 0] += catalogs.target(table)
    names = {"np": np, "pd": pd, "SEED": 24, "target": catalogs.target(table)}
    for shown in ("def linear_head", "def probe"):
        exec(next(source for source in cells if re.search(rf"^{shown}", source, re.M)), names)
    assert np.array_equal(names["probe"](features, table)[1], lineup.probe(features, table, 24))
