"""Where in the image a network found its answer: maps, and what they are worth.

Three maps for every network of the course: :func:`grad_cam`, :func:`occlusion` and
:func:`integrated_gradients`. All of them explain the *logit*, the number that goes
into the last sigmoid, and not the score: a network that is sure has a score near 0
or 1, where the sigmoid is flat, and whatever one does to the image, or to a slope,
the score hardly moves. The logit does.

Maps are float32 of the image's height and width, in units of the logit. A map is
only an answer when a network that learned nothing gives another one:
:func:`sanity_check` (Adebayo et al. 2018) asks that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.base.errors import ExplainError
from helpers.explaining import gradients

if TYPE_CHECKING:
    import keras


def logits(model: keras.Model, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return what goes into the last sigmoid for each image, float64, shape (n,).

    Parameters
    ----------
    model : keras.Model
        From raw 0..255 RGB, shape (batch, height, width, 3), to one probability.
    images : numpy.ndarray
        Shape (n, height, width, 3), or one image.
    batch_size : int
        Images in a step.

    Raises
    ------
    ExplainError
        When the network or the images are of another kind.
    """
    images, _ = _checked(model, images, batch_size)
    return _logits(gradients.evaluator(gradients.logit_of(model)), images, batch_size)


def gradient(function: Callable, values: np.ndarray) -> np.ndarray:
    """Return the gradient of a function by its values, on whichever backend Keras runs.

    Parameters
    ----------
    function : callable
        From a tensor of `values`' shape to a tensor of shape (n,), row by row.
    values : numpy.ndarray
        Shape (n, ...).

    Returns
    -------
    numpy.ndarray
        float32, of `values`' shape: row i is the gradient of the function's value i.
    """

    def passed(tensor: object) -> tuple:
        result = function(tensor)
        return result, result

    return gradients.differentiator(passed)(np.asarray(values, np.float32))[1]


def feature_layer(model: keras.Model) -> str:
    """Return the path of the layer whose maps :func:`grad_cam` takes by default.

    The last convolutional feature map that has more than one place, after its
    normalisation and activation: ``conv4``, or ``backbone/out_relu`` inside a
    nested backbone.

    Raises
    ------
    ExplainError
        When the network has none.
    """
    return gradients.last_map(model).path


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    layer: str | None = None,
    *,
    positive: bool = True,
    rectify: bool = True,
    average: bool = True,
    enlarge: bool = True,
    batch_size: int = 32,
) -> np.ndarray:
    """Return Grad-CAM's map of each image.

    Each feature map is weighed by the mean of the logit's gradient over it; the
    weighted maps are added up, and what is negative is set to zero.

    Parameters
    ----------
    model : keras.Model
        As in :func:`logits`; flat, or with a nested backbone.
    images : numpy.ndarray
        As in :func:`logits`.
    layer : str, optional
        Name or path of the layer whose maps are taken; by default
        :func:`feature_layer`.
    positive : bool
        Explain the positive class; otherwise the negative one, whose logit is
        the same with the sign turned.
    rectify : bool
        Set what is negative to zero, as the paper does.
    average : bool
        Take the gradient's mean over each map, as the paper does. False multiplies
        place by place (HiResCAM, Draelos & Carin 2020, arXiv 2011.08891), which is
        right also where a dense layer treats places differently.
    enlarge : bool
        Bring the map to the image's size, by linear interpolation.
    batch_size : int
        Images in a step.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, height, width), or (height, width) of one image; with
        `enlarge` False the feature map's height and width.

    Raises
    ------
    ExplainError
        When there is no such layer, or it gives no feature map.

    References
    ----------
    Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74.
    """
    import cv2

    images, single = _checked(model, images, batch_size)
    leaf = gradients.find_leaf(model, layer) if layer else gradients.last_map(model)
    logit, sign = gradients.logit_of(model), 1 if positive else -1

    def passed(added: object, batch: object) -> tuple:
        with gradients.probed(leaf.layer, added) as probe:
            value = sign * logit(batch)
        if probe.calls != 1:
            raise ExplainError(
                f"{leaf.path} is used {probe.calls} times in a pass: take a layer used once."
            )
        return value, probe.maps

    differentiate = gradients.differentiator(passed)
    shape = tuple(leaf.layer.output.shape[1:])
    if len(shape) != 3 or None in shape:
        raise ExplainError(
            f"{leaf.path} gives {shape} for an image, but Grad-CAM needs feature maps of a fixed "
            "(height, width, channels)."
        )
    found = []
    for batch, count in _batches(images, batch_size):
        nothing = np.zeros((len(batch), *shape), np.float32)
        _, slope, maps = differentiate(nothing, batch)
        if average:
            slope = slope.mean(axis=(1, 2), keepdims=True)
        found.append((slope * maps).sum(axis=-1)[:count])
    result = np.concatenate(found).astype(np.float32)
    if rectify:
        result = np.maximum(result, 0)
    if enlarge:
        size = images.shape[2], images.shape[1]
        result = np.stack([cv2.resize(m, size, interpolation=cv2.INTER_LINEAR) for m in result])
    return result[0] if single else result


