"""Layers by path, in nested networks as well, and the one check of what a network takes."""

import pytest

keras = pytest.importorskip("keras")

from helpers.base.errors import ModelError  # noqa: E402
from helpers.models.layers import layers_of, path_of, require_classifier  # noqa: E402


def network(shape=(8, 8, 3), units=1):
    """A network with one inside, inside of which is another; one name is used twice."""
    layers = keras.layers
    inner = keras.Sequential([keras.Input(shape), layers.Conv2D(4, 1, name="conv")], name="inner")
    image = keras.Input(shape)
    middle = keras.Model(image, layers.ReLU(name="relu")(inner(image)), name="middle")
    image = keras.Input(shape)
    x = layers.Conv2D(3, 1, name="conv")(image)
    x = layers.GlobalAveragePooling2D(name="pool")(middle(x))
    return keras.Model(image, layers.Dense(units, name="probability")(x), name="outer")


def test_layers_are_listed_from_the_image_to_the_answer():
    model = network()
    paths = ["conv", "middle/inner/conv", "middle/relu", "pool", "probability"]
    assert list(layers_of(model)) == paths
    assert layers_of(model)["middle/relu"] is model.get_layer("middle").get_layer("relu")


def test_a_layer_is_found_by_its_path_or_its_name():
    model = network()
    assert path_of(model, "conv") == "conv"  # a path comes before the end of another one
    assert path_of(model, "inner/conv") == path_of(model, "middle/inner/conv")
    assert path_of(model, "relu") == "middle/relu"
    with pytest.raises(ModelError, match=r"outer has no layer 'poool'; similar names: pool\."):
        path_of(model, "poool")
    inside = keras.Model(model.input, model(model.input), name="deep")
    with pytest.raises(ModelError, match="deep has 2 layers called 'conv': give the path of one"):
        path_of(inside, "conv")


def test_one_check_says_what_a_network_of_the_course_takes():
    assert require_classifier(network()) == 8
    for model in (
        network((8, 9, 3)),
        network((None, None, 3)),
        network((8, 8, 1)),
        network(units=2),
    ):
        with pytest.raises(ModelError, match=r"outer goes from .* to one probability"):
            require_classifier(model)
