"""Channel attention against its formulas, by NumPy and by the papers' counts."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from helpers.models import attention, cost  # noqa: E402
from helpers.models.custom_cnn import ModelError  # noqa: E402

RNG = np.random.default_rng(24)
MAPS = RNG.normal(size=(2, 5, 4, 32)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_squeeze_and_excitation_is_its_formula():
    layer = attention.SqueezeExcitation(ratio=8)
    found = keras.ops.convert_to_numpy(layer(MAPS))
    squeeze, excite = (keras.ops.convert_to_numpy(w) for w in layer.weights)
    assert squeeze.shape == (32, 4)
    weights = sigmoid(np.maximum(MAPS.mean(axis=(1, 2)) @ squeeze, 0) @ excite)
    np.testing.assert_allclose(found, MAPS * weights[:, None, None, :], atol=1e-5)
    assert layer.count_params() == 2 * 32**2 // 8  # Hu et al.: 2 / r * C**2


def test_eca_is_its_formula():
    layer = attention.EfficientChannelAttention(width=5)
    found = keras.ops.convert_to_numpy(layer(MAPS))
    kernel = keras.ops.convert_to_numpy(layer.weights[0])[:, 0, 0]
    means = np.pad(MAPS.mean(axis=(1, 2)), ((0, 0), (2, 2)))
    mixed = sum(kernel[k] * means[:, k : k + 32] for k in range(5))
    np.testing.assert_allclose(found, MAPS * sigmoid(mixed)[:, None, None, :], atol=1e-5)
    assert layer.count_params() == 5


@pytest.mark.parametrize(
    ("channels", "width"), [(2, 1), (16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5)]
)
def test_eca_width_is_the_papers(channels, width):
    t = int(abs((np.log2(channels) + 1) / 2))  # as in the authors' published code
    assert attention.eca_width(channels) == width == (t if t % 2 else t + 1)


@pytest.mark.parametrize("kind", [attention.SqueezeExcitation, attention.EfficientChannelAttention])
def test_attention_only_dims_maps_and_is_drawn_from_its_seed(kind):
    first, second, other = kind(seed=3), kind(seed=3), kind(seed=4)
    results = [keras.ops.convert_to_numpy(layer(MAPS)) for layer in (first, second, other)]
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 1e-4
    share = results[0] / MAPS
    assert share.min() > 0
    assert share.max() < 1
    # One weight a map, the same at every place.
    np.testing.assert_allclose(share, share[:, :1, :1, :].repeat(5, 1).repeat(4, 2), rtol=1e-4)


@pytest.mark.parametrize("kind", [attention.SqueezeExcitation, attention.EfficientChannelAttention])
def test_networks_with_attention_are_kept_and_costed(kind, tmp_path):
    model = keras.Sequential(
        [keras.Input((5, 4, 32)), kind(name="weigh"), keras.layers.GlobalAveragePooling2D()]
    )
    assert model.get_layer("weigh").output.shape == (None, 5, 4, 32)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(model.predict(MAPS, verbose=0), again.predict(MAPS, verbose=0))
    table = cost.layers(model).set_index("layer")
    uses = {"SqueezeExcitation": 1, "EfficientChannelAttention": 32}[kind.__name__]
    parameters = table.loc["weigh", "parameters"]
    assert table.loc["weigh", "multiply_adds"] == parameters * uses


def test_bad_input_is_told_in_a_sentence():
    with pytest.raises(ModelError, match="ratio"):
        attention.SqueezeExcitation(ratio=0)
    with pytest.raises(ModelError, match="must be odd"):
        attention.EfficientChannelAttention(width=4)
    with pytest.raises(ModelError, match="feature maps"):
        attention.SqueezeExcitation().build((None, 32))
    with pytest.raises(ModelError, match="feature maps"):
        attention.EfficientChannelAttention().build((None, 32))
