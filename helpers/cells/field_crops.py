"""From SN-AM's fields to crops: the square around each cell, and squares without any.

The crop of a cell and the field that it comes from carry the same light and
stain, so a crop's group is its field.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import code
from helpers.base.errors import CellError
from helpers.base.files import kept, read_array, write_csv
from helpers.base.runtime import cores
from helpers.base.settings import DEFAULT_SEED, artifacts_folder
from helpers.cells import segmentation
from helpers.cells.segmentation.nucleus import part_touching
from helpers.images.loading import read_image

#: Side of a box against the longer side of the nucleus in it: room for the cytoplasm of
#: a plasma cell, whose nucleus lies off the middle.
MARGIN = 1.8
#: A background square has this part of the field's height, whatever the cells' size.
GROUND = 1 / 8
_CONVEX = 0.95  # a single nucleus fills at least this part of its convex hull
_WORKING_SIDE = 1000  # larger masks are looked at in this size
_COLUMNS = ("image_id", "field", "x", "y", "width", "height", "source")


def crops(
    catalog: pd.DataFrame,
    size: int = 64,
    *,
    roles: Iterable[str] = ("field",),
    border: str = "drop",
    margin: float = MARGIN,
    workers: int | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the cells of SN-AM's fields, cropped and scaled to squares.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Of ``datasets.load("snam", ...)``, split or not.
    size : int
        Side of the crops in pixels.
    roles : iterable of str
        From which fields: ``field``, ``reference``, ``extra``.
    border : str
        ``drop`` leaves out a cell whose nucleus the field's border cuts, ``keep``
        takes it. A box that would run over the border is moved inside.
    margin : float
        Side of the box against the longer side of the nucleus.
    workers : int, optional
        Threads; one for each core by default.

    Returns
    -------
    table : pandas.DataFrame
        A catalog with one row a cell: `image_id` (``MM_3_c01``, in the order of
        reading), `path` and `subject` of the field, its `group` and `split`, and
        `sha256` of field and box; with `x`, `y`, `width`, `height` (the box in
        the field, pixels), `source` (``mask``, or ``segmentation`` where the
        field has no nucleus mask) and `role`.
    images : ndarray of uint8, shape (n, size, size, 3)
        RGB, read-only; row i belongs to row i of the table. Kept on disk under a
        name made from the fields' and masks' content.

    Raises
    ------
    CellError
        When the catalog is of another data set, has no field of these roles, a
        mask has another size than its image, or no field holds a cell. A single
        field without a cell is told in a printed line.

    Notes
    -----
    Touching nuclei are parted by a watershed on the distance to the ground. The
    two nuclei of a binucleate cell are two nuclei, hence two crops of one cell.
    """
    if border not in ("drop", "keep"):
        raise CellError(f"border is {border!r}, but must be 'drop' or 'keep'.")
    if not margin >= 1:
        raise CellError(f"margin is {margin!r}, but must be 1 or more: the nucleus has to fit.")

    def find(image: np.ndarray, row) -> list[tuple]:
        labels, source = _nuclei(image, row)
        boxes = _boxes(labels, image.shape[:2], border == "keep", margin)
        return [(*box, source) for box in boxes]

    chosen = _chosen(catalog, size, roles)
    what = f"cells-{border}-{margin:g}"
    table, images, empty = _made(chosen, size, "c", what, find, workers)
    if not len(table):
        raise CellError(
            f"None of the {len(chosen)} fields holds a cell, first {chosen['image_id'].iloc[0]}: "
            "look at the images and their nucleus masks."
        )
    if empty:
        told = (
            "field holds no cell and gives" if len(empty) == 1 else "fields hold no cell and give"
        )
        print(f"{len(empty)} {told} no crop: {', '.join(empty)}.")
    return _as_catalog(table, chosen), images


