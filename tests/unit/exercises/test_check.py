import re
from collections.abc import Callable

import numpy as np
import pytest

from helpers.course.project import find
from helpers.course.staleness import read_notebook, source_of
from helpers.exercises import check
from helpers.exercises import checking as module
from helpers.exercises.checking import Hint, checker, exercises

SECRET = 4711


@pytest.fixture(autouse=True)
def own_exercise():
    """Exercise 99-a asks for a secret number; nothing of it stays registered."""

    @checker("99-a")
    def _(answer, more=0):
        yield isinstance(answer, int), "The answer is a whole number."
        if not isinstance(answer, int):
            return
        yield answer > 0, "It is positive."
        yield answer == SECRET + more, "It is the number of cells."

    yield
    # Only what is ours: the chapters' checkers, once imported, register no second time.
    for name in [name for name in module._CHECKERS if name.startswith("99-")]:
        del module._CHECKERS[name]


def told(capsys, *arguments, **more) -> list[str]:
    check(*arguments, **more)
    return capsys.readouterr().out.splitlines()


def test_right_answer_is_told_point_by_point(capsys):
    lines = told(capsys, "99-a", SECRET)
    assert [line[0] for line in lines[:-1]] == ["✓", "✓", "✓"]
    assert lines[-1] == "Exercise 99-a: solved."


def test_wrong_answer_is_told_what_to_look_at_and_not_the_answer(capsys):
    lines = told(capsys, "99-a", 12)
    assert [line[0] for line in lines[:-1]] == ["✓", "✓", "✗"]
    assert lines[-1] == "Exercise 99-a: not solved yet."
    assert str(SECRET) not in "\n".join(lines)


def test_checker_may_stop_where_later_points_make_no_sense(capsys):
    assert told(capsys, "99-a", "many") == [
        "✗ The answer is a whole number.",
        "Exercise 99-a: not solved yet.",
    ]


def test_checker_of_a_function_first_asks_for_a_function(capsys):
    def function(answer: "Callable[[int], int]"):
        yield answer(1) == 2, "It adds one."

    checker("99-b")(function)
    assert told(capsys, "99-b", 3) == [
        "✗ It is a function.",
        "Exercise 99-b: not solved yet.",
    ]
    assert told(capsys, "99-b", lambda number: number + 1) == [
        "✓ It is a function.",
        "✓ It adds one.",
        "Exercise 99-b: solved.",
    ]


def test_only_the_first_missed_point_is_told(capsys):
    @checker("99-b")
    def _(answer):
        yield answer > 0, "It is positive."
        yield answer > 1, "It is large."

    assert told(capsys, "99-b", -1) == ["✗ It is positive.", "Exercise 99-b: not solved yet."]


def test_a_hint_is_told_to_who_made_the_mistake_and_proves_nothing_to_others(capsys):
    @checker("99-b")
    def _(answer):
        yield Hint(answer != 3, "You seem to count the zero.")

    assert told(capsys, "99-b", 3)[0] == "✗ You seem to count the zero."
    assert told(capsys, "99-b", 4) == ["Exercise 99-b: not solved yet."]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.1 + 0.2, "0.3"), (np.float32(0.5), "0.5"), (np.arange(3), "array([0, 1, 2])"),
        (np.zeros((9, 2)), "an array of shape (9, 2)"), ((1, [2.0]), "(1, [2.0])"),
        (12, "12"), (-3.0, "-3.0"), (1e9, "1e+09"), (float("nan"), "nan"), (np.float64(2), "2.0"),
        (np.array("positive"), "array('positive')"), (np.str_("positive"), "'positive'"),
        (list(range(20)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, ...]"), (object(), "an object"),
        ({"b", "a", "c"}, "{'a', 'b', 'c'}"), (set(), "set()"),
        ({"a": np.zeros((3, 4))}, "{'a': an array of shape (3, 4)}"), (told, "a function"),
    ],
)  # fmt: skip
def test_values_are_shown_in_a_few_words(value, words):
    assert module._shown(value) == words


def test_unanswered_is_neither_right_nor_wrong(capsys):
    (line,) = told(capsys, "99-a", ...)
    assert line.startswith("Exercise 99-a: not answered yet.")


def test_context_reaches_the_checker(capsys):
    assert told(capsys, "99-a", SECRET + 1, more=1)[-1] == "Exercise 99-a: solved."


def test_answer_that_breaks_the_checker_does_not_stop_the_notebook(capsys):
    @checker("99-b")
    def _(answer):
        yield True, "So far."
        yield answer.missing, "Never."

    lines = told(capsys, "99-b", 1)
    assert lines[1].startswith("✗ Your answer could not be checked: AttributeError")
    assert lines[-1] == "Exercise 99-b: not solved yet."


def test_error_does_not_spell_out_the_answer_nor_an_address(capsys):
    @checker("99-b")
    def _(answer):
        np.testing.assert_allclose(answer, [SECRET, SECRET], err_msg="")
        yield True, "Equal."

    @checker("99-c")
    def _(answer):
        raise TypeError(f"not this: {answer!r}")
        yield True, ""

    text = "\n".join(told(capsys, "99-b", [1.0, 2.0]))
    assert str(SECRET) not in text
    assert "AssertionError" in text
    assert "0x" not in "\n".join(told(capsys, "99-c", object()))


def test_ambiguous_point_is_no_right_answer(capsys):
    @checker("99-b")
    def _(answer):
        yield np.array([True, True]), "An array has no one truth."

    assert told(capsys, "99-b", 1)[-1] == "Exercise 99-b: not solved yet."


def test_checker_that_looks_at_nothing_solves_nothing(capsys):
    @checker("99-b")
    def _(answer):
        yield from ()

    assert told(capsys, "99-b", 1)[-1] == "Exercise 99-b: not solved yet."


@pytest.mark.parametrize("name", ["6-a", "06a", "06-A", "06-aa", "", "05-a "])
def test_names_of_another_form_are_refused(name):
    with pytest.raises(ValueError, match="not the name of an exercise"):
        check(name, 1)
    with pytest.raises(ValueError, match="not the name of an exercise"):
        checker(name)


def test_unknown_exercise_and_chapter_are_the_chapters_fault_and_raised():
    with pytest.raises(ValueError, match="no exercises for chapter 98"):
        check("98-a", 1)
    with pytest.raises(ValueError, match="no exercises for chapter 98"):
        exercises("98")


def test_second_checker_of_one_name_is_refused(monkeypatch):
    def other(answer):
        yield True, ""

    monkeypatch.setattr(other, "__module__", "helpers.exercises.chapter_97")
    with pytest.raises(ValueError, match="has a checker already"):
        checker("99-a")(other)


def chapters():
    try:
        return find().chapters
    except Exception:
        return ()


@pytest.mark.parametrize("chapter", chapters(), ids=lambda c: c.name)
def test_every_exercise_of_a_chapter_has_its_checker_and_none_is_left_over(chapter):
    text = "\n".join(
        source_of(c) for c in read_notebook(chapter.path)["cells"] if c["cell_type"] == "markdown"
    )
    asked = re.findall(r"(?m)^### Exercise (\d\d-[a-z])\b", text)
    assert len(asked) == len(set(asked)) >= 3
    assert exercises(chapter.number) == sorted(asked)
