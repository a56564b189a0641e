"""Chapter 07: blocks, a workflow like the course's recipe, own folders, exercises."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.models import transfer, weights
from helpers.report import verdicts
from helpers.studies import transfers
from helpers.training import zoo
from tests.unit.chapter_page import code_cells, missed, run, solutions, verdict
from tests.unit.tiny_backbone import tiny  # noqa: F401 - a fixture

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

FUNCTIONS = ("def load_backbone(", "def add_head(", "def train(")
SIDE = 32


def page(*texts, **names):
    """Run cells of the page, after those that define its workflow."""
    there = {"keras": keras, "layers": keras.layers, "np": np, "PROFILE": "full", "SEED": 24}
    return run("07", *FUNCTIONS, *texts, **there | {"transfers": transfers} | names)


def shapes(weights):
    return [(weight.name, tuple(weight.shape)) for weight in weights]


def recipe_of(start):
    return page("recipe = transfer.Recipe(", start=start)["recipe"]


def built(recipe):
    """Return the recipe's network as the course builds it, with random weights."""
    return transfer.build(recipe, SIDE, weights=weights.Weights(None, "random", ""))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mobilenetv2_035", "resnet50"])
def test_the_workflow_builds_freezes_and_unfreezes_like_the_recipe(backbone, capsys):
    start = transfers.Start(backbone, None, SIDE)
    names = page(start=start)
    recipe = recipe_of(start)
    theirs = built(recipe)
    backbone, prepare = names["load_backbone"](start)
    ours = names["add_head"](backbone, prepare)

    def kinds(model):
        made = [layer for layer in model.layers if layer.name != "preprocess"]
        return [type(layer).__name__ for layer in made]

    assert kinds(ours) == kinds(theirs)
    for one, other in zip(ours.layers[-3:], theirs.layers[-3:], strict=True):
        configs = [
            {key: value for key, value in layer.get_config().items() if key in ("epsilon", "rate")}
            for layer in (one, other)
        ]
        assert configs[0] == configs[1]
    assert shapes(ours.trainable_weights) == shapes(theirs.trainable_weights)
    assert len(ours.trainable_weights) == 2
    assert keras.ops.std(ours.layers[-1].kernel) < 0.02  # a quiet start, as theirs

    names["unfreeze"](backbone)
    transfer.set_trainable(theirs, recipe.stages[1].trainable, recipe.frozen_statistics)
    assert shapes(ours.trainable_weights) == shapes(theirs.trainable_weights)
    assert shapes(ours.non_trainable_weights) == shapes(theirs.non_trainable_weights)

    ours.set_weights(theirs.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3)).astype("float32")
    logits, scores = ours(images), theirs(images)
    assert keras.ops.convert_to_numpy(keras.ops.sigmoid(logits)) == pytest.approx(
        keras.ops.convert_to_numpy(scores), abs=1e-5
    )


@pytest.fixture
def told(monkeypatch):
    """Return a list to which every compilation adds optimizer, rate and loss."""
    compiled, original = [], keras.Model.compile

    def compile(self, optimizer="rmsprop", loss=None, *args, **options):
        if loss is not None and not isinstance(loss, str):  # a finished run takes a name
            rate = round(float(optimizer.learning_rate), 9)
            compiled.append((type(optimizer).__name__, rate, type(loss).__name__, loss.from_logits))
        return original(self, optimizer, loss, *args, **options)

    monkeypatch.setattr(keras.Model, "compile", compile)
    return compiled


@pytest.mark.slow
def test_losses_rates_and_stopping_are_the_recipes(tiny, told, monkeypatch):  # noqa: F811
    course, table, _ = tiny
    recipe = recipe_of(transfers.Start("tiny", "", SIDE))
    stages = [(s.learning_rate, s.epochs, s.patience) for s in recipe.stages]
    short = [dataclasses.replace(stage, epochs=1) for stage in recipe.stages]
    zoo.load_or_train(dataclasses.replace(recipe, stages=tuple(short)), table, course)
    by_course = list(told)
    told.clear()

    fitted = []

    def fit(self, *data, epochs, callbacks, **more):
        (stop,) = callbacks
        fitted.append((round(float(self.optimizer.learning_rate), 9), epochs, stop.patience))
        assert stop.monitor == "val_loss"
        assert stop.restore_best_weights
        assert more["validation_data"] == "val"
        return type("History", (), {"history": {"loss": [1.0]}})()

    monkeypatch.setattr(keras.Model, "fit", fit)
    body = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    cells = ("def add_head(", "def train(", "first = train(")
    names = {"keras": keras, "layers": keras.layers, "np": np, "PROFILE": "full", "SEED": 24}
    data = {"train": ("x", "y"), "val": "val"}
    run("07", *cells, **names, start=None, data=data, load_backbone=lambda _: (body, lambda x: x))
    assert told == by_course
    assert fitted == stages
    assert told == [("Adam", rate, "BinaryCrossentropy", True) for rate, *_ in stages]


