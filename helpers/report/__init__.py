"""Figures, interactive plots and model cards: how a page shows existing results."""
