"""Features of a cell whose nucleus and cytoplasm are known: shape, colour, texture.

:func:`measure` describes one cell by named numbers, :func:`table` all images of a catalog.
The units are pixels and grey levels of the image as it is: the same cell under another
microscope, or in an image of another size, has other numbers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images
from helpers.base import code, progress, settings
from helpers.base.errors import CellError, CourseError
from helpers.base.files import kept, write_csv
from helpers.base.runtime import cores
from helpers.catalog import augmentation
from helpers.cells import shape, texture

if TYPE_CHECKING:
    from helpers.cells.segmentation import Segmentation

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
#: From so many images on, they are measured by several processes.
_MANY = 200
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
        One value for each of :data:`NAMES`, in their order. A feature that this cell
        does not have is NaN: the colour of a missing cytoplasm, or the texture of a
        nucleus that is smaller than the distance between the pixels of a pair.

    Raises
    ------
    CellError
        When the shapes differ, the masks overlap, or there is no nucleus.

    Notes
    -----
    No feature changes when the image is turned by 90 degrees or mirrored. For a
    region of area A and perimeter P:

    - `perimeter` is Crofton's formula in four directions, as in
      ``skimage.measure.perimeter_crofton``; `circularity` is 4 pi A / P^2, which is 1
      for a disc; `solidity` is A over the area of the convex hull of the region's
      pixels, each pixel a square; `convexity` is the perimeter of the hull over P; axes
      and `eccentricity` are those of the ellipse with the same second moments.
    - `notch` is the largest depth of the outline below its hull; `lobes` is the number
      of pieces larger than a twentieth of the nucleus; `offset` is the distance between
      the centres of nucleus and cell.
    - Colours are means and standard deviations over the region's pixels, in sRGB, CIE
      L*a*b* (D65) and HSV. Hue is a mean on the circle, from 120 to 480 degrees: the
      jump is at green, a colour that no part of a stained cell has.
    - Texture is measured in the green channel, which the dyes darken most, on the nucleus
      without its rim, where a pixel is a mixture of nucleus and cytoplasm.
      Co-occurrence (`glcm`): both pixels of a pair lie in the nucleus; 16 grey levels
      from the 1st to the 99th percentile of the nucleus; mean of four directions.
      Local binary patterns (`lbp`): the share of patterns by how many of the eight
      neighbours are at least as bright as the pixel, where they change at most twice
      around the circle: 8 or 0 (`flat`), 1 or 7 (`spot`), 2 to 6 (`edge`); `mixed` is
      the share of all others. `grains`: see :func:`helpers.cells.texture.grains`.

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
    nucleus, cytoplasm, cell = (mask[window].copy() for mask in (nucleus, cytoplasm, cell))
    result: dict[str, float] = {}
    centres = {}
    for region, mask in (("nucleus", nucleus), ("cell", cell)):
        values, centres[region] = shape.describe(mask)
        result |= {f"{region}_{name}": value for name, value in values.items()}
    diameters = {name: 2 * np.sqrt(result[f"{name}_area"] / np.pi) for name in centres}
    result["nucleus_notch"] *= 100 / diameters["nucleus"]
    result["nucleus_lobes"] = shape.lobes(nucleus)
    offset = np.linalg.norm(centres["nucleus"] - centres["cell"])
    result["nucleus_offset"] = 100 * offset / diameters["cell"]
    result["nucleus_to_cell"] = result["nucleus_area"] / result["cell_area"]
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    for region, mask in (("nucleus", nucleus), ("cytoplasm", cytoplasm)):
        values = _colour(image, lab, hsv, mask)
        result |= {f"{region}_{name}": value for name, value in values.items()}
    core = _without_rim(nucleus, diameters["nucleus"])
    window = _window(core)
    green, core = image[..., 1][window].copy(), core[window].copy()
    for describe in (texture.cooccurrence, texture.patterns, texture.grains):
        result |= describe(green, core)
    return {name: float(result[name]) for name in NAMES}


def table(catalog: pd.DataFrame, kind: str = "auto") -> pd.DataFrame:
    """Return the features of a catalog's images, cached on disk.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Labelled or not.
    kind : str
        ``cell``: each image shows one cell; ``field``: each shows many cells, and
        its features are the medians over them; ``auto``: an image with black
        background shows one cell, any other image is a field.

    Returns
    -------
    pandas.DataFrame
        Indexed like the catalog: `image_id`, `cells` (how many were measured),
        `problem` (one sentence, or ""), then :data:`NAMES`. A row with a problem
        has NaN for all features; one printed line says how many there are.

    Raises
    ------
    CellError
        When `kind` is unknown.
    """
    catalogs.check(catalog)
    if kind not in ("auto", "cell", "field"):
        raise CellError(f"The kind is {kind!r}, but must be auto, cell or field.")
    path = settings.artifacts_folder() / "features" / f"cells-{_key(catalog, kind)}.csv"
    measured = kept(
        path, lambda path: _read(path, catalog), lambda path: write_csv(path, _build(catalog, kind))
    )
    measured.index = catalog.index
    bad = measured[measured["problem"] != ""]
    if len(bad):
        names = ", ".join(bad["image_id"].iloc[:3]) + (", ..." if len(bad) > 3 else "")
        noun = "image has" if len(bad) == 1 else "images have"
        print(
            f"{len(bad)} of {len(measured)} {noun} no features ({names}): {bad['problem'].iloc[0]}"
        )
    return measured


def of_image(image: np.ndarray, kind: str = "auto") -> tuple[dict[str, float], int]:
    """Segment one image and return its features, and how many cells they describe.

    The features of a field are the medians over its cells. A cell that the edge of
    the image cuts counts only where there is no whole cell.

    Raises
    ------
    CellError
        When the image cannot be segmented, or the field holds no cell.
    """
    from helpers.cells import segmentation

    if kind == "cell" or (kind == "auto" and images.is_frame(image)):
        parts = segmentation.segment_cell(image)
        return measure(image, parts.nucleus, parts.cytoplasm), 1
    rows = list(_of_cells(image, segmentation.segment_field(image)))
    whole = [row for row in rows if not row["cut"]] or rows
    if not whole:
        raise CellError("no cell was found in this field.")
    return pd.DataFrame(whole)[list(NAMES)].median().to_dict(), len(whole)


def _of_cells(image: np.ndarray, parts: Segmentation) -> Iterator[dict]:
    """Yield the features of each cell with a nucleus, and whether the image's edge cuts it."""
    from scipy import ndimage

    height, width = parts.cells.shape
    for label, window in enumerate(ndimage.find_objects(parts.cells), start=1):
        if window is None:
            continue
        cell = parts.cells[window] == label
        nucleus = (parts.nuclei[window] == label) & cell
        if not nucleus.any():
            continue
        rows, columns = window
        cut = 0 in (rows.start, columns.start, height - rows.stop, width - columns.stop)
        yield {"cut": cut, **measure(image[window], nucleus, cell & ~nucleus)}


