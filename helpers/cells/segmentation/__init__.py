"""Where a white cell is in an image, and what of it is nucleus."""

from helpers.cells.segmentation.segment import (
    Segmentation,
    dice,
    otsu_nucleus,
    segment_cell,
    segment_field,
)

__all__ = ["Segmentation", "dice", "otsu_nucleus", "segment_cell", "segment_field"]
