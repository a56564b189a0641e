"""A table that holds one class only is judged as a part of the whole."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers.predictions import calibration, comparing, curves, metrics, thresholds
from helpers.predictions.table import PredictionsError
from helpers.report import plots, plots_evaluation

mpl.use("Agg")


@pytest.fixture
def whole():
    """Predictions of a perfect model of ALL against MM: the score is the probability of MM."""
    rows = [
        {"image_id": f"{label}{i}", "subject": f"{label}{i % 3}", "label": label,
         "positive": int(label == "mm"), "split": "test", "score": score}
        for label, score in (("all", 0.1), ("mm", 0.9))
        for i in range(6)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(params=["all", "mm"])
def alone(request, whole):
    return whole[whole["label"] == request.param].reset_index(drop=True)


def test_six_right_predictions_do_not_become_six_wrong_ones(whole, alone):
    """The fault: of ALL rows alone, ALL became the positive class and every answer was wrong."""
    assert catalogs.target(alone).tolist() == (alone["label"] == "mm").astype(int).tolist()
    assert metrics.accuracy(alone) == metrics.accuracy(whole) == 1
    assert calibration.brier(alone) == pytest.approx(calibration.brier(whole))


def test_the_figures_that_exist_are_given_and_the_others_are_undefined(alone):
    positive = alone["label"].iloc[0] == "mm"
    found = metrics.report(alone, resamples=50).set_index("metric")["value"]
    assert found["accuracy"] == 1
    assert found["sensitivity"] == pytest.approx(1 if positive else np.nan, nan_ok=True)
    assert found["specificity"] == pytest.approx(np.nan if positive else 1, nan_ok=True)
    assert found[["auc", "balanced_accuracy", "mcc"]].isna().all()
    each = metrics.per_subject(alone)
    assert each["accuracy"].tolist() == [1, 1, 1]
    assert each["predicted_positive"].tolist() == [float(positive)] * 3


def test_the_parts_add_up_to_the_whole(whole):
    flawed = whole.assign(score=np.r_[0.1, 0.7, 0.2, 0.8, 0.3, 0.4, 0.9, 0.2, 0.6, 0.7, 0.1, 0.8])
    parts = [part for _, part in flawed.groupby("label")]
    right = [metrics.accuracy(part) * len(part) for part in parts]
    assert sum(right) == pytest.approx(metrics.accuracy(flawed) * len(flawed))
    assert metrics.specificity(parts[0]) == metrics.specificity(flawed)
    assert metrics.sensitivity(parts[1]) == metrics.sensitivity(flawed)


def test_plots_of_one_class_are_drawn(alone):
    colours = plots.class_colours(alone)
    label = alone["label"].iloc[0]
    assert colours == {label: plots.POSITIVE if label == "mm" else plots.NEGATIVE}
    names = catalogs.class_names(alone)
    assert list(names) == (["negative", "mm"] if label == "mm" else ["all", "positive"])
    for draw in (plots_evaluation.roc_bands, plots_evaluation.per_subject):
        draw(alone)


def test_what_needs_both_classes_says_so(alone):
    with pytest.raises(PredictionsError, match="both classes"):
        curves.roc(alone)
    with pytest.raises(PredictionsError, match="both classes"):
        thresholds.by_threshold(alone)


def test_tables_that_disagree_on_the_truth_are_not_compared(whole):
    turned = whole.assign(positive=1 - whole["positive"])
    with pytest.raises(PredictionsError, match="differ in the positive of 12 images"):
        comparing.paired(whole, turned)
