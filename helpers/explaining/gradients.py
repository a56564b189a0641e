"""Gradients inside a network, the same on TensorFlow and JAX.

Keras has no gradient function that works on every backend. Both ways are only in
this module.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.base.errors import ExplainError

if TYPE_CHECKING:
    import keras


def logit_of(model: keras.Model) -> Callable[[Any], Any]:
    """Return the function from a batch of images to the input of the last sigmoid, shape (n,).

    Raises
    ------
    ExplainError
        When its last layer is not a dense layer or an activation with a sigmoid.
    """
    import keras
    from keras import ops

    last = model.layers[-1]
    name = getattr(getattr(last, "activation", None), "__name__", "")
    dense = isinstance(last, keras.layers.Dense) and name in ("sigmoid", "linear")
    if not dense and not (isinstance(last, keras.layers.Activation) and name == "sigmoid"):
        raise ExplainError(
            f"The last layer of {model.name} is {last.name!r} ({type(last).__name__}, "
            f"{name or 'no activation'}): its logit is known only for a dense layer or an "
            "activation with a sigmoid."
        )
    below = keras.Model(model.inputs, last.input)

    def logit(images: Any) -> Any:
        z = ops.cast(below(images, training=False), "float32")
        if dense:
            z = ops.matmul(z, ops.cast(last.kernel, "float32"))
            z = z if last.bias is None else z + ops.cast(last.bias, "float32")
        return z[:, 0]

    return logit


@contextlib.contextmanager
def recorded(layer: keras.Layer, added: Any) -> Iterator[list]:
    """Within the block, record the outputs of `layer` and add `added` to them.

    The gradient by `added`, at zero, is the gradient by the layer's output. The network is
    not cut for this, so the layer may lie in a nested network. Afterwards the layer is restored.

    Yields
    ------
    list
        One output for each call of the layer.
    """
    outputs, call = [], layer.call

    def recording(*inputs: Any, **options: Any) -> Any:
        outputs.append(call(*inputs, **options))
        return outputs[-1] + added

    layer.call = recording
    try:
        yield outputs
    finally:
        del layer.call


def differentiator(function: Callable) -> Callable[..., tuple[np.ndarray, np.ndarray, Any]]:
    """Return a function of arrays that gives a value, its gradient and a further result.

    Parameters
    ----------
    function : callable
        From tensors to a pair: values of shape (n,), and any further tensor. Row i of the
        values must depend on row i of the first tensor only.

    Returns
    -------
    callable
        From float32 arrays to the values, their gradient by the first array (of its
        shape) and the further tensor, as arrays. The gradient is zero when the values do
        not depend on the first array.

    Raises
    ------
    ExplainError
        When Keras runs on neither TensorFlow nor JAX.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def by_tensorflow(*arrays: np.ndarray) -> tuple:
            tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
            with tf.GradientTape() as tape:
                tape.watch(tensors[0])
                values, further = function(*tensors)
            gradient = tape.gradient(values, tensors[0], unconnected_gradients="zero")
            return values.numpy(), gradient.numpy(), further.numpy()

        return by_tensorflow
    if backend == "jax":
        import jax

        def total(first: Any, *others: Any) -> tuple:
            values, further = function(first, *others)
            return values.sum(), (values, further)

        compiled = jax.jit(jax.value_and_grad(total, has_aux=True))

        def by_jax(*arrays: np.ndarray) -> tuple:
            (_, (values, further)), gradient = compiled(*arrays)
            return np.asarray(values), np.asarray(gradient), np.asarray(further)

        return by_jax
    raise ExplainError(
        f"Keras runs on {backend!r}, but gradients are known on TensorFlow and JAX only: "
        "set KERAS_BACKEND to tensorflow or jax."
    )
