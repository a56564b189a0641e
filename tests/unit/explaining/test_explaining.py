"""Maps: known answers, and the same ones for flat and nested networks."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from helpers.base.errors import CourseError, ExplainError
from helpers.explaining import maps as explaining
from helpers.explaining import overlays, sanity
from helpers.models import custom_cnn, dcnn

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
layers = keras.layers
SIDE = 12
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(1, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)


def linear():
    """A network whose logit is a weighted sum of the pixels, and its weights."""
    image = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.Flatten()(image)))
    weights = np.random.default_rng(1).normal(0, 0.01, (SIDE, SIDE, 3)).astype(np.float32)
    model.layers[-1].set_weights([weights.reshape(-1, 1), np.array([0.3], np.float32)])
    return model, weights


def body_on(x):
    """Put convolutions, normalised, with a shortcut, on a tensor."""
    x = first = layers.Conv2D(6, 3, padding="same", activation="relu", name="first")(x)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="second")(x)
    x = layers.BatchNormalization(name="norm")(x)
    return layers.ReLU(name="end")(layers.Add(name="sum")([x, first]))


def body():
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(image, body_on(image), name="backbone")


def twins():
    """The same network twice: with a backbone inside, and flat."""
    keras.utils.set_random_seed(3)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 255, name="scale")(image)
    x = layers.GlobalAveragePooling2D(name="pool")(body()(x))
    x = layers.Dense(1, activation="sigmoid", name="probability")(layers.Dropout(0.5)(x))
    nested = keras.Model(image, x, name="nested")
    image = keras.Input((SIDE, SIDE, 3))
    x = body_on(layers.Rescaling(1 / 255, name="scale")(image))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    flat = keras.Model(image, layers.Dense(1, activation="sigmoid")(x), name="flat")
    flat.set_weights(nested.get_weights())
    return nested, flat


def signed_cam(model, images, layer=None, **options):
    """Return Grad-CAM's map before negative values are set to zero."""
    return np.subtract(
        *(
            explaining.grad_cam(model, images, layer, positive=positive, **options)
            for positive in (True, False)
        )
    )


def cam(model, images):
    return explaining.grad_cam(model, images, "end")


def spot_finder():
    """A hand-made network that answers to a bright square of 3 x 3 pixels, anywhere."""
    image = keras.Input((24, 24, 3))
    x = layers.Conv2D(1, 3, padding="same", activation="relu", name="square")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(x))
    model.get_layer("square").set_weights(
        [np.full((3, 3, 3, 1), 1 / 27, np.float32), np.array([-100.0], np.float32)]
    )
    model.layers[-1].set_weights([np.ones((1, 1), np.float32), np.zeros(1, np.float32)])
    return model


def test_the_logit_is_what_the_sigmoid_gets():
    model, weights = linear()
    z = explaining.logits(model, IMAGES)
    np.testing.assert_allclose(z, (IMAGES * weights).sum(axis=(1, 2, 3)) + 0.3, rtol=1e-4)
    scores = keras.ops.convert_to_numpy(model(IMAGES.astype(np.float32)))[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-z)), scores, atol=1e-5)


def test_a_saturated_score_still_has_a_map():
    model, weights = linear()
    model.layers[-1].set_weights([1000 * weights.reshape(-1, 1), np.zeros(1, np.float32)])
    z = explaining.logits(model, IMAGES)
    assert np.abs(z).max() > 200  # where float32 knows no score but 0 and 1
    parts = explaining.integrated_gradients(model, IMAGES, steps=2)
    np.testing.assert_allclose(parts.sum(axis=(1, 2)), z, rtol=1e-3)


def test_integrated_gradients_of_a_linear_network_are_weights_times_input():
    model, weights = linear()
    found = explaining.integrated_gradients(model, IMAGES, steps=3)
    np.testing.assert_allclose(found, (IMAGES * weights).sum(axis=-1), atol=1e-3)


