"""The sentences that draw a conclusion from an interval."""

import doctest
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers.base.errors import ReportError
from helpers.report import verdicts

WORDS = {"above": "UP", "below": "DOWN", "undecided": "OPEN"}
NUMBER = st.floats(-1, 1, allow_nan=False)


def test_examples_in_the_docstrings():
    assert doctest.testmod(verdicts, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@settings(deadline=None)  # on a busy machine one sentence may take long
@given(st.tuples(NUMBER, NUMBER, NUMBER).map(sorted), NUMBER)
def test_the_conclusion_is_the_one_of_the_interval(limits, reference):
    low, value, high = limits
    assume((round(low, 3), round(high, 3)) not in ((-1, 1), (0, 1)))  # see below
    text = verdicts.against("The AUC", (value, low, high), reference, "chance", **WORDS)
    _, low_written, high_written, reference_written = numbers(text)
    follows(text, low_written, high_written, reference_written)
    if min(abs(low - reference), abs(high - reference)) > 1e-3:
        follows(text, low, high, reference)
        assert f"{value:z.3f}" in text
        assert f"{reference:z.3f}" in text
    gap = verdicts.difference("The gap", (value, low, high), **WORDS)
    follows(gap, *numbers(gap)[1:], 0)
    if min(abs(low), abs(high)) > 1e-3:
        follows(gap, low, high, 0)
        assert f"{value:+z.3f} [{low:+z.3f}, {high:+z.3f}]" in gap.replace("\n", " ")


def numbers(text):
    return [float(number) for number in re.findall(r"[+-]?\d\.\d+", text)]


def follows(text, low, high, reference):
    """Assert that the conclusion follows from these numbers."""
    expected = "UP" if low > reference else "DOWN" if high < reference else "OPEN"
    assert [word for word in WORDS.values() if word in text] == [expected]


def test_a_limit_that_would_look_like_the_reference_gets_more_digits():
    options = {"digits": 2, **WORDS}
    assert verdicts.difference("The gap", (0.012, 0.004, 0.02), **options) == (
        "The gap, +0.012 [+0.004, +0.020], is above zero: UP."
    )
    assert verdicts.against("The AUC", (0.3, 0.2, 0.4997), 0.5, "chance", **WORDS) == (
        "The AUC, 0.3000 [0.2000, 0.4997], is below chance (0.5000): DOWN."
    )
    assert verdicts.difference("The gap", (0.012, -0.004, 0.02), **options) == (
        "The interval of the gap, +0.01 [+0.00, +0.02], contains zero: OPEN."
    )


def test_an_undefined_interval_is_said_in_words():
    nothing = (np.nan, np.nan, np.nan)
    for sentence in (
        verdicts.against("The AUC", nothing, 0.5, "chance", **WORDS),
        verdicts.difference("The gap", nothing, **WORDS),
    ):
        assert "undefined" in sentence
        assert "nan" not in sentence.lower()
    for sentence in (
        verdicts.against("The AUC", (0.9, np.nan, np.nan), 0.5, "chance", **WORDS),
        verdicts.difference("The gap", (0.9, np.nan, np.nan), **WORDS),
        verdicts.difference("The gap", (0.0, np.nan, np.nan), **WORDS),
    ):
        assert "too few subjects" in " ".join(sentence.split())
        assert "nan" not in sentence.lower()
        assert not any(word in sentence for word in WORDS.values())


def test_an_interval_of_all_possible_values_is_said_in_words():
    for sentence in (
        verdicts.against("The AUC", (0.9, 0.0, 1.0), 0.5, "chance", **WORDS),
        verdicts.against("The AUC", (0.9, 1e-9, 1 - 1e-9), 0.5, "chance", **WORDS),
        verdicts.against("The correlation", (0.9, -1.0, 1.0), 0, "chance", **WORDS),
        verdicts.difference("The gap", (-0.4, -1.0, 1.0), **WORDS),
    ):
        assert "holds every possible value: there are too few subjects" in sentence.replace(
            "\n", " "
        )
        assert not any(word in sentence for word in WORDS.values())
    assert "UP" in verdicts.difference("The gap", (0.5, 1e-5, 1.0), **WORDS)
    assert "OPEN" in verdicts.difference("The gap", (0.5, 0.0, 1.0), **WORDS)


def test_no_zero_has_a_minus():
    gap = verdicts.difference("The gap", (-1e-9, -0.1, 1e-9), **WORDS)
    assert "+0.000 [-0.100, +0.000]" in gap
    assert "0.000 [-0.100, 0.000]" in verdicts.against(
        "The slope", (-1e-9, -0.1, -1e-9), 0.5, "one half", **WORDS
    )


def test_lines_fit_a_page():
    text = verdicts.against("The accuracy", (0.8, 0.7, 0.9), 0.5, "x " * 80, **WORDS)
    assert max(map(len, text.splitlines())) <= verdicts.WIDTH


@pytest.mark.parametrize("wrong", [(0.7, 0.8, 0.9), (0.9, 0.95, 0.8), (1.0, 0.8, 0.9)])
def test_numbers_in_the_wrong_order_are_an_error(wrong):
    with pytest.raises(ReportError, match="in this order"):
        verdicts.difference("The gap", wrong, **WORDS)


def test_the_best_epoch_is_the_first_of_the_lowest_and_the_last_one_is_said_to_be_so():
    assert "epoch 2 of 4 (0.500): training longer" in verdicts.best_epoch([0.6, 0.5, 0.5, 0.7])
    assert "more epochs may help" in verdicts.best_epoch([0.6, 0.5])
    for wrong in ([], [0.5, np.nan]):
        with pytest.raises(ReportError, match="one for each epoch"):
            verdicts.best_epoch(wrong)


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (1e-9, (0.01, 100), "The share, 1.0e-09, is below 0.01: DOWN."),
        (0.01, (0.01, 100), "The share, 1.0e-02, is between 0.01 and 100: SAME."),
        (100, (0.01, 100), "The share, 1.0e+02, is between 0.01 and 100: SAME."),
        (1000, (0.01, 100), "The share, 1.0e+03, is above 100: UP."),
        (0, (0, 0), "The share, 0.0e+00, is equal to 0: SAME."),
        (np.nan, (0, 1), "The share is undefined for these images."),
    ],
)
def test_a_number_without_interval_is_below_between_or_above_its_limits(value, limits, expected):
    words = {"below": "DOWN", "within": "SAME", "above": "UP"}
    assert verdicts.between("The share", value, limits, form=".1e", **words) == expected


def test_the_conclusion_is_that_of_the_number_as_it_is_written():
    words = {"below": "DOWN", "within": "SAME", "above": "UP"}
    told = verdicts.between("The gap", -0.004, (0, 0), form="+.2f", **words)
    assert told == "The gap, +0.00, is equal to 0: SAME."


@pytest.mark.parametrize("limits", [(1, 0), (np.nan, 0)])
def test_limits_in_the_wrong_order_are_an_error(limits):
    with pytest.raises(ReportError, match="the lower one comes first"):
        verdicts.between("The share", 0, limits, below="", within="", above="")
