"""Stain normalisation: giving the cells of one image the colours of another.

Slides differ in dye, age, lamp and camera. Two classical methods remove these
differences:

- ``reinhard``: the mean and standard deviation of each channel of L*a*b* are set
  to those of a reference. Reinhard et al. 2001, https://doi.org/10.1109/38.946629
- ``macenko``: two dyes are estimated from the optical density, and their amounts
  are scaled to those of the reference. Macenko et al. 2009,
  https://doi.org/10.1109/ISBI.2009.5193250

Macenko's method was designed for tissue stained with haematoxylin and eosin.
Blood smears are stained with Giemsa, which has more than two dyes (azure,
methylene blue, eosin). The method also needs the brightness of empty glass,
which a frame on black background no longer shows (240 is assumed). So it is
here for comparison and is not the default: on C-NMC frames it makes subjects
differ more.

Both are computed by torchstain (NumPy backend, no PyTorch). It does not support
masks, so it gets the pixels of the cell only: otherwise the black background
would dominate the statistics, and the cell would come out too dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers.base.errors import ImageError

METHODS = ("reinhard", "macenko")
#: A cell with fewer pixels has no reliable statistics.
FEWEST = 64
# For Macenko: the brightness of empty glass, and the density below which a pixel is glass.
_GLASS, _CLEAR = 240.0, 0.15
# Macenko's two dyes are estimated from this many pixels; more only cost time.
_ENOUGH = 10_000
# torchstain scales L*, a*, b* as OpenCV does to store them in bytes.
_STRETCH, _SHIFT = np.float32([2.55, 1, 1]), np.float32([0, 128, 128])


def cell_pixels(image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the mask of the cell: the given one, or all pixels that are not black.

    Parameters
    ----------
    image : numpy.ndarray
        (h, w, 3), uint8, RGB.
    mask : numpy.ndarray, optional
        (h, w), bool, or any other type that is 0 outside the cell.

    Returns
    -------
    numpy.ndarray
        (h, w), bool.

    Raises
    ------
    ImageError
        When the image is not RGB uint8, the mask has another size, fewer than
        `FEWEST` pixels belong to the cell, or there is neither a mask nor a black background.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(
            f"An image must be RGB uint8 of shape (h, w, 3), not {image.dtype} of {image.shape}."
        )
    if mask is None:
        cell = _lit(image)
        if cell.all():
            raise ImageError(
                f"The image of {image.shape[1]}x{image.shape[0]} pixels has no black background, "
                "so the cell is unknown: give a mask, such as helpers.cells.segmentation returns."
            )
    else:
        cell = np.asarray(mask) != 0
        if cell.shape != image.shape[:2]:
            raise ImageError(
                f"The mask has shape {cell.shape} and its image {image.shape[:2]}: they must agree."
            )
    count = int(cell.sum())
    if count < FEWEST:
        raise ImageError(
            f"Only {count} pixels of the image belong to a cell; {FEWEST} or more are needed to "
            "measure its stain."
        )
    return cell


class Normaliser:
    """Gives cells the colours of a reference; does not change the background.

    Parameters
    ----------
    method : str
        ``reinhard`` or ``macenko``.

    Attributes
    ----------
    reference_ : dict of str to numpy.ndarray
        Set by :meth:`fit`. Reinhard: `means` and `deviations` of L*, a*, b*.
        Macenko: `dyes` (3, 2), the optical densities of two dyes as unit vectors,
        and `amounts` (2,), the 99th percentiles of their amounts.

    Notes
    -----
    Fit on training images only. The result of :meth:`transform` depends only on
    the reference and on the image itself.
    """

    def __init__(self, method: str = "reinhard"):
        if method not in METHODS:
            raise ImageError(f"The method is {method!r}, but must be one of {', '.join(METHODS)}.")
        self.method = method

    def fit(
        self, images: np.ndarray | Sequence[np.ndarray], masks: Sequence[np.ndarray] | None = None
    ) -> Normaliser:
        """Compute the reference from one image or from several.

        Reinhard: the statistics of each image are averaged, so that differences
        between images do not increase the deviations. Macenko: the pixels of all
        images are pooled (the same number of each), because the order of the two
        dyes may change from image to image.

        Parameters
        ----------
        images : numpy.ndarray or sequence of numpy.ndarray
            One (h, w, 3) or many, uint8, RGB.
        masks : sequence of numpy.ndarray, optional
            One (h, w) for each image. By default, all pixels that are not black.

        Returns
        -------
        Normaliser
            The object itself.

        Raises
        ------
        ImageError
            As :func:`cell_pixels`, and when all pixels of a cell have one colour.
        """
        parts = _each(images, masks)
        if self.method == "macenko":
            most = max(_ENOUGH // len(parts), FEWEST)
            parts = [np.concatenate([_thinned(pixels, most) for pixels in parts])]
        measures = [_measure(self.method, pixels) for pixels in parts]
        self.reference_ = {
            name: np.mean([measure[name] for measure in measures], axis=0) for name in measures[0]
        }
        return self

    def transform(self, image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return one image with its cell in the colours of the reference.

        Parameters
        ----------
        image : numpy.ndarray
            (h, w, 3), uint8, RGB.
        mask : numpy.ndarray, optional
            (h, w): the cell. By default, all pixels that are not black.

        Returns
        -------
        numpy.ndarray
            (h, w, 3), uint8, RGB; unchanged outside the cell. A cell pixel never
            becomes pure black, the colour of the background.

        Raises
        ------
        ImageError
            As :func:`cell_pixels`, and when :meth:`fit` has not been called.
        """
        return self.transform_together([image], None if mask is None else [mask])[0]

    def transform_together(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """Return images of one slide, all changed by the same colour map.

        The map is computed from all their cell pixels together: it removes the
        difference between the slide and the reference, and keeps the differences
        between the cells of the slide. :meth:`transform` removes both.

        Parameters
        ----------
        images : sequence of numpy.ndarray
            As in :meth:`transform`, all from the slide of one subject.
        masks : sequence of numpy.ndarray, optional
            One for each image.

        Returns
        -------
        list of numpy.ndarray
        """
        if not hasattr(self, "reference_"):
            raise ImageError("The normaliser has no reference yet: call fit on training images.")
        cells = _cells(images, masks)
        pixels = np.concatenate(
            [np.asarray(image)[cell] for image, cell in zip(images, cells, strict=True)]
        )
        changed = _MAPS[self.method](pixels, self.reference_)
        changed[~_lit(changed)] = 1
        ends = np.cumsum([int(cell.sum()) for cell in cells])[:-1]
        results = []
        for image, cell, part in zip(images, cells, np.split(changed, ends), strict=True):
            result = np.array(image)
            result[cell] = part
            results.append(result)
        return results


def _lit(pixels: np.ndarray) -> np.ndarray:
    """Return where any of three channels is not 0, ten times as fast as NumPy's `any`."""
    return (pixels[..., 0] | pixels[..., 1] | pixels[..., 2]) > 0


def _cells(images: Sequence, masks: Sequence | None) -> list[np.ndarray]:
    if images is None or not len(images):
        raise ImageError("There are no images to measure.")
    if masks is None:
        masks = [None] * len(images)
    if len(masks) != len(images):
        raise ImageError(
            f"There are {len(images)} images and {len(masks)} masks: give one mask for each image."
        )
    return [cell_pixels(image, mask) for image, mask in zip(images, masks, strict=True)]


def _each(images: np.ndarray | Sequence, masks: Sequence | None) -> list[np.ndarray]:
    """Return the cell pixels, (n, 3), of each image."""
    if isinstance(images, np.ndarray) and images.ndim == 3:
        images, masks = [images], None if masks is None else [np.asarray(masks)]
    cells = _cells(images, masks)
    return [np.asarray(image)[cell] for image, cell in zip(images, cells, strict=True)]


def _thinned(pixels: np.ndarray, most: int) -> np.ndarray:
    """Return every k-th pixel, `most` or fewer."""
    return pixels[:: -(-len(pixels) // most)]


def _measure(method: str, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the statistics of (n, 3) pixels that torchstain uses as a reference."""
    if method == "reinhard":
        return _moments(_lab(pixels))
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

    pixels = _thinned(pixels, _ENOUGH)
    density = -np.log((pixels.astype(float) + 1) / _GLASS)
    dyed = int((density >= _CLEAR).all(axis=1).sum())
    if dyed < FEWEST:
        raise ImageError(
            f"Only {dyed} of {len(pixels)} cell pixels are stained (darker than glass in every "
            f"channel); Macenko's method needs {FEWEST}."
        )
    macenko = NumpyMacenkoNormalizer()
    macenko.fit(pixels[:, None], Io=_GLASS, beta=_CLEAR)
    dyes, amounts = macenko.HERef, macenko.maxCRef
    if not np.isfinite(dyes).all() or np.linalg.cond(dyes) > 1e4 or not (amounts > 1e-3).all():
        raise ImageError(
            f"Two dyes cannot be distinguished in the {len(pixels)} cell pixels; Macenko's method "
            "needs pixels of different colours."
        )
    return {"dyes": dyes, "amounts": amounts}


def _lab(pixels: np.ndarray) -> np.ndarray:
    """Return L*, a*, b*, float32 (n, 3), as torchstain computes them."""
    from torchstain.numpy.utils.rgb2lab import rgb2lab

    # torchstain returns them scaled to bytes.
    return (rgb2lab(pixels.astype(np.float32) / 255) - _SHIFT) / _STRETCH


def _moments(lab: np.ndarray) -> dict[str, np.ndarray]:
    means, deviations = lab.mean(axis=0, dtype=float), lab.std(axis=0, dtype=float)
    if not (deviations > 1e-3).all():
        raise ImageError(
            f"The {len(lab)} cell pixels all have about the same colour, so their spread cannot "
            "be scaled to that of the reference: is the mask right?"
        )
    return {"means": means, "deviations": deviations}


def _reinhard(pixels: np.ndarray, reference: dict[str, np.ndarray]) -> np.ndarray:
    # As torchstain's `normalize`, but L*a*b* is computed once instead of twice.
    from torchstain.numpy.utils.lab2rgb import lab2rgb

    lab = _lab(pixels)
    own = _moments(lab)
    factor = reference["deviations"] / own["deviations"]
    lab = (lab - own["means"]) * factor + reference["means"]
    return (lab2rgb((lab * _STRETCH + _SHIFT).astype(np.float32)) * 255).astype(np.uint8)


def _macenko(pixels: np.ndarray, reference: dict[str, np.ndarray]) -> np.ndarray:
    # torchstain estimates the dyes. The rest of its `normalize` equals one 3x3 matrix
    # on the densities, and applying that matrix is ten times as fast.
    own = _measure("macenko", pixels)
    scale = np.diag(reference["amounts"] / own["amounts"])
    matrix = reference["dyes"] @ scale @ np.linalg.pinv(own["dyes"])
    levels = -np.log((np.arange(256) + 1) / _GLASS)
    light = _GLASS * np.exp(-(levels[pixels].astype(np.float32) @ matrix.T.astype(np.float32)))
    return np.minimum(light, 255).astype(np.uint8)


_MAPS: dict[str, Any] = {"reinhard": _reinhard, "macenko": _macenko}
