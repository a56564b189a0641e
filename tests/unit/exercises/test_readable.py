"""What stands in the installed checkers is not a solution that one can copy."""

from __future__ import annotations

import importlib
import inspect

import pytest

from helpers.exercises import checking
from tests.conftest import ROOT
from tests.unit.chapter_page import verdict

CHAPTERS = sorted(
    path.stem[-2:] for path in (ROOT / "helpers" / "exercises").glob("chapter_[0-9][0-9].py")
)


def functions_of(chapter):
    """Return the functions that a chapter's module of checkers defines, apart from checkers."""
    module = importlib.import_module(f"helpers.exercises.chapter_{chapter}")
    named = vars(module).values()
    own = [one for one in named if inspect.isfunction(one) and one.__module__ == module.__name__]
    return [one for one in own if one not in checking._CHECKERS.values()]


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_function_of_the_checkers_solves_an_exercise(chapter):
    for function in functions_of(chapter):
        for name in checking.exercises(chapter):
            try:
                found = verdict(name, function)
            except TypeError:  # the checker needs what the chapter passes on
                continue
            assert found != "solved.", f"{function.__name__} solves {name}"


def test_a_sealed_number_is_known_and_not_shown():
    sealed = checking.sealed("03-a", 430, 3)
    assert sealed == checking.sealed("03-a", 430, 3)
    others = [checking.sealed(*one) for one in (("03-a", 430), ("03-a", 43, 3), ("03-b", 430, 3))]
    assert sealed not in others
