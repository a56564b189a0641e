"""What chapter 14 shows is what ships, and its checkers know right from wrong."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.contingency_tables import mcnemar

from helpers.exercises.checking import exercises
from helpers.predictions import comparing, metrics
from tests.unit.chapter_page import functions, missed, solutions, verdict
from tests.unit.evaluation_tables import study

SKLEARN = {
    "np": np,
    "sk": sk,
    "LogisticRegression": LogisticRegression,
    "StandardScaler": StandardScaler,
    "StratifiedGroupKFold": StratifiedGroupKFold,
    "StratifiedKFold": StratifiedKFold,
    "make_pipeline": make_pipeline,
}


@pytest.mark.parametrize("case", ["mixed", "all called positive", "one class"])
def test_the_figures_on_the_page_are_those_that_ship(case):
    shown = functions("14", "figures", np=np)["figures"]
    made = study(1)
    if case == "all called positive":
        made["score"] = 0.9
    if case == "one class":
        made = made[made["positive"] == 1]
    truth, called = (made["positive"] == 1).to_numpy(), (made["score"] >= 0.5).to_numpy()
    ours = shown(truth, called)
    for name, value in ours.items():
        assert np.isclose(value, metrics.METRICS[name](made), equal_nan=True), name
    assert np.isclose(ours["f1"], sk.f1_score(truth, called))
    if case != "one class":
        assert np.isclose(ours["balanced_accuracy"], sk.balanced_accuracy_score(truth, called))


def test_the_bootstrap_on_the_page_agrees_with_the_one_that_ships():
    shown = functions("14", "bootstrap", np=np)["bootstrap"]
    made = study(2)
    right = ((made["score"] >= 0.5) == (made["positive"] == 1)).to_numpy()
    for by in ("subject", "image_id"):
        values = shown(right, made[by], 4000, 3)
        theirs = metrics.bootstrap_interval(
            made, "accuracy", 4000, by=by, method="percentile", seed=5
        )
        assert np.allclose(np.percentile(values, [2.5, 97.5]), theirs, atol=0.01)
    # All images of a subject alike: as many images as one likes, no narrower.
    wide = [
        np.std(shown(np.repeat([1, 0, 1, 1], m), np.repeat(range(4), m), 2000, 1)) for m in (1, 50)
    ]
    assert np.isclose(*wide)


def test_the_paired_bootstrap_on_the_page_agrees_with_the_one_that_ships():
    shown = functions("14", "bootstrap", np=np)["bootstrap"]
    one, other = study(3, models=2)
    right = [((t["score"] >= 0.5) == (t["positive"] == 1)).to_numpy() for t in (one, other)]
    values = shown(right[0].astype(float) - right[1], one["subject"], 4000, 3)
    theirs = comparing.paired_bootstrap(one, other, "accuracy", 4000)
    assert np.isclose((right[0].astype(float) - right[1]).mean(), theirs.difference)
    # Student's t makes the shipped one wider, with 40 subjects by a few per cent.
    width, shipped = np.ptp(np.percentile(values, [2.5, 97.5])), theirs.high - theirs.low
    assert 0.9 < shipped / width < 1.2


@pytest.mark.parametrize(
    "counts", [(0, 0), (0, 1), (3, 9), (12, 12), (13, 12), (4, 40), (300, 250)]
)
def test_mcnemar_on_the_page_is_that_of_statsmodels(counts):
    shown = functions("14", "mcnemar", math=math, stats=stats)["mcnemar"]
    if counts == (0, 0):
        assert shown(*counts) == 1
        return
    cross = [[0, counts[0]], [counts[1], 0]]
    expected = mcnemar(cross, exact=sum(counts) < 25).pvalue
    assert np.isclose(shown(*counts), expected)


@pytest.mark.slow
def test_mcnemar_and_delong_on_the_page_are_those_that_ship():
    page = functions("14", "mcnemar", "delong", math=math, stats=stats, np=np)
    for seed in range(6):
        one, other = study(seed, models=2)
        if seed > 3:  # many equal scores
            one, other = (t.assign(score=t["score"].round(1)) for t in (one, other))
        truth = (one["positive"] == 1).to_numpy()
        shipped = comparing.compare({"one": one, "other": other}, resamples=20).iloc[0]
        right = [((t["score"] >= 0.5) == truth).to_numpy() for t in (one, other)]
        only = [int((right[a] & ~right[1 - a]).sum()) for a in (0, 1)]
        assert np.isclose(page["mcnemar"](*only), shipped["p_mcnemar"])
        ours = page["delong"](truth, one["score"].to_numpy(), other["score"].to_numpy())
        theirs = comparing.delong(one, other)
        assert np.isclose(ours[0], theirs.difference)
        assert np.isclose(ours[1], (theirs.high - theirs.low) / 2 / stats.norm.ppf(0.975))
        assert np.isclose(ours[2], theirs.p_value)


def test_independent_cells_raise_no_false_alarms_and_alike_ones_do():
    page = functions("14", "mcnemar", "false_alarms", np=np, stats=stats, math=math)
    cells, people = page["false_alarms"](600, 20, 30, 0, 1)
    assert cells < 0.08
    assert 0.02 < people < 0.08
    cells, people = page["false_alarms"](600, 20, 30, 1, 1)
    assert cells > 0.25
    assert 0.02 < people < 0.09


def folded(person_matters: float, class_matters: float, seed: int = 1) -> dict:
    """Return the page's functions of folds on made-up features of 30 people, 12 images each."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(30), 12)
    target = (person % 2).astype(int)
    numbers = rng.normal(size=(360, 40)) + person_matters * rng.normal(size=(30, 40))[person]
    numbers[:, 0] += class_matters * target
    wanted = ["folds", "new_head", "fit_and_score", "out_of_fold", "mean_within", "acquainted"]
    page = functions("14", *wanted, target=target, person=person, **SKLEARN)
    cuts = {name: cut(5, shuffle=True, random_state=24) for name, cut in (
        ("by_image", StratifiedKFold), ("by_person", StratifiedGroupKFold))}  # fmt: skip
    page["by_image"] = page["folds"](cuts["by_image"])
    page["by_person"] = page["folds"](cuts["by_person"], person)
    order = np.random.default_rng(24).random(360)
    page["half"] = pd.Series(order).groupby(person).rank().to_numpy().astype(int) % 2
    return page | {"numbers": numbers, "cut": cuts["by_person"]}


