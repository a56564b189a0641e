"""The five kinds of white cell in two stages: granules first, then the shape of the nucleus.

Eosinophils and basophils are known by their granules, so a support vector
machine on features of granularity tells them from each other and from the rest.
The rest (neutrophil, lymphocyte, monocyte) is told apart by a random forest on
what a convolutional network makes of the image.

After Zhao et al. 2017, https://doi.org/10.1007/s11517-016-1590-x, whose
granularity is a co-occurrence of local binary patterns. Ours is a pattern
spectrum (how much dye lies in spots of each size, Maragos 1989,
https://doi.org/10.1109/34.192465), because it can be read. Their network was
trained on white cells; ours is a frozen backbone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from helpers._cores import cores
from helpers.errors import CourseError

#: Told by their granules in the first stage.
GRANULAR = ("eosinophil", "basophil")
#: What the first stage calls all others.
OTHER = "other"
#: Radii of the openings, in 32nds of the cell's radius.
RADII = (1, 2, 3, 4, 6)
#: Names of the features of granularity, in their order.
GRANULARITY = tuple(
    f"{region}_{light}_{radius}"
    for region in ("cytoplasm", "cell")
    for light in ("red", "green", "blue")
    for radius in RADII
)
#: Radius in pixels to which every cell is brought before its granules are measured.
_RADIUS = 32


class WhiteCellError(CourseError, ValueError):
    """Images or labels that the white cells' system cannot work with."""


@dataclass(frozen=True)
class Description:
    """What the system sees of each image; nothing in it was learned from other images.

    Attributes
    ----------
    granularity : numpy.ndarray
        (n, 30), float32: see `GRANULARITY`. NaN where no cell was found.
    cnn : numpy.ndarray
        (n, d), float32: features of a frozen network.
    """

    granularity: np.ndarray
    cnn: np.ndarray

    def __len__(self) -> int:
        return len(self.granularity)

    def __getitem__(self, rows: np.ndarray | slice) -> Description:
        return Description(self.granularity[rows], self.cnn[rows])


