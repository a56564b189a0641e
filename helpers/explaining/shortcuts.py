"""What a classifier may use instead of the cell, and how to find out.

A network uses whatever separates the classes in training: the chromatin of the cell, but
also its outline, its size, the colour of the slide or the background. This module has
images and numbers with only one of these, and functions that remove or change one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd

from helpers import images as image_files
from helpers.base import arguments
from helpers.base.errors import CourseError, ExplainError
from helpers.images import cropping

#: Up to this value in every channel a pixel is background. Resizing blurs the black edge, so
#: it is more than 0.
DARKEST = 12
#: The columns of :func:`colour_statistics`.
COLOURS = ("red_mean", "green_mean", "blue_mean", "red_sd", "green_sd", "blue_sd")
#: The columns of :func:`sizes`, in pixels of the original image.
SIZES = ("width", "height", "area")

# Relative change of red, green and blue in a planted stain of strength 1.
_TINT = np.array([1.0, -0.2, -0.8])


def cell_masks(images: np.ndarray) -> np.ndarray:
    """Return where each image is not black background.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
        RGB. Fields have no black background: all their pixels count as cell.

    Returns
    -------
    ndarray of bool, shape (n, h, w)

    Raises
    ------
    ExplainError
        When the images are of another kind.
    """
    return _require_images(images).max(axis=3) > DARKEST


def cells_inside(images: np.ndarray, paths: Iterable[str]) -> np.ndarray:
    """Return where the cells are: what is not black, and in a field what segmentation finds.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, size, size, 3)
        As :func:`helpers.images.load_images` gives them.
    paths : iterable of str, length n
        The files that they were made of.

    Returns
    -------
    ndarray of bool, shape (n, size, size)
        Without any True where no cell is found in a field.

    Raises
    ------
    ExplainError
        When there is not one path for each image.
    ImageError
        When a file is not an image.
    """
    from helpers.cells import segmentation

    masks = cell_masks(images)
    files = _files(paths)
    if len(files) != len(masks):
        raise ExplainError(f"There are {len(masks)} images, but {len(files)} paths.")
    for row, path in enumerate(files):
        field = image_files.read_image(path)
        if image_files.is_frame(field):
            continue
        try:
            found = segmentation.segment_field(field)
        except CourseError:
            masks[row] = False
            continue
        mask = (found.nucleus | found.cytoplasm).astype(np.uint8)
        side = min(mask.shape)
        top, left = ((length - side) // 2 for length in mask.shape)
        middle = np.ascontiguousarray(mask[top : top + side, left : left + side])
        masks[row] = cv2.resize(middle, masks.shape[:0:-1]) > 0
    return masks


def silhouettes(images: np.ndarray) -> np.ndarray:
    """Return white cells on black background: nothing but the outline is left.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        0 or 255, the same in the three channels.
    """
    white = cell_masks(images).astype(np.uint8) * np.uint8(255)
    return np.repeat(white[..., np.newaxis], 3, axis=3)


def colour_statistics(images: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation of red, green and blue inside each cell.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
        In an image without a cell, all pixels count.

    Returns
    -------
    ndarray of float64, shape (n, 6)
        Columns as in :data:`COLOURS`, in grey levels.
    """
    images = _require_images(images)
    statistics = np.empty((len(images), len(COLOURS)))
    for row, (image, mask) in enumerate(zip(images, cell_masks(images), strict=True)):
        pixels = image[mask if mask.any() else ~mask].astype(np.float64)
        statistics[row] = [*pixels.mean(axis=0), *pixels.std(axis=0)]
    return statistics


def sizes(paths: Iterable[str]) -> np.ndarray:
    """Return width, height and area of the cell in each frame, before any crop.

    Parameters
    ----------
    paths : iterable of str
        Image files. For a field, the size of the image is returned.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Columns as in :data:`SIZES`, in pixels.

    Raises
    ------
    ImageError
        When a file is not an image, or a frame has no cell.
    """
    rows = []
    for path in _files(paths):
        image = image_files.read_image(path)
        if image_files.is_frame(image):
            box = cropping.find_cell(image)
            inside = image[box.y : box.y + box.height, box.x : box.x + box.width]
            area = np.count_nonzero(inside.any(axis=2))
            rows.append((box.width, box.height, area))
        else:
            height, width = image.shape[:2]
            rows.append((width, height, width * height))
    return np.array(rows, float).reshape(-1, len(SIZES))


