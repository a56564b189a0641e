"""The model card and the data sheet: a description of a model and its data for their users.

Both are Markdown, made from predictions, run records and the catalog by the templates in
`helpers.report.templates`. Model card: Mitchell et al. 2019, doi:10.1145/3287560.3287596.
Data sheet: Gebru et al. 2021, doi:10.1145/3458723.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import arguments, provenance
from helpers.base.errors import ReportError
from helpers.base.files import write_text
from helpers.base.settings import Settings
from helpers.catalog import splitting
from helpers.datasets.origins import origin
from helpers.predictions import calibration, collapse, metrics, thresholds
from helpers.predictions.table import check
from helpers.report.templates import code, number, render

#: Subjects that a model card lists: those with the lowest accuracy.
_HARDEST = 3


def model_card(
    name: str,
    predictions: pd.DataFrame,
    settings: Settings,
    description: str = "",
    source: str = "none",
    record: dict | None = None,
    traces: bool = True,
    sensitivity: float = 0.95,
) -> str:
    """Return the model card of a model as Markdown.

    Parameters
    ----------
    name : str
    predictions : pandas.DataFrame
        Of all splits; the model is evaluated on ``test``, and ``val`` chooses the threshold.
    settings : Settings
        What the predictions were made with.
    description : str
        What the model is, in half a sentence.
    source : str
        Origin of the weights before training: ``ImageNet``, ``RANDOM`` or ``none``, as
        :func:`helpers.studies.lineup.sources` returns it.
    record : dict, optional
        Run record of the training (``record.json``).
    traces : bool
        Whether to include date, versions, device and commit, which differ from run to run.
    sensitivity : float
        Required sensitivity on the validation images, for the threshold.

    Raises
    ------
    ReportError
        When there are no test images, or the data set is unknown.
    """
    predictions = check(predictions)
    arguments.number("The required sensitivity", sensitivity, ReportError, 0, 1)
    for what, text in (("name", name), ("description", description), ("source", source)):
        arguments.string(f"The {what}", text, ReportError)
    parts = {part: predictions[predictions["split"] == part] for part in catalogs.SPLITS}
    val, test = (parts[part].reset_index(drop=True) for part in ("val", "test"))
    if test.empty:
        raise ReportError(f"The predictions of {name!r} have no test rows: nothing evaluates it.")
    negative, positive = catalogs.sides(predictions)
    classes = catalogs.classes(predictions)
    resampling = {"resamples": settings.profile.resamples, "seed": settings.seed}
    figures = metrics.report(test, **resampling)
    figures["metric"] = figures["metric"].str.replace("_", " ")
    target = catalogs.target(test)
    threshold = at_threshold = None
    if not val.empty and len(set(catalogs.target(val))) == 2:
        threshold = thresholds.threshold_for(val, sensitivity)
        rates = metrics.report(test, thresholds.RATES, threshold=threshold, **resampling)
        at_threshold = _with_interval(rates, "metric", "value")
    each = metrics.per_subject(test).sort_values(["accuracy", "subject"], kind="stable")
    quartiles = np.percentile(each["accuracy"], [0, 25, 50, 75, 100])
    subjects = [set(rows["subject"]) for rows in parts.values()]
    record = record or {}
    parameters = record.get("parameters") or record.get("model", {}).get("parameters")
    description = description or name or "a model"
    return render(
        "model_card.md.j2",
        name=name,
        description=description[0].upper() + description[1:],
        settings=settings,
        source=source,
        collapsed=record.get("collapsed") or collapse.judge(name, predictions),
        origin=origin(settings.dataset),
        positive=positive,
        negative=negative,
        record=record,
        recipe=record.get("recipe", {}),
        data=record.get("data", {}),
        parameters=f"{parameters:,}" if parameters else "",
        split_heads=["split", "images", "subjects", *map(code, classes)],
        splits=[
            [part, len(t), t["subject"].nunique(), *((t["label"] == c).sum() for c in classes)]
            for part, t in parts.items()
        ],
        leak=sum(map(len, subjects)) > len(set().union(*subjects)),
        images=len(test),
        subjects=test["subject"].nunique(),
        figures=_with_interval(figures, "metric", "value"),
        larger=max(target.mean(), 1 - target.mean()),
        sensitivity=f"{sensitivity:.0%}",
        threshold=threshold,
        at_threshold=at_threshold,
        quartiles=", ".join(f"{value:.2f}" for value in quartiles),
        hardest=_with_interval(each.head(_HARDEST), "subject", "label", "images", "accuracy"),
        ece=calibration.ece(test),
        brier=calibration.brier(test),
        traces=traces,
        date=_today(),
        environment=record.get("environment") or {"commit": provenance.commit()},
    )


def data_sheet(catalog: pd.DataFrame, settings: Settings, traces: bool = True) -> str:
    """Return the data sheet of a catalog as Markdown.

    Parameters
    ----------
    catalog : pandas.DataFrame
        With or without a split.
    settings : Settings
    traces : bool
        Whether to include the date and the commit.

    Raises
    ------
    ReportError
        When the data set is unknown.
    """
    catalog = catalogs.check(catalog)
    labelled = catalog[catalog["label"] != catalogs.UNLABELLED]
    classes = []
    for label in catalogs.classes(labelled):
        sizes = labelled[labelled["label"] == label].groupby("subject").size()
        spread = sizes.min(), int(sizes.median()), sizes.max()
        classes.append([code(label), sizes.sum(), len(sizes), *spread])
    largest = labelled.groupby("subject").size().max() / max(len(labelled), 1)
    files = catalog[(catalog["sha256"] != "") & (catalog["original"] == "")].groupby("sha256")
    repeated = files.size()[files.size() > 1]
    across = (files["subject"].nunique()[repeated.index] > 1).sum()
    group_sizes = splitting.link_subjects(catalog).groupby("group")["subject"].nunique()
    splits, leaks = [], {}
    if (catalog["split"] != "").any():
        for part in catalogs.SPLITS:
            rows = catalog[catalog["split"] == part]
            splits.append([part, len(rows), rows["subject"].nunique(), rows["group"].nunique()])
        leaks = splitting.audit_leakage(catalog, "split")["kind"].value_counts()
    return render(
        "data_sheet.md.j2",
        settings=settings,
        source="none",
        origin=origin(settings.dataset),
        classes=classes,
        unlabelled=len(catalog) - len(labelled),
        largest=f"{largest:.0%}",
        duplicates={"groups": len(repeated), "files": repeated.sum(), "across": across},
        linked=sorted(group_sizes[group_sizes > 1].index),
        splits=splits,
        leaks=", ".join(f"{count} x {kind}" for kind, count in leaks.items()),
        fingerprint=catalogs.fingerprint(catalog, ("image_id", "sha256", "label")),
        traces=traces,
        date=_today(),
        commit=provenance.commit(),
    )


def as_html(text: str) -> str:
    """Return a card as HTML for a page.

    Headings become bold lines: they must not join the headings of the page. HTML, links
    and images in `text` have no effect, because no card has any.
    """
    from markdown_it import MarkdownIt

    if not isinstance(text, str):
        raise ReportError(f"A card is text in Markdown, not {arguments.shown(text)}.")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.disable(["link", "image", "autolink"])
    markdown.add_render_rule("heading_open", lambda *_: "<p><b>")
    markdown.add_render_rule("heading_close", lambda *_: "</b></p>\n")
    return markdown.render(text)


def write(folder: str | os.PathLike, **cards: str) -> list[Path]:
    """Write each card atomically as ``<name>.md`` into `folder` and return the paths."""
    return [write_text(Path(folder) / f"{name}.md", text) for name, text in cards.items()]


def record_of(settings: Settings, name: str, catalog: pd.DataFrame | None = None) -> dict | None:
    """Return the newest run record of a name (``custom_cnn-subject``) with these settings.

    With a catalog, the training must have used exactly these images, labels and
    splits. None if there is no such record: a linear head has none.
    """
    rows = None
    if catalog is not None:
        catalog = catalogs.check(catalog)
        rows = catalogs.fingerprint(catalog, catalogs.TRAINED_ON)
    wanted = {key: value for key, value in settings.as_dict().items() if key != "data_dir"}
    records = []
    for path in settings.folder("runs").glob(f"{name}-*/record.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # a run that is being written, or that was interrupted
        given = {key: record.get("settings", {}).get(key) for key in wanted}
        same_rows = rows is None or record.get("data", {}).get("rows") == rows
        if record.get("name") == name and given == wanted and same_rows:
            records.append((path.stat().st_mtime, str(path), record))
    return max(records, key=lambda entry: entry[:2])[2] if records else None


def _with_interval(table: pd.DataFrame, *columns: str) -> list[list]:
    """Return rows of text; the last column and its interval have three decimals."""
    rows = table[[*columns, "low", "high"]].itertuples(index=False)
    return [[*row[:-3], *map(number, row[-3:])] for row in rows]


def _today() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
