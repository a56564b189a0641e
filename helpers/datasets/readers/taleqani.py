"""Taleqani ALL: fields of blood smears in four classes, without patient ids.

Aria M et al. *Acute Lymphoblastic Leukemia (ALL) image dataset*. Kaggle.
https://doi.org/10.34740/KAGGLE/DSV/2175623
"""

from __future__ import annotations

import re

from helpers.datasets.files import IMAGE_ENDINGS, NO_TABLE_OF_IT, File, LeftOut
from helpers.datasets.origins import Origin

EXPECTED = "names like WBC-Benign-001.jpg and WBC-Malignant-Early-001.jpg below Original/"
#: What the pages and cards say about it.
ORIGIN = Origin(
    "Taleqani Hospital ALL",
    "Kaggle mehradaria/leukemia, https://doi.org/10.34740/KAGGLE/DSV/2175623",
    "see its Kaggle page",
    "a field of several cells of a blood smear, 224 x 224 pixels",
    "blocks of consecutive files, **not patients**: the release has no patient ids",
    ("A leak between patients cannot be ruled out by blocks.", "Exact duplicates occur."),
    who="The images are real. Nobody published whose they are: a subject is a block of "
    "consecutive files, not a person.",
    banner="Taleqani ALL (fields of many cells)",
)
#: Width and height of the fields.
SIZES = ((224, 224),)
CLASSES = ("benign", "early", "pre", "pro")
#: The positive classes: three subtypes of ALL.
POSITIVE = ("early", "pre", "pro")
#: 3,256 fields of 89 patients: about 36 a patient.
BLOCK = 36
_FIELD = re.compile(r"WBC-(?:Malignant-)?(Benign|Early|Pre|Pro)-(\d+)", re.IGNORECASE)


def read(files: list[File]) -> tuple[list[dict], list[LeftOut]]:
    """Return a row for each Taleqani field among `files`; only names are read.

    The release has no patient ids. Neighbours in its numbering look alike, so
    `subject` is a block of `BLOCK` consecutive numbers of one class
    (``benign_b03``): a stand-in that keeps neighbours together, not a patient.

    Returns
    -------
    rows : list of dict
        Catalog columns without `path` and `sha256`, and the `file`.
    left_out : list of (path, reason)
        Segmented copies, images of other names, names that contradict their folder.
    """
    rows: list[dict] = []
    left_out: list[LeftOut] = []
    for file in files:
        if file.ending not in IMAGE_ENDINGS:
            left_out.append((file.relative, NO_TABLE_OF_IT))
            continue
        field = _FIELD.fullmatch(file.stem)
        folder = file.folders[-1].lower() if file.folders else ""
        if "segmented" in (part.lower() for part in file.folders):
            left_out.append((file.relative, "segmented copy"))
        elif not field:
            left_out.append((file.relative, "not named as a Taleqani field"))
        elif folder in CLASSES and folder != field[1].lower():
            reason = f"name says {field[1].lower()}, folder says {folder}"
            left_out.append((file.relative, reason))
        else:
            label = field[1].lower()
            block = f"{label}_b{max(0, int(field[2]) - 1) // BLOCK:02d}"
            row = {"image_id": file.stem, "label": label, "positive": int(label in POSITIVE)}
            row |= {"subject": block, "fold": "", "split": "", "file": file}
            rows.append(row)
    return rows, left_out
