"""Figures of several classes: scikit-learn's, and the binary ones where there are two."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from helpers import ensembling, metrics, multiclass
from tests.unit.evaluation_tables import study

NAMES = ["benign", "early", "pre", "pro"]


def several(truth, score, subject=None):
    frame = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(len(truth))],
            "subject": [f"s{k}" for k in range(len(truth))] if subject is None else subject,
            "label": [NAMES[k] for k in truth],
            "split": "test",
        }
    )
    return frame.assign(**{f"score_{name}": score[:, k] for k, name in enumerate(NAMES)})


def drawn(seed, images=120, strength=0.6, coarse=False):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(4), rng.integers(0, 4, images - 4)])
    score = rng.dirichlet(np.ones(4), images) + strength * np.eye(4)[truth]
    if coarse:
        score = np.round(score * 2) + 0.5
    score /= score.sum(axis=1, keepdims=True)
    return truth, score, [f"s{k % 20}" for k in range(images)]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_every_figure_is_scikit_learns(seed, coarse):
    truth, score, subject = drawn(seed, 40, coarse=coarse)
    predictions = several(truth, score, subject)
    called = 3 - score[:, ::-1].argmax(axis=1)  # of equal ones the last
    told = multiclass.report(predictions, resamples=3).set_index("metric")["value"]
    assert list(told.index) == list(multiclass.METRICS)
    assert told["accuracy"] == pytest.approx(sk.accuracy_score(truth, called))
    assert told["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, called))
    assert told["macro_f1"] == pytest.approx(sk.f1_score(truth, called, average="macro"))
    assert told["weighted_f1"] == pytest.approx(sk.f1_score(truth, called, average="weighted"))
    wanted = sk.roc_auc_score(truth, score, multi_class="ovr", average="macro")
    assert told["macro_auc"] == pytest.approx(wanted)
    counts = multiclass.confusion_counts(predictions)
    assert counts.to_numpy().tolist() == sk.confusion_matrix(truth, called).tolist()
    assert list(counts.index) == list(counts.columns) == NAMES
    assert multiclass.predicted(predictions).tolist() == [NAMES[k] for k in called]


@pytest.mark.parametrize("method", ["t", "percentile", "bca"])
def test_the_intervals_are_those_of_drawn_rows(method):
    predictions = several(*drawn(1))
    report = multiclass.report(predictions, resamples=40, method=method)
    assert (report["low"] <= report["value"]).all()
    assert (report["value"] <= report["high"]).all()
    if method != "percentile":
        return
    cluster, draws = multiclass.draw(predictions, 40, 0.95, "subject", 24, method)
    values = []
    for draw in draws:
        rows = np.repeat(np.arange(len(cluster)), draw[cluster])
        part = predictions.iloc[rows].assign(image_id=[str(k) for k in range(len(rows))])
        values.append(multiclass.report(part, resamples=1)["value"])
    low, high = np.nanquantile(values, [0.025, 0.975], axis=0)
    assert report["low"].tolist() == pytest.approx(low.tolist())
    assert report["high"].tolist() == pytest.approx(high.tolist())


def test_two_classes_give_the_binary_figures():
    binary = study(0, subjects=12)
    both = binary.drop(columns="score").assign(
        score_all=binary["score"], score_hem=1 - binary["score"]
    )
    assert multiclass.classes(both) == ["hem", "all"]
    names = ["accuracy", "balanced_accuracy", "weighted_f1"]
    ours = multiclass.report(both, [*names, "macro_auc"], resamples=100)
    theirs = metrics.report(binary, [*names, "auc"], resamples=100)
    assert ours["value"].tolist() == pytest.approx(theirs["value"].tolist())
    assert ours["low"].tolist() == pytest.approx(theirs["low"].tolist(), abs=0.01)
    back = multiclass.to_binary(both)
    assert list(back.columns) == list(metrics.COLUMNS)
    assert back["score"].tolist() == pytest.approx(binary["score"].tolist())


def test_of_equal_scores_the_last_class_is_called_everywhere():
    """As one half is a positive call of a binary table, and a vote for the last class."""
    predictions = several([0, 0, 1], np.array([[0.4, 0.4, 0.1, 0.1], [0.25] * 4, [0, 0.5, 0, 0.5]]))
    assert multiclass.predicted(predictions).tolist() == ["early", "pro", "pro"]
    vote = ensembling.majority_vote({"alone": predictions})
    assert vote["score_early"].tolist() == [1, 0, 0]
    two = predictions[["image_id", "subject", "split"]].assign(
        label="hem", score_hem=0.5, score_all=0.5
    )
    assert metrics.accuracy(multiclass.to_binary(two)) == 0
    assert multiclass.report(two, ["accuracy"], 2)["value"].tolist() == [0]


def test_the_malignant_classes_are_one_side():
    predictions = several([0, 1, 3], np.array([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]] * 2)[:3])
    assert multiclass.to_binary(predictions)["score"].tolist() == pytest.approx([0.3, 0.6, 0.3])


def test_a_class_without_images_leaves_open_what_needs_it():
    predictions = several([0, 1, 2], np.eye(4)[:3])
    told = multiclass.report(predictions, resamples=20).set_index("metric")
    assert told.loc["accuracy", "value"] == told.loc["weighted_f1", "value"] == 1
    assert told.loc[["balanced_accuracy", "macro_f1", "macro_auc"], "value"].isna().all()


def test_one_subject_has_no_interval():
    truth, score, _ = drawn(2)
    report = multiclass.report(several(truth, score, "s"), resamples=10)
    assert report["value"].notna().all()
    assert report[["low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda t: t.drop(columns=[f"score_{n}" for n in NAMES]), "score_<class> each"),
        (lambda t: t.assign(score_pro=t["score_pro"] / 2), "do not sum to 1, first 'i0'"),
        (lambda t: t.assign(score_pro=np.nan), "not probabilities"),
        (lambda t: t.assign(label="hem"), r"speaks for the labels \['hem'\]"),
        (lambda t: t.assign(image_id="same"), "repeat an image"),
        (lambda t: t[:0], "no rows"),
        (lambda t: t.rename(columns={"score_pro": "score_cat"}), "cat"),
    ],
)
def test_what_is_not_such_a_table_is_refused(broken, message):
    predictions = broken(several(*drawn(0)))
    for ask in (multiclass.report, multiclass.predicted, multiclass.to_binary):
        with pytest.raises(ValueError, match=message):
            ask(predictions)


def test_unknown_figures_are_refused():
    with pytest.raises(metrics.MetricsError, match="no figure 'auc'; known are accuracy"):
        multiclass.report(several(*drawn(0)), ["auc"])
