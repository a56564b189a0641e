"""What chapter 08 shows is what Keras has, and its checkers know right from wrong."""

import numpy as np
import pandas as pd
import pytest

from helpers.models import cost, transfer
from helpers.models.weights import Weights
from tests.unit.chapter_page import code_cells, run, solutions, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet


def page(*texts):
    """Run the cells that hold the texts, as they stand on the page."""
    return run("08", *texts, keras=keras, layers=keras.layers, np=np, pd=pd, transfer=transfer)


@pytest.fixture(scope="module")
def answers():
    return solutions("08", keras=keras)


def test_the_solutions_solve_the_exercises(answers):
    assert sorted(answers) == sorted(WRONG)
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."


def work(size, inputs, channels, expansion, stride):
    wide, out = expansion * inputs, size // stride
    widen = size**2 * inputs * wide * (expansion > 1)
    return widen, out**2 * wide * 9, out**2 * wide * channels


def rounded(values, levels=255, shift=True):
    low, high = min(values.min(), 0), max(values.max(), 0)
    step = (high - low) / levels or 1
    zero = np.round(-low / step) if shift else -low / step
    return (np.clip(np.round(values / step + zero), 0, levels) - zero) * step


def norms(network, deep=True, kept=lambda layer: layer.trainable):
    """Return names of normalisation layers, or only some of them."""
    names = []
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            names += [layer.name] if kept(layer) else []
        elif deep and hasattr(layer, "layers"):
            names += norms(layer, deep, kept)
    return sorted(names)


