"""What chapter 21 shows of the app is what `helpers.app` does."""

from __future__ import annotations

import io
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from helpers.app import prepare, uploads
from helpers.explaining import shortcuts
from helpers.predictions import calibration
from tests.unit.chapter_page import code_cells, functions, run
from tests.unit.evaluation_tables import study


@pytest.mark.parametrize("seed", range(4))
def test_the_temperature_of_the_page_is_that_of_the_app(seed):
    table = study(seed)
    table = table[table["split"] != "test"] if "split" in table else table
    shown = functions("21", "fit_temperature", np=np, minimize_scalar=minimize_scalar)
    logits = calibration.logit(table["score"].to_numpy())
    ours = shown["fit_temperature"](logits, table["positive"].to_numpy())
    assert ours == pytest.approx(calibration.fit_temperature(table).value, rel=1e-4)


def features(rng, count, shift=0.0):
    """Return features that vary together, as those of a network do."""
    mixed = rng.normal(size=(30, 30)) / 5
    return rng.normal(size=(count, 30)) @ mixed + shift


def test_the_distance_of_the_page_is_that_of_the_app():
    rng = np.random.default_rng(21)
    known = np.concatenate([features(rng, 60), features(rng, 40, 1.0)])
    truth = np.repeat([0, 1], [60, 40])
    order = rng.permutation(100)
    known, truth = known[order], truth[order]
    train, val = np.arange(70), np.arange(70, 100)
    names = {"np": np, "features": known, "truth": truth, "train": train, "val": val, "test": val}
    page = run("21", "def distance(", **names)
    empty = prepare.Reference(np.ones(2))
    theirs = prepare._with_distance(empty, known, truth, train, val)
    some = features(rng, 20, 3.0)
    ours = page["distance"](some) / page["unit"]
    assert np.allclose(ours, theirs.distances(some), rtol=1e-3)


def test_the_sharpness_of_the_page_is_that_of_the_app():
    page = functions("21", "sharpness", np=np, cv2=cv2)
    rng = np.random.default_rng(21)
    crop = np.zeros((60, 60, 3), np.uint8)
    crop[10:50, 12:48] = rng.integers(30, 220, (40, 36, 3))
    for one in (crop, cv2.GaussianBlur(crop, (0, 0), 3), crop[::-1], np.zeros_like(crop)):
        assert page["sharpness"](one) == prepare.sharpness(one)
    source = next(c.source for c in code_cells("21") if "def sharpness" in c.source)
    assert f"> {shortcuts.DARKEST})" in source


@pytest.mark.parametrize("p", [0.0, 0.1, 0.2, 0.5, 0.6, 0.65, 0.8, 0.999, 1.0])
def test_the_sentence_on_reliability_is_that_of_the_app(p):
    rng = np.random.default_rng(21)
    probability = np.concatenate([rng.random(200), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]])
    truth = (rng.random(206) < probability).astype(int)
    val = np.arange(3, 206)
    names = {"np": np, "probability": probability, "truth": truth, "val": val}
    page = functions("21", "reliability", **names, classes=("hem", "all"))
    bins = calibration.bins_of(probability[val], prepare.BINS)
    known = prepare.Reference(
        np.ones(2),
        np.bincount(bins, minlength=prepare.BINS),
        np.bincount(bins, truth[val], minlength=prepare.BINS),
    )
    assert page["reliability"](p) == known.reliability(p, "all")


def test_logits_and_features_are_what_the_app_takes():
    """The page clips scores where the course does, and takes what the last layer gets."""
    page = functions("21", "look", np=np)
    score = np.array([[0.0], [1e-9], [0.3], [1.0]], np.float32)
    page["both"] = SimpleNamespace(predict=lambda crops, verbose: (score, np.ones((4, 2))))
    logits, _ = page["look"](np.zeros(4))
    assert np.allclose(logits, calibration.logit(score[:, 0].astype(float)))
    assert np.allclose(expit(logit(0.3)), 0.3)


@pytest.mark.parametrize("kind", ["BMP", "PNG", "JPEG", "TIFF"])
def test_an_upload_gives_the_same_pixels_as_in_the_app(kind):
    page = run("21", "def read_upload", np=np)
    pixels = np.random.default_rng(21).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    for extra in ({}, {"exif": turned}) if kind in ("PNG", "JPEG", "TIFF") else ({},):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **extra)
        assert np.array_equal(page["read_upload"](file.getvalue()), uploads.read(file.getvalue()))


def test_the_page_and_the_app_have_the_same_threshold_and_limits():
    page = run("21", "def reliability", np=np, shown=[], classes=(), truth=(), probability=())
    from helpers.app import service

    assert page["THRESHOLD"] == service.THRESHOLD
    limits = run("21", "def read_upload", np=np)["read_upload"].__defaults__
    assert limits == (uploads.Limits().bytes, uploads.Limits().pixels)