@pytest.mark.slow
def test_integrated_gradients_are_complete():
    model = custom_cnn.build(27, 3)
    images = RNG.integers(0, 256, (2, 27, 27, 3), dtype=np.uint8)
    black = np.zeros_like(images[:1])
    wanted = explaining.logits(model, images) - explaining.logits(model, black)
    gaps = {
        steps: np.abs(
            explaining.integrated_gradients(model, images, steps=steps).sum(axis=(1, 2)) - wanted
        ).max()
        for steps in (1, 128, 1024)
    }
    # The layer that brings features to one scale bends the path near black: many steps.
    assert gaps[1024] < 0.03 * np.abs(wanted).max(), gaps
    assert gaps[1024] < gaps[128] < gaps[1]


def test_steps_are_doubled_until_a_map_is_complete_and_else_it_is_told(capsys, monkeypatch):
    bias = keras.initializers.RandomNormal(stddev=200, seed=2)  # so that the path is bent
    image = keras.Input((SIDE, SIDE, 3))
    start = keras.initializers.GlorotUniform(seed=1)
    x = keras.layers.Dense(9, "relu", kernel_initializer=start, bias_initializer=bias)(
        keras.layers.Flatten()(image)
    )
    answer = keras.layers.Dense(1, "sigmoid", kernel_initializer=start)(x)
    model = keras.Model(image, answer)
    wanted = explaining.logits(model, IMAGES) - explaining.logits(model, np.zeros_like(IMAGES[:1]))

    def incomplete():
        sums = explaining.integrated_gradients(model, IMAGES).sum(axis=(1, 2))
        return int((np.abs(sums - wanted) > explaining.OFF * np.abs(wanted) + 1e-3).sum())

    monkeypatch.setattr(explaining, "FEWEST_STEPS", 1)
    monkeypatch.setattr(explaining, "MOST_STEPS", 1)
    many = incomplete()
    assert many > 0
    told = capsys.readouterr().out
    assert told.startswith("Maps of integrated gradients not complete after 1 steps")
    assert f"{many} of {len(IMAGES)}." in told
    monkeypatch.setattr(explaining, "MOST_STEPS", 2048)
    assert incomplete() == 0
    assert capsys.readouterr().out == ""


def test_what_is_as_in_the_baseline_gets_nothing():
    model = custom_cnn.build(27, 3)
    image = RNG.integers(1, 256, (27, 27, 3), dtype=np.uint8)
    image[:10] = 0
    found = explaining.integrated_gradients(model, image, steps=4)
    assert found.shape == (27, 27)
    assert found.dtype == np.float32
    assert not found[:10].any()
    assert found[10:].any()


@pytest.mark.parametrize(("top", "left"), [(3, 3), (12, 16), (20, 2)])
def test_grad_cam_peaks_on_the_planted_square(top, left):
    image = np.zeros((24, 24, 3), np.uint8)
    image[top : top + 3, left : left + 3] = 255
    found = explaining.grad_cam(spot_finder(), image, "square")
    assert np.unravel_index(found.argmax(), found.shape) == (top + 1, left + 1)
    assert explaining.share_inside(found, image.any(axis=-1)) > 0.9
    # It speaks for the positive class only: nothing is left for the other one.
    assert not explaining.grad_cam(spot_finder(), image, "square", positive=False).any()


@pytest.mark.slow
def test_grad_cam_is_the_papers_formula():
    _, flat = twins()
    end, last = flat.get_layer("end"), flat.layers[-1]
    maps = keras.Model(flat.input, end.output).predict(IMAGES, verbose=0)
    back = keras.Model(end.output, last.input)
    slopes = explaining.gradient(lambda maps: keras.ops.matmul(back(maps), last.kernel)[:, 0], maps)
    wanted = (maps * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1)
    found = signed_cam(flat, IMAGES, "end", enlarge=False)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    rectified = explaining.grad_cam(flat, IMAGES, "end", enlarge=False)
    np.testing.assert_allclose(rectified, np.maximum(wanted, 0), atol=1e-6)
    # Behind a global mean all positions have the same slope: the map adds up to the logit,
    # but for the bias.
    np.testing.assert_allclose(
        found.sum(axis=(1, 2)) + float(last.get_weights()[1][0]),
        explaining.logits(flat, IMAGES),
        atol=1e-4,
    )


