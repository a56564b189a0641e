"""Nucleus and cytoplasm of leukocytes, in single cells and in fields."""

from helpers.cells.segmentation.segment import Segmentation, dice, segment_cell, segment_field

__all__ = ["Segmentation", "dice", "segment_cell", "segment_field"]
