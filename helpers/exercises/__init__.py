"""The exercises: one call checks an answer, one module a chapter holds the checkers."""

from helpers.exercises.checking import check

__all__ = ["check"]
