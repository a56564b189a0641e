"""From SN-AM's fields to crops: a square around each cell, and squares without any cell.

The crops of one field share its light and its stain, so the group of a crop is its field.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import code
from helpers.base.errors import CellError
from helpers.base.files import kept
from helpers.base.runtime import cores
from helpers.base.settings import DEFAULT_SEED, artifacts_folder
from helpers.cells import segmentation
from helpers.images.loading import read_image

#: Side of a box in multiples of the longer side of its nucleus. A plasma cell needs more:
#: its nucleus is not in the middle of the cell.
MARGIN = 1.8
#: Side of a background square as a share of the field's height, for cells of any size.
BACKGROUND_SIDE = 1 / 8
_PER_FIELD = 6  # background squares of one field, at most
_WORKING_SIDE = 1000  # larger masks are reduced to this before nuclei are found
#: A nucleus has at least this share of the field's area: anything smaller is a speck.
_SPECK = 1 / 20_000
#: Touching nuclei are separated where they are narrower than this share of their greatest width.
_WAIST = 0.75


def crops(catalog: pd.DataFrame, size: int = 64) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the cells of SN-AM's fields, cropped and scaled to squares.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Of ``datasets.load("snam", ...)``, split or not. Only rows with the role
        ``field`` are cropped.
    size : int
        Side of the crops in pixels.

    Returns
    -------
    table : pandas.DataFrame
        A catalog with one row per cell: `image_id` (``MM_3_c01``, numbered from top
        to bottom), `path` and `subject` of the field, its `group` and `split`, and
        `sha256` of field and box; with `x`, `y`, `width`, `height` (the box in
        the field, pixels), `source` (``mask``, or ``segmentation`` where the
        field has no nucleus mask) and `role`.
    images : ndarray of uint8, shape (n, size, size, 3)
        RGB, read-only; row i belongs to row i of the table. They are cached under a
        name that depends on the content of fields and masks.

    Raises
    ------
    CellError
        When the catalog is of another data set or lists no field, a mask has another
        size than its image, or no field holds a cell. A single field without a cell
        is reported in a printed line.

    Notes
    -----
    A nucleus that the border of the field cuts is left out; a box that would extend
    over the border is moved inside. Touching nuclei are separated by a watershed. The
    two nuclei of a binucleate cell give two crops of that cell.
    """

    def find(image: np.ndarray, row: tuple) -> list[tuple[int, int, int]]:
        return _boxes(_nuclei(image, row), image.shape[:2])

    fields = _fields(catalog, size)
    table, images = _cropped(fields, size, "c", "cells", find)
    if not len(table):
        raise CellError(
            f"None of the {len(fields)} fields holds a cell, first {fields['image_id'].iloc[0]}: "
            "look at the images and their nucleus masks."
        )
    empty = sorted(set(fields["image_id"]) - set(table["field"]))
    if empty:
        verbs = (
            "field holds no cell and gives" if len(empty) == 1 else "fields hold no cell and give"
        )
        print(f"{len(empty)} {verbs} no crop: {', '.join(empty)}.")
    return table.drop(columns="field"), images


