"""A network whose scores are nearly all the same is called collapsed, wherever they come from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers.predictions import collapse

RNG = np.random.default_rng(24)


@pytest.mark.parametrize(
    "scores",
    [
        np.ones(40),
        np.zeros(40),
        np.full(40, 0.5) + RNG.normal(0, 1e-4, 40),
        np.append(np.ones(400), 0.0),  # one image out of many is no sign of life
        1 - np.logspace(-9, -4, 40),
    ],
)
def test_scores_that_are_nearly_equal_are_a_collapse(scores):
    table = pd.DataFrame({"score": scores})
    assert collapse.nearly_equal(scores)
    assert collapse.named("net", table) == "net (collapsed)"
    told = collapse.sentence("net", table)
    assert told.startswith("net has collapsed: ")
    assert f"{np.median(scores):.3f}" in told


@pytest.mark.parametrize(
    "scores",
    [
        RNG.uniform(0, 1, 40),
        0.5 + RNG.normal(0, 0.01, 40),  # short of training, but it tells images apart
        np.append(np.zeros(97), np.ones(3)),  # a rare class, found
        [0.2],  # one image cannot show it
        [],
    ],
)
def test_a_network_that_tells_images_apart_is_no_collapse(scores):
    table = pd.DataFrame({"score": scores})
    assert not collapse.nearly_equal(table["score"].to_numpy())
    assert collapse.named("net", table) == "net"
    assert collapse.sentence("net", table) == ""


def test_a_sentence_is_noted_once(monkeypatch):
    monkeypatch.setattr(collapse, "COLLAPSED", [])
    for text in ("", "a has collapsed", "a has collapsed", ""):
        collapse.note(text)
    assert collapse.COLLAPSED == ["a has collapsed"]
