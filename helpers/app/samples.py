"""A few drawn images, for those who have no image of their own at hand."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from helpers.app.pictures import png
from helpers.datasets.drawn import fields, frame_cell, frames

#: The samples' names, in their order; they do not give away the class.
NAMES = ("Sample A", "Sample B", "Sample C", "Sample D", "Sample out of focus", "Sample field")
_SEED = 1024  # no network of the course was trained on cells of this seed


@cache
def draw(number: int) -> bytes:
    """Return a sample as the bytes of a PNG file.

    Parameters
    ----------
    number : int
        Index into `NAMES`.
    """
    if number == NAMES.index("Sample field"):
        return png(fields.example(_SEED)[0])
    styles = list(frames.styles(frames.recipe_of("smoke", _SEED)).values())
    label, style = ("all", "hem", "hem", "all", "all")[number], styles[number % len(styles)]
    frame = frame_cell.draw_cell(label, style, np.random.default_rng(_SEED + number)).frame
    blurred = number == NAMES.index("Sample out of focus")
    return png(cv2.GaussianBlur(frame, None, 9) if blurred else frame)
