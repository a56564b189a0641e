"""The autoencoders: any side, the same weights from the same seed, safe files, the KL term."""

import numpy as np
import pytest
from scipy import stats

from helpers.base.errors import ModelError
from helpers.models import autoencoder

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
LATENT = 3


def noise(size, count=4):
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 19, 24])
@pytest.mark.parametrize("variational", [False, True])
def test_an_image_of_any_side_comes_back_in_its_size(tmp_path, size, variational):
    model = autoencoder.build(size, LATENT, variational=variational)
    found = model.predict_on_batch(noise(size))
    pictures = found["picture"] if variational else found
    assert pictures.shape == (4, size, size, 3)
    assert np.isfinite(pictures).all()
    if variational:
        assert found["moments"].shape == (4, 2 * LATENT)
    model.save(tmp_path / "kept.keras")
    again = keras.saving.load_model(tmp_path / "kept.keras", safe_mode=True, compile=False)
    kept = again.predict_on_batch(noise(size))
    np.testing.assert_allclose(kept["picture"] if variational else kept, pictures, atol=1e-6)


def test_its_first_weights_follow_from_the_seed_alone():
    one, same, other = (autoencoder.build(16, LATENT, seed) for seed in (1, 1, 2))
    assert all(map(np.array_equal, one.get_weights(), same.get_weights()))
    assert not all(map(np.array_equal, one.get_weights(), other.get_weights()))


@pytest.mark.slow
def test_the_code_is_drawn_in_training_and_the_mean_in_use():
    model = autoencoder.build(16, LATENT, variational=True)
    images = noise(16).astype("float32")
    used = [np.asarray(model(images, training=False)["picture"]) for _ in range(2)]
    np.testing.assert_array_equal(*used)
    trained = [np.asarray(model(images, training=True)["picture"]) for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-4
    codes = model.predict_on_batch(images)["moments"][:, :LATENT]
    decoded = model.get_layer("decoder").predict_on_batch(codes)
    np.testing.assert_allclose(decoded, used[0], atol=1e-5)


def test_the_kl_term_is_the_divergence_of_normal_distributions():
    rng = np.random.default_rng(0)
    moments = rng.normal(size=(5, 2 * LATENT)).astype("float32")
    found = np.asarray(autoencoder.kl_loss(None, moments))
    grid = np.linspace(-12, 12, 20_001)
    for row, value in zip(moments, found, strict=True):
        by_integral = 0
        for mean, log_variance in zip(row[:LATENT], row[LATENT:], strict=True):
            log_q = stats.norm.logpdf(grid, mean, np.exp(log_variance / 2))
            log_p = stats.norm.logpdf(grid)
            by_integral += np.trapezoid(np.exp(log_q) * (log_q - log_p), grid)
        assert value == pytest.approx(by_integral, rel=1e-4)
    standard = np.zeros((1, 2 * LATENT), "float32")
    assert np.asarray(autoencoder.kl_loss(None, standard)) == pytest.approx(0)


def test_the_pixel_term_is_that_of_a_normal_distribution_up_to_a_constant():
    rng = np.random.default_rng(0)
    truth, one, other = (rng.random((1, 4, 4, 3)).astype("float32") for _ in range(3))
    terms = [np.asarray(autoencoder.pixel_loss(truth, picture))[0] for picture in (one, other)]
    logs = [stats.norm.logpdf(truth, p, autoencoder.NOISE).sum() for p in (one, other)]
    assert terms[0] - terms[1] == pytest.approx(logs[1] - logs[0], rel=1e-4)


def test_what_is_too_small_is_refused():
    with pytest.raises(ModelError, match="at least 8 pixels, got 7"):
        autoencoder.build(7)
    with pytest.raises(ModelError, match="at least one number, got 0"):
        autoencoder.build(16, 0)
