"""The plot with sliders: right when drawn, all in one piece, and alive in a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from helpers.base.errors import ReportError
from helpers.predictions import thresholds
from helpers.report import interactive

THRESHOLDS = np.linspace(0.02, 0.98, 49).round(2)
RATES = pd.DataFrame(
    {
        "threshold": THRESHOLDS,
        "sensitivity": (1 - THRESHOLDS**3).round(4),
        "specificity": (THRESHOLDS**0.3).round(4),
    }
)


@pytest.mark.parametrize("prevalence", [0.001, 0.02, 0.5, 0.9])
def test_of_ten_thousand_people_as_many_as_bayes_says(prevalence):
    found, alarms, missed, cleared = interactive.counts_per_10000(0.95, 0.9, prevalence)
    assert found + alarms + missed + cleared == 10_000
    assert abs(found + missed - 10_000 * prevalence) <= 0.5
    ppv, npv = thresholds.predictive_values(0.95, 0.9, prevalence)
    assert abs(found / (found + alarms) - ppv) < 0.005
    assert abs(cleared / (cleared + missed) - npv) < 0.005


def test_the_plot_is_drawn_where_its_sliders_stand_and_the_same_each_time():
    plot = interactive.predictive_values(RATES, threshold=0.4, prevalence=0.01)
    assert plot == interactive.predictive_values(RATES, threshold=0.4, prevalence=0.01)
    assert plot.html == plot._repr_html_()
    assert "0x" not in repr(plot)
    data = json.loads(re.search(r"var data = (.*);\n", plot.html)[1])
    places = [int(found) for found in re.findall(r'type="range"[^>]*? value="(\d+)"', plot.html)]
    share, rates = data["shares"][places[0]], data["rates"][places[1]]
    assert abs(np.log(share / 0.01)) < 0.03
    assert rates[0] == pytest.approx(0.4)
    found, alarms, _, cleared = interactive.counts_per_10000(*rates[1:], share)
    assert f"Called positive: {found + alarms:,}. Of these ill: {found:,}" in plot.html
    assert f"Of these well: {cleared:,}" in plot.html
    assert "@" not in plot.html


def test_the_plot_needs_nothing_from_elsewhere_and_can_be_read_aloud():
    class Page(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.open = [], []

        def handle_starttag(self, tag, attrs):
            self.tags.append((tag, dict(attrs)))
            if tag not in ("br", "input"):
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs):
            self.tags.append((tag, dict(attrs)))

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    text = interactive.predictive_values(RATES, name="one").html
    page = Page()
    page.feed(text)
    assert not page.open
    assert not re.search(r"https?:|//|\bsrc=|\bhref=|@import|fetch\(|eval\(", text)
    labels = {attrs["for"] for tag, attrs in page.tags if tag == "label"}
    sliders = {attrs["id"] for tag, attrs in page.tags if tag == "input"}
    assert labels == sliders == {"one-prevalence", "one-threshold"}
    assert all(attrs["aria-label"] for tag, attrs in page.tags if tag == "svg")
    assert "<noscript>" in text


def test_nobody_called_is_said_and_not_divided_by():
    none = pd.DataFrame({"threshold": [0.5], "sensitivity": [0.0], "specificity": [1.0]})
    text = interactive.predictive_values(none).html
    assert "Called positive: 0. Of these ill: 0 (nobody)." in text
    assert "nan" not in text.lower()


def test_bad_input_is_refused_in_one_sentence():
    with pytest.raises(ReportError, match=r"without \['specificity'\]"):
        interactive.predictive_values(RATES.drop(columns="specificity"))
    with pytest.raises(ReportError, match="0 rows"):
        interactive.predictive_values(RATES.iloc[:0])
    with pytest.raises(ReportError, match="from 0 to 1"):
        interactive.predictive_values(RATES.assign(sensitivity=np.nan))
    with pytest.raises(ReportError, match="letters, digits"):
        interactive.predictive_values(RATES, name='x" onload="')


@pytest.mark.browser
@pytest.mark.slow
def test_the_sliders_move_by_keys_and_say_what_python_says(chromium):
    page = chromium.new_page(viewport={"width": 390, "height": 700})
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    plot = interactive.predictive_values(RATES, 0.4)
    page.set_content(plot.html)

    def shown(key):
        return page.locator(f"[data-show={key}]").inner_text()

    first = shown("positives")
    assert first in plot.html  # the script, on loading, draws what was there
    prevalence, threshold = page.get_by_label("Prevalence"), page.get_by_label("Threshold")
    prevalence.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    threshold.focus()
    page.keyboard.press("End")
    assert shown("positives") != first
    data = json.loads(re.search(r"var data = (.*);\n", plot.html)[1])
    share = data["shares"][int(prevalence.input_value())]
    found, alarms, missed, cleared = interactive.counts_per_10000(*RATES.iloc[-1, 1:], share)
    assert shown("positives").startswith(f"Called positive: {found + alarms:,}. Of these ill: ")
    assert f"Of these well: {cleared:,}" in shown("negatives")
    width = float(page.locator("[data-bar=ill1]").get_attribute("width"))
    assert abs(width - data["room"] * missed / (missed + cleared)) < 0.1
    assert threshold.get_attribute("aria-valuetext") == "0.98"
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert not faults
    page.close()
