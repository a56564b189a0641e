"""Channel attention against its formulas, by NumPy and by the papers' counts."""

import importlib
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from helpers.exercises import check

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

from helpers.base.errors import ModelError  # noqa: E402
from helpers.models import attention, cost, custom_cnn  # noqa: E402

CHAPTER = Path(__file__).parents[3] / "notebooks" / "09_more_backbones.ipynb"

RNG = np.random.default_rng(24)
MAPS = RNG.normal(size=(2, 5, 4, 32)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_squeeze_and_excitation_is_its_formula():
    layer = attention.SqueezeExcitation()
    found = keras.ops.convert_to_numpy(layer(MAPS))
    squeeze, excite = (keras.ops.convert_to_numpy(w) for w in layer.weights)
    assert squeeze.shape == (32, 2)
    weights = sigmoid(np.maximum(MAPS.mean(axis=(1, 2)) @ squeeze, 0) @ excite)
    np.testing.assert_allclose(found, MAPS * weights[:, None, None, :], atol=1e-5)
    assert layer.count_params() == 2 * 32**2 // 16  # Hu et al.: 2 / r * C**2


def test_eca_is_its_formula():
    layer = attention.EfficientChannelAttention()
    found = keras.ops.convert_to_numpy(layer(MAPS))
    kernel = keras.ops.convert_to_numpy(layer.weights[0])[:, 0, 0]
    means = np.pad(MAPS.mean(axis=(1, 2)), ((0, 0), (1, 1)))
    mixed = sum(kernel[k] * means[:, k : k + 32] for k in range(3))
    np.testing.assert_allclose(found, MAPS * sigmoid(mixed)[:, None, None, :], atol=1e-5)
    assert layer.count_params() == 3


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


@pytest.mark.slow
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
    with pytest.raises(ModelError, match="feature maps"):
        attention.SqueezeExcitation().build((None, 32))
    with pytest.raises(ModelError, match="feature maps"):
        attention.EfficientChannelAttention().build((None, 32))


def chapter_cell(text):
    cells = nbformat.read(CHAPTER, as_version=4).cells
    return next(c.source for c in cells if c.cell_type == "code" and text in c.source)


@pytest.mark.parametrize("name", ["SqueezeExcitation", "EfficientChannelAttention"])
@pytest.mark.parametrize("channels", [8, 32, 256])
def test_the_chapter_shows_the_layers_that_are_shipped(name, channels):
    """Cells of chapter 09 are run as they stand on the page."""
    page = {"keras": keras}
    exec(chapter_cell("class SqueezeExcitation("), page)
    exec(chapter_cell("class EfficientChannelAttention("), page)
    maps = RNG.normal(size=(3, 4, 4, channels)).astype(np.float32)
    shown, shipped = page[name](seed=7), getattr(attention, name)(seed=7)
    results = [keras.ops.convert_to_numpy(layer(maps)) for layer in (shown, shipped)]
    np.testing.assert_array_equal(*results)
    assert [w.shape for w in shown.weights] == [w.shape for w in shipped.weights]
    assert [w.name for w in shown.weights] == [w.name for w in shipped.weights]


@pytest.mark.slow
def test_attention_leaves_the_custom_cnns_first_weights_as_they_are():
    page = {"keras": keras, "side": 48, "SEED": 24, "PROFILE": "full", "attention": attention}
    exec(chapter_cell("def custom_cnn_with("), page)
    plain = custom_cnn.build(48, 24)
    for name, model in page["models"].items():
        for layer in plain.layers:
            same = model.get_layer(layer.name).get_weights()
            assert all(map(np.array_equal, layer.get_weights(), same)), (name, layer.name)
    added = [page["models"][name].count_params() - plain.count_params() for name in page["kinds"]]
    assert added == [0, sum(2 * c * (c // 16) for c in (32, 64, 128, 256)), 3 + 3 + 5 + 5]


def preprocess(image, way):
    ways = {
        "tf": lambda x: x / np.float32(127.5) - 1,
        "caffe": lambda x: x[..., ::-1] - np.float32([103.939, 116.779, 123.68]),
        "own": lambda x: x,
    }
    if way not in ways:
        raise ValueError(way)
    return ways[way](image.astype(np.float32))


def worth(costs, scores, strict=True):
    pairs = list(zip(costs, scores, strict=True))
    kept = [
        i
        for i, (c, s) in enumerate(pairs)
        if not any(d <= c and t >= s and ((d, t) != (c, s) or not strict) for d, t in pairs)
    ]
    return sorted(kept, key=lambda i: costs[i])


class Places(keras.layers.Layer):
    """The solution of 09-d, and wrong ones: a smaller kernel, the mean alone, maps weighed."""

    def __init__(self, side=7, pictures=(keras.ops.mean, keras.ops.max), scale=1.0):
        super().__init__()
        self.side, self.pictures, self.scale = side, pictures, scale

    def build(self, shape):
        self.convolution = keras.layers.Conv2D(
            1, self.side, padding="same", activation="sigmoid", kernel_initializer="glorot_normal"
        )
        self.convolution.build((*shape[:-1], len(self.pictures)))

    def call(self, maps):
        pictures = [f(maps, axis=-1, keepdims=True) for f in self.pictures]
        weights = self.convolution(keras.ops.concatenate(pictures, axis=-1))
        return self.scale * maps * weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "right", "wrongs"),
    [
        (
            "09-a",
            preprocess,
            [
                lambda x, way: preprocess(x[..., ::-1], way),
                lambda x, way: preprocess(x, way) if way != "torch" else x,
                lambda x, way: preprocess(x, way).astype(np.float64),
                lambda x, way: preprocess(x / 255, way),
            ],
        ),
        (
            "09-b",
            worth,
            [lambda c, s: worth(c, s, strict=False), lambda c, s: list(range(len(c)))],
        ),
        ("09-c", (226_304, 61), [(113_152, 61), (61, 226_304), (226_304, 39), 7]),
        (
            "09-d",
            Places,
            [
                attention.SqueezeExcitation,
                lambda: Places(side=3),
                lambda: Places(pictures=(keras.ops.mean, keras.ops.mean)),
                lambda: Places(pictures=(keras.ops.max,)),
                lambda: Places(scale=9.0),
                lambda: lambda maps: maps,
            ],
        ),
    ],
)
def test_exercises_of_chapter_09_know_right_from_wrong(name, right, wrongs, capsys):
    check(name, right)
    assert "solved." in capsys.readouterr().out
    for wrong in wrongs:
        check(name, wrong)
        assert "not solved yet" in capsys.readouterr().out


def test_a_network_with_attention_is_loaded_where_its_module_was_imported(tmp_path, monkeypatch):
    """In a fresh process nothing has registered the layers' kinds; the import does."""
    image = keras.Input((8, 8, 3))
    x = attention.SqueezeExcitation(name="first")(image)
    x = attention.EfficientChannelAttention(name="second")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))
    model.save(tmp_path / "model.keras")
    for kind in ("SqueezeExcitation", "EfficientChannelAttention"):
        monkeypatch.delitem(keras.saving.get_custom_objects(), f"course>{kind}")
    monkeypatch.delitem(sys.modules, attention.__name__)
    importlib.import_module(attention.__name__)
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.count_params() == model.count_params()
