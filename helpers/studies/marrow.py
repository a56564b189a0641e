"""The fields of leukaemia and of myeloma in chapters 12 and 22: SN-AM's, or drawn ones."""

from __future__ import annotations

import pandas as pd

from helpers import datasets
from helpers.base.settings import Settings, artifacts_folder
from helpers.datasets.drawn import fields as drawn

#: Side of the crops in pixels, by profile.
SIDE = {"smoke": 32, "quick": 48, "full": 64}
#: Steps of training, by profile. The paper has 1000.
ITERATIONS = {"smoke": 30, "quick": 1000, "full": 1000}


def fields(settings: Settings, two_laboratories: bool = False) -> pd.DataFrame:
    """Return the catalog of the fields: SN-AM's where it is the data set, otherwise drawn ones.

    Parameters
    ----------
    settings : Settings
        No other data set has plasma cells. With one of them, fields are drawn, and a
        printed line says so.
    two_laboratories : bool
        True: always drawn, and each class comes from a laboratory of its own.
    """
    profile, seed = settings.profile.name, settings.seed
    folder = settings.data_dir
    if two_laboratories or settings.dataset != "snam":
        name = f"{profile}-{seed}-{'two' if two_laboratories else 'one'}"
        folder = artifacts_folder() / "phantom_fields" / name
        drawn.draw(folder, profile, seed, laboratories=two_laboratories)
    if not two_laboratories and settings.dataset not in ("phantom", "snam"):
        print(f"{settings.dataset} has no plasma cells, so the question cannot be put to it. All")
        print("figures on this page are of PHANTOM FIELDS and say nothing about your data.")
    if two_laboratories:  # what there is to say was printed with the first fields
        return datasets.load_with_report("snam", folder, profile, seed)[0]
    return datasets.load("snam", folder, profile, seed)
