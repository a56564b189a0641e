"""The custom CNN: its size and its promises (test_chapter_05.py has the one of the page)."""

import numpy as np
import pytest

from helpers.base.errors import ModelError
from helpers.models import custom_cnn, dcnn, transfer

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet


def parameters(size, filters=custom_cnn.FILTERS, dense=256):
    """Count by hand, as the chapter does."""
    count, channels = 0, 3
    for maps, pool in zip(filters, custom_cnn.POOLS, strict=True):
        count += 3 * 3 * channels * maps + maps
        channels, size = maps, max(1, size // pool)
    return count + size * size * channels * dense + dense + dense + 1


@pytest.mark.parametrize("size", [27, 48, 75, 96, 224, 300])
def test_parameters_are_those_counted_by_hand(size):
    model = custom_cnn.build(size)
    assert model.count_params() == parameters(size)
    assert model.input_shape == (None, size, size, 3)
    assert model.output_shape == (None, 1)


def test_it_has_about_two_million_parameters_at_300_pixels():
    assert parameters(300) == 2_027_329
    assert "2,027,329" in custom_cnn.__doc__


def test_its_first_weights_follow_from_the_seed_alone():
    one, same, other = (custom_cnn.build(48, seed) for seed in (24, 24, 25))
    assert all(map(np.array_equal, one.get_weights(), same.get_weights()))
    assert not all(map(np.array_equal, one.get_weights(), other.get_weights()))


def test_it_takes_raw_pixels_and_sees_the_stain():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 120, (4, 48, 48, 3), dtype=np.uint8)
    model = custom_cnn.build(48)
    last = model.get_layer("probability")  # which starts so small that all scores are near 0.5
    last.set_weights([30 * weight for weight in last.get_weights()])
    scores = model.predict_on_batch(images)
    assert ((scores > 0) & (scores < 1)).all()
    assert model.predict_on_batch(images * np.uint8(2)) != pytest.approx(scores, abs=0.02)
    for grey in (0, 255):
        flat = np.full((1, 48, 48, 3), grey, dtype=np.uint8)
        assert np.isfinite(model.predict_on_batch(flat)).all()


@pytest.mark.slow
def test_augmentation_is_for_training_only():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (4, 48, 48, 3)).astype("float32")
    plain, augmented = custom_cnn.build(48), custom_cnn.build(48, augment=True)
    augmented.set_weights(plain.get_weights())
    expected = plain.predict_on_batch(images)
    assert augmented.predict_on_batch(images) == pytest.approx(expected, abs=1e-5)
    trained = np.asarray(augmented(images, training=True))
    assert np.abs(trained - np.asarray(plain(images, training=True))).max() > 1e-3


def test_too_small_images_are_refused():
    with pytest.raises(ModelError, match="at least 27 pixels, got 26"):
        custom_cnn.build(26)


def test_rows_are_never_taken_for_channels(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    for build in (
        lambda: custom_cnn.build(48),
        lambda: dcnn.build(48),
        lambda: transfer.build(transfer.Recipe("mobilenetv2_035"), 96),
    ):
        with pytest.raises(ModelError, match=r"channels_first.*set_image_data_format"):
            build()


@pytest.mark.parametrize("floatx", ["float16", "bfloat16", "float64"])
def test_keras_json_does_not_decide_the_precision(monkeypatch, floatx):
    monkeypatch.setattr(keras.config, "floatx", lambda: floatx)
    for build in (
        lambda: custom_cnn.build(48),
        lambda: dcnn.build(48),
        lambda: transfer.build(transfer.Recipe("mobilenetv2_035"), 96),
    ):
        with pytest.raises(ModelError, match=rf"{floatx}.*set_floatx\('float32'\)"):
            build()