def test_folds_on_the_page_are_those_of_scikit_learn_and_keep_people_together():
    page = folded(1, 1)
    ours = page["out_of_fold"](page["numbers"], page["by_person"])
    theirs = cross_val_predict(
        page["new_head"](), page["numbers"], page["target"], groups=page["person"],
        cv=page["cut"], method="predict_proba",
    )[:, 1]  # fmt: skip
    assert np.allclose(ours, theirs)
    assert pd.Series(page["by_person"]).groupby(page["person"]).nunique().max() == 1
    assert pd.Series(page["by_image"]).groupby(page["person"]).nunique().min() > 1


def test_pooled_scores_of_different_models_rank_worse_than_each_of_them():
    page = folded(0, 2)
    scores = page["out_of_fold"](page["numbers"], page["by_person"])
    shifted = scores + 2 * page["by_person"]
    inside = page["mean_within"](scores, page["by_person"])
    assert page["mean_within"](shifted, page["by_person"]) == pytest.approx(inside)
    assert sk.roc_auc_score(page["target"], shifted) < inside - 0.1


def test_the_control_has_as_many_people_and_finds_recognition_only_where_it_is():
    """Where people have a look of their own, knowing them helps; where not, it does not."""
    for person_matters, gain in ((3, True), (0, False)):
        page = folded(person_matters, 1)
        areas = [
            page["mean_within"](found, page["by_person"])
            for found in (
                page["acquainted"](page["numbers"]),
                page["out_of_fold"](page["numbers"], page["by_person"]),
            )
        ]
        assert (areas[0] - areas[1] > 0.1) == gain, areas
    seen = []
    page["fit_and_score"] = lambda head, numbers, train, rows: seen.append((train, rows)) or 0.5
    page["acquainted"](page["numbers"])
    for train, rows in seen:
        assert not (train & rows).any()
        assert set(page["person"][rows]) <= set(page["person"][train])
        assert len(set(page["person"][train])) == 24  # as with five folds of 30 people
        assert train.sum() < 24 * 12


