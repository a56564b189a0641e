"""What the answers of chapter 04 are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from helpers.base.errors import ImageError
from helpers.exercises.checking import Point, checker
from helpers.images import cropping


@checker("04-a")
def share_left(answer: float, frames: Sequence[np.ndarray]) -> Iterator[Point]:
    """Check the median share of a frame's pixels that its square crop holds."""
    number = float(answer)
    yield 0 <= number <= 1, "It is a share, from 0 to 1."
    boxes = [cropping.find_cell(frame) for frame in frames]
    area = [frame.shape[0] * frame.shape[1] for frame in frames]
    square = [max(box.width, box.height) ** 2 / all_ for box, all_ in zip(boxes, area, strict=True)]
    box = [box.width * box.height / all_ for box, all_ in zip(boxes, area, strict=True)]
    right = abs(number - np.median(square)) < 0.002
    yield (
        right or abs(number - np.median(box)) > 0.002,
        "It counts the whole square, with its padding, not the box alone.",
    )
    yield right, "It is the median over the frames, to a fifth of a percent."


@checker("04-b")
def with_margin(answer: Callable, *_: object) -> Iterator[Point]:
    """Check a function from a frame and a margin to a padded crop."""
    yield callable(answer), "It is a function."
    if not callable(answer):
        return
    frame = np.zeros((90, 120, 3), np.uint8)
    frame[30:60, 40:90] = np.random.default_rng(0).integers(1, 256, (30, 50, 3))
    margins = (0, 1, 12)
    crops = [np.asarray(answer(frame.copy(), margin)) for margin in margins]
    sides = [50 + 2 * margin for margin in margins]
    square = all(crop.shape == (side, side, 3) for crop, side in zip(crops, sides, strict=True))
    yield square, "The side is the longer side of the box plus twice the margin, for 0, 1 and 12."
    if not square:
        return
    yield all(crop.dtype == np.uint8 for crop in crops), "The pixels are of 8 bits (uint8)."
    inside = [
        crop[margin + 10 : margin + 40, margin : margin + 50]
        for crop, margin in zip(crops, margins, strict=True)
    ]
    yield (
        all(np.array_equal(part, frame[30:60, 40:90]) for part in inside),
        "The cell is unchanged and in the middle.",
    )
    yield all(int(crop.sum()) == int(frame.sum()) for crop in crops), "All around it is black."
    edge = np.roll(frame, -30, axis=0)  # the cell now touches the upper edge of the frame
    yield (
        np.asarray(answer(edge, 12)).shape == (74, 74, 3),
        "It also works for a cell at the edge of its frame.",
    )


@checker("04-c")
def threshold(answer: int, frame: np.ndarray, noisy: np.ndarray) -> Iterator[Point]:
    """Check a threshold that finds the same box in spite of JPEG."""
    whole = not isinstance(answer, bool) and isinstance(answer, int | np.integer)
    yield whole, "It is a whole number."
    if not whole:
        return
    yield 0 <= answer <= 255, "It is a brightness, from 0 to 255."
    try:
        found = cropping.find_cell(noisy, int(answer))
    except ImageError:
        yield False, "Some of the cell is left above it."
        return
    clean = cropping.find_cell(frame)
    yield (
        found.width >= clean.width - 6 and found.height >= clean.height - 6,
        "It is low enough to keep the rim of the cell.",
    )
    yield (
        found.width <= clean.width + 6 and found.height <= clean.height + 6,
        "It is high enough to leave the disturbed ground out.",
    )
    corners = [np.array([b.x, b.y, b.x + b.width, b.y + b.height]) for b in (found, clean)]
    yield np.abs(corners[0] - corners[1]).max() <= 3, "Each side is within 3 pixels."
