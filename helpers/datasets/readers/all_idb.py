"""ALL-IDB: fields (IDB1) and single cells (IDB2) of blood smears, on request from Milan.

Labati RD, Piuri V, Scotti F. *ALL-IDB: the acute lymphoblastic leukemia image
database for image processing*. ICIP 2011. https://doi.org/10.1109/ICIP.2011.6115881
"""

from __future__ import annotations

import re

from helpers.datasets.files import IMAGE_ENDINGS, NO_TABLE_OF_IT, File, LeftOut
from helpers.datasets.origins import Origin

EXPECTED = "names like Im001_1.jpg in im/ with xyc/ beside it (IDB1), or Im001_1.tif (IDB2)"
#: What the pages and cards say about it.
ORIGIN = Origin(
    "ALL-IDB",
    "University of Milan, on request, https://doi.org/10.1109/ICIP.2011.6115881",
    "on request; never to be passed on",
    "fields of blood smears (IDB1), or crops of them (IDB2)",
    "not told: blocks or images stand in for patients",
    ("IDB2 is cropped from IDB1: never split across the two.",),
    who="The images are real. Nobody published whose they are: a subject is a block of "
    "files or a field, not a person.",
    banner="ALL-IDB",
)
SIZES = None  # fields came from two cameras
#: Consecutive images that count as one subject, in IDB1 and in IDB2.
BLOCK = {"idb1": 6, "idb2": 10}
_IMAGE = re.compile(r"Im(\d+)_([01])", re.IGNORECASE)


def read(files: list[File]) -> tuple[list[dict], list[LeftOut]]:
    """Return a row for each image of IDB2, or of IDB1 where there is no IDB2.

    A field of IDB1 is `all` when its ``.xyc`` file marks at least one blast, a
    cell of IDB2 when its name ends in 1. The cells were cut out of the fields,
    so the two are never loaded together. Neither has patient ids: `subject` is
    a block of consecutive numbers of one class, a stand-in and not a patient.

    Returns
    -------
    rows : list of dict
        Catalog columns without `path` and `sha256`, the `file`, and the
        `centroids` of the blasts as ``"x,y x,y"`` in pixels (IDB1).
    left_out : list of (path, reason)
        Images of other names, fields whose name and marks disagree, IDB1
        beside IDB2.
    """
    left_out: list[LeftOut] = []
    marks = {(f.folders[:-1], f.stem.lower()): f for f in files if f.ending == ".xyc"}
    rows: dict[str, list[dict]] = {"idb1": [], "idb2": []}
    used: set[str] = set()
    for file in files:
        if file.ending not in IMAGE_ENDINGS:
            continue
        image = _IMAGE.fullmatch(file.stem)
        if not image:
            left_out.append((file.relative, "not named as an ALL-IDB image"))
            continue
        part = "idb1" if IMAGE_ENDINGS[file.ending] == "JPEG" else "idb2"
        label, centroids = ("all" if image[2] == "1" else "hem"), ""
        mark = marks.get((file.folders[:-1], file.stem.lower()))
        if part == "idb1" and mark:
            used.add(mark.relative)
            centroids = _centroids(mark)
            if bool(centroids) != (label == "all"):
                left_out.append((file.relative, "name and marked blasts disagree"))
                continue
        block = f"{part}_{label}_b{(int(image[1]) - 1) // BLOCK[part]:02d}"
        row = {"image_id": f"{part}_{file.stem}", "label": label, "positive": int(image[2])}
        row |= {"subject": block, "fold": "", "split": "", "centroids": centroids, "file": file}
        rows[part].append(row)
    if rows["idb1"] and rows["idb2"]:
        reason = "field of IDB1, from which IDB2 was cut"
        left_out += [(row["file"].relative, reason) for row in rows["idb1"]]
        rows["idb1"] = []
        used = set()
    for file in files:
        if file.ending not in IMAGE_ENDINGS and file.relative not in used:
            left_out.append((file.relative, NO_TABLE_OF_IT))
    return rows["idb2"] or rows["idb1"], left_out


def _centroids(file: File) -> str:
    with open(file.path, encoding="utf-8", errors="replace") as stream:
        pairs = re.findall(r"^\s*(\d+)[\s,]+(\d+)", stream.read(), re.MULTILINE)
    return " ".join(f"{x},{y}" for x, y in pairs)
