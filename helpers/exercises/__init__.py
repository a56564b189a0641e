"""The exercises: one call checks an answer; the checkers are in one module per chapter."""

from helpers.exercises.checking import check

__all__ = ["check"]
