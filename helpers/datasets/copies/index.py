"""The files of the C-NMC 2019 release: name, size and SHA-256 of each of its 15,114 files.

This table is a part of the course (``cnmc_index.csv.gz``), so that students can explore
the release without its pixels and check any copy of it. It was computed from a copy of
the release, https://doi.org/10.7937/tcia.2019.dc64i46r.
"""

from __future__ import annotations

import functools
import gzip
from importlib import resources

import pandas as pd

from helpers import catalog as catalogs
from helpers.catalog import splitting
from helpers.catalog.table import UNLABELLED

PARTS = ("train", "prelim", "final")
_COLUMNS = [
    *["image_id", "label", "positive", "subject", "fold", "group", "sha256"],
    *["size", "part", "name", "folder"],
]


def cnmc_index() -> pd.DataFrame:
    """Return a table with one row for each file of the release.

    Returns
    -------
    pandas.DataFrame
        15,114 rows, sorted by part, then `image_id`. Columns: `image_id`,
        `label`, `positive`, `subject` and `fold` as in a catalog of the release, `group`
        (linked subjects), `sha256`, `size` in bytes, `part` (``train``,
        ``prelim`` or ``final``), `name` and `folder` of the file. The two test
        sets are ``unlabelled`` with an empty subject: the labels of the
        preliminary one are in the release's own table, those of the final one
        were never published.
    """
    return _index().copy()


def as_catalog() -> pd.DataFrame:
    """Return the 10,661 training files as a catalog whose `path` is empty.

    For work without pixels: splits, their audit, counts.
    """
    table = _index()
    training = table[table["part"] == "train"]
    columns = ["image_id", "label", "positive", "subject", "fold", "sha256", "group"]
    return catalogs.make(training[columns].assign(path=""))


@functools.cache
def _index() -> pd.DataFrame:
    source = resources.files("helpers.datasets.copies") / "cnmc_index.csv.gz"
    with source.open("rb") as packed, gzip.open(packed) as plain:
        table = pd.read_csv(plain, dtype={"part": str, "name": str, "sha256": str})
    subfolder = table["part"]
    training = subfolder.str.contains("/")
    table["part"] = subfolder.where(~training, "train")
    frame = table["name"].str.extract(r"^UID_(\w+?)_\d+_\d+_(all|hem)\.bmp$")
    stem = table["name"].str.removesuffix(".bmp")
    table["image_id"] = stem.where(training, table["part"] + "_" + stem)
    table["label"] = frame[1].fillna(UNLABELLED)
    table["positive"] = catalogs.truth(frame[1].map({"all": 1, "hem": 0}))
    table["subject"] = frame[0].str.upper().fillna("")
    table["fold"] = subfolder.str.extract(r"^fold_(\d)/")[0].fillna("")
    folders = {
        "prelim": "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data",
        "final": "C-NMC_Leukemia/testing_data/C-NMC_test_final_phase_data",
    }
    table["folder"] = subfolder.map(folders).fillna("C-NMC_Leukemia/training_data/" + subfolder)
    table["group"] = ""
    has_subject = table["subject"] != ""
    table.loc[has_subject, "group"] = splitting.link_subjects(table[has_subject])["group"]
    part = table["part"].map(PARTS.index)
    table = table.assign(rank=part).sort_values(["rank", "image_id"], ignore_index=True)
    named = ["image_id", "label", "subject", "fold", "group", "sha256", "part", "name", "folder"]
    table[named] = table[named].astype(object)
    return table[_COLUMNS]
