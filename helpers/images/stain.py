"""Stain normalisation: giving one image the colours of another, cell pixels only.

Slides differ in dye, age, lamp and camera. Two classical ways to remove these differences:

- ``reinhard``: mean and standard deviation of each channel of L*a*b* are made
  those of a reference. Reinhard et al. 2001, https://doi.org/10.1109/38.946629,
  worked in another space, l-alpha-beta; torchstain and we take L*a*b*.
- ``macenko``: two dyes are found in the optical density, and their amounts are
  scaled to the reference's. Macenko et al. 2009,
  https://doi.org/10.1109/ISBI.2009.5193250

Macenko's way was made for sections stained with haematoxylin and eosin. Blood
smears are stained with Giemsa, whose azure B and eosin make a third colour,
purple, where they meet, and a cell cut out on black no longer shows the brightness of empty
glass that the method compares with (240 is assumed). It is here as an ablation
and not as a default: on C-NMC frames it makes subjects differ more.

Both are computed by torchstain (NumPy backend, no PyTorch). It knows nothing of
masks, so it is given the pixels of the cell alone: over a whole frame the black
background would be most of the statistics, and the cell would come out too dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.base.errors import ImageError

if TYPE_CHECKING:
    from torchstain.base.normalizers import HENormalizer

METHODS = ("reinhard", "macenko")
#: With fewer pixels than this, the statistics of a cell mean nothing.
FEWEST = 64
# Brightness of empty glass, and the density below which a pixel counts as glass.
_GLASS, _CLEAR = 240, 0.15
# The reference of Macenko's method uses at most this many pixels, equally many per image.
_ENOUGH = 10_000
# Where torchstain stores what it has fitted.
_FITTED = {
    "reinhard": {"means": "target_means", "deviations": "target_stds"},
    "macenko": {"dyes": "HERef", "amounts": "maxCRef"},
}


class Normaliser:
    """Gives cells the colours of a reference, and leaves the background as it is.

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
            raise ImageError(f"The method is {method!r}, but must be one of {', '.join(METHODS)}.")
        self.method = method

    def fit(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Normaliser:
        """Take the reference from some images.

        Reinhard: each image is measured by itself and the measures are averaged,
        so that differences between the images do not widen the reference. Macenko:
        the pixels of all images are taken together (as many of each), since
        the order of the two dyes may change from image to image.

        Parameters
        ----------
        images : sequence of numpy.ndarray
            Each (h, w, 3), uint8, RGB.
        masks : sequence of numpy.ndarray
            Each (h, w): where the cell is, True or not 0.

        Returns
        -------
        Normaliser
            Itself.

        Raises
        ------
        ImageError
            When an image is not RGB uint8, its mask has another size or marks fewer than
            `FEWEST` pixels, or the pixels have no spread of colours.
        """
        cells = _cells(images, masks)
        parts = [image[cell] for image, cell in zip(images, cells, strict=True)]
        if self.method == "macenko":
            most = max(_ENOUGH // len(parts), FEWEST)
            parts = [np.concatenate([part[:: -(-len(part) // most)] for part in parts])]
        fitted = [_fitted(self.method, part) for part in parts]
        self.reference_ = {
            name: np.mean([getattr(one, attribute) for one in fitted], axis=0)
            for name, attribute in _FITTED[self.method].items()
        }
        return self

    def transform(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return one image with its cell in the reference's colours.

        Parameters
        ----------
        image : numpy.ndarray
            (h, w, 3), uint8, RGB.
        mask : numpy.ndarray
            (h, w): the cell.

        Returns
        -------
        numpy.ndarray
            (h, w, 3), uint8, RGB; outside the cell the same bytes as before. A
            cell pixel never becomes pure black, which means background.

        Raises
        ------
        ImageError
            As :meth:`fit`, and when :meth:`fit` has not been called.
        """
        return self.transform_together([image], [mask])[0]

    def transform_together(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Return images of one slide, changed by one and the same map.

        The map is computed from all their cell pixels together: differences
        between the slide and the reference are removed, differences between
        the cells of the slide stay. :meth:`transform` removes both.

        Parameters
        ----------
        images, masks : sequence of numpy.ndarray
            Of one subject's slide; as in :meth:`transform`.

        Returns
        -------
        list of numpy.ndarray
        """
        if not hasattr(self, "reference_"):
            raise ImageError("The normaliser has no reference yet: call fit on training images.")
        cells = _cells(images, masks)
        pixels = np.concatenate([image[cell] for image, cell in zip(images, cells, strict=True)])
        fitted = _fitted(self.method, pixels)  # raises an error for unsuitable pixels
        for name, attribute in _FITTED[self.method].items():
            setattr(fitted, attribute, self.reference_[name])
        if self.method == "reinhard":
            changed = fitted.normalize(pixels[:, None])[:, 0]
        else:
            changed = fitted.normalize(pixels[:, None], _GLASS, beta=_CLEAR, stains=False)[0][:, 0]
        changed[~changed.any(axis=1)] = 1
        ends = np.cumsum([np.count_nonzero(cell) for cell in cells])[:-1]
        results = [image.copy() for image in images]
        for result, cell, part in zip(results, cells, np.split(changed, ends), strict=True):
            result[cell] = part
        return results


def _cells(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the masks as bool, after checking them and their images."""
    if not len(images):
        raise ImageError("There are no images to measure a stain of.")
    if len(masks) != len(images):
        raise ImageError(f"There are {len(images)} images and {len(masks)} masks: give one each.")
    cells = [np.asarray(mask) != 0 for mask in masks]
    for image, cell in zip(images, cells, strict=True):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(
                f"An image must be RGB uint8 of shape (h, w, 3), not {image.dtype} of "
                f"{image.shape}."
            )
        if cell.shape != image.shape[:2]:
            raise ImageError(
                f"The mask has shape {cell.shape} and its image {image.shape[:2]}: they must agree."
            )
        if (count := np.count_nonzero(cell)) < FEWEST:
            raise ImageError(
                f"Only {count} pixels of the image belong to a cell; {FEWEST} or more are needed "
                "to measure its stain."
            )
    return cells


def _fitted(method: str, pixels: np.ndarray) -> HENormalizer:
    """Return torchstain's normaliser, fitted to (n, 3) pixels."""
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

    if method == "reinhard":
        reinhard = NumpyReinhardNormalizer()
        reinhard.fit(pixels[:, None])
        if not (reinhard.target_stds > 1e-3).all():
            raise ImageError(
                f"The {len(pixels)} cell pixels have no spread of colours, so they cannot be "
                "changed to those of the reference: is the mask right?"
            )
        return reinhard
    density = -np.log((pixels.astype(float) + 1) / _GLASS)
    dyed = np.count_nonzero((density >= _CLEAR).all(axis=1))
    if dyed < FEWEST:
        raise ImageError(
            f"Only {dyed} of {len(pixels)} cell pixels took up dye (are darker than glass in "
            f"every channel); Macenko's method needs {FEWEST}."
        )
    macenko = NumpyMacenkoNormalizer()
    macenko.fit(pixels[:, None], _GLASS, beta=_CLEAR)
    dyes, amounts = macenko.HERef, macenko.maxCRef
    if not np.isfinite(dyes).all() or np.linalg.cond(dyes) > 1e4 or not (amounts > 1e-3).all():
        raise ImageError(
            f"Two dyes cannot be separated in the {len(pixels)} cell pixels; Macenko's method "
            "needs pixels of different colours."
        )
    return macenko