def occlusion(
    model: keras.Model,
    images: np.ndarray,
    patch: int | None = None,
    stride: int | None = None,
    *,
    fill: float | Sequence[float] | None = None,
    ground: bool = False,
    positive: bool = True,
    batch_size: int = 64,
) -> np.ndarray:
    """Return by how much the logit falls when a place of the image is covered.

    A square goes over the image; a pixel's value is the mean fall over all
    squares that covered it. A pixel that no square changes has the value 0, and
    squares that change nothing are not computed.

    Parameters
    ----------
    model, images : keras.Model, numpy.ndarray
        As in :func:`logits`.
    patch : int, optional
        Side of the square in pixels; by default a sixth of the image's.
    stride : int, optional
        Pixels from one square to the next; by default half of `patch`.
    fill : float or three floats, optional
        What the square is painted with, 0..255; by default each image's own
        mean colour, black pixels left out.
    ground : bool
        Paint over pure black as well. Otherwise black ground stays black, and
        the cell keeps its outline.
    positive : bool
        Explain the positive class, as in :func:`grad_cam`.
    batch_size : int
        Covered images in a step.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, height, width), or (height, width) of one image.

    Raises
    ------
    ExplainError
        When the square is larger than the image, or the stride leaves gaps.

    References
    ----------
    Zeiler & Fergus 2014, doi:10.1007/978-3-319-10590-1_53.
    """
    images, single = _checked(model, images, batch_size)
    height, width = images.shape[1:3]
    patch = max(1, min(height, width) // 6) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not 1 <= patch <= min(height, width) or not 1 <= stride <= patch:
        raise ExplainError(
            f"A square of {patch} pixels moved by {stride} does not cover an image of "
            f"{width}x{height}: the side must fit into it, and the stride into the side."
        )
    corners = [
        (y, x) for y in _starts(height, patch, stride) for x in _starts(width, patch, stride)
    ]
    seen = np.zeros((height, width))
    for y, x in corners:
        seen[y : y + patch, x : x + patch] += 1
    evaluate = gradients.evaluator(gradients.logit_of(model))
    before = _logits(evaluate, images, batch_size)
    result = np.zeros((len(images), height, width))
    changed = np.zeros(result.shape, bool)
    waiting: list[tuple[int, int, int, np.ndarray]] = []

    def settle() -> None:
        after = _logits(evaluate, np.stack([covered for *_, covered in waiting]), batch_size)
        for (row, y, x, _), value in zip(waiting, after, strict=True):
            result[row, y : y + patch, x : x + patch] += before[row] - value
        waiting.clear()

    for row, image in enumerate(images):
        lit = image.max(axis=-1) > 0
        colour = fill
        if fill is None:
            colour = image[lit].mean(axis=0) if lit.any() else 0.0
        painted = np.where((lit | ground)[..., None], np.float32(colour), image)
        changed[row] = (painted != image).any(axis=-1)
        for y, x in corners:
            there = slice(y, y + patch), slice(x, x + patch)
            if not changed[row][there].any():
                continue
            covered = image.copy()
            covered[there] = painted[there]
            waiting.append((row, y, x, covered))
            if len(waiting) == batch_size:
                settle()
    if waiting:
        settle()
    result = ((1 if positive else -1) * changed * result / seen).astype(np.float32)
    return result[0] if single else result


def integrated_gradients(
    model: keras.Model,
    images: np.ndarray,
    baseline: float | np.ndarray = 0.0,
    steps: int = 32,
    *,
    positive: bool = True,
    batch_size: int = 32,
) -> np.ndarray:
    """Return what each pixel adds to the logit on the way from a baseline to the image.

    The gradient is averaged along the straight line from the baseline to the image
    and multiplied by the way that each pixel goes; a pixel's three colours are
    added up. Over the image the map sums to the logit of the image minus that of
    the baseline (*completeness*), but for the error of `steps` points.

    Parameters
    ----------
    model, images : keras.Model, numpy.ndarray
        As in :func:`logits`.
    baseline : float or numpy.ndarray
        An image in which there is nothing, 0..255, or one value for all of it. A
        pixel that is as in the baseline gets zero, whatever the network does.
    steps : int
        Points on the line (the middles of as many equal parts).
    positive : bool
        Explain the positive class, as in :func:`grad_cam`.
    batch_size : int
        Points in a step.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, height, width), or (height, width) of one image.

    Raises
    ------
    ExplainError
        When there is no step, or the baseline has another shape than an image.

    References
    ----------
    Sundararajan, Taly & Yan 2017, arXiv 1703.01365.
    """
    images, single = _checked(model, images, batch_size)
    if steps < 1:
        raise ExplainError(f"The line is divided into {steps} steps; take at least 1.")
    try:
        start = np.broadcast_to(np.asarray(baseline, np.float32), images.shape[1:])
    except ValueError as error:
        raise ExplainError(
            f"The baseline has the shape {np.shape(baseline)}, but an image {images.shape[1:]}."
        ) from error
    logit, sign = gradients.logit_of(model), 1 if positive else -1

    def passed(batch: object) -> tuple:
        value = sign * logit(batch)
        return value, value

    differentiate = gradients.differentiator(passed)
    rows = np.repeat(np.arange(len(images)), steps)
    along = np.tile((np.arange(steps, dtype=np.float32) + 0.5) / steps, len(images))
    slopes = np.zeros(images.shape)
    for begin in range(0, len(rows), batch_size):
        which, part = rows[begin : begin + batch_size], along[begin : begin + batch_size]
        points = start + part[:, None, None, None] * (images[which] - start)
        points = _filled_up(points, batch_size if begin else len(points))
        slope = differentiate(points)[1][: len(which)]
        np.add.at(slopes, which, slope)
    result = ((images - start) * slopes / steps).sum(axis=-1).astype(np.float32)
    return result[0] if single else result


def share_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray | float:
    """Return which share of a map lies inside a mask, from 0 to 1.

    Parameters
    ----------
    maps : numpy.ndarray
        Shape (n, height, width) or (height, width). Negative values count as much
        as positive ones.
    masks : numpy.ndarray of bool
        Of the same shape.

    Returns
    -------
    numpy.ndarray or float
        float64, one for each map; NaN where the map is zero everywhere. Compare it
        with the share of the image that the mask covers, ``mask.mean()``: a map
        that knows nothing gets that much.

    Raises
    ------
    ExplainError
        When the shapes differ.
    """
    maps, masks = np.abs(np.asarray(maps, np.float64)), np.asarray(masks, bool)
    if maps.shape != masks.shape or maps.ndim not in (2, 3):
        raise ExplainError(
            f"The maps have the shape {maps.shape} and the masks {masks.shape}: "
            "make each mask in the size of its map."
        )
    total = maps.sum(axis=(-2, -1))
    inside = (maps * masks).sum(axis=(-2, -1))
    share = np.divide(inside, total, out=np.full(np.shape(total), np.nan), where=total > 0)
    return float(share) if maps.ndim == 2 else share


def _checked(model: keras.Model, images: np.ndarray, batch_size: int) -> tuple[np.ndarray, bool]:
    """Return the images as float32 (n, height, width, 3), and whether it was one alone."""
    images = np.asarray(images)
    single = images.ndim == 3
    images = images[np.newaxis] if single else images
    wanted = tuple(model.input_shape[1:])
    if images.ndim != 4 or images.shape[1:] != wanted or not len(images):
        raise ExplainError(
            f"The images have the shape {images.shape}, but {model.name} takes (n, "
            f"{', '.join(map(str, wanted))}), at least one of them."
        )
    images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise ExplainError("The images hold values that are no numbers (NaN or infinite).")
    if batch_size < 1:
        raise ExplainError(f"batch_size is {batch_size}, but must be at least 1.")
    return images, single


def _batches(images: np.ndarray, size: int) -> list[tuple[np.ndarray, int]]:
    """Return the batches and how many images of each count: the last is filled up."""
    found = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        # Another shape would be compiled anew on JAX.
        found.append((_filled_up(part, size if start else len(part)), len(part)))
    return found


def _filled_up(batch: np.ndarray, size: int) -> np.ndarray:
    missing = size - len(batch)
    return np.concatenate([batch, batch[:1].repeat(missing, axis=0)]) if missing > 0 else batch


def _logits(evaluate: object, images: np.ndarray, size: int) -> np.ndarray:
    found = [evaluate(batch)[:count] for batch, count in _batches(images, size)]
    return np.concatenate(found).astype(np.float64)


def _starts(length: int, patch: int, stride: int) -> list[int]:
    """Return where the squares begin along one side; the last ends with the image."""
    starts = list(range(0, length - patch + 1, stride))
    return starts if starts[-1] == length - patch else [*starts, length - patch]