@pytest.mark.slow
def test_a_nested_network_has_the_maps_of_its_flat_twin():
    nested, flat = twins()
    for layer in ("first", "second", "end"):
        a, b = (explaining.grad_cam(model, IMAGES, layer) for model in (nested, flat))
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert a.any()
    for method in (explaining.occlusion, explaining.integrated_gradients):
        a, b = (method(model, IMAGES) for model in (nested, flat))
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_course_networks_name_their_last_map():
    assert explaining.feature_layer(custom_cnn.build(96, augment=True)) == "conv4"
    assert explaining.feature_layer(custom_cnn.build(54)) == "conv4"
    assert explaining.feature_layer(custom_cnn.build(48)) == "conv3"  # conv4 has one position
    assert explaining.feature_layer(dcnn.build(12)) == "conv2"


def test_a_network_of_ones_own_names_a_layer():
    nested, flat = twins()
    candidates = "'backbone/first' or 'backbone/second' or 'backbone/end'"
    with pytest.raises(ExplainError, match=f"nested are not known: name a layer, .*{candidates}"):
        explaining.grad_cam(nested, IMAGES)
    assert explaining.grad_cam(nested, IMAGES, "backbone/end").any()
    with pytest.raises(ExplainError, match="'first' or 'second' or 'end'"):
        explaining.feature_layer(flat)


@pytest.mark.parametrize("name", ["custom_cnn", "resnet50"])
def test_a_name_alone_makes_no_network_of_the_course(name):
    _, flat = twins()
    other = keras.Model(flat.input, flat.output, name=name)
    with pytest.raises(ExplainError, match=f"{name} are not known: .*'end'"):
        explaining.feature_layer(other)


def test_a_layer_that_is_used_twice_is_refused():
    image = keras.Input((SIDE, SIDE, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="twice")
    x = layers.Flatten()(twice(twice(image)))
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(x))
    with pytest.raises(ExplainError, match="used 2 times"):
        explaining.grad_cam(model, IMAGES, "twice")


def test_occlusion_of_a_mean_detector():
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(x))
    model.layers[-1].set_weights([np.full((3, 1), 1 / 3, np.float32), np.zeros(1, np.float32)])
    found = explaining.occlusion(model, IMAGES, patch=3, stride=3)
    # Covered with the mean colour, a square takes its difference from it out of the mean.
    centred = IMAGES - IMAGES.mean(axis=(1, 2), keepdims=True)
    squares = centred.reshape(3, 4, 3, 4, 3, 3).sum(axis=(2, 4, 5))
    wanted = np.kron(squares / (SIDE * SIDE * 3), np.ones((3, 3)))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    # Each pixel has the mean of the squares over it, also where the last overlaps.
    uneven = explaining.occlusion(model, IMAGES[0], patch=5, stride=5)
    fall = {
        (y, x): centred[0, y : y + 5, x : x + 5].sum() / (SIDE * SIDE * 3)
        for y in (0, 5, 7)
        for x in (0, 5, 7)
    }
    assert uneven.shape == (SIDE, SIDE)
    assert uneven[0, 6] == pytest.approx(fall[0, 5], abs=1e-3)
    assert uneven[0, 8] == pytest.approx((fall[0, 5] + fall[0, 7]) / 2, abs=1e-3)
    assert not explaining.occlusion(model, np.full_like(IMAGES, 90)).any()  # its own colour


def test_black_ground_stays_black():
    model, weights = linear()
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[4:8, 4:8] = 200
    image[4:6, 4:6] = 100
    kept = explaining.occlusion(model, image, patch=2, stride=2)
    assert not kept[:4].any()
    assert kept[4:8, 4:8].all()
    fall = ((image[4:6, 4:6] - 175.0) * weights[4:6, 4:6]).sum()
    np.testing.assert_allclose(kept[4:6, 4:6], fall, rtol=1e-2, atol=1e-3)
    assert not explaining.occlusion(model, np.zeros_like(image)).any()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 64])
