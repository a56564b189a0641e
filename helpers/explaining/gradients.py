"""Gradients inside a network, the same on TensorFlow, JAX and PyTorch.

Part of :mod:`helpers.explaining`. Keras has no gradient of its own that works on
every backend, so the three ways are written out here, and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from helpers.base.errors import ExplainError

if TYPE_CHECKING:
    import keras

#: Kinds of layers whose output is not taken for a feature map: they take places
#: together, throw some away, or come before anything is convolved.
_ENDS = ("Pooling", "Dropout", "Flatten", "Reshape", "Random", "Rescaling", "Cropping")


class Leaf(NamedTuple):
    """A layer that is no model itself, and the way to it: ``backbone/out_relu``."""

    path: str
    layer: keras.Layer


def leaves(model: keras.Model, above: str = "") -> list[Leaf]:
    """Return the layers of a network from the image up, those of nested networks included."""
    import keras

    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += leaves(layer, f"{above}{layer.name}/")
        elif not isinstance(layer, keras.layers.InputLayer):
            found.append(Leaf(f"{above}{layer.name}", layer))
    return found


def find_leaf(model: keras.Model, name: str) -> Leaf:
    """Return the layer called `name`, which is its path or the end of it.

    Raises
    ------
    ExplainError
        When there is none, or more than one.
    """
    known = leaves(model)
    exact = [leaf for leaf in known if leaf.path == name]
    fits = exact or [leaf for leaf in known if leaf.path.endswith(f"/{name}")]
    if len(fits) == 1:
        return fits[0]
    if fits:
        paths = ", ".join(leaf.path for leaf in fits)
        raise ExplainError(
            f"{model.name} has {len(fits)} layers called {name!r}: name one, {paths}."
        )
    maps = [leaf.path for leaf in known if _places(leaf) is not None]
    raise ExplainError(
        f"{model.name} has no layer {name!r}; its last ones with feature maps are "
        f"{', '.join(maps[-4:]) or 'none at all'}."
    )


def last_map(model: keras.Model) -> Leaf:
    """Return the layer that gives the last convolutional feature map with more than one place.

    After it nothing is convolved any more, and all that the network knows of the image
    goes through it: in a block of parallel branches (Inception) it is where they meet.

    Raises
    ------
    ExplainError
        When the network has no convolution, or one that leaves a single place.
    """
    convolved, found = False, None
    for leaf, alone in _in_order(model):
        kind = type(leaf.layer).__name__
        convolved |= "Conv" in kind
        several = np.prod(_places(leaf) or (0,)) > 1
        if convolved and alone and several and not any(end in kind for end in _ENDS):
            found = leaf
    if found is None:
        raise ExplainError(
            f"{model.name} has no convolution whose feature map has more than one place: "
            "there is nothing that Grad-CAM could tell apart."
        )
    return found


def _in_order(model: keras.Model, above: str = "", alone: bool = True) -> Iterator:
    """Yield each leaf from the image up, and whether every way to the answer leads through it."""
    import keras

    operations = list(getattr(model, "operations", model.layers))
    makers = {
        id(tensor): place
        for place, operation in enumerate(operations)
        for tensor in keras.tree.flatten(_tensor(operation, "output"))
    }
    # How far each operation's output is carried: one in between is passed by.
    reach = list(range(len(operations)))
    for place, operation in enumerate(operations):
        for tensor in keras.tree.flatten(_tensor(operation, "input")):
            maker = makers.get(id(tensor), place)
            reach[maker] = max(reach[maker], place)
    passed = 0
    for place, operation in enumerate(operations):
        only = alone and passed <= place
        passed = max(passed, reach[place])
        if isinstance(operation, keras.Model):
            yield from _in_order(operation, f"{above}{operation.name}/", only)
        elif isinstance(operation, keras.Layer):
            yield Leaf(f"{above}{operation.name}", operation), only


def _tensor(operation: object, side: str) -> object:
    try:
        return getattr(operation, side)
    except (AttributeError, ValueError):  # an input layer has no input
        return []


def _places(leaf: Leaf) -> tuple[int, int] | None:
    """Return height and width of what the layer gives, None where that is no feature map."""
    try:
        shape = tuple(leaf.layer.output.shape)
    except (AttributeError, ValueError):  # several outputs, or never called
        return None
    return shape[1:3] if len(shape) == 4 and None not in shape[1:] else None


def logit_of(model: keras.Model) -> Callable[[Any], Any]:
    """Return the function from a batch of images to what goes into the last sigmoid, shape (n,).

    Raises
    ------
    ExplainError
        When the network is not one from square RGB images to one probability or logit.
    """
    import keras
    from keras import ops

    given, result = tuple(model.input_shape), tuple(model.output_shape)
    if len(given) != 4 or given[3] != 3 or None in given[1:] or result[1:] != (1,):
        raise ExplainError(
            f"The network goes from {given} to {result}, but an explanation here wants RGB images "
            "(None, height, width, 3) and one probability (None, 1)."
        )
    last = model.layers[-1]
    name = getattr(getattr(last, "activation", None), "__name__", "")
    if isinstance(last, keras.layers.Dense) and name in ("sigmoid", "linear"):
        below = keras.Model(model.inputs, last.input)

        def logit(images: Any) -> Any:
            features = ops.cast(below(images, training=False), "float32")
            z = ops.matmul(features, ops.cast(last.kernel, "float32"))
            return (z if last.bias is None else z + ops.cast(last.bias, "float32"))[:, 0]

        return logit
    if isinstance(last, keras.layers.Activation) and name == "sigmoid":
        below = keras.Model(model.inputs, last.input)
        return lambda images: ops.cast(below(images, training=False), "float32")[:, 0]
    raise ExplainError(
        f"The last layer of {model.name} is {last.name!r} ({type(last).__name__}, "
        f"{name or 'no activation'}): its logit is known for a dense layer or an activation "
        "with a sigmoid only."
    )


class Probe:
    """What a layer gave in one pass through the network."""

    def __init__(self) -> None:
        self.calls = 0
        self.maps: Any = None


@contextlib.contextmanager
def probed(layer: keras.Layer, added: Any = None) -> Iterator[Probe]:
    """Within the block, see what `layer` gives, and add `added` to it.

    The gradient by `added`, at zero, is the gradient by the layer's output. No
    network is cut open for that, so it does not matter how deep the layer is
    nested. Afterwards the layer is as it was.
    """
    probe, call = Probe(), layer.call

    def seen(*inputs: Any, **options: Any) -> Any:
        probe.calls += 1
        probe.maps = call(*inputs, **options)
        return probe.maps if added is None else probe.maps + added

    layer.call = seen
    try:
        yield probe
    finally:
        del layer.call


def evaluator(function: Callable) -> Callable[..., np.ndarray]:
    """Return `function`, of tensors to one tensor, as one of arrays to an array."""
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        compiled = jax.jit(function)
        return lambda *arrays: np.asarray(compiled(*arrays))
    if backend == "torch":
        import torch

        def run(*arrays: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return keras.ops.convert_to_numpy(function(*_tensors(arrays)))

        return run
    return lambda *arrays: keras.ops.convert_to_numpy(function(*_tensors(arrays)))


def differentiator(function: Callable) -> Callable[..., tuple[np.ndarray, np.ndarray, Any]]:
    """Return a function of arrays that gives a value, its gradient, and what was seen on the way.

    Parameters
    ----------
    function : callable
        From tensors, of which it is differentiated by the first, to a pair:
        values of shape (n,), and any further tensor. Row i of the values must
        depend on row i of the first tensor only.

    Returns
    -------
    callable
        From float32 arrays to the values, the gradient (of the first array's
        shape) and the further tensor, as arrays. A value that does not depend on
        the first array has a gradient of zeros.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def by_tensorflow(*arrays: np.ndarray) -> tuple:
            tensors = _tensors(arrays)
            with tf.GradientTape() as tape:
                tape.watch(tensors[0])
                values, further = function(*tensors)
            slope = tape.gradient(values, tensors[0], unconnected_gradients="zero")
            return values.numpy(), slope.numpy(), further.numpy()

        return by_tensorflow
    if backend == "jax":
        import jax

        def total(first: Any, *others: Any) -> tuple:
            values, further = function(first, *others)
            return values.sum(), (values, further)

        compiled = jax.jit(jax.value_and_grad(total, has_aux=True))

        def by_jax(*arrays: np.ndarray) -> tuple:
            (_, (values, further)), slope = compiled(*arrays)
            return np.asarray(values), np.asarray(slope), np.asarray(further)

        return by_jax
    if backend == "torch":
        import torch

        def by_torch(*arrays: np.ndarray) -> tuple:
            with torch.enable_grad():
                tensors = _tensors(arrays)
                tensors[0].requires_grad_(True)
                values, further = function(*tensors)
                (slope,) = torch.autograd.grad(values.sum(), tensors[0], allow_unused=True)
            slope = torch.zeros_like(tensors[0]) if slope is None else slope
            return tuple(keras.ops.convert_to_numpy(each) for each in (values, slope, further))

        return by_torch
    raise ExplainError(
        f"Keras runs on {backend!r}, which has no gradients here; "
        "set KERAS_BACKEND to tensorflow, jax or torch."
    )


def _tensors(arrays: tuple[np.ndarray, ...]) -> list:
    import keras

    return [keras.ops.convert_to_tensor(array) for array in arrays]
