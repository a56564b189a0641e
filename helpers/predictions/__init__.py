"""From a table of scores to figures with intervals; no image and no model is opened here."""

from helpers.predictions.table import COLUMNS, check, load_predictions, make, save_predictions

__all__ = ["COLUMNS", "check", "load_predictions", "make", "save_predictions"]
