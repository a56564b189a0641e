"""Cells: their outlines, and the numbers that describe them."""
