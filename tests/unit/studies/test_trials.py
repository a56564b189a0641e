"""Trials: what a result depends on, who trains and who judges, the tricks of chapter 06."""

from __future__ import annotations

import dataclasses
import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.base.errors import StudyError
from helpers.studies import trials, tricks
from helpers.studies.trials import Trial
from tests.conftest import ROOT
from tests.unit import chapter_page

SMOKE = Trial("plain", 0, 0, folds=3, profile="smoke")


@pytest.fixture(scope="module", autouse=True)
def artifacts(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))
        yield
    trials._folds.cache_clear()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"recipe": "magic"}, "There is no recipe 'magic'; there are plain, "),
        ({"fold": 3}, "fold is 3, but must be from 0 to 2"),
        ({"folds": 2}, "folds is 2, but must be 3 or more"),
        ({"rate": 0.0}, "rate is 0.0, but must be above 0"),
        ({"recipe": "custom_cnn", "batch": 8}, "custom_cnn sets batch by itself"),
        ({"dataset": "cnmc"}, "needs data_dir"),
    ],
)
def test_a_trial_that_cannot_be_is_refused(changes, told):
    with pytest.raises(StudyError, match=told):
        dataclasses.replace(SMOKE, **changes)


@pytest.mark.slow
def test_each_fold_is_the_test_once_and_nobody_is_on_two_sides():
    tables = [trials.catalog(dataclasses.replace(SMOKE, fold=fold)) for fold in range(3)]
    tested = [set(table["subject"][table["split"] == "test"]) for table in tables]
    assert set.union(*tested) == set(tables[0]["subject"])
    assert sum(map(len, tested)) == tables[0]["subject"].nunique()
    for table in tables:
        assert set(table["split"]) == {"train", "val", "test"}
        assert (table.groupby("subject")["split"].nunique() == 1).all()


@pytest.mark.slow
def test_the_seed_changes_neither_data_nor_folds():
    other = trials.catalog(dataclasses.replace(SMOKE, seed=7))
    assert other.equals(trials.catalog(SMOKE))


@pytest.mark.slow
def test_the_key_is_made_of_all_that_a_result_depends_on(monkeypatch):
    changes = [{}, {"recipe": "dropout"}, {"fold": 1}, {"seed": 1}, {"folds": 4}, {"data_seed": 1}]
    changes += [{"optimiser": "sgd"}, {"batch": 16}, {"epochs": 3}, {"rate": 0.01}]
    keys = [trials.key(dataclasses.replace(SMOKE, **change)) for change in changes]
    assert len(set(keys)) == len(keys)
    assert trials.key(SMOKE) == keys[0]
    monkeypatch.setattr(trials.code, "version", lambda *_: "other code")
    assert trials.key(SMOKE) != keys[0]


@pytest.mark.slow
def test_a_real_data_set_counts_by_its_files_and_not_by_their_folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind, number in itertools.product(("sick", "well"), range(10)):
        path = tmp_path / "one" / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (12, 14, 3), np.uint8)).save(path)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (
        dataclasses.replace(
            SMOKE, dataset="folders", positive="sick", data_dir=str(tmp_path / name)
        )
        for name in ("one", "two")
    )
    assert trials.key(one) == trials.key(two)
    assert trials.key(one) != trials.key(SMOKE)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["early stopping", "all together", "custom_cnn"])
def test_a_trial_is_the_same_twice(recipe):
    trial = dataclasses.replace(SMOKE, recipe=recipe)
    first, again = trials.result(trial), trials.result(trial)
    assert first == again
    assert 0 <= first["val"]["auc"] <= 1
    assert set(first) == {"val", "test", "note"}


@pytest.mark.slow
def test_test_images_change_no_score_of_the_others(monkeypatch):
    """Planted: the test images are made white, and nothing changes for train and val."""
    trial = dataclasses.replace(SMOKE, recipe="early stopping")
    table, settings = trials.catalog(trial), trial.settings()
    rest = (table["split"] != "test").to_numpy()
    scores = tricks.scores(trial.recipe, table, settings)
    load = tricks.images.load_images

    def planted(catalog, size):
        pixels = np.array(load(catalog, size))
        pixels[~rest] = 255
        return pixels

    monkeypatch.setattr(tricks.images, "load_images", planted)
    again = tricks.scores(trial.recipe, table, settings)
    np.testing.assert_array_equal(scores[rest], again[rest])
    assert (scores[~rest] != again[~rest]).any()


@pytest.mark.slow
@pytest.mark.skipif(
    not list((ROOT / "notebooks").glob("06_*.ipynb")), reason="chapter 06 is not there yet"
)
@pytest.mark.parametrize("name", ["plain", "all together", "warm-up and decay"])
def test_the_page_builds_the_same_networks(name):
    import keras
    from keras import layers

    size, epochs, x = 32, 4, np.zeros(50)
    page = chapter_page.functions(
        *("06", "build", "changes", "compiled"),
        **{"keras": keras, "layers": layers, "size": size, "epochs": epochs, "x": x},
    )
    options = {key: value for key, value in tricks.TRICKS[name].items() if key != "stop"}
    networks = page["compiled"](**options), tricks.compiled(size, epochs * 2, **options)
    configs = [
        [
            [layer.__class__.__name__ for layer in network.layers],
            network.count_params(),
            network.optimizer.learning_rate.numpy().tolist(),
            {k: v for k, v in network.optimizer.get_config().items() if k != "name"},
            network.loss.get_config(),
        ]
        for network in networks
    ]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("place", ["page", "helpers"])
def test_colour_jitter_leaves_a_stained_cell_its_colour(place):
    """The classes differ in colour, so a cell may become paler but never nearly grey."""
    import keras
    from keras import layers

    changes = tricks.changes
    if place == "page":
        changes = chapter_page.functions("06", "changes", layers=layers)["changes"]
    keras.utils.set_random_seed(24)
    cells = np.tile(np.float32([80, 40, 110]), (256, 4, 4, 1))
    change = keras.Sequential(changes(colour=True))
    spread = np.ptp(keras.ops.convert_to_numpy(change(cells, training=True)), axis=-1) / 70
    assert 0.6 < spread.min() < 0.8
    assert 1.2 < spread.max() < 1.6
