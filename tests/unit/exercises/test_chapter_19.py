"""What chapter 19 shows is what helpers have, and its checkers know right from wrong."""

import ast

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers.datasets.drawn import frames as drawn_frames
from helpers.exercises.checking import exercises
from helpers.images import loading, stain
from tests.conftest import SHARED
from tests.unit.chapter_page import code_cells, functions, missed, solutions, told, verdict
from tests.unit.redrawn import redrawn_frame

RECIPE = drawn_frames.Recipe(60, 12, 24)
#: Reinhard and others 2001, equations 4, 6 and 8, and the matrix back that they print.
BACK = [[4.4679, -3.5873, 0.1193], [-1.2186, 2.3809, -0.1624], [0.0497, -0.2439, 1.2045]]


@pytest.fixture(scope="module")
def drawn():
    names = drawn_frames.plan(RECIPE)["image_id"]
    images = [redrawn_frame(RECIPE, names.iloc[place]).frame[::2, ::2] for place in (3, 20, 40, 55)]
    return images, [image.any(axis=2) for image in images]


@pytest.fixture(scope="module")
def page():
    return functions("19", "to_lab", "to_rgb", "reinhard", "two_dyes", np=np, cv2=cv2)


def spaces():
    """Return the page's matrices and functions of l-alpha-beta."""
    names = {"np": np}
    (cell,) = (cell for cell in code_cells("19") if "def to_lalphabeta" in cell.source)
    exec(cell.source, names)
    return names


def test_reinhard_on_the_page_is_that_of_helpers(page, drawn):
    images, masks = drawn
    normaliser = stain.Normaliser("reinhard").fit(images[:2], masks[:2])
    labs = [page["to_lab"](i[m]) for i, m in zip(images[:2], masks[:2], strict=True)]
    means = np.mean([lab.mean(axis=0) for lab in labs], axis=0)
    deviations = np.mean([lab.std(axis=0) for lab in labs], axis=0)
    assert np.allclose(means, normaliser.reference_["means"], atol=0.2)
    assert np.allclose(deviations, normaliser.reference_["deviations"], atol=0.2)
    for image, mask in zip(images[2:], masks[2:], strict=True):
        ours = page["reinhard"](image[mask], means, deviations).astype(int)
        assert np.abs(ours - normaliser.transform(image, mask)[mask]).max() <= 2
    both = np.concatenate([i[m] for i, m in zip(images[2:], masks[2:], strict=True)])
    together = normaliser.transform_together(images[2:], masks[2:])
    theirs = np.concatenate([i[m] for i, m in zip(together, masks[2:], strict=True)])
    assert np.abs(page["reinhard"](both, means, deviations).astype(int) - theirs).max() <= 2


def test_the_dyes_on_the_page_are_those_of_helpers(page, drawn):
    images, masks = drawn
    # Every pixel is used up to this many.
    small = [image[::4, ::4] for image in images]
    masks = [mask[::4, ::4] for mask in masks]
    for image, mask in zip(small, masks, strict=True):
        theirs = stain.Normaliser("macenko").fit([image], [mask]).reference_["dyes"].T
        ours = page["two_dyes"](image[mask])
        assert min(np.abs(ours - theirs).max(), np.abs(ours[::-1] - theirs).max()) < 1e-6


def test_l_alpha_beta_is_that_of_the_paper():
    names = spaces()
    pixels = np.random.default_rng(5).integers(1, 256, (500, 3)).astype(np.uint8)
    values = names["to_lalphabeta"](pixels)
    assert np.abs(names["from_lalphabeta"](values).astype(int) - pixels).max() <= 1
    assert np.allclose(np.linalg.inv(names["TO_LMS"]), BACK, atol=0.02)  # printed with rounding
    turn = names["TO_LAB"]
    assert np.allclose(turn @ turn.T, np.eye(3))
    grey = names["to_lalphabeta"](np.full((1, 3), 128, np.uint8))[0]
    assert grey[0] == pytest.approx(3**0.5 * np.log10(128), abs=0.01)
    assert np.abs(grey[1:]).max() < 0.01  # grey has no colour


