"""Recipes of transfer learning as plain data, the papers' own ladders among them.

:mod:`helpers.models.transfer` builds the network of a recipe,
:func:`helpers.training.zoo.load_or_train` trains it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from helpers.base import settings


@dataclass(frozen=True)
class Stage:
    """One training of a network, with the best weights of the stage before.

    Attributes
    ----------
    trainable : str
        ``head`` (the backbone is frozen), the layer of the backbone from which
        on it is tuned, or ``all``.
    learning_rate : float
    epochs, patience : int
        Longest training; epochs without a lower `val_loss` before it stops.
    optimizer : str
        ``adam``, ``rmsprop`` or ``sgd``.
    """

    trainable: str = "head"
    learning_rate: float = 1e-3
    epochs: int = 30
    patience: int = 5
    optimizer: str = "adam"


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained, as plain data.

    Attributes
    ----------
    backbone : str
        A name of :data:`helpers.models.transfer.REGISTRY`.
    cut : str
        The backbone's last layer; empty for the whole backbone.
    pooling : str
        ``avg`` (global average pooling) or ``flatten``.
    head : tuple of int
        Units of the dense layers before the last.
    dropout : float
        After each dense layer, or after the pooling where there is none.
    stages : tuple of Stage
    augment : bool
        Mirror the images at random in training, in both directions.
    frozen_statistics : bool
        Leave batch normalisation as it came from ImageNet, in inference mode,
        also where the layers around it are tuned. Otherwise tuned layers
        normalise by the small batch at hand, and their statistics follow it.
    published : float or None
        The accuracy that the paper reports of it, on its random split.
    """

    backbone: str
    cut: str = ""
    pooling: str = "avg"
    head: tuple[int, ...] = ()
    dropout: float = 0.0
    stages: tuple[Stage, ...] = (Stage(),)
    augment: bool = False
    frozen_statistics: bool = True
    published: float | None = None

    def as_dict(self) -> dict:
        """Return plain values; :func:`recipe_of` is the way back."""
        return dataclasses.asdict(self)


def recipe_of(values: dict) -> Recipe:
    """Return the recipe that was written as plain values, through JSON or not."""
    values = dict(values)
    values["stages"] = tuple(Stage(**stage) for stage in values.get("stages", ({},)))
    values["head"] = tuple(values.get("head", ()))
    return Recipe(**values)


def _tuned(recipe: Recipe, start: str, published: float | None = None) -> Recipe:
    """Return `recipe` followed by tuning from the layer `start` on, with Adam at 1e-5."""
    stage = Stage(start, learning_rate=1e-5, epochs=100)
    return dataclasses.replace(recipe, stages=(*recipe.stages, stage), published=published)


def _ladders() -> dict[str, Recipe]:
    """Return the papers' recipes by name; figures are theirs, on a random split of images.

    ResNet50 and MobileNetV2: Shreya's notebooks. The last three of the others
    are Sunitha's. Where a notebook leaves a size open, the size is the course's.
    """
    flatten = Recipe("resnet50", pooling="flatten", head=(64,), published=0.808)
    gap = Recipe("resnet50", head=(64,), published=0.829)
    two = Recipe("resnet50", head=(512, 512), published=0.843)
    two = dataclasses.replace(two, stages=(Stage(optimizer="rmsprop"),))
    cut = Recipe("resnet50", cut="conv4_block6_out", head=(256,), published=0.863)
    cut_512 = dataclasses.replace(cut, head=(512,), published=None)
    cut_two = dataclasses.replace(cut, head=(512, 512), published=None)
    mobile = Recipe("mobilenetv2", dropout=0.5, published=0.818)
    mobile_256 = dataclasses.replace(mobile, head=(256,), published=0.811)
    mobile_cut = dataclasses.replace(mobile, cut="block_15_add", published=0.822)
    return {
        "resnet50_frozen_flatten": flatten,
        "resnet50_frozen_gap": gap,
        "resnet50_frozen_gap_two_dense": two,
        "resnet50_flatten_from_conv5_block3": _tuned(flatten, "conv5_block3_1_conv", 0.807),
        "resnet50_gap_from_conv5_block3": _tuned(gap, "conv5_block3_1_conv", 0.831),
        "resnet50_from_conv5_block3": _tuned(two, "conv5_block3_1_conv", 0.842),
        "resnet50_cut_frozen": cut,
        "resnet50_cut_from_conv2": _tuned(cut, "conv2_block1_1_conv", 0.919),
        "resnet50_cut_all_256": _tuned(dataclasses.replace(cut, dropout=0.5), "all", 0.938),
        "resnet50_cut_all": _tuned(cut_512, "all", 0.9348),
        "resnet50_cut_all_two_dense": _tuned(cut_two, "all", 0.924),
        "mobilenetv2_frozen": mobile,
        "mobilenetv2_from_block16": _tuned(mobile, "block_16_expand", 0.711),
        "mobilenetv2_from_block10_256": _tuned(mobile_256, "block_10_expand", 0.867),
        "mobilenetv2_from_block10": _tuned(mobile, "block_10_expand", 0.8734),
        "mobilenetv2_cut_block15": mobile_cut,
        "mobilenet_frozen": Recipe("mobilenet", dropout=0.5, published=0.94),
        "xception_frozen": Recipe("xception", dropout=0.5, published=0.94),
        "inceptionv3_frozen": Recipe("inceptionv3", dropout=0.5),
        "vgg16_frozen": Recipe("vgg16", dropout=0.5),
        "efficientnetv2b0_frozen": Recipe("efficientnetv2b0", dropout=0.5),
    }


#: The papers' recipes by readable name, each with the paper's figure where it has one.
RECIPES: dict[str, Recipe] = _ladders()

# Epochs of a stage that tunes the backbone: on two cores each costs what forty of a head do.
_TUNING_EPOCHS = {"smoke": 1, "quick": 2}


def for_profile(recipe: Recipe, profile: settings.Profile | str) -> Recipe:
    """Return the recipe as a profile can afford it; ``full`` leaves it as it is.

    In ``smoke`` and ``quick`` stages are at most as long as the profile's
    training, those that tune the backbone 1 and 2 epochs, and MobileNetV2 has
    a width of 0.35. Applied twice it changes nothing more.
    """
    profile = settings.profile_of(profile)
    if profile.name == "full":
        return recipe
    backbone = {"mobilenetv2": "mobilenetv2_035"}.get(recipe.backbone, recipe.backbone)
    stages = []
    for stage in recipe.stages:
        most = profile.epochs
        if stage.trainable != "head":
            most = min(most, _TUNING_EPOCHS.get(profile.name, most))
        stages.append(
            dataclasses.replace(
                stage,
                epochs=min(stage.epochs, most),
                patience=min(stage.patience, profile.patience),
            )
        )
    return dataclasses.replace(recipe, backbone=backbone, stages=tuple(stages))
