"""SN-AM: fields of bone marrow with lymphoblasts (ALL) or plasma cells (MM), and their masks.

Gupta A, Gupta R. *SN-AM dataset: white blood cancer dataset of B-ALL and MM for
stain normalization*. The Cancer Imaging Archive, 2019.
https://doi.org/10.7937/tcia.2019.of2w8lxr
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from helpers.datasets.drawn import fields
from helpers.datasets.files import IMAGE_ENDINGS, NO_TABLE_OF_IT, File, LeftOut, Memory
from helpers.datasets.origins import Origin
from helpers.datasets.sampling import of_one_class

EXPECTED = "names like ALL_1.bmp and MM_1.bmp, with ALL_1_nucleus_mask.bmp and so on beside them"
#: What the pages and cards say about it.
ORIGIN = Origin(
    "SN-AM",
    "The Cancer Imaging Archive, https://doi.org/10.7937/tcia.2019.of2w8lxr",
    "CC BY 3.0",
    "fields of bone marrow, cells cropped with the masks of their nuclei",
    "fields: which fields are of one patient is not told",
    ("Both classes may differ by laboratory and not only by disease.",),
    who="Nobody published whose images these are: a subject is a field, not a person.",
    banner="SN-AM (fields of many cells, ALL and MM)",
)
#: The positive class: multiple myeloma.
POSITIVE = "mm"
#: None: fields have 2560x1920 pixels, but scaled copies are read as well.
SIZES = None
#: Mask files are used by this data set, not left out.
MASKS = True
#: Columns of the catalog that name the masks of a field, and their names in file names.
KINDS = {
    "nucleus_mask": ("nucleus", "nuclei", "nuc"),
    "background_mask": ("background", "bg"),
    "cytoplasm_mask": ("cytoplasm", "cyto"),
}
_FIELD = re.compile(r"(ALL|MM)[_\- ](\w.*)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_MASK = re.compile(
    rf"(.+?)[_\- ]+({'|'.join(name for names in KINDS.values() for name in names)})[_\- ]*masks?",
    re.IGNORECASE,
)


def read(files: list[File]) -> tuple[list[dict], list[LeftOut]]:
    """Return a row for each field among `files`; only names are read. Masks get no row.

    `subject` is the field: SN-AM has no patient ids. `role` is ``field``, or
    ``reference`` for an image that the authors used as the stain reference (``ALL_ref``,
    ``MM_5_also_ref_image``), or ``extra`` for ``ALL_ALL_extra_images``.

    Returns
    -------
    rows : list of dict
        Catalog columns without `path` and `sha256`, `role`, the `file` and its
        `masks` (column of the catalog -> File).
    left_out : list of (path, reason)
        Images of other names, masks of no known kind, masks without their image.
    """
    rows: list[dict] = []
    left_out: list[LeftOut] = []
    masks: dict[tuple[str, str], list[File]] = defaultdict(list)
    for file in files:
        if file.ending not in IMAGE_ENDINGS:
            left_out.append((file.relative, NO_TABLE_OF_IT))
            continue
        if "mask" in file.stem.lower():
            mask = _MASK.fullmatch(file.stem)
            if mask:
                kind = next(kind for kind in KINDS if mask[2].lower() in KINDS[kind])
                masks[_plain(mask[1]), kind].append(file)
            else:
                left_out.append((file.relative, "mask of no known kind"))
            continue
        field = _FIELD.fullmatch(file.stem)
        role = _role(field[2], file) if field else ""
        if not role:
            left_out.append((file.relative, "not named as an SN-AM field"))
            continue
        name = f"{field[1].upper()}_{field[2]}"
        label = field[1].lower()
        row = {"image_id": name, "label": label, "positive": int(label == POSITIVE)}
        row |= {"subject": name, "fold": "", "split": "", "role": role}
        rows.append({**row, "masks": {}, "file": file})
    used: set[str] = set()
    for row in rows:
        # The masks of MM_5_also_ref_image may be called MM_5.
        short = re.match(r"(ALL|MM)_\d+|.*", row["image_id"])[0]
        for kind in KINDS:
            plain = _plain(row["file"].stem), _plain(short)
            candidates = next((masks[p, kind] for p in plain if masks.get((p, kind))), [])
            if candidates:
                # If there are several copies, the one beside the image.
                nearest = min(candidates, key=lambda mask: (mask.folders != row["file"].folders,))
                row["masks"][kind] = nearest
                used.update(mask.relative for mask in candidates)
    for files in masks.values():
        left_out += [
            (m.relative, "mask without its image") for m in files if m.relative not in used
        ]
    return rows, left_out


def settle(rows: list[dict], memory: Memory) -> tuple[list[dict], list[LeftOut]]:
    """Return the rows with the paths of the masks that can be used, ``""`` where there is none.

    A mask that cannot be read, or whose size is not its image's, is left out and
    named in the report; such a field is segmented by the course. A field that is
    in both classes is left out completely: it is unknown which one is right.
    """
    rows, left_out = of_one_class(rows, memory)
    for row in rows:
        masks = row.pop("masks")
        image = memory.contents([row["file"]])[0]
        for kind in KINDS:
            row[kind] = ""
            if kind not in masks:
                continue
            mask = memory.contents([masks[kind]])[0]
            problem = mask.problem
            sizes = [(one.width, one.height) for one in (mask, image)]
            if not problem and sizes[0] != sizes[1] and (0, 0) not in sizes:
                problem = "mask of {}x{} pixels, its image has {}x{}".format(*sizes[0], *sizes[1])
            if problem:
                left_out.append((masks[kind].relative, problem))
            else:
                row[kind] = masks[kind].path
    return rows, left_out


def link(rows: list[dict]) -> None:
    """Put fields whose files are identical, byte for byte, into one group."""
    same: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        same[row["sha256"]].append(row["subject"])
    for row in rows:
        row["group"] = "+".join(sorted(same[row["sha256"]]))


def notes(rows: list[dict]) -> list[str]:
    """Return notes to print about the rows that :func:`read` returned."""
    lines = []
    if any((Path(row["file"].path).parent / fields.MARKER).is_file() for row in rows[:1]):
        lines.append(
            "These fields are phantoms, drawn by the course: figures on them are about the method."
        )
    flagged = [row["image_id"] for row in rows if row["role"] != "field"]
    if flagged:
        lines.append(
            f"{len(flagged)} of {len(rows)} fields are reference or extra images "
            f"({', '.join(sorted(flagged))}): listed, but no crops are taken from them."
        )
    bare = sorted(row["image_id"] for row in rows if not row["nucleus_mask"])
    if bare:
        names = ", ".join(bare[:3]) + (", ..." if len(bare) > 3 else "")
        verb = "has" if len(bare) == 1 else "have"
        lines.append(
            f"{len(bare)} of {len(rows)} fields {verb} no nucleus mask ({names}): "
            "the course segments them itself."
        )
    return lines


def _role(rest: str, file: File) -> str:
    """Return the role of the field called `rest`, ``""`` if it is not a field."""
    words = [*(folder.lower() for folder in file.folders[-1:]), rest.lower()]
    if any("extra" in word for word in words):
        return "extra"
    if re.search(r"(^|[_\- ])ref", rest.lower()):
        return "reference"
    return "field" if _NUMBER.fullmatch(rest) else ""


def _plain(name: str) -> str:
    return re.sub(r"[_\- ]+", "_", name).lower()
