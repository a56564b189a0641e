"""Exact symmetries of a square image: mirror images and rotations by 90 degrees.

They move pixels and change no value, so a copy has exactly the content of its original.
A blood cell has no top or bottom: each copy could have been seen under the microscope.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from helpers.base import arguments
from helpers.base.errors import CatalogError

_H, _W = -3, -2  # the same axes in (h, w, c) and in (n, h, w, c)

_SYMMETRIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda a: a,
    "flip_horizontal": lambda a: np.flip(a, axis=_W),
    "flip_vertical": lambda a: np.flip(a, axis=_H),
    "rot90": lambda a: np.rot90(a, 1, axes=(_H, _W)),
    "rot180": lambda a: np.rot90(a, 2, axes=(_H, _W)),
    "rot270": lambda a: np.rot90(a, 3, axes=(_H, _W)),
    "transpose": lambda a: np.swapaxes(a, _H, _W),
    "antitranspose": lambda a: np.swapaxes(np.rot90(a, 2, axes=(_H, _W)), _H, _W),
}

#: Names of the eight symmetries of the square; the first one changes nothing.
#: Rotations are counter-clockwise; ``flip_horizontal`` exchanges left and right.
TRANSFORMS: tuple[str, ...] = tuple(_SYMMETRIES)


def apply(image: np.ndarray, transform: str) -> np.ndarray:
    """Return `image` rotated or mirrored by the named transform.

    Parameters
    ----------
    image : ndarray, shape (h, w, c) or (n, h, w, c), any dtype
        One image or a stack of images; it is not changed.
    transform : str
        One of :data:`TRANSFORMS`.

    Returns
    -------
    ndarray, contiguous, dtype of `image`
        A new array, also for ``identity``. Its shape is that of `image`; rotations by
        90 and 270 degrees and the two transposes exchange height and width.

    Raises
    ------
    CatalogError
        When the name is unknown or `image` has another number of axes.
    """
    if not isinstance(transform, str) or transform not in _SYMMETRIES:
        raise CatalogError(
            f"The transform is {arguments.shown(transform)}, but must be one of "
            f"{', '.join(TRANSFORMS)}."
        )
    try:
        image = np.asarray(image)
    except ValueError as error:
        raise CatalogError(f"A list of unequal rows is no image: {error}.") from error
    if image.ndim not in (3, 4):
        raise CatalogError(
            f"An array of shape {image.shape} is no image (h, w, c) and no stack (n, h, w, c); "
            "give a grey image a last axis of length 1."
        )
    return np.array(_SYMMETRIES[transform](image), order="C", copy=True)
