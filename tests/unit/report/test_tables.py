"""Tables of a page: rounded figures, and words in place of nan."""

import numpy as np
import pandas as pd

from helpers.report import recorded, tables, templates

NAN = float("nan")


def test_no_nan_reaches_a_page_and_the_reason_is_told_once(capsys):
    numbers = pd.DataFrame({"model": ["a", "b"], "n": [1, 2], "auc": [0.51239, NAN], "gain": 2.34})
    before = numbers.copy()
    shown = tables.explained(numbers)
    assert shown["auc"].tolist() == ["0.512", "not defined"]
    assert shown["gain"].tolist() == ["2.340", "2.340"]
    assert shown["n"].tolist() == [1, 2]
    assert "nan" not in shown.to_string().lower() + shown.to_html().lower()
    assert capsys.readouterr().out.startswith('Where the table below says "not defined", no')
    pd.testing.assert_frame_equal(numbers, before)


def test_zero_has_no_minus():
    assert tables.explained(pd.DataFrame({"gain": [-0.0001, -0.0]}))["gain"].eq("0.000").all()
    assert templates.number(-1e-5) == "0.000"
    assert str(recorded.Figure("gain", -1e-5, -1e-5, 0.1)) == "0.000 [0.000, 0.100]"


def test_where_all_is_defined_nothing_is_told(capsys):
    shown = tables.explained(pd.DataFrame({"auc": np.float32([0.5]), "text": ["0.5  [0.4, 0.6]"]}))
    assert shown["auc"].tolist() == ["0.500"]
    assert capsys.readouterr().out == ""
