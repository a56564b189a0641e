"""Chapter 10: its networks are the course's, order means nothing to a pool, its checkers know."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from helpers.models import bags, cnn_lstm
from helpers.report import plots
from tests.unit.chapter_page import functions, run, solutions, told, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
layers = keras.layers
RNG = np.random.default_rng(24)


@pytest.fixture(scope="module")
def page():
    networks = functions(
        "10", "attention_network", "lstm_network", "read", keras=keras, layers=layers, np=np,
        expit=expit,
    )  # fmt: skip
    return run("10", "def build(", **networks)


def weights_by_shape(model):
    return [tuple(weight.shape) for weight in model.weights]


@pytest.mark.slow
@pytest.mark.parametrize("size", [27, 48, 75])
def test_the_network_of_the_page_is_the_one_that_is_shipped(page, size):
    plain, shipped = page["build"](size), cnn_lstm.build(size)
    assert weights_by_shape(plain) == weights_by_shape(shipped)
    plain.set_weights(shipped.get_weights())
    images = RNG.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    logits = keras.ops.convert_to_numpy(plain(images, training=False))
    scores = keras.ops.convert_to_numpy(shipped(images, training=False))
    np.testing.assert_allclose(expit(logits), scores, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention", "lstm"])
def test_the_networks_for_bags_are_those_that_are_shipped(page, name):
    plain, shipped = page[f"{name}_network"](5), getattr(bags, name)(5)
    assert weights_by_shape(plain) == weights_by_shape(shipped)
    plain.set_weights(shipped.get_weights())
    cells = RNG.normal(size=(2, 7, 5)).astype("float32")
    pair = [keras.ops.convert_to_numpy(model(cells, training=False)) for model in (plain, shipped)]
    np.testing.assert_allclose(*pair, atol=1e-6)


def test_bags_are_drawn_on_the_page_as_in_the_module():
    truth = np.array([0, 1, 0, 1])
    bag = [np.arange(0, 3), np.arange(3, 30), np.arange(30, 31), np.arange(31, 60)]
    numbers = np.arange(60, dtype="float32")[:, None]
    page = functions("10", "draw", np=np, bag=bag, numbers=numbers, truth=truth,
                     part={"train": np.array([0, 1, 3])})  # fmt: skip
    shown = page["draw"](np.random.default_rng(3))
    few = [bag[i] for i in (0, 1, 3)]
    shipped = bags.draw(few, truth[[0, 1, 3]], np.random.default_rng(3))
    for _ in range(4):
        (x, y), (cells, target) = next(shown), next(shipped)
        assert sorted(map(tuple, x[..., 0])) == sorted(map(tuple, cells.astype("float32")))
        assert sorted(y[:, 0]) == sorted(target)


def test_one_step_by_hand_is_keras(page):
    layer, steps = layers.LSTM(3), RNG.normal(size=(5, 2)).astype("float32")
    by_keras = keras.ops.convert_to_numpy(layer(steps[None]))[0]
    tables = [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
    np.testing.assert_allclose(page["read"](steps, *tables), by_keras, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("size", [48, 96])
def test_the_figure_has_as_many_stripes_as_the_sequence_has_steps(size):
    drawn = np.zeros((1, size, size, 3), np.uint8)
    figure = run("10", "steps: rows", pixels=drawn, rows=[0], size=size, np=np, plots=plots)[
        "figure"
    ]
    plots.plt.close(figure)
    steps, _ = cnn_lstm.build(size).get_layer("by_rows").output.shape[1:]
    for axis in figure.axes[1:]:
        assert len(axis.lines) + 1 == steps
        grey = (axis.images[0].get_array() == 128).all(axis=2)
        assert (~grey).sum() == size * 9 * steps  # what fills no stripe is grey


def test_an_answer_for_a_person_is_the_mean_of_the_cells():
    page = functions("10", "of_people", bags=bags)
    table = pd.DataFrame({
        "image_id": ["a", "b", "c", "d"], "subject": ["S2", "S1", "S2", "S1"],
        "label": ["all", "hem", "all", "all"], "positive": [1, 0, 1, 1], "split": "test",
        "score": [0.2, 0.4, 0.6, 0.5],
    })  # fmt: skip
    people = page["of_people"](table)
    assert people["subject"].tolist() == ["S1", "S2"]
    assert people["score"].tolist() == pytest.approx([0.45, 0.4])
    assert people["positive"].tolist() == [1, 1]  # one positive cell decides


def bag_of(pooling, sigmoid=None):
    def build(width):
        cells = keras.Input((None, width))
        hidden = pooling(layers.Dense(16, activation="relu")(cells))
        return keras.Model(cells, layers.Dense(1, activation=sigmoid)(hidden))

    return build


def without(
    size, last=layers.GlobalAveragePooling2D, scale=1 / 64, activation=None, pool=3, norm=True
):
    conv = {"padding": "same", "activation": "relu"}
    return keras.Sequential([
        keras.Input((size, size, 3)), layers.Rescaling(scale, offset=-1),
        layers.Conv2D(32, 3, **conv), layers.MaxPooling2D(pool),
        layers.Conv2D(64, 3, **conv), layers.MaxPooling2D(pool),
        layers.Conv2D(128, 3, **conv), layers.Conv2D(32, 1, **conv),
        *([layers.LayerNormalization(epsilon=1e-6, center=False, scale=False)] if norm else []),
        last(), layers.Dense(1, activation=activation),
    ])  # fmt: skip


def softmax_mean(cells, importance, exp=np.exp):
    weights = exp(importance - np.max(importance))
    return (weights / weights.sum()) @ cells


#: Wrong answers, and the words with which the checker helps.
WRONG = {
    "10-a": [
        (lambda side: (side // 9 * 32, side // 9), "other order"),
        (lambda side: (side // 3, side // 3 * 32), "one pooling"),
        (lambda side: (side // 9, 32), "a whole row"),
        (lambda side: (round(side / 9), round(side / 9) * 32), "right for 96"),
        (lambda side: side // 9, "two numbers"),
    ],
    "10-b": [
        (lambda c, i: np.exp(i - i.max()) @ c, "sum to 1"),
        (lambda c, i: np.exp(i) / np.exp(i).sum() @ c, "no overflow"),
        (lambda c, i: c.mean(axis=0), "three times"),
        (lambda c, i: softmax_mean(c, i, np.exp2), "three times"),
        (lambda c, i: c * i[:, None], "one number for each column"),
    ],
    "10-c": [
        (lambda size: without(size, layers.Flatten), "one mean for each map"),
        (lambda size: without(size, layers.GlobalMaxPooling2D), "keep the mean"),
        (lambda size: without(size, activation="sigmoid"), "no sigmoid"),
        (cnn_lstm.build, "reads in order"),
        (lambda size: without(size, pool=2), "pools and normalises"),
        (lambda size: without(size, norm=False), "pools and normalises"),
        (lambda size: without(size, scale=1 / 255), "pools and normalises"),
    ],
    "10-d": [
        (bag_of(layers.GlobalAveragePooling1D()), "take a mean"),
        (bag_of(layers.LSTM(16)), "order of the cells"),
        (bag_of(lambda x: keras.ops.sum(x, axis=1)), "add the cells up"),
        (bags.attention, "strange cell"),
    ],
}


@pytest.mark.slow
def test_scaling_may_be_written_without_a_layer():
    def by_hand(size):
        inner, image = without(size), keras.Input((size, size, 3))
        x = image / 64 - 1
        for layer in inner.layers[1:]:
            x = type(layer).from_config(layer.get_config())(x)
        return keras.Model(image, x)

    assert verdict("10-c", by_hand) == "solved.", told("10-c", by_hand)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WRONG))
def test_checkers_know_right_from_wrong(name):
    answers = solutions("10", keras=keras, layers=layers)
    assert verdict(name, answers[name]) == "solved."
    for wrong, help_ in WRONG[name]:
        text = told(name, wrong)
        assert text.splitlines()[-1].endswith("not solved yet.")
        assert any(help_ in line for line in text.splitlines() if line.startswith("✗")), text
