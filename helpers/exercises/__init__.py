"""The exercises: one call checks an answer, one module per chapter holds the checkers."""

from helpers.exercises.checking import check

__all__ = ["check"]
