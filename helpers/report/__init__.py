"""Figures, interactive plots, model cards: what a page shows of numbers that are there already."""
