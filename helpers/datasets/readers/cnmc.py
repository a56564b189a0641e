"""C-NMC 2019: single cells on black, lymphoblasts (`all`) against normal precursors (`hem`).

Gupta A, Gupta R. *ALL Challenge dataset of ISBI 2019 (C-NMC 2019)*. The Cancer
Imaging Archive. https://doi.org/10.7937/tcia.2019.dc64i46r, CC BY 3.0.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pandas as pd

from helpers.base.errors import DatasetError
from helpers.catalog.table import UNLABELLED
from helpers.datasets.files import IMAGE_ENDINGS, NO_TABLE_OF_IT, File, LeftOut
from helpers.datasets.origins import Origin

EXPECTED = "names like UID_11_1_2_all.bmp, in folders such as fold_0/all or all/ and hem/"
#: What the pages and cards say about it.
ORIGIN = Origin(
    "C-NMC 2019",
    "The Cancer Imaging Archive, https://doi.org/10.7937/tcia.2019.dc64i46r",
    "CC BY 3.0",
    "one segmented B-lymphoid cell of bone marrow on black, 450 x 450 pixels",
    "patients and healthy people",
    (
        "Files that are identical byte for byte carry different subject ids; the course "
        "joins such subjects before it splits.",
        "One hospital, one stain, one microscope: nothing shows how a model fares elsewhere.",
    ),
    who="Each image shows one real cell of bone marrow; a subject is a person.",
    banner="C-NMC 2019 (frames of single cells)",
)
#: The positive class: lymphoblasts.
POSITIVE = "all"
#: Width and height of the frames: training and preliminary test, final test.
SIZES = ((450, 450), (600, 600))
#: Training subjects that share files and therefore count as one person (see the index).
LINKED = ("20+21", "51+75+78", "H2+H4+H5+H6", "H3+H10")
_FRAME = re.compile(r"UID_(H?\d+)_(\d+)_(\d+)_(all|hem)", re.IGNORECASE)
_FOLD = re.compile(r"fold_?([0-2])", re.IGNORECASE)
_TEST = re.compile(r"test_(prelim|final)", re.IGNORECASE)


def read(files: list[File]) -> tuple[list[dict], list[LeftOut]]:
    """Return a row for each C-NMC image among `files`; only names are read.

    Training frames carry class and subject in their names
    (``UID_<subject>_<image>_<cell>_<class>.bmp``; the release writes ``h3``
    once for ``H3``); a folder name has the fold. The images of the two test
    sets are numbered: those of the preliminary set get class and subject from
    its table (``Patient_ID,new_names,labels``), those of the final set have no
    published labels.

    Returns
    -------
    rows : list of dict
        Catalog columns without `path` and `sha256`, and the `file`.
    left_out : list of (path, reason)
        Images whose name is of another kind or contradicts their folder, and
        label tables after the first.

    Raises
    ------
    DatasetError
        When two label tables contradict each other.
    """
    rows: list[dict] = []
    left_out: list[LeftOut] = []
    labels: dict[str, dict] = {}
    first = ""
    for file in files:
        if file.ending in IMAGE_ENDINGS:
            continue
        table = _labels(file)
        if table is None:
            left_out.append((file.relative, NO_TABLE_OF_IT))
            continue
        for name, row in table.to_dict("index").items():
            if labels.setdefault(name, row) != row:
                raise DatasetError(
                    f"{first} and {file.relative} differ in the label or the subject of {name}: "
                    "remove the table that is wrong."
                )
        if first:
            left_out.append((file.relative, f"a second label table; the first is {first}"))
        first = first or file.relative
    for file in files:
        if file.ending not in IMAGE_ENDINGS:
            continue
        frame = _FRAME.fullmatch(file.stem)
        test = _TEST.findall("/".join(file.folders))
        if frame:
            label = frame[4].lower()
            folder = file.folders[-1].lower() if file.folders else ""
            if folder in {"all", "hem"} and folder != label:
                reason = f"name says {label}, folder says {folder}"
                left_out.append((file.relative, reason))
                continue
            folds = [match[1] for part in file.folders if (match := _FOLD.fullmatch(part))]
            row = {"image_id": file.stem, "label": label, "positive": int(label == POSITIVE)}
            row |= {"subject": frame[1].upper(), "fold": folds[-1] if folds else ""}
            rows.append({**row, "split": "", "file": file})
        elif file.stem.isdigit() and test:
            rows.append(_test_row(file, test[-1].lower(), labels))
        else:
            left_out.append((file.relative, "not named as a C-NMC image"))
    return rows, left_out


def notes(rows: list[dict]) -> list[str]:
    """Return notes to print about the rows that :func:`read` returned."""
    blank = [
        row for row in rows if row["label"] == UNLABELLED and row["image_id"].startswith("prelim_")
    ]
    if not blank:
        return []
    return [
        f"{len(blank):,} images of the preliminary test set are unlabelled: no line for them in "
        "a table C-NMC_test_prelim_phase_data_labels.csv with Patient_ID,new_names,labels."
    ]


def group_of(subject: str) -> str:
    """Return the group of linked subjects of the release that `subject` is in, or itself."""
    return next((group for group in LINKED if subject in group.split("+")), subject)


def _test_row(file: File, part: str, labels: dict[str, dict]) -> dict:
    image_id = f"{part}_{file.stem}"
    entry = labels.get(file.name.lower()) if part == "prelim" else None
    row = entry or {"label": UNLABELLED, "positive": None, "subject": image_id}
    split = "test" if entry else ""
    return {"image_id": image_id, **row, "fold": "", "split": split, "file": file}


def _labels(file: File) -> pd.DataFrame | None:
    """Return class and subject by file name if `file` is the preliminary set's table."""
    if file.ending != ".csv" or not file.size:
        return None
    wanted = ["Patient_ID", "new_names", "labels"]
    try:
        if not set(wanted) <= set(pd.read_csv(file.path, nrows=0, encoding="utf-8-sig")):
            return None
        table = pd.read_csv(file.path, usecols=wanted, dtype=str, encoding="utf-8-sig").dropna()
    except (ValueError, OSError):
        return None
    # Patient_ID holds the name that the frame had before it was numbered.
    names = table["Patient_ID"].str.strip()
    subject = names.str.extract(r"^(?:UID_)?(H?\d+)(?:_|\.|$)", flags=re.IGNORECASE)[0]
    label = table["labels"].str.strip().map({"1": "all", "0": "hem"})
    keys = table["new_names"].map(lambda name: PurePosixPath(name.strip()).name.lower())
    result = pd.DataFrame({"label": label.to_numpy(), "subject": subject.str.upper().to_numpy()})
    result["positive"] = (result["label"] == POSITIVE).astype(int)
    result = result.set_index(keys.to_numpy()).dropna()
    return result[~result.index.duplicated()]
