"""Chapter 11: its plain networks and losses are the course's, its checkers know."""

import contextlib
import functools
import io

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import pairwise_distances

from helpers.models import autoencoder, gan
from helpers.report import verdicts
from helpers.studies.transfers import mean_interval
from helpers.training import kid
from tests.unit.chapter_page import code_cells, functions, run, solutions, told, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
SIDE, LATENT = 19, 4


@pytest.fixture(scope="module")
def page():
    names = {"keras": keras, "layers": keras.layers, "ops": keras.ops, "np": np}
    names |= {"pd": pd, "numbers": gan.LATENT, "NOISE": autoencoder.NOISE, "SEED": 24,
              "pairwise_distances": pairwise_distances}  # fmt: skip
    return functions(
        "11", "build_encoder", "build_decoder", "pixel_loss", "kl_loss", "build_vae",
        "build_generator", "build_discriminator", "connect", "train_gan", "kernel_distance",
        "excess", "nearest", **names,
    )  # fmt: skip


def images(count=6, size=SIDE):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def shapes(model):
    return [weight.shape for weight in model.get_weights()]


def test_the_numbers_of_the_page_are_those_of_the_course():
    cells = "\n".join(cell.source for cell in code_cells("11"))
    assert f"numbers = {gan.LATENT}  #" in cells
    assert f"NOISE = {autoencoder.NOISE}  #" in cells
    assert f"judge_rate={gan.JUDGE_RATE:.0e}".replace("e-04", "e-4") in cells
    assert f" rate={gan.RATE:.0e}".replace("e-03", "e-3") in cells
    assert f"GaussianNoise({gan.NOISE})" in cells
    assert f"step % {gan.EVERY} == 0" in cells
    assert f"batch={gan.BATCH}\n):" in cells


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, SIDE])
def test_the_autoencoder_of_the_page_answers_as_the_one_that_is_shipped(page, size):
    plain = keras.Sequential([page["build_encoder"](size, LATENT),
                              page["build_decoder"](size, LATENT)])  # fmt: skip
    shipped = autoencoder.build(size, LATENT)
    assert shapes(plain) == shapes(shipped)
    plain.set_weights(shipped.get_weights())
    pictures = images(size=size)
    found, expected = (np.asarray(m.predict_on_batch(pictures)) for m in (plain, shipped))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_the_variational_one_and_its_losses_are_those_that_are_shipped(page):
    plain, decoder = page["build_vae"](SIDE, LATENT)
    shipped = autoencoder.build(SIDE, LATENT, variational=True)
    assert shapes(plain) == shapes(shipped)
    plain.set_weights(shipped.get_weights())
    pictures = images()
    found, expected = (m.predict_on_batch(pictures) for m in (plain, shipped))
    for name in ("picture", "moments"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    mean = found["moments"][:, :LATENT]
    np.testing.assert_allclose(decoder.predict_on_batch(mean), found["picture"], atol=1e-5)
    truth = pictures / np.float32(255)
    for name, value in (("pixel_loss", (truth, found["picture"])),
                        ("kl_loss", (None, found["moments"]))):  # fmt: skip
        here, there = page[name](*value), getattr(autoencoder, name)(*value)
        np.testing.assert_allclose(np.asarray(here), np.asarray(there), rtol=1e-5)


@pytest.mark.slow
def test_the_loop_of_the_page_trains_as_the_one_that_is_shipped(page):
    shipped = gan.generator(SIDE), gan.discriminator(SIDE)
    plain = page["build_generator"](SIDE), page["build_discriminator"](SIDE)
    for one, other in zip(plain, shipped, strict=True):
        assert shapes(one) == shapes(other)
        one.set_weights(other.get_weights())
    for part in plain[1].layers + shipped[1].layers:  # their random choices differ
        if isinstance(part, keras.layers.Dropout):
            part.rate = 0
        if isinstance(part, keras.layers.GaussianNoise):
            part.stddev = 0
    here = page["train_gan"](*plain, images(), 3)
    there = gan.train(*shipped, images(), 3, seed=24)
    for name, value in there[-1].items():
        assert here[name].iloc[-1] == pytest.approx(value, abs=1e-4), name
    for one, other in zip(plain, shipped, strict=True):
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)


def test_the_kid_of_the_page_is_the_one_that_is_shipped(page):
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(20, 5)), rng.normal(1, 1, size=(30, 5))
    assert page["kernel_distance"](one, other) == pytest.approx(kid.distance(one, other))


