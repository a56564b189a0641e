"""Images of other places, on which the models of a run can be tested once more."""

from __future__ import annotations

import os

import pandas as pd

from helpers import catalog as catalogs
from helpers import datasets
from helpers.base.errors import DatasetError
from helpers.base.settings import Settings, SettingsError

#: The data sets that ask whether a cell is a leukaemic blast or a normal one.
_EXTERNAL = ("cnmc", "all_idb")


def strangers(settings: Settings, classes: tuple[str, str]) -> dict[str, pd.DataFrame]:
    """Return catalogs of images that no model of the run has seen, by the name of their place.

    Parameters
    ----------
    settings : Settings
        Of the run.
    classes : tuple of str
        The negative and the positive class of the run's own images.

    Returns
    -------
    dict of str to pandas.DataFrame
        ``other phantoms`` (``phantoms`` if the run's images are real), drawn with another
        seed; then ``external: cnmc`` or ``external: all_idb`` if `$COURSE_EXTERNAL_DIR` is
        a folder of it. Empty if the run asks another question than hem or all.

    Raises
    ------
    SettingsError
        When `$COURSE_EXTERNAL_DIR` is no folder.
    """
    if tuple(classes) != ("hem", "all"):
        return {}
    folder = os.environ.get("COURSE_EXTERNAL_DIR", "")
    if folder and not os.path.isdir(folder):
        raise SettingsError(
            f"COURSE_EXTERNAL_DIR is {folder}, but no folder is there: correct it, or unset it."
        )
    kind = "smoke" if settings.profile.name == "smoke" else "quick"
    drawn = "other phantoms" if settings.dataset == "phantom" else "phantoms"
    found = {drawn: datasets.load("phantom", None, kind, settings.seed + 1)}
    for name in _EXTERNAL if folder else ():
        if name == settings.dataset:
            continue
        try:
            table = datasets.load(name, folder, settings.profile.name, settings.seed)
        except DatasetError:
            print(f"COURSE_EXTERNAL_DIR holds no images of {name}.")
            continue
        found[f"external: {name}"] = table[table["label"] != catalogs.UNLABELLED]
        break
    return found
