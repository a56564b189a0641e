"""What a frozen backbone makes of each image, computed once and kept.

While a backbone is frozen it gives the same features of an image in every
epoch: they are computed once, and only the head is trained on them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers import images as image_files
from helpers.base import code, provenance
from helpers.base import settings as course
from helpers.base.errors import TrainingError
from helpers.base.files import kept, read_array
from helpers.catalog import augmentation
from helpers.models import transfer
from helpers.training import compute

if TYPE_CHECKING:
    import keras

#: The images that a network's layers ``augment_...`` make of one image, itself first.
MIRRORED = ("identity", "flip_horizontal", "flip_vertical", "rot180")


def features(
    backbone: str | transfer.Recipe | keras.Model,
    catalog: pd.DataFrame,
    size: int = 96,
    *,
    images: np.ndarray | None = None,
    transforms: tuple[str, ...] = ("identity",),
    batch_size: int = 64,
) -> np.ndarray:
    """Return the features of a catalog's images, from disk where they were made before.

    Parameters
    ----------
    backbone : str, Recipe or keras.Model
        A name of :data:`helpers.models.transfer.REGISTRY` (its last layer,
        global average pooling), a recipe (its cut and pooling), or a network
        as :func:`helpers.models.transfer.build` makes it, with its weights.
    catalog : pandas.DataFrame
        Labelled or not.
    size : int
        Side of the images in pixels; a network knows its own.
    images : numpy.ndarray, optional
        uint8, row by row the catalog's images; by default loaded.
    transforms : tuple of str
        Versions of each image, of :data:`helpers.catalog.augmentation.TRANSFORMS`.
    batch_size : int
        Images in a step; fewer where memory runs out.

    Returns
    -------
    numpy.memmap of float32, read-only
        Shape (n, d), or (n, v, d) of v versions. Row i is row i of the catalog.

    Raises
    ------
    TrainingError
        When images and catalog do not belong together.
    ModelError
        When backbone or recipe is unknown, or the images are too small.
    """
    catalogs.check(catalog)
    if isinstance(backbone, str):
        backbone = transfer.Recipe(backbone)
    if isinstance(backbone, transfer.Recipe):
        backbone = transfer.build(backbone, size)
    size = backbone.input_shape[1]
    if images is None:
        images = image_files.load_images(catalog, size)
    if images.shape != (len(catalog), size, size, 3) or images.dtype != np.uint8:
        raise TrainingError(
            f"The images are {images.dtype} of shape {images.shape}, but the network and the "
            f"catalog want uint8 of shape {(len(catalog), size, size, 3)}."
        )
    unknown = [name for name in transforms if name not in augmentation.TRANSFORMS]
    if unknown or not transforms:
        raise TrainingError(
            f"The transforms are {transforms}, but must be some of {augmentation.TRANSFORMS}."
        )
    extractor = transfer.extractor(backbone)
    length = extractor.output_shape[-1]
    shape = (len(catalog), length)
    if len(transforms) > 1:
        shape = (len(catalog), len(transforms), length)
    name = f"{backbone.name}-{_key(extractor, images, transforms)}.npy"
    return kept(
        course.artifacts_folder() / "features" / name,
        lambda path: read_array(path, shape, "float32"),
        lambda path: _build(path, extractor, images, transforms, shape, batch_size),
    )


def _build(
    path: Path,
    extractor: keras.Model,
    images: np.ndarray,
    transforms: tuple[str, ...],
    shape: tuple[int, ...],
    batch_size: int,
) -> None:
    from tqdm import tqdm

    if not provenance.has_gpu():
        extractor.jit_compile = False  # on a CPU, compiling costs more than it saves
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        with tqdm(total=len(images), desc="features", unit="", delay=1, disable=None) as bar:
            start = 0
            while start < len(images):
                batch = np.asarray(images[start : start + batch_size])
                count = len(batch)
                if start and count < batch_size:  # another shape would be compiled anew
                    batch = np.concatenate([batch, batch[:1].repeat(batch_size - count, axis=0)])
                try:
                    part = [
                        extractor.predict_on_batch(augmentation.apply(batch, name))
                        for name in transforms
                    ]
                except Exception as error:
                    if not compute.out_of_memory(error) or batch_size == 1:
                        raise
                    part = None
                if part is None:
                    batch_size //= 2
                    print(f"Out of memory: going on with {batch_size} images in a step.")
                    continue
                file.write(np.stack(part, axis=1)[:count].astype("<f4", order="C").tobytes())
                start += count
                bar.update(count)


def _key(extractor: keras.Model, images: np.ndarray, transforms: tuple[str, ...]) -> str:
    digest = hashlib.sha256(provenance.digest(images).encode())
    for weight in extractor.get_weights():
        digest.update(np.ascontiguousarray(weight))
    digest.update(repr((extractor.input_shape, extractor.output_shape, transforms)).encode())
    software = provenance.keras_version()
    digest.update(repr((sorted(software.items()), code.version(__name__))).encode())
    return digest.hexdigest()[:16]
