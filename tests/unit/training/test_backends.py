"""The same recipes on JAX: the same predictions of the same weights, and they train.

Where JAX is not installed these tests skip, saying so; COURSE_BACKEND_PYTHON may name
another interpreter that has it.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
TOLERANCE = 1e-4

WITHOUT_TENSORFLOW = """
    import sys

    class Missing:
        @staticmethod
        def find_spec(name, *_):
            if name == "tensorflow":
                raise ModuleNotFoundError("No module named 'tensorflow'")

    sys.meta_path.insert(0, Missing)
"""

PREDICT = """
    import json, sys
    import keras, numpy as np
    from helpers.training import zoo
    images = np.load(sys.argv[1])
    found = {"backend": keras.backend.backend()}
    for path in sys.argv[2:]:
        model = zoo.load_model(path)
        found[model.name] = zoo._scores(model, images, 5).tolist()
    print(json.dumps(found))
"""
MAKE = """
    import sys
    import numpy as np
    from helpers.models import custom_cnn, transfer
    from helpers.training import zoo
    folder = sys.argv[1]
    recipe = transfer.Recipe("mobilenetv2_035", dropout=0.5, augment=True)
    whole = transfer.build(recipe, 96)
    custom = custom_cnn.build(96, augment=True)
    for model in (whole, custom):  # whose scores would all be near 0.5
        last = model.get_layer("probability")
        last.set_weights([10 * weight for weight in last.get_weights()])
    whole.save(f"{folder}/transfer.keras")
    custom.save(f"{folder}/custom.keras")
"""
TRAIN = """
    import json
    import keras
    from helpers import datasets, training
    from helpers import images as image_files
    from helpers.base import settings
    from helpers.catalog import splitting
    from helpers.training import zoo
    from helpers.models import custom_cnn, transfer
    course = settings.read("phantom", "smoke")
    table = splitting.split_by_subject(datasets.load("phantom", None, "smoke"))
    recipe = transfer.RECIPES["mobilenetv2_from_block16"]
    run = zoo.load_or_train(recipe, table, course)
    scores = zoo.predict(run.model, table[table["split"] == "test"])["score"]
    again = zoo.load_or_train(recipe, table, course)
    small = training.fit(
        custom_cnn.build(48), table, image_files.load_images(table, 48), course, "custom_cnn"
    )
    print(json.dumps({
        "backend": run.record["software"]["backend"],
        "stages": run.history["stage"].tolist(),
        "losses": run.history["val_loss"].tolist() + small.history["val_loss"].tolist(),
        "scores": scores.tolist(),
        "loaded": bool(again.history.equals(run.history)),
    }))
"""


LESSON = """
    import json
    import helpers.models  # before Keras, to keep TensorFlow quiet
    import keras
    import numpy as np
    from scipy.special import expit
    from tests.unit.chapter_page import run

    names = {"keras": keras, "np": np, "SEED": 24, "expit": expit}
    page = run("05", "def build(", "def on_scores", **names)
    images = np.random.default_rng(0).integers(0, 120, (64, 54, 54, 3), dtype=np.uint8)
    truth = np.tile([[0.0], [1.0]], (32, 1)).astype("float32")
    found = {}
    for name in ("on_scores", "on_logits"):
        losses, moved, scores = page["train_sure"](page[name], images, truth, 20)
        found[name] = [*losses, float(moved), float(np.ptp(scores))]
    print(json.dumps({"backend": keras.backend.backend(), **found}))