@pytest.mark.slow
def test_a_stack_with_skips_and_no_correction_returns_its_input(capsys):
    page("def stack(", "returns {result}")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "with skips, the stack returns its input, unchanged"
    assert second == "without skips, the stack returns zeros"


@pytest.fixture
def strangers(tmp_path):
    """Make a folder of 60 images in two classes with names that the course does not know."""
    rng = np.random.default_rng(5)
    for label, tone in (("Zsófi köpök", 90), ("b", 150)):
        (tmp_path / "Kép 2" / label).mkdir(parents=True)
        for number in range(30):
            noise = rng.normal(tone, 30, (50 + number, 60, 3)).clip(0, 255)
            file = tmp_path / "Kép 2" / label / f"{number} ő.png"
            keras.utils.save_img(file, noise, scale=False)
    return tmp_path / "Kép 2"


@pytest.mark.slow
def test_the_cells_on_your_own_data_train_judge_and_keep_a_network(strangers, tmp_path, capsys):
    transfers.network_from(1).save(tmp_path / "source.keras")
    start = transfers.Start("drawn", str(tmp_path / "source.keras"), transfers.SIDE)
    names = page(start=start, verdicts=verdicts, Path=Path)
    names |= {"HEAD_EPOCHS": 2, "TUNING_EPOCHS": 1}
    cells = [cell.source for cell in code_cells("07")]
    begin = next(i for i, source in enumerate(cells) if source.startswith("own = example"))
    names["example"] = strangers
    for source in cells[begin:]:
        if source.startswith("answer = ..."):
            break
        exec(source, names)
    told = capsys.readouterr().out
    assert "33 images to train, 12 to validate, 15 to test" in told
    assert "accuracy" in told
    assert "for the class" in told
    again = keras.saving.load_model(tmp_path / "my_network.keras")
    scores = again.predict(names["x_test"], verbose=0)
    assert scores == pytest.approx(names["network"].predict(names["x_test"], verbose=0), abs=1e-5)


@pytest.mark.slow
def test_the_solutions_solve_the_exercises():
    answers = solutions("07", pd=pd, keras=keras, layers=keras.layers)
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_not_called_solved(name):
    assert set(WRONG) == {*solutions("07", pd=pd)}
    for answer in WRONG[name]:
        assert verdict(name, answer) == "not solved yet."


HINTS = {
    "07-a": {
        0: "Blocks are not layers",
        1: "The first convolution and the dense layer count too",
        2: "Projections are not counted",
    },
    "07-b": {
        0: "Biases and batch normalisation are counted",
        1: "It is right for a block with a projection",
    },
    "07-c": {
        0: "It notices whether any weight of the backbone is trained",
        1: "It finds nothing wrong with a network that is well prepared",
        2: "It finds nothing wrong with a network that is well prepared (its rate: 1e-4)",
        3: "A sigmoid is right where the loss expects scores",
        5: "It returns a set",
    },
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", HINTS)
def test_a_wrong_answer_is_told_what_to_look_at(name):
    for place, hint in HINTS[name].items():
        assert hint in missed(name, WRONG[name][place])


def test_the_solution_counts_a_live_block():
    """Exercise 07-b against layers that Keras counts."""
    block_parameters = solutions("07", pd=pd)["07-b"]
    residual_block = page("def residual_block(")["residual_block"]
    for inputs, channels, stride, project in [(64, 16, 1, False), (12, 8, 2, True)]:
        x = keras.Input((8, 8, inputs))
        block = keras.Model(x, residual_block(x, channels, stride, project))
        assert block.count_params() == block_parameters(inputs, channels, project)
        assert block.output_shape == (None, 8 // stride, 8 // stride, 4 * channels)


def test_the_gradient_is_the_one_of_finite_differences():
    """One layer with a skip: how far the page's backward pass is from a small step."""
    gradient_left = page("def gradient_left(")["gradient_left"]
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
    gradient_left = page("def gradient_left(")["gradient_left"]
    assert gradient_left(40, 0) < 1e-4
    assert gradient_left(40, 1) > 1e2
    assert 0.5 < gradient_left(40, 1, scale=0.1) < 2


@pytest.mark.slow
def test_the_network_on_the_page_is_that_of_keras():
    size = 32
    ours = page("def residual_block(", "def resnet50(")["resnet50"](size)
    noise = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype("float32")
    theirs = keras.applications.ResNet50(weights=None, input_shape=(size, size, 3))
    ours.set_weights(theirs.get_weights())
    answers = [keras.ops.convert_to_numpy(m(noise, training=False)) for m in (ours, theirs)]
    assert answers[0] == pytest.approx(answers[1], rel=1e-3, abs=1e-6)
