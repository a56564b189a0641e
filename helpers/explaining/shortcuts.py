"""What a classifier may live on instead of the cell, and how to find out.

A network answers by whatever separates the classes in training: the cell's
chromatin, but as well its outline, its size, the colour of the slide or the
ground around it. Here are images and numbers that hold one of these alone, and
ways to take one of them away.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd

from helpers import images as image_files
from helpers.base.errors import ExplainError
from helpers.images import cropping

#: Below this in every channel a pixel of a resized frame is ground: its black edge is blurred.
DARKEST = 12
#: What :func:`colour_statistics` returns, in its order.
COLOURS = (
    "red_mean",
    "green_mean",
    "blue_mean",
    "red_sd",
    "green_sd",
    "blue_sd",
)
#: What :func:`sizes` returns, in its order; all in pixels of the original image.
SIZES = ("width", "height", "area")

# Gains of red, green and blue by which a planted stain differs from the middle one.
_TINT = np.array([1.0, -0.2, -0.8])


def cell_masks(images: np.ndarray, darkest: int = DARKEST) -> np.ndarray:
    """Return where each image shows something else than black ground.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
        RGB. Of fields, which have no black ground, all is cell.
    darkest : int
        A pixel is ground when no channel exceeds this.

    Returns
    -------
    ndarray of bool, shape (n, h, w)

    Raises
    ------
    ExplainError
        When the images are of another kind.
    """
    images = _require_images(images)
    return images.max(axis=3) > darkest


def silhouettes(images: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """Return the images with every cell painted white and the ground black: outline alone.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    masks : ndarray of bool, shape (n, h, w), optional
        Where the cell is; by default :func:`cell_masks`.

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        0 or 255, the same in the three channels.
    """
    masks = _masks_of(images, masks)
    return np.repeat(masks[..., np.newaxis].astype(np.uint8) * np.uint8(255), 3, axis=3)


def colour_statistics(images: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """Return mean and standard deviation of red, green and blue inside each cell.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    masks : ndarray of bool, shape (n, h, w), optional
        As in :func:`silhouettes`. An image without cell counts as a whole.

    Returns
    -------
    ndarray of float64, shape (n, 6)
        Columns as in :data:`COLOURS`, in grey levels.
    """
    masks = _masks_of(images, masks).copy()
    masks[~masks.any(axis=(1, 2))] = True
    found = np.empty((len(images), len(COLOURS)))
    for row, (image, mask) in enumerate(zip(images, masks, strict=True)):
        pixels = image[mask].astype(np.float64)
        found[row] = [*pixels.mean(axis=0), *pixels.std(axis=0)]
    return found


def sizes(paths: Iterable[str]) -> np.ndarray:
    """Return how wide, high and large each frame's cell is, before any crop.

    Parameters
    ----------
    paths : iterable of str
        Image files. Of a field, the image's own size is returned.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Columns as in :data:`SIZES`, in pixels.

    Raises
    ------
    ImageError, ImageError
        When a file is no image or a frame holds no cell.
    """
    found = []
    for path in paths:
        image = image_files.read_image(path)
        if image_files.is_frame(image):
            box = cropping.find_cell(image)
            inside = image[box.y : box.y + box.height, box.x : box.x + box.width]
            area = np.count_nonzero(inside.any(axis=2))
            found.append((box.width, box.height, area))
        else:
            height, width = image.shape[:2]
            found.append((width, height, width * height))
    return np.array(found, float).reshape(-1, len(SIZES))


def swap_ground(
    images: np.ndarray,
    ground: str | tuple[int, int, int] | np.ndarray = "grey",
    masks: np.ndarray | None = None,
    seed: int = 24,
) -> np.ndarray:
    """Return the images with the same cells on another ground.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    ground : str, tuple of int or ndarray
        ``"black"``, ``"grey"`` (128), ``"noise"`` (each pixel drawn anew),
        a colour, or images of the same shape whose pixels are taken.
    masks : ndarray of bool, shape (n, h, w), optional
        As in :func:`silhouettes`.
    seed : int
        Of the noise.

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        New images. A model that looks at cells answers as before.

    Raises
    ------
    ExplainError
        When the ground is unknown or of another shape.
    """
    masks = _masks_of(images, masks)
    if isinstance(ground, str):
        grounds = {"black": 0, "grey": 128, "noise": None}
        if ground not in grounds:
            raise ExplainError(
                f"There is no ground {ground!r}; known are {', '.join(grounds)}, a colour (red, "
                "green, blue), or images to take it from."
            )
        level = grounds[ground]
        if level is None:
            rng = np.random.default_rng(seed)
            new = rng.integers(0, 256, images.shape, dtype=np.uint8)
        else:
            new = np.full(3, level, np.uint8)
    else:
        new = np.asarray(ground, np.uint8)
        if new.shape not in ((3,), images.shape):
            raise ExplainError(
                f"The ground has the shape {new.shape}, but must be a colour (3,) or images of "
                f"shape {images.shape}."
            )
    return np.where(masks[..., np.newaxis], images, new)


def shrink(images: np.ndarray, share: float) -> np.ndarray:
    """Return the images made smaller, in the middle of more black.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    share : float
        Of the side that is kept for the image, above 0 and up to 1.

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        What the padding alone changes: nothing in the cell but its scale.
    """
    images = _require_images(images)
    if not 0 < share <= 1:
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
    """Return the images with a stain that tells the class in training and not in testing.

    As if the positive slides of the training hospital had been stained redder,
    and those of the test hospital by chance: a shortcut whose end is known.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, h, w, 3)
    target : ndarray of int, shape (n,)
        1 is positive.
    split : iterable of str, length n
        In ``train`` and ``val`` the stain follows the class, elsewhere a coin.
    strength : float
        By which share the channels are changed.
    seed : int
        Of the coin and of the small differences between images.

    Returns
    -------
    ndarray of uint8, shape (n, h, w, 3)
        Black ground stays black.

    Raises
    ------
    ExplainError
        When the lengths differ.
    """
    images = _require_images(images)
    target, split = np.asarray(target), np.asarray(list(split), dtype=object)
    if not len(images) == len(target) == len(split):
        raise ExplainError(
            f"{len(images)} images, {len(target)} targets and {len(split)} splits do not belong "
            "together."
        )
    rng = np.random.default_rng(seed)
    coin = rng.integers(0, 2, len(images))
    red = np.where(np.isin(split, ("train", "val")), target, coin) * 2 - 1
    amount = strength * red * rng.normal(1, 0.2, len(images))
    gains = 1 + amount[:, np.newaxis] * _TINT
    stained = images * gains[:, np.newaxis, np.newaxis, :].astype(np.float32)
    return np.clip(np.rint(stained), 0, 255).astype(np.uint8)


def report(scores: dict[str, pd.DataFrame], resamples: int = 1000, seed: int = 24) -> pd.DataFrame:
    """Return how well each classifier does in training and in testing, and how far it falls.

    Parameters
    ----------
    scores : dict of str to pandas.DataFrame
        A table of predictions a classifier, with rows in ``train`` and ``test``.
    resamples, seed : int
        Of the intervals, which are over subjects.

    Returns
    -------
    pandas.DataFrame
        `classifier`, `train` and `test` (AUC), `low`, `high` (of the test AUC),
        `fall` (train minus test). A classifier on colours alone that is sure in
        training and guesses in testing has found a planted stain.
    """
    from helpers.predictions import metrics

    rows = []
    for name, table in scores.items():
        parts = {part: table[table["split"] == part] for part in ("train", "test")}
        empty = [part for part, rows_ in parts.items() if rows_.empty]
        if empty:
            raise ExplainError(f"The predictions of {name!r} have no rows in {empty}.")
        train, test = (metrics.auc(parts[part]) for part in ("train", "test"))
        low, high = metrics.bootstrap_interval(parts["test"], "auc", resamples, seed=seed)
        rows.append((name, train, test, low, high, train - test))
    return pd.DataFrame(rows, columns=["classifier", "train", "test", "low", "high", "fall"])


def _require_images(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ExplainError(
            f"Images must be uint8 of shape (n, height, width, 3), but are {images.dtype} of "
            f"shape {images.shape}; helpers.images.load_images makes them."
        )
    return images


def _masks_of(images: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    images = _require_images(images)
    if masks is None:
        return cell_masks(images)
    masks = np.asarray(masks, bool)
    if masks.shape != images.shape[:3]:
        raise ExplainError(
            f"The masks have the shape {masks.shape}, but the images want {images.shape[:3]}."
        )
    return masks