def test_neighbours_by_name_are_counted_among_those_who_may_be_neighbours(page):
    """Codes that hold the person only: nothing is left among other people."""
    person = np.repeat(np.arange(10), 8)
    codes = person[:, None] * 100.0 + np.random.default_rng(0).random((80, 1))
    names, everybody = person.astype(str), np.ones((80, 80), bool)
    found = page["excess"](codes, names, everybody)
    assert found.mean() == pytest.approx(1 - 7 / 79)
    label = np.where(person % 2 == 0, "a", "b")
    others = names[:, None] != names
    assert page["excess"](codes, label, others).mean() < 0
    known = (person % 2)[:, None] * 1000.0 + np.random.default_rng(1).random((80, 1))
    assert page["excess"](known, label, others).mean() > 0.4


def test_codes_of_the_class_alone_do_not_look_as_if_they_knew_the_person(page):
    """A person has one class: among all images the class alone would bring people together."""
    person = np.repeat(np.arange(10), 8)
    codes = (person % 2)[:, None] * 1000.0 + np.random.default_rng(1).random((80, 1))
    names, label = person.astype(str), (person % 2).astype(str)
    assert page["excess"](codes, names, np.ones((80, 80), bool)).mean() > 0.05
    within = page["excess"](codes, names, label[:, None] == label)
    assert abs(within.mean()) < 0.05
    knows = person[:, None] * 100.0 + np.random.default_rng(0).random((80, 1))
    assert page["excess"](knows, names, label[:, None] == label).mean() > 0.7


def test_the_nearest_training_image_of_a_copy_is_its_original(page):
    training = images(5)
    found, far = page["nearest"](training[[3, 1]], training)
    np.testing.assert_array_equal(found, training[[3, 1]])
    assert far == pytest.approx([0, 0], abs=1e-2)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([-0.5, -0.5], "too few, or too much alike"),
        ([0.2, 0.3], "too few, or too much alike"),
        ([0.25, 0.25, 0.25], "too few, or too much alike"),
        ([0.20, 0.21, 0.22], "training alone does not explain"),
        ([-0.2, 0.3, 0.1], "the chance of training can explain it"),
    ],
)
def test_few_seeds_that_agree_do_not_show_what_the_chance_of_training_does(gains, said, capsys):
    names = {"estimate": (0.1, -0.2, 0.3), "by_seed": pd.Series(gains), "np": np}
    names |= {"verdicts": verdicts, "mean_interval": mean_interval}
    run("11", "Over {len(by_seed)} seeds", **names)
    assert said in capsys.readouterr().out.replace("\n", " ")


@pytest.fixture(scope="module")
def answers(page):
    with contextlib.redirect_stdout(io.StringIO()):
        return solutions("11", **page)