"""


def run(backend, code, *words, artifacts):
    """Run `code` in a process of its own on a backend; return what it prints last.

    On another backend TensorFlow cannot be imported, as where it is not installed.
    """
    python = sys.executable
    if backend != "tensorflow":
        python = os.environ.get("COURSE_BACKEND_PYTHON") or python
        found = subprocess.run([python, "-c", f"import {backend}"], capture_output=True, text=True)
        if found.returncode:
            reason = (found.stderr.strip().splitlines() or ["it cannot be imported"])[-1]
            pytest.skip(f"{backend} is not installed beside the course: {reason}")
    env = {**os.environ, "KERAS_BACKEND": backend, "COURSE_ARTIFACTS": str(artifacts)}
    env["PYTHONPATH"] = str(ROOT)
    if (SHARED / "weights").is_dir():
        env["WEIGHTS_DIR"] = str(SHARED / "weights")
    start = "" if backend == "tensorflow" else WITHOUT_TENSORFLOW
    done = subprocess.run(
        [python, "-c", textwrap.dedent(start) + textwrap.dedent(code), *map(str, words)],
        cwd=artifacts,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two networks as TensorFlow saves them, images, and TensorFlow's predictions."""
    folder = tmp_path_factory.mktemp("backends")
    images = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), dtype=np.uint8)
    images = np.repeat(np.repeat(images, 8, axis=1), 8, axis=2)
    np.save(folder / "images.npy", images)
    run("tensorflow", MAKE, folder, artifacts=folder)
    files = [folder / "images.npy", folder / "transfer.keras", folder / "custom.keras"]
    return files, run("tensorflow", PREDICT, *files, artifacts=folder)


@pytest.mark.parametrize("backend", ["jax"])
def test_predictions_are_tensorflows(made, backend, tmp_path):
    files, expected = made
    found = run(backend, PREDICT, *files, artifacts=tmp_path)
    assert (found.pop("backend"), expected["backend"]) == (backend, "tensorflow")
    assert set(found) == {"mobilenetv2_035", "custom_cnn"}
    for name, scores in found.items():
        assert np.std(scores) > 1e-3  # not one value for all
        np.testing.assert_allclose(scores, expected[name], atol=TOLERANCE)


@pytest.mark.parametrize("backend", ["jax"])
def test_recipes_train_in_the_smoke_profile(backend, tmp_path):
    found = run(backend, TRAIN, artifacts=tmp_path)
    assert found["backend"] == backend
    assert found["stages"] == [1, 1, 2]
    assert np.isfinite(found["losses"]).all()
    assert all(0 < score < 1 for score in found["scores"])
    assert found["loaded"]


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_lesson_of_chapter_05_is_true(backend, tmp_path):
    found = run(backend, LESSON, artifacts=tmp_path)
    assert found["backend"] == backend
    *losses, moved, spread = found["on_scores"]
    assert (np.ptp(losses), moved, spread) == (0, 0, 0)  # nothing moves, to the last bit
    *losses, moved, spread = found["on_logits"]
    assert losses[-1] < losses[0] / 2
    assert moved > 1e-3
    assert spread > 0


DRAW = """
    import json
    import helpers.models  # before Keras, to keep TensorFlow quiet
    import keras
    import numpy as np
    from helpers.models import autoencoder, gan

    images = np.random.default_rng(0).integers(0, 256, (8, 13, 13, 3), dtype=np.uint8)
    draw, judge = gan.generator(13), gan.discriminator(13)
    judge.layers[-2].rate = judge.layers[2].stddev = 0  # they draw other random numbers,
    for model in (draw, judge):  # also for the first weights
        numbers = np.random.default_rng(1)
        model.set_weights([0.05 * numbers.normal(size=w.shape) for w in model.get_weights()])
    history = gan.train(draw, judge, images, 3)
    vae = autoencoder.build(13, 3, variational=True)
    losses = {"picture": autoencoder.pixel_loss, "moments": autoencoder.kl_loss}
    vae.compile("adam", losses)
    truth = {"picture": images / np.float32(255), "moments": np.zeros((8, 6), "float32")}
    log = vae.fit(images, truth, epochs=2, verbose=0)
    vae.save("vae.keras")
    kept = keras.saving.load_model("vae.keras", compile=False).predict(images, verbose=0)
    same = np.allclose(kept["moments"], vae.predict(images, verbose=0)["moments"], atol=1e-5)
    print(json.dumps({
        "backend": keras.backend.backend(), "history": history[-1], "kept": bool(same),
        "vae": log.history["loss"], "kl": log.history["moments_loss"],
    }))
"""


def test_the_networks_that_draw_train_alike(tmp_path):
    found = {name: run(name, DRAW, artifacts=tmp_path) for name in ("tensorflow", "jax")}
    for name, one in found.items():
        assert one["backend"] == name
        assert one["kept"]
        assert np.isfinite(one["vae"]).all()
        assert one["kl"][-1] >= 0
    for key, value in found["tensorflow"]["history"].items():
        assert found["jax"]["history"][key] == pytest.approx(value, abs=5e-3), key
