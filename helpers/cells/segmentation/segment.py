"""Nucleus and cytoplasm by the classical pipeline: colour clusters, clean-up, watershed.

No colour is fixed. Each image gives its own ground; colours are counted as light taken
away from that ground (optical density). A nucleus takes far more green than blue light,
whatever the stain; red cells do not.

1. Candidates: k-means in L*a*b* and thresholds give masks, cleaned of specks and holes.
2. Choice: the mask whose outline stands on the highest and cleanest step.
3. Outline: at half the height of that step, place by place, in the mixture of
   channels that shows it best (Fisher's discriminant).
4. Cytoplasm: what is stained beside the nucleus and unlike the red cells further off.
5. Touching nuclei are parted by watershed; lobes of one nucleus keep one label.

A cell that was cut out shows hardly any ground to start from. There two rules of six
numbers place the outlines, fitted to drawn phantoms; nothing else is learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from helpers.base.errors import CellError
from helpers.cells.segmentation.cut_out import cut_out_parts
from helpers.cells.segmentation.cytoplasm import grow_cell, grow_cells
from helpers.cells.segmentation.field import find_nuclei, part_touching
from helpers.cells.segmentation.nucleus import (
    disc,
    find_nucleus,
    ground_light,
    largest,
    optical_density,
)
from helpers.images.cropping import brightest_channel, require_rgb

#: Channels below this on most of the border mean a frame that was cut out and blackened.
_BLACK = 12
#: What is lit of this part of its rectangle is a photograph in black bars: a round cell fills 0.8.
_FULL = 0.97
# Smaller images are worked on at twice their size, larger ones at this size (longest side).
_CELL_SIDES, _FIELD_SIDES = (100, 200), (350, 1000)


__all__ = [
    "CellError",
    "Segmentation",
    "dice",
    "otsu_nucleus",
    "part_touching",
    "segment_cell",
    "segment_field",
]


@dataclass(frozen=True)
class Segmentation:
    """What was found in one image of h x w pixels.

    Attributes
    ----------
    nucleus, cytoplasm : numpy.ndarray
        (h, w), bool; they do not overlap.
    nuclei, cells : numpy.ndarray
        (h, w), int32: 0 on the ground, 1, 2, ... on each nucleus, and on each
        nucleus with its cytoplasm.
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
    """Return the Dice coefficient of two masks: 1 the same, 0 apart; two empty ones are the same.

    Dice 1945, 10.2307/1932409.

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
        RGB: a cell cut out on black ground, or a crop of a smear on bright
        ground with red cells around.

    Returns
    -------
    Segmentation
        With one label. All lobes of the nucleus belong to it.

    Raises
    ------
    CellError
        When no cell is there, or `image` is no RGB image of 8 bits.
    """
    _require_rgb(image)
    window = _inside_padding(image)
    if window is not None:
        return _placed(segment_cell(np.ascontiguousarray(image[window])), window, image.shape[:2])
    if _on_black(image):
        nucleus, cytoplasm = _cut_out_cell(image)
    else:
        nucleus, cytoplasm = _smear_cell(image)
    nuclei = nucleus.astype(np.int32)
    return Segmentation(nucleus, cytoplasm, nuclei, (nucleus | cytoplasm).astype(np.int32))


def segment_field(image: np.ndarray) -> Segmentation:
    """Return nuclei and cytoplasm of all leukocytes in a field; touching ones are parted.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w, 3)
        RGB: a smear field of any size on bright ground.

    Returns
    -------
    Segmentation
        Labels in the order of reading. A field without a leukocyte gives empty masks.

    Raises
    ------
    CellError
        When `image` is no RGB image of 8 bits.
    """
    _require_rgb(image)
    window = _inside_padding(image)
    if window is not None:
        return _placed(segment_field(np.ascontiguousarray(image[window])), window, image.shape[:2])
    if _on_black(image):
        try:
            return segment_cell(image)
        except CellError:
            return _nothing(image)
    scaled = _scaled(image, _FIELD_SIDES)
    density = optical_density(scaled, ground_light(scaled))
    nuclei = find_nuclei(density)
    cells = grow_cells(density, nuclei)
    if scaled is not image:
        size = image.shape[1::-1]
        nuclei = cv2.resize(nuclei, size, interpolation=cv2.INTER_NEAREST_EXACT)
        cells = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return Segmentation(nuclei > 0, (cells > 0) & (nuclei == 0), nuclei, cells)


