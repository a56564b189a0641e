"""The five kinds of white cells in two stages: granules first, then the shape of the nucleus.

Eosinophils and basophils are recognised by their granules: a support vector machine on
features of granularity separates them from each other and from all others. The others
(neutrophil, lymphocyte, monocyte) are separated by a random forest on features that a
convolutional network computes from the image.

After Zhao et al. 2017, https://doi.org/10.1007/s11517-016-1590-x. Their granularity is
a co-occurrence of local binary patterns. Ours is a pattern spectrum (how much dye lies in
spots of each size, Maragos 1989, https://doi.org/10.1109/34.192465), because a reader can
interpret it. Their network was trained on white cells; ours is a frozen backbone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from skimage.morphology import octagon
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from helpers.base import arguments
from helpers.base.errors import CellError, StudyError
from helpers.base.runtime import cores

#: The kinds that the first stage recognises by their granules.
GRANULAR = ("eosinophil", "basophil")
#: Name of all other kinds in the first stage.
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
#: Radius in pixels to which every cell is scaled before its granules are measured.
_RADIUS = 32
_BACKBONE, _SIDE = "mobilenetv2_035", 96


@dataclass(frozen=True)
class Description:
    """The features of each image; none of them depends on other images.

    Attributes
    ----------
    granularity : numpy.ndarray
        (n, 30), float32: see `GRANULARITY`. NaN where no cell was found.
    cnn : numpy.ndarray
        (n, d), float32: features from a frozen network.
    """

    granularity: np.ndarray
    cnn: np.ndarray

    def __len__(self) -> int:
        return len(self.granularity)

    def __getitem__(self, rows: np.ndarray | slice) -> Description:
        return Description(self.granularity[rows], self.cnn[rows])


def granularity(image: np.ndarray, nucleus: np.ndarray, cytoplasm: np.ndarray) -> np.ndarray:
    """Return how much dye of a cell lies in spots of each size, for red, green and blue light.

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
        that an opening with a disc removes and the opening with the next smaller disc
        does not, over the cytoplasm and over the whole cell. 0 without a cytoplasm.

    Raises
    ------
    StudyError
        When the masks are empty or do not have the size of the image.

    Notes
    -----
    Red granules absorb green and blue light and let red light pass; blue-black
    granules absorb all three. Every cell is first scaled to the same size, so that a
    radius is the same part of the cell in every image.
    """
    cell = np.asarray(nucleus, bool) | np.asarray(cytoplasm, bool)
    if cell.shape != image.shape[:2]:
        raise StudyError(f"The masks are {cell.shape}, but their image is {image.shape[:2]}.")
    if not cell.any():
        raise StudyError("The masks mark no cell, so there are no granules to measure.")
    x, y, width, height = cv2.boundingRect(cell.astype(np.uint8))
    scale = _RADIUS / np.sqrt(cell.sum() / np.pi)
    edge = int(np.ceil(max(RADII) / scale)) + 1
    part = slice(max(0, y - edge), y + height + edge), slice(max(0, x - edge), x + width + edge)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    density = -np.log((image[part].astype(np.float32) + 1) / 256)
    density = cv2.resize(density, None, fx=scale, fy=scale, interpolation=method)
    size = density.shape[1::-1]
    regions = [
        cv2.resize(mask[part].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for mask in (np.asarray(cytoplasm, bool), cell)
    ]
    spectra = np.zeros((len(regions), 3, len(RADII)), np.float32)
    before = density
    for step, radius in enumerate(RADII):
        # An opening with a larger octagon never keeps more than one with a smaller octagon.
        disc = octagon(2 * (radius // 2) + 1, (radius + 1) // 2)
        opened = cv2.morphologyEx(density, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_REPLICATE)
        for index, region in enumerate(regions):
            if region.any():
                spectra[index, :, step] = (before - opened)[region].mean(axis=0)
        before = opened
    return spectra.ravel()


def describe(images: np.ndarray) -> Description:
    """Return the features of each image for both stages.

    Parameters
    ----------
    images : numpy.ndarray
        (n, h, w, 3), uint8, RGB, one white cell in the middle of each.

    Returns
    -------
    Description
        Nucleus and cytoplasm are found by :func:`helpers.cells.segmentation.segment_cell`.
        Without ImageNet weights, the network is random and a note says so.

    Raises
    ------
    StudyError
        When the images are not an array of that kind.
    """
    images = arguments.pixels(images, StudyError)
    if not len(images):
        raise StudyError("There are no images to describe.")

    def one(image: np.ndarray) -> np.ndarray:
        from helpers.cells.segmentation import segment_cell

        try:
            parts = segment_cell(image)
            return granularity(image, parts.nucleus, parts.cytoplasm)
        except (CellError, StudyError):
            return np.full(len(GRANULARITY), np.nan, np.float32)

    with ThreadPoolExecutor(cores()) as threads:
        spots = np.stack(list(threads.map(one, images)))
    return Description(spots, _network_features(images))


class TwoStage(BaseEstimator):
    """A support vector machine on granules, then a random forest on a network's features.

    Parameters
    ----------
    seed : int
        For the forest.
    trees : int
        Number of trees in the forest.

    Attributes
    ----------
    granules_, shapes_ : scikit-learn estimators
        The two stages, fitted only to the data given to :meth:`fit`.
    """

    def __init__(self, seed: int = 24, trees: int = 300):
        self.seed, self.trees = seed, trees

    def fit(self, seen: Description, labels: Sequence[str]) -> TwoStage:
        """Fit both stages.

        Parameters
        ----------
        seen : Description
            The training images, from :func:`describe`.
        labels : sequence of str
            The kind of each image. At least one granular and two other kinds
            must be among them.

        Raises
        ------
        StudyError
            When the numbers of images and labels differ, or a stage has only one class.
        """
        labels = _checked_labels(seen, labels)
        first = np.where(np.isin(labels, GRANULAR), labels, OTHER)
        rest = first == OTHER
        if len(set(first)) < 2 or len(set(labels[rest])) < 2:
            raise StudyError(
                f"The labels are {sorted(set(labels))}; two stages need eosinophil or basophil, "
                "and two other kinds."
            )
        self.granules_ = _machine().fit(seen.granularity, first)
        self.shapes_ = _forest(self.seed, self.trees).fit(seen.cnn[rest], labels[rest])
        return self

    def predict(self, seen: Description) -> np.ndarray:
        """Return the kind of each image, object (n,)."""
        check_is_fitted(self)
        kinds = self.granules_.predict(seen.granularity).astype(object)
        rest = kinds == OTHER
        if rest.any():
            kinds[rest] = self.shapes_.predict(seen.cnn[rest])
        return kinds


class OneStage(BaseEstimator):
    """All kinds at once, for comparison with the two stages.

    Parameters
    ----------
    look_at : str
        ``granularity`` (support vector machine), ``cnn`` (random forest) or
        ``both`` (random forest on all features).
    seed, trees : int
        As in :class:`TwoStage`.
    """

    def __init__(self, look_at: str = "both", seed: int = 24, trees: int = 300):
        if look_at not in ("granularity", "cnn", "both"):
            raise StudyError(f"look_at is {look_at!r}: take granularity, cnn or both.")
        self.look_at, self.seed, self.trees = look_at, seed, trees

    def fit(self, seen: Description, labels: Sequence[str]) -> OneStage:
        """Fit the classifier; parameters as in :meth:`TwoStage.fit`."""
        machine = self.look_at == "granularity"
        self.estimator_ = _machine() if machine else _forest(self.seed, self.trees)
        self.estimator_.fit(self._columns(seen), _checked_labels(seen, labels))
        return self

    def predict(self, seen: Description) -> np.ndarray:
        """Return the kind of each image, object (n,)."""
        check_is_fitted(self)
        return self.estimator_.predict(self._columns(seen)).astype(object)

    def _columns(self, seen: Description) -> np.ndarray:
        if self.look_at == "both":
            return np.concatenate([seen.granularity, seen.cnn], axis=1)
        return getattr(seen, self.look_at)


def _machine() -> Pipeline:
    # The features are skewed, and a stronger stain multiplies them: the logarithm makes
    # the first symmetric and the second a shift.
    return make_pipeline(
        SimpleImputer(strategy="median"),
        FunctionTransformer(lambda values: np.log(np.maximum(values, 0) + 1e-3)),
        StandardScaler(),
        SVC(C=10, class_weight="balanced"),
    )


def _forest(seed: int, trees: int) -> Pipeline:
    forest = RandomForestClassifier(trees, class_weight="balanced", random_state=seed)
    return make_pipeline(SimpleImputer(strategy="median"), forest)


def _network_features(images: np.ndarray) -> np.ndarray:
    from helpers import catalog
    from helpers.training import frozen

    side = (_SIDE, _SIDE)
    small = np.stack([cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in images])
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in small]
    names = [f"{number:07d}" for number in range(len(small))]
    rows = pd.DataFrame({"image_id": names, "path": "", "sha256": digests})
    table = catalog.make(rows.assign(label=catalog.UNLABELLED))
    return np.array(frozen.features(_BACKBONE, table, _SIDE, images=small))


def _checked_labels(seen: Description, labels: Sequence[str]) -> np.ndarray:
    if len(seen) != len(labels):
        raise StudyError(f"There are {len(seen)} images and {len(labels)} labels.")
    return np.asarray(labels, object)
