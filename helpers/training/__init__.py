"""From a network and images to a trained network, kept with its record."""

from helpers.training.runs import HISTORY, Run, feed, finished, fit, load

__all__ = ["HISTORY", "Run", "feed", "finished", "fit", "load"]
