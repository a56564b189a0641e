"""The checkers of the exercises of chapter 04."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from helpers.base.errors import ImageError
from helpers.exercises.checking import Point, checker
from helpers.images import cropping


def _frame(*blocks: tuple[int, int, int, int]) -> np.ndarray:
    """Return a black frame of 90 x 120 pixels with textured blocks: row, column, height, width."""
    frame = np.zeros((90, 120, 3), np.uint8)
    rng = np.random.default_rng(0)
    for row, column, height, width in blocks:
        frame[row : row + height, column : column + width] = rng.integers(
            1, 256, (height, width, 3)
        )
    return frame


@checker("04-a")
def share_left(answer: Callable[[np.ndarray], float]) -> Iterator[Point]:
    """Check a function from a frame to the share of its pixels that the square crop has."""
    shares = [float(answer(_frame((20, 30, *sides)))) for sides in ((30, 30), (30, 60), (60, 20))]
    yield (
        (all(0 <= share <= 1 for share in shares), "It is a share, from 0 to 1.")
        if max(shares) <= 100
        else (False, "You seem to count pixels; divide by the pixels of the frame.")
    )
    yield abs(shares[0] - 1 / 12) < 1e-6, "It is right for a cell whose box is a square."
    box = abs(shares[1] - 1 / 6) < 1e-6
    yield (
        abs(shares[1] - 1 / 3) < 1e-6,
        "You seem to count the box alone; count the square, with its padding."
        if box
        else "It is right for a cell that is wider than high.",
    )
    yield abs(shares[2] - 1 / 3) < 1e-6, "It is right for a cell that is higher than wide."
    specks = float(answer(_frame((20, 30, 30, 30), (80, 5, 4, 4))))
    yield abs(specks - 1 / 12) < 1e-6, "A speck below the cell does not change it."


@checker("04-b")
def with_margin(answer: Callable) -> Iterator[Point]:
    """Check a function from a frame and a margin to a padded crop."""
    frame = _frame((30, 40, 30, 50))
    margins = (0, 1, 12)
    crops = [np.asarray(answer(frame.copy(), margin)) for margin in margins]
    sides = [50 + 2 * margin for margin in margins]
    square = all(crop.shape == (side, side, 3) for crop, side in zip(crops, sides, strict=True))
    yield (square, "The side is the longer side of the box plus twice the margin (0, 1, 12).")
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
    yield whole, "It is a whole number."
    yield 0 <= answer <= 255, "It is a brightness, from 0 to 255."
    try:
        result = cropping.find_cell(noisy, int(answer))
    except ImageError:
        yield False, "Some pixels of the cell are above the threshold."
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


@checker("04-d")
def has_two_cells(answer: Callable[[np.ndarray], bool]) -> Iterator[Point]:
    """Check a function that says whether the second largest contour is large as well."""
    alone = answer(_frame((30, 40, 30, 50)))
    kind = isinstance(alone, bool | np.bool_)
    yield kind, "It returns True or False, for a frame with one contour as well."
    yield not alone, "One cell alone is not two cells."
    yield not answer(_frame((5, 5, 4, 4), (30, 40, 30, 50))), "A speck is not a second cell."
    many = _frame(*((5, column, 20, 20) for column in (5, 27, 49, 71, 93)), (30, 20, 50, 90))
    yield not answer(many), "Several small pieces are not a second cell: compare the two largest."
    yield answer(_frame((5, 5, 25, 25), (40, 50, 30, 40))), "Two cells of unequal size are found."
    yield (
        answer(_frame((40, 50, 30, 40), (5, 5, 25, 25))),
        "The order of the cells does not matter.",
    )
    three = _frame((5, 5, 5, 5), (5, 60, 25, 25), (40, 50, 30, 40))
    yield answer(three), "Two cells are found where there is a speck, too."
