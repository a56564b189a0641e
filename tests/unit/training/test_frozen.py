"""Frozen features: computed once, and a head trained on them is the head trained through."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.base import settings as course_settings
from helpers.base.errors import TrainingError
from helpers.catalog import augmentation
from helpers.models import transfer, weights
from helpers.training import frozen
from helpers.training import runs as training
from tests.conftest import SHARED
from tests.unit.squares import SIZE, make_squares
from tests.unit.tiny_backbone import HEAD, tiny  # noqa: F401 - a fixture

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

RANDOM = weights.Weights(None, "random", "")
ROUNDS = 3  # of the benchmark; the quickest counts


def build(size=SIZE, **changes):
    recipe = transfer.Recipe("tiny", **{"head": (4,), "stages": (HEAD,), **changes})
    return recipe, transfer.build(recipe, size, 24, RANDOM)


def count_runs(monkeypatch):
    """Return a list that grows by one whenever features are computed."""
    runs, original = [], frozen._build
    monkeypatch.setattr(frozen, "_build", lambda *args: (runs.append(1), original(*args)))
    return runs


@pytest.mark.slow
def test_features_are_the_backbones_and_computed_once(tiny, monkeypatch):  # noqa: F811
    _, table, images = tiny
    _, model = build()
    runs = count_runs(monkeypatch)
    made = frozen.features(model, table, batch_size=7)
    again = frozen.features(model, table)
    assert made.shape == (72, 6)
    assert made.dtype == np.float32
    assert not made.flags.writeable
    assert len(runs) == 1
    np.testing.assert_array_equal(made, again)
    direct = transfer.extractor(model)(images.astype("float32"), training=False)
    np.testing.assert_allclose(made, keras.ops.convert_to_numpy(direct), atol=1e-5)


@pytest.mark.slow
def test_other_images_weights_or_versions_have_other_features(tiny, monkeypatch):  # noqa: F811
    _, table, images = tiny
    _, model = build()
    runs = count_runs(monkeypatch)
    first = np.array(frozen.features(model, table, images=images))
    assert not np.array_equal(first, frozen.features(model, table, images=images[::-1]))
    body = model.get_layer("backbone")
    body.set_weights([1.1 * weight for weight in body.get_weights()])
    assert not np.array_equal(first, frozen.features(model, table, images=images))
    frozen.features(model, table, images=images, transforms=("rot180",))
    assert len(runs) == 4


def test_features_too_large_to_keep_are_removed_from_disk(tiny, monkeypatch):  # noqa: F811
    _, table, images = tiny
    _, model = build()
    made = frozen.features(model, table, images=images)
    numbers = np.array(made)
    frozen.discard(made)
    again = frozen.features(model, table, images=images)
    assert again.filename == made.filename
    monkeypatch.setattr(frozen, "_LARGE", made.nbytes)
    frozen.discard(made)
    assert not Path(made.filename).exists()
    np.testing.assert_array_equal(again, numbers)  # who reads them still can
    frozen.discard(numbers)  # features that are in memory only


@pytest.mark.slow
def test_versions_are_those_that_the_augmentation_makes(tiny):  # noqa: F811
    _, table, images = tiny
    _, model = build(augment=True)
    made = frozen.features(model, table, transforms=frozen.MIRRORED)
    assert made.shape == (72, 4, 6)
    for place, name in enumerate(frozen.MIRRORED):
        turned = augmentation.apply(images, name)
        one = frozen.features(model, table, images=turned)
        np.testing.assert_allclose(made[:, place], one, atol=1e-5)
    # What the layer draws are these four, and all of them.
    across, down = (model.get_layer(f"augment_{way}") for way in ("horizontal", "vertical"))
    square = images[1].astype(np.float32)
    turned = {name: augmentation.apply(square, name) for name in frozen.MIRRORED}
    drawn = keras.ops.convert_to_numpy(
        down(across(np.stack([square] * 64), training=True), training=True)
    )
    seen = {
        name for image in drawn for name, other in turned.items() if np.array_equal(image, other)
    }
    assert seen == set(frozen.MIRRORED)
    assert all(any(np.array_equal(i, other) for other in turned.values()) for i in drawn)


def test_a_full_memory_halves_the_batch_and_says_so(tiny, capsys, monkeypatch):  # noqa: F811
    _, table, _ = tiny
    _, model = build()
    whole = np.array(frozen.features(model, table))
    original = keras.Model.predict_on_batch
    tried = []

    def small_memory(self, x):
        tried.append(len(x))
        if len(x) > 20:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes.")
        return original(self, x)

    monkeypatch.setattr(keras.Model, "predict_on_batch", small_memory)
    (course_settings.artifacts_folder() / "features").rename(
        course_settings.artifacts_folder() / "before"
    )
    again = frozen.features(model, table, batch_size=64)
    assert "going on with 16 images" in capsys.readouterr().out
    assert tried[:3] == [64, 32, 16]
    np.testing.assert_allclose(again, whole, atol=1e-5)


def test_what_does_not_fit_is_refused(tiny):  # noqa: F811
    _, table, images = tiny
    _, model = build()
    with pytest.raises(TrainingError, match=r"shape \(71, 32, 32, 3\).*\(72, 32, 32, 3\)"):
        frozen.features(model, table, images=images[:71])
    with pytest.raises(TrainingError, match="must be some of"):
        frozen.features(model, table, transforms=("rot45",))


def train_both_ways(model, recipe, table, images, course, **options):
    """Train the same head through the frozen backbone, and on its features."""
    through = training.fit(model, table, images, course, "through", **options)
    given = frozen.features(model, table, images=images)
    head = transfer.head(recipe, given.shape[1:], course.seed)
    transfer.copy_head(model, head)
    cached = training.fit(head, table, given, course, "cached", **options)
    return through, cached


def assert_same_heads(through, cached, tolerance):
    for layer in cached.model.layers:
        if layer.weights:
            theirs = through.model.get_layer(layer.name).get_weights()
            for one, other in zip(layer.get_weights(), theirs, strict=True):
                np.testing.assert_allclose(one, other, atol=tolerance)
    columns = ["loss", "val_loss"]
    np.testing.assert_allclose(cached.history[columns], through.history[columns], atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["avg", "flatten"])
def test_a_head_on_features_is_the_head_trained_through(tiny, pooling):  # noqa: F811
    course, table, images = tiny
    recipe, model = build(pooling=pooling, dropout=0.4)
    options = {"epochs": 3, "patience": 3, "learning_rate": 1e-2, "batch_size": 16}
    through, cached = train_both_ways(model, recipe, table, images, course, **options)
    before = model.get_layer("dense1").get_weights()[0]
    assert np.abs(cached.model.get_layer("dense1").get_weights()[0] - before).max() > 0.01
    assert_same_heads(through, cached, 1e-4)


def test_an_epoch_trains_on_one_version_of_each_image_and_is_judged_by_the_image():
    given = np.repeat(np.arange(72, dtype=np.float32)[:, None], 4, axis=1)[:, :, None].copy()
    given += np.arange(4, dtype=np.float32)[None, :, None] / 10
    target = np.zeros((72, 1), np.float32)
    versions = np.random.default_rng(0).integers(4, size=72)
    rows = np.arange(40)
    drawn = training.feed(given, target, rows, 16, versions=versions)
    seen = np.concatenate([drawn[place][0] for place in range(len(drawn))])[:, 0]
    np.testing.assert_allclose(seen, rows + versions[:40] / 10, rtol=1e-6)
    plain = training.feed(given, target, rows, 16)
    seen = np.concatenate([plain[place][0] for place in range(len(plain))])[:, 0]
    np.testing.assert_array_equal(seen, rows)


@pytest.mark.slow
@pytest.mark.realdata
def test_a_real_backbone_gives_the_same_head_both_ways(tmp_path, monkeypatch):
    course, recipe, model, table, images = real(tmp_path, monkeypatch)
    options = {"epochs": 2, "patience": 2, "batch_size": 16}
    assert_same_heads(*train_both_ways(model, recipe, table, images, course, **options), 1e-3)


def real(tmp_path, monkeypatch, rows=72):
    """Return what to train MobileNetV2 0.35 with ImageNet weights on, at 96 pixels."""
    if not (SHARED / "weights").is_dir():
        pytest.skip(f"{SHARED / 'weights'} is not there")
    monkeypatch.setenv("WEIGHTS_DIR", str(SHARED / "weights"))
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    recipe = transfer.Recipe("mobilenetv2_035", dropout=0.5)
    table, small = make_squares(rows)
    images = np.repeat(np.repeat(small, 3, axis=1), 3, axis=2)
    course = course_settings.read("phantom", "smoke")
    return course, recipe, transfer.build(recipe, 96), table, images


@pytest.mark.realdata
def test_a_frozen_stage_is_five_times_as_fast_as_training_through(benchmark, tmp_path, monkeypatch):
    """For the quick profile's images and eight epochs, all included that a reader waits for.

    On the narrowest backbone, which gains least: the others cost more and the head no more.
    """
    if benchmark.disabled:
        pytest.skip("a benchmark: run with --benchmark-enable")
    course, recipe, model, table, images = real(tmp_path, monkeypatch, rows=1200)
    split = np.where(np.arange(1200) < 900, "train", "val")
    table = table.assign(split=split)
    options = {"epochs": 8, "patience": 8, "batch_size": 32}
    seconds = {"through": [], "on_features": []}

    def through(course, images):
        training.fit(model, table, images, course, "through", **options)

    def on_features(course, images):
        given = frozen.features(model, table, images=images)
        head = transfer.head(recipe, given.shape[1:], course.seed)
        training.fit(head, table, given, course, "on_features", **options)

    for seed in range(ROUNDS):  # in turn, so that a busy machine slows both
        other = dataclasses.replace(course, seed=seed)
        for way in (through, on_features):
            begin = time.perf_counter()
            way(other, images + np.uint8(seed))
            seconds[way.__name__].append(time.perf_counter() - begin)
    ratio = min(seconds["through"]) / min(seconds["on_features"])
    benchmark.extra_info["times as fast"] = round(ratio, 1)
    again = dataclasses.replace(course, seed=ROUNDS)
    benchmark.pedantic(on_features, (again, images + np.uint8(ROUNDS)), rounds=1)
    print(f"\non features {ratio:.1f} times as fast; seconds: {seconds}")
    assert ratio >= 5
