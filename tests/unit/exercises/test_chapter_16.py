"""What chapter 16 builds is what `explaining` has, and its checkers know right from wrong."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import explaining
from helpers.exercises.checking import exercises
from helpers.explaining import sanity
from helpers.models import custom_cnn
from helpers.predictions import resampling
from tests.unit.chapter_page import functions, missed, run, solutions, verdict

keras = pytest.importorskip("keras")

SIZE = 54
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.slow
def test_the_solutions_solve_the_exercises():
    answers = solutions("16", keras=keras)
    assert sorted(answers) == exercises("16") == ["16-a", "16-b", "16-c"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", name


def deletion(logit, image, drawn_map, steps, colour, *, inside=False, first=True, lift=False):
    covered = image if inside else image.copy()
    order = np.argsort(-drawn_map.ravel(), kind="stable")
    logits = [logit(covered)] if first else []
    for part in np.split(order, steps):
        if lift:
            covered = image.copy()
        covered.reshape(-1, covered.shape[-1])[part] = colour
        logits.append(logit(covered))
    return logits


def network(size, padding="same", activation=None, maps=(32, 64, 128, 256), pooling="Max"):
    layers = keras.layers
    pooling = getattr(layers, f"{pooling}Pooling2D")
    made = keras.Sequential([keras.Input((size, size, 3)), layers.Rescaling(1 / 64)])
    for kernels, pool in zip(maps, (3, 3, 3, 2), strict=True):
        made.add(layers.Conv2D(kernels, 3, padding="same", activation="relu"))
        made.add(pooling(pool, padding=padding))
    made.add(layers.GlobalAveragePooling2D())
    made.add(layers.Dense(1, activation=activation))
    return made


@pytest.mark.slow
def test_the_poolings_may_take_the_mean_as_well_as_the_largest_value():
    assert verdict("16-c", lambda size: network(size, pooling="Average")) == "solved."


#: Of each exercise: a wrong answer, and words of the line that helps.
WRONG = {
    "16-a": [
        (
            lambda m, mask: np.abs(m)[mask].sum() / np.abs(m).sum(),
            "divided by the share of the image",
        ),
        (lambda m, mask: m[mask].sum() / m.sum() / mask.mean(), "Negative values count"),
        (lambda m, mask: np.abs(m[mask]).mean() / max(np.abs(m).mean(), 1e-9), "NaN, not 0"),
        (lambda m, mask: m * mask, "one number"),
        (7, "It is a function"),
    ],
    "16-b": [
        (lambda *given: deletion(*given, inside=True), "work on a copy"),
        (lambda *given: deletion(*given, first=False), "that of the whole image"),
        (lambda *given: deletion(*given, lift=True), "stays covered"),
        (
            lambda logit, image, m, *more: deletion(logit, image, -m, *more),
            "with the smallest values",
        ),
        (
            lambda logit, image, m, *more: deletion(logit, image, np.abs(m), *more),
            "speaks against",
        ),
        (lambda logit, image, m, steps, _: deletion(logit, image, m, steps, 0), "given colour"),
        (7, "It is a function"),
    ],
    "16-c": [
        (lambda size: network(size, "valid"), "last row has influence"),
        (lambda size: network(size, activation="sigmoid"), "no sigmoid"),
        (lambda size: network(size, maps=(8, 8, 8, 8)), "four convolutions"),
        (lambda size: None, "is a `return` missing"),
        (lambda size: size, "a Keras network"),
        (7, "It is a function"),
    ],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_not_solved_and_get_a_line_that_helps(name):
    for place, (answer, words) in enumerate(WRONG[name]):
        assert words in missed(name, answer), place


def page_grad_cam():
    cells = ("def slopes_of(", "def grad_cam(")
    return run("16", *cells, np=np, explaining=explaining)["grad_cam"]


@pytest.mark.slow
@pytest.mark.parametrize("class_index", [0, 1])
def test_the_pages_grad_cam_is_the_courses(class_index):
    model = custom_cnn.build(SIZE, seed=3)
    tensor = model.get_layer(explaining.feature_layer(model)).output
    ours = page_grad_cam()(model, IMAGES, tensor, class_index)
    theirs = explaining.grad_cam(model, IMAGES, positive=class_index == 1)
    assert theirs.any()
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * theirs.max())


def nested(outputs=1):
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), layers.Conv2D(5, 3, strides=4, activation="relu")],
        name="backbone",
    )
    image = keras.Input((SIZE, SIZE, 3))
    pooled = layers.GlobalAveragePooling2D(name="pool")(inner(image))
    activation = "sigmoid" if outputs == 1 else "softmax"
    return keras.Model(image, layers.Dense(outputs, activation=activation)(pooled))


def test_the_pages_grad_cam_cuts_behind_a_backbone_but_not_inside():
    keras.utils.set_random_seed(1)
    model = nested()
    grad_cam = page_grad_cam()
    ours = grad_cam(model, IMAGES, model.get_layer("pool").input)
    theirs = explaining.grad_cam(model, IMAGES, "backbone/" + model.layers[1].layers[-1].name)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(1e-9, theirs.max()))
    with pytest.raises((ValueError, KeyError)):
        grad_cam(model, IMAGES, model.get_layer("backbone").layers[-1].output)


def test_the_pages_grad_cam_takes_the_class_index_of_a_network_with_two_outputs():
    keras.utils.set_random_seed(1)
    one, two = nested(), nested(outputs=2)
    kernel, bias = one.layers[-1].get_weights()
    two.set_weights([*one.get_weights()[:-2], np.hstack([-kernel, kernel]), np.append(-bias, bias)])
    grad_cam = page_grad_cam()
    for index in (0, 1):
        maps = [grad_cam(m, IMAGES, m.get_layer("pool").input, index) for m in (one, two)]
        np.testing.assert_allclose(*maps, atol=1e-5)


@pytest.mark.slow
def test_the_pages_integrated_gradients_are_the_courses():
    model = custom_cnn.build(SIZE, seed=3)
    last = model.layers[-1]
    page = run("16", "def slopes_of(", np=np, explaining=explaining, last=last)
    page["inside_model"] = keras.Model(model.input, last.input)
    integrate = functions("16", "integrate", **page)["integrate"]
    theirs = explaining.integrated_gradients(model, IMAGES[0], steps=16)
    np.testing.assert_allclose(integrate(IMAGES[0], 16), theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.slow
def test_the_pages_average_decides_between_grad_cam_and_hirescam():
    keras.utils.set_random_seed(1)
    page = functions("16", "cam", keras=keras, explaining=explaining)
    pooled, flat = nested(), custom_cnn.build(SIZE, seed=3)
    layer = flat.get_layer(explaining.feature_layer(flat))
    for model, tensor, equal in (
        (pooled, pooled.get_layer("pool").input, True),
        (flat, layer.output, False),
    ):
        both = [page["cam"](model, IMAGES, tensor, average) for average in (True, False)]
        assert np.allclose(*both, atol=1e-5 * np.abs(both[0]).max()) == equal


@pytest.mark.slow
def test_the_pages_shuffling_keeps_the_numbers_and_the_network():
    model = custom_cnn.build(SIZE, seed=3)
    before = [array.copy() for array in model.get_weights()]
    copy = functions("16", "forget", np=np, keras=keras, SEED=24)["forget"](model)
    for old, now, new in zip(before, model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
        np.testing.assert_array_equal(np.sort(old.ravel()), np.sort(new.ravel()))
    assert not np.allclose(copy.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


def test_the_pages_likeness_is_that_of_the_sanity_check():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(2, 4, 9, 9))
    second[1] = first[1] * 3
    second[2] = 0
    masks = rng.random((4, 9, 9)) > 0.3
    found = functions("16", "likeness", np=np, spearmanr=stats.spearmanr)["likeness"]
    alike = found(first, second, masks)
    wanted = [sanity.similarity(*one)[0] for one in zip(first, second, masks, strict=True)]
    np.testing.assert_allclose(alike, wanted)
    assert alike[1] == pytest.approx(1)
    assert np.isnan(alike[2])


def page_interval():
    course = SimpleNamespace(profile=SimpleNamespace(resamples=2000))
    names = {"np": np, "pd": pd, "SEED": 24, "course": course, "resampling": resampling}
    return functions("16", "interval", **names)["interval"]


def test_the_pages_interval_is_over_subjects_with_students_t():
    interval = page_interval()
    rng = np.random.default_rng(0)
    offset = rng.normal(size=12)
    groups = np.repeat([f"s{number}" for number in range(12)], 30)
    values = np.repeat(offset, 30) + 0.01 * rng.normal(size=len(groups))
    mean, low, high = interval(values, groups)
    assert mean == pytest.approx(values.mean())
    # Twelve subjects decide, not 360 images; the classical interval of twelve means is near.
    reach = stats.t.ppf(0.975, 11) * offset.std(ddof=1) / 12**0.5
    assert high - low == pytest.approx(2 * reach, rel=0.1)
    values[5] = np.nan
    assert np.isfinite(interval(values, groups)).all()
    assert np.isnan(interval(np.array([1.0, 2.0]), np.array(["a", "a"]))[1:]).all()
    assert np.isnan(interval(np.array([np.nan]), np.array(["a"]))).all()
    low, high = interval(np.array([0.98, 0.99, 1.0]), np.array(["a", "b", "c"]), (0, 1))[1:]
    assert 0 <= low < high <= 1


def test_the_pages_pointing_has_known_ends():
    pointing = run("16", "def pointing(", np=np)["pointing"]
    cell = np.ones((6, 6), bool)
    cell[0] = False
    changed = np.zeros((6, 6), bool)
    changed[3:5, 2:4] = True
    assert pointing(changed * 3.0, changed, cell) == 1
    assert pointing(1.0 - changed, changed, cell) == 0
    assert pointing(np.ones((6, 6)), changed, cell) == 0.5
    assert np.isnan(pointing(np.ones((6, 6)), np.zeros((6, 6), bool), cell))