def test_batches_change_nothing(size, monkeypatch):
    nested, _ = twins()
    for method, options in (
        (explaining.grad_cam, {"layer": "end"}),
        (explaining.integrated_gradients, {"steps": 4}),
        (explaining.occlusion, {"patch": 6, "stride": 6}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(explaining, "_BATCH", size)
            found = method(nested, IMAGES, **options)
        np.testing.assert_allclose(found, method(nested, IMAGES, **options), atol=1e-5)
    one = explaining.grad_cam(nested, IMAGES[1], "end")
    np.testing.assert_allclose(one, explaining.grad_cam(nested, IMAGES, "end")[1], atol=1e-6)


def test_the_network_is_left_as_it_was():
    nested, _ = twins()
    before, config = nested.get_weights(), nested.to_json()
    end = nested.get_layer("backbone").get_layer("end")
    cam(nested, IMAGES)
    sanity.sanity_check(nested, IMAGES, cam, stops=2)
    assert nested.to_json() == config
    assert "call" not in vars(end)
    for a, b in zip(before, nested.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ZeroDivisionError), explaining.gradients.recorded(end, 0):
        raise ZeroDivisionError
    assert "call" not in vars(end)


@pytest.mark.slow
def test_randomise_shuffles_what_it_is_told_and_nothing_else():
    nested, _ = twins()
    names = sanity.weighted_layers(nested)
    assert names == ["probability", "backbone/second", "backbone/first"]
    made = sanity.randomise(nested, ["second"], seed=5)
    again = sanity.randomise(nested, ["backbone/second", "probability"], seed=5)
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(nested.get_weights(), made.get_weights(), strict=True)
    ]
    paths = [weight.path for weight in nested.weights]
    assert [path for path, other in zip(paths, changed, strict=True) if other] == [
        next(path for path in paths if "second" in path)
    ]
    inside = [model.get_layer("backbone").get_layer("second") for model in (nested, made, again)]
    kernel, shuffled, same = (layer.get_weights()[0] for layer in inside)
    np.testing.assert_array_equal(np.sort(kernel.ravel()), np.sort(shuffled.ravel()))
    np.testing.assert_array_equal(shuffled, same)  # whatever else is shuffled
    other = sanity.randomise(nested, ["second"], seed=6)
    assert not np.array_equal(
        shuffled, other.get_layer("backbone").get_layer("second").get_weights()[0]
    )


@pytest.mark.slow
def test_a_map_that_does_not_need_the_network_survives_the_check():
    nested, _ = twins()
    picture = sanity.sanity_check(nested, IMAGES, lambda _, images: images.mean(axis=-1))
    assert (picture["rank"] > 0.999).all()
    assert (picture["ssim"] > 0.999).all()
    assert picture["random"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    model, _ = linear()
    slopes = sanity.sanity_check(model, IMAGES, explaining.integrated_gradients)
    assert slopes["rank"].abs().max() < 0.4  # all of its map was in the weights
    alone = sanity.sanity_check(nested, IMAGES, cam, cascading=False, stops=2)
    assert alone["layer"].tolist() == ["probability"] * 3 + ["backbone/first"] * 3
    assert (alone["random"] == 1).all()


def test_similarity_has_known_ends():
    a = RNG.normal(size=(9, 9))
    assert sanity.similarity(a, 3 * a) == pytest.approx((1, 1))
    assert sanity.similarity(a, -a)[0] == pytest.approx(-1)
    assert sanity.similarity(a, np.exp(a))[0] == pytest.approx(1)  # only the order counts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(sanity.similarity(a, np.zeros((9, 9)))).all()
    # On common black ground any two maps agree; inside the cell they do not.
    cell = np.zeros((40, 40), bool)
    cell[12:28, 12:28] = True
    one, two = np.abs(np.random.default_rng(2).normal(size=(2, 40, 40))) * cell
    assert sanity.similarity(one, two)[0] > 0.7
    assert abs(sanity.similarity(one, two, cell)[0]) < 0.2


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
@trials(max_examples=40, deadline=None)
def test_shares_add_up(seed, part):
    rng = np.random.default_rng(seed)
    maps, masks = rng.normal(size=(2, 6, 7)), rng.uniform(size=(2, 6, 7)) < part
    inside, outside = (explaining.share_inside(maps, m) for m in (masks, ~masks))
    np.testing.assert_allclose(inside + outside, 1)
    even = explaining.share_inside(np.full((6, 7), -2.0), masks[0])
    assert even == pytest.approx(masks[0].mean())


def test_an_empty_map_has_no_share():
    assert np.isnan(explaining.share_inside(np.zeros((4, 4)), np.ones((4, 4), bool)))


def three_outputs():
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(image)))


