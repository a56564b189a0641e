"""Recipes of transfer learning as plain data, including those of the papers.

:mod:`helpers.models.transfer` builds the network of a recipe,
:func:`helpers.training.zoo.load_or_train` trains it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from helpers.base import settings


@dataclass(frozen=True)
class Stage:
    """One training of a network; it starts from the best weights of the stage before.

    Attributes
    ----------
    trainable : str
        ``head`` (the backbone is frozen), ``all``, or the first layer of the
        backbone that is trained.
    learning_rate : float
    epochs, patience : int
        The most epochs; epochs without a lower `val_loss` after which it stops.
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
        Flip the images at random in training, horizontally and vertically.
    frozen_statistics : bool
        Batch normalisation keeps ImageNet's statistics and runs in inference mode,
        also between layers that are trained. Otherwise it normalises by each
        (small) batch of the training, and its statistics follow.
    published : float or None
        The accuracy in the paper, on its random split.
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
        """Return plain values, as they are stored in a run record."""
        return dataclasses.asdict(self)


def _tuned(recipe: Recipe, start: str, published: float | None = None) -> Recipe:
    """Return `recipe` with one more stage: Adam at 1e-5 from the layer `start` on."""
    stage = Stage(start, learning_rate=1e-5, epochs=100)
    return dataclasses.replace(recipe, stages=(*recipe.stages, stage), published=published)


def _of_the_papers() -> dict[str, Recipe]:
    """Return the papers' recipes by name, with their accuracies on a random split of images.

    ResNet50 and MobileNetV2 follow Shreya's notebooks; MobileNet, Xception and InceptionV3
    follow Sunitha. Sizes that a paper does not give are the course's own.
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


#: The papers' recipes by readable name.
RECIPES: dict[str, Recipe] = _of_the_papers()

# Most epochs of a stage that trains the backbone: on two cores one costs as much as forty
# epochs of a head.
_TUNING_EPOCHS = {"smoke": 1, "quick": 2}


def for_profile(recipe: Recipe, profile: settings.Profile | str) -> Recipe:
    """Return the recipe shortened to what a profile can afford; ``full`` changes nothing.

    In ``smoke`` and ``quick`` no stage is longer than the profile's training, a stage
    that trains the backbone has 1 and 2 epochs, and MobileNetV2 has a width of 0.35.
    Applying it a second time changes nothing.
    """
    profile = settings.profile_of(profile)
    if profile.name == "full":
        return recipe
    backbone = {"mobilenetv2": "mobilenetv2_035"}.get(recipe.backbone, recipe.backbone)

    def shortened(stage: Stage) -> Stage:
        most = profile.epochs
        if stage.trainable != "head":
            most = min(most, _TUNING_EPOCHS.get(profile.name, most))
        epochs, patience = min(stage.epochs, most), min(stage.patience, profile.patience)
        return dataclasses.replace(stage, epochs=epochs, patience=patience)

    return dataclasses.replace(
        recipe, backbone=backbone, stages=tuple(map(shortened, recipe.stages))
    )
