"""The checkers of chapter 01 know right answers and the usual wrong ones."""

from __future__ import annotations

import pytest

from helpers.datasets.copies.index import cnmc_index
from helpers.exercises import check


@pytest.fixture(scope="module")
def training():
    return cnmc_index().query("part == 'train'")


def solved(capsys, name, answer, *context) -> bool:
    check(name, answer, *context)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] in (f"Exercise {name}: solved.", f"Exercise {name}: not solved yet.")
    return lines[-1].endswith(": solved.")


def test_subject_of_a_name(capsys, training):
    assert solved(capsys, "01-a", lambda name: name.split("_")[1].upper(), training)
    assert not solved(capsys, "01-a", lambda name: name.split("_")[1], training)
    assert not solved(capsys, "01-a", lambda name: name.split("_")[1].strip("Hh"), training)
    assert not solved(capsys, "01-a", lambda name: int(name.split("_")[1]), training)
    assert not solved(capsys, "01-a", "11", training)


def test_share_of_five(capsys, training):
    counts = training[training["label"] == "all"]["subject"].value_counts()
    five = counts.head(5).sum()
    assert solved(capsys, "01-b", five / counts.sum(), training)
    assert not solved(capsys, "01-b", five / len(training), training)
    assert not solved(capsys, "01-b", 100 * five / counts.sum(), training)
    assert not solved(capsys, "01-b", "a third", training)


def test_files_to_take_out(capsys, training):
    same = training[training["sha256"].duplicated(keep=False)].groupby("sha256")
    right = sum(len(files) - files["fold"].value_counts().max() for _, files in same)
    assert solved(capsys, "01-c", right, training)
    for wrong in (104, right + 1, 0, sum(len(files) for _, files in same)):
        assert not solved(capsys, "01-c", wrong, training)


def test_weighted_f1_by_hand(capsys):
    from sklearn.metrics import f1_score

    def average(how):
        return lambda truth, guess: f1_score(truth, guess, average=how, zero_division=0)

    assert solved(capsys, "01-d", average("weighted"))
    assert not solved(capsys, "01-d", average("macro"))
    assert not solved(capsys, "01-d", average("micro"))
    assert not solved(capsys, "01-d", lambda truth, guess: 1.0)