def _build(catalog: pd.DataFrame, kind: str, workers: int | None = None) -> pd.DataFrame:
    from joblib import Parallel, delayed

    workers = workers or cores()
    # Most of a measurement holds Python's lock, so threads hardly share the work. Other
    # processes do, but they take seconds to start.
    kind_of_worker = "processes" if len(catalog) >= _MANY else "threads"
    rows = zip(catalog["path"], catalog["transform"], strict=True)
    results = Parallel(workers, return_as="generator", prefer=kind_of_worker)(
        delayed(_measured)(path, transform, kind) for path, transform in rows
    )
    bar = progress.bar(results, desc="cells", total=len(catalog), unit="")
    features, counts, problems = zip(*bar, strict=True)
    values = pd.DataFrame(features, columns=list(NAMES), dtype=float)
    values.insert(0, "image_id", catalog["image_id"].to_numpy())
    values.insert(1, "cells", counts)
    values.insert(2, "problem", problems)
    return values


def _measured(path: str, transform: str, kind: str) -> tuple[dict[str, float], int, str]:
    """Return the features of an image, how many cells were measured, and the problem or ""."""
    try:
        image = images.read_image(path)
        if transform != "identity":
            image = augmentation.apply(image, transform)
        return *of_image(image, kind), ""
    except CourseError as error:
        return {}, 0, str(error)


