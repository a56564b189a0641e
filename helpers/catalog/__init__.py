"""The catalog: a table with one row per image, and how it is split, balanced and augmented."""

from helpers.catalog.table import (
    COLUMNS,
    SPLITS,
    TRAINED_ON,
    UNLABELLED,
    check,
    class_names,
    classes,
    fingerprint,
    make,
    read,
    sides,
    target,
    truth,
    write,
)

__all__ = [
    "COLUMNS",
    "SPLITS",
    "TRAINED_ON",
    "UNLABELLED",
    "check",
    "class_names",
    "classes",
    "fingerprint",
    "make",
    "read",
    "sides",
    "target",
    "truth",
    "write",
]
