"""Channel attention, built in chapter 09: a network weighs its own feature maps.

Each layer computes one number between 0 and 1 for each feature map and multiplies the map
by it. The shape stays the same, so both layers fit behind any convolution.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from helpers.base.errors import ModelError

#: Number of maps divided by the units of the first dense layer of squeeze-and-excitation.
RATIO = 16


@keras.saving.register_keras_serializable(package="course")
class SqueezeExcitation(keras.layers.Layer):
    """Weigh the maps by two small dense layers over their means.

    Hu, Shen & Sun (2018), 10.1109/CVPR.2018.00745. Without biases, like the formula
    of the paper: 2 * channels**2 / `RATIO` parameters.

    Parameters
    ----------
    seed : int
        For the initial weights.

    Raises
    ------
    ModelError
        When the input is not (batch, height, width, channels).
    """

    def __init__(self, seed: int = 24, **options):
        super().__init__(**options)
        self.seed = seed

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the two matrices of weights."""
        channels = _channels(self, shape)
        narrow = max(1, channels // RATIO)
        start = keras.initializers.GlorotUniform
        self.squeeze = self.add_weight(
            name="squeeze", shape=(channels, narrow), initializer=start(seed=2 * self.seed)
        )
        self.excite = self.add_weight(
            name="excite", shape=(narrow, channels), initializer=start(seed=2 * self.seed + 1)
        )

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """Return the maps, each multiplied by its weight."""
        means = ops.mean(maps, axis=(1, 2))
        hidden = ops.relu(ops.matmul(means, self.squeeze))
        weights = ops.sigmoid(ops.matmul(hidden, self.excite))
        return maps * weights[:, None, None, :]

    def multiply_adds(self) -> int:
        """Return the multiply-adds of one image, as :mod:`helpers.models.cost` counts them."""
        return math.prod(self.squeeze.shape) + math.prod(self.excite.shape)

    def get_config(self) -> dict:
        """Return the layer's arguments, for saving."""
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="course")
class EfficientChannelAttention(keras.layers.Layer):
    """Weigh the maps by one short convolution along their means (ECA).

    Wang et al. (2020), 10.1109/CVPR42600.2020.01155. Its parameters are the weights of
    the kernel, :func:`eca_width`: 3 or 5 for most layers.

    Parameters
    ----------
    seed : int
        For the initial weights.

    Raises
    ------
    ModelError
        When the input is not (batch, height, width, channels).
    """

    def __init__(self, seed: int = 24, **options):
        super().__init__(**options)
        self.seed = seed

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the kernel."""
        width = eca_width(_channels(self, shape))
        start = keras.initializers.GlorotUniform(seed=self.seed)
        self.kernel = self.add_weight(name="kernel", shape=(width, 1, 1), initializer=start)

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """Return the maps, each multiplied by its weight."""
        means = ops.mean(maps, axis=(1, 2))
        mixed = ops.conv(means[:, :, None], self.kernel, padding="same")
        weights = ops.sigmoid(mixed[:, :, 0])
        return maps * weights[:, None, None, :]

    def multiply_adds(self) -> int:
        """Return the multiply-adds of one image, as :mod:`helpers.models.cost` counts them."""
        return int(self.input.shape[-1]) * self.kernel.shape[0]

    def get_config(self) -> dict:
        """Return the layer's arguments, for saving."""
        return {**super().get_config(), "seed": self.seed}


def eca_width(channels: int) -> int:
    """Return ECA's kernel length for a number of maps: about log2(channels) / 2, and odd."""
    width = int((math.log2(channels) + 1) / 2)
    return width if width % 2 else width + 1


def _channels(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> int:
    if len(shape) != 4 or shape[-1] is None:
        raise ModelError(
            f"{layer.name} weighs feature maps (batch, height, width, channels), got {shape}."
        )
    return shape[-1]