def test_the_solutions_solve_the_exercises():
    answers = solutions("19")
    assert sorted(answers) == exercises("19") == ["19-a", "19-b", "19-c"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", told(name, answer)


def of_the_page(lab, means, deviations):
    return (lab - lab.mean(axis=0)) / lab.std(axis=0) * deviations + means


def by_products(pixels, dyes, glass):
    return -np.log((pixels.astype(float) + 1) / glass) @ dyes.T


def of_the_light(pixels, dyes, glass):
    return np.linalg.lstsq(dyes.T, (glass - 1 - pixels.astype(float)).T / glass, rcond=None)[0].T


def without_one(pixels, dyes, glass):
    with np.errstate(divide="ignore"):
        density = -np.log(pixels.astype(float) / (glass - 1))
    return density @ np.linalg.pinv(dyes)


def in_eight_bits(pixels, dyes, glass):
    with np.errstate(divide="ignore"):
        density = -np.log((pixels + 1) / glass)  # 255 + 1 is 0
    return density @ np.linalg.pinv(dyes)


def of_one_lamp(pixels, dyes, glass):
    return np.linalg.lstsq(dyes.T, -np.log((pixels.astype(float) + 1) / 240).T, rcond=None)[0].T


def safe_with_one_less(lab, means, deviations):
    spread = lab.std(axis=0, ddof=1)
    factor = np.where(spread > 0, deviations, 0) / np.where(spread > 0, spread, 1)
    return (lab - lab.mean(axis=0)) * factor + means


def test_either_standard_deviation_is_right():
    assert verdict("19-a", safe_with_one_less) == "solved."


def of_light(image, rng, strength):
    return np.clip(image * np.exp(rng.normal(0, strength, 3)), 0, 255).astype(np.uint8)


def of_each_pixel(image, rng, strength):
    factors = np.exp(rng.normal(0, strength, image.shape))
    return np.where(image > 0, np.clip(np.rint(255 * (image / 255) ** factors), 1, 255), 0).astype(
        np.uint8
    )


def with_one_factor(image, rng, strength):
    light = 255 * (image / 255) ** np.exp(rng.normal(0, strength))
    return np.where(image > 0, np.clip(np.rint(light), 1, 255), 0).astype(np.uint8)


def black_cells(image, rng, strength):
    light = 255 * (image / 255) ** np.exp(rng.normal(0, strength, 3))
    return np.rint(light).astype(np.uint8)


@pytest.mark.parametrize(
    ("letter", "wrong", "hint"),
    [
        ("a", lambda lab, means, deviations: lab - lab.mean(0) + means, "own deviation"),
        ("a", lambda lab, m, s: (lab - lab.mean()) / lab.std() * s + m, "own deviation"),
        ("a", of_the_page, "what you divide by"),
        ("b", by_products, "least squares"),
        ("b", of_the_light, "which is a logarithm"),
        ("b", without_one, "mind the + 1"),
        ("b", in_eight_bits, "256 does not fit into uint8"),
        ("b", of_one_lamp, "another light of glass"),
        ("c", of_light, "multiply the density"),
        ("c", of_each_pixel, "not one for each pixel"),
        ("c", with_one_factor, "factor of its own"),
        ("c", black_cells, "No cell pixel becomes black"),
    ],
)
def test_the_checkers_find_the_common_mistakes(letter, wrong, hint):
    assert hint in missed(f"19-{letter}", wrong)


def test_a_stain_by_chance_leaves_black_black():
    (cell,) = (cell.source for cell in code_cells("19") if "restained = " in cell.source)
    loop = next(node for node in ast.parse(cell).body if isinstance(node, ast.For))
    before = np.random.default_rng(5).integers(0, 256, (4, 9, 9, 3)).astype(np.uint8)
    before[:, :3] = 0
    names = {"np": np, "before": before, "restained": before.copy()}
    names |= {"rng": np.random.default_rng(1), "rest": pd.DataFrame({"subject": list("aabb")})}
    exec(compile(ast.Module([loop], []), "chapter 19", "exec"), names)
    assert np.array_equal(names["restained"] == 0, before == 0)
    assert (names["restained"] != before).any()


@pytest.mark.realdata
@pytest.mark.skipif(not (SHARED / "cnmc").is_dir(), reason="no ../shared/data/cnmc")
def test_on_real_frames_reinhard_gives_the_reference_and_macenko_does_not(page):
    frames = [loading.read_image(p)[::3, ::3] for p in sorted((SHARED / "cnmc").rglob("*.bmp"))]
    masks = [frame.any(axis=2) for frame in frames]
    means = page["to_lab"](frames[0][masks[0]]).mean(axis=0)

    def away(method):
        normaliser = stain.Normaliser(method).fit(frames[:1], masks[:1])
        pairs = zip(frames[1::4], masks[1::4], strict=True)
        after = [page["to_lab"](normaliser.transform(i, m)[m]).mean(axis=0) for i, m in pairs]
        return np.median(np.linalg.norm(after - means, axis=1))

    assert away("reinhard") < 1 < away("macenko")
