"""A network whose scores are nearly all the same is called collapsed, wherever they come from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers.base.errors import PredictionsError
from helpers.predictions import collapse

RNG = np.random.default_rng(24)
HALF = np.arange(40) % 2


def table(scores, positive=HALF, split="val"):
    ids = [f"{split}{row}" for row in range(len(scores))]
    label = pd.Series(positive).map({0: "hem", 1: "all"}).fillna("unlabelled")
    columns = {"image_id": ids, "subject": ids, "label": label, "positive": positive}
    return pd.DataFrame({**columns, "split": split, "score": scores})


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (np.ones(40), "net collapsed: all its scores on the validation images are 1.000."),
        (np.zeros(40), "net collapsed: all its scores on the validation images are 0.000."),
        (0.5 + RNG.uniform(0, 4e-4, 40), "all its scores on the validation images are 0.500."),
        (np.append(np.ones(39), 0.0), "nearly all its scores on the validation images are 1.000."),
        (1 - np.logspace(-9, -4, 40), "all its scores on the validation images are 1.000."),
    ],
)
def test_scores_that_are_nearly_equal_are_a_collapse(scores, told):
    assert collapse.named("net", table(scores)) == "net (collapsed)"
    assert collapse.judge("net", table(scores)).endswith(told)


@pytest.mark.parametrize(
    ("scores", "positive"),
    [
        (RNG.uniform(0, 1, 40), HALF),
        (0.5 + RNG.normal(0, 0.01, 40), HALF),  # short of training, but it tells images apart
        (np.append(np.zeros(37), np.ones(3)), np.append(np.zeros(37), np.ones(3))),  # rare, found
        (np.ones(40), np.ones(40)),  # of one class, and sure of it
        (np.ones(40), np.full(40, np.nan)),  # nothing is known
        ([0.2], [1]),
    ],
)
def test_a_network_that_tells_images_apart_is_no_collapse(scores, positive):
    assert collapse.named("net", table(scores, positive)) == "net"
    assert collapse.judge("net", table(scores, positive)) == ""


def test_other_rows_are_asked_where_the_validation_images_have_one_class():
    sure = table(np.ones(40), np.ones(40))
    good = table(HALF.astype(float), HALF, "train")
    dead = table(np.ones(40), HALF, "train")
    assert collapse.judge("net", pd.concat([sure, good])) == ""
    told = collapse.judge("net", pd.concat([sure, dead]))
    assert told == "net collapsed: all its scores on the images are 1.000."


def test_a_sentence_is_printed_and_noted_once(monkeypatch, capsys):
    monkeypatch.setattr(collapse, "COLLAPSED", [])
    for text in ("", "a collapsed", "a collapsed", ""):
        collapse.note(text)
    assert collapse.COLLAPSED == ["a collapsed"]
    assert capsys.readouterr().out == "a collapsed\n"


@pytest.mark.parametrize("strange", [None, {}, pd.DataFrame({"score": [0.5]}), table([2.0], [1])])
def test_what_is_no_table_of_predictions_is_not_judged(strange):
    with pytest.raises(PredictionsError, match=r"must be|lack|not probabilities"):
        collapse.judge("net", strange)
