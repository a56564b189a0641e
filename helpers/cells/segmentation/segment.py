"""Nucleus and cytoplasm of one leukocyte, or of all in a field, without training.

The constants were chosen on real cells: Zheng et al. 2018, 10.1016/j.micron.2018.01.010.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from helpers.base.errors import CellError
from helpers.cells.segmentation import field
from helpers.cells.segmentation.cut_out import cut_out_parts
from helpers.cells.segmentation.cytoplasm import grow_cell
from helpers.cells.segmentation.nucleus import absorbed, border, find_nucleus
from helpers.images.cropping import brightest_channel, require_rgb

_BLACK = 12  # of 255: pixels that are not brighter in any channel are black
_PADDED = 0.97  # a box with a larger share not black: a padded photograph
_NUCLEUS_SIDE, _CELL_SIDE, _FIELD_SIDE = 300, 150, 1000  # pixels: larger images are reduced


@dataclass(frozen=True)
class Segmentation:
    """The cells of one image.

    Attributes
    ----------
    nucleus, cytoplasm : ndarray of bool, shape (h, w)
        They do not overlap.
    nuclei, cells : ndarray of int32, shape (h, w)
        0 on the background, 1, 2, ... on each nucleus, and on each nucleus with its cytoplasm.
    """

    nucleus: np.ndarray
    cytoplasm: np.ndarray
    nuclei: np.ndarray
    cells: np.ndarray

    @property
    def count(self) -> int:
        """The number of cells."""
        return int(self.nuclei.max(initial=0))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Dice coefficient of two masks (10.2307/1932409), 0 to 1; of two empty ones 1.

    Raises
    ------
    CellError
        When the masks differ in shape.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.shape != b.shape:
        raise CellError(f"Masks of shape {a.shape} and {b.shape} cannot be compared.")
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def segment_cell(image: np.ndarray) -> Segmentation:
    """Return nucleus and cytoplasm of the one cell in the middle of an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        RGB: a cell cut out on black, or a crop of a smear on bright
        background with red cells around.

    Returns
    -------
    Segmentation
        With one label. All lobes of the nucleus belong to it.

    Raises
    ------
    CellError
        When no cell is there, or `image` is no RGB image of 8 bits.
    """
    result = _segmented(image, _smear)
    if not result.count:
        raise CellError(f"The image of shape {image.shape} holds no cell.")
    return result


def segment_field(image: np.ndarray) -> Segmentation:
    """Return nuclei and cytoplasm of all leukocytes in a field; touching ones are separated.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        RGB: a smear field of any size on bright background.

    Returns
    -------
    Segmentation
        Labels in reading order. A field without a leukocyte gives empty masks.

    Raises
    ------
    CellError
        When `image` is no RGB image of 8 bits.
    """
    return _segmented(image, _field)


def _segmented(image: np.ndarray, on_bright: Callable) -> Segmentation:
    """Segment the part without black bars: by `on_bright`, unless it is a cut-out on black."""
    require_rgb(image, "Segmentation", CellError)
    if min(image.shape[:2]) < 8:
        raise CellError(f"The image of shape {image.shape} is too small for a cell.")
    lit = brightest_channel(image) > _BLACK
    x, y, width, height = cv2.boundingRect(lit.astype(np.uint8))
    window = np.s_[y : y + height, x : x + width]
    padded = min(width, height) >= 8 and lit[window].mean() > _PADDED
    cut_out = not padded and lit.any() and border(lit).mean() < 0.7
    window = window if padded or cut_out else np.s_[:, :]
    part, nuclei, cells = np.ascontiguousarray(image[window]), *np.zeros((2, *lit.shape), np.int32)
    both = cut_out_parts(part, lit[window], lit.size) if cut_out else on_bright(part)
    nuclei[window], cells[window] = both
    return Segmentation(nuclei > 0, (cells > 0) & (nuclei == 0), nuclei, cells)


def _smear(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    small = _reduced(image, _CELL_SIDE)
    nucleus = find_nucleus(_reduced(image, _NUCLEUS_SIDE))
    inside = _resized(nucleus, small.shape)
    _, density, _ = absorbed(small, 0.8)
    cell = grow_cell(density, inside) if inside.any() else inside
    nucleus = _resized(nucleus, image.shape)
    return nucleus, _resized(cell, image.shape) | nucleus


def _field(image: np.ndarray) -> tuple[np.ndarray, ...]:
    both = field.segmented(_reduced(image, _FIELD_SIDE))
    size = image.shape[1::-1]
    return tuple(cv2.resize(part, size, interpolation=cv2.INTER_NEAREST_EXACT) for part in both)


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image with a longest side of at most `side` pixels."""
    scale = side / max(image.shape[:2])
    size = [max(8, round(scale * length)) for length in image.shape[1::-1]]
    return image if scale >= 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _resized(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    kind = cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), shape[1::-1], interpolation=kind) > 0.5
