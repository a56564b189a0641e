"""From a network and images to a trained network, saved with its record."""

from helpers.training.runs import HISTORY, Run, feed, fit

__all__ = ["HISTORY", "Run", "feed", "fit"]
