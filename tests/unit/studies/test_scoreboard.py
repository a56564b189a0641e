"""The scoreboard shows what the predictions say, and what was published by whom."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from helpers import catalog as catalogs
from helpers import predictions
from helpers.base import settings
from helpers.base.errors import StudyError
from helpers.catalog import splitting
from helpers.predictions import metrics
from helpers.studies import lineup, paper_systems, papers, scoreboard
from tests.conftest import ROOT
from tests.unit.studies.test_paper_systems import smears


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Replace the models: each is wrong on some images, on more of them in the subject split."""
    course = settings.Settings("phantom", settings.PROFILES["smoke"], 24, None, tmp_path)
    tables = {
        "random": splitting.split_at_random(smears(40).assign(split="")),
        "subject": splitting.split_by_subject(smears(40).assign(split=""), nearest=True),
    }

    def scored(split):
        table = tables[split]
        rng = np.random.default_rng(lineup.SPLITS.index(split))
        wrong = rng.random(len(table)) < (0.2 if split == "random" else 0.35)
        score = np.where(wrong, 1 - catalogs.target(table), catalogs.target(table))
        return predictions.make(table, 0.2 + 0.6 * score)

    numbers = np.random.default_rng(5).normal(size=(len(tables["random"]), 4))
    monkeypatch.setattr(lineup, "catalog", lambda _, split="subject": tables[split])
    monkeypatch.setattr(lineup, "features", lambda *_: numbers)
    monkeypatch.setattr(lineup, "source", lambda backbone: "RANDOM" if backbone else "none")
    monkeypatch.setattr(
        lineup, "predictions", lambda _, split, names: {name: scored(split) for name in names}
    )
    monkeypatch.setattr(paper_systems, "predictions", lambda _, name, split: scored(split))
    monkeypatch.setattr(paper_systems, "reasons", lambda *_: ["drawn cells", "few"])
    course_tables = {split: scored(split).query("split == 'test'") for split in lineup.SPLITS}
    return course, course_tables, tables, numbers


def test_every_row_is_a_model_of_a_chapter_that_exists():
    for name, row in scoreboard.ROWS.items():
        assert name in paper_systems.SYSTEMS or name in lineup.MODELS or name == "neighbours"
        assert len(list((ROOT / "notebooks").glob(f"{row.chapter}_*.ipynb"))) == 1
    rebuilt = {name.removesuffix("_folds") for name in paper_systems.SYSTEMS}
    assert rebuilt <= set(scoreboard.ROWS)


def test_published_figures_and_whose_they_are():
    assert scoreboard.published("custom_cnn") == "0.9575 Gohil; 0.924 Sonawane"
    assert scoreboard.published("resnet50") == "0.9348 Shreya; 0.947 Sonawane"
    assert scoreboard.published("inceptionv3") == "0.961 Sonawane"  # Sunitha gives no figure
    assert scoreboard.published("dcnn") == "0.972 Kumar 2020"
    assert scoreboard.published("cnn_lstm") == "0.943 Sonawane"
    assert scoreboard.published("neighbours") == ""


def test_figures_are_those_of_the_test_images(course):
    course, judged, _, _ = course
    (row,) = scoreboard.figures(course, "05").to_dict("records")
    assert row["model"] == "custom CNN"
    assert row["random"] == metrics.accuracy(judged["random"])
    assert row["subject"] == metrics.accuracy(judged["subject"])
    interval = metrics.bootstrap_interval(judged["subject"], "accuracy", 200, seed=24)
    assert (row["low"], row["high"]) == interval
    text = scoreboard.table(course, "05").loc["custom CNN"]
    assert text["subject split"] == f"{row['subject']:.3f} [{interval[0]:.2f}, {interval[1]:.2f}]"
    assert text["random split"] == f"{row['random']:.3f}"
    assert text["published"] == "0.9575 Gohil; 0.924 Sonawane"


@pytest.mark.slow
def test_the_whole_board_names_what_is_left_out_and_random(course):
    course, *_ = course
    board = scoreboard.table(course)
    assert len(board) == len(scoreboard.ROWS)
    assert "ResNet50, random weights" in board.index
    assert "custom CNN" in board.index
    assert board.loc["Xception", ["random split", "subject split"]].tolist() == ["left out"] * 2
    left_out = ["left out", "left out", "0.943 Sonawane"]
    assert scoreboard.table(course, "10").iloc[0].tolist()[1:] == left_out
    assert scoreboard.table(course, "09").index.tolist() == [
        "MobileNet, random weights", "Xception", "InceptionV3",
    ]  # fmt: skip


def test_a_collapsed_model_is_called_so(course, monkeypatch):
    course, judged, _, _ = course
    dead = judged["subject"].assign(score=1.0)
    monkeypatch.setattr(paper_systems, "predictions", lambda *_: dead)
    assert scoreboard.table(course, "05").index.tolist() == ["custom CNN (collapsed)"]


def test_the_neighbours_are_those_of_scikit_learn(course):
    course, _, tables, numbers = course
    table = tables["subject"]
    rows = {part: (table["split"] == part).to_numpy() for part in ("train", "test")}
    scaler = StandardScaler().fit(numbers[rows["train"]])
    target = catalogs.target(table)
    model = KNeighborsClassifier(5).fit(
        scaler.transform(numbers[rows["train"]]), target[rows["train"]]
    )
    right = model.score(scaler.transform(numbers[rows["test"]]), target[rows["test"]])
    assert scoreboard.figures(course, "02")["subject"].item() == pytest.approx(right)


def test_an_unknown_chapter_is_refused(course):
    with pytest.raises(StudyError, match="chapters with rows are 02, 05"):
        scoreboard.table(course[0], "06")


@pytest.mark.slow
def test_every_published_figure_of_a_rebuilt_system_has_its_row(course):
    course, judged, _, _ = course
    found = scoreboard.rebuilt(course)
    told = papers.table(experiments=False)
    affordable = [bool(name) and paper_systems.affordable(course, name) for name in told["rebuilt"]]
    assert found["told"].equals(told[affordable]["value"].reset_index(drop=True))
    gohil = found[(found["system"] == "Gohil: CNN") & (found["metric"] == "sensitivity")].iloc[0]
    assert gohil["subject"] == metrics.sensitivity(judged["subject"])
    assert gohil["differs"] == "drawn cells; few"
    kumar = found[found["name"] == "dcnn"].iloc[0]
    assert np.isnan(kumar["told_low"])  # the paper tells how many images it had, not how many of
    # them it tested
