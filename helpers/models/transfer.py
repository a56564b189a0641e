"""Networks that start from ImageNet, each from a short recipe (chapters 07, 08 and 09).

A :class:`Recipe` is data: which backbone, where it is cut, which head stands on
it, and the stages in which it is trained. :data:`RECIPES` are the papers' own.
Every network takes raw 0..255 RGB; its backbone's preprocessing is inside.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.base import settings
from helpers.base.errors import ModelError
from helpers.models import weights as weight_files
from helpers.models.recipes import RECIPES, Recipe, Stage, for_profile, recipe_of

if TYPE_CHECKING:
    import keras

__all__ = [
    "RECIPES",
    "REGISTRY",
    "Backbone",
    "ModelError",
    "Recipe",
    "Stage",
    "backbone",
    "build",
    "copy_head",
    "extractor",
    "for_profile",
    "head",
    "recipe_of",
    "set_trainable",
    "size_for",
    "tally",
]

#: Means of ImageNet's blue, green and red, as the networks trained with Caffe subtract them.
CAFFE_MEANS = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Backbone:
    """A network of ``keras.applications`` without its top.

    Attributes
    ----------
    builder : str
        Its name in ``keras.applications``.
    minimum : int
        Smallest side in pixels that it takes.
    preprocessing : str
        ``caffe`` (BGR, means subtracted), ``tf`` (to -1..1) or ``own`` (inside already).
    cuts : tuple of str
        Layers at which a recipe may cut it or begin to tune it, all there in
        Keras 3.8 to 3.15; others do as well.
    alpha : float or None
        Width, of the MobileNets.
    """

    builder: str
    minimum: int
    preprocessing: str
    cuts: tuple[str, ...] = ()
    alpha: float | None = None


_MOBILENETV2_CUTS = (
    "block_6_expand",
    "block_10_expand",
    "block_13_expand",
    "block_15_add",
    "block_16_expand",
    "out_relu",
)
#: The backbones of the course.
REGISTRY: dict[str, Backbone] = {
    "resnet50": Backbone(
        "ResNet50",
        32,
        "caffe",
        (
            "conv2_block1_1_conv",
            "conv3_block4_out",
            "conv4_block6_out",
            "conv5_block1_1_conv",
            "conv5_block3_1_conv",
            "conv5_block3_out",
        ),
    ),
    "mobilenetv2": Backbone("MobileNetV2", 32, "tf", _MOBILENETV2_CUTS, 1.0),
    "mobilenetv2_035": Backbone("MobileNetV2", 32, "tf", _MOBILENETV2_CUTS, 0.35),
    "mobilenet": Backbone("MobileNet", 32, "tf", ("conv_pw_6_relu", "conv_dw_12"), 1.0),
    "xception": Backbone("Xception", 71, "tf", ("block10_sepconv1_act", "block14_sepconv1")),
    "inceptionv3": Backbone("InceptionV3", 75, "tf", ("mixed5", "mixed7", "mixed9")),
    "vgg16": Backbone("VGG16", 32, "caffe", ("block3_pool", "block4_pool", "block5_conv1")),
    "efficientnetv2b0": Backbone(
        "EfficientNetV2B0", 32, "own", ("block5a_expand_conv", "block6a_expand_conv", "top_conv")
    ),
}


def size_for(recipe: Recipe, profile: settings.Profile | str) -> int:
    """Return the side of the images in pixels: the profile's, or the backbone's minimum."""
    return max(settings.profile_of(profile).size, _backbone(recipe.backbone).minimum)


def build(
    recipe: Recipe,
    size: int = 96,
    seed: int = 24,
    weights: weight_files.Weights | None = None,
) -> keras.Model:
    """Return the uncompiled network of a recipe, ready for its first stage.

    Parameters
    ----------
    recipe : Recipe
    size : int
        Side of the square images in pixels.
    seed : int
        Of the head's first weights, the dropout, the augmentation and, without
        ImageNet weights, of the backbone.
    weights : Weights, optional
        By default what :func:`helpers.models.weights.find` finds.

    Returns
    -------
    keras.Model
        From float or uint8 of shape (batch, size, size, 3), values 0..255, to
        float32 of shape (batch, 1), the probability of the positive class. Its
        layers are called ``augment_horizontal``, ``augment_vertical``,
        ``preprocess`` (as far as it has them), ``backbone``, ``pool``,
        ``dense1``, ``dropout1``, ... and ``probability``.

    Raises
    ------
    ModelError
        When the recipe names what is not there, or the images are too small.
    ModelError
        When a weight file is not what its name says.
    """
    import keras
    from keras import layers

    body = backbone(recipe, size, seed, weights)
    rgb = x = keras.Input((size, size, 3), name="rgb")
    if recipe.augment:
        # Four exact versions: what they show can be computed once and kept. Two layers,
        # since Keras' "horizontal_and_vertical" does both or neither: no mirror image at all.
        for place, way in enumerate(("horizontal", "vertical")):
            x = layers.RandomFlip(way, seed=seed * 1000 + 900 + place, name=f"augment_{way}")(x)
    x = _preprocess(x, REGISTRY[recipe.backbone].preprocessing)
    # Not body(x, training=False): in Keras 3 the `training` of the network around it overrules
    # that (keras issue 20285). What holds normalisation still is that its layers are not trainable.
    x = _pool(body(x), recipe)
    model = keras.Model(rgb, _head(x, recipe, seed), name=recipe.backbone)
    where = recipe.stages[0].trainable if recipe.stages else "head"
    return set_trainable(model, where, recipe.frozen_statistics)


def backbone(
    recipe: Recipe | str,
    size: int = 96,
    seed: int = 24,
    weights: weight_files.Weights | None = None,
) -> keras.Model:
    """Return the recipe's backbone alone, cut and with its weights, called ``backbone``.

    It takes images that are preprocessed already; arguments and errors are
    those of :func:`build`. A name alone stands for the whole backbone.
    """
    import keras

    recipe = Recipe(recipe) if isinstance(recipe, str) else recipe
    entry = _backbone(recipe.backbone)
    if recipe.pooling not in ("avg", "flatten"):
        raise ModelError(f"pooling is {recipe.pooling!r}, but must be 'avg' or 'flatten'.")
    if size < entry.minimum:
        raise ModelError(
            f"{recipe.backbone} needs images of at least {entry.minimum} pixels, got {size}."
        )
    weights = weight_files.find(recipe.backbone) if weights is None else weights
    options = {} if entry.alpha is None else {"alpha": entry.alpha}
    builder = getattr(keras.applications, entry.builder)
    whole = builder(input_shape=(size, size, 3), include_top=False, weights=None, **options)
    if weights.path is None:
        _randomise(whole, seed, entry.preprocessing)
    else:
        weight_files.load_into(whole, weights)
    last = _layer(whole, recipe.cut, recipe.backbone) if recipe.cut else whole.layers[-1]
    return keras.Model(whole.input, last.output, name="backbone")


def head(recipe: Recipe, shape: tuple[int, ...], seed: int = 24) -> keras.Model:
    """Return the recipe's head alone: from pooled features of `shape` to the probability.

    Layers, names, first weights and dropout are those of the head that
    :func:`build` puts on the backbone.
    """
    import keras

    features = keras.Input(shape, name="features")
    return keras.Model(features, _head(features, recipe, seed), name=f"{recipe.backbone}_head")


def copy_head(source: keras.Model, target: keras.Model) -> None:
    """Give the head of `target` the weights of the head of `source`.

    Each is a network of :func:`build` or a head of :func:`head`, of one recipe.
    """
    for layer in source.layers:
        if layer.weights and layer.name != "backbone":
            target.get_layer(layer.name).set_weights(layer.get_weights())


def extractor(model: keras.Model) -> keras.Model:
    """Return the part of a network of :func:`build` from raw RGB to the pooled features.

    It shares the network's weights.
    """
    import keras

    pooled = model.get_layer("pool").output
    return keras.Model(model.input, pooled, name=f"{model.name}_features")


def set_trainable(model: keras.Model, where: str, frozen_statistics: bool = True) -> keras.Model:
    """Freeze the backbone of `model` as a stage says; compile it afterwards.

    Parameters
    ----------
    model : keras.Model
        As :func:`build` makes it; changed in place and returned.
    where : str
        ``head``, the name of a layer of the backbone from which on (in its
        order of layers) it is trained, or ``all``.
    frozen_statistics : bool
        Leave batch normalisation out: it then computes with ImageNet's
        statistics, in training as well. See :class:`Recipe`.

    Raises
    ------
    ModelError
        When the backbone has no such layer.
    """
    body = model.get_layer("backbone")
    if where == "head":
        body.trainable = False
        return model
    first = 0 if where == "all" else body.layers.index(_layer(body, where, model.name))
    body.trainable = True
    for place, layer in enumerate(body.layers):
        fixed = frozen_statistics and type(layer).__name__ == "BatchNormalization"
        layer.trainable = place >= first and not fixed
    return model


def tally(model: keras.Model) -> pd.DataFrame:
    """Count the layers of a network, those of its backbone included, kind by kind.

    Returns
    -------
    pandas.DataFrame
        One row a kind, in the order in which the kinds first come: `kind`,
        `layers`, `parameters`, `trainable` (parameters that training changes).
    """
    rows: dict[str, list[int]] = {}
    for layer, trainable in _leaves(model):
        row = rows.setdefault(type(layer).__name__, [0, 0, 0])
        changed = sum(int(np.prod(v.shape)) for v in layer.trainable_variables) if trainable else 0
        row[0] += 1
        row[1] += sum(int(np.prod(v.shape)) for v in layer.weights)
        row[2] += changed
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["layers", "parameters", "train"])
    return table.rename_axis("kind").reset_index().rename(columns={"train": "trainable"})


def _leaves(model: keras.Model, trainable: bool = True) -> Iterator[tuple[keras.Layer, bool]]:
    """Yield each layer that is no model itself, and whether the models around it are trained."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer, trainable and layer.trainable)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer, trainable and layer.trainable


