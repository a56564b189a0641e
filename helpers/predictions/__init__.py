"""From a table of predictions to metrics with intervals; no image or model is opened here."""

from helpers.predictions.table import COLUMNS, check, load_predictions, make, save_predictions

__all__ = ["COLUMNS", "check", "load_predictions", "make", "save_predictions"]
