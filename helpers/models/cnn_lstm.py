"""A CNN whose feature map is read by LSTMs, row by row and column by column: chapter 10.

Sonawane & Kulkarni report a "CNN + LSTM for temporal sequencing of patient data", without its
layers; their images have no order in time. What can be read in order is the map of one cell.
The convolutions are the first three of :mod:`helpers.models.custom_cnn`; all other sizes are the
course's own. LSTM: Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; in both
directions: Schuster & Paliwal 1997, doi:10.1109/78.650093. Reading an image by rows and columns
follows Visin et al. 2015, arXiv 1505.00393.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers.base.errors import ModelError
from helpers.models.layers import one_scale, probability, require_channels_last

if TYPE_CHECKING:
    import keras

#: Filters of the convolutions; behind the first two, maps are pooled by three.
FILTERS = (32, 64, 128)
#: Maps that the LSTMs read, and units of each direction.
MAPS, UNITS = 32, 32


def build(size: int = 96, seed: int = 24, *, dropout: float = 0.3) -> keras.Model:
    """Return the uncompiled network: raw RGB in, score of the positive class out.

    Parameters
    ----------
    size : int
        Side of the square images in pixels, at least 18: the maps then have two rows.
    seed : int
        For the initial weights and the dropout.
    dropout : float
        Share of the LSTMs' answers that is set to zero in training.

    Returns
    -------
    keras.Model
        From float or uint8 of shape (batch, size, size, 3), values 0..255, to
        float32 of shape (batch, 1). Scaling is inside.

    Raises
    ------
    ModelError
        When the images are too small.
    """
    import keras
    from keras import layers

    require_channels_last()
    if size < 18:
        raise ModelError(f"The CNN + LSTM needs images of at least 18 pixels, got {size}.")
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))

    def convolution(filters: int, side: int, name: str) -> keras.layers.Layer:
        he = keras.initializers.HeNormal(seed=next(seeds))
        options = {"padding": "same", "activation": "relu", "kernel_initializer": he}
        return layers.Conv2D(filters, side, name=name, **options)

    def reader(name: str) -> keras.layers.Layer:
        lstm = layers.LSTM(
            UNITS,
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            use_cudnn=False,  # XLA cannot compile that one
        )
        return layers.Bidirectional(lstm, name=name)

    image = keras.Input((size, size, 3), name="rgb")
    x = layers.Rescaling(1 / 64, offset=-1, name="scale")(image)
    for block, filters in enumerate(FILTERS, start=1):
        x = convolution(filters, 3, f"conv{block}")(x)
        if block < len(FILTERS):
            x = layers.MaxPooling2D(3, name=f"pool{block}")(x)
    x = one_scale(convolution(MAPS, 1, "fewer_maps")(x))
    side = x.shape[1]
    turned = layers.Permute((2, 1, 3), name="turned")(x)
    read = [
        reader(name)(layers.Reshape((side, side * MAPS), name=f"by_{name}")(maps))
        for name, maps in (("rows", x), ("columns", turned))
    ]
    x = layers.Concatenate(name="read")(read)
    x = layers.Dropout(dropout, seed=next(seeds), name="dropout")(x)
    return keras.Model(image, probability(x, next(seeds)), name="cnn_lstm")
