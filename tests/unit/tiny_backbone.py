"""A backbone as small as can be, put into the registry: what holds of it holds of all."""

import contextlib
import dataclasses

import pytest

from helpers import images as image_files
from helpers.base import settings
from helpers.models import transfer, weights
from tests.unit.squares import SIZE, make_squares

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

#: The tiny backbone's layers with kernels, in order.
KERNELS = ("conv1", "conv2", "conv3")
HEAD = transfer.Stage("head", 1e-2, 3, 3)
TUNED = transfer.Stage("conv2", 1e-3, 2, 2)


def make_backbone(input_shape, include_top, weights):
    """Return three convolutions, each normalised, as a builder of ``keras.applications`` would."""
    from keras import layers

    assert (include_top, weights) == (False, None)
    image = x = keras.Input(input_shape)
    for place, name in enumerate(KERNELS, start=1):
        x = layers.Conv2D(6, 3, strides=2, use_bias=False, name=name)(x)
        x = layers.BatchNormalization(name=f"bn{place}")(x)
        x = layers.ReLU(name=f"relu{place}")(x)
    return keras.Model(image, x, name="tiny")


@contextlib.contextmanager
def eager():
    """Let TensorFlow compute without tracing: a few steps of a tiny network are done sooner."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Put the backbone into the registry; return settings, catalog and images."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("WEIGHTS_DIR", raising=False)
    monkeypatch.setattr(keras.applications, "Tiny", make_backbone, raising=False)
    entry = transfer.Backbone("Tiny", 16, "tf", "relu3")
    monkeypatch.setitem(transfer.REGISTRY, "tiny", entry)
    monkeypatch.setitem(weights._FILES, "tiny", ("tiny", "tiny.h5"))
    monkeypatch.setattr(weights, "WEIGHTS_USED", [])  # what other tests used is none of its own
    table, images = make_squares()

    def load(rows, size):
        assert size == SIZE
        return images[[int(name[1:]) for name in rows["image_id"]]]

    monkeypatch.setattr(image_files, "load_images", load)
    course = settings.read("phantom", "smoke")
    profile = dataclasses.replace(course.profile, size=SIZE, epochs=3, patience=3, batch_size=16)
    settings_of_test = dataclasses.replace(course, profile=profile)
    with eager():
        yield settings_of_test, table, images
