"""A network that died is noticed, tried once more, and then told; one that lives never is."""

import dataclasses
import json
import re

import numpy as np
import pytest

from helpers.base import settings
from helpers.base.errors import TrainingError
from helpers.models import transfer
from helpers.predictions import collapse as judging
from helpers.training import collapse, zoo
from helpers.training import runs as training
from tests.unit.squares import SIZE, make_squares
from tests.unit.tiny_backbone import HEAD, TUNED, tiny  # noqa: F401 - a fixture

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

TRUTH = np.tile([0, 1], 20)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(training, "COLLAPSED", [])


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    return settings.read("phantom", "smoke")


class TestWhatIsCollapsed:
    @pytest.mark.parametrize(
        ("logits", "words"),
        [
            (np.full(40, 0.3), "all its scores on the validation images are 0.574"),
            (np.linspace(20, 400, 40), "all its scores .* 1.000"),  # saturated, whatever is behind
            (np.linspace(-400, -20, 40), "all its scores .* 0.000"),
            (np.where(np.arange(40) == 7, 5, 0.3), "nearly all its scores .* 0.574"),
            (np.linspace(0, 0.0015, 40), "all its scores .* 0.500"),
        ],
    )
    def test_the_same_score_for_all_images(self, logits, words):
        assert re.match(words, judging.same_scores(logits, TRUTH))

    @pytest.mark.parametrize(
        ("logits", "truth"),
        [
            (np.linspace(-0.02, 0.02, 40), TRUTH),  # hardly trained
            (np.where(np.arange(40) < 2, 30.0, -30.0), np.arange(40) < 2),  # rare and all right
            (np.linspace(20, 25, 40), np.ones(40)),  # of one class, and sure of it
            (np.zeros(1), np.ones(1)),  # one image: like itself
        ],
    )
    def test_a_living_network_is_not(self, logits, truth):
        assert judging.same_scores(logits, truth) == ""

    def test_a_loss_that_stands_still_does_so_from_the_first_epoch(self):
        assert collapse.stands_still([5.0312, 5.0312, 5.0312]).endswith("stands still at 5.031")
        assert collapse.stands_still([0.7, 0.6931, 0.6931]) == ""
        assert collapse.stands_still([0.6931]) == ""


def network(bias=0.0, always=False):
    """A network whose hidden units are dead from the start if their bias is low enough.

    Drawn anew they live, unless they are `always` dead.
    """
    layers = keras.layers
    keras.utils.set_random_seed(1)
    start = keras.initializers.Constant(bias if always else 0.0)
    hidden = layers.Dense(8, bias_initializer=start)
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.AveragePooling2D(4),
            layers.Flatten(),
            hidden,
            layers.ReLU(),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="net",
    )
    hidden.set_weights([hidden.get_weights()[0], np.full(8, bias, np.float32)])
    return model


def fit(course, model, name="net", **options):
    table, images = make_squares()
    options = {"epochs": 2, "batch_size": 20, "patience": 2, "learning_rate": 1e-2, **options}
    return training.fit(model, table, images, course, name, **options)


@pytest.mark.slow
def test_a_dead_network_is_tried_once_more_and_lives(course, untraced, capsys):
    run = fit(course, network(bias=-100))
    said = capsys.readouterr().out
    assert run.record["collapsed"] == ""
    assert run.record["retried"].startswith("net collapsed (all its scores on the validation")
    assert "once more, with seed 1024 and a learning rate of 0.001" in run.record["retried"]
    assert said == run.record["retried"] + "\n"
    table, images = make_squares()
    assert zoo.predict(run.model, table, images)["score"].std() > 2 * judging.SAME
    assert training.COLLAPSED == []
    assert fit(course, network(bias=-100)).record == run.record
    assert capsys.readouterr().out == said  # a page says the same when the run is loaded


@pytest.mark.slow
def test_what_dies_twice_is_marked_and_told_also_when_it_is_loaded(course, untraced, capsys):
    dead = network(bias=-100, always=True)
    run = fit(course, dead, epochs=1)
    sentence = run.record["collapsed"]
    assert sentence.startswith("net collapsed: all its scores on the validation images are 0.")
    assert json.loads((run.folder / "record.json").read_text())["collapsed"] == sentence
    assert [sentence] == training.COLLAPSED
    training.COLLAPSED.clear()
    fit(course, dead, epochs=1)
    fit(course, dead, epochs=1)
    assert [sentence] == training.COLLAPSED
    assert capsys.readouterr().out.count(sentence) == 3


@pytest.mark.slow
def test_weights_that_do_not_move_are_noticed(course, untraced):
    """By a rate under which no weight changes, while the scores differ."""
    run = fit(course, network(), learning_rate=1e-30, epochs=1)
    assert run.record["collapsed"] == "net collapsed: its weights did not move."


@pytest.mark.slow
def test_a_network_that_lives_is_left_alone(course, untraced, capsys):
    run = fit(course, network(), epochs=1)
    assert (run.record["collapsed"], run.record["retried"]) == ("", "")
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_killed_in_either_try_or_between_it_ends_the_same(
    course, untraced, monkeypatch, tmp_path, stop
):
    """The first try has two epochs, the second as well."""
    whole = fit(course, network(bias=-100))
    elsewhere = dataclasses.replace(course, artifacts=tmp_path / "elsewhere")
    original, left = training._epoch, [stop]

    def epoch(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_epoch", epoch)
        with pytest.raises(KeyboardInterrupt):
            fit(elsewhere, network(bias=-100))
    resumed = fit(elsewhere, network(bias=-100))
    assert resumed.history.equals(whole.history)
    assert resumed.record["retried"] == whole.record["retried"]
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_recipe_tells_it_by_its_own_name(tiny, monkeypatch, capsys):  # noqa: F811
    course, table, _ = tiny
    recipe = transfer.Recipe("tiny", head=(4,), stages=(HEAD, TUNED))
    monkeypatch.setattr(training, "same_scores", lambda *_: "all its scores are 1.000")
    run = zoo.load_or_train(recipe, table, course, "two_stages")
    assert run.record["collapsed"] == "two_stages collapsed: all its scores are 1.000."
    assert "tiny-head collapsed (all" in run.record["retried"]
    assert "tiny-tuned collapsed (all" in run.record["retried"]
    assert [run.record["collapsed"]] == training.COLLAPSED  # its stages are not told beside it
    said = capsys.readouterr().out
    zoo.load_or_train(recipe, table, course, "two_stages")
    assert capsys.readouterr().out == said[said.index("tiny-head") :]  # without random weights


@pytest.mark.parametrize("last", [None, "tanh"])
def test_a_network_without_a_last_sigmoid_is_refused(course, last):
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(1, last)(x), name="logits")
    with pytest.raises(TrainingError, match=r"logits ends in .* one sigmoid"):
        fit(course, model)
    with pytest.raises(TrainingError, match="is not built"):
        fit(course, keras.Sequential([keras.layers.Dense(1, "sigmoid")]))
