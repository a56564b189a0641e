"""Every check of the course: right answers of any usual type pass, wrong ones get one sentence."""

from __future__ import annotations

import ast
import functools
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.datasets.copies.index import cnmc_index
from helpers.exercises import checking
from tests.unit.chapter_page import code_cells, told

CHAPTERS = [f"{number:02}" for number in range(1, 23)]
EXERCISES = [name for chapter in CHAPTERS for name in checking.exercises(chapter)]
#: What the chapter hands to these checks; the tests of their chapters try right answers.
OF_THE_PAGE = {"02-c": (None,), "04-c": (None, None)}
#: Where the type of the numbers, or of the result, is one of the points.
ASKED = {("04-b", "list"), ("09-a", "list"), ("19-c", "list"), ("17-b", "float"), ("17-b", "array")}
#: A function that may return None, and functions that are called without an argument.
MAY_BE_NONE, WITHOUT_ARGUMENTS = {"21-c"}, {"06-c", "09-d"}


def context(name: str) -> tuple:
    if name == "01-a":
        index = cnmc_index()
        return (index[index["part"] == "train"],)
    return OF_THE_PAGE.get(name, ())


def annotation(name: str) -> str:
    return str(checking._CHECKERS[name].__annotations__["answer"])


@functools.cache
def answers(chapter: str) -> dict[str, Any]:
    """Return the right answers of a chapter: its definitions, then each solution's."""
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    page, found = {"np": np, "pd": pd}, {}
    for cell in code_cells(chapter):
        solved = "solution" in cell.metadata.get("tags", [])
        names = {**page, "check": lambda *_: None} if solved else page
        for node in ast.parse(cell.source).body:
            constant = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper()
            if not (solved or constant or isinstance(node, kinds)):
                continue
            try:
                exec(compile(ast.Module([node], []), "page", "exec"), names)
            except NameError:  # it needs what a chapter computes
                if solved:
                    break
        if solved and "answer" in names:
            found[re.search(rf'check\("({chapter}-\w)"', cell.source)[1]] = names["answer"]
    return found


FUNCTIONS = [name for name in EXERCISES if annotation(name).startswith("Callable")]


def crosses(name: str, answer: object) -> list[str]:
    """Return the crosses of a check, each with the lines that belong to it."""
    lines = told(name, answer, *context(name)).replace("\n  ", " ").splitlines()
    assert lines[-1] == f"Exercise {name}: not solved yet."
    return [line for line in lines if line.startswith("✗")]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("wrong", [None, NotImplemented, 0, "x", [1, 2, 3, 4], object()])
def test_a_wrong_answer_gets_one_cross_that_says_what_came(name, wrong):
    function = annotation(name).startswith("Callable")
    if wrong is None and name in MAY_BE_NONE:
        return
    (line,) = crosses(name, (lambda *_: wrong) if function else wrong)
    if wrong is None or wrong is NotImplemented:
        assert line.endswith("`return` missing?")
    if "could not be checked" in line:
        assert line.endswith("is that the kind of value that the exercise asks for?")
    if function:
        assert re.search(r"answer\(.*\) returned|: answer\(.*\)\. It returned: ", line), line
        assert checking._shown(wrong) in line


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_fails_is_told_with_its_call(name):
    def fails(*_):
        return 1 / 0

    (line,) = crosses(name, fails)
    assert "ZeroDivisionError: division by zero. Your function raised this in answer(" in line
    assert crosses(name, 3) == ["✗ It is a function."]
    if name not in WITHOUT_ARGUMENTS:
        (line,) = crosses(name, lambda: 1)
        assert line.startswith("✗ It is called as answer(")
        assert line.endswith("and that fails: too many positional arguments.")


def others(value: Any) -> dict[str, Any]:
    """Return a value as other types hold it."""
    if isinstance(value, bool | np.bool_):
        return {"bool": bool(value), "np.bool_": np.bool_(value)}
    if isinstance(value, int | np.integer):
        return {"int": int(value), "np.int64": np.int64(value), "float": float(value),
                "array": np.array(value)}  # fmt: skip
    if isinstance(value, float | np.floating):
        return {"float": float(value), "np.float64": np.float64(value), "array": np.array(value)}
    if isinstance(value, str):
        return {"np.str_": np.str_(value)}
    if isinstance(value, set | frozenset):
        return {"set": set(value), "frozenset": frozenset(value)}
    if isinstance(value, pd.Series):
        value = value.to_numpy()
    if isinstance(value, np.ndarray):
        import keras

        found = {"list": value.tolist()}
        if value.dtype.kind in "fiub":
            found["tensor"] = keras.ops.convert_to_tensor(value)
        return found | ({"Series": pd.Series(value)} if value.ndim == 1 else {})
    if isinstance(value, list | tuple):
        found = {"list": list(value), "tuple": tuple(value)}
        plain = all(isinstance(one, int | float | np.number) for one in value)
        return found | ({"array": np.array(value)} if plain and value else {})
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXERCISES if name not in OF_THE_PAGE])
def test_a_right_answer_is_right_in_any_usual_type_and_with_any_names(name):
    right = answers(name[:2])[name]
    if not callable(right):
        for kind, value in {"itself": right, **others(right)}.items():
            text = told(name, value)
            assert text.splitlines()[-1] == f"Exercise {name}: solved.", (kind, text)
        return
    results = []

    def recorded(*given):  # no name of an argument is known to the check
        results.append(right(*given))
        return results[-1]

    text = told(name, recorded, *context(name))
    assert text.splitlines()[-1] == f"Exercise {name}: solved.", text
    assert "✗" not in text
    for kind in sorted({kind for result in results for kind in others(result)}):
        if (name, kind) in ASKED:
            continue

        def other(*given, kind=kind):
            result = right(*given)
            return others(result).get(kind, result)

        text = told(name, other, *context(name))
        assert text.splitlines()[-1] == f"Exercise {name}: solved.", (kind, text)


@pytest.mark.parametrize(
    "score",
    [
        lambda model, batch: model.predict(batch, verbose=0)[0, 0],
        lambda model, batch: model.predict(batch).item(),
        lambda model, batch: model.predict_on_batch(batch)[0][0],
        lambda model, batch: model(batch).numpy()[0, 0],
        lambda model, batch: float(np.squeeze(model(batch, training=False))),
    ],
)
def test_the_stand_in_for_a_network_can_be_asked_in_every_usual_way(score):
    def answer(model, image, threshold):
        return "positive" if score(model, image[np.newaxis]) >= threshold else "negative"

    assert told("05-a", answer).splitlines()[-1] == "Exercise 05-a: solved."


def test_a_case_that_is_missed_is_told_with_what_was_expected():
    (line,) = crosses("05-b", lambda losses, patience: (len(losses), len(losses)))
    assert line.endswith(
        "Tried: answer(array([3.0, 2.0, 2.5, 2.6, 1.0]), 2). It returned: (5, 5). Expected: (2, 4)."
    )


def test_the_calls_of_the_point_are_told_and_no_others():
    (line,) = crosses("10-a", lambda side: (side // 4, 64))
    assert "answer(96) returned (24, 64)." in line
    (line,) = crosses("06-a", lambda step, *_: float(step))
    assert line.endswith("The last of 101 calls: answer(100, 100, 20, 0.5). It returned: 100.0.")
