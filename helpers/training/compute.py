"""How a training computes: precision, XLA, several GPUs, and what to do when memory runs out.

Part of :mod:`helpers.training`; the settings are fields of
:class:`helpers.base.settings.Profile`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from helpers.base import provenance
from helpers.base.settings import Profile

if TYPE_CHECKING:
    import keras

_NAMES = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError", "_ArrayMemoryError")
_WORDS = ("resource_exhausted", "out of memory", "cuda_error_out_of_memory")


def policy(profile: Profile) -> str:
    """Return the Keras dtype policy: a mixed one where asked for and where it is faster.

    ``mixed`` means half precision on an accelerator and float32 on a CPU; bfloat16
    where the chip computes with it, else float16.
    """
    if profile.precision in ("bfloat16", "float16"):
        return f"mixed_{profile.precision}"
    if profile.precision == "float32" or not provenance.has_gpu():
        return "float32"
    return "mixed_bfloat16" if _has_bfloat16() else "mixed_float16"


def set_precision(model: keras.Model, policy_name: str) -> None:
    """Have the layers of `model` compute by a dtype policy; weights stay float32.

    What comes before the first kernel (scaling, preprocessing) and the last
    layer (the probability) keep float32: both need the digits.
    """
    import keras

    leaves = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if not isinstance(layer, keras.Model | keras.layers.InputLayer)
    ]
    kernels = [any("kernel" in weight.name for weight in layer.weights) for layer in leaves]
    first = kernels.index(True) if any(kernels) else len(leaves)
    for layer in leaves[first:-1]:
        layer.dtype_policy = policy_name


def optimizer(name: str, learning_rate: float, policy_name: str) -> keras.Optimizer:
    """Return the optimizer; with float16 its loss is scaled so that small gradients survive."""
    import keras

    classes = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    made = classes[name](learning_rate)
    if policy_name == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(made)
    return made


#: Optimizers that a training can use.
OPTIMIZERS = ("adam", "rmsprop", "sgd")


def jit(profile: Profile) -> str | bool:
    """Return ``jit_compile``: on a CPU, XLA makes a small network two to three times slower."""
    return "auto" if profile.xla and provenance.has_gpu() else False


@contextlib.contextmanager
def devices(profile: Profile) -> Iterator[int]:
    """Compute on all GPUs inside the block, each with its part of a batch; yield how many.

    ``keras.distribution`` on JAX and ``tf.distribute`` on TensorFlow, which
    is what Keras recommends for each. PyTorch goes on with one.
    """
    import keras

    backend = keras.backend.backend()
    if profile.devices != "all":
        yield 1
    elif backend == "jax" and len(keras.distribution.list_devices()) > 1:
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        try:
            yield len(keras.distribution.list_devices())
        finally:
            keras.distribution.set_distribution(before)
    elif backend == "tensorflow" and len(_tensorflow_devices()) > 1:
        strategy = _strategy()
        with strategy.scope():
            yield strategy.num_replicas_in_sync
    else:
        yield 1


def out_of_memory(error: BaseException) -> bool:
    """Return whether this is how a backend says that the device's memory is full."""
    said = str(error).lower()
    return type(error).__name__ in _NAMES or any(words in said for words in _WORDS)


def _has_bfloat16() -> bool:
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        details = tf.config.experimental.get_device_details(gpu)
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    if backend == "jax":
        import jax

        capability = getattr(jax.devices()[0], "compute_capability", None)  # a TPU has none
        return capability is None or float(capability) >= 8
    import torch

    return torch.cuda.is_bf16_supported()


@functools.cache
def _strategy() -> object:
    """Return the one strategy of this process: two would mistake each other's messages."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(_tensorflow_devices())


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_logical_devices("GPU")]
