"""The model card and the data sheet: what a model and its data are, for whoever may use them.

Both are Markdown, put together from predictions, run records and the catalog;
the only sentences written beforehand are those about a data set's origin and
about what the course's models must not be used for. Model card: Mitchell et al.
2019, doi:10.1145/3287560.3287596. Data sheet: Gebru et al. 2021, doi:10.1145/3458723.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import provenance
from helpers.base.errors import ReportError
from helpers.base.files import write_text
from helpers.base.settings import Settings
from helpers.catalog import splitting
from helpers.datasets.origins import ORIGINS, Origin
from helpers.predictions import calibration, metrics, thresholds
from helpers.predictions.table import check
from helpers.report import card_text
from helpers.report.card_text import as_html

__all__ = [
    "ORIGINS",
    "Origin",
    "ReportError",
    "as_html",
    "data_sheet",
    "model_card",
    "record_of",
    "write",
]


def model_card(
    name: str,
    predictions: pd.DataFrame,
    course: Settings,
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
        Of all splits; ``test`` judges, ``val`` chooses the threshold.
    course : Settings
        What it was made on.
    description : str
        What the model is, in half a sentence.
    source : str
        ``ImageNet``, ``RANDOM`` or ``none``, as :func:`helpers.studies.lineup.sources` tells.
    record : dict, optional
        Run record of the training (``record.json``).
    traces : bool
        Also date, versions, device and commit, which differ from run to run.
    sensitivity : float
        Wanted on the validation images, for a threshold.

    Raises
    ------
    ReportError
        When there are no test images.
    """
    check(predictions)
    parts = {part: predictions[predictions["split"] == part] for part in catalogs.SPLITS}
    test = parts["test"].reset_index(drop=True)
    if test.empty:
        raise ReportError(f"The predictions of {name!r} have no test rows: nothing judges it.")
    origin = _origin(course.dataset)
    negative, positive = (
        " or ".join(f"`{label}`" for label in side) for side in catalogs.sides(predictions)
    )
    lines = [f"# Model card: {name}", "", *_warnings(course, source), ""]
    lines += ["## What it is", ""]
    lines += [
        f"- {(description or name)[0].upper()}{(description or name)[1:]}.",
        f"- In: {origin.content}. Out: a score, the probability of {positive} "
        f"rather than {negative}.",
        f"- Weights before training: {_weights(source)}.",
        f"- Profile `{course.profile.name}`, seed {course.seed}.",
        *_training(record),
    ]
    lines += ["", "## What it is for", ""]
    lines += [
        "- For teaching how such models are made and judged.",
        "- **Not for diagnosis**, nor for any decision about a person. It was tested on no other "
        "laboratory, scanner or stain, and on no kind of cell but those named above.",
    ]
    lines += ["", "## What it was judged on", ""]
    lines += [f"{origin.title}; subjects are {origin.subjects}.", "", *_splits(parts)]
    lines += ["", "## How well it does", ""]
    lines += _figures(test, course, positive)
    lines += ["", *_threshold(parts["val"].reset_index(drop=True), test, course, sensitivity)]
    lines += ["", "## For whom it does worse", "", *_subjects(test)]
    lines += ["", "## What its scores are worth", ""]
    lines += [
        f"Expected calibration error {calibration.ece(test):.3f} (10 bins of equal width), "
        f"Brier score {calibration.brier(test):.3f}. The scores are not recalibrated."
    ]
    lines += ["", "## What to beware of", ""]
    lines += [f"- {sentence}" for sentence in origin.know]
    lines += [
        f"- Intervals rest on {test['subject'].nunique()} subjects: few people, little known.",
        "- Model, threshold and this card's test images come from one source. A drop elsewhere is "
        "to be expected and is not measured here.",
    ]
    if traces:
        lines += ["", *_traces(record)]
    return "\n".join(lines) + "\n"


