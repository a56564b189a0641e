"""How many cores there are to share work among."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