def backgrounds(
    catalog: pd.DataFrame, size: int = 64, *, seed: int = DEFAULT_SEED
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return squares of SN-AM's fields that show no white cell, only glass and red cells.

    A field gives six squares, or fewer where it is crowded.
    A model that tells the classes apart on these squares has learned the laboratory
    and not the disease.

    Parameters
    ----------
    catalog, size
        As in :func:`crops`.
    seed : int
        With the content of the field, it decides where the squares lie.

    Returns
    -------
    table, images
        As :func:`crops`; ids are ``MM_3_b01``. All squares have the same share of the
        field's height, so they tell nothing about the size of its cells.

    Raises
    ------
    CellError
        As :func:`crops`; also when no field has room for a square.
    """

    def find(image: np.ndarray, row: tuple) -> list[tuple[int, int, int]]:
        text = f"{seed}:{row.sha256 or row.image_id}"
        rng = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest(), 16))
        return _free_boxes(_nuclei(image, row), image.shape[:2], rng)

    fields = _fields(catalog, size)
    table, images = _cropped(fields, size, "b", f"background-{seed}", find)
    if not len(table):
        raise CellError(f"None of the {len(fields)} fields has room for a square without a cell.")
    return table.drop(columns="field"), images


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Return the mask in an image file as bool (h, w).

    All bright pixels on a dark background count, white or coloured. Nuclei never
    fill half a field, so a mask that is mostly bright is taken as dark nuclei on white.
    """
    bright = read_image(path).max(axis=2)
    if bright.min() == bright.max():
        return np.zeros(bright.shape, bool)
    level, _ = cv2.threshold(bright, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask = bright > level
    return ~mask if mask.mean() > 0.5 else mask


def _fields(catalog: pd.DataFrame, size: int) -> pd.DataFrame:
    catalogs.check(catalog)
    lacking = {"nucleus_mask", "role"} - set(catalog.columns)
    if lacking:
        raise CellError(
            f"The catalog lacks {sorted(lacking)}: cells are cropped from the fields of "
            "datasets.load('snam', ...)."
        )
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise CellError(f"The size is {size!r}, but must be a whole number of pixels from 1 up.")
    fields = catalog[catalog["role"] == "field"].sort_values("image_id", ignore_index=True)
    if fields.empty:
        raise CellError(
            f"The catalog has no row of the role 'field'; found {sorted(set(catalog['role']))}."
        )
    return fields


def _nuclei(image: np.ndarray, row: tuple) -> np.ndarray:
    """Return the labelled nuclei of a field, int32 (h, w) or smaller."""
    if not row.nucleus_mask:
        return _reduced(segmentation.segment_field(image).nuclei)
    mask = read_mask(row.nucleus_mask)
    if mask.shape != image.shape[:2]:
        height, width = image.shape[:2]
        raise CellError(
            f"{row.nucleus_mask} has {mask.shape[1]}x{mask.shape[0]} pixels, but its image "
            f"{Path(row.path).name} has {width}x{height}: remove the mask, and the course "
            "segments the field itself."
        )
    return _parted(_reduced(mask.astype(np.uint8)))


def _reduced(labels: np.ndarray) -> np.ndarray:
    scale = _WORKING_SIDE / max(labels.shape)
    if scale >= 1:
        return labels
    size = round(labels.shape[1] * scale), round(labels.shape[0] * scale)
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)


def _parted(mask: np.ndarray) -> np.ndarray:
    """Label the nuclei of a mask, int32; touching nuclei are separated by watershed.

    The markers are the cores: the pixels of a piece that are far from its outline.
    Watershed: Vincent and Soille 1991, doi:10.1109/34.87344.
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    count, labels = cv2.connectedComponents(mask, connectivity=8)
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest = ndimage.maximum(depth, labels, np.arange(count))
    cores = (mask > 0) & (depth > _WAIST * deepest[labels])
    core_count, markers = cv2.connectedComponents(cores.astype(np.uint8), connectivity=8)
    if core_count == count:  # each piece has one core: no nuclei touch
        return labels
    return watershed(-depth, markers, np.ones((3, 3)), mask=mask > 0)


def _outlines(labels: np.ndarray) -> np.ndarray:
    """Return left, top, right, bottom (exclusive) of each nucleus, from top to bottom.

    Specks are left out: pieces with less than a quarter of the median nucleus' area,
    or with less than `_SPECK` of the field.
    """
    from skimage.measure import regionprops_table

    table = pd.DataFrame(regionprops_table(labels, properties=("bbox", "area")))
    table = table[table["area"] >= _SPECK * labels.size]
    table = table[table["area"] >= table["area"].median() / 4]
    boxes = table[["bbox-1", "bbox-0", "bbox-3", "bbox-2"]].to_numpy()
    return boxes[np.lexsort((boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]))]


def _usual_side(outlines: np.ndarray) -> float:
    """Return the median of the longer sides of the nuclei; 0 where there are none."""
    return np.median((outlines[:, 2:] - outlines[:, :2]).max(axis=1)) if len(outlines) else 0.0


def _boxes(labels: np.ndarray, shape: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Return x, y and side of the square around each whole nucleus, in a field of `shape`."""
    height, width = shape
    scale = width / labels.shape[1]
    outlines = _outlines(labels)
    usual = _usual_side(outlines)
    boxes = []
    for left, top, right, bottom in outlines:
        if left == 0 or top == 0 or right == labels.shape[1] or bottom == labels.shape[0]:
            continue
        # The small nuclei of a binucleate cell need room for the whole cell, too.
        longer = max(right - left, bottom - top, usual)
        side = min(round(MARGIN * scale * longer), width, height)
        x = round(scale * (left + right) / 2 - side / 2)
        y = round(scale * (top + bottom) / 2 - side / 2)
        boxes.append((min(max(x, 0), width - side), min(max(y, 0), height - side), side))
    return boxes


def _free_boxes(
    labels: np.ndarray, shape: tuple[int, int], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Return at most `_PER_FIELD` squares without a white cell; they overlap only if they must."""
    height, width = shape
    scale = width / labels.shape[1]
    taken = np.zeros(labels.shape, np.uint8)
    if labels.any():
        # The cytoplasm around a nucleus is at most about as wide as the nucleus.
        distance = cv2.distanceTransform((labels == 0).astype(np.uint8), cv2.DIST_L2, 5)
        taken[distance <= max(_usual_side(_outlines(labels)), 1)] = 1
    side = max(round(BACKGROUND_SIDE * height / scale), 1)
    full_side = min(round(side * scale), width, height)
    sums = cv2.integral(taken)
    cells = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    boxes: list[tuple[int, int, int]] = []
    for reach in (side, 1):  # first squares apart from each other, then any others
        free = cells == 0
        while len(boxes) < _PER_FIELD and free.any():
            rows, columns = np.nonzero(free)
            pick = int(rng.integers(len(rows)))
            x, y = int(columns[pick]), int(rows[pick])
            box = (
                min(round(x * scale), width - full_side),
                min(round(y * scale), height - full_side),
            )
            boxes.append((*box, full_side))
            free[max(y - reach + 1, 0) : y + reach, max(x - reach + 1, 0) : x + reach] = False
    return boxes


def _cropped(
    fields: pd.DataFrame, size: int, letter: str, what: str, find: Callable
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the boxes that `find` gives for each field as a catalog, and their pixels.

    The catalog also has the column `field`, the field's `image_id`.
    """

    def cut(row: tuple) -> tuple[list[tuple], np.ndarray]:
        image = read_image(row.path)
        boxes = find(image, row)
        pixels = np.empty((len(boxes), size, size, 3), np.uint8)
        for out, (x, y, side) in zip(pixels, boxes, strict=True):
            way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
            cv2.resize(image[y : y + side, x : x + side], (size, size), out, interpolation=way)
        names = (f"{row.image_id}_{letter}{number:02d}" for number in range(1, len(boxes) + 1))
        return [(name, row.Index, *box) for name, box in zip(names, boxes, strict=True)], pixels

    def make(path: Path) -> None:
        with ThreadPoolExecutor(cores()) as pool:
            parts = list(pool.map(cut, fields.itertuples()))
        rows = [row for boxes, _ in parts for row in boxes]
        table = pd.DataFrame(rows, columns=["image_id", "field", "x", "y", "side"])
        order = table["image_id"].argsort(kind="stable").to_numpy()  # as catalogs are sorted
        arrays = {name: column.to_numpy(str) for name, column in table.iloc[order].items()}
        np.savez(path, images=np.concatenate([pixels for _, pixels in parts])[order], **arrays)

    name = f"{_key(fields)}-{size}-{what}-{code.version(__name__)}.npz"
    stored = kept(artifacts_folder() / "crops" / name, _read, make)
    images = stored.pop("images")
    images.setflags(write=False)
    boxes = pd.DataFrame(stored).astype({name: int for name in ("field", "x", "y", "side")})
    return _as_catalog(boxes, fields), images


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)


def _as_catalog(boxes: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    rows = fields.iloc[boxes["field"]].reset_index(drop=True)
    table = rows[["path", "label", "positive", "subject", "fold", "group", "split", "role"]].assign(
        image_id=boxes["image_id"],
        field=rows["image_id"],
        x=boxes["x"],
        y=boxes["y"],
        width=boxes["side"],
        height=boxes["side"],
        source=np.where(rows["nucleus_mask"] == "", "segmentation", "mask"),
        # Crops of one field differ in this hash; the same box in two identical files does not.
        sha256=[
            hashlib.sha256(f"{file}:{x},{y},{side},{side}".encode()).hexdigest()
            for file, x, y, side in zip(
                rows["sha256"], boxes["x"], boxes["y"], boxes["side"], strict=True
            )
        ],
    )
    return catalogs.make(table) if len(table) else table


def _key(fields: pd.DataFrame) -> str:
    """Return a hash of the fields' names and content and of their nucleus masks."""
    digest = hashlib.sha256()
    for row in fields.itertuples():
        parts = row.image_id, row.sha256 or _content(row.path), _content(row.nucleus_mask)
        digest.update("\x1f".join(parts).encode() + b"\x1e")
    return digest.hexdigest()[:16]


def _content(path: str) -> str:
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CellError(
            f"{path} cannot be read ({error.strerror}): load the data set again."
        ) from error
