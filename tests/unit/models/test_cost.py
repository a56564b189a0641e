"""Multiply-adds against the figures that the networks' own papers print."""

import pytest

keras = pytest.importorskip("keras")

from helpers.base.errors import ModelError  # noqa: E402
from helpers.models import cost  # noqa: E402

#: Network, side, parameters as Keras documents them, millions of multiply-adds, source.
PRINTED = [
    ("MobileNetV2", 224, 3_538_984, 300, "Sandler et al. 2018, 10.1109/CVPR.2018.00474, table 4"),
    ("MobileNet", 224, 4_253_864, 569, "Howard et al. 2017, arXiv 1704.04861, table 4"),
    ("ResNet50", 224, 25_636_712, 3_860, "He et al. 2016, 10.1109/CVPR.2016.90: 3.8 billion"),
    ("VGG16", 224, 138_357_544, 15_470, "Simonyan & Zisserman 2015, arXiv 1409.1556"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side", "parameters", "millions", "source"), PRINTED)
def test_networks_cost_what_their_papers_print(name, side, parameters, millions, source):
    with keras.device("cpu"):
        model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3))
    table = cost.layers(model)
    assert table["parameters"].sum() == parameters == model.count_params()
    assert cost.multiply_adds(model) == pytest.approx(millions * 1e6, rel=0.01), source
    assert table["multiply_adds"].sum() == cost.multiply_adds(model)
    assert "InputLayer" not in set(table["kind"])


def test_layers_counted_by_hand():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((10, 10, 4)),
            layers.Conv2D(8, 3, padding="valid"),  # 8 x 8 places
            layers.DepthwiseConv2D(3, padding="same"),
            layers.SeparableConv2D(6, 5, strides=2, padding="same"),  # 4 x 4 places
            layers.Conv2D(6, 3, groups=3, padding="same"),
            layers.Conv2DTranspose(2, 2, strides=2),  # from 4 x 4 places
            layers.BatchNormalization(),
            layers.Reshape((8, 16)),
            layers.Dense(5),  # at 8 steps
            layers.LSTM(3),
            layers.Dense(1),
        ]
    )
    counted = cost.layers(model)["multiply_adds"].tolist()
    assert counted == [
        64 * 9 * 4 * 8,
        64 * 9 * 8,
        16 * (25 * 8 + 8 * 6),
        16 * 9 * 2 * 6,
        16 * 4 * 6 * 2,
        0,
        0,
        8 * 16 * 5,
        8 * 4 * 3 * (5 + 3),
        3,
    ]


def test_nested_networks_are_looked_into():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 1, name="inside")])
    image = keras.Input((8, 8, 3))
    outer = keras.Model(image, keras.layers.Flatten(name="flat")(inner(image)))
    table = cost.layers(outer).set_index("layer")
    assert list(table.index) == ["inside", "flat"]
    assert table.loc["inside", "multiply_adds"] == 64 * 12
    assert table.loc["inside", "output"] == (8, 8, 4)


def test_what_cannot_be_counted_is_said():
    open_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    with pytest.raises(ModelError, match="depend on the size"):
        cost.multiply_adds(open_size)
    with pytest.raises(ModelError, match="not built"):
        cost.layers(keras.Sequential([keras.layers.Dense(2)]))

    class Own(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(name="kernel", shape=(shape[-1],))

        def call(self, x):
            return x * self.kernel

    with pytest.raises(ModelError, match="kind Own"):
        cost.multiply_adds(keras.Sequential([keras.Input((3,)), Own()]))
