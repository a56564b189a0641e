"""Training: resumed as if never killed, never done twice, refused with a reason."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest

from helpers import catalog
from helpers.base import provenance, settings
from helpers.base.errors import TrainingError
from helpers.models import custom_cnn
from helpers.training import runs as training
from tests.conftest import ROOT
from tests.unit.squares import SIZE, make_squares


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    return settings.read("phantom", "smoke")


def same_weights(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def tiny():
    """Return the smallest model that has all that a run must keep: weights and random draws."""
    import keras
    from keras import layers

    start = keras.initializers.GlorotUniform(seed=1)
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.AveragePooling2D(4),
            layers.Flatten(),
            layers.Dropout(0.3, seed=1),
            layers.Dense(1, activation="sigmoid", kernel_initializer=start),
        ]
    )


def fit(course, table, images, **changes):
    recipe = {"epochs": 3, "batch_size": 16, "patience": 3, **changes}
    return training.fit(tiny(), table, images, course, "tiny", **recipe)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Train as ``fit`` does by default, in one go and in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("undisturbed")))
        return fit(settings.read("phantom", "smoke"), *make_squares())


@pytest.mark.slow
def test_a_run_is_whole_deterministic_and_done_once(course, undisturbed, monkeypatch, capfd):
    table, images = make_squares()
    model = tiny()
    before = model.get_weights()
    recipe = {"epochs": 3, "batch_size": 16, "patience": 3}
    run = training.fit(model, table, images, course, "tiny", **recipe)

    assert same_weights(before, model.get_weights())  # data in, data out
    assert list(run.history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert list(run.history["epoch"]) == [1, 2, 3]
    best = run.history.loc[run.history["val_loss"].idxmin()]
    assert run.record["best_epoch"] == best["epoch"]
    val = (table["split"] == "val").to_numpy()
    truth = catalog.target(table)[val, np.newaxis]
    assert run.model.evaluate(images[val], truth, verbose=0)[0] == pytest.approx(best["val_loss"])

    assert sorted(file.name for file in run.folder.iterdir() if file.name[0] != ".") == [
        "best.keras",
        "history.csv",
        "record.json",
    ]
    record = json.loads((run.folder / "record.json").read_text())
    assert record == run.record
    assert record["settings"]["profile"]["name"] == "smoke"
    assert record["recipe"]["seed"] == course.seed
    assert (record["data"]["train"], record["data"]["val"]) == (40, 16)
    assert len(record["epoch_seconds"]) == 3
    assert record["images_per_second"] > 0
    assert record["environment"]["versions"]["keras"]
    assert record["environment"]["device"]
    assert capfd.readouterr() == ("", "")  # nothing lands on a page

    def fail(*_, **__):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(training, "_train", fail)
        again = fit(course, table, images)
        assert same_weights(again.model.get_weights(), run.model.get_weights())
        pd.testing.assert_frame_equal(again.history, run.history)
        for changes in (
            {"learning_rate": 1e-4},
            {"class_weight": {0: 1, 1: 2}},
            {"images": images + np.uint8(1)},
            {"table": table.assign(split=table["split"].replace("test", "val"))},
            {"course": dataclasses.replace(course, seed=25)},
        ):
            arguments = {"course": course, "table": table, "images": images, **changes}
            with pytest.raises(AssertionError, match="trained again"):
                fit(**arguments)

    assert undisturbed.folder != run.folder
    assert undisturbed.record["key"] == run.record["key"]
    pd.testing.assert_frame_equal(undisturbed.history, run.history)
    assert same_weights(undisturbed.model.get_weights(), run.model.get_weights())


@pytest.mark.slow
def test_a_run_stopped_in_an_epoch_goes_on_as_if_it_had_not_been(course, undisturbed, monkeypatch):
    table, images = make_squares()
    fed = []
    feed = training.feed

    def stopping_feed(images, target, rows, *more):
        fed.append(len(rows))
        batches = feed(images, target, rows, *more)
        if len(fed) == 5:  # two epochs of training and validation are over
            take = type(batches).__getitem__

            def stop(self, index):
                if index == 1:
                    raise KeyboardInterrupt
                return take(self, index)

            type(batches).__getitem__ = stop
        return batches

    with monkeypatch.context() as patch:
        patch.setattr(training, "feed", stopping_feed)
        with pytest.raises((KeyboardInterrupt, Exception)):
            fit(course, table, images)
    (folder,) = course.folder("runs").glob("tiny-*")
    assert json.loads((folder / "state.json").read_text())["epoch"] == 2
    resumed = fit(course, table, images)
    pd.testing.assert_frame_equal(resumed.history, undisturbed.history)
    assert same_weights(resumed.model.get_weights(), undisturbed.model.get_weights())
    assert not (resumed.folder / "state.json").exists()


@pytest.mark.slow
def test_a_killed_process_costs_one_epoch(course, undisturbed, tmp_path):
    """SIGKILL in the middle of the second epoch of another process."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        import tests.unit.training.test_training as t
        from helpers.base import settings
        from helpers.training import runs as training
        feed, fed = training.feed, []

        def killing_feed(images, target, rows, *more):
            fed.append(1)
            batches = feed(images, target, rows, *more)
            take = type(batches).__getitem__
            def kill(self, index):
                if len(fed) == 3 and index == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                return take(self, index)
            type(batches).__getitem__ = kill
            return batches

        training.feed = killing_feed
        t.fit(settings.read("phantom", "smoke"), *t.make_squares())
        """
    )
    table, images = make_squares()
    environment = {**os.environ, "COURSE_ARTIFACTS": str(tmp_path)}
    child = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)],
        env=environment,
        check=False,
        timeout=300,
    )
    assert child.returncode == -signal.SIGKILL
    (folder,) = course.folder("runs").glob("tiny-*")
    assert json.loads((folder / "state.json").read_text())["epoch"] == 1
    resumed = fit(course, table, images)
    pd.testing.assert_frame_equal(resumed.history, undisturbed.history)
    assert same_weights(resumed.model.get_weights(), undisturbed.model.get_weights())


@pytest.mark.slow
def test_two_that_start_the_same_run_train_it_once(course, untraced, monkeypatch):
    table, images = make_squares()
    trained = []
    train = training._train

    def counted(*arguments):
        trained.append(1)
        return train(*arguments)

    monkeypatch.setattr(training, "_train", counted)
    runs = []
    threads = [
        threading.Thread(target=lambda: runs.append(fit(course, table, images, epochs=1)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 2
    assert len(trained) == 1


@pytest.mark.slow
def test_training_stops_when_validation_gets_no_better(course, untraced):
    table, images = make_squares()
    # The truth of the validation images turned round: the better, the worse.
    val = table["split"] == "val"
    table = table.assign(positive=table["positive"].where(~val, 1 - table["positive"]))
    run = fit(course, table, images, epochs=12, patience=2)
    assert len(run.history) == run.record["best_epoch"] + 2 < 12


@pytest.mark.slow
def test_a_class_weight_moves_the_scores(course, undisturbed, untraced):
    table, images = make_squares()
    light = fit(course, table, images, class_weight={0: 5.0, 1: 0.1})
    plain = undisturbed.model.predict_on_batch(images)
    assert light.model.predict_on_batch(images).mean() < plain.mean() - 0.02


def test_the_name_that_keras_gives_a_layer_does_not_count():
    one, other = provenance.model_facts(tiny()), provenance.model_facts(tiny())
    assert one["config"] == other["config"]
    assert one["weights"] == other["weights"]
    assert provenance.model_facts(custom_cnn.build(SIZE))["config"] != one["config"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda t, i: (t, i[1:]), "71 images but 72 rows"),
        (lambda t, i: (t, i / np.float32(255)), "float32 .*uint8"),
        (lambda t, i: (t.assign(split=""), i), "split 'train'"),
        (lambda t, i: (t.assign(split="train"), i), "split 'val'"),
        (lambda t, i: (t.assign(label="all", positive=1), i), r"only \['all'\]"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(course, broken, message):
    with pytest.raises(TrainingError, match=message):
        fit(course, *broken(*make_squares()))


@pytest.mark.slow
def test_a_diverged_training_says_so(course, untraced):
    table, images = make_squares()
    with pytest.raises(TrainingError, match=r"no longer a number.*learning rate"):
        fit(course, table, images, learning_rate=float("inf"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "../evil"}, "name of the run"),
        ({"name": ""}, "name of the run"),
        ({"name": None}, "name of the run"),
        ({"learning_rate": -1}, "must be above 0"),
        ({"learning_rate": "fast"}, "must be above 0"),
        ({"class_weight": {0: 1}}, "for each of the classes"),
        ({"class_weight": "balanced"}, "for each of the classes"),
        ({"learning_rate": float("nan")}, "must be above 0"),
        ({"settings": None}, "settings are None"),
        ({"images": None}, "images must be an array, but are None"),
        ({"images": np.zeros(())}, "There are 0 images"),
        ({"images": np.zeros((72, 5), np.float32)}, r"features are of shape \(5,\)"),
        ({"model": None}, r"must be a keras\.Model"),
        ({"epochs": 1.5}, "epochs must be a whole number from 1 up"),
        ({"patience": 0}, "patience must be a whole number from 1 up"),
        ({"batch_size": "all"}, "batch_size must be a whole number from 1 up"),
        ({"optimizer": None}, "no optimizer None; known are adam"),
    ],
)
def test_options_that_make_no_training_are_told(course, options, message):
    table, images = make_squares()
    sound = {"model": tiny(), "catalog": table, "images": images, "settings": course}
    with pytest.raises(TrainingError, match=message):
        training.fit(**{**sound, "name": "tiny", **options})


def test_a_layer_that_cannot_be_loaded_again_is_told_before_training(course):
    import keras

    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    table, images = make_squares()
    for layer in (keras.layers.Lambda(lambda x: x / 255), Own()):
        told = f"it has layers of the kind {type(layer).__name__}"
        last = [keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
        model = keras.Sequential([keras.Input(images.shape[1:]), layer, *last], name="own")
        with pytest.raises(TrainingError, match=rf"own cannot be saved and loaded .*{told}\):"):
            training.fit(model, table, images, course, "own", epochs=1)


def test_images_of_another_size_than_the_network_takes_are_told(course):
    table, images = make_squares()
    with pytest.raises(TrainingError, match="load them in that size"):
        fit(course, table, images[:, :-1, :-1])
