"""No chapter calls a collapsed network the best without that word: its own cells, dead tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers.base import settings
from helpers.predictions import collapse, metrics
from helpers.predictions.table import COLUMNS
from helpers.studies import transfers
from tests.unit.chapter_page import functions, run

SPLITS = ("train", "val", "test")


def table(scores):
    """Return predictions of 20 images in each split, three quarters of them positive."""
    rows = [
        (f"{split}{n}", f"{split}-{n % 5}", "all" if n % 4 else "hem", int(n % 4 > 0), split)
        for split in SPLITS
        for n in range(20)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS[:-1])).assign(score=scores)


DEAD = table(1.0)
#: Wrong about each image, so that validation prefers the dead one.
WRONG = table(np.where(DEAD["positive"] == 1, 0.1, 0.9))
PANEL = {"alive": WRONG, "dead": DEAD}


@pytest.fixture
def lineup():
    return SimpleNamespace(predictions=lambda *_: PANEL, names=lambda _: list(PANEL))


def test_ladders_name_the_dead_rung(capsys):
    names = {
        "results": {
            (rung, "subject split", part): (value,)
            for part in SPLITS
            for rung, value in (("alive", 0.2), ("dead", 0.75))
        },
        "scores": {(rung, "subject split"): found for rung, found in PANEL.items()},
        "splits": ["subject split"],
        "cell": "{0[0]:.2f}".format,
        "pd": pd,
    }
    told = transfers.told({"subject split": PANEL}, settings.read("phantom", "smoke"))
    assert "validation chooses dead (collapsed)" in told  # chapter 07
    names["results"] = {key: 3 * value for key, value in names["results"].items()}
    run("08", "validation chooses", PLAN=[(rung, "subject split") for rung in PANEL], **names)
    assert "validation chooses 'dead' (collapsed): test accuracy 0.75" in capsys.readouterr().out


def test_the_ensembles_best_member_is_called_collapsed(capsys):
    page = functions("13", "part", metrics=metrics, collapse=collapse, catalogs=catalogs)
    page = run("13", "def leader", tables=PANEL, **page)
    assert page["best"] == "dead"
    assert "best single model by validation: dead (collapsed)" in capsys.readouterr().out


def test_the_model_that_is_judged_is_called_collapsed(capsys):
    run(
        "14", "model judged here", tables=PANEL, np=np, metrics=metrics, collapse=collapse,
    )  # fmt: skip
    assert "dead (collapsed), the best in validation" in capsys.readouterr().out
    run(
        "15", "model used here", tables=PANEL, np=np, metrics=metrics, collapse=collapse,
    )  # fmt: skip
    assert "dead (collapsed), the best in validation" in capsys.readouterr().out


def test_the_model_that_gets_the_card_is_called_collapsed(lineup, capsys):
    run("22", "chosen on validation: ", lineup=lineup, course=None, metrics=metrics, pd=pd)
    told = capsys.readouterr().out
    assert "chosen on validation: dead (collapsed)" in told
    assert "dead (collapsed)    0.5" in told
