"""What chapters 07 and 08 show is what Keras has, and their checkers know right from wrong."""

import numpy as np
import pandas as pd
import pytest

from helpers.models import cost, transfer
from tests.unit.chapter_page import run, solutions, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet


def page(chapter, *texts):
    """Run the cells that hold the texts, as they stand on the page."""
    there = {"keras": keras, "layers": keras.layers, "np": np, "pd": pd, "transfer": transfer}
    return run(chapter, *texts, **there)


@pytest.mark.parametrize("chapter", ["07", "08"])
def test_the_solutions_solve_the_exercises(chapter):
    answers = solutions(chapter, pd=pd, keras=keras, layers=keras.layers)
    assert len(answers) >= 3
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."


def work(size, inputs, channels, expansion, stride):
    wide, out = expansion * inputs, size // stride
    widen = size**2 * inputs * wide * (expansion > 1)
    return widen, out**2 * wide * 9, out**2 * wide * channels


def diagnosed(model):
    return solutions("07", layers=keras.layers, keras=keras)["07-c"](model)


def rate(model):
    return float(model.optimizer.learning_rate) * 1.01  # 1e-4 in float32 is a little less


def rounded(values, levels=255, shift=True):
    low, high = min(values.min(), 0), max(values.max(), 0)
    step = (high - low) / levels or 1
    zero = np.round(-low / step) if shift else -low / step
    return (np.clip(np.round(values / step + zero), 0, levels) - zero) * step


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
    "08-a": [
        lambda d, p: d * p,
        lambda d, p: np.einsum(
            "ijcm,cmn->ijcn", d, p.reshape(d.shape[3], d.shape[2], -1).swapaxes(0, 1)
        ),
        lambda d, p: np.zeros((*d.shape[:3], p.shape[-1])),
    ],
    "08-b": [
        lambda *a: work(*a)[0] + work(*a)[2],
        lambda s, i, c, t, d: sum(work(s // d, i, c, t, 1)),
        lambda *a: sum(work(*a)) + (a[3] == 1) * a[0] ** 2 * a[1] ** 2,
        lambda s, i, c, t, d: 9 * s * s * i * t * c,
    ],
    "08-c": [
        lambda v: v,
        lambda v: v.astype(np.float16).astype(float),
        lambda v: rounded(v, shift=False),
        lambda v: rounded(v, levels=15),
        lambda v: np.round(v * 127 / np.abs(v).max()) * np.abs(v).max() / 255,
    ],
}


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_not_called_solved(name):
    assert set(WRONG) == {*solutions("07", pd=pd), *solutions("08", pd=pd)}
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


def test_the_solution_counts_the_work_of_a_live_block():
    """Exercise 08-b against multiply-adds that helpers counts."""
    block_work = solutions("08", pd=pd)["08-b"]
    inverted_residual = page("08", "def inverted_residual(")["inverted_residual"]
    for case in [(8, 16, 16, 6, 1), (8, 8, 12, 6, 2), (6, 8, 4, 1, 1)]:
        size, inputs, channels, expansion, stride = case
        x = keras.Input((size, size, inputs))
        block = keras.Model(x, inverted_residual(x, channels, expansion, stride))
        assert cost.multiply_adds(block) == block_work(*case)
        skips = any(isinstance(layer, keras.layers.Add) for layer in block.layers)
        assert skips == (stride == 1 and inputs == channels)


def test_the_solution_merges_live_layers():
    """Exercise 08-a, depth multiplier included, against Keras' own separable layer."""
    merge = solutions("08", pd=pd)["08-a"]
    x = keras.Input((7, 7, 3))
    y = keras.layers.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False)(x)
    model = keras.Model(x, y)
    depthwise, pointwise = model.layers[1].get_weights()
    ordinary = keras.layers.Conv2D(5, 3, use_bias=False)
    ordinary.build((None, 7, 7, 3))
    ordinary.set_weights([merge(depthwise, pointwise)])
    images = np.random.default_rng(0).normal(size=(2, 7, 7, 3)).astype("float32")
    both = [keras.ops.convert_to_numpy(f(images)) for f in (model, ordinary)]
    assert both[0] == pytest.approx(both[1], abs=1e-5)


def test_counts_by_hand_are_those_of_live_layers():
    names = page("08", "def ordinary(")
    for size, before, after, side in [(6, 3, 5, 3), (9, 8, 2, 5)]:
        x = keras.Input((size, size, before))
        whole = keras.layers.Conv2D(after, side, padding="same", use_bias=False)(x)
        parts = keras.layers.SeparableConv2D(after, side, padding="same", use_bias=False)(x)
        for count, y in ((names["ordinary"], whole), (names["separable"], parts)):
            live = cost.layers(keras.Model(x, y))[["parameters", "multiply_adds"]].sum()
            assert count(size, before, after, side) == tuple(live)


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


def test_a_relu_loses_less_in_more_dimensions():
    through_relu = page("08", "def through_relu(")["through_relu"]
    points = np.random.default_rng(0).normal(size=(100, 2))
    lost = [
        np.median([((through_relu(points, n, seed) - points) ** 2).sum() for seed in range(20)])
        for n in (2, 5, 40)
    ]
    assert lost[0] > lost[1] > lost[2]
    assert lost[2] < 1e-6


def test_each_rung_of_the_ladder_is_a_recipe():
    ladder = run("08", "LADDER = {", pd=pd, transfer=transfer, PROFILE="quick")
    assert all(
        transfer.RECIPES[key].backbone == "mobilenetv2" and transfer.RECIPES[key].published
        for key in ladder["LADDER"].values()
    )


@pytest.mark.slow
def test_the_networks_on_the_pages_are_those_of_keras():
    size = 32
    resnet = page("07", "def residual_block(", "def resnet50(")["resnet50"]
    mobile = page("08", "def inverted_residual(", "def mobilenetv2(")["mobilenetv2"]
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]  # Sandler et al. 2018, table 2
    noise = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype("float32")
    for ours, builder in (
        (resnet(size), keras.applications.ResNet50),
        (mobile(table, size), keras.applications.MobileNetV2),
    ):
        theirs = builder(weights=None, input_shape=(size, size, 3))
        ours.set_weights(theirs.get_weights())
        answers = [keras.ops.convert_to_numpy(m(noise, training=False)) for m in (ours, theirs)]
        assert answers[0] == pytest.approx(answers[1], rel=1e-3, abs=1e-6)