@pytest.mark.slow
def test_the_solutions_solve_the_exercises(answers):
    assert sorted(answers) == ["11-a", "11-b", "11-c", "11-d"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", told(name, answer)


def least(image, others, power=2):
    return (np.abs(others.astype(float) - image) ** power).mean(axis=(1, 2, 3)).min()


def equal(drawn, real):
    return [(one == real).all((1, 2, 3)).any() for one in drawn]


def diagnosis(variety=lambda images: images.std(axis=0).mean(), part=0.1, limit=0.97, copied=equal):
    def diagnose(accuracies, drawn, real):
        if variety(drawn) < variety(real) * part:
            return "collapsed"
        if np.mean(copied(drawn, real)) >= 0.5:
            return "copies"
        last = np.mean(accuracies[3 * len(accuracies) // 4 :])
        return "judge wins" if last > limit else "no failure found"

    return diagnose


WRONG = {
    "11-a": [
        lambda errors, most: np.max(errors),
        lambda errors, most: np.sort(errors)[min(most, len(errors) - 1)],
        lambda errors, most: np.sort(errors)[::-1][min(most, len(errors) - 2)],
    ],
    "11-b": [
        lambda drawn, training, unseen: np.mean(
            [((training - d) ** 2).mean(axis=(1, 2, 3)).min()
             < ((unseen - d) ** 2).mean(axis=(1, 2, 3)).min() for d in drawn]),
        lambda drawn, training, unseen: np.mean(
            [least(d, training) <= least(d, unseen) for d in drawn.astype(float)]),
        lambda drawn, training, unseen: np.mean(
            [((training - d) ** 2).mean() < ((unseen - d) ** 2).mean()
             for d in drawn.astype(float)]),
        lambda drawn, training, unseen: np.mean(
            [least(d, training, 1) < least(d, unseen, 1) for d in drawn.astype(float)]),
    ],
    "11-d": [
        lambda accuracies, drawn, real: "no failure found",
        lambda accuracies, drawn, real: "judge wins" if max(accuracies) > 0.97 else "collapsed",
        lambda accuracies, drawn, real: (
            "judge wins" if np.mean(accuracies[-2:]) > 0.97
            else "collapsed" if drawn.std() < real.std() / 10 else "no failure found"),
        lambda accuracies, drawn, real: (
            "collapsed" if drawn.std(axis=0).max() < 2
            else "judge wins" if min(accuracies[-2:]) > 0.97 else "no failure found"),
        diagnosis(variety=lambda images: images.std(axis=0).max()),
        diagnosis(variety=lambda images: np.median(images.std(axis=0))),
        diagnosis(variety=lambda images: images.mean(axis=(1, 2, 3)).std()),
        diagnosis(part=0.3),
        diagnosis(part=0.02),
        diagnosis(limit=0.95),
        diagnosis(limit=0.98),
        diagnosis(copied=lambda drawn, real: [(one == drawn).all((1, 2, 3)).any() for one in real]),
        diagnosis(copied=lambda drawn, real: [
            np.abs(real - one.astype(float)).mean((1, 2, 3)).min() < 2 for one in drawn]),
    ],
}  # fmt: skip
HINTS = {
    "11-a": {0: "count the limit itself", 1: "sort the other way round", 2: "more may be above"},
    "11-b": {0: "16 squared is 0", 1: "Equally near", 2: "not the mean", 3: "squared"},
    "11-d": {
        0: "all drawn images are equal",
        1: "beginning only",
        2: "all drawn images are equal",
        3: "a twelfth as much",
        4: "only one pixel",
        5: "a third of the pixels",
        6: "equally bright",
        7: "an eighth as much",
        8: "a twelfth as much",
        9: "96.5 %",
        10: "97.5 %",
        11: "the same real one",
        12: "nearly real ones",
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_told_from_right_ones_and_why(name):
    for place, wrong in enumerate(WRONG[name]):
        assert verdict(name, wrong) == "not solved yet.", place
        missed = [line for line in told(name, wrong).splitlines() if line.startswith("✗")]
        assert any(HINTS[name][place] in line for line in missed), (place, missed)


@pytest.mark.slow
def test_a_network_that_does_not_denoise_is_told_from_one_that_does(page):
    def plain(size, latent):
        return keras.Sequential([page["build_encoder"](size, latent),
                                 page["build_decoder"](size, latent)])  # fmt: skip

    def noise_first(size, latent):
        return keras.Sequential([keras.Input((size, size, 3)), keras.layers.GaussianNoise(0.1),
                                 *plain(size, latent).layers])  # fmt: skip

    def noisy(size, latent, place=1):
        """The noise at a place among the layers of the encoder."""
        layers = page["build_encoder"](size, latent).layers
        layers = [*layers[:place], keras.layers.GaussianNoise(0.1), *layers[place:]]
        fresh = [type(layer).from_config(layer.get_config()) for layer in layers]
        return keras.Sequential([keras.Input((size, size, 3)), *fresh,
                                 page["build_decoder"](size, latent)])  # fmt: skip

    def by_hand(size, latent):
        image = keras.Input((size, size, 3))
        x = keras.layers.GaussianNoise(0.1)(image / 255)
        code = keras.layers.Dense(latent)(keras.layers.Flatten()(x))
        return keras.Model(image, page["build_decoder"](size, latent)(code))

    for right in (noisy, by_hand):
        assert verdict("11-c", right) == "solved.", told("11-c", right)
    for place in (2, 3, 6, 8):  # after a convolution, after all of them, before the code
        far = functools.partial(noisy, place=place)
        assert verdict("11-c", far) == "not solved yet."
        assert "✗ The noise is added directly after the scaling" in told("11-c", far)
    assert "one layer GaussianNoise" in told("11-c", plain)
    assert "behind the scaling" in told("11-c", noise_first)
    for wrong in (plain, noise_first, page["build_encoder"], lambda size, latent: size):
        assert verdict("11-c", wrong) == "not solved yet."
