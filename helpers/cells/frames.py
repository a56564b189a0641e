"""What a chapter crops or measures: frames of one cell, fields of many, or drawn frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from helpers import datasets, images
from helpers.base.settings import DEFAULT_SEED


def load_frames(catalog: pd.DataFrame, seed: int = DEFAULT_SEED) -> pd.DataFrame:
    """Return the catalog if its images are frames, else a small catalog of drawn frames.

    The first image decides. Which of the two it is, is printed.

    Parameters
    ----------
    catalog : pandas.DataFrame
        With at least one row.
    seed : int
        Of the drawn frames.
    """
    if images.is_frame(images.read_image(catalog["path"].iloc[0])):
        print("These images are frames: one cell on black ground.")
        return catalog
    print(
        "These images are fields, without black ground to cut away: drawn cells are shown instead."
    )
    return datasets.load("phantom", None, "smoke", seed)


def show_fields(catalog: pd.DataFrame) -> bool:
    """Return whether the images are fields of many cells; if not, each shows one cell.

    A few images decide. An image is a field if it is no frame and its largest nucleus
    covers less than a thirtieth of it.

    Parameters
    ----------
    catalog : pandas.DataFrame
        With at least one row.
    """
    from helpers.cells import segmentation

    shares = []
    for path in catalog["path"].iloc[:: max(1, len(catalog) // 5)].head(5):
        image = images.read_image(path)
        if images.is_frame(image):
            return False
        areas = np.bincount(segmentation.segment_field(image).nuclei.ravel(), minlength=2)[1:]
        shares.append(areas.max() / image[..., 0].size)
    return bool(np.median(shares) < 1 / 30)
