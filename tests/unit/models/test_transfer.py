"""Transfer learning: recipes as data, backbones as Keras has them, what a stage trains."""

import dataclasses
import warnings

import h5py
import numpy as np
import pytest

from helpers.base.errors import ModelError
from helpers.images import loading as image_files
from helpers.models import transfer, weights
from tests.conftest import SHARED
from tests.unit.squares import SIZE
from tests.unit.tiny_backbone import tiny  # noqa: F401 - a fixture

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

RANDOM = weights.Weights(None, "random", "")
#: Parameters without top as keras.io/api/applications counts them, and features.
PUBLISHED = {
    "resnet50": (23_587_712, 2048),
    "mobilenetv2": (2_257_984, 1280),
    "mobilenetv2_035": (410_208, 1280),
    "mobilenet": (3_228_864, 1024),
    "xception": (20_861_480, 2048),
    "inceptionv3": (21_802_784, 2048),
    "vgg16": (14_714_688, 512),
    "efficientnetv2b0": (5_919_312, 1280),
}
#: Where each backbone's images are preprocessed in ``keras.applications``.
PREPROCESS = {
    "resnet50": keras.applications.resnet50.preprocess_input,
    "mobilenetv2": keras.applications.mobilenet_v2.preprocess_input,
    "mobilenetv2_035": keras.applications.mobilenet_v2.preprocess_input,
    "mobilenet": keras.applications.mobilenet.preprocess_input,
    "xception": keras.applications.xception.preprocess_input,
    "inceptionv3": keras.applications.inception_v3.preprocess_input,
    "vgg16": keras.applications.vgg16.preprocess_input,
    "efficientnetv2b0": keras.applications.efficientnet_v2.preprocess_input,
}


def run(model, images):
    """Return what the model makes of the images, without compiling it first."""
    return keras.ops.convert_to_numpy(model(images.astype(np.float32), training=False))


class TestRecipes:
    @pytest.mark.parametrize("profile", ["smoke", "quick", "full"])
    @pytest.mark.parametrize("name", transfer.RECIPES)
    def test_a_profile_shortens_and_never_lengthens(self, name, profile):
        recipe = transfer.RECIPES[name]
        short = transfer.for_profile(recipe, profile)
        assert transfer.for_profile(short, profile) == short
        assert [s.trainable for s in short.stages] == [s.trainable for s in recipe.stages]
        assert all(a.epochs <= b.epochs for a, b in zip(short.stages, recipe.stages, strict=True))
        assert transfer.size_for(short, profile) >= transfer.REGISTRY[short.backbone].minimum
        if profile == "full":
            assert short == recipe
        else:
            assert short.backbone != "mobilenetv2"

    def test_the_papers_figures_stand_beside_their_recipes(self):
        published = {name: recipe.published for name, recipe in transfer.RECIPES.items()}
        assert published["resnet50_cut_all"] == 0.9348
        assert published["mobilenetv2_from_block10"] == 0.8734
        assert published["resnet50_frozen_flatten"] == 0.808
        assert published["vgg16_frozen"] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", transfer.REGISTRY)
def test_preprocessing_is_that_of_keras_applications(name):
    """On real frames, or on noise where there are none."""
    files = sorted(SHARED.glob("cnmc/**/*.bmp"))[:2]
    frames = [image_files.read_image(file) for file in files]
    frames.append(np.random.default_rng(0).integers(0, 256, (450, 450, 3), dtype=np.uint8))
    batch = np.stack(frames)
    given = keras.Input((450, 450, 3))
    layers = transfer._preprocess(given, transfer.REGISTRY[name].preprocessing)
    ours = run(keras.Model(given, layers), batch)
    theirs = PREPROCESS[name](batch.astype(np.float32))
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


