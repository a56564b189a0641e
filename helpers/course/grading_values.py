"""What may pass from a student's process to the checker's: data, networks, calls; never code.

Nothing is unpickled here, because unpickling runs what the sender wants. A value becomes JSON;
an array NumPy's own format; a network made of Keras's layers Keras's own. Of a function, only a
number passes: the checker's process calls it, and it runs where it was made.
"""

from __future__ import annotations

import base64
import builtins
import io
import sys
import tempfile
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Methods of a student's own layer or network that a checker may call.
_METHODS = ("__call__", "predict", "predict_on_batch", "count_params")


def encode(value: Any, refer: Callable[[Any], int]) -> Any:
    """Return `value` as JSON can hold it; `refer` keeps a function and returns its number.

    Raises
    ------
    TypeError
        When the value is neither data nor a function, a layer or a network.
    """

    def several(values: Any) -> list:
        return [encode(one, refer) for one in values]

    keras = sys.modules.get("keras")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if value is ... or value is pd.NA:
        return {"nothing": "..." if value is ... else "NA"}
    for kind in (tuple, list, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: several(value)}
    if isinstance(value, dict):
        return {"dict": [several(pair) for pair in value.items()]}
    if isinstance(value, pd.DataFrame | pd.Series):
        table = pd.DataFrame(value)
        columns = [
            [encode(_array(column), refer), str(column.dtype)] for _, column in table.items()
        ]
        parts = {"names": several(table.columns), "index": encode(_array(table.index), refer)}
        return {"table": columns, **parts, "column": isinstance(value, pd.Series)}
    if isinstance(value, np.random.Generator):
        return {"random": encode(value.bit_generator.state, refer)}
    if isinstance(value, Path | str):
        return str(value)
    if keras and isinstance(value, keras.layers.Layer):
        return _encode_layer(keras, value, refer)
    if callable(value):
        return {"function": refer(value)}
    if isinstance(value, Iterator | KeysView | ValuesView | ItemsView | range):
        return {"list": several(value)}
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype == object:
            return {"objects": several(array.ravel()), "shape": array.shape}
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        bare = isinstance(value, np.generic)
        return {"array": base64.b64encode(file.getvalue()).decode(), "bare": bare}
    if isinstance(value, int):  # a subclass, such as an Enum
        return int(value)
    raise TypeError(f"a value of the type {type(value).__name__} cannot be checked")


def _array(column: pd.Series | pd.Index) -> np.ndarray:
    return np.asarray(column if isinstance(column.dtype, np.dtype) else column.astype(object))


def _encode_layer(keras: Any, value: Any, refer: Callable[[Any], int]) -> dict:
    """Return a layer or network by its settings and weights, one with own code by a number."""
    network = isinstance(value, keras.Model)
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "network.keras")
            (value if network else keras.Sequential([value])).save(file)
            keras.saving.load_model(file)  # fails where it has a layer of the student's own
            return {"keras": base64.b64encode(file.read_bytes()).decode(), "network": network}
    except Exception:
        return {"own": [refer(getattr(value, name, None)) for name in _METHODS], "network": network}


class Function:
    """In the checker's process: a function of the student's, which runs over there."""

    def __init__(self, call: Callable[..., Any], number: int) -> None:
        self._call, self._number = call, number

    def __call__(self, *given: Any, **more: Any) -> Any:
        """Call it."""
        return self._call(self._number, given, more)


def decode(data: Any, call: Callable[..., Any]) -> Any:
    """Return the value of `encode`; for a `Function`, `call` asks the student's process."""
    if not isinstance(data, dict):
        return data
    kind, held = next(iter(data.items()))
    if kind == "nothing":
        return ... if held == "..." else pd.NA
    if kind in ("tuple", "list", "set", "frozenset"):
        return getattr(builtins, kind)(decode(one, call) for one in held)
    if kind == "dict":
        return {decode(key, call): decode(value, call) for key, value in held}
    if kind == "table":
        index = decode(data["index"], call)
        columns = [pd.Series(decode(values, call), index).astype(dtype) for values, dtype in held]
        table = pd.DataFrame(dict(enumerate(columns)), index=index)
        table = table.set_axis([decode(name, call) for name in data["names"]], axis=1)
        return table.iloc[:, 0] if data["column"] else table
    if kind == "random":
        generator = np.random.default_rng()
        generator.bit_generator.state = decode(held, call)
        return generator
    if kind == "array":
        array = np.load(io.BytesIO(base64.b64decode(held)), allow_pickle=False)
        return array[()] if data["bare"] else array
    if kind == "objects":
        array = np.empty(len(held), dtype=object)
        array[:] = [decode(one, call) for one in held]
        return array.reshape(data["shape"])
    if kind == "function":
        return Function(call, held)
    import keras

    if kind == "keras":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "network.keras")
            file.write_bytes(base64.b64decode(held))
            network = keras.saving.load_model(file, safe_mode=True)
        return network if data["network"] else network.layers[0]
    base = keras.Model if data["network"] else keras.layers.Layer
    methods = {
        name: staticmethod(Function(call, number))
        for name, number in zip(_METHODS, held, strict=True)
    }
    return type("Own", (base,), methods)()


def update(old: Any, new: Any) -> None:
    """Make a list, dictionary, array or generator equal to `new`, as the student's code left it."""
    if isinstance(old, np.random.Generator):
        old.bit_generator.state = new.bit_generator.state
    elif isinstance(old, np.ndarray):
        old[...] = new
    elif isinstance(old, list):
        old[:] = new
    elif isinstance(old, dict):
        kept = {key: value for key, value in old.items() if isinstance(value, np.ndarray)}
        old.clear()
        old.update(new)
        for key in kept.keys() & new.keys():
            if np.shape(new[key]) == kept[key].shape:  # the same array, with other values
                kept[key][...], old[key] = new[key], kept[key]