def data_sheet(catalog: pd.DataFrame, course: Settings, traces: bool = True) -> str:
    """Return the data sheet of a catalog as Markdown.

    Parameters
    ----------
    catalog : pandas.DataFrame
        As loaded, or with its split.
    course : Settings
    traces : bool
        Also the date and the commit.
    """
    catalogs.check(catalog)
    origin = _origin(course.dataset)
    lines = [f"# Data sheet: {origin.title}", "", *_warnings(course, "none"), ""]
    lines += ["## Where it comes from", ""]
    lines += [f"- Source: {origin.source}.", f"- Licence: {origin.licence}."]
    lines += [f"- An image: {origin.content}.", f"- Subjects: {origin.subjects}."]
    lines += [f"- Here: profile `{course.profile.name}`, seed {course.seed}."]
    lines += ["", "## What is in it", ""]
    known = catalog[catalog["label"] != catalogs.UNLABELLED]
    rows = []
    for label in catalogs.classes(known):
        part = known[known["label"] == label]
        each = part.groupby("subject").size()
        rows.append(
            [f"`{label}`", len(part), len(each), each.min(), int(each.median()), each.max()]
        )
    heads = ["class", "images", "subjects", "fewest images", "median", "most images"]
    lines += card_text.table(heads, rows)
    blank = len(catalog) - len(known)
    if blank:
        lines += ["", f"{blank} further images have no label."]
    share = known.groupby("subject").size().max() / max(len(known), 1)
    lines += ["", f"The largest subject holds {share:.0%} of the labelled images."]
    lines += ["", "## What is twice in it", "", *_duplicates(catalog)]
    if (catalog["split"] != "").any():
        lines += ["", "## How it is split", ""]
        parts = {part: catalog[catalog["split"] == part] for part in catalogs.SPLITS}
        lines += card_text.table(
            ["split", "images", "subjects", "groups"],
            [
                [part, len(rows), rows["subject"].nunique(), rows["group"].nunique()]
                for part, rows in parts.items()
            ],
        )
        found = splitting.audit_leakage(catalog, "split")
        what = ", ".join(
            f"{count} x {kind}" for kind, count in found["kind"].value_counts().items()
        )
        lines += ["", f"Leaks found between the splits: {what or 'none'}."]
    lines += ["", "## What to beware of", ""]
    lines += [f"- {sentence}" for sentence in origin.know]
    lines += [
        "- No age, sex, treatment or country is known of any subject: whether a model is fair to "
        "all of them cannot be asked of these data."
    ]
    lines += ["", "## Fingerprint", ""]
    lines += [
        f"`{catalogs.fingerprint(catalog, ('image_id', 'sha256', 'label'))}` of ids, files "
        "and labels: another copy with the same fingerprint is the same data."
    ]
    if traces:
        lines += ["", *_traces(None)]
    return "\n".join(lines) + "\n"


def write(folder: str | os.PathLike, **cards: str) -> list[Path]:
    """Write each card as ``<name>.md`` into `folder`, whole or not at all; return the paths."""
    return [write_text(Path(folder) / f"{name}.md", text) for name, text in cards.items()]


