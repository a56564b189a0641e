"""The catalog: a table with one row an image, and how it is split, balanced and augmented."""

from helpers.catalog.table import (
    COLUMNS,
    SPLITS,
    UNLABELLED,
    check,
    classes,
    fingerprint,
    make,
    positive_classes,
    read,
    target,
    write,
)

__all__ = [
    "COLUMNS",
    "SPLITS",
    "UNLABELLED",
    "check",
    "classes",
    "fingerprint",
    "make",
    "positive_classes",
    "read",
    "target",
    "write",
]