def backgrounds(
    catalog: pd.DataFrame,
    size: int = 64,
    *,
    per_field: int = 6,
    roles: Iterable[str] = ("field",),
    seed: int = DEFAULT_SEED,
    workers: int | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return squares of SN-AM's fields in which no white cell lies, only glass and red cells.

    Whoever can tell the classes apart from these has learned the laboratory and
    not the disease.

    Parameters
    ----------
    catalog, size, roles, workers
        As in :func:`crops`.
    per_field : int
        At most so many of each field; a crowded one may have room for fewer.
    seed : int
        From which their places follow, with the field's content.

    Returns
    -------
    table, images
        As :func:`crops`; ids are ``MM_3_b01``. All boxes have the same part of a
        field's height, so that they tell nothing about the size of its cells.

    Raises
    ------
    CellError
        As :func:`crops`; also when no field has room for a square.
    """
    if not _whole_number(per_field):
        raise CellError(f"per_field is {per_field!r}, but must be a whole number from 1 up.")

    def find(image: np.ndarray, row) -> list[tuple]:
        labels, source = _nuclei(image, row)
        lot = int(hashlib.sha256(f"{seed}:{row.sha256 or row.image_id}".encode()).hexdigest(), 16)
        boxes = _free_boxes(labels, image.shape[:2], per_field, np.random.default_rng(lot))
        return [(*box, source) for box in boxes]

    chosen = _chosen(catalog, size, roles)
    table, images, _ = _made(chosen, size, "b", f"ground-{per_field}-{seed}", find, workers)
    if not len(table):
        raise CellError(f"None of the {len(chosen)} fields has room for a square without a cell.")
    return _as_catalog(table, chosen), images


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Return the mask in an image file as bool (h, w).

    Anything bright on dark counts, be it white or coloured. As nuclei never fill
    half a field, a mask that does is taken for one of dark nuclei on white.
    """
    bright = read_image(path).max(axis=2)
    if bright.min() == bright.max():
        return np.zeros(bright.shape, bool)
    level, _ = cv2.threshold(bright, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask = bright > level
    return ~mask if mask.mean() > 0.5 else mask


def _chosen(catalog: pd.DataFrame, size: int, roles: Iterable[str]) -> pd.DataFrame:
    catalogs.check(catalog)
    lacking = {"nucleus_mask", "role"} - set(catalog.columns)
    if lacking:
        raise CellError(
            f"The catalog lacks {sorted(lacking)}: cells are cropped from the fields of "
            "datasets.load('snam', ...)."
        )
    if not _whole_number(size):
        raise CellError(f"The size is {size!r}, but must be a whole number of pixels from 1 up.")
    roles = {roles} if isinstance(roles, str) else set(roles)
    chosen = catalog[catalog["role"].isin(roles)].sort_values("image_id", ignore_index=True)
    if chosen.empty:
        raise CellError(
            f"The catalog has no row of the roles {sorted(roles)}; found "
            f"{sorted(set(catalog['role']))}."
        )
    return chosen


def _whole_number(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1


def _nuclei(image: np.ndarray, row) -> tuple[np.ndarray, str]:
    """Return the labelled nuclei, int32 (h, w) or smaller, and where they come from."""
    if not row.nucleus_mask:
        return _reduced(segmentation.segment_field(image).nuclei), "segmentation"
    mask = read_mask(row.nucleus_mask)
    if mask.shape != image.shape[:2]:
        height, width = image.shape[:2]
        raise CellError(
            f"{row.nucleus_mask} has {mask.shape[1]}x{mask.shape[0]} pixels, but its image "
            f"{Path(row.path).name} has {width}x{height}: take the mask away, and the course "
            "segments the field itself."
        )
    return _parted(_reduced(mask.astype(np.uint8))), "mask"


def _parted(mask: np.ndarray) -> np.ndarray:
    """Label the nuclei of a mask, int32; where two or more touch, a watershed parts them.

    Most nuclei stand alone and are convex: only the others are worth its time.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    for number in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[number])
        part = labels[y : y + height, x : x + width]
        inside = (part == number).astype(np.uint8)
        edges, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.convexHull(edges[0])
        # OpenCV's outline runs through the middles of the pixels: half a pixel is missing around.
        hull = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
        if area >= _CONVEX * hull or area * 20_000 < mask.size:
            continue
        pieces = part_touching(np.pad(inside, 1))[1:-1, 1:-1]
        part[pieces > 1] = count + pieces[pieces > 1] - 2
        count = max(count, count + int(pieces.max()) - 1)
    return labels


def _reduced(labels: np.ndarray) -> np.ndarray:
    scale = _WORKING_SIDE / max(labels.shape)
    if scale >= 1:
        return labels
    size = round(labels.shape[1] * scale), round(labels.shape[0] * scale)
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)


def _outlines(labels: np.ndarray) -> np.ndarray:
    """Return left, top, right, bottom (exclusive) of each nucleus, in the order of reading.

    Specks are left out: what has less than a quarter of the median nucleus' area,
    or than a 20,000th of the field.
    """
    from scipy import ndimage

    areas = np.bincount(labels.ravel())[1:]
    places = ndimage.find_objects(labels)
    found = [
        (place[1].start, place[0].start, place[1].stop, place[0].stop, area)
        for place, area in zip(places, areas, strict=True)
        if place is not None and area * 20_000 >= labels.size
    ]
    if not found:
        return np.zeros((0, 4), int)
    table = np.array(found)
    table = table[table[:, 4] >= np.median(table[:, 4]) / 4]
    middle = (table[:, 1] + table[:, 3]) / 2, (table[:, 0] + table[:, 2]) / 2
    return table[np.lexsort((middle[1], middle[0])), :4]


def _boxes(
    labels: np.ndarray, shape: tuple[int, int], cut: bool, margin: float
) -> list[tuple[int, int, int, int]]:
    """Return x, y, width, height in the field of `shape` of the square around each nucleus."""
    height, width = shape
    scale = width / labels.shape[1]
    outlines = _outlines(labels)
    # The small nuclei of a binucleate cell need room for the whole cell, too.
    usual = np.median((outlines[:, 2:] - outlines[:, :2]).max(axis=1)) if len(outlines) else 0
    boxes = []
    for left, top, right, bottom in outlines:
        inside = left > 0 and top > 0 and right < labels.shape[1] and bottom < labels.shape[0]
        if not inside and not cut:
            continue
        longer = max(right - left, bottom - top, usual)
        side = min(round(margin * scale * longer), width, height)
        x = round(scale * (left + right) / 2 - side / 2)
        y = round(scale * (top + bottom) / 2 - side / 2)
        x, y = min(max(x, 0), width - side), min(max(y, 0), height - side)
        boxes.append((x, y, side, side))
    return boxes


def _free_boxes(
    labels: np.ndarray, shape: tuple[int, int], most: int, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Return at most `most` squares that hold no white cell, apart from each other if possible."""
    height, width = shape
    scale = width / labels.shape[1]
    outlines = _outlines(labels)
    reach = np.median((outlines[:, 2:] - outlines[:, :2]).max(axis=1)) if len(outlines) else 0
    free = np.full(labels.shape, 255, np.uint8)
    free[labels > 0] = 0
    # Around a nucleus lies cytoplasm, at most about as wide as the nucleus.
    far = cv2.distanceTransform(free, cv2.DIST_L2, 5) if (labels > 0).any() else free
    taken = (far <= max(reach, 1)).astype(np.uint8) if (labels > 0).any() else free * 0
    side = max(round(GROUND * height / scale), 1)
    boxes: list[tuple[int, int, int, int]] = []
    for gap in (True, False):
        sums = cv2.integral(taken)
        crowd = (
            sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        )
        while len(boxes) < most:
            rows, columns = np.nonzero(crowd == 0)
            if not len(rows):
                break
            pick = int(rng.integers(len(rows)))
            x, y = int(columns[pick]), int(rows[pick])
            large = min(round(side * scale), width, height)
            place = min(round(x * scale), width - large), min(round(y * scale), height - large)
            boxes.append((*place, large, large))
            reached = slice(max(y - side + 1, 0), y + side), slice(max(x - side + 1, 0), x + side)
            crowd[reached if gap else (slice(y, y + 1), slice(x, x + 1))] = 1
    return boxes


def _made(
    chosen: pd.DataFrame, size: int, letter: str, what: str, find: Callable, workers: int | None
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Return boxes and pixels, from disk where they were made before, and fields without any."""
    name = f"{_key(chosen, workers)}-{size}-{what}-{code.version(__name__)}.npy"
    path = artifacts_folder() / "crops" / name

    def make(temporary: Path) -> None:
        table, images = _make(chosen, size, letter, find, workers)
        write_csv(path.with_suffix(".csv"), table)
        with open(temporary, "wb") as file:  # renamed last: where it is, its table is too
            np.save(file, images)

    table, images = kept(path, lambda path: _read(path, size), make)
    empty = sorted(set(chosen.index) - set(table["field"]))
    return table, images, [chosen["image_id"].iloc[place] for place in empty]


def _make(
    chosen: pd.DataFrame, size: int, letter: str, find: Callable, workers: int | None
) -> tuple[pd.DataFrame, np.ndarray]:
    def work(row) -> tuple[list[tuple], np.ndarray]:
        image = read_image(row.path)
        boxes = find(image, row)
        pixels = np.empty((len(boxes), size, size, 3), np.uint8)
        for out, (x, y, width, height, _) in zip(pixels, boxes, strict=True):
            how = cv2.INTER_AREA if width > size else cv2.INTER_LINEAR
            cv2.resize(image[y : y + height, x : x + width], (size, size), out, interpolation=how)
        names = (f"{row.image_id}_{letter}{number:02d}" for number in range(1, len(boxes) + 1))
        return [(name, row.Index, *box) for name, box in zip(names, boxes, strict=True)], pixels

    with ThreadPoolExecutor(workers or cores()) as pool:
        done = list(pool.map(work, chosen.itertuples()))
    table = pd.DataFrame([box for boxes, _ in done for box in boxes], columns=list(_COLUMNS))
    order = table["image_id"].argsort(kind="stable").to_numpy()  # as catalogs are sorted
    return table.iloc[order], np.concatenate([pixels for _, pixels in done])[order]


def _read(path: Path, size: int) -> tuple[pd.DataFrame, np.ndarray] | None:
    try:
        table = pd.read_csv(path.with_suffix(".csv"))
    except (OSError, ValueError):
        return None
    images = read_array(path, (len(table), size, size, 3), "uint8")
    return None if images is None or list(table.columns) != list(_COLUMNS) else (table, images)


def _key(chosen: pd.DataFrame, workers: int | None) -> str:
    """Return a hash of the fields' names and content and of their nucleus masks."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(workers or cores()) as pool:
        fields = pool.map(_content, chosen["sha256"], chosen["path"])
        masks = pool.map(_content, [""] * len(chosen), chosen["nucleus_mask"])
        for triple in zip(chosen["image_id"], fields, masks, strict=True):
            digest.update("\x1f".join(triple).encode() + b"\x1e")
    return digest.hexdigest()[:16]


def _content(known: str, path: str) -> str:
    if known or not path:
        return known
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise CellError(
            f"{path} cannot be read ({error.strerror}): load the data set again."
        ) from error


def _as_catalog(table: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    kept = ["path", "label", "positive", "subject", "fold", "group", "split", "role", "sha256"]
    rows = chosen.iloc[table["field"].to_numpy()][kept].reset_index(drop=True)
    boxes = table.drop(columns="field")
    place = boxes[["x", "y", "width", "height"]].astype(str).agg(",".join, axis=1)
    # Two crops of a field are two images; those of two equal files are the same ones.
    rows["sha256"] = [
        hashlib.sha256(f"{field}:{box}".encode()).hexdigest()
        for field, box in zip(rows["sha256"], place, strict=True)
    ]
    return catalogs.make(pd.concat([rows, boxes], axis=1))
