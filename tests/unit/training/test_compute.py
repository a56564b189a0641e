"""How a training computes: each setting is one word, and a full memory is no end."""

import dataclasses
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from helpers.base import settings
from helpers.base.errors import TrainingError
from helpers.models import cnn_lstm, custom_cnn
from helpers.training import compute
from helpers.training import runs as training
from tests.unit.squares import SIZE, make_squares
from tests.unit.tiny_backbone import eager

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
ROOT = Path(__file__).parents[3]


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    with eager():
        yield settings.read("phantom", "smoke")


def small():
    """Return a network with what the settings touch: scaling, kernels, normalisation, a head."""
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Conv2D(4, 3, 4, kernel_initializer=keras.initializers.HeNormal(1), name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(
                1, "sigmoid", kernel_initializer=keras.initializers.HeNormal(2), name="probability"
            ),
        ]
    )


def fit(course, **options):
    table, images = make_squares()
    options = {"epochs": 2, "batch_size": 16, "patience": 2, "learning_rate": 1e-2, **options}
    return training.fit(small(), table, images, course, "small", **options)


def with_profile(course, **changes):
    return dataclasses.replace(course, profile=dataclasses.replace(course.profile, **changes))


def small_memory(monkeypatch, images, error):
    """Let more than so many images in a step fill the memory, a while into the epoch."""
    original = training._epoch

    def epoch(model, pixels, target, train, val, started, state):
        if state["batch_size"] > images:
            model.fit(pixels[:8], target[:8], verbose=0)  # what was learned by then is undone
            raise error
        return original(model, pixels, target, train, val, started, state)

    monkeypatch.setattr(training, "_epoch", epoch)


class ResourceExhaustedError(Exception):
    """Called like TensorFlow's."""