def with_tanh():
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(image, layers.Dense(1, activation="tanh")(layers.Flatten()(image)))


BAD = {
    "three outputs": (lambda: explaining.logits(three_outputs(), IMAGES), "one probability"),
    "no sigmoid": (lambda: explaining.logits(with_tanh(), IMAGES), "tanh"),
    "no convolution": (lambda: explaining.grad_cam(linear()[0], IMAGES), "no convolution"),
    "unknown layer": (lambda: explaining.grad_cam(twins()[0], IMAGES, "third"), "no layer 'third'"),
    "no map": (lambda: explaining.grad_cam(twins()[0], IMAGES, "pool"), "gives no feature maps"),
    "one position": (
        lambda: explaining.grad_cam(
            custom_cnn.build(SIDE * 4), np.repeat(IMAGES, 4, 1).repeat(4, 2), "conv4"
        ),
        "more than one position",
    ),
    "wrong size": (lambda: explaining.logits(linear()[0], IMAGES[:, :9]), "takes (n, 12, 12, 3)"),
    "no images": (lambda: explaining.logits(linear()[0], IMAGES[:0]), "at least one"),
    "not numbers": (lambda: explaining.logits(linear()[0], IMAGES * np.nan), "no numbers"),
    "no steps": (
        lambda: explaining.integrated_gradients(linear()[0], IMAGES, steps=0),
        "from 1 up",
    ),
    "large square": (lambda: explaining.occlusion(linear()[0], IMAGES, 13), "13 pixels"),
    "gaps": (lambda: explaining.occlusion(linear()[0], IMAGES, 3, 4), "moved by 4"),
    "nothing to shuffle": (lambda: sanity.randomise(twins()[0], ["pool"]), "no weights"),
    "shapes": (lambda: explaining.share_inside(np.ones((3, 3)), np.ones((3, 4))), "(3, 4)"),
    "small maps": (lambda: sanity.similarity(np.ones((5, 5)), np.ones((5, 5))), "7 x 7"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_in_a_sentence(case):
    call, told = BAD[case]
    with pytest.raises(CourseError, match=re.escape(told)):
        call()


@pytest.mark.slow
def test_maps_are_drawn_with_a_scale():
    import matplotlib

    matplotlib.use("Agg")
    maps = RNG.normal(size=(3, SIDE, SIDE))
    for drawn in (maps, np.abs(maps), np.zeros_like(maps)):
        figure = overlays.show_maps(IMAGES, drawn, ["a", "b", "c"], columns=2)
        assert len(figure.axes) == 5  # two rows of two, and the scale
        assert len(figure.axes[-1].get_yticklabels()) >= 2
        figure.canvas.draw()
        matplotlib.pyplot.close(figure)
    with pytest.raises(ExplainError):
        overlays.show_maps(IMAGES, maps[:2], ["a", "b", "c"])


def test_the_layers_of_a_randomisation_are_drawn_in_their_order():
    import matplotlib

    matplotlib.use("Agg")
    rows = [(n, layer, n / 4, n / 8) for n, layer in ((1, "z"), (1, "z"), (2, "a"))]
    table = pd.DataFrame(rows, columns=["random", "layer", "rank", "rank_inside"])
    figure = overlays.randomised_layers({"one": table, "other": table})
    assert [axis.get_title() for axis in figure.axes] == ["one", "other"]
    whole, inside = figure.axes[0].lines[:2]
    assert list(whole.get_xdata()) == ["z", "a"]
    assert list(whole.get_ydata()) == [0.25, 0.5]
    assert list(inside.get_ydata()) == [0.125, 0.25]
    figure.canvas.draw()
    matplotlib.pyplot.close(figure)


def test_occlusion_speed(benchmark):
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    model = custom_cnn.build(48)
    images = RNG.integers(1, 256, (4, 48, 48, 3), dtype=np.uint8)
    benchmark(explaining.occlusion, model, images)


def test_integrated_gradients_speed(benchmark):
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    model = custom_cnn.build(48)
    images = RNG.integers(1, 256, (4, 48, 48, 3), dtype=np.uint8)
    benchmark(explaining.integrated_gradients, model, images)
