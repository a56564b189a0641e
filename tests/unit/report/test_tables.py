"""Tables of a page: rounded figures, and words in place of nan."""

import numpy as np
import pandas as pd
import pytest

from helpers.base.errors import ReportError
from helpers.report import tables

NAN = float("nan")


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((0.8124, 0.75, 0.8741), "0.812  [0.750, 0.874]"),
        ((0.5, NAN, NAN), "0.500  [not defined]"),
        ((NAN, NAN, NAN), "not defined"),
        ((NAN, 0.1, 0.2), "not defined"),
    ],
)
def test_a_figure_with_its_interval(figures, text):
    assert tables.with_interval(*figures) == text


def test_a_figure_is_a_number():
    with pytest.raises(ReportError, match="A figure must be a number, but is 'high'"):
        tables.with_interval(0.5, 0.4, "high")


def test_no_nan_reaches_a_page_and_the_reason_is_told_once(capsys):
    numbers = pd.DataFrame({"model": ["a", "b"], "n": [1, 2], "auc": [0.51239, NAN], "gain": 2.34})
    before = numbers.copy()
    shown = tables.explained(numbers, {"gain": 1})
    assert shown["auc"].tolist() == ["0.512", "not defined"]
    assert shown["gain"].tolist() == ["2.3", "2.3"]
    assert shown["n"].tolist() == [1, 2]
    assert "nan" not in shown.to_string().lower() + shown.to_html().lower()
    assert capsys.readouterr().out.startswith("not defined: no image was called positive, or too")
    pd.testing.assert_frame_equal(numbers, before)


def test_where_all_is_defined_nothing_is_told(capsys):
    shown = tables.explained(pd.DataFrame({"auc": np.float32([0.5]), "text": ["0.5  [0.4, 0.6]"]}))
    assert shown["auc"].tolist() == ["0.500"]
    assert capsys.readouterr().out == ""
    tables.explained(pd.DataFrame({"text": [tables.with_interval(0.5, NAN, NAN)]}))
    assert capsys.readouterr().out.count("not defined") == 1