def test_every_backends_way_to_say_it_is_understood():
    for error in (
        ResourceExhaustedError("OOM when allocating tensor"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
    ):
        assert compute.out_of_memory(error)
    assert not compute.out_of_memory(OSError("No space left on device"))


@pytest.mark.slow
def test_a_full_memory_halves_the_batch_says_so_and_goes_on(course, monkeypatch, capsys):
    small_memory(monkeypatch, 8, RuntimeError("CUDA out of memory."))
    run = fit(course, batch_size=32, epochs=1)
    said = capsys.readouterr().out
    assert "Out of memory: going on with 16 images in a step." in said
    assert "going on with 8 images" in said
    assert run.record["recipe"]["batch_size"] == 32
    assert run.record["batch_size"] == 8
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_ARTIFACTS", str(course.artifacts))
    plain = fit(course, batch_size=8, epochs=1)
    for ours, theirs in zip(run.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_the_smaller_batch_is_kept_through_a_kill(course, monkeypatch):
    small_memory(monkeypatch, 8, RuntimeError("out of memory"))
    through, seen = training._epoch, []

    def killed(*args):
        if seen:
            raise KeyboardInterrupt
        row = through(*args)
        seen.append(1)
        return row

    monkeypatch.setattr(training, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(course)
    monkeypatch.setattr(training, "_epoch", through)
    run = fit(course)
    assert run.record["batch_size"] == 8
    assert len(run.history) == 2


@pytest.mark.slow
def test_where_not_one_image_fits_that_is_said(course, untraced, monkeypatch):
    small_memory(monkeypatch, 0, RuntimeError("out of memory"))
    with pytest.raises(TrainingError, match="Not even one image fits"):
        fit(course, batch_size=2)


@pytest.mark.slow
def test_another_error_is_not_taken_for_a_full_memory(course, untraced, monkeypatch):
    small_memory(monkeypatch, 0, RuntimeError("the disk is full"))
    with pytest.raises(RuntimeError, match="the disk is full"):
        fit(course)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_the_optimizer_is_the_one_asked_for(course, untraced, optimizer, monkeypatch):
    used, original = [], training._epoch
    monkeypatch.setattr(
        training, "_epoch", lambda model, *a: (used.append(model.optimizer), original(model, *a))[1]
    )
    run = fit(course, optimizer=optimizer, epochs=1)
    assert run.record["recipe"]["optimizer"] == optimizer
    assert [type(one).__name__.lower() for one in used] == [optimizer]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_and_leaves_a_model_in_float32(course, precision):
    plain = fit(course)
    run = fit(with_profile(course, precision=precision))
    assert run.record["recipe"]["precision"] == f"mixed_{precision}"
    assert run.folder != plain.folder
    assert {layer.compute_dtype for layer in run.model.layers} == {"float32"}
    assert {str(weight.dtype) for weight in run.model.weights} == {"float32"}
    np.testing.assert_allclose(run.history["loss"], plain.history["loss"], rtol=0.05)
    assert not np.array_equal(run.history["loss"], plain.history["loss"])


def test_scaling_and_probability_keep_float32():
    model = small()
    compute.set_precision(model, "mixed_bfloat16")
    found = {layer.name: layer.compute_dtype for layer in model.layers}
    assert found == {
        "scale": "float32",
        "conv": "bfloat16",
        "norm": "bfloat16",
        "pool": "bfloat16",
        "probability": "float32",
    }
    network = custom_cnn.build(32)
    compute.set_precision(network, "mixed_bfloat16")
    half = [layer.name for layer in network.layers if layer.compute_dtype == "bfloat16"]
    assert "conv1" in half
    assert not {"scale", "standardise", "probability"} & set(half)


@pytest.mark.slow
def test_layers_that_read_a_sequence_keep_float32():
    """On a GPU, `full` of chapter 10 failed: JAX's LSTM "Unknown output type bfloat16"."""
    network = cnn_lstm.build(18)
    compute.set_precision(network, "mixed_bfloat16")
    assert network.get_layer("conv2").compute_dtype == "bfloat16"
    for name in ("rows", "columns"):
        reader = network.get_layer(name)
        inside = (reader, reader.forward_layer, reader.backward_layer, reader.forward_layer.cell)
        assert {layer.compute_dtype for layer in inside} == {"float32"}
    images = np.random.default_rng(1).integers(0, 256, (4, 18, 18, 3), np.uint8)
    network.compile("adam", "binary_crossentropy")
    assert np.isfinite(network.train_on_batch(images, np.array([[0], [1], [0], [1]])))


def test_the_settings_are_one_word_each(monkeypatch):
    full, quick = settings.PROFILES["full"], settings.PROFILES["quick"]
    assert (full.precision, full.xla, full.devices) == ("mixed", True, "all")
    assert (quick.precision, quick.devices) == ("float32", "one")
    monkeypatch.setenv("COURSE_PRECISION", "float16")
    monkeypatch.setenv("COURSE_XLA", "0")
    monkeypatch.setenv("COURSE_DEVICES", "one")
    read = settings.read("phantom", "full").profile
    assert (read.precision, read.xla, read.devices) == ("float16", False, "one")
    monkeypatch.setenv("COURSE_DEVICES", "two")
    with pytest.raises(settings.SettingsError, match="COURSE_DEVICES is 'two', but must be one of"):
        settings.read()


@pytest.mark.parametrize("gpu", [True, False])
def test_full_uses_half_precision_and_xla_on_a_gpu_only(monkeypatch, gpu):
    monkeypatch.setattr(compute.provenance, "has_gpu", lambda: gpu)
    monkeypatch.setattr(compute, "_has_bfloat16", lambda: True)
    full = settings.PROFILES["full"]
    assert compute.policy(full) == ("mixed_bfloat16" if gpu else "float32")
    assert compute.jit(full) == ("auto" if gpu else False)
    assert compute.jit(dataclasses.replace(full, xla=False)) is False
    monkeypatch.setattr(compute, "_has_bfloat16", lambda: False)
    assert compute.policy(full) == ("mixed_float16" if gpu else "float32")


TWO_DEVICES = """
    import tensorflow as tf
    from helpers.base import settings
    from helpers.training import compute
    from helpers.training import runs as training
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    compute._tensorflow_devices = lambda: ["CPU:0", "CPU:1"]
    from tests.unit.training.test_compute import small
    from tests.unit.squares import make_squares
    table, images = make_squares(71)  # 15 images to stop by: one does not come in pairs
    for epochs in (1, 2):  # a second training in the same process, as in a chapter
        course = settings.read("phantom", "smoke")
        run = training.fit(small(), table, images, course, "small",
                           epochs=epochs, batch_size=15, patience=2)
        print(run.record["devices"], len(run.history), run.history["val_loss"].notna().all())
"""


@pytest.mark.slow
def test_batches_are_shared_among_devices(tmp_path):
    """On two halves of this machine's processor, as on two GPUs."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TWO_DEVICES)],
        cwd=ROOT,
        env={
            **os.environ,
            "COURSE_ARTIFACTS": str(tmp_path),
            "COURSE_DEVICES": "all",
            "KERAS_BACKEND": "tensorflow",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["2 1 True", "2 2 True"]


@pytest.mark.parametrize(
    ("backend", "gpu", "spared"),
    [("tensorflow", False, True), ("tensorflow", True, False), ("jax", False, False)],
)
def test_only_tensorflow_on_a_cpu_goes_without_xla(monkeypatch, backend, gpu, spared):
    monkeypatch.setattr(compute.provenance, "keras_version", lambda: {"backend": backend})
    monkeypatch.setattr(compute.provenance, "has_gpu", lambda: gpu)
    assert compute.provenance.spares_xla() is spared
    assert (compute.jit(settings.PROFILES["quick"]) is False) is spared