def _checked(
    image: np.ndarray, nucleus: np.ndarray, cytoplasm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image, nucleus, cytoplasm = map(np.asarray, (image, nucleus, cytoplasm))
    shapes = image.shape[:2], nucleus.shape, cytoplasm.shape
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or len(set(shapes)) > 1:
        raise CellError(
            f"The image is {image.dtype} of shape {image.shape} and the masks of shapes "
            f"{nucleus.shape} and {cytoplasm.shape}; expected: uint8 (h, w, 3), twice (h, w)."
        )
    nucleus, cytoplasm = nucleus.astype(bool, copy=False), cytoplasm.astype(bool, copy=False)
    if not nucleus.any():
        raise CellError("The mask of the nucleus is empty: there is nothing to measure.")
    both = int(np.count_nonzero(nucleus & cytoplasm))
    if both:
        raise CellError(f"Nucleus and cytoplasm overlap in {both} pixels; they must not.")
    return image, nucleus, cytoplasm


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _without_rim(nucleus: np.ndarray, diameter: float) -> np.ndarray:
    """Return the nucleus without the outer 3 % of its diameter; all of a very small nucleus."""
    from skimage.morphology import disk

    core = cv2.erode(
        nucleus.view(np.uint8),
        disk(max(1, round(0.03 * diameter))),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return core > 0 if 4 * np.count_nonzero(core) > np.count_nonzero(nucleus) else nucleus


def _colour(
    rgb: np.ndarray, lab: np.ndarray, hsv: np.ndarray, mask: np.ndarray
) -> dict[str, float]:
    if not mask.any():
        names = [*_CHANNELS, *(f"{name}_sd" for name in _SPREAD)]
        return dict.fromkeys(names, float("nan"))
    flat = mask.view(np.uint8)
    result, spread = {}, {}
    names = tuple(_CHANNELS)
    for first, picture in ((0, rgb), (3, lab), (6, hsv)):
        means, deviations = cv2.meanStdDev(picture, mask=flat)
        result |= dict(zip(names[first : first + 3], means.ravel(), strict=True))
        spread |= dict(zip(names[first : first + 3], deviations.ravel(), strict=True))
    hues = np.bincount(hsv[..., 0][mask], minlength=256)
    angle = np.angle((hues * np.exp(2j * np.pi * np.arange(256) / 256)).sum(), deg=True)
    result["hue"] = (angle - 120) % 360 + 120
    for name in ("saturation", "value"):  # from 0..255 to percent
        result[name], spread[name] = result[name] / 2.55, spread[name] / 2.55
    return result | {f"{name}_sd": spread[name] for name in _SPREAD}


def _key(catalog: pd.DataFrame, kind: str) -> str:
    import scipy
    import skimage

    digest = hashlib.sha256(catalogs.fingerprint(catalog).encode())
    for path, sha256 in zip(catalog["path"], catalog["sha256"], strict=True):
        if not os.path.isfile(path):  # a file that is missing may come back
            digest.update(b"missing " + os.fsencode(path))
        elif sha256 == "":
            digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    software = cv2.__version__, skimage.__version__, scipy.__version__
    digest.update(repr((kind, code.version(__name__), software)).encode())
    return digest.hexdigest()[:16]


def _read(path: Path, catalog: pd.DataFrame) -> pd.DataFrame | None:
    # As text, because older pandas round numbers that they read.
    measured = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = ["image_id", "cells", "problem", *NAMES]
    if list(measured.columns) != columns or len(measured) != len(catalog):
        return None
    # The key names pixels: another catalog may call the same files by other names.
    measured["image_id"] = catalog["image_id"].to_numpy()
    numbers = measured[list(NAMES)].replace("", "nan").astype(float)
    return measured[columns[:3]].astype({"cells": int}).join(numbers)
