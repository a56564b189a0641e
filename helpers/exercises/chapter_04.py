"""The checkers of the exercises of chapter 04."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from helpers.base.errors import ImageError
from helpers.exercises.checking import Point, Required, checker
from helpers.images import cropping


@checker("04-a")
def share_left(answer: float, frames: Sequence[np.ndarray]) -> Iterator[Point]:
    """Check the median share of a frame that its square crop covers."""
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
def with_margin(answer: Callable) -> Iterator[Point]:
    """Check a function from a frame and a margin to a padded crop."""
    frame = np.zeros((90, 120, 3), np.uint8)
    frame[30:60, 40:90] = np.random.default_rng(0).integers(1, 256, (30, 50, 3))
    margins = (0, 1, 12)
    crops = [np.asarray(answer(frame.copy(), margin)) for margin in margins]
    sides = [50 + 2 * margin for margin in margins]
    square = all(crop.shape == (side, side, 3) for crop, side in zip(crops, sides, strict=True))
    yield Required(
        square, "The side is the longer side of the box plus twice the margin (0, 1, 12)."
    )
    yield all(crop.dtype == np.uint8 for crop in crops), "The pixels are 8-bit numbers (uint8)."
    inside = [
        crop[margin + 10 : margin + 40, margin : margin + 50]
        for crop, margin in zip(crops, margins, strict=True)
    ]
    yield (
        all(np.array_equal(part, frame[30:60, 40:90]) for part in inside),
        "The cell is unchanged and in the middle of the crop.",
    )
    yield all(int(crop.sum()) == int(frame.sum()) for crop in crops), "The rest is black."
    edge = np.roll(frame, -30, axis=0)  # the cell now touches the upper edge of the frame
    yield np.asarray(answer(edge, 12)).shape == (74, 74, 3), "It works at the edge of a frame, too."


@checker("04-c")
def threshold(answer: int, frame: np.ndarray, noisy: np.ndarray) -> Iterator[Point]:
    """Check a threshold that finds the same box after JPEG compression."""
    whole = not isinstance(answer, bool) and isinstance(answer, int | np.integer)
    yield Required(whole, "It is a whole number.")
    yield 0 <= answer <= 255, "It is a brightness, from 0 to 255."
    try:
        result = cropping.find_cell(noisy, int(answer))
    except ImageError:
        yield False, "Some pixels of the cell are above the threshold."
        return
    clean = cropping.find_cell(frame)
    yield (
        result.width >= clean.width - 6 and result.height >= clean.height - 6,
        "It is low enough to keep the rim of the cell.",
    )
    yield (
        result.width <= clean.width + 6 and result.height <= clean.height + 6,
        "It is high enough to leave out the noise in the background.",
    )
    corners = [np.array([b.x, b.y, b.x + b.width, b.y + b.height]) for b in (result, clean)]
    yield np.abs(corners[0] - corners[1]).max() <= 3, "Each side is right to within 3 pixels."
