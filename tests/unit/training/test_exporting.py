"""Exported networks say what the network said, and weigh less."""

import numpy as np
import pytest

from helpers.base.errors import TrainingError
from helpers.training import exporting

keras = pytest.importorskip("keras")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(exporting.unavailable()), reason=exporting.unavailable() or "LiteRT is there"
    ),
]
RNG = np.random.default_rng(24)
IMAGES = RNG.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(24)
    rgb = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(rgb)
    x = keras.layers.Conv2D(64, 3, strides=2)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3)(keras.layers.ReLU(6)(x))
    x = keras.layers.Dense(64, activation="relu")(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(rgb, keras.layers.Dense(1, activation="sigmoid")(x), name="tiny")


@pytest.fixture(scope="module")
def files(model):
    return exporting.convert(model, sample=IMAGES)


@pytest.mark.parametrize(("kind", "off"), [("float32", 1e-5), ("float16", 2e-3), ("int8", 0.05)])
def test_an_exported_network_gives_the_same_scores(model, files, kind, off):
    expected = model.predict_on_batch(IMAGES.astype("float32"))[:, 0]
    assert np.ptp(expected) > 1e-3, "else any constant would pass"
    scores = exporting.predict(files[kind], IMAGES)
    assert scores.shape == (len(IMAGES),)
    assert scores == pytest.approx(expected, abs=off)


def test_fewer_bits_make_a_smaller_file(files):
    assert len(files["int8"]) < len(files["float16"]) < len(files["float32"])


def test_weights_are_symmetric_and_activations_are_not(files):
    """LiteRT's specification, which chapter 08 states: zero point 0, a step for each channel."""
    inside = exporting.eight_bit_arrays(files["int8"])
    by_channel = inside[inside["steps"] > 1]
    assert set(by_channel["zero point"]) == {0}
    assert 64 in set(by_channel["steps"])  # the convolution has 64 channels
    assert (inside.loc[inside["steps"] == 1, "zero point"] != 0).any()
    assert exporting.eight_bit_arrays(files["float32"]).empty
    with pytest.raises(TrainingError, match="not an exported network"):
        exporting.eight_bit_arrays(b"no network")


def test_time_is_measured(files):
    assert 0 < exporting.milliseconds(files["float32"], IMAGES) < 1000


def test_nothing_is_written_to_the_page(model, capfd):
    exporting.predict(exporting.convert(model, ["float32"])["float32"], IMAGES)
    assert capfd.readouterr() == ("", "")


def test_what_does_not_fit_is_refused(model, files):
    with pytest.raises(TrainingError, match="'int4', but must be one of float32"):
        exporting.convert(model, ["int4"])
    with pytest.raises(TrainingError, match="needs a sample"):
        exporting.convert(model, ["int8"])
    with pytest.raises(TrainingError, match="needs a sample"):
        exporting.convert(model, ["int8"], IMAGES[:, :8])
    with pytest.raises(TrainingError, match=r"takes images of shape \(16, 16, 3\)"):
        exporting.predict(files["float32"], IMAGES[:, :8])
    with pytest.raises(TrainingError, match="not an exported network"):
        exporting.predict(files["float32"][:100], IMAGES)


def test_another_backend_is_told_in_a_sentence(monkeypatch, model):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert "jax" in exporting.unavailable()
    with pytest.raises(TrainingError, match="jax"):
        exporting.convert(model)
