"""Training by recipe: stage by stage, never twice, resumed, told from what weights."""

import dataclasses
import json

import numpy as np
import pytest

from helpers.base.errors import TrainingError
from helpers.models import transfer, weights
from helpers.training import frozen, zoo
from helpers.training import runs as training
from tests.unit.squares import SIZE
from tests.unit.tiny_backbone import HEAD, TUNED, tiny  # noqa: F401 - a fixture

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

RECIPE = transfer.Recipe("tiny", head=(4,), dropout=0.3, stages=(HEAD, TUNED))


def watch(monkeypatch):
    """Return a list of the epochs that are trained from here on, each by its model's name."""
    trained, original = [], training._epoch

    def epoch(model, *args):
        trained.append(model.name)
        return original(model, *args)

    monkeypatch.setattr(training, "_epoch", epoch)
    return trained


def same(one, other):
    return all(
        np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True)
    )


@pytest.mark.slow
def test_the_stages_follow_each_other_and_are_kept(tiny, monkeypatch, capsys):  # noqa: F811
    course, table, images = tiny
    trained = watch(monkeypatch)
    run = zoo.load_or_train(RECIPE, table, course, "two_stages")
    assert trained == ["tiny_head"] * 3 + ["tiny"]  # smoke tunes for one epoch
    assert run.folder.name.startswith("two_stages-")
    assert run.history["stage"].tolist() == [1, 1, 1, 2]
    assert run.history["epoch"].tolist() == [1, 2, 3, 4]
    assert run.record["epochs"] == 4
    assert run.record["best_epoch"] == 4
    assert [stage["trainable"] for stage in run.record["stages"]] == ["head", "conv2"]
    assert run.record["weights"]["source"] == "random"
    assert "RANDOM" in run.record["weights"]["note"]
    assert "RANDOM" in capsys.readouterr().out
    assert run.record["recipe"]["backbone"] == "tiny"
    trained_recipe = transfer.for_profile(RECIPE, course.profile).as_dict()
    del trained_recipe["published"]  # what a paper reports does not change a run
    assert run.record["recipe"] == json.loads(json.dumps(trained_recipe))
    # The first layer is ImageNet's (here: the seed's), those tuned are not.
    start = transfer.build(RECIPE, SIZE, course.seed, weights.find("tiny"))
    first, body = start.get_layer("backbone"), run.model.get_layer("backbone")
    assert np.array_equal(
        body.get_layer("conv1").get_weights(), first.get_layer("conv1").get_weights()
    )
    for name in ("conv2", "conv3"):
        assert not same(body.get_layer(name), first.get_layer(name))
    predictions = zoo.predict(run.model, table, images)
    assert len(predictions) == len(table)
    # Another recipe may begin with the same head; the tuned network is there once, as the run.
    head, tuned = (run.folder.parent / stage["folder"] for stage in run.record["stages"])
    assert (head / "best.keras").is_file()
    assert not tuned.exists()

    again = zoo.load_or_train(RECIPE, table, course, "two_stages")
    assert len(trained) == 4
    assert same(again.model, run.model)
    assert again.history.equals(run.history)
    assert again.record == run.record


@pytest.mark.slow
def test_recipes_with_the_same_beginning_share_it(tiny, monkeypatch):  # noqa: F811
    course, table, _ = tiny
    trained = watch(monkeypatch)
    alone = zoo.load_or_train(dataclasses.replace(RECIPE, stages=(HEAD,)), table, course)
    assert trained == ["tiny_head"] * 3
    zoo.load_or_train(RECIPE, table, course)
    assert trained == ["tiny_head"] * 3 + ["tiny"]
    assert alone.folder.name.startswith("tiny-")  # by default the backbone's name


@pytest.fixture
def untrained(monkeypatch):
    """Leave the training itself out: where a run would be kept is what is asked."""

    def nothing(*args):
        folder = args[-2]
        for name in ("best.keras", "history.csv"):
            (folder / name).touch()
        return {}

    monkeypatch.setattr(zoo, "_train_stages", nothing)
    monkeypatch.setattr(training, "_load", lambda path: training.Run(None, None, {}, path.parent))


