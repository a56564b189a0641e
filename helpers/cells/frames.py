"""The frames that a chapter crops or measures: those of its data set, or drawn ones."""

from __future__ import annotations

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
