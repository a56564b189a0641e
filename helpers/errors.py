"""The one family of errors that the course raises on bad input."""


class CourseError(Exception):
    """Bad input, told in one sentence: what was found, where, and what to do.

    The command line prints the sentence alone; a notebook shows it last.
    Subclasses also derive from the built-in error that a caller would expect
    (``ValueError``, ``FileNotFoundError``).
    """
