"""The phantoms look like C-NMC's frames, tell no class by one statistic, and leak by subject."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.datasets.drawn import frames
from tests.unit.redrawn import redrawn_frame

pytestmark = pytest.mark.slow

REAL = Path(__file__).parents[4] / "shared" / "data" / "cnmc"


def statistics(frame: np.ndarray) -> dict[str, float]:
    """Return what one might think of measuring in a frame, background left out."""
    inside = (frame[..., 0] | frame[..., 1] | frame[..., 2]) > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    frame, inside = np.ascontiguousarray(frame[window]), inside[window].astype(np.uint8)
    height, width = inside.shape
    pixels = frame[inside > 0].astype(np.float32)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    core = cv2.erode(inside, np.ones((15, 15), np.uint8), borderValue=0) > 0
    if core.sum() < 100:
        core = inside > 0
    near = inside.astype(bool) & ~core
    mean, square = cv2.blur(grey, (9, 9)), cv2.blur(grey * grey, (9, 9))
    local = np.sqrt(np.maximum(square - mean * mean, 0))[core]
    edge = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))[core]
    deep = grey[core]
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outer = max(contours, key=cv2.contourArea)
    area, length = cv2.contourArea(outer), cv2.arcLength(outer, True)
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)[inside > 0].mean(axis=0)
    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB)[inside > 0].mean(axis=0)
    counts = np.bincount(grey[core].astype(np.uint8), minlength=256) / core.sum()
    counts = counts[counts > 0]
    found = {
        "box_side": float(max(height, width)),
        "area": area,
        "elongation": max(height, width) / min(height, width),
        "extent": area / (height * width),
        "circularity": 4 * np.pi * area / length**2,
        "solidity": area / cv2.contourArea(cv2.convexHull(outer)),
        "local_contrast": float(np.median(local)),
        "local_contrast_high": float(np.percentile(local, 90)),
        "edge_strength": float(edge.mean()),
        "laplacian_variance": float(cv2.Laplacian(grey, cv2.CV_32F)[core].var()),
        "entropy": float(-(counts * np.log2(counts)).sum()),
        "core_mean": float(deep.mean()),
        "core_sd": float(deep.std()),
        "core_skew": float(((deep - deep.mean()) ** 3).mean() / deep.std() ** 3),
        "dark_part": float((deep < 0.9 * deep.mean()).mean()),
        "bright_part": float((deep > 1.15 * deep.mean()).mean()),
        "rim_to_core": float(grey[near].mean() / deep.mean()),
    }
    for band, (small, large) in {"fine": (1, 2), "middle": (2, 5), "broad": (5, 12)}.items():
        part = cv2.GaussianBlur(grey, (0, 0), small) - cv2.GaussianBlur(grey, (0, 0), large)
        found[f"band_{band}"] = float(part[core].std())
    names = [f"mean_{c}" for c in "rgb"] + [f"sd_{c}" for c in "rgb"]
    found |= dict(zip(names, [*pixels.mean(axis=0), *pixels.std(axis=0)], strict=True))
    found |= dict(zip(["hue", "saturation", "value"], hsv, strict=True))
    found |= dict(zip(["lab_l", "lab_a", "lab_b"], lab, strict=True))
    return {name: float(value) for name, value in found.items()}


def measured(images: pd.DataFrame, recipe: frames.Recipe) -> pd.DataFrame:
    """Return the statistics of the phantoms named in a plan's rows."""
    frames.styles(recipe)

    def one(image_id: str) -> dict[str, float]:
        return statistics(redrawn_frame(recipe, image_id).frame)

    with ThreadPoolExecutor() as pool:
        return pd.DataFrame(list(pool.map(one, images["image_id"])))


@pytest.fixture(scope="module")
def few():
    """Every twenty-fifth frame of the quick profile, and what it measures."""
    recipe = frames.recipe_of("quick")
    return measured(frames.plan(recipe).iloc[::25], recipe)


@pytest.fixture(scope="module")
def sample():
    """Every third frame of the quick profile, so of all its subjects, and what it measures."""
    recipe = frames.recipe_of("quick")
    images = frames.plan(recipe).iloc[::3].reset_index(drop=True)
    return images, measured(images, recipe)


def out_of_fold(images, table, by_subject: bool, seed: int) -> np.ndarray:
    """Return each image's score by a model that has not met it (or not its subject)."""
    target = (images["label"] == "all").to_numpy()
    splitter = StratifiedGroupKFold if by_subject else StratifiedKFold
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=3000))
    folds = splitter(5, shuffle=True, random_state=seed)
    return cross_val_predict(
        model,
        table,
        target,
        groups=images["subject"] if by_subject else None,
        cv=folds,
        method="predict_proba",
    )[:, 1]


def check_no_statistic_tells(images, table):
    assert table.shape[1] >= 20
    target = images["label"] == "all"
    aucs = {name: roc_auc_score(target, table[name]) for name in table}
    told = {name: round(auc, 3) for name, auc in aucs.items() if not 0.2 <= auc <= 0.8}
    assert not told


def test_no_statistic_tells_the_classes_apart(sample):
    check_no_statistic_tells(*sample)


@pytest.mark.parametrize("seed", [24, 1, 2])
def test_no_statistic_tells_the_classes_apart_over_all_frames(seed):
    recipe = frames.recipe_of("quick", seed)
    images = frames.plan(recipe)
    check_no_statistic_tells(images, measured(images, recipe))


def test_a_random_split_flatters(sample):
    images, table = sample
    target = (images["label"] == "all").to_numpy()
    gains, aucs = [], []
    for seed in range(4):
        leaky, honest = (out_of_fold(images, table, by, seed) for by in (False, True))
        gains.append(((leaky > 0.5) == target).mean() - ((honest > 0.5) == target).mean())
        aucs.append(roc_auc_score(target, honest))
    assert np.mean(gains) >= 0.05
    # What is left is real: a cell of a subject never met is told better than by chance.
    assert np.mean(aucs) >= 0.6


def test_a_subject_is_recognised(sample):
    images, table = sample
    large = images["subject"].isin(images["subject"].value_counts().index[:12])
    guess = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)),
        table[large],
        images.loc[large, "subject"],
        cv=StratifiedKFold(4, shuffle=True, random_state=0),
    )
    assert (guess == images.loc[large, "subject"]).mean() > 0.6


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="no real C-NMC frames in ../shared/data/cnmc")
def test_medians_are_those_of_real_frames(few):
    files = sorted(REAL.rglob("UID_*.bmp"))
    assert len(files) == 38
    real = pd.DataFrame([statistics(cv2.imread(str(path))[:, :, ::-1].copy()) for path in files])
    for name in ("box_side", "mean_r", "mean_g", "mean_b", "local_contrast"):
        ratio = few[name].median() / real[name].median()
        assert 0.85 <= ratio <= 1.15, (name, ratio)