def granularity(image: np.ndarray, nucleus: np.ndarray, cytoplasm: np.ndarray) -> np.ndarray:
    """Return how much dye of a cell lies in spots of each size, seen in red, green and blue light.

    Parameters
    ----------
    image : numpy.ndarray
        (h, w, 3), uint8, RGB.
    nucleus, cytoplasm : numpy.ndarray
        (h, w), bool.

    Returns
    -------
    numpy.ndarray
        (30,), float32, in the order of `GRANULARITY`: the mean optical density
        that an opening with a disc takes away and the next smaller one did not,
        over the cytoplasm and over the whole cell. 0 where there is no cytoplasm.

    Raises
    ------
    WhiteCellError
        When the masks are empty or not of the image's size.

    Notes
    -----
    Red granules take up green and blue light and let red light pass; blue-black
    ones take up all three. The cell is first brought to one size, so that a
    radius means the same part of the cell in every image.
    """
    cell = np.asarray(nucleus, bool) | np.asarray(cytoplasm, bool)
    if cell.shape != image.shape[:2]:
        raise WhiteCellError(f"The masks are {cell.shape}, but their image is {image.shape[:2]}.")
    if not cell.any():
        raise WhiteCellError("The masks mark no cell, so there are no granules to measure.")
    x, y, width, height = cv2.boundingRect(cell.astype(np.uint8))
    scale = _RADIUS / np.sqrt(cell.sum() / np.pi)
    edge = int(np.ceil(max(RADII) / scale)) + 1
    part = slice(max(0, y - edge), y + height + edge), slice(max(0, x - edge), x + width + edge)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    density = -np.log((image[part].astype(np.float32) + 1) / 256)
    density = cv2.resize(density, None, fx=scale, fy=scale, interpolation=way)
    size = density.shape[1::-1]
    regions = [
        cv2.resize(mask[part].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for mask in (np.asarray(cytoplasm, bool), cell)
    ]
    found = np.zeros((len(regions), 3, len(RADII)), np.float32)
    before = density
    for place, radius in enumerate(RADII):
        opened = cv2.morphologyEx(
            density, cv2.MORPH_OPEN, _disc(radius), borderType=cv2.BORDER_REPLICATE
        )
        for index, region in enumerate(regions):
            if region.any():
                found[index, :, place] = (before - opened)[region].mean(axis=0)
        before = opened
    return found.ravel()


def describe(
    images: np.ndarray,
    nuclei: Sequence[np.ndarray] | None = None,
    cytoplasms: Sequence[np.ndarray] | None = None,
    backbone: str = "mobilenetv2_035",
    size: int = 96,
) -> Description:
    """Return what both stages look at, image by image.

    Parameters
    ----------
    images : numpy.ndarray
        (n, h, w, 3), uint8, RGB, one white cell in the middle of each.
    nuclei, cytoplasms : sequence of numpy.ndarray, optional
        (n, h, w), bool. By default found by :func:`helpers.cells.segmentation.segment_cell`.
    backbone : str
        Frozen, of :data:`helpers.models.transfer.REGISTRY`. Without ImageNet
        weights it says so and is random.
    size : int
        Side in pixels that the network sees.

    Returns
    -------
    Description

    Raises
    ------
    WhiteCellError
        When the images are not an array of that kind, or only one of the masks is given.
    """
    images = _checked(images)
    if (nuclei is None) != (cytoplasms is None):
        raise WhiteCellError("Give the masks of both nuclei and cytoplasms, or of neither.")

    def one(index: int) -> np.ndarray:
        from helpers.cells.segmentation import SegmentationError, segment_cell

        if nuclei is not None:
            return granularity(images[index], nuclei[index], cytoplasms[index])
        try:
            found = segment_cell(images[index])
            return granularity(images[index], found.nucleus, found.cytoplasm)
        except (SegmentationError, WhiteCellError):
            return np.full(len(GRANULARITY), np.nan, np.float32)

    with ThreadPoolExecutor(cores()) as threads:
        spots = np.stack(list(threads.map(one, range(len(images)))))
    return Description(spots, _network_features(images, backbone, size))


class TwoStage:
    """A support vector machine on granules, then a random forest on a network's features.

    Parameters
    ----------
    seed : int
        Of the forest.
    trees : int
        In the forest.

    Attributes
    ----------
    classes_ : numpy.ndarray
        Names of the kinds, after :meth:`fit`.
    granules_, shapes_ : scikit-learn estimators
        The two stages. Everything in them comes from what :meth:`fit` was given.
    """

    def __init__(self, seed: int = 24, trees: int = 300):
        self.seed, self.trees = seed, trees

    def fit(self, images: np.ndarray | Description, labels: Sequence[str]) -> TwoStage:
        """Learn from training images.

        Parameters
        ----------
        images : numpy.ndarray or Description
            (n, h, w, 3), uint8, or what :func:`describe` made of them.
        labels : sequence of str
            A kind for each; eosinophil or basophil must be among them, and
            others too.

        Raises
        ------
        WhiteCellError
            When numbers differ, or a stage would have nothing to tell apart.
        """
        seen, labels = _pair(images, labels)
        first = np.where(np.isin(labels, GRANULAR), labels, OTHER)
        rest = first == OTHER
        if len(set(first)) < 2 or len(set(labels[rest])) < 2:
            raise WhiteCellError(
                f"The labels are {sorted(set(labels))}; two stages need eosinophil or basophil, "
                "and two other kinds."
            )
        self.classes_ = np.unique(labels)
        self.granules_ = _machine().fit(seen.granularity, first)
        self.shapes_ = _forest(self.seed, self.trees).fit(seen.cnn[rest], labels[rest])
        return self

    def first_stage(self, images: np.ndarray | Description) -> np.ndarray:
        """Return ``eosinophil``, ``basophil`` or ``other`` for each image."""
        _require_fitted(self)
        return self.granules_.predict(_seen(images).granularity).astype(object)

    def predict(self, images: np.ndarray | Description) -> np.ndarray:
        """Return a kind for each image, object (n,)."""
        _require_fitted(self)
        seen = _seen(images)
        called = self.first_stage(seen)
        rest = called == OTHER
        if rest.any():
            called[rest] = self.shapes_.predict(seen.cnn[rest])
        return called


class OneStage:
    """All kinds at once, to hold the two stages against.

    Parameters
    ----------
    look_at : str
        ``granularity`` (support vector machine), ``cnn`` (random forest) or
        ``both`` (random forest on all of it).
    seed, trees : int
        As in :class:`TwoStage`.
    """

    def __init__(self, look_at: str = "both", seed: int = 24, trees: int = 300):
        if look_at not in ("granularity", "cnn", "both"):
            raise WhiteCellError(f"look_at is {look_at!r}: take granularity, cnn or both.")
        self.look_at, self.seed, self.trees = look_at, seed, trees

    def fit(self, images: np.ndarray | Description, labels: Sequence[str]) -> OneStage:
        """Learn from training images; arguments as :meth:`TwoStage.fit`."""
        seen, labels = _pair(images, labels)
        machine = self.look_at == "granularity"
        self.estimator_ = _machine() if machine else _forest(self.seed, self.trees)
        self.estimator_.fit(self._columns(seen), labels)
        self.classes_ = np.unique(labels)
        return self

    def predict(self, images: np.ndarray | Description) -> np.ndarray:
        """Return a kind for each image, object (n,)."""
        _require_fitted(self)
        return self.estimator_.predict(self._columns(_seen(images))).astype(object)

    def _columns(self, seen: Description) -> np.ndarray:
        if self.look_at == "both":
            return np.concatenate([seen.granularity, seen.cnn], axis=1)
        return getattr(seen, self.look_at)


@cache
def _disc(radius: int) -> np.ndarray:
    """Return an octagon, grown from the one before: only then does a larger sieve keep no more."""
    if radius == 0:
        return np.ones((1, 1), np.uint8)
    shape = cv2.MORPH_CROSS if radius % 2 else cv2.MORPH_RECT
    grown = np.pad(_disc(radius - 1), 1)
    return cv2.dilate(grown, cv2.getStructuringElement(shape, (3, 3)))


def _machine() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    # Sizes of spots are skewed; the logarithm makes a strong stain a shift.
    return make_pipeline(
        SimpleImputer(strategy="median"),
        _logarithm(),
        StandardScaler(),
        SVC(C=10, class_weight="balanced"),
    )


def _logarithm() -> Any:
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(_log_of)


def _log_of(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 0) + 1e-3)


