"""The origin and the defects of each data set, for its data sheet."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Origin:
    """What a data set is, as its authors describe it.

    Attributes
    ----------
    title, source, licence : str
    content : str
        What an image shows.
    subjects : str
        What the catalog's subjects are.
    know : tuple of str
        What is known to be wrong or missing.
    """

    title: str
    source: str
    licence: str
    content: str
    subjects: str
    know: tuple[str, ...] = ()


ORIGINS: dict[str, Origin] = {
    "phantom": Origin(
        "Phantom cells",
        "drawn by the course itself",
        "part of the course",
        "one drawn cell on black, in the size and colours of C-NMC frames",
        "invented: each has a stain, a size of cells and a focus of its own",
        ("Nobody's cells. Figures on them are about methods, not about leukaemia.",),
    ),
    "cnmc": Origin(
        "C-NMC 2019",
        "The Cancer Imaging Archive, https://doi.org/10.7937/tcia.2019.dc64i46r",
        "CC BY 3.0",
        "one segmented B-lymphoid cell of bone marrow on black, 450 x 450 pixels",
        "patients and healthy people",
        (
            "Files that are identical byte for byte carry different subject ids; the course "
            "joins such subjects before it splits.",
            "One hospital, one stain, one microscope: nothing shows how a model fares elsewhere.",
        ),
    ),
    "taleqani": Origin(
        "Taleqani Hospital ALL",
        "Kaggle mehradaria/leukemia, https://doi.org/10.34740/KAGGLE/DSV/2175623",
        "see its Kaggle page",
        "a field of several cells of a blood smear, 224 x 224 pixels",
        "blocks of consecutive files, **not patients**: the release has no patient ids",
        ("A leak between patients cannot be ruled out by blocks.", "Exact duplicates occur."),
    ),
    "all_idb": Origin(
        "ALL-IDB",
        "University of Milan, on request, https://doi.org/10.1109/ICIP.2011.6115881",
        "on request; never to be passed on",
        "fields of blood smears (IDB1), or crops of them (IDB2)",
        "not told: blocks or images stand in for patients",
        ("IDB2 is cropped from IDB1: never split across the two.",),
    ),
    "snam": Origin(
        "SN-AM",
        "The Cancer Imaging Archive, https://doi.org/10.7937/tcia.2019.of2w8lxr",
        "CC BY 3.0",
        "fields of bone marrow, cells cropped with the masks of their nuclei",
        "fields: which fields are of one patient is not told",
        ("Both classes may differ by laboratory and not only by disease.",),
    ),
    "folders": Origin(
        "Images of one's own, one folder per class",
        "the folder that the course was given",
        "not told",
        "what the images in the class folders show",
        "those of a CSV file beside the images, or else single images",
        (
            "Without a table of subjects a split cannot keep the images of a person together.",
            "Both classes may differ by where they were taken and not only by disease.",
        ),
    ),
}


# What a subject is, as a sentence of a page; a real person where nothing is said here.
_WHO = {
    "phantom": "The course draws these cells itself: no image shows a real cell, and no subject "
    "is a real person.",
    "cnmc": "Each image shows one real cell of bone marrow; a subject is a person.",
    "taleqani": "The images are real. Nobody published whose they are: a subject is a block of "
    "consecutive files, not a person.",
    "all_idb": "The images are real. Nobody published whose they are: a subject is a block of "
    "files or a field, not a person.",
    "snam": "Nobody published whose images these are: a subject is a field, not a person.",
    "folders": "A subject is what the table of subjects says.",
}
_NOBODY = "No file says whose images these are: each image counts as a subject of its own."


def described(dataset: str, catalog: pd.DataFrame) -> str:
    """Return the size of a catalog, and what its images and subjects are, for a page.

    Examples
    --------
    >>> print(described("cnmc", catalog))  # doctest: +SKIP
    1,200 images of 73 subjects, 2 to 78 images each.
    Each image shows one real cell of bone marrow; a subject is a person.
    """
    sizes = catalog["subject"].value_counts()
    single = sizes.max() == 1
    each = "" if single else f", {sizes.min()} to {sizes.max()} images each"
    who = _NOBODY if single and dataset == "folders" else _WHO[dataset]
    counted = f"{len(catalog):,} images of {len(sizes):,} subjects{each}."
    return f"{counted}\n{textwrap.fill(who, 88)}"
