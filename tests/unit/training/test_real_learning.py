"""Do the networks learn from real images? Frozen on ImageNet, judged on blocks never seen.

Everything here is fixed beforehand: scikit-learn's own regularisation, one split
by the course's own seed. Nothing is chosen on the images that judge.
"""

import dataclasses
import time

import numpy as np
import pytest

from helpers import catalog as catalogs
from helpers import datasets, predictions
from helpers.base import settings
from helpers.catalog import splitting
from helpers.images import loading as images
from helpers.models import transfer
from helpers.predictions import metrics
from helpers.training import frozen, zoo
from tests.conftest import SHARED

pytestmark = [pytest.mark.realdata, pytest.mark.slow]
SIZE = 224


@pytest.fixture(scope="module", autouse=True)
def real(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        if not (SHARED / "weights").is_dir():
            pytest.skip(f"{SHARED / 'weights'} is not there")
        patch.setenv("WEIGHTS_DIR", str(SHARED / "weights"))
        patch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))
        yield


def load(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    return datasets.load(name, SHARED / name, "full")


def classifier():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def say(record_property, **figures):
    for name, value in figures.items():
        record_property(name, value)
        print(f"{name}: {value}")


@pytest.fixture(scope="module")
def taleqani(real):
    """The catalog, its features at 224 pixels, and the seconds that they took."""
    begin = time.perf_counter()
    table = load("taleqani")
    given = frozen.features("mobilenetv2_035", table, SIZE)
    assert given.shape == (len(table), 1280)
    return table, given, time.perf_counter() - begin


def blocks(table):
    """Split by blocks of consecutive files, as the course does."""
    split = splitting.split_by_subject(table, seed=settings.DEFAULT_SEED, nearest=True)
    side = split.set_index("image_id").loc[table["image_id"], "split"].to_numpy()
    return side == "train", side == "test"


def first_part(table):
    """Learn from the first 60 % of each class in file order, be judged on the rest."""
    place = table.groupby("label").cumcount() / table.groupby("label")["label"].transform("size")
    return (place < 0.6).to_numpy(), (place >= 0.6).to_numpy()


@pytest.mark.parametrize("divide", [blocks, first_part])
def test_taleqani_is_learned_across_blocks(taleqani, divide, record_property):
    table, given, seconds = taleqani
    begin = time.perf_counter()
    train, test = divide(table)
    assert not set(table["subject"][train]) & set(table["subject"][test]) or divide is first_part
    found = {}
    for name, truth in (("two", catalogs.target(table)), ("four", table["label"].to_numpy())):
        model = classifier().fit(given[train], truth[train])
        found[name] = float((model.predict(given[test]) == truth[test]).mean())
    taken = seconds + time.perf_counter() - begin
    say(
        record_property,
        split=divide.__name__,
        benign_against_malignant=round(found["two"], 4),
        four_classes=round(found["four"], 4),
        images=f"{train.sum()} train, {test.sum()} test",
        seconds=round(taken, 1),
    )
    assert found["two"] >= 0.97
    assert found["four"] >= 0.94


def test_taleqani_is_learned_by_a_recipe_and_judged_by_the_course(taleqani, record_property):
    table, _, _ = taleqani
    begin = time.perf_counter()
    split = splitting.split_by_subject(table, seed=settings.DEFAULT_SEED, nearest=True)
    course = settings.read("taleqani", "quick", data_dir=SHARED / "taleqani")
    profile = dataclasses.replace(course.profile, size=SIZE, images=None, epochs=30, patience=5)
    course = dataclasses.replace(course, profile=profile)
    run = zoo.load_or_train(transfer.RECIPES["mobilenetv2_frozen"], split, course)
    test = split[split["split"] == "test"]
    predictions = zoo.predict(run.model, test)
    accuracy = metrics.accuracy(predictions)
    low, high = metrics.bootstrap_interval(predictions, "accuracy", by="subject")
    say(
        record_property,
        accuracy=round(accuracy, 4),
        interval=f"{low:.4f} to {high:.4f}",
        auc=round(metrics.auc(predictions), 4),
        weights=run.record["weights"]["note"],
        seconds=round(time.perf_counter() - begin, 1),
    )
    assert run.record["weights"]["source"] == "folder"
    assert accuracy >= 0.97
    assert low <= accuracy <= high


def test_cnmc_frames_leave_subjects_out(record_property):
    """What 38 frames can tell, whatever it is, beside what the cell's area alone tells."""
    table = splitting.link_subjects(load("cnmc"))
    table = table[table["label"] != catalogs.UNLABELLED].reset_index(drop=True)
    truth = catalogs.target(table)
    given = {
        "network": np.asarray(frozen.features("mobilenetv2_035", table, SIZE)),
        "area": np.array(
            [[np.log((images.read_image(path) > 0).any(axis=2).sum())] for path in table["path"]]
        ),
    }
    for name, columns in given.items():
        scores = np.full(len(table), np.nan)
        for group in table["group"].unique():
            test = (table["group"] == group).to_numpy()
            assert not set(table["subject"][test]) & set(table["subject"][~test])
            model = classifier().fit(columns[~test], truth[~test])
            scores[test] = model.predict_proba(columns[test])[:, 1]
        judged = predictions.make(table, scores)
        value = metrics.auc(judged)
        low, high = metrics.bootstrap_interval(judged, "auc", by="subject")
        say(record_property, **{name: f"AUC {value:.3f}, 95 % interval {low:.3f} to {high:.3f}"})
        assert np.isfinite(scores).all()
        assert low <= value <= high
    say(record_property, frames=len(table), subjects=table["subject"].nunique())