def _forest(seed: int, trees: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    forest = RandomForestClassifier(trees, class_weight="balanced", random_state=seed)
    return make_pipeline(SimpleImputer(strategy="median"), forest)


def _network_features(images: np.ndarray, backbone: str, size: int) -> np.ndarray:
    from helpers import catalog, frozen

    small = np.stack([cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in images])
    rows = [
        {
            "image_id": f"{place:07d}",
            "path": "",
            "label": "unlabelled",
            "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
        }
        for place, image in enumerate(small)
    ]
    return np.array(frozen.features(backbone, catalog.make(rows), size, images=small))


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise WhiteCellError(
            f"The images are {images.dtype} of shape {images.shape}, but must be uint8 RGB of "
            "shape (n, h, w, 3)."
        )
    return images


def _require_fitted(system: TwoStage | OneStage) -> None:
    if not hasattr(system, "classes_"):
        raise WhiteCellError("The system has not learned anything yet: call fit first.")


def _seen(images: np.ndarray | Description) -> Description:
    return images if isinstance(images, Description) else describe(images)


def _pair(
    images: np.ndarray | Description, labels: Sequence[str]
) -> tuple[Description, np.ndarray]:
    labels = np.asarray(labels, object)
    if len(images) != len(labels):
        raise WhiteCellError(f"There are {len(images)} images and {len(labels)} labels.")
    return _seen(images), labels