def otsu_nucleus(image: np.ndarray) -> np.ndarray:
    """Return Otsu's threshold on the green channel as a mask (h, w), bool: the baseline.

    Green is the light that a nucleus takes most of. On black ground only the
    cut-out is looked at. Otsu 1979, 10.1109/TSMC.1979.4310076.
    """
    _require_rgb(image)
    window = _inside_padding(image)
    if window is not None:
        return _placed_in(otsu_nucleus(image[window]), window, image.shape[:2])
    green = cv2.GaussianBlur(image[..., 1], (0, 0), 1)
    inside = image.max(axis=2) > _BLACK if _on_black(image) else np.ones(green.shape, bool)
    if not inside.any():
        return inside
    level, _ = cv2.threshold(green[inside][None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return inside & (green <= level)


# Single cells


def _cut_out_cell(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape[:2]
    edge = _border(image)
    ground = int(edge[edge <= _BLACK].max(initial=0))  # 0, or a little more after JPEG
    lit = (brightest_channel(image) > ground).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(lit)
    kept = lit[y : y + h, x : x + w]
    if kept.size:
        kept = largest(cv2.morphologyEx(kept, cv2.MORPH_OPEN, disc(1)))
    if cv2.countNonZero(kept) < 0.002 * lit.size:
        raise CellError(
            f"The image of {width}x{height} pixels holds no cell: its ground is black and "
            "nothing larger than a speck stands on it."
        )
    left, top, w, h = cv2.boundingRect(kept)
    kept = np.ascontiguousarray(kept[top : top + h, left : left + w])
    x, y = x + left, y + top
    box = np.s_[y : y + h, x : x + w]
    out = np.zeros((2, height, width), bool)
    out[0][box], out[1][box] = cut_out_parts(np.ascontiguousarray(image[box]), kept)
    return out[0], out[1]


def _smear_cell(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape[:2]
    scaled = _scaled(image, _CELL_SIDES)
    density = optical_density(scaled, ground_light(scaled))
    nucleus = find_nucleus(density)
    if nucleus is None:
        raise CellError(
            f"The image of {width}x{height} pixels holds no cell: nothing on its bright ground "
            "takes up stain as a nucleus does."
        )
    nucleus = _without_cut_neighbours(nucleus)
    masks = [nucleus, grow_cell(density, nucleus)]
    if scaled is not image:
        masks = [
            (cv2.resize(255 * mask, (width, height), interpolation=cv2.INTER_LINEAR) > 127)
            for mask in masks
        ]
    nucleus, cell = (mask > 0 for mask in masks)
    return nucleus, cell & ~nucleus


def _scaled(image: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Return the image with a longest side between two bounds: what edges are tuned to."""
    longest = max(image.shape[:2])
    if longest > sides[1]:
        scale, kind = sides[1] / longest, cv2.INTER_AREA
    elif longest < sides[0]:
        scale, kind = 2.0, cv2.INTER_CUBIC
    else:
        return image
    size = tuple(max(8, round(scale * side)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=kind)


def _without_cut_neighbours(nucleus: np.ndarray) -> np.ndarray:
    """Leave out a touching nucleus that the image's border cuts, when it parts at a waist."""
    if not _on_border(nucleus):
        return nucleus
    parts = part_touching(nucleus)
    whole = [i for i in range(1, parts.max() + 1) if not _on_border(parts == i)]
    kept = np.isin(parts, whole).astype(np.uint8)
    return kept if 4 * cv2.countNonZero(kept) > cv2.countNonZero(nucleus) else nucleus


def _on_border(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _nothing(image: np.ndarray) -> Segmentation:
    mask, labels = np.zeros(image.shape[:2], bool), np.zeros(image.shape[:2], np.int32)
    return Segmentation(mask, mask.copy(), labels, labels.copy())


def _inside_padding(image: np.ndarray) -> tuple[slice, slice] | None:
    """Return the rectangle that black bars leave free, or None where there are no bars.

    A cell that was cut out is no rectangle: its black is left where it is.
    """
    sides = image[0], image[-1], image[:, 0], image[:, -1]
    if all(side.max() > _BLACK for side in sides):
        return None
    lit = (brightest_channel(image) > _BLACK).view(np.uint8)
    x, y, width, height = cv2.boundingRect(lit)
    if min(width, height) < 8 or (height, width) == lit.shape:
        return None
    window = np.s_[y : y + height, x : x + width]
    return window if cv2.countNonZero(lit[window]) > _FULL * width * height else None


def _placed(found: Segmentation, window: tuple[slice, slice], shape: tuple) -> Segmentation:
    masks = found.nucleus, found.cytoplasm, found.nuclei, found.cells
    return Segmentation(*(_placed_in(mask, window, shape) for mask in masks))


def _placed_in(mask: np.ndarray, window: tuple[slice, slice], shape: tuple) -> np.ndarray:
    whole = np.zeros(shape, mask.dtype)
    whole[window] = mask
    return whole


def _on_black(image: np.ndarray) -> bool:
    return bool((_border(image) <= _BLACK).mean() > 0.3)


def _border(image: np.ndarray) -> np.ndarray:
    """Return the brightest channel of each pixel on the image's border."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).max(axis=1)


def _require_rgb(image: np.ndarray) -> None:
    require_rgb(image, "Segmentation", CellError)
    if min(image.shape[:2]) < 8:
        raise CellError(
            f"The image of {image.shape[1]}x{image.shape[0]} pixels is too small to hold a cell."
        )
