"""What passes from a student's process to the checker's comes out as it was, and runs nothing."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers.course.grading_values import Function, decode, encode, update


def passed(value: object) -> object:
    """Send a value to the other side and return what arrives; its functions are kept here."""
    kept = []

    def refer(function):
        kept.append(function)
        return len(kept) - 1

    def call(number, given, more):
        return kept[number](*given, **more)

    return decode(json.loads(json.dumps(encode(value, refer))), call)


@pytest.mark.parametrize(
    "value",
    [
        None, ..., True, 7, -0.5, "text", (1, [2, {3}], {"a": (4, None)}), {1: {"b": 2}},
        np.float32(0.1), np.bool_(True), np.int64(2**60), frozenset("ab"),
    ],
)  # fmt: skip
def test_plain_values_arrive_as_they_are(value):
    got = passed(value)
    assert type(got) is type(value)
    assert got == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3), np.array(["a", "bc"]), np.array(1.5),
        np.array([None, "a", 2], dtype=object), np.array([np.nan, np.inf]), np.zeros((0, 3)),
    ],
)  # fmt: skip
def test_arrays_arrive_as_they_are(array):
    got = passed(array)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


def test_tables_arrive_as_they_are():
    table = pd.DataFrame(
        {
            "name": ["a", "b", None],
            "count": [1, 2, 3],
            "share": [0.5, np.nan, 1.0],
            "known": pd.array([True, None, False], dtype="boolean"),
            "part": pd.Categorical(["x", "y", "x"]),
        },
        index=[4, 2, 2],
    )
    pd.testing.assert_frame_equal(passed(table), table)
    pd.testing.assert_series_equal(passed(table["share"]), table["share"], check_names=False)


def test_values_that_iterate_arrive_as_lists():
    assert passed(range(3)) == [0, 1, 2]
    assert passed(x for x in "ab") == ["a", "b"]
    assert passed({"a": 1}.keys()) == ["a"]


def test_value_that_says_it_equals_all_arrives_plain():
    class Same(str):
        __eq__ = lambda *_: True  # noqa: E731
        __hash__ = str.__hash__

    assert type(passed(Same("x"))) is str
    assert passed(Same("x")) != "y"


def test_function_stays_where_it_is():
    function = passed(lambda a, b=1: a + b)
    assert isinstance(function, Function)
    assert function(2, b=3) == 5


def test_other_values_are_refused_by_name():
    with pytest.raises(TypeError, match="type object cannot be checked"):
        passed(object())


@pytest.mark.slow
def test_network_is_rebuilt_and_a_layer_with_own_code_stays():
    import keras

    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    rows = np.ones((1, 3), "float32")
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    got = passed(network)
    np.testing.assert_allclose(got.predict_on_batch(rows), network.predict_on_batch(rows))
    own = passed(Twice())
    assert isinstance(own, keras.layers.Layer)
    assert type(own).__name__ == "Own"
    np.testing.assert_array_equal(own(rows), 2 * rows)
    assert own.count_params() == 0


def test_arguments_become_what_the_function_made_of_them():
    numbers, parts, rng = [1, 2], {"a": np.zeros(2), "b": 1}, np.random.default_rng(1)
    held = parts["a"]
    moved = np.random.default_rng(1)
    moved.random()
    for old, new in ((numbers, [3]), (parts, {"a": np.ones(2)}), (rng, passed(moved))):
        update(old, new)
    assert numbers == [3]
    assert list(parts) == ["a"]
    assert held.tolist() == [1, 1]
    assert rng.random() == moved.random()
