"""Networks that start from ImageNet, each built from a short recipe (chapters 07, 08 and 09).

A :class:`Recipe` is plain data: which backbone, where it is cut, which head follows,
and the stages of the training. :data:`RECIPES` are those of the papers. Every network
takes raw 0..255 RGB and does the preprocessing of its backbone itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from helpers.base import settings
from helpers.base.errors import ModelError
from helpers.models import weights as weight_files
from helpers.models.layers import one_scale, path_of, probability, require_channels_last
from helpers.models.recipes import RECIPES, Recipe, Stage, for_profile

if TYPE_CHECKING:
    import keras

__all__ = [
    "RECIPES",
    "REGISTRY",
    "Backbone",
    "Recipe",
    "Stage",
    "backbone",
    "build",
    "copy_head",
    "extractor",
    "feature_layer",
    "for_profile",
    "head",
    "set_trainable",
    "size_for",
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
        ``caffe`` (BGR, means subtracted), ``tf`` (scaled to -1..1) or ``own`` (done inside).
    feature_layer : str
        The layer that gives its last feature maps, after normalisation and activation.
    alpha : float or None
        Width, of the MobileNets.
    """

    builder: str
    minimum: int
    preprocessing: str
    feature_layer: str
    alpha: float | None = None


#: The backbones of the course.
REGISTRY: dict[str, Backbone] = {
    "resnet50": Backbone("ResNet50", 32, "caffe", "conv5_block3_out"),
    "mobilenetv2": Backbone("MobileNetV2", 32, "tf", "out_relu", 1.0),
    "mobilenetv2_035": Backbone("MobileNetV2", 32, "tf", "out_relu", 0.35),
    "mobilenet": Backbone("MobileNet", 32, "tf", "conv_pw_13_relu", 1.0),
    "xception": Backbone("Xception", 71, "tf", "block14_sepconv2_act"),
    "inceptionv3": Backbone("InceptionV3", 75, "tf", "mixed10"),
    "vgg16": Backbone("VGG16", 32, "caffe", "block5_conv3"),
    "efficientnetv2b0": Backbone("EfficientNetV2B0", 32, "own", "top_activation"),
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
    """Return the uncompiled network of a recipe, frozen as its first stage asks.

    Parameters
    ----------
    recipe : Recipe
    size : int
        Side of the square images in pixels.
    seed : int
        For the head's initial weights, the dropout, the augmentation and, without
        ImageNet weights, of the backbone.
    weights : Weights, optional
        By default those of :func:`helpers.models.weights.find`.

    Returns
    -------
    keras.Model
        From float or uint8 of shape (batch, size, size, 3), values 0..255, to
        float32 of shape (batch, 1), the probability of the positive class. The
        network and its layers have fixed names: ``augment_horizontal``,
        ``augment_vertical``, ``preprocess`` (where the recipe has them), ``backbone``,
        ``pool``, ``one_scale``, ``dense1``, ``dropout1``, ..., ``probability``.

    Raises
    ------
    ModelError
        When the recipe names something that does not exist, the images are too
        small, or a weight file is damaged.
    """
    import keras
    from keras import layers

    require_channels_last()
    body = backbone(recipe, size, seed, weights)
    rgb = x = keras.Input((size, size, 3), name="rgb")
    if recipe.augment:
        # Two layers give four exact versions, whose features can be computed once and cached. One
        # layer "horizontal_and_vertical" flips both ways or not at all: no mirror image.
        for number, way in enumerate(("horizontal", "vertical")):
            x = layers.RandomFlip(way, seed=seed * 1000 + 900 + number, name=f"augment_{way}")(x)
    x = _preprocess(x, REGISTRY[recipe.backbone].preprocessing)
    # Not body(x, training=False): in Keras 3 the `training` of the outer network overrules it
    # (keras issue 20285). Normalisation stays fixed because its layers are not trainable.
    pool = layers.Flatten if recipe.pooling == "flatten" else layers.GlobalAveragePooling2D
    x = pool(name="pool")(body(x))
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

    It takes preprocessed images. Parameters and errors are those of :func:`build`;
    the name of a backbone means the whole backbone.
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
    last = whole.get_layer(path_of(whole, recipe.cut)) if recipe.cut else whole.layers[-1]
    return keras.Model(whole.input, last.output, name="backbone")


def feature_layer(model: keras.Model) -> str:
    """Return the path of the layer with the last feature maps of a network of :func:`build`.

    It is the one of :data:`REGISTRY`, or the layer at which the recipe cut the backbone.
    """
    body = model.get_layer("backbone")
    name = REGISTRY[model.name].feature_layer
    whole = any(layer.name == name for layer in body.layers)
    return f"backbone/{name if whole else body.layers[-1].name}"


def head(recipe: Recipe, shape: tuple[int, ...], seed: int = 24) -> keras.Model:
    """Return the recipe's head alone: from pooled features of `shape` to the probability.

    Its layers, names, initial weights and dropout are those that :func:`build` gives
    to the head of the whole network.
    """
    import keras

    features = keras.Input(shape, name="features")
    return keras.Model(features, _head(features, recipe, seed), name=f"{recipe.backbone}_head")


def copy_head(source: keras.Model, target: keras.Model) -> None:
    """Give the head of `target` the weights of the head of `source`.

    Both belong to one recipe; each is a network of :func:`build` or a head of :func:`head`.
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
    """Freeze the backbone of `model` as a stage asks; compile the model afterwards.

    Parameters
    ----------
    model : keras.Model
        As :func:`build` makes it; changed in place and returned.
    where : str
        ``head`` (the whole backbone is frozen), ``all``, or the name of the first
        layer of the backbone that is trained; all layers after it are trained too.
    frozen_statistics : bool
        Keep batch normalisation frozen. See :class:`Recipe`.

    Raises
    ------
    ModelError
        When the backbone has no such layer.
    """
    body = model.get_layer("backbone")
    if where == "head":
        body.trainable = False
        return model
    first = 0 if where == "all" else body.layers.index(body.get_layer(path_of(body, where)))
    body.trainable = True
    for index, layer in enumerate(body.layers):
        fixed = frozen_statistics and type(layer).__name__ == "BatchNormalization"
        layer.trainable = index >= first and not fixed
    return model


def _backbone(name: str) -> Backbone:
    if name not in REGISTRY:
        raise ModelError(f"The backbone is {name!r}, but must be one of {', '.join(REGISTRY)}.")
    return REGISTRY[name]


def _preprocess(x: keras.KerasTensor, kind: str) -> keras.KerasTensor:
    """Preprocess as ``keras.applications.*.preprocess_input``, by layers that can be saved."""
    import keras

    if kind == "own":
        return x
    scale, offset = 1 / 127.5, -1.0
    if kind == "caffe":
        x = keras.ops.flip(x, axis=-1)  # RGB to BGR
        scale, offset = 1.0, [-mean for mean in CAFFE_MEANS]
    return keras.layers.Rescaling(scale, offset=offset, dtype="float32", name="preprocess")(x)


def _head(x: keras.KerasTensor, recipe: Recipe, seed: int) -> keras.KerasTensor:
    import keras
    from keras import layers

    seeds = iter(range(seed * 1000, seed * 1000 + 900))
    x = one_scale(x)
    for number, units in enumerate(recipe.head or (0,), start=1):
        if units:
            he = keras.initializers.HeNormal(seed=next(seeds))
            x = layers.Dense(units, "relu", kernel_initializer=he, name=f"dense{number}")(x)
        if recipe.dropout:
            x = layers.Dropout(recipe.dropout, seed=next(seeds), name=f"dropout{number}")(x)
    return probability(x, next(seeds))


def _randomise(model: keras.Model, seed: int, kind: str) -> None:
    """Give a backbone that has no ImageNet weights random ones that follow from `seed`.

    Kernels are drawn after He et al. (2015, arXiv 1502.01852) by NumPy, because
    ``keras.applications`` would draw others in each process. A frozen batch normalisation
    has means of 0 and variances of 1, so signals would grow or fade from block to block.
    Therefore each normalisation gets the mean square of its input as its variance,
    measured on noise that is preprocessed as `kind` says; a network without normalisation
    gets its first kernel scaled instead.
    """
    import keras

    kernels = [weight for weight in model.weights if "kernel" in weight.name]
    for index, kernel in enumerate(kernels):  # biases and normalisation keep their 0 and 1
        shape = kernel.shape
        inputs = 1 if shape[-1] == 1 else shape[-2]  # a depthwise kernel sees one channel
        limit = np.sqrt(6 / (int(np.prod(shape[:-2])) * inputs))
        rng = np.random.default_rng([seed, index])
        kernel.assign(rng.uniform(-limit, limit, shape).astype(np.float32))
    side = model.input_shape[1]
    cells = -(-side // 8)
    coarse = np.random.default_rng([seed, 10**6]).uniform(-1, 1, (8, cells, cells, 3))
    noise = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)[:, :side, :side]
    noise = {"tf": noise, "caffe": 128 * noise, "own": 128 * (1 + noise)}[kind].astype(np.float32)

    def mean_square(values: object) -> np.float32:
        value = float(np.mean(np.square(keras.ops.convert_to_numpy(values), dtype=np.float64)))
        return np.float32(f"{max(value, 1e-12):.3g}")  # rounded: sums differ between machines

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
