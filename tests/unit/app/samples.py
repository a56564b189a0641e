"""Pictures and cells for the tests of the store."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from helpers.app.answers import Vote
from helpers.app.records import NewCell

BOX = (2, 3, 14, 19)


def picture(seed: int = 0, kind: str = "PNG", shape: tuple[int, int] = (24, 32)) -> bytes:
    """Return a file with noise, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(1, 256, (*shape, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def read(content: bytes) -> np.ndarray:
    """Return the pixels, as `uploads.read` does for sound files."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def cell(label: str = "ALL", box: tuple[int, int, int, int] | None = None, **changes) -> NewCell:
    values = {
        "probability": 0.75, "threshold": 0.5, "distance": 0.25,
        "warnings": ("Out of focus.",), "votes": (Vote("net", 0.75),),
        "thumbnail": b"\x89PNG small",
        "reliability": "Of 4 cells with 0.6 to 0.8, 3 were ALL.",
    }  # fmt: skip
    return NewCell(box, label, **{**values, **changes})