def swap_ground(images: np.ndarray, ground: str = "grey", seed: int = 24) -> np.ndarray:
    """Return the images with the same cells on another background.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    ground : str
        ``"grey"`` (128) or ``"noise"`` (each pixel drawn at random).
    seed : int
        For the noise.

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        New images. A model that uses only the cells gives the same answers.

    Raises
    ------
    ExplainError
        When the background is unknown.
    """
    images = _require_images(images)
    arguments.whole("The seed", seed, ExplainError)
    arguments.one_of("ground", ground, ("grey", "noise"), ExplainError)
    masks = cell_masks(images)
    if ground == "noise":
        new = np.random.default_rng(seed).integers(0, 256, images.shape, dtype=np.uint8)
    else:
        new = np.uint8(128)
    return np.where(masks[..., np.newaxis], images, new)


def shrink(images: np.ndarray, share: float) -> np.ndarray:
    """Return the images made smaller, with black padding around them.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    share : float
        Side of the smaller image as a share of the whole, above 0 and at most 1.

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        Only the scale of the cells is changed.

    Raises
    ------
    ExplainError
        When the share is out of range.
    """
    images = _require_images(images)
    if not 0 < arguments.number("The share", share, ExplainError, missing=True) <= 1:
        raise ExplainError(f"The share is {share!r}, but must be above 0 and at most 1.")
    height, width = images.shape[1:3]
    inner = max(1, round(share * width)), max(1, round(share * height))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    result = np.zeros_like(images)
    for image, out in zip(images, result, strict=True):
        small = cv2.resize(np.ascontiguousarray(image), inner, interpolation=cv2.INTER_AREA)
        out[top : top + inner[1], left : left + inner[0]] = small
    return result


def plant_stain(
    images: np.ndarray,
    target: np.ndarray,
    split: Iterable[str],
    strength: float = 0.12,
    seed: int = 24,
) -> np.ndarray:
    """Return the images with a stain that shows the class in training but not in testing.

    This imitates a hospital, that of the training images, which stained its positive slides
    redder: a shortcut that fails on other images.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    target : ndarray of int, shape (n,)
        1 is positive.
    split : iterable of str, length n
        In ``train`` and ``val`` the stain follows the class, elsewhere it is random.
    strength : float
        Relative change of red; green and blue change less, in the other direction.
    seed : int
        For the random stains and of the small differences between images.

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        Black background stays black.

    Raises
    ------
    ExplainError
        When the lengths differ.
    """
    images = _require_images(images)
    target = np.atleast_1d(arguments.array("The target", target, ExplainError, 0, 1))
    split = np.asarray(arguments.names("The splits", split, ExplainError), dtype=object)
    arguments.number("The strength", strength, ExplainError, -1, 1)
    arguments.whole("The seed", seed, ExplainError)
    if not len(images) == len(target) == len(split):
        raise ExplainError(
            f"{len(images)} images, {len(target)} targets and {len(split)} splits do not belong "
            "together."
        )
    rng = np.random.default_rng(seed)
    random = rng.integers(0, 2, len(images))
    red = np.where(np.isin(split, ("train", "val")), target, random) * 2 - 1
    amount = strength * red * rng.normal(1, 0.2, len(images))
    gains = 1 + amount[:, np.newaxis] * _TINT
    stained = images * gains[:, np.newaxis, np.newaxis, :].astype(np.float32)
    return np.clip(np.rint(stained), 0, 255).astype(np.uint8)


def _files(paths: Iterable[str]) -> list[str]:
    """Return the paths as texts."""
    if isinstance(paths, pd.Series | list):
        paths = [str(path) if isinstance(path, os.PathLike) else path for path in paths]
    return arguments.names("The paths", paths, ExplainError)


def _require_images(images: np.ndarray) -> np.ndarray:
    return arguments.pixels(images, ExplainError)
