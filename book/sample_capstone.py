"""A sample capstone, on the question how many subjects a simple classifier needs.

``.venv/bin/python book/sample_capstone.py`` prints every number of the sample report.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import datasets, images, predictions
from helpers.base import settings
from helpers.catalog import splitting
from helpers.predictions import comparing, metrics
from helpers.report import verdicts
from helpers.studies import baselines

DRAWS = 20  # groups of training subjects for each number


def scores(features: np.ndarray, catalog: pd.DataFrame, people: list[str]) -> np.ndarray:
    """Return the scores of all images by a model that was trained on `people` alone."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    rows = catalog["subject"].isin(people).to_numpy()
    model.fit(features[rows], catalog.loc[rows, "positive"].astype(int))
    return model.predict_proba(features)[:, 1]


def drawn(catalog: pd.DataFrame, number: int, rng: np.random.Generator) -> list[str]:
    """Return this many training subjects, half of them of each class."""
    train = catalog[catalog["split"] == "train"]
    groups = [rows["subject"].unique() for _, rows in train.groupby("positive")]
    return [name for group in groups for name in rng.choice(group, number // 2, replace=False)]


def main(profile: str = "quick") -> None:
    """Print the numbers of the report."""
    course = settings.read("phantom", profile)
    catalog = datasets.load(course)
    catalog = splitting.split_by_subject(catalog[catalog["positive"].notna()], nearest=True)
    features = baselines.size_and_colour(images.load_images(catalog, crop=False))
    count = catalog.groupby("split")["subject"].nunique()
    print("subjects:", ", ".join(f"{count[part]} {part}" for part in ("train", "val", "test")))
    print(f"what leaks: {len(splitting.audit_leakage(catalog, 'split'))} rows of the audit")
    train = catalog[catalog["split"] == "train"].groupby("positive")["subject"].nunique()
    most = 2 * int(train.min())
    rng = np.random.default_rng(course.seed)
    sizes = [number for number in (4, 8, 16, 32) if number < most] + [most]
    validation = {}
    for number in sizes:
        areas = []
        for _ in range(DRAWS):
            found = scores(features, catalog, drawn(catalog, number, rng))
            areas.append(metrics.auc(predictions.make(catalog, found, "val")))
        validation[number] = areas
        low, high = np.percentile(areas, [10, 90])
        print(f"{number:3} training subjects: validation AUC {np.mean(areas):.3f}, "
              f"in eight of ten draws {low:.3f} to {high:.3f}")  # fmt: skip
    half = max(number for number in sizes if number <= most / 2)
    print(f"\nThe test, once: {most} training subjects against {half}.")
    tables = [
        predictions.make(catalog, scores(features, catalog, drawn(catalog, number, rng)), "test")
        for number in (most, half)
    ]
    resamples = course.profile.resamples
    report = metrics.report(tables[0], resamples=resamples).set_index("metric").loc["auc"]
    print(f"AUC with {most}: {report['value']:.3f}, interval over subjects "
          f"{report['low']:.3f} to {report['high']:.3f}")  # fmt: skip
    found = comparing.paired_bootstrap(*tables, "auc", resamples, course.seed)
    print(verdicts.difference(
        "The difference of AUC", (found.difference, found.low, found.high),
        above="twice as many subjects helped", below="twice as many subjects harmed",
        undecided="these test subjects do not show that twice as many helped",
    ))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
