"""Which parts of an image decide the score of a network: three maps, and their measures.

:func:`grad_cam`, :func:`occlusion` and :func:`integrated_gradients` work for every network
of the course. They explain the *logit*, the input of the last sigmoid, and not the score:
where a network is sure, the score is near 0 or 1, the sigmoid is flat, and the score
hardly changes with the image. The logit does.

Maps are float32 of the image's height and width, in units of the logit. A map means
something only when an untrained network gives another one:
:func:`helpers.explaining.sanity.sanity_check` tests that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from helpers.base import arguments
from helpers.base.errors import ExplainError
from helpers.explaining import gradients
from helpers.models import custom_cnn, transfer
from helpers.models.layers import layers_of, path_of, require_classifier
from helpers.training import batches

if TYPE_CHECKING:
    import keras

#: Steps of integrated gradients: the first number, and the one that is not doubled any more.
FEWEST_STEPS, MOST_STEPS = 32, 256
#: By how much of the logit's difference the sum of a map of integrated gradients may be off.
OFF = 0.02
_UNSEEN = 1e-3  # an error of the logit that no digit of a page shows
_BATCH = 32


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the input of the last sigmoid for each image, float64, shape (n,).

    Parameters
    ----------
    model : keras.Model
        From raw 0..255 RGB, shape (batch, size, size, 3), to one probability.
    images : numpy.ndarray
        Shape (n, size, size, 3), or one image.

    Raises
    ------
    ExplainError, ModelError
        When the network or the images are of another kind.
    """
    images, _ = _checked(model, images)
    return _logits(gradients.logit_of(model), images)


def gradient(function: Callable, values: np.ndarray) -> np.ndarray:
    """Return the gradient of a function, on TensorFlow or JAX.

    Parameters
    ----------
    function : callable
        From a tensor of the shape of `values` to a tensor of shape (n,), row by row.
    values : numpy.ndarray
        Where to take the gradient, shape (n, ...).

    Returns
    -------
    numpy.ndarray
        float32, of the shape of `values`: row i is the gradient of the function's row i.
    """
    return _differentiator(function)(np.asarray(values, np.float32))[1]


def feature_layer(model: keras.Model) -> str:
    """Return the path of the layer whose maps :func:`grad_cam` takes by default.

    Each architecture of the course names the layer that gives its last feature maps:
    ``conv4``, or ``backbone/out_relu`` inside a nested backbone.

    Raises
    ------
    ExplainError
        When the network has another architecture.
    """
    path = ""
    if model.name == "custom_cnn":
        path = custom_cnn.feature_layer(model.input_shape[1])
    elif model.name == "dcnn":
        from helpers.models import dcnn  # imports Keras

        path = dcnn.FEATURE_LAYER
    elif model.name in transfer.REGISTRY and any(one.name == "backbone" for one in model.layers):
        path = transfer.feature_layer(model)
    if path not in layers_of(model):  # a network of another architecture may have the same name
        raise ExplainError(f"The feature maps of {model.name} are not known: {_advice(model)}.")
    return path


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    layer: str | None = None,
    *,
    positive: bool = True,
    enlarge: bool = True,
) -> np.ndarray:
    """Return Grad-CAM's map of each image.

    Each feature map is weighted by the mean of the logit's gradient over it. The
    weighted maps are added up, and negative values are set to zero.

    Parameters
    ----------
    model : keras.Model
        As in :func:`logits`; flat, or with a nested backbone.
    images : numpy.ndarray
        As in :func:`logits`.
    layer : str, optional
        Name or path of the layer whose maps are taken. It may be left out for the
        architectures of the course (:func:`feature_layer`).
    positive : bool
        Explain the positive class; otherwise the negative one, whose logit has the
        opposite sign.
    enlarge : bool
        Resize the map to the size of the image, by linear interpolation.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, height, width), or (height, width) of one image; with
        `enlarge` False the feature map's height and width.

    Raises
    ------
    ExplainError, ModelError
        When there is no such layer, or its output is not feature maps with more than
        one position.

    References
    ----------
    Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74.
    """
    import cv2

    images, single = _checked(model, images)
    path = path_of(model, layer) if layer else feature_layer(model)
    target = layers_of(model)[path]
    shape = _map_shape(target)
    if shape is None:
        raise ExplainError(
            f"{path} gives no feature maps (height, width, channels) of a fixed size with more "
            f"than one position: {_advice(model)}."
        )
    logit, sign = gradients.logit_of(model), 1 if positive else -1

    def value_and_maps(added: object, batch: object) -> tuple:
        with gradients.recorded(target, added) as outputs:
            value = sign * logit(batch)
        if len(outputs) != 1:
            raise ExplainError(
                f"{path} is used {len(outputs)} times in a pass: name a layer that is used once."
            )
        return value, outputs[0]

    differentiate = gradients.differentiator(value_and_maps)
    drawn = []
    for batch, count in batches.padded(images, _BATCH):
        _, slope, maps = differentiate(np.zeros((len(batch), *shape), np.float32), batch)
        weights = slope.mean(axis=(1, 2), keepdims=True)
        drawn.append((weights * maps).sum(axis=-1)[:count])
    result = np.maximum(np.concatenate(drawn), 0)
    if enlarge:
        size = images.shape[1:3]
        result = np.stack([cv2.resize(m, size, interpolation=cv2.INTER_LINEAR) for m in result])
    return _as_given(result, single)


