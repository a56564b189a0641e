"""The scoreboard of the book: each model under both splits, beside what was published for it.

Chapters show their own rows (``scoreboard.table(course, "05")``); chapter 22 shows all. The
figures are computed from the predictions that the course keeps, never typed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import predictions as prediction_tables
from helpers.base.errors import StudyError
from helpers.base.settings import Settings
from helpers.predictions import collapse, metrics
from helpers.studies import lineup, paper_systems, papers


class Row(NamedTuple):
    """A model of the scoreboard, and the chapter that is about it."""

    model: str
    chapter: str


#: The rows by the name of the model in :mod:`lineup` or :mod:`paper_systems`, simple ones first.
ROWS: dict[str, Row] = {
    "neighbours": Row("size and colour, 5 nearest neighbours", "02"),
    "size_and_colour": Row("size and colour, logistic regression", "15"),
    "custom_cnn": Row("custom CNN", "05"),
    "resnet50": Row("ResNet50", "07"),
    "mobilenetv2": Row("MobileNetV2", "08"),
    "mobilenet": Row("MobileNet", "09"),
    "xception": Row("Xception", "09"),
    "inceptionv3": Row("InceptionV3", "09"),
    "cnn_lstm": Row("CNN + LSTM, by rows and columns", "10"),
    "autoencoder": Row("codes of an autoencoder, linear head", "11"),
    "drawn_cells": Row("custom CNN with cells drawn by a GAN", "11"),
    "dcnn": Row("DCNN, ALL against MM", "12"),
    "majority_vote": Row("majority vote of three", "13"),
}


def figures(settings: Settings, chapter: str = "") -> pd.DataFrame:
    """Return the accuracies on test images under both splits.

    Parameters
    ----------
    settings : Settings
    chapter : str
        ``"05"`` for the rows of one chapter; by default all rows.

    Returns
    -------
    pandas.DataFrame
        `model`, `chapter`, `random`, `subject`, `low` and `high` (the interval of `subject`,
        over subjects), `published` (figures and whose they are, or ""). NaN for a model that
        the profile leaves out.

    Raises
    ------
    StudyError
        When no row belongs to the chapter.
    """
    chosen = {name: row for name, row in ROWS.items() if chapter in ("", row.chapter)}
    if not chosen:
        known = ", ".join(sorted({row.chapter for row in ROWS.values()}))
        raise StudyError(f"No row belongs to chapter {chapter!r}; chapters with rows are {known}.")
    return pd.DataFrame([_figures(settings, name, row) for name, row in chosen.items()])


def table(settings: Settings, chapter: str = "") -> pd.DataFrame:
    """Return the scoreboard as text for a page; parameters are those of :func:`figures`."""
    rows = figures(settings, chapter)
    left_out = rows["subject"].isna()
    both = [
        f"{r.subject:.3f}" + ("" if np.isnan(r.low) else f" [{r.low:.2f}, {r.high:.2f}]")
        for r in rows.itertuples()
    ]
    shown = {
        "model": rows["model"],
        "chapter": rows["chapter"],
        "random split": rows["random"].map("{:.3f}".format).mask(left_out, "left out"),
        "subject split": pd.Series(both).mask(left_out, "left out"),
        "published": rows["published"].replace("", "-"),
    }
    return pd.DataFrame(shown).set_index("model")


def published(name: str) -> str:
    """Return the published accuracies of a system and whose they are, or ""."""
    told = papers.table(experiments=False)
    told = told[told["rebuilt"].isin([name, f"{name}_folds"]) & (told["metric"] == "accuracy")]
    whose = told["paper"].str.capitalize().replace("Devi", "Kumar 2020")  # as Devi reports
    known = (told["value"].map("{:.4g} ".format) + whose)[told["value"].notna()]
    return "; ".join(known)


def rebuilt(settings: Settings) -> pd.DataFrame:
    """Return each published figure of a system that the profile rebuilds, beside ours.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    pandas.DataFrame
        `system` (paper and system), `name` (in :data:`paper_systems.SYSTEMS`), `metric`; `told`,
        `told_low` and `told_high` (the interval of so many independent test images); `random`,
        `subject`, `low` and `high` (the interval of `subject`, over subjects); `differs`:
        what is not as in the paper.
    """
    rows = []
    for told in papers.table(experiments=False).itertuples():
        known = told.rebuilt in paper_systems.SYSTEMS
        if not known or not paper_systems.affordable(settings, told.rebuilt):
            continue
        loose, strict = _judged(settings, told.rebuilt)
        value = metrics.METRICS[told.metric]
        interval = metrics.bootstrap_interval(
            strict, told.metric, settings.profile.resamples, seed=settings.seed
        )
        differs = "; ".join(paper_systems.reasons(settings, told.rebuilt))
        names = (f"{told.paper.capitalize()}: {told.system}", told.rebuilt, told.metric)
        figure = (told.value, *((np.nan,) * 2 if told.at_most else (told.low, told.high)))
        rows.append((*names, *figure, value(loose), value(strict), *interval, differs))
    columns = ["system", "name", "metric", "told", "told_low", "told_high"]
    return pd.DataFrame(rows, columns=[*columns, "random", "subject", "low", "high", "differs"])


def _figures(settings: Settings, name: str, row: Row) -> dict[str, object]:
    facts = {"model": row.model, "chapter": row.chapter}
    if name in paper_systems.SYSTEMS and not paper_systems.affordable(settings, name):
        nothing = dict.fromkeys(("random", "subject", "low", "high"), np.nan)
        return facts | nothing | {"published": published(name)}
    loose, strict = _judged(settings, name)
    if name in paper_systems.SYSTEMS and paper_systems.weights_of(settings, name) == "RANDOM":
        facts["model"] += ", random weights"
    facts["model"] = collapse.named(facts["model"], strict)
    low, high = metrics.bootstrap_interval(
        strict, "accuracy", settings.profile.resamples, seed=settings.seed
    )
    return facts | {
        "random": metrics.accuracy(loose),
        "subject": metrics.accuracy(strict),
        "low": low,
        "high": high,
        "published": published(name),
    }


def _judged(settings: Settings, name: str) -> Iterator[pd.DataFrame]:
    """Yield the predictions of the test images, for each split of `lineup.SPLITS`."""
    for split in lineup.SPLITS:
        if name in paper_systems.SYSTEMS:
            found = paper_systems.predictions(settings, name, split)
        elif name in lineup.MODELS:
            found = lineup.predictions(settings, split, [name])[name]
        else:
            found = _neighbours(settings, split)
        yield found[found["split"] == "test"].reset_index(drop=True)


def _neighbours(settings: Settings, split: str) -> pd.DataFrame:
    """Return the predictions of the classifier of chapter 02: five neighbours vote."""
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = lineup.catalog(settings, split)
    numbers, target = lineup.features(settings, "size_and_colour", split), catalogs.target(rows)
    train = (rows["split"] == "train").to_numpy()
    share = KNeighborsRegressor(min(5, int(train.sum())))  # of positive ones among the five
    model = make_pipeline(StandardScaler(), share).fit(numbers[train], target[train])
    return prediction_tables.make(rows, model.predict(numbers))
