"""Tells the C library to keep the memory of images that are freed, for the next ones."""

from __future__ import annotations

_LARGEST = 31 << 20  # bytes: just below what glibc still adapts to


def keep() -> None:
    """Have blocks up to 31 MB used again instead of given back to the system each time.

    glibc takes large blocks from the system and gives them back when they are
    freed; to get them anew, zeroed page by page, costs more than most of the work
    done on an image. It stops doing so for sizes up to the largest block that was
    freed before (mallopt(3), "dynamic mmap threshold"): one is freed here. It is
    never touched and so takes no memory. Other C libraries are not affected.
    """
    bytes(_LARGEST)
