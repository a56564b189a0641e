"""What is raised when a data set cannot be read."""

from helpers.errors import CourseError


class DatasetError(CourseError, FileNotFoundError):
    """A folder that does not hold the data set that was asked for."""
