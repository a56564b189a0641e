"""Every network of the course can be explained by each of the three maps."""

import numpy as np
import pytest

from helpers.explaining import maps as explaining
from helpers.models import custom_cnn, dcnn, transfer, weights
from helpers.models.layers import layers_of

SIDE = 112  # at which the last maps of each backbone have several positions
BLANK = weights.Weights(None, "random", "")
NETWORKS = {
    "custom_cnn": lambda: custom_cnn.build(SIDE),
    "dcnn": lambda: dcnn.build(SIDE, keep=np.arange(SIDE * SIDE * 3) % 3 > 0),
    **{
        name: lambda name=name: transfer.build(transfer.Recipe(name), SIDE, weights=BLANK)
        for name in transfer.REGISTRY
    },
    "resnet50, last block cut": lambda: transfer.build(
        transfer.Recipe("resnet50", cut="conv4_block6_out"), SIDE, weights=BLANK
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_has_its_maps(name):
    model = NETWORKS[name]()
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    nested = any(layer.name == "backbone" for layer in model.layers)
    layer = explaining.feature_layer(model)
    assert layer.startswith("backbone/") == nested
    # Nothing behind it convolves or normalises maps: it gives the network's last feature maps.
    paths = [path for path in layers_of(model) if path != "one_scale"]
    behind = [type(layers_of(model)[path]).__name__ for path in paths[paths.index(layer) + 1 :]]
    assert not any("Conv" in kind or "Normalization" in kind for kind in behind)
    score = model.predict(images, verbose=0)[:, 0]
    z = explaining.logits(model, images)
    np.testing.assert_allclose(1 / (1 + np.exp(-z)), score, atol=1e-4)
    maps = {
        "grad_cam": explaining.grad_cam(model, images)
        + explaining.grad_cam(model, images, positive=False),
        "occlusion": explaining.occlusion(model, images, SIDE // 2, SIDE // 2),
        "integrated_gradients": explaining.integrated_gradients(model, images, steps=2),
    }
    for method, found in maps.items():
        assert found.shape == (2, SIDE, SIDE), method
        assert np.isfinite(found).all(), method
        assert found.any(axis=(1, 2)).all(), method
