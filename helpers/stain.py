"""Stain normalisation: giving one image the colours of another, cell pixels only.

Slides differ in dye, age, lamp and camera. Two classical ways to take that out:

- ``reinhard``: mean and standard deviation of each channel of L*a*b* are made
  those of a reference. Reinhard et al. 2001, https://doi.org/10.1109/38.946629
- ``macenko``: two dyes are found in the optical density, and their amounts are
  scaled to the reference's. Macenko et al. 2009,
  https://doi.org/10.1109/ISBI.2009.5193250

Macenko's way was made for sections stained with haematoxylin and eosin. Blood
smears are stained with Giemsa, whose azure, methylene blue and eosin are not
two dyes, and a frame cut out on black no longer shows the light of empty glass
that the method measures against (240 is taken). It stands here as an ablation
and not as a default: on C-NMC frames it makes subjects differ more.

Both are computed by torchstain (NumPy backend, no PyTorch). It knows nothing of
masks, so it is given the pixels of the cell alone: over a whole frame the black
ground would be most of the statistics, and the cell would come out too dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers.errors import CourseError

METHODS = ("reinhard", "macenko")
#: With fewer pixels than this, the statistics of a cell mean nothing.
FEWEST = 64
# Macenko's light of empty glass, and the density below which a pixel counts as glass.
_GLASS, _CLEAR = 240.0, 0.15
# Pixels from which Macenko's two dyes are found; more only cost time.
_ENOUGH = 10_000
# OpenCV's way to store L*, a*, b* in bytes, which torchstain keeps to.
_STRETCH, _SHIFT = np.float32([2.55, 1, 1]), np.float32([0, 128, 128])


class StainError(CourseError, ValueError):
    """Images whose stain cannot be measured or changed."""


def cell_pixels(image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return where the cell is: the mask, or in a frame whatever is not black.

    Parameters
    ----------
    image : numpy.ndarray
        (h, w, 3), uint8, RGB.
    mask : numpy.ndarray, optional
        (h, w), bool; other types count where they are not 0.

    Returns
    -------
    numpy.ndarray
        (h, w), bool.

    Raises
    ------
    StainError
        When the image is not RGB uint8, the mask has another size, fewer than
        `FEWEST` pixels belong to the cell, or there is neither mask nor black ground.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise StainError(
            f"An image must be RGB uint8 of shape (h, w, 3), not {image.dtype} of {image.shape}."
        )
    if mask is None:
        cell = _lit(image)
        if cell.all():
            raise StainError(
                f"The image of {image.shape[1]}x{image.shape[0]} pixels has no black ground, so "
                "what is cell cannot be told: give a mask, as helpers.cells.segmentation makes it."
            )
    else:
        cell = np.asarray(mask) != 0
        if cell.shape != image.shape[:2]:
            raise StainError(
                f"The mask has shape {cell.shape} and its image {image.shape[:2]}: they must agree."
            )
    count = int(cell.sum())
    if count < FEWEST:
        raise StainError(
            f"Only {count} pixels of the image belong to a cell; {FEWEST} or more are needed to "
            "measure its stain."
        )
    return cell


class Normaliser:
    """Gives cells the colours of a reference, and leaves the ground as it is.

    Parameters
    ----------
    method : str
        ``reinhard`` or ``macenko``.

    Attributes
    ----------
    reference_ : dict of str to numpy.ndarray
        After :meth:`fit`. Reinhard: `means`, `deviations` of L*, a*, b*. Macenko:
        `dyes` (3, 2), unit optical densities of two dyes, and `amounts` (2,),
        the 99th percentiles of their amounts.

    Notes
    -----
    Fit on training images only. What :meth:`transform` does to an image depends
    on the reference and on that image alone.
    """

    def __init__(self, method: str = "reinhard"):
        if method not in METHODS:
            raise StainError(f"The method is {method!r}, but must be one of {', '.join(METHODS)}.")
        self.method = method

    def fit(
        self, images: np.ndarray | Sequence[np.ndarray], masks: Sequence[np.ndarray] | None = None
    ) -> Normaliser:
        """Take the reference from one image or from several.

        Reinhard: each image is measured by itself and the measures are averaged,
        so that how much the images differ does not widen the reference. Macenko:
        the pixels of all images are taken together (as many of each), since
        which of two dyes is called the first may change from image to image.

        Parameters
        ----------
        images : numpy.ndarray or sequence of numpy.ndarray
            One (h, w, 3) or many, uint8, RGB.
        masks : sequence of numpy.ndarray, optional
            One (h, w) for each image, or one for one. By default what is not black.

        Returns
        -------
        Normaliser
            Itself.

        Raises
        ------
        StainError
            As :func:`cell_pixels`, and when a cell has no spread of colours.
        """
        parts = _each(images, masks)
        if self.method == "macenko":
            most = max(_ENOUGH // len(parts), FEWEST)
            parts = [np.concatenate([_thinned(pixels, most) for pixels in parts])]
        found = [_measure(self.method, pixels) for pixels in parts]
        self.reference_ = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
        return self

    def transform(self, image: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Return one image with its cell in the reference's colours.

        Parameters
        ----------
        image : numpy.ndarray
            (h, w, 3), uint8, RGB.
        mask : numpy.ndarray, optional
            (h, w): the cell. By default what is not black.

        Returns
        -------
        numpy.ndarray
            (h, w, 3), uint8, RGB; outside the cell the same bytes as before. A
            cell pixel never becomes pure black, which means ground.

        Raises
        ------
        StainError
            As :func:`cell_pixels`, and when :meth:`fit` has not been called.
        """
        return self.transform_together([image], None if mask is None else [mask])[0]

    def transform_together(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """Return images of one slide, changed by one and the same map.

        The map is found from all their cell pixels together: what differs
        between the slide and the reference goes, what differs between the
        cells of the slide stays. :meth:`transform` takes both away.

        Parameters
        ----------
        images : sequence of numpy.ndarray
            Of one subject's slide; as in :meth:`transform`.
        masks : sequence of numpy.ndarray, optional
            One for each image.

        Returns
        -------
        list of numpy.ndarray
        """
        if not hasattr(self, "reference_"):
            raise StainError("The normaliser has no reference yet: call fit on training images.")
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
    """Return where any of three channels is not 0; numpy's `any` along them takes ten times it."""
    return (pixels[..., 0] | pixels[..., 1] | pixels[..., 2]) > 0


def _cells(images: Sequence, masks: Sequence | None) -> list[np.ndarray]:
    if images is None:
        raise StainError("There are no images to measure a stain of.")
    if masks is None:
        masks = [None] * len(images)
    if len(masks) != len(images):
        raise StainError(f"There are {len(images)} images and {len(masks)} masks: give one each.")
    if not len(images):
        raise StainError("There are no images to measure a stain of.")
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
    """Return what torchstain makes the reference of, measured on (n, 3) pixels."""
    if method == "reinhard":
        return _moments(_lab(pixels))
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

    pixels = _thinned(pixels, _ENOUGH)
    density = -np.log((pixels.astype(float) + 1) / _GLASS)
    dyed = int((density >= _CLEAR).all(axis=1).sum())
    if dyed < FEWEST:
        raise StainError(
            f"Only {dyed} of {len(pixels)} cell pixels took up dye (are darker than glass in "
            f"every channel); Macenko's method needs {FEWEST}."
        )
    macenko = NumpyMacenkoNormalizer()
    macenko.fit(pixels[:, None], Io=_GLASS, beta=_CLEAR)
    dyes, amounts = macenko.HERef, macenko.maxCRef
    if not np.isfinite(dyes).all() or np.linalg.cond(dyes) > 1e4 or not (amounts > 1e-3).all():
        raise StainError(
            f"Two dyes cannot be told apart in the {len(pixels)} cell pixels; Macenko's method "
            "needs pixels of different colours."
        )
    return {"dyes": dyes, "amounts": amounts}


def _lab(pixels: np.ndarray) -> np.ndarray:
    """Return L*, a*, b*, float32 (n, 3), as torchstain computes them."""
    from torchstain.numpy.utils.rgb2lab import rgb2lab

    # torchstain hands them on as OpenCV stores them.
    return (rgb2lab(pixels.astype(np.float32) / 255) - _SHIFT) / _STRETCH


def _moments(lab: np.ndarray) -> dict[str, np.ndarray]:
    means, deviations = lab.mean(axis=0, dtype=float), lab.std(axis=0, dtype=float)
    if not (deviations > 1e-3).all():
        raise StainError(
            f"The {len(lab)} cell pixels have no spread of colours, so they cannot be brought to "
            "another one: is the mask right?"
        )
    return {"means": means, "deviations": deviations}


def _reinhard(pixels: np.ndarray, reference: dict[str, np.ndarray]) -> np.ndarray:
    # What torchstain's `normalize` does, but L*a*b* is computed once and not twice.
    from torchstain.numpy.utils.lab2rgb import lab2rgb

    lab = _lab(pixels)
    own = _moments(lab)
    factor = reference["deviations"] / own["deviations"]
    lab = (lab - own["means"]) * factor + reference["means"]
    return (lab2rgb((lab * _STRETCH + _SHIFT).astype(np.float32)) * 255).astype(np.uint8)


def _macenko(pixels: np.ndarray, reference: dict[str, np.ndarray]) -> np.ndarray:
    # torchstain finds the dyes; the rest of its `normalize` is one 3x3 matrix on
    # the density, which is ten times as fast when it is applied as one.
    own = _measure("macenko", pixels)
    scale = np.diag(reference["amounts"] / own["amounts"])
    matrix = reference["dyes"] @ scale @ np.linalg.pinv(own["dyes"])
    levels = -np.log((np.arange(256) + 1) / _GLASS)
    light = _GLASS * np.exp(-(levels[pixels].astype(np.float32) @ matrix.T.astype(np.float32)))
    return np.minimum(light, 255).astype(np.uint8)


_MAPS: dict[str, Any] = {"reinhard": _reinhard, "macenko": _macenko}
