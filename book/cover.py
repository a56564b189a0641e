"""Draws the picture on the README: phantoms, and a classifier's accuracy under two splits.

``.venv/bin/python book/cover.py book/_static/cover.png`` computes the accuracies in the
quick profile and draws the picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import datasets, images, predictions
from helpers.base.files import atomic_path
from helpers.base.settings import DEFAULT_SEED
from helpers.catalog import splitting
from helpers.predictions import metrics
from helpers.report import plots

#: The two ways to split, by their names in the picture.
WAYS: dict[str, Callable[[pd.DataFrame, int], pd.DataFrame]] = {
    "images dealt\nat random": lambda table, seed: splitting.split_at_random(table, seed=seed),
    "no person on\nboth sides": lambda table, seed: splitting.split_by_subject(
        table, seed=seed, nearest=True
    ),
}


def accuracies(profile: str = "quick", seed: int = DEFAULT_SEED, splits: int = 5) -> pd.DataFrame:
    """Return the test accuracy of one classifier under both ways to split, over several splits.

    Parameters
    ----------
    profile, seed
        Profile and seed of the phantoms.
    splits : int
        Number of splits of each kind, with consecutive seeds.

    Returns
    -------
    pandas.DataFrame
        One row for each split: `way`, `accuracy`, and the ends of its 95 % interval,
        `low` and `high`, from a bootstrap over subjects.
    """
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = datasets.load("phantom", None, profile, seed)
    features = np.stack([_describe(image) for image in images.load_images(table, size=64)])
    target = catalogs.target(table)
    rows = []
    for way, split in WAYS.items():
        for number in range(seed, seed + splits):
            parts = split(table, number)["split"].to_numpy()
            train, test = parts == "train", parts == "test"
            model = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
            model.fit(features[train], target[train])
            scores = model.predict_proba(features[test])[:, 1]
            told = predictions.make(table[test], scores, split="test")
            low, high = metrics.bootstrap_interval(told, "accuracy", seed=seed)
            rows.append((way, metrics.accuracy(told), low, high))
    return pd.DataFrame(rows, columns=["way", "accuracy", "low", "high"])


def draw(out: str | Path, profile: str = "quick", seed: int = DEFAULT_SEED) -> Path:
    """Write the picture to `out` (PNG) and return its path."""
    import matplotlib.pyplot as plt

    results = accuracies(profile, seed)
    table = datasets.load("phantom", None, profile, seed)
    plots.use_style()
    colours = plots.class_colours(table)
    figure = plt.figure(figsize=(10, 3), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15), wspace=0.04)
    axes = left.subplots(2, 4, gridspec_kw={"hspace": 0, "wspace": 0.02})
    for line, (label, name) in zip(axes, (("hem", "healthy"), ("all", "leukaemic")), strict=True):
        shown = table[table["label"] == label].groupby("subject").head(1).sample(4, random_state=1)
        for axis, path in zip(line, shown["path"], strict=True):
            axis.imshow(images.prepare(images.read_image(path), 128, crop=True))
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(visible=True, color=colours[label], linewidth=2)
        line[0].set_ylabel(name, color=colours[label])
    left.suptitle("Cells drawn by the course", fontsize=11)
    axis = right.subplots()
    for position, (_, part) in enumerate(results.groupby("way", sort=False)):
        x = position + np.linspace(-0.22, 0.22, len(part))
        bars = [part["accuracy"] - part["low"], part["high"] - part["accuracy"]]
        colour = (plots.VERMILLION, plots.BLUE)[position]
        axis.errorbar(x, part["accuracy"], yerr=bars, fmt="o", color=colour, capsize=3)
    guess = (table["label"].value_counts() / len(table)).max()
    axis.axhline(guess, color=plots.GREY, linestyle="--", linewidth=1)
    axis.annotate("share of the larger class", (-0.48, guess - 0.015), va="top", fontsize=8.5)
    axis.set_xticks(range(len(WAYS)), list(WAYS))
    axis.set(ylabel="accuracy on test images", ylim=(0, 1), xlim=(-0.5, 1.5))
    right.suptitle("The same classifier, five splits each, 95 % intervals", fontsize=11)
    out = Path(out)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="white", metadata={"Software": None})
    plt.close(figure)
    return out


def _describe(image: np.ndarray) -> np.ndarray:
    """Return size and colours of what is not black: chapter 02's description of an image."""
    cell = image[image.max(axis=-1) > 10]
    if len(cell) == 0:
        cell = np.zeros((1, 3))
    colours = np.percentile(cell, [5, 25, 50, 75, 95], axis=0)
    return np.concatenate([[len(cell)], colours.ravel(), cell.std(axis=0)])


if __name__ == "__main__":
    print(draw(sys.argv[1] if len(sys.argv) > 1 else "book/_static/cover.png"))