class TestTiny:
    """What holds of any backbone, on one that is built at once."""

    def build(self, seed=24, **changes):
        recipe = transfer.Recipe("tiny", **{"head": (4,), "dropout": 0.5, **changes})
        return transfer.build(recipe, SIZE, seed, RANDOM), recipe

    def test_from_raw_rgb_to_a_probability_the_same_from_the_same_seed(self, tiny):  # noqa: F811
        images = tiny[2][:5]
        models = [self.build(seed)[0] for seed in (1, 1, 2)]
        first, second, other = (run(model, images) for model in models)
        assert first.shape == (5, 1)
        assert ((first > 0) & (first < 1)).all()
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)

    @pytest.mark.parametrize("cut", ["", "relu2"])
    @pytest.mark.parametrize("pooling", ["avg", "flatten"])
    @pytest.mark.slow
    def test_the_extractor_and_the_head_make_up_the_whole(self, tiny, cut, pooling):  # noqa: F811
        images = tiny[2][:5]
        model, recipe = self.build(cut=cut, pooling=pooling, augment=True)
        features = run(transfer.extractor(model), images)
        side = 7 if cut else 3
        assert features.shape == (5, 6 if pooling == "avg" else 6 * side * side)
        head = transfer.head(recipe, features.shape[1:], seed=7)
        transfer.copy_head(model, head)
        whole = run(model, images)
        np.testing.assert_allclose(run(head, features), whole, atol=1e-6)
        same = transfer.head(recipe, features.shape[1:], seed=24)
        for ours, theirs in zip(same.get_weights(), head.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_a_stage_trains_what_it_says(self, tiny):  # noqa: F811
        model, _ = self.build()
        head = 4  # two kernels and two biases
        counts = {"head": (0, 0), "conv3": (1, 3), "bn2": (1, 5), "conv1": (3, 9), "all": (3, 9)}
        for where, (without, with_normalisation) in counts.items():
            transfer.set_trainable(model, where)
            assert len(model.trainable_variables) == head + without, where
            transfer.set_trainable(model, where, frozen_statistics=False)
            assert len(model.trainable_variables) == head + with_normalisation, where
        with pytest.raises(ModelError, match=r"no layer 'conv4'; similar names: .*conv3"):
            transfer.set_trainable(model, "conv4")

    def test_what_is_trainable_is_kept_in_a_file(self, tiny, tmp_path):  # noqa: F811
        model, _ = self.build(augment=True)
        transfer.set_trainable(model, "conv3")
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        assert [v.path.split("/")[-2] for v in loaded.trainable_variables] == [
            v.path.split("/")[-2] for v in model.trainable_variables
        ]
        np.testing.assert_array_equal(run(loaded, tiny[2][:5]), run(model, tiny[2][:5]))

    @pytest.mark.parametrize("frozen", [True, False])
    def test_statistics_move_only_where_the_recipe_lets_them(self, tiny, frozen):  # noqa: F811
        """By the layers' flags: Keras 3 does not heed ``backbone(x, training=False)``."""
        model, _ = self.build(frozen_statistics=frozen)
        transfer.set_trainable(model, "conv2", frozen)
        norms = [model.get_layer("backbone").get_layer(f"bn{place}") for place in (1, 2, 3)]
        before = [keras.ops.convert_to_numpy(norm.moving_mean) for norm in norms]
        model(tiny[2][:8].astype("float32"), training=True)
        moved = [
            not np.array_equal(old, keras.ops.convert_to_numpy(norm.moving_mean))
            for old, norm in zip(before, norms, strict=True)
        ]
        # The first one lies before the tuned layers: it is frozen either way.
        assert moved == ([False] * 3 if frozen else [False, True, True])

    def test_random_weights_neither_fade_nor_grow(self, tiny):  # noqa: F811
        model, _ = self.build()
        features = run(transfer.extractor(model), tiny[2])
        assert 0.01 < features.std() < 10

    @pytest.mark.parametrize(
        ("changes", "size", "match"),
        [
            ({"backbone": "alexnet"}, SIZE, "backbone is 'alexnet', but must be one of"),
            ({"pooling": "max"}, SIZE, "pooling is 'max'"),
            ({"cut": "conv9"}, SIZE, "tiny has no layer 'conv9'"),
            ({}, 15, "tiny needs images of at least 16 pixels, got 15"),
        ],
    )
    def test_a_recipe_that_cannot_be_built_is_refused(self, tiny, changes, size, match):  # noqa: F811
        recipe = dataclasses.replace(transfer.Recipe("tiny"), **changes)
        with pytest.raises(ModelError, match=match):
            transfer.build(recipe, size, 24, RANDOM)


@pytest.mark.slow
@pytest.mark.parametrize("name", transfer.REGISTRY)
def test_a_backbone_is_the_one_of_keras_applications(name, tmp_path):
    """Parameters, shapes, cut points, smallest side, and the way through a file."""
    entry = transfer.REGISTRY[name]
    parameters, features = PUBLISHED[name]
    recipe = transfer.Recipe(name)
    model = transfer.build(recipe, entry.minimum, 24, RANDOM)
    body = model.get_layer("backbone")
    assert body.count_params() == parameters
    assert transfer.extractor(model).output_shape == (None, features)
    names = {layer.name for layer in body.layers}
    recipes = [one for one in transfer.RECIPES.values() if one.backbone == name]
    starts = {stage.trainable for one in recipes for stage in one.stages} - {"head", "all"}
    assert starts | {one.cut for one in recipes} - {""} | {entry.feature_layer} <= names
    assert transfer.feature_layer(model) == f"backbone/{entry.feature_layer}"
    images = np.random.default_rng(0).integers(
        0, 256, (3, entry.minimum, entry.minimum, 3), dtype=np.uint8
    )
    scores = model.predict(images, verbose=0)
    assert np.isfinite(scores).all()
    assert scores.std() > 0  # neither faded nor saturated without ImageNet's weights
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), scores)
    builder = getattr(keras.applications, entry.builder)
    if name != "mobilenetv2_035":  # its own smallest side is Keras' too
        with pytest.raises(ValueError, match=r"[Ii]nput size must be at least"):
            builder(input_shape=(entry.minimum - 1,) * 2 + (3,), include_top=False, weights=None)


@pytest.mark.slow
@pytest.mark.realdata
def test_the_real_weights_are_loaded_and_others_refused(monkeypatch, tmp_path):
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    monkeypatch.setenv("WEIGHTS_DIR", str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing that a page would show
        body = transfer.backbone("mobilenetv2_035", 48)
    kept = []
    with h5py.File(next(folder.glob("mobilenet*"))) as file:
        file.visititems(lambda _, item: kept.append(item[()]) if hasattr(item, "shape") else None)
    assert len(kept) == 260
    # Every array of the file is in the network, and no other is.
    assert sorted(array.tobytes() for array in kept) == sorted(
        array.tobytes() for array in body.get_weights()
    )
    # The right arrays for a narrower network, under the wider one's name.
    wrong = tmp_path / "mobilenet_v2_1.0_224_notop.weights.h5"
    wrong.write_bytes(next(folder.glob("mobilenet*")).read_bytes())
    monkeypatch.setenv("WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(ModelError, match="does not hold the weights of mobilenetv2:"):
        transfer.build(transfer.Recipe("mobilenetv2"), 48)
