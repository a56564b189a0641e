"""The features that a frozen backbone computes from each image, computed once and cached.

A frozen backbone gives the same features of an image in every epoch. So they are
computed once, and only the head is trained on them.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images as image_files
from helpers.base import code, progress, provenance, settings
from helpers.base.errors import TrainingError
from helpers.base.files import kept, read_array
from helpers.catalog import augmentation
from helpers.models import transfer
from helpers.training import batches, compute

if TYPE_CHECKING:
    import keras

#: The versions of an image that the layers ``augment_...`` of a network draw from.
MIRRORED = ("identity", "flip_horizontal", "flip_vertical", "rot180")
#: Bytes from which on features are too large to be kept: those of a flattened ResNet50 in the
#: profile `full` have two gigabytes, those of a pooled one 42 megabytes.
_LARGE = 2**29


def features(
    backbone: str | keras.Model,
    catalog: pd.DataFrame,
    size: int = 96,
    *,
    images: np.ndarray | None = None,
    transforms: tuple[str, ...] = ("identity",),
    batch_size: int = 64,
) -> np.ndarray:
    """Return the features of a catalog's images, cached on disk.

    Parameters
    ----------
    backbone : str or keras.Model
        A name of :data:`helpers.models.transfer.REGISTRY` (whole, with global average
        pooling), or a network of :func:`helpers.models.transfer.build`.
    catalog : pandas.DataFrame
        Labelled or not.
    size : int
        Side of the images in pixels; ignored for a network, which has its own.
    images : numpy.ndarray, optional
        uint8, in the order of the catalog; by default they are loaded.
    transforms : tuple of str
        Versions of each image, of :data:`helpers.catalog.augmentation.TRANSFORMS`.
    batch_size : int
        Images in a step; halved when the memory is full.

    Returns
    -------
    numpy.memmap of float32, read-only
        Shape (n, d), or (n, v, d) for v versions. Row i belongs to row i of the catalog.

    Raises
    ------
    TrainingError
        When images and catalog do not belong together.
    ModelError
        When the backbone is unknown, or the images are too small.
    """
    if isinstance(backbone, str):
        backbone = transfer.build(transfer.Recipe(backbone), size)
    images = images_of(catalog, backbone.input_shape[1], images)
    unknown = [name for name in transforms if name not in augmentation.TRANSFORMS]
    if unknown or not transforms:
        raise TrainingError(
            f"The transforms are {transforms}, but must be some of {augmentation.TRANSFORMS}."
        )
    extractor = transfer.extractor(backbone)
    shape = (len(catalog), len(transforms), extractor.output_shape[-1])
    if len(transforms) == 1:
        shape = (shape[0], shape[2])
    name = f"{backbone.name}-{_key(extractor, images, transforms)}.npy"
    return kept(
        settings.artifacts_folder() / "features" / name,
        lambda path: read_array(path, shape, "float32"),
        lambda path: _build(path, extractor, images, transforms, shape, batch_size),
        needs=4 * math.prod(shape),
    )


def discard(features: np.ndarray) -> None:
    """Remove features of :func:`features` from disk if they are too large to be kept.

    An array that is in use stays readable, where the system allows that; else its file stays.
    """
    if features.nbytes >= _LARGE and isinstance(features, np.memmap):
        with contextlib.suppress(OSError):  # Windows keeps a file that is in use
            Path(features.filename).unlink()


def images_of(catalog: pd.DataFrame, size: int, images: np.ndarray | None = None) -> np.ndarray:
    """Return the images of a catalog: those that are given, or loaded from their files.

    Raises
    ------
    TrainingError
        When the given images are not uint8 of shape (rows of the catalog, size, size, 3).
    """
    catalogs.check(catalog)
    if images is None:
        images = image_files.load_images(catalog, size)
    expected = (len(catalog), size, size, 3)
    if images.shape != expected or images.dtype != np.uint8:
        raise TrainingError(
            f"The images are {images.dtype} of shape {images.shape}, but the network and the "
            f"catalog want uint8 of shape {expected}."
        )
    return images


def _build(
    path: Path,
    extractor: keras.Model,
    images: np.ndarray,
    transforms: tuple[str, ...],
    shape: tuple[int, ...],
    batch_size: int,
) -> None:
    """Write the features to `path` batch by batch: all of them may not fit into memory."""
    if provenance.spares_xla():
        extractor.jit_compile = False
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (
        open(path, "wb") as file,
        progress.bar(total=len(images), desc="features", unit="") as bar,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        done = 0
        while done < len(images):
            try:
                for batch, count in batches.padded(images[done:], batch_size):
                    versions = [augmentation.apply(batch, name) for name in transforms]
                    part = np.stack([extractor.predict_on_batch(v) for v in versions], axis=1)
                    file.write(part[:count].astype("<f4", order="C").tobytes())
                    done += count
                    bar.update(count)
            except Exception as error:
                if not compute.out_of_memory(error) or batch_size == 1:
                    raise
                batch_size //= 2
                print(f"Out of memory: going on with {batch_size} images in a step.")


def _key(extractor: keras.Model, images: np.ndarray, transforms: tuple[str, ...]) -> str:
    digest = hashlib.sha256(provenance.digest(images).encode())
    for weight in extractor.get_weights():
        digest.update(np.ascontiguousarray(weight))
    digest.update(repr((extractor.input_shape, extractor.output_shape, transforms)).encode())
    software = provenance.keras_version()
    digest.update(repr((sorted(software.items()), code.version(__name__))).encode())
    return digest.hexdigest()[:16]
