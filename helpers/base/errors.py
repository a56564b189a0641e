"""The errors that the course raises on bad input: one for each room."""


class CourseError(Exception):
    """Bad input, told in one sentence: what was found, where, and what to do.

    The command line prints the sentence alone; a notebook shows it last.
    Subclasses also derive from the built-in error that a caller would expect
    (``ValueError``, ``FileNotFoundError``).
    """


class CatalogError(CourseError, ValueError):
    """A table that is not a catalog, or one that cannot be split, balanced or augmented so."""


class DatasetError(CourseError, FileNotFoundError):
    """A folder that does not hold the data set, or that cannot be filled with it."""


class ImageError(CourseError, ValueError):
    """A file that is not an image, an image without a cell, or a size that is none."""


class CellError(CourseError, ValueError):
    """An image or a mask in which no cell can be outlined or measured."""


class ModelError(CourseError, ValueError):
    """A network that cannot be built so, or a weight file that is not what its name says."""


class TrainingError(CourseError, ValueError):
    """A training, a trained model or a file of one that does not fit."""


class PredictionsError(CourseError, ValueError):
    """A table that is not one of predictions, or a figure that it cannot give."""


class ReportError(CourseError, ValueError):
    """Numbers that cannot be drawn, or a card that cannot be filled in."""


class ExplainError(CourseError, ValueError):
    """A model, an image or a layer that cannot be explained."""


class StudyError(CourseError, ValueError):
    """A model, a paper or a split that the course does not have."""


class RunError(CourseError, ValueError):
    """A clone, a chapter or a book that cannot be found, run or published."""
