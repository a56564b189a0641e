"""How a network computes: precision, XLA, several GPUs, and a full memory.

The settings are fields of :class:`helpers.base.settings.Profile`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from helpers.base import provenance
from helpers.base.settings import Profile
from helpers.models.layers import layers_of

if TYPE_CHECKING:
    import keras

#: Optimizers that a training can use, and their classes in ``keras.optimizers``.
OPTIMIZERS = {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}

#: Seed offset between epochs: more random draws than a layer makes in one epoch.
_DRAWS = 2**20
_MEMORY_ERRORS = ("ResourceExhaustedError", "MemoryError", "_ArrayMemoryError")
_MEMORY_MESSAGES = ("resource_exhausted", "out of memory")


def policy(profile: Profile) -> str:
    """Return the Keras dtype policy that a profile asks for.

    ``mixed`` means half precision on an accelerator and float32 on a CPU: bfloat16
    where the chip computes with it, else float16.
    """
    if profile.precision in ("bfloat16", "float16"):
        return f"mixed_{profile.precision}"
    if profile.precision == "float32" or not provenance.has_gpu():
        return "float32"
    return "mixed_bfloat16" if _has_bfloat16() else "mixed_float16"


def set_precision(model: keras.Model, policy_name: str) -> None:
    """Let the layers of `model` compute by a dtype policy; weights stay float32.

    The layers before the first kernel (scaling, preprocessing) and the last layer
    (the probability) keep float32, because they need its precision. Layers that read a
    sequence (LSTM, GRU) keep it too: on a GPU, JAX has no kernel for them in bfloat16.
    """
    import keras

    layers = list(layers_of(model).values())
    kernels = [any("kernel" in weight.name for weight in layer.weights) for layer in layers]
    first = kernels.index(True) if any(kernels) else len(layers)
    for layer in layers[first:-1]:
        reads = getattr(layer, "forward_layer", layer)  # of Bidirectional, the layer inside
        if not isinstance(reads, keras.layers.RNN):
            layer.dtype_policy = policy_name


def optimizer(name: str, learning_rate: float, policy_name: str) -> keras.Optimizer:
    """Return one of :data:`OPTIMIZERS`; with float16 its loss is scaled against underflow."""
    import keras

    result = getattr(keras.optimizers, OPTIMIZERS[name])(learning_rate)
    if policy_name == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(result)
    return result


def jit(profile: Profile) -> str | bool:
    """Return ``jit_compile`` for the profile, the backend and the device."""
    return False if not profile.xla or provenance.spares_xla() else "auto"


@contextlib.contextmanager
def devices(profile: Profile) -> Iterator[int]:
    """Share each batch among all GPUs within the block, if the profile asks; yield their number.

    By ``keras.distribution`` on JAX and ``tf.distribute`` on TensorFlow, as Keras recommends.
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


def rewind_random_layers(model: keras.Model, epoch: int) -> None:
    """Make the random draws of the layers depend on seed and epoch only, also after a kill."""
    import keras

    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            seed = int(keras.ops.convert_to_numpy(variable)[0])
            variable.assign(np.array([seed, epoch * _DRAWS], dtype=np.uint32))


def out_of_memory(error: BaseException) -> bool:
    """Return whether this is a backend's error for a device whose memory is full."""
    message = str(error).lower()
    return type(error).__name__ in _MEMORY_ERRORS or any(
        words in message for words in _MEMORY_MESSAGES
    )


def _has_bfloat16() -> bool:
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        details = tf.config.experimental.get_device_details(gpu)
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    import jax

    capability = getattr(jax.devices()[0], "compute_capability", None)  # a TPU has none
    return capability is None or float(capability) >= 8


@functools.cache
def _strategy() -> object:
    """Return the one strategy of this process: two strategies would disturb each other."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(_tensorflow_devices())


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_logical_devices("GPU")]