def test_one_class_in_training_gives_no_score():
    page = folded(0, 1)
    page["target"][page["by_person"] != 0] = 1
    scores = page["out_of_fold"](page["numbers"], page["by_person"])
    assert np.isnan(scores[page["by_person"] == 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("subjects", [True, False])
def test_the_function_for_ones_own_data_needs_three_columns_and_no_known_names(
    tmp_path, capsys, subjects
):
    made = study(4).assign(label=lambda t: np.where(t["positive"] == 1, "Nemoc", "zdravé buňky"))
    columns = ["subject", "label", "score"] if subjects else ["label", "score"]
    made[columns].to_csv(tmp_path / "own.csv", index=False)
    judge = functions("14", "judge", np=np, pd=pd, sk=sk, stats=stats)["judge"]
    judge(tmp_path / "own.csv", "Nemoc", 300)
    text = capsys.readouterr().out
    assert f"accuracy {metrics.accuracy(made):.3f}" in text
    assert f"AUC      {metrics.auc(made):.3f}" in text
    assert ("No column 'subject'" in text) != subjects
    words = text.splitlines()[-1].split()
    limits = metrics.bootstrap_interval(
        made, "auc", 2000, by="subject" if subjects else "image_id", method="percentile"
    )
    assert np.allclose([float(words[-3]), float(words[-1])], limits, atol=0.025)


NAMES = {**SKLEARN, "labels": np.arange(100) // 5 % 2, "noise": np.zeros((100, 500))}


def all_solutions():
    NAMES["noise"] = np.random.default_rng(1).normal(size=(100, 500))
    return solutions("14", **NAMES, groups=np.repeat(np.arange(20), 5))


@pytest.mark.slow
def test_the_solutions_solve_the_exercises():
    answers = all_solutions()
    assert sorted(answers) == exercises("14") == ["14-a", "14-b", "14-c"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."
        assert verdict(name, ...).startswith("not answered yet")


def rows_of(subjects, names):
    return np.concatenate([np.flatnonzero(subjects == name) for name in names])


def one_seed(subjects, rng):
    names = np.unique(subjects)
    return rows_of(subjects, np.random.default_rng().choice(names, size=len(names)))


def mcc(tp, fn, tn, fp):
    return (tp * tn - fp * fn) / ((tp + fn) * (tn + fp) * (tp + fp) * (tn + fn)) ** 0.5


def from_counts(first, second, third):
    """Return an answer to 14-a from three functions of tp, fn, tn, fp."""
    return lambda *counts: tuple(figure(*counts) for figure in (first, second, third))


def larger(tp, fn, tn, fp):
    return max(tp + fn, tn + fp) / (tp + fn + tn + fp)


def balanced(tp, fn, tn, fp):
    return (tp / (tp + fn) + tn / (tn + fp)) / 2


def accuracy(tp, fn, tn, fp):
    return (tp + tn) / (tp + fn + tn + fp)


def cross_validated(inside, groups_matter):
    def answer(features, target, groups):
        steps = [StandardScaler(), LogisticRegression(max_iter=2000)]
        if inside:
            steps.insert(0, SelectKBest(k=20))
        else:
            features = SelectKBest(k=20).fit_transform(features, target)
        cut = StratifiedGroupKFold(5) if groups_matter else StratifiedKFold(5, shuffle=True)
        kept = {"groups": groups} if groups_matter else {}
        return cross_val_predict(
            make_pipeline(*steps), features, target, cv=cut, method="predict_proba", **kept
        )[:, 1]

    return answer


WRONG = {
    "14-a": [
        from_counts(accuracy, balanced, mcc),
        from_counts(larger, accuracy, mcc),
        from_counts(larger, balanced, lambda *c: 0.5),
        from_counts(lambda tp, fn, tn, fp: (tp + fn) / (tp + fn + tn + fp), balanced, mcc),
        lambda *counts: (larger(*counts), balanced(*counts)),
        (0.68, 0.95, 0.9),
    ],
    "14-b": [
        lambda subjects, rng: rng.integers(len(subjects), size=len(subjects)),  # cells
        lambda subjects, rng: rows_of(subjects, rng.permutation(np.unique(subjects))),
        lambda subjects, rng: rows_of(subjects, rng.choice(subjects, size=5)),  # by their size
        lambda subjects, rng: rows_of(subjects, rng.choice(np.unique(subjects), size=4)),
        lambda subjects, rng: rows_of(subjects, set(rng.choice(np.unique(subjects), size=5))),
        lambda subjects, rng: rng.choice(np.unique(subjects), size=5),
        one_seed,
        3,
    ],
    "14-c": [
        cross_validated(inside=False, groups_matter=True),
        cross_validated(inside=True, groups_matter=False),
        lambda features, target, groups: np.full(len(target), 0.5),
        lambda features, target, groups: np.full(3, 0.5),
        lambda features, target, groups: np.full(len(target), np.nan),
        lambda features, target, groups: target.astype(float),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, wrong in WRONG.items() for answer in wrong]
)
def test_wrong_answers_are_told_so(name, answer):
    assert verdict(name, answer) == "not solved yet."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "index", "sentence"),
    [
        ("14-a", 0, "You seem to return the accuracy of the network"),
        ("14-a", 1, "You seem to weigh the classes by their images"),
        ("14-b", 0, "You seem to draw images"),
        ("14-b", 5, "You seem to return names"),
        ("14-c", 0, "✗ Nothing is found in noise."),
        ("14-c", 1, "✗ Who a person is helps nothing."),
    ],
)
def test_a_usual_mistake_is_named(name, index, sentence):
    assert sentence in missed(name, WRONG[name][index])
