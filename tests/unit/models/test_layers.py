"""Layers by path, in nested networks as well, and the one check of what a network takes."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from helpers.base.errors import ModelError  # noqa: E402
from helpers.models.layers import (  # noqa: E402
    layers_of,
    path_of,
    require_classifier,
    use_logits,
    use_probability,
)


def network(shape=(8, 8, 3), units=1, activation="sigmoid"):
    """A network with one inside, inside of which is another; one name is used twice."""
    layers = keras.layers
    inner = keras.Sequential([keras.Input(shape), layers.Conv2D(4, 1, name="conv")], name="inner")
    image = keras.Input(shape)
    middle = keras.Model(image, layers.ReLU(name="relu")(inner(image)), name="middle")
    image = keras.Input(shape)
    x = layers.Conv2D(3, 1, name="conv")(image)
    x = layers.GlobalAveragePooling2D(name="pool")(middle(x))
    return keras.Model(image, layers.Dense(units, activation, name="probability")(x), name="outer")


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


@pytest.mark.slow
def test_one_check_says_what_a_network_of_the_course_takes():
    assert require_classifier(network()) == 8
    for model in (
        network((8, 9, 3)),
        network((None, None, 3)),
        network((8, 8, 1)),
        network(units=2),
        network(activation=None),
        network(activation="tanh"),
    ):
        with pytest.raises(ModelError, match=r"outer (takes|ends in) .* one probability"):
            require_classifier(model)
    for unbuilt in (keras.Sequential([keras.layers.Dense(1)]), Subclassed()):
        with pytest.raises(ModelError, match="is not built, or has not one answer"):
            require_classifier(unbuilt)


class Subclassed(keras.Model):
    """A network whose layers nobody can list."""


@pytest.mark.parametrize("last", ["dense", "activation", "nested"])
def test_a_network_answers_with_its_logit_and_with_its_probability_again(last):
    image = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(image)
    if last == "dense":
        answer = keras.layers.Dense(1, "sigmoid")(flat)
    elif last == "activation":
        answer = keras.layers.Activation("sigmoid")(keras.layers.Dense(1)(flat))
    else:
        inner = [keras.Input(flat.shape[1:]), keras.layers.Dense(1, "sigmoid")]
        answer = keras.Sequential(inner)(flat)
    model = keras.Model(image, answer)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    before = keras.ops.convert_to_numpy(model(images))
    use_logits(model)
    logits = keras.ops.convert_to_numpy(model(images))
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(before, abs=1e-6)
    use_probability(model)
    assert np.array_equal(keras.ops.convert_to_numpy(model(images)), before)


@pytest.mark.parametrize("other", [None, "net.keras", np.zeros(3)])
def test_what_is_no_model_is_told(other):
    with pytest.raises(ModelError, match=r"must be a keras\.Model, but is"):
        require_classifier(other)
