"""What chapter 07 shows is what Keras has, and its checkers know right from wrong."""

import numpy as np
import pandas as pd
import pytest

from helpers.models import transfer
from tests.unit.chapter_page import run, solutions, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet


def page(chapter, *texts):
    """Run the cells that hold the texts, as they stand on the page."""
    there = {"keras": keras, "layers": keras.layers, "np": np, "pd": pd, "transfer": transfer}
    return run(chapter, *texts, **there)


@pytest.mark.parametrize("chapter", ["07"])
def test_the_solutions_solve_the_exercises(chapter):
    answers = solutions(chapter, pd=pd, keras=keras, layers=keras.layers)
    assert len(answers) >= 3
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."


def diagnosed(model):
    return solutions("07", layers=keras.layers, keras=keras)["07-c"](model)


def rate(model):
    return float(model.optimizer.learning_rate) * 1.01  # 1e-4 in float32 is a little less


WRONG = {
    "07-a": [
        sum,
        lambda blocks: 3 * sum(blocks),
        lambda blocks: 3 * sum(blocks) + 2 + len(blocks),
        lambda blocks: 50,
    ],
    "07-b": [
        lambda i, c, p: i * c + 9 * c * c + 4 * c * c,
        lambda i, c, p: i * c + 9 * c * c + 4 * c * c + 30 * c,  # without the projection
        lambda i, c, p: 70_400,
    ],
    "07-c": [
        lambda m: set(),
        lambda m: {"frozen", "batch normalisation", "rate", "loss"},
        lambda m: diagnosed(m) - {"rate"} | ({"rate"} if rate(m) >= 1e-4 else set()),
        lambda m: diagnosed(m) - {"loss"} | (set() if m.loss.from_logits else {"loss"}),
        lambda m: diagnosed(m) - {"frozen"} | (set() if m.trainable_weights else {"frozen"}),
        lambda m: list(diagnosed(m)),
    ],
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_not_called_solved(name):
    assert set(WRONG) == {*solutions("07", pd=pd)}
    for answer in WRONG[name]:
        assert verdict(name, answer) == "not solved yet."


def test_the_solution_counts_a_live_block():
    """Exercise 07-b against layers that Keras counts."""
    block_parameters = solutions("07", pd=pd)["07-b"]
    residual_block = page("07", "def residual_block(")["residual_block"]
    for inputs, channels, stride, project in [(64, 16, 1, False), (12, 8, 2, True)]:
        x = keras.Input((8, 8, inputs))
        block = keras.Model(x, residual_block(x, channels, stride, project))
        assert block.count_params() == block_parameters(inputs, channels, project)
        assert block.output_shape == (None, 8 // stride, 8 // stride, 4 * channels)


def test_the_gradient_is_the_one_of_finite_differences():
    """One layer with a skip: how far the page's backward pass is from a small step."""
    gradient_left = page("07", "def gradient_left(")["gradient_left"]
    rng = np.random.default_rng(3)
    signal = rng.normal(size=(32, 6))
    weights = rng.normal(size=(6, 6)) / np.sqrt(6)
    last = rng.normal(size=(32, 6))

    def loss(x):
        return float((last * (np.maximum(x @ weights, 0) + x)).sum())

    gradient = np.zeros_like(signal)
    for place in np.ndindex(*signal.shape):
        step = np.zeros_like(signal)
        step[place] = 1e-6
        gradient[place] = (loss(signal + step) - loss(signal - step)) / 2e-6
    expected = np.linalg.norm(gradient) / np.linalg.norm(last)
    assert gradient_left(1, 1, width=6, seed=3) == pytest.approx(expected, rel=1e-5)


def test_only_skips_with_quiet_layers_keep_the_gradient():
    gradient_left = page("07", "def gradient_left(")["gradient_left"]
    assert gradient_left(40, 0) < 1e-4
    assert gradient_left(40, 1) > 1e2
    assert 0.5 < gradient_left(40, 1, scale=0.1) < 2


@pytest.mark.slow
def test_the_network_on_the_page_is_that_of_keras():
    size = 32
    ours = page("07", "def residual_block(", "def resnet50(")["resnet50"](size)
    noise = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype("float32")
    theirs = keras.applications.ResNet50(weights=None, input_shape=(size, size, 3))
    ours.set_weights(theirs.get_weights())
    answers = [keras.ops.convert_to_numpy(m(noise, training=False)) for m in (ours, theirs)]
    assert answers[0] == pytest.approx(answers[1], rel=1e-3, abs=1e-6)
