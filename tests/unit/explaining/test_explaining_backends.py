"""The same maps of the same networks on TensorFlow and JAX.

Where JAX is not installed these tests skip, saying so; COURSE_BACKEND_PYTHON
may name another interpreter that has it.
"""

import numpy as np
import pytest

from tests.unit.training import test_backends

pytestmark = pytest.mark.slow
TOLERANCE = 1e-3

MAPS = """
    import json, sys
    import keras, numpy as np
    from helpers import explaining
    from helpers.explaining import sanity
    from helpers.training import zoo
    images, target = np.load(sys.argv[1])[:3], sys.argv[2]
    found = {}
    for path in sys.argv[3:]:
        model = zoo.load_model(path)
        name = model.name
        first = sanity.weighted_layers(model)[0]
        shuffled = sanity.randomise(model, [first], seed=5)
        found |= {
            f"{name} logits": explaining.logits(model, images),
            f"{name} shuffled": explaining.logits(shuffled, images),
            f"{name} grad_cam": explaining.grad_cam(model, images),
            f"{name} signed": explaining.grad_cam(model, images)
            - explaining.grad_cam(model, images, positive=False),
            f"{name} occlusion": explaining.occlusion(model, images[:2], 24, 24),
            f"{name} integrated": explaining.integrated_gradients(model, images[:2], steps=4),
        }
    np.savez(target, **found)
    print(json.dumps({"backend": keras.backend.backend(), "maps": len(found)}))
"""
PAGE = """
    import json, sys
    import numpy as np
    from helpers import explaining
    from helpers.training import zoo
    from tests.unit.chapter_page import run

    images = np.load(sys.argv[1])[:3]
    model = zoo.load_model(sys.argv[2])
    page = run("16", "def slopes_of", "def grad_cam", np=np, explaining=explaining)
    found = page["grad_cam"](model, images, model.get_layer("pool").input)
    same = np.allclose(found, explaining.grad_cam(model, images), atol=1e-3 * found.max())
    print(json.dumps({"same": bool(same), "highest": float(found.max())}))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two networks, a flat and a nested one, images, and TensorFlow's maps."""
    folder = tmp_path_factory.mktemp("explaining")
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
    np.save(folder / "images.npy", np.repeat(np.repeat(images, 8, axis=1), 8, axis=2))
    test_backends.run("tensorflow", test_backends.MAKE, folder, artifacts=folder)
    networks = [folder / "transfer.keras", folder / "custom.keras"]
    return folder / "images.npy", networks, maps_on("tensorflow", folder, networks, folder)


def maps_on(backend, images, networks, folder):
    images = images / "images.npy" if images.is_dir() else images
    target = folder / f"{backend}.npz"
    found = test_backends.run(backend, MAPS, images, target, *networks, artifacts=folder)
    assert found == {"backend": backend, "maps": 12}
    with np.load(target) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.mark.parametrize("backend", ["jax"])
def test_maps_are_tensorflows(made, backend, tmp_path):
    images, networks, expected = made
    found = maps_on(backend, images, networks, tmp_path)
    assert set(found) == set(expected)
    for name, wanted in expected.items():
        size = np.abs(wanted).max()
        assert size > 0, name
        assert found[name].dtype == wanted.dtype
        if name.endswith("integrated"):
            # A point on the way may lie on the kink of a ReLU: there the last bit decides the
            # slope, so a few pixels may differ by a percent, while the map as a whole may not.
            assert np.abs(found[name] - wanted).mean() <= 0.01 * np.abs(wanted).mean(), name
            continue
        np.testing.assert_allclose(found[name] / size, wanted / size, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_page_of_chapter_16_runs_on_it(made, backend, tmp_path):
    images, (nested, _), _ = made
    found = test_backends.run(backend, PAGE, images, nested, artifacts=tmp_path)
    assert found["same"]
    assert found["highest"] > 0
