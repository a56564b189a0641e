"""A data set of grey squares that a network of a few weights learns in a few steps."""

import numpy as np

from helpers import catalog

SIZE = 32


def make_squares(rows=72):
    """Return a split catalog and its images: the positive ones have a brighter middle."""
    rng = np.random.default_rng(0)
    positive = np.arange(rows) % 2 == 1
    images = rng.integers(0, 100, (rows, SIZE, SIZE, 3), dtype=np.uint8)
    images[positive, 8:24, 8:24] += 100
    table = catalog.make(
        {
            "image_id": f"i{row:03d}",
            "path": "nowhere",
            "label": "all" if positive[row] else "hem",
            "positive": positive[row],
            "subject": f"s{row // 6}",
            "sha256": str(row),
            "split": "train" if row < 40 else "val" if row < 56 else "test",
        }
        for row in range(rows)
    )
    return table, images
