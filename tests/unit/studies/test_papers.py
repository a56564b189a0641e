"""The papers' figures are those of the papers, and the checks on them know what can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.base.errors import StudyError
from helpers.models import recipes, transfer
from helpers.predictions import metrics
from helpers.studies import paper_systems, papers


def test_every_figure_belongs_to_a_paper_and_can_be_a_share():
    figures = papers.table()
    assert set(figures["paper"]) == set(papers.PAPERS)
    assert figures["value"].dropna().between(0, 1, inclusive="neither").all()
    assert (figures["source"] != "").all()
    assert set(figures["rebuilt"]) - {""} == set(paper_systems.SYSTEMS)
    assert set(figures["recipe"]) - {""} <= set(transfer.RECIPES)
    assert set(figures["metric"]) <= set(metrics.METRICS)


def test_the_figures_are_those_of_the_recipes():
    # Two places in the course hold the same figures: they must not drift apart.
    figures = papers.table().query("recipe != ''")
    assert figures["recipe"].is_unique
    for figure in figures.itertuples():
        published = recipes.RECIPES[figure.recipe].published
        if published is not None:
            assert figure.value == pytest.approx(published, abs=6e-4), figure.recipe


def test_the_main_figures():
    told = papers.table(experiments=False).set_index(["paper", "system", "metric"])["value"]
    assert told["shreya", "ResNet-50", "accuracy"] == 0.9348
    assert told["shreya", "MobileNetV2", "accuracy"] == 0.8734
    assert told["sunitha", "majority vote", "accuracy"] == 0.965
    assert told["sunitha", "Xception", "f1"] == 0.94
    assert told["sonawane", "CNN + LSTM", "specificity"] == 0.948
    assert told["devi", "DCNN of Kumar et al. 2020", "accuracy"] == 0.972
    assert not any(papers.table(experiments=False)["experiment"])
    ladder = papers.table().query("experiment and paper == 'shreya'")
    assert ladder["system"].str.startswith("ResNet-50").sum() == 12
    assert len(ladder) == 21


def test_gohils_matrix_gives_gohils_figures():
    (hits, missed), (alarms, spared) = papers.GOHIL_CONFUSION
    told = papers.table(experiments=False).query("paper == 'gohil'").set_index("metric")
    images = hits + missed + alarms + spared
    assert (hits + spared) / images == told["value"]["accuracy"]
    assert round(hits / (hits + missed), 2) == told["value"]["sensitivity"]
    assert round(spared / (alarms + spared), 2) == told["value"]["specificity"]
    assert round(hits / (hits + alarms), 2) == told["value"]["precision"]
    assert round(2 * hits / (2 * hits + missed + alarms), 2) == told["value"]["f1"]
    bases = [images, hits + missed, alarms + spared, hits + alarms]
    assert told["images"].dropna().tolist() == bases


def test_one_image_too_many():
    assert sum(papers.IMAGES_AS_PUBLISHED) == sum(papers.IMAGES_IN_FILES) + 1 == 10_662


def test_the_interval_is_wilsons():
    # Wilson's interval of 81 of 263: Newcombe 1998, table I.
    assert papers.at_best(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert papers.at_best(1, 20)[1] == pytest.approx(1)
    assert all(np.isnan(papers.at_best(0.9, None)))
    assert all(np.isnan(papers.at_best(float("nan"), 100)))
    for value, images in ((1.2, 10), (-0.1, 10), (0.5, 0)):
        with pytest.raises(StudyError, match="share"):
            papers.at_best(value, images)


def test_impossible_counts():
    assert papers.possible_counts(0.9348, 2133, 4) == [1994]
    assert papers.possible_counts(0.9348, 2132, 4) == [1993]
    assert papers.possible_counts(0.965, 57, 3) == [55]
    assert papers.possible_counts(0.9348, 100, 4) == []
    assert papers.possible_counts(0.125, 1000, 2) == [120 + place for place in range(11)]
    with pytest.raises(StudyError, match="0 images"):
        papers.possible_counts(0.5, 0, 2)


@given(st.integers(1, 5000), st.integers(0, 5000), st.integers(1, 4))
def test_what_was_counted_is_possible(images, count, digits):
    count = min(count, images)
    assert count in papers.possible_counts(round(count / images, digits), images, digits)


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))
def test_the_true_share_is_among_those_implied(positives, negatives, sensitivity, specificity):
    share = positives / (positives + negatives)
    accuracy = share * sensitivity + (1 - share) * specificity
    told = [round(figure, 3) for figure in (accuracy, sensitivity, specificity)]
    low, high = papers.implied_share(*told)
    assert low - 1e-4 <= share <= high + 1e-4


def test_figures_that_contradict_each_other():
    assert all(np.isnan(papers.implied_share(0.99, 0.9, 0.8)))
    # Where both are equal, any share will do.
    assert papers.implied_share(0.9, 0.9, 0.9) == (0, 1)


def test_sonawanes_table_is_not_about_all_of_cnmc():
    table = papers.table(experiments=False).query("paper == 'sonawane' and value == value")
    wide = table.pivot(index="system", columns="metric", values="value")
    assert len(wide) == 4
    share = papers.IMAGES_IN_FILES[0] / sum(papers.IMAGES_IN_FILES)
    for row in wide.itertuples():
        low, high = papers.implied_share(row.accuracy, row.sensitivity, row.specificity)
        assert low < high < share