@pytest.mark.parametrize("change", ["seed", "labels", "recipe", "images"])
def test_what_a_run_depends_on_makes_another_run(tiny, untrained, change):  # noqa: F811
    course, table, images = tiny
    recipe = RECIPE
    first = zoo.load_or_train(recipe, table, course)
    assert zoo.load_or_train(recipe, table, course).folder == first.folder
    if change == "seed":
        course = dataclasses.replace(course, seed=7)
    elif change == "labels":
        table = table.assign(label=table["label"].map({"all": "hem", "hem": "all"}))
    elif change == "recipe":
        recipe = dataclasses.replace(recipe, head=(3,))
    else:
        images[0] += 1
    assert zoo.load_or_train(recipe, table, course).folder != first.folder


def test_test_rows_are_neither_loaded_nor_part_of_a_run(tiny, untrained):  # noqa: F811
    course, table, _ = tiny
    whole = zoo.load_or_train(RECIPE, table, course)
    without = zoo.load_or_train(RECIPE, table[table["split"] != "test"], course)
    assert whole.folder == without.folder
    published = dataclasses.replace(RECIPE, published=0.5)  # what a paper says changes nothing
    assert zoo.load_or_train(published, table, course).folder == whole.folder


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_result(tiny, monkeypatch, tmp_path):  # noqa: F811
    course, table, _ = tiny
    whole = zoo.load_or_train(RECIPE, table, course)
    elsewhere = dataclasses.replace(course, artifacts=tmp_path / "elsewhere")
    original = training._epoch
    for allowed in (2, 1):  # killed in the head's third epoch, then before the tuning's first
        left = [allowed]

        def epoch(*args, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return original(*args)

        monkeypatch.setattr(training, "_epoch", epoch)
        with pytest.raises(KeyboardInterrupt):
            zoo.load_or_train(RECIPE, table, elsewhere)
    monkeypatch.setattr(training, "_epoch", original)
    resumed = zoo.load_or_train(RECIPE, table, elsewhere)
    assert same(resumed.model, whole.model)
    assert resumed.history.equals(whole.history)


@pytest.mark.slow
def test_augmentation_computes_four_versions_and_learns(tiny, monkeypatch):  # noqa: F811
    course, table, images = tiny
    asked = []
    original = frozen.features
    monkeypatch.setattr(
        frozen, "features", lambda *a, **k: (asked.append(k["transforms"]), original(*a, **k))[1]
    )
    profile = dataclasses.replace(course.profile, epochs=40)
    course = dataclasses.replace(course, profile=profile)
    stage = dataclasses.replace(HEAD, epochs=40, learning_rate=0.03)
    recipe = dataclasses.replace(RECIPE, augment=True, dropout=0.0, stages=(stage,))
    run = zoo.load_or_train(recipe, table, course)
    assert asked == [frozen.MIRRORED]
    test = table[table["split"] == "test"].reset_index(drop=True)
    scores = zoo.predict(run.model, test, images[56:])["score"]
    assert ((scores > 0.5) == (test["label"] == "all")).mean() >= 0.9


@pytest.mark.slow
def test_the_record_is_plain_json_without_folders_of_the_machine(tiny, tmp_path):  # noqa: F811
    course, table, _ = tiny
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(HEAD, epochs=1),))
    run = zoo.load_or_train(recipe, table, course)
    text = (run.folder / "record.json").read_text(encoding="utf-8")
    assert json.loads(text) == run.record
    assert str(tmp_path) not in text


def test_a_recipe_or_catalog_that_cannot_be_trained_is_refused(tiny):  # noqa: F811
    course, table, _ = tiny
    with pytest.raises(TrainingError, match="no stage"):
        zoo.load_or_train(dataclasses.replace(RECIPE, stages=()), table, course)
    with pytest.raises(TrainingError, match="split it first"):
        zoo.load_or_train(RECIPE, table.assign(split=""), course)
    unknown = dataclasses.replace(RECIPE, stages=(dataclasses.replace(HEAD, optimizer="lion"),))
    with pytest.raises(TrainingError, match="no optimizer 'lion'; known are adam"):
        zoo.load_or_train(unknown, table, course)