def _backbone(name: str) -> Backbone:
    if name not in REGISTRY:
        raise ModelError(f"The backbone is {name!r}, but must be one of {', '.join(REGISTRY)}.")
    return REGISTRY[name]


def _layer(model: keras.Model, name: str, called: str) -> keras.Layer:
    names = [layer.name for layer in model.layers]
    if name not in names:
        near = difflib.get_close_matches(name, names, 3)
        raise ModelError(
            f"{called} has no layer {name!r}"
            + (f"; near to it: {', '.join(near)}." if near else ".")
        )
    return model.get_layer(name)


def _preprocess(x: keras.KerasTensor, kind: str) -> keras.KerasTensor:
    """Do what ``keras.applications.*.preprocess_input`` does, by layers that can be saved."""
    import keras
    from keras import layers

    if kind == "own":
        return x
    if kind == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocess")(x)
    means = [-mean for mean in CAFFE_MEANS]
    bgr = keras.ops.flip(x, axis=-1)
    return layers.Rescaling(1.0, offset=means, dtype="float32", name="preprocess")(bgr)


def _pool(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    from keras import layers

    if recipe.pooling == "flatten":
        return layers.Flatten(name="pool")(x)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def _head(x: keras.KerasTensor, recipe: Recipe, seed: int) -> keras.KerasTensor:
    import keras
    from keras import layers

    seeds = iter(range(seed * 1000, seed * 1000 + 900))
    for place, units in enumerate(recipe.head or (0,), start=1):
        if units:
            start = keras.initializers.HeNormal(seed=next(seeds))
            x = layers.Dense(
                units, activation="relu", kernel_initializer=start, name=f"dense{place}"
            )(x)
        if recipe.dropout:
            x = layers.Dropout(recipe.dropout, seed=next(seeds), name=f"dropout{place}")(x)
    start = keras.initializers.GlorotUniform(seed=next(seeds))
    # float32 whatever the precision of the rest: a probability near 1 needs the digits.
    return layers.Dense(
        1, activation="sigmoid", kernel_initializer=start, dtype="float32", name="probability"
    )(x)


def _randomise(model: keras.Model, seed: int, kind: str) -> None:
    """Give a backbone without ImageNet weights a start of its own, from `seed` by NumPy.

    Kernels are drawn after He et al. (2015, arXiv 1502.01852); ``keras.applications``
    would draw them from the global seed, others each time. Then signals are
    brought to a mean square of 1 at each normalisation (where there is none, at the
    end), on noise as preprocessed by `kind`: in inference mode, with its means of 0
    and variances of 1, they would grow or fade from block to block.
    """
    import keras

    kernels = [weight for weight in model.weights if "kernel" in weight.name]
    for place, kernel in enumerate(kernels):  # biases and normalisation start at 0 and 1
        shape = kernel.shape
        inputs = 1 if shape[-1] == 1 else shape[-2]  # a depthwise kernel sees one channel
        limit = np.sqrt(6 / (int(np.prod(shape[:-2])) * inputs))
        rng = np.random.default_rng([seed, place])
        kernel.assign(rng.uniform(-limit, limit, shape).astype(np.float32))
    side = model.input_shape[1]
    cells = -(-side // 8)
    coarse = np.random.default_rng([seed, 10**6]).uniform(-1, 1, (8, cells, cells, 3))
    noise = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)[:, :side, :side]
    noise = {"tf": noise, "caffe": 128 * noise, "own": 128 * (1 + noise)}[kind].astype(np.float32)

    def mean_square(values: object) -> np.float32:
        value = float(np.mean(np.square(keras.ops.convert_to_numpy(values), dtype=np.float64)))
        return np.float32(f"{max(value, 1e-12):.3g}")  # the same however a machine adds it up

    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for norm in norms:

        def call(values: object, norm: keras.Layer = norm, **options: object) -> object:
            norm.moving_variance.assign(np.full(norm.moving_variance.shape, mean_square(values)))
            return type(norm).call(norm, values, training=False)

        norm.call = call
    out = model(noise, training=False)
    for norm in norms:
        del norm.call
    if not norms:
        kernels[0].assign(kernels[0] / np.sqrt(mean_square(out)))
