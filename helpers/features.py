"""What can be measured on a cell whose nucleus and cytoplasm are known: shape, colour, texture.

:func:`measure` describes one cell by named numbers, :func:`table` a whole
catalog, once, in parallel. Everything is measured in pixels and grey levels of
the image as it is: two microscopes, or two scales of one image, give other
numbers for the same cell.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock

from helpers import augmentation, images, provenance, settings, shape, texture
from helpers import catalog as catalogs
from helpers._cores import cores
from helpers.errors import CourseError
from helpers.files import write_csv

_SHAPE = {
    "area": "px^2",
    "perimeter": "px",
    "major_axis": "px",
    "minor_axis": "px",
    "circularity": "1",
    "solidity": "1",
    "convexity": "1",
    "eccentricity": "1",
}
_CHANNELS = {
    "red": "0..255",
    "green": "0..255",
    "blue": "0..255",
    "lightness": "L*",
    "green_red": "a*",
    "blue_yellow": "b*",
    "hue": "degrees",
    "saturation": "%",
    "value": "%",
}
_SPREAD = ("lightness", "green_red", "blue_yellow", "saturation")


def _named() -> Iterator[tuple[str, str, str]]:
    """Yield name, unit and family of each feature."""
    for region in ("nucleus", "cell"):
        for name, unit in _SHAPE.items():
            yield f"{region}_{name}", unit, "geometry"
    yield "nucleus_notch", "% of the diameter", "geometry"
    yield "nucleus_lobes", "pieces", "geometry"
    yield "nucleus_offset", "% of the diameter", "geometry"
    yield "nucleus_to_cell", "1", "geometry"
    for region in ("nucleus", "cytoplasm"):
        for name, unit in _CHANNELS.items():
            yield f"{region}_{name}", unit, "colour"
        for name in _SPREAD:
            yield f"{region}_{name}_sd", _CHANNELS[name], "colour"
    for name in texture.MATRIX:
        unit = "levels^2" if name == "contrast" else "1"
        for distance in texture.DISTANCES:
            yield f"glcm_{name}_{distance}", unit, "texture"
    for name, unit in texture.PATTERN.items():
        yield f"lbp_{name}", unit, "texture"
    for kind in ("dark", "light"):
        for radius in ("", *(f"_{radius}" for radius in texture.RADII)):
            yield f"grains_{kind}{radius}", "%", "texture"


#: Unit of each feature, in the order of the columns; "1" is a ratio.
UNITS: dict[str, str] = {name: unit for name, unit, _ in _named()}
#: ``geometry``, ``colour`` or ``texture``, for each feature.
FAMILIES: dict[str, str] = {name: family for name, _, family in _named()}
#: All features, in the order of the columns.
NAMES: tuple[str, ...] = tuple(UNITS)


class FeatureError(CourseError, ValueError):
    """An image and masks that no features can be measured on."""


def measure(image: np.ndarray, nucleus: np.ndarray, cytoplasm: np.ndarray) -> dict[str, float]:
    """Return the features of one cell, by name.

    Parameters
    ----------
    image : numpy.ndarray
        uint8, shape (h, w, 3), RGB.
    nucleus, cytoplasm : numpy.ndarray
        bool, shape (h, w), of one cell. They do not overlap; a cell whose
        nucleus fills it has no cytoplasm.

    Returns
    -------
    dict of str to float
        One value for each of :data:`NAMES`, in their order. NaN is what has no
        value on this cell: colours of a cytoplasm that is not there, textures
        of a nucleus smaller than the distance they look at.

    Raises
    ------
    FeatureError
        When the shapes differ, the masks overlap, or there is no nucleus.

    Notes
    -----
    Turning by a right angle and mirroring leave each feature as it is. In
    short, for region R of area A and perimeter P:

    - `perimeter` counts how often lines in four directions enter R (Crofton's
      formula, as ``skimage.measure.perimeter_crofton``); `circularity` is
      4 pi A / P^2, 1 for a disc; `solidity` is A over the area of the convex
      hull, `convexity` the hull's perimeter over P; axes and `eccentricity` are
      those of the ellipse of the same second moments; `notch` is how deep the
      outline goes in below its hull; `lobes` counts pieces of more than a
      twentieth of the nucleus; `offset` is how far the middle of the nucleus
      lies from that of the cell.
    - Colours are means and standard deviations over the region's pixels, in
      sRGB, CIE L*a*b* (D65) and HSV. Hue is a mean on the circle, counted from
      120 to 480 degrees: what has no place in a stained cell is green, so the
      jump is put there.
    - Texture is that of the nucleus without its rim (where a pixel is a mixture of nucleus
      and cytoplasm), in the green channel, which the dyes darken most. Haralick's
      co-occurrence matrix: both pixels of a pair in the nucleus, the nucleus' own range
      (1st to 99th percentile) in 16 levels, mean of four directions. Local binary patterns:
      the eight neighbours, all in the nucleus; share of patterns with at most two changes
      round the circle by their number of neighbours as bright (`flat` 8 or 0, `spot` 1
      or 7, `edge` 2 to 6), `mixed` of those with more changes. `grains` are what openings by
      discs take away: see :func:`helpers.texture.grains`.

    References
    ----------
    Haralick, Shanmugam, Dinstein 1973, doi:10.1109/TSMC.1973.4309314. Ojala,
    Pietikainen, Maenpaa 2002, doi:10.1109/TPAMI.2002.1017623. Granulometry:
    Serra, Image Analysis and Mathematical Morphology, 1982. Crofton's perimeter
    on a grid: Legland, Kieu, Devaux 2007, doi:10.5566/ias.v26.p83-92.
    """
    image, nucleus, cytoplasm = _checked(image, nucleus, cytoplasm)
    cell = nucleus | cytoplasm
    window = _window(cell)
    image = np.ascontiguousarray(image[window])
    nucleus, cytoplasm, cell = (_inside(mask, window) for mask in (nucleus, cytoplasm, cell))
    found: dict[str, float] = {}
    middles = {}
    for region, mask in (("nucleus", nucleus), ("cell", cell)):
        values, middles[region] = shape.describe(mask)
        found |= {f"{region}_{name}": value for name, value in values.items()}
    diameter = 2 * np.sqrt(found["cell_area"] / np.pi)
    found["nucleus_notch"] *= 100 / (2 * np.sqrt(found["nucleus_area"] / np.pi))
    found.pop("cell_notch")
    found["nucleus_lobes"] = shape.lobes(nucleus)
    offset = np.hypot(*(middles["nucleus"] - middles["cell"]))
    found["nucleus_offset"] = 100 * offset / diameter
    found["nucleus_to_cell"] = found["nucleus_area"] / found["cell_area"]
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    for region, mask in (("nucleus", nucleus), ("cytoplasm", cytoplasm)):
        values = _colour(image, lab, hsv, mask)
        found |= {f"{region}_{name}": value for name, value in values.items()}
    core = _without_rim(nucleus, found["nucleus_area"])
    window = _window(core)
    green, core = np.ascontiguousarray(image[..., 1][window]), _inside(core, window)
    for describe in (texture.cooccurrence, texture.patterns, texture.grains):
        found |= describe(green, core)
    return {name: float(found[name]) for name in NAMES}


def table(
    catalog: pd.DataFrame, workers: int | None = None, kind: str = "auto", say: bool = True
) -> pd.DataFrame:
    """Return the features of a catalog's images, from disk where they were measured before.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Labelled or not.
    workers : int, optional
        Threads; one for each core by default.
    kind : str
        ``cell``: an image shows one cell; ``field``: it shows many, and its
        features are their medians; ``auto``: a cell on black ground is a cell,
        anything else a field.
    say : bool
        Print one line when an image could not be measured.

    Returns
    -------
    pandas.DataFrame
        Indexed like the catalog: `image_id`, `cells` (how many were measured),
        `problem` (one sentence, or ""), then :data:`NAMES`. A row with a problem
        has NaN for all features.

    Raises
    ------
    FeatureError
        When `kind` is unknown.
    """
    catalogs.check(catalog)
    if kind not in ("auto", "cell", "field"):
        raise FeatureError(f"The kind is {kind!r}, but must be auto, cell or field.")
    path = settings.artifacts_folder() / "features" / f"cells-{_key(catalog, kind)}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _open(path, catalog)
    if made is None:
        with FileLock(path.with_suffix(".lock")):
            made = _open(path, catalog)  # another process may have made it meanwhile
            if made is None:
                made = _build(catalog, workers or cores(), kind)
                lost = catalog.loc[(made["problem"] != "").to_numpy(), "path"]
                if all(map(os.path.isfile, lost)):  # a file that is not there may come back
                    write_csv(path, made)
    made.index = catalog.index
    if say and (made["problem"] != "").any():
        print(unmeasured(made))
    return made


def unmeasured(measured: pd.DataFrame, names: int = 3) -> str:
    """Return one line about the images of a :func:`table` that have no features."""
    bad = measured[measured["problem"] != ""]
    first = ", ".join(bad["image_id"].iloc[:names]) + (", ..." if len(bad) > names else "")
    noun = "image has" if len(bad) == 1 else "images have"
    reason = f": {bad['problem'].iloc[0]}" if len(bad) else ""
    return f"{len(bad)} of {len(measured)} {noun} no features ({first}){reason}"


def of_image(image: np.ndarray, kind: str = "auto") -> tuple[dict[str, float], int]:
    """Segment one image and return its features, and how many cells they are of.

    Of a field, the features are medians over its cells; cells cut by the edge
    of the image count only where there are no others.

    Raises
    ------
    FeatureError
        When the field holds no cell.
    helpers.cells.segmentation.SegmentationError
        When the image cannot be segmented.
    """
    from helpers.cells import segmentation

    if kind == "cell" or (kind == "auto" and images.is_frame(image)):
        parts = segmentation.segment_cell(image)
        return measure(image, parts.nucleus, parts.cytoplasm), 1
    rows = list(of_cells(image, segmentation.segment_field(image)))
    whole = [row for row in rows if not row["cut"]] or rows
    if not whole:
        raise FeatureError("no cell was found in this field.")
    values = pd.DataFrame(whole)[list(NAMES)].median()
    return values.to_dict(), len(whole)


def of_cells(image: np.ndarray, parts: object) -> Iterator[dict]:
    """Yield the features of each cell of a segmentation, with its number and whether it is cut.

    Parameters
    ----------
    image : numpy.ndarray
        uint8, shape (h, w, 3), RGB.
    parts : helpers.cells.segmentation.Segmentation
        Of that image. A label without a nucleus is passed over.

    Yields
    ------
    dict
        `cell` (its label), `cut` (by the edge of the image), then :data:`NAMES`.
    """
    from scipy import ndimage

    height, width = parts.cells.shape
    for label, window in enumerate(ndimage.find_objects(parts.cells), start=1):
        if window is None:
            continue
        here = parts.cells[window] == label
        nucleus = (parts.nuclei[window] == label) & here
        if not nucleus.any():
            continue
        rows, columns = window
        edges = rows.start, columns.start, height - rows.stop, width - columns.stop
        found = measure(image[window], nucleus, here & ~nucleus)
        yield {"cell": label, "cut": min(edges) == 0, **found}


def _build(catalog: pd.DataFrame, workers: int, kind: str) -> pd.DataFrame:
    from tqdm import tqdm

    def work(row: tuple[str, str]) -> tuple[dict[str, float], int, str]:
        path, transform = row
        try:
            image = images.read_image(path)
            if transform != "identity":
                image = augmentation.apply(image, transform)
            return *of_image(image, kind), ""
        except CourseError as error:
            return {}, 0, str(error)

    threads, interval = cv2.getNumThreads(), sys.getswitchinterval()
    cv2.setNumThreads(1)  # each of our threads has its own image: OpenCV's would only compete
    sys.setswitchinterval(2e-4)  # and asks sooner for Python's lock than the usual 5 ms
    try:
        with ThreadPoolExecutor(workers) as pool:
            rows = zip(catalog["path"], catalog["transform"], strict=True)
            bar = tqdm(total=len(catalog), desc="cells", unit="", delay=1, disable=None)
            with bar:
                done = []
                for one in pool.map(work, rows):
                    done.append(one)
                    bar.update()
    finally:
        cv2.setNumThreads(threads)
        sys.setswitchinterval(interval)
    values = pd.DataFrame([found for found, _, _ in done], columns=list(NAMES), dtype=float)
    values.insert(0, "image_id", catalog["image_id"].to_numpy())
    values.insert(1, "cells", [count for _, count, _ in done])
    values.insert(2, "problem", [problem for _, _, problem in done])
    return values


def _checked(
    image: np.ndarray, nucleus: np.ndarray, cytoplasm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, nucleus, cytoplasm = map(np.asarray, (image, nucleus, cytoplasm))
    shapes = image.shape[:2], nucleus.shape, cytoplasm.shape
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or len(set(shapes)) > 1:
        raise FeatureError(
            f"The image is {image.dtype} of shape {image.shape} and the masks of shapes "
            f"{nucleus.shape} and {cytoplasm.shape}; wanted are uint8 (h, w, 3) and twice (h, w)."
        )
    nucleus, cytoplasm = nucleus.astype(bool, copy=False), cytoplasm.astype(bool, copy=False)
    if not nucleus.any():
        raise FeatureError("The mask of the nucleus is empty: there is nothing to measure.")
    both = int(np.count_nonzero(nucleus & cytoplasm))
    if both:
        raise FeatureError(f"Nucleus and cytoplasm overlap in {both} pixels; they must not.")
    return image, nucleus, cytoplasm


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _inside(mask: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    return np.ascontiguousarray(mask[window])


def _without_rim(nucleus: np.ndarray, area: float) -> np.ndarray:
    """Return the nucleus without the outer three hundredths of its diameter; a small one whole."""
    from skimage.morphology import disk

    width = max(1, round(0.03 * 2 * np.sqrt(area / np.pi)))
    padded = np.pad(nucleus.view(np.uint8), width)  # OpenCV takes the edge of an image for inside
    core = cv2.erode(padded, disk(width))[width:-width, width:-width] > 0
    return core if 4 * np.count_nonzero(core) > area else nucleus


def _colour(
    rgb: np.ndarray, lab: np.ndarray, hsv: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    if not mask.any():
        names = [*_CHANNELS, *(f"{name}_sd" for name in _SPREAD)]
        return dict.fromkeys(names, float("nan"))
    flat = mask.view(np.uint8)
    found, spread = {}, {}
    names = tuple(_CHANNELS)
    for place, picture in ((0, rgb), (3, lab), (6, hsv)):
        means, deviations = cv2.meanStdDev(picture, mask=flat)
        found |= dict(zip(names[place : place + 3], means.ravel(), strict=True))
        spread |= dict(zip(names[place : place + 3], deviations.ravel(), strict=True))
    hues = np.bincount(hsv[..., 0][mask], minlength=256)
    angle = np.angle((hues * np.exp(2j * np.pi * np.arange(256) / 256)).sum(), deg=True)
    found["hue"] = (angle - 120) % 360 + 120
    for name in ("saturation", "value"):  # of 255 to percent
        found[name], spread[name] = found[name] / 2.55, spread[name] / 2.55
    return found | {f"{name}_sd": spread[name] for name in _SPREAD}


def _key(catalog: pd.DataFrame, kind: str) -> str:
    import scipy
    import skimage

    digest = hashlib.sha256(catalogs.fingerprint(catalog).encode())
    for path in catalog.loc[catalog["sha256"] == "", "path"]:
        if os.path.isfile(path):
            digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    code = provenance.code_version(*_deciding())
    software = cv2.__version__, skimage.__version__, scipy.__version__
    digest.update(repr((kind, code, software)).encode())
    return digest.hexdigest()[:16]


@cache
def _deciding() -> tuple[str, ...]:
    """Return the modules that decide what the numbers are, however segmentation is divided up."""
    parts = ("shape", "texture", "cells.segmentation", "_decoding", "augmentation")
    return "features", *provenance.with_imports(*parts)


def _open(path: Path, catalog: pd.DataFrame) -> pd.DataFrame | None:
    columns = ["image_id", "cells", "problem", *NAMES]
    try:  # as text: pandas reads numbers not quite as they were written
        made = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        return None
    if list(made.columns) != columns or len(made) != len(catalog):
        return None
    # The key names pixels: the same files may be called otherwise here.
    made["image_id"] = catalog["image_id"].to_numpy()
    numbers = made[list(NAMES)].replace("", "nan").to_numpy(dtype=str).astype(float)
    rest = made[["image_id", "cells", "problem"]].astype({"cells": int})
    return pd.concat([rest, pd.DataFrame(numbers, columns=list(NAMES))], axis=1)
