"""Phantoms: drawn by the course, with the folders and file names of C-NMC."""

from __future__ import annotations

from helpers.datasets.origins import Origin
from helpers.datasets.readers.cnmc import EXPECTED, SIZES, read

__all__ = ["EXPECTED", "ORIGIN", "SIZES", "read"]

#: What the pages and cards say about it.
ORIGIN = Origin(
    "Phantom cells",
    "drawn by the course itself",
    "part of the course",
    "one drawn cell on black, in the size and colours of C-NMC frames",
    "invented: each has a stain, a size of cells and a focus of its own",
    ("Nobody's cells. Figures on them are about methods, not about leukaemia.",),
    who="The course draws these cells itself: no image shows a real cell, and no subject "
    "is a real person.",
    banner="phantom: cells drawn by the course itself, not photographed",
)
