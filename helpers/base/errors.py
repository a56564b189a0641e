"""The errors that the course raises on bad input: one for each room."""

import traceback


class CourseError(Exception):
    """Bad input, described in one sentence: what is wrong, where, and what to do.

    The command line prints only this sentence; a notebook shows it with the line of the cell
    (``%tb`` shows the whole traceback). Subclasses also derive from the built-in error that a
    caller would expect (``ValueError``, ``FileNotFoundError``).
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of the traceback."""
        frames = traceback.extract_tb(self.__traceback__)
        own = [f for f in frames if "ipykernel" in f.filename or "ipython-input" in f.filename]
        where = [f"line {own[-1].lineno} of the cell: {own[-1].line}"] if own else []
        return [*where, f"{type(self).__name__}: {self}"]


class CatalogError(CourseError, ValueError):
    """A table that is not a catalog, or cannot be split, balanced or augmented as asked."""


class DatasetError(CourseError, FileNotFoundError):
    """A folder that does not hold the data set, or a download that fails."""


class ImageError(CourseError, ValueError):
    """A file that is not an image, an image without a cell, or an impossible size."""


class CellError(CourseError, ValueError):
    """An image or a mask in which no cell can be outlined or measured."""


class ModelError(CourseError, ValueError):
    """A network that cannot be built as asked, or a wrong weight file."""


class TrainingError(CourseError, ValueError):
    """A training that cannot run as asked, or a file that is no trained model of the course."""


class PredictionsError(CourseError, ValueError):
    """A table that holds no predictions, or too few for the requested figure."""


class ReportError(CourseError, ValueError):
    """Numbers that cannot be plotted, or a card that lacks facts."""


class ExplainError(CourseError, ValueError):
    """A model, an image or a layer that cannot be explained."""


class StudyError(CourseError, ValueError):
    """A model, a paper or a split that the course does not have."""


class AppError(CourseError, ValueError):
    """A model or a record that the web app does not have, or a folder that it cannot use."""


class RunError(CourseError, ValueError):
    """A clone, a chapter or a book that cannot be found, run or published."""