WRONG = {
    "08-a": [
        lambda *a: work(*a)[0] + work(*a)[2],
        lambda s, i, c, t, d: sum(work(s // d, i, c, t, 1)),
        lambda s, i, c, t, d: work(s, i, c, t, d)[0] + sum(work(s, i, c, t, 1)[1:]),
        lambda *a: sum(work(*a)) + (a[3] == 1) * a[0] ** 2 * a[1] ** 2,
        lambda s, i, c, t, d: 9 * s * s * i * t * c,
    ],
    "08-b": [
        lambda d, p: d * p,
        lambda d, p: np.einsum(
            "ijcm,cmn->ijcn", d, p.reshape(d.shape[3], d.shape[2], -1).swapaxes(0, 1)
        ),
        lambda d, p: np.zeros((*d.shape[:3], p.shape[-1])),
    ],
    "08-c": [
        lambda network: [],
        lambda network: norms(network, deep=False),
        lambda network: norms(network, kept=lambda layer: True),
        lambda network: norms(network)[::-1],
        lambda network: sorted(layer.name for layer in network.layers if layer.trainable),
    ],
    "08-d": [
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
    for answer in WRONG[name]:
        assert verdict(name, answer) == "not solved yet."


def test_feedback_names_the_mistake(capsys):
    from helpers.exercises import check

    hints = {
        ("08-a", 0): "✗ You count the depthwise convolution.",
        ("08-a", 1): "✗ The first convolution works before the stride.",
        ("08-a", 2): "✗ After a stride of 2 the maps are half as wide and half as high.",
        ("08-b", 1): "✗ The pointwise kernel begins with all new maps of map 0",
        ("08-c", 1): "✗ It looks into networks inside networks.",
        ("08-c", 3): "✗ The names are sorted.",
        ("08-d", 3): "✗ It uses nearly all of the 256 values",
    }
    for (name, place), hint in hints.items():
        check(name, WRONG[name][place])
        assert hint in capsys.readouterr().out


def test_the_solution_counts_the_work_of_a_live_block(answers):
    """Exercise 08-a against multiply-adds that helpers counts."""
    inverted_residual = page("def inverted_residual(")["inverted_residual"]
    for case in [(8, 16, 16, 6, 1), (8, 8, 12, 6, 2), (6, 8, 4, 1, 1)]:
        size, inputs, channels, expansion, stride = case
        x = keras.Input((size, size, inputs))
        block = keras.Model(x, inverted_residual(x, channels, expansion, stride))
        assert cost.multiply_adds(block) == answers["08-a"](*case)
        skips = any(isinstance(layer, keras.layers.Add) for layer in block.layers)
        assert skips == (stride == 1 and inputs == channels)


def test_the_solution_merges_live_layers(answers):
    """Exercise 08-b, depth multiplier included, against Keras' own separable layer."""
    x = keras.Input((7, 7, 3))
    y = keras.layers.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False)(x)
    model = keras.Model(x, y)
    depthwise, pointwise = model.layers[1].get_weights()
    ordinary = keras.layers.Conv2D(5, 3, use_bias=False)
    ordinary.build((None, 7, 7, 3))
    ordinary.set_weights([answers["08-b"](depthwise, pointwise)])
    images = np.random.default_rng(0).normal(size=(2, 7, 7, 3)).astype("float32")
    both = [keras.ops.convert_to_numpy(f(images)) for f in (model, ordinary)]
    assert both[0] == pytest.approx(both[1], abs=1e-5)


def test_counts_by_hand_are_those_of_live_layers():
    names = page("def ordinary(")
    for size, before, after, side in [(6, 3, 5, 3), (9, 8, 2, 5)]:
        x = keras.Input((size, size, before))
        whole = keras.layers.Conv2D(after, side, padding="same", use_bias=False)(x)
        parts = keras.layers.SeparableConv2D(after, side, padding="same", use_bias=False)(x)
        for count, y in ((names["ordinary"], whole), (names["separable"], parts)):
            live = cost.layers(keras.Model(x, y))[["parameters", "multiply_adds"]].sum()
            assert count(size, before, after, side) == tuple(live)


def test_a_relu_loses_less_in_more_dimensions():
    through_relu = page("def through_relu(")["through_relu"]
    points = np.random.default_rng(0).normal(size=(100, 2))
    lost = [
        np.median([((through_relu(points, n, seed) - points) ** 2).sum() for seed in range(20)])
        for n in (2, 5, 40)
    ]
    assert lost[0] > lost[1] > lost[2]
    assert lost[2] < 1e-6


def test_each_rung_of_the_ladder_is_a_recipe():
    ladder = run("08", "LADDER = {", transfer=transfer, PROFILE="quick")["LADDER"]
    for key in ladder.values():
        assert transfer.RECIPES[key].backbone == "mobilenetv2"
        assert transfer.RECIPES[key].published


def trainable(network):
    return [layer.trainable for layer in network.get_layer("backbone").layers]


@pytest.mark.slow
@pytest.mark.parametrize("still", [True, False])
def test_the_page_unfreezes_what_the_recipes_of_the_course_unfreeze(still):
    """Plain Keras on the page and `transfer.set_trainable` of the shipped recipes."""
    cell = next(cell for cell in code_cells("08") if "def unfreeze(" in cell.source)
    there = {"layers": keras.layers}
    exec(cell.source.split("\n\n\n")[0], there)
    given = transfer.Recipe("mobilenetv2_035"), 32, 24, Weights(None, "random", "")
    shipped, shown = (transfer.build(*given) for _ in range(2))
    transfer.set_trainable(shipped, "block_10_expand", frozen_statistics=still)
    shown.get_layer("backbone").trainable = True
    there["unfreeze"](shown.get_layer("backbone"), "block_10_expand", still=still)
    assert trainable(shown) == trainable(shipped)
    assert 0 < sum(trainable(shown)) < len(trainable(shown))


@pytest.mark.slow
def test_training_false_does_not_hold_batch_normalisation_still():
    """The experiment of the page, on this Keras: if this fails, the page must be rewritten."""
    rng = np.random.default_rng(8)
    names = {
        "SEED": 24, "side": 32, "pixels": rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        "truth": np.tile([0, 1], 20), "train": np.arange(40),
    }  # fmt: skip
    there = run("08", "def make_network(", "def one_step(", keras=keras, layers=keras.layers,
                np=np, **names)  # fmt: skip
    assert there["one_step"]() == (True, True)
    assert there["one_step"](training=False) == (True, True)
    assert there["one_step"](still=True) == (False, False)


@pytest.mark.slow
def test_the_network_on_the_page_is_that_of_keras():
    size = 32
    mobile = page("def inverted_residual(", "def mobilenetv2(")["mobilenetv2"]
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]  # Sandler et al. 2018, table 2
    noise = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype("float32")
    ours = mobile(table, size)
    theirs = keras.applications.MobileNetV2(weights=None, input_shape=(size, size, 3))
    ours.set_weights(theirs.get_weights())
    both = [keras.ops.convert_to_numpy(m(noise, training=False)) for m in (theirs, ours)]
    assert both[0] == pytest.approx(both[1], rel=1e-3, abs=1e-6)