def record_of(course: Settings, name: str, catalog: pd.DataFrame | None = None) -> dict | None:
    """Return the newest run record of that name (``custom_cnn-subject``) made in this course.

    With a catalog only a training on just these images, labels and splits
    counts. None where there is none: a linear head leaves no record.
    """
    rows = None
    if catalog is not None:
        rows = catalogs.fingerprint(catalog, catalogs.TRAINED_ON)
    wanted = {key: value for key, value in course.as_dict().items() if key != "data_dir"}
    found = []
    for path in course.folder("runs").glob(f"{name}-*/record.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # a run that is being written, or one that was broken off
        given = {key: record.get("settings", {}).get(key) for key in wanted}
        same = rows is None or record.get("data", {}).get("rows") == rows
        if record.get("name") == name and given == wanted and same:
            found.append((path.stat().st_mtime, str(path), record))
    return max(found, key=lambda entry: entry[:2])[2] if found else None


_LEAK = "**LEAK: subjects stand in more than one split. The figures below flatter.**"


def _origin(dataset: str) -> Origin:
    if dataset not in ORIGINS:
        raise ReportError(f"There is no origin of {dataset!r}; known are {', '.join(ORIGINS)}.")
    return ORIGINS[dataset]


def _warnings(course: Settings, source: str) -> list[str]:
    lines = []
    if course.dataset == "phantom":
        lines.append("> **PHANTOMS: the cells are drawn. Nothing here is about patients.**")
    if source == "RANDOM":
        lines.append("> **RANDOM WEIGHTS: no ImageNet weights were found for the backbone.**")
    if course.profile.name != "full":
        lines.append(
            f"> **Profile `{course.profile.name}`: a small run, not the best one can do.**"
        )
    return ["\n> \n".join(lines)] if lines else []


def _weights(source: str) -> str:
    return {
        "ImageNet": "ImageNet",
        "RANDOM": "**RANDOM** (no ImageNet weights were found)",
        "none": "none, it is trained from nothing",
    }.get(source, source)


def _training(record: dict | None) -> list[str]:
    if not record:
        return ["- Trained without a run record (a linear head needs none)."]
    recipe, data = record.get("recipe", {}), record.get("data", {})
    lines = []
    if "train" in data:
        lines.append(
            f"- Trained on {data['train']} images, stopped by the loss on "
            f"{data.get('val', '?')} others."
        )
    if "epochs" in record:
        told = f"- {record['epochs']} epochs, the best was {record.get('best_epoch', '?')}"
        longest = recipe.get("epochs")
        lines.append(told + (f" (of {longest} at most)." if longest else "."))
    if "optimizer" in recipe:
        lines.append(
            f"- {recipe['optimizer'].capitalize()}, learning rate {recipe.get('learning_rate')}, "
            f"batches of {recipe.get('batch_size')}."
        )
    parameters = record.get("parameters") or record.get("model", {}).get("parameters")
    if parameters:
        lines.append(f"- {parameters:,} parameters.")
    return lines


def _apart(parts: dict[str, pd.DataFrame]) -> bool:
    people = [set(rows["subject"]) for rows in parts.values()]
    return sum(map(len, people)) == len(set().union(*people))


def _splits(parts: dict[str, pd.DataFrame]) -> list[str]:
    classes = catalogs.classes(pd.concat(parts.values()))
    rows = [
        [
            part,
            len(table),
            table["subject"].nunique(),
            *((table["label"] == label).sum() for label in classes),
        ]
        for part, table in parts.items()
    ]
    heads = ["split", "images", "subjects", *(f"`{label}`" for label in classes)]
    apart = "No subject stands in two splits." if _apart(parts) else _LEAK
    return [*card_text.table(heads, rows), "", apart]


def _figures(test: pd.DataFrame, course: Settings, positive: str) -> list[str]:
    figures = metrics.report(test, resamples=course.profile.resamples, seed=course.seed)
    target = catalogs.target(test)
    larger = max(target.mean(), 1 - target.mean())
    return [
        f"On the {len(test)} test images, a score of 0.5 and up counted as {positive}; "
        f"95 % intervals by drawing the {test['subject'].nunique()} test subjects.",
        "",
        *card_text.table(
            ["figure", "value", "from", "to"],
            [
                [row[1].replace("_", " "), *map(card_text.number, row[2:])]
                for row in figures[["metric", "value", "low", "high"]].itertuples()
            ],
        ),
        "",
        f"Naming the larger class always would give an accuracy of {larger:.3f}.",
    ]


def _threshold(
    val: pd.DataFrame, test: pd.DataFrame, course: Settings, sensitivity: float
) -> list[str]:
    if val.empty or len(set(catalogs.target(val))) < 2:
        return ["No threshold was chosen: the validation images are not of both classes."]
    found = thresholds.carried_over(
        val, test, sensitivity=sensitivity, resamples=course.profile.resamples, seed=course.seed
    )
    lines = [
        f"Threshold {found['threshold'].iloc[0]:.3f} gives a sensitivity of {sensitivity:.0%} or "
        "more on the validation images. On the test images it gives:",
        "",
    ]
    rows = found[found["on"] == "test"]
    return lines + card_text.table(
        ["figure", "value", "from", "to"],
        [
            [row.metric, *map(card_text.number, (row.value, row.low, row.high))]
            for row in rows.itertuples()
        ],
    )


def _subjects(test: pd.DataFrame, worst: int = 3) -> list[str]:
    each = metrics.per_subject(test).sort_values(["accuracy", "subject"], kind="stable")
    quarters = np.percentile(each["accuracy"], [0, 25, 50, 75, 100])
    told = ", ".join(f"{value:.2f}" for value in quarters)
    lines = [
        f"Accuracy of a subject: least, quartiles and most are {told}. The hardest of them "
        "(95 % Wilson intervals, for further images of the same subject):",
        "",
    ]
    return lines + card_text.table(
        ["subject", "class", "images", "accuracy", "from", "to"],
        [
            [
                row.subject,
                row.label,
                row.images,
                *map(card_text.number, (row.accuracy, row.low, row.high)),
            ]
            for row in each.head(worst).itertuples()
        ],
    )


def _duplicates(catalog: pd.DataFrame) -> list[str]:
    files = catalog[(catalog["sha256"] != "") & (catalog["original"] == "")]
    groups = files.groupby("sha256")
    several = groups.size()[groups.size() > 1]
    people = groups["subject"].nunique()[several.index]
    lines = [
        f"{len(several)} groups of files are identical byte for byte ({several.sum()} files); "
        f"{(people > 1).sum()} of them join different subjects."
    ]
    linked = splitting.link_subjects(catalog)
    names = linked.groupby("group")["subject"].nunique()
    joined = sorted(names[names > 1].index)
    if joined:
        lines += ["", f"Subjects that are therefore kept together: {', '.join(joined)}."]
    return lines


def _traces(record: dict | None) -> list[str]:
    made = (record or {}).get("environment") or {"commit": provenance.commit()}
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
    now = datetime.datetime.now(datetime.UTC)
    lines = ["## How it came about", "", f"- Written on {now:%Y-%m-%d}."]
    if made.get("device"):
        lines.append(f"- Trained on {made['device']}, backend {made.get('backend', '?')}.")
    if versions:
        lines.append(f"- Versions: {versions}.")
    lines.append(f"- Commit of the course: {made.get('commit') or 'not known'}.")
    if record and record.get("key"):
        lines.append(f"- Run: {record['name']}-{record['key']}.")
    return lines