def occlusion(
    model: keras.Model,
    images: np.ndarray,
    patch: int | None = None,
    stride: int | None = None,
) -> np.ndarray:
    """Return by how much the logit falls when a part of the image is covered.

    A square moves over the image, in the mean colour of the image's pixels that are not
    black. A pixel's value is the mean fall over all squares that
    covered it, and 0 for a pixel that no square changes. Pure black stays black, so that
    the cell keeps its outline; squares that change nothing are not computed.

    Parameters
    ----------
    model, images : keras.Model, numpy.ndarray
        As in :func:`logits`.
    patch : int, optional
        Side of the square in pixels; by default a sixth of the image's.
    stride : int, optional
        Pixels from one square to the next; by default half of `patch`.

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
    images, single = _checked(model, images)
    size = images.shape[1]
    patch = max(1, size // 6) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not 1 <= patch <= size or not 1 <= stride <= patch:
        raise ExplainError(
            f"A square of {patch} pixels moved by {stride} does not cover an image of "
            f"{size}x{size}: the side must fit into it, and the stride into the side."
        )
    starts = sorted({*range(0, size - patch + 1, stride), size - patch})  # the last at the edge
    boxes = [np.s_[y : y + patch, x : x + patch] for y in starts for x in starts]
    squares = np.zeros((size, size))  # over each pixel
    for box in boxes:
        squares[box] += 1
    logit = gradients.logit_of(model)
    result = np.zeros((len(images), size, size))
    for image, falls, before in zip(images, result, _logits(logit, images), strict=True):
        lit = image.max(axis=-1) > 0
        colour = image[lit].mean(axis=0) if lit.any() else np.float32(0)
        painted = np.where(lit[..., np.newaxis], colour, image)
        changed = (painted != image).any(axis=-1)
        covering = [box for box in boxes if changed[box].any()]
        if not covering:
            continue
        covered = np.repeat(image[np.newaxis], len(covering), axis=0)
        for copy, box in zip(covered, covering, strict=True):
            copy[box] = painted[box]
        for box, after in zip(covering, _logits(logit, covered), strict=True):
            falls[box] += before - after
        falls *= changed / squares
    return _as_given(result, single)


def integrated_gradients(
    model: keras.Model,
    images: np.ndarray,
    steps: int | None = None,
) -> np.ndarray:
    """Return what each pixel adds to the logit on the way from a black image to the image.

    The gradient is averaged along the straight line from the black image (the baseline) to
    the image and multiplied by the change of each pixel; the three colours of a pixel are
    added up. The sum of the map is the logit of the image minus that of the black image
    (*completeness*), up to the error of a sum of `steps` points. A black pixel always gets 0.

    Parameters
    ----------
    model, images : keras.Model, numpy.ndarray
        As in :func:`logits`.
    steps : int, optional
        Points on the line: the middles of as many equal parts. By default as many as an
        image needs: from `FEWEST_STEPS` on they are doubled until the map's sum is off by at
        most `OFF` of the logit's difference. Images that are not there after `MOST_STEPS`
        are told in a printed sentence.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, height, width), or (height, width) of one image.

    Raises
    ------
    ExplainError
        When the number of steps is no whole number from 1 up.

    References
    ----------
    Sundararajan, Taly & Yan 2017, arXiv 1703.01365.
    """
    images, single = _checked(model, images)
    logit = gradients.logit_of(model)
    differentiate = _differentiator(logit)
    if steps is not None:
        steps = arguments.whole("The number of steps", steps, ExplainError, 1)
        return _as_given(_integrated(differentiate, images, steps), single)
    difference = _logits(logit, images) - _logits(logit, np.zeros_like(images[:1]))
    maps = np.zeros(images.shape[:3])
    pending, steps = np.arange(len(images)), FEWEST_STEPS
    while True:
        maps[pending] = _integrated(differentiate, images[pending], steps)
        wanted = difference[pending]
        off = np.abs(maps[pending].sum(axis=(1, 2)) - wanted)
        late = off > np.maximum(OFF * np.abs(wanted), _UNSEEN)
        pending, off = pending[late], (off[late] / np.maximum(np.abs(wanted[late]), _UNSEEN))
        if not len(pending) or steps >= MOST_STEPS:
            break
        steps *= 2
    if len(pending):
        print(
            f"Maps of integrated gradients not complete after {steps} steps: {len(pending)} of "
            f"{len(images)}. They are off by up to {off.max():.0%} of the logit's difference."
        )
    return _as_given(maps, single)


def _integrated(differentiate: Callable, images: np.ndarray, steps: int) -> np.ndarray:
    """Return the maps of :func:`integrated_gradients` from that many steps, float64."""
    rows = np.repeat(np.arange(len(images)), steps)
    along = np.tile((np.arange(steps, dtype=np.float32) + 0.5) / steps, len(images))
    slopes = np.zeros(images.shape)
    for indices, count in batches.padded(np.arange(len(rows)), _BATCH):
        points = along[indices][:, None, None, None] * images[rows[indices]]
        np.add.at(slopes, rows[indices[:count]], differentiate(points)[1][:count])
    return (images * slopes / steps).sum(axis=-1)


def share_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray | float:
    """Return which share of a map lies inside a mask, from 0 to 1.

    Parameters
    ----------
    maps : numpy.ndarray
        Shape (n, height, width) or (height, width). Negative values count like
        positive ones.
    masks : numpy.ndarray of bool
        Of the same shape.

    Returns
    -------
    numpy.ndarray or float
        float64, one for each map; NaN where the map is zero everywhere. Compare it
        with the share of the image that the mask covers, ``mask.mean()``, which is
        the result for a map that is the same everywhere.

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


