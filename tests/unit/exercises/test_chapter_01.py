"""Chapter 01: the page computes what libraries and helpers compute; its checkers know mistakes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs

from helpers import predictions
from helpers.datasets.copies.index import cnmc_index
from helpers.datasets.drawn import fields
from helpers.predictions import metrics
from tests.unit import chapter_page
from tests.unit.chapter_page import missed, verdict


@pytest.fixture(scope="module")
def training():
    return cnmc_index().query("part == 'train'")


# ------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def ten_cells():
    """Return the names of the section on judging, figure included."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from helpers.report import plots

    mpl.use("Agg")
    texts = ('cells["loss"] = ', "sensitivity = called", "thresholds = [1.01")
    found = chapter_page.run("01", *texts, np=np, pd=pd, plt=plt, plots=plots)
    plt.close("all")
    return found


def test_loss_sensitivity_specificity_and_roc_are_those_of_scikit_learn(ten_cells):
    truth, score = ten_cells["cells"]["truth"], ten_cells["cells"]["score"]
    assert ten_cells["cells"]["loss"].mean() == pytest.approx(theirs.log_loss(truth, score))
    called = score >= 0.5
    assert ten_cells["sensitivity"] == pytest.approx(theirs.recall_score(truth, called))
    assert ten_cells["specificity"] == pytest.approx(theirs.recall_score(1 - truth, ~called))
    assert ten_cells["area"] == pytest.approx(theirs.roc_auc_score(truth, score))
    alarms, found, _ = theirs.roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(ten_cells["alarms"], alarms)
    np.testing.assert_allclose(ten_cells["found"], found)


def test_the_figures_of_the_ten_cells_are_those_of_the_course(ten_cells):
    cells = ten_cells["cells"]
    rows = pd.DataFrame({"image_id": [f"c{i}" for i in cells.index], "subject": "nobody"})
    rows = rows.assign(label=np.where(cells["truth"] == 1, "all", "hem"), positive=cells["truth"])
    table = predictions.make(rows, cells["score"].to_numpy(), split="test")
    assert ten_cells["sensitivity"] == pytest.approx(metrics.sensitivity(table))
    assert ten_cells["specificity"] == pytest.approx(metrics.specificity(table))
    assert ten_cells["area"] == pytest.approx(metrics.auc(table))


def test_the_largest_loss_is_that_of_the_cell_which_the_page_names(ten_cells):
    assert ten_cells["cells"]["loss"].idxmax() == 4  # the fifth


def test_the_extra_image_of_the_report_is_in_the_validation_part(training, capsys):
    chapter_page.run("01", 'reported["train"]', pd=pd, training=training)
    assert capsys.readouterr().out.splitlines() == [
        "all: 1404 reported in val, 1403 are left for it",
        "hem: 729 reported in val, 729 are left for it",
    ]


def test_the_effective_number_runs_from_all_images_to_the_people(training, capsys):
    people = training["subject"].unique()
    chapter_page.run("01", "rho, meaning", training=training, people=people)
    numbers = [
        int(line.split()[-3].replace(",", "")) for line in capsys.readouterr().out.splitlines()
    ]
    assert (numbers[0], numbers[-1]) == (len(training), len(people))
    assert numbers == sorted(numbers, reverse=True)


def test_the_example_field_has_a_scale_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    image, per_micron = fields.example()
    assert (image.dtype, image.ndim) == (np.uint8, 3)
    # A lymphoblast is about twice as wide as a red cell of 7.5 micrometres.
    assert 10 < 2 * fields.RADIUS * fields.recipe_of("smoke").scale / per_micron < 18
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(image, fields.example()[0])


# ------------------------------------------------------------------ the exercises


def test_subject_of_a_name(training):
    assert verdict("01-a", lambda name: name.split("_")[1].upper(), training) == "solved."
    assert verdict("01-a", lambda name: name.split("_")[1], training) == "not solved yet."
    assert (
        verdict("01-a", lambda name: name.split("_")[1].strip("Hh"), training) == "not solved yet."
    )
    assert verdict("01-a", lambda name: int(name.split("_")[1]), training) == "not solved yet."
    assert verdict("01-a", "11", training) == "not solved yet."


def alarms(truth, score, wanted, called=np.greater_equal):
    truth, score = np.array(truth), np.array(score)
    enough = [t for t in set(score) if (score[truth == 1] >= t).mean() >= wanted]
    return called(score[truth == 0], max(enough)).mean()


def test_false_alarms():
    assert verdict("01-b", alarms) == "solved."
    for wrong, advice in (
        (lambda *given: 1.0, "You seem to take the lowest threshold"),
        (lambda *given: 0.8, "You seem to return the specificity"),
        (lambda *given: 2 / 9, "You seem to divide by all cells"),
    ):
        assert advice in missed("01-b", wrong)
    strict = missed("01-b", lambda *given: alarms(*given, called=np.greater))
    assert "✗ A score that equals the threshold is called positive." in strict
    constant = missed("01-b", lambda *given: 0.2)
    assert "✗ Half of the positives are found without a false alarm." in constant


def test_files_to_take_out(training):
    def right(table):
        copies = table.groupby("sha256")["fold"]
        return sum(len(folds) - folds.value_counts().max() for _, folds in copies)

    assert verdict("01-c", right) == "solved."
    all_copies = missed("01-c", lambda t: t["sha256"].duplicated(keep=False).sum())
    assert "Copies within one fold do no harm" in all_copies
    crossing = missed(
        "01-c",
        lambda t: int((t.groupby("sha256")["fold"].transform("nunique") > 1).sum()),
    )
    assert "You seem to take out all copies" in crossing
    sets = missed("01-c", lambda t: int((t.groupby("sha256")["fold"].nunique() > 1).sum()))
    assert "✗ It is right for several sets" in sets


def test_solutions_of_the_page_solve_the_exercises(training):
    answers = chapter_page.solutions("01", pd=pd, training=training)
    assert verdict("01-a", answers["01-a"], training) == "solved."
    assert verdict("01-b", answers["01-b"]) == "solved."
    assert verdict("01-c", answers["01-c"]) == "solved."