def _checked(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the images as float32 (n, height, width, 3), and whether one image was given."""
    images = np.asarray(images)
    single = images.ndim == 3
    images = images[np.newaxis] if single else images
    size = require_classifier(model)
    if images.shape[1:] != (size, size, 3) or not len(images):
        raise ExplainError(
            f"The images have the shape {images.shape}, but {model.name} takes (n, {size}, {size}, "
            "3), at least one of them."
        )
    images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise ExplainError("The images hold values that are no numbers (NaN or infinite).")
    return images, single


def _as_given(maps: np.ndarray, single: bool) -> np.ndarray:
    """Return the maps as float32, without the first axis if one image was given."""
    return (maps[0] if single else maps).astype(np.float32)


def _map_shape(layer: keras.Layer) -> tuple[int, int, int] | None:
    """Return height, width and channels of the layer's output, None if it gives no such maps."""
    try:
        shape = tuple(layer.output.shape[1:])
    except (AttributeError, ValueError):  # several outputs, or never called
        return None
    return shape if len(shape) == 3 and None not in shape and shape[0] * shape[1] > 1 else None


def _advice(model: keras.Model) -> str:
    """Return which layers of the network Grad-CAM can use, as the end of an error message."""
    paths = [
        repr(path)
        for path, layer in layers_of(model).items()
        if any(kind in type(layer).__name__ for kind in ("Conv", "ReLU", "Activation"))
        and _map_shape(layer) is not None
    ]
    if not paths:
        return "it has no convolution with more than one position, so there is nothing to compare"
    return f"name a layer, layer={' or '.join(paths[-4:])}"


def _differentiator(function: Callable) -> Callable:
    """Return :func:`gradients.differentiator` of a function that has no further result."""

    def twice(tensor: object) -> tuple:
        values = function(tensor)
        return values, values

    return gradients.differentiator(twice)


def _logits(logit: Callable, images: np.ndarray) -> np.ndarray:
    import keras

    parts = [
        keras.ops.convert_to_numpy(logit(keras.ops.convert_to_tensor(batch)))[:count]
        for batch, count in batches.padded(images, _BATCH)
    ]
    return np.concatenate(parts).astype(np.float64)
