"""What chapter 20 shows is what helpers have, and its checkers know right from wrong."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from skimage.morphology import closing, disk, octagon, opening
from sklearn.metrics import roc_auc_score

from helpers.cells import segmentation
from helpers.exercises.checking import exercises
from helpers.images import loading
from helpers.report import recorded
from helpers.studies import white_cells
from tests.conftest import SHARED
from tests.unit.chapter_page import functions, missed, run, solutions, told, verdict

ZHENG = SHARED / "leukocytes" / "zheng_1"


@pytest.mark.slow
def test_the_sieve_on_the_page_is_that_of_helpers(leukocyte_cells):
    names = {"np": np, "opening": opening}
    # Helpers take octagons, which lie inside one another; discs of pixels do not quite.
    names["disk"] = lambda radius: octagon(2 * (radius // 2) + 1, (radius + 1) // 2)
    page = functions("20", "sieve", "density_of", **names)
    y, x = np.mgrid[:128, :128]
    cell = np.hypot(x - 64, y - 64) < white_cells._RADIUS  # no scaling is needed
    image = leukocyte_cells.images[3]
    theirs = white_cells.granularity(image, ~cell & cell, cell).reshape(2, 3, -1)[0]
    for light in range(3):
        density = page["density_of"](image)[..., light]
        ours = [part[cell].mean() for part in page["sieve"](density, white_cells.RADII)]
        assert np.allclose(ours, theirs[light], rtol=0.03, atol=1e-4)


@pytest.mark.slow
def test_two_stages_on_the_page_are_those_of_helpers(leukocyte_cells):
    kind = leukocyte_cells.catalog["label"].to_numpy()
    granules = np.array([
        white_cells.granularity(*one)
        for one in zip(leukocyte_cells.images, leukocyte_cells.nuclei, leukocyte_cells.cytoplasms,
                       strict=True)
    ])  # fmt: skip
    small = leukocyte_cells.images[:, ::16, ::16].reshape(len(kind), -1).astype(np.float32)
    seen = white_cells.Description(granules, small)
    names = {"np": np, "kind": kind, "seen": seen, "SEED": 24, "PROFILE": "smoke"}
    page = run("20", "def two_stages", **names)
    held_out = leukocyte_cells.catalog["subject"].isin(["p03", "p04"]).to_numpy()
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    theirs = white_cells.TwoStage(24, page["trees"]).fit(seen[train], kind[train])
    assert np.array_equal(page["two_stages"](train, test), theirs.predict(seen[test]))


def test_the_interval_of_the_page_counts_subjects():
    rng = np.random.default_rng(5)
    slide = np.repeat(list("abcdefgh"), 20)
    values = rng.random(160) < 0.7
    names = {"np": np, "pd": pd, "stats": stats, "slide": slide}
    mean, low, high = functions("20", "interval", **names)["interval"](values)
    means = values.reshape(8, 20).mean(axis=1)
    theirs = stats.ttest_1samp(means, 0).confidence_interval()
    assert (mean, low, high) == pytest.approx((values.mean(), theirs.low, theirs.high))


def test_the_solutions_solve_the_exercises():
    answers = solutions("20")
    assert sorted(answers) == exercises("20") == ["20-a", "20-b", "20-c"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", told(name, answer)


def not_taken_apart(density, radii):
    return np.array([(closing(density, disk(radius)) - density).mean() for radius in radii])


def dark_spots(density, radii):
    steps = [density, *(opening(density, disk(radius)) for radius in radii)]
    return np.array([(one - other).mean() for one, other in itertools.pairwise(steps)])


def turned_round(density, radii):
    steps = [density, *(closing(density, disk(radius)) for radius in radii)]
    return np.array([(one - other).mean() for one, other in itertools.pairwise(steps)])


def side_by_side(first, second):
    return np.concatenate([first[:, :2], second], axis=1)


def halved(first, second):
    return np.concatenate([first[:, :2], second], axis=1) / 2


def no_second_chance(first, second):
    other = first.argmax(axis=1) == 2
    result = np.concatenate([first[:, :2], np.zeros_like(second)], axis=1)
    result[~other] /= result[~other].sum(axis=1, keepdims=True)
    result[other] = np.concatenate([np.zeros_like(first[other, :2]), second[other]], axis=1)
    return result


def numbered(keys):
    return np.unique([key.hex() for key in keys], return_inverse=True)[1]


def by_sum(images):
    return np.unique(images.sum(axis=(1, 2, 3), dtype=int), return_inverse=True)[1]


def by_sorted_pixels(images):
    return numbered(bytes(sorted(image.ravel())) for image in images)


def turned_only(images):
    return numbered(min(np.rot90(image, k).tobytes() for k in range(4)) for image in images)


def as_they_are(images):
    return numbered(image.tobytes() for image in images)


@pytest.mark.parametrize(
    ("letter", "wrong", "hint"),
    [
        ("a", not_taken_apart, "from the step before"),
        ("a", dark_spots, "Dark spots do not count"),
        ("a", turned_round, "is positive"),
        ("a", lambda density, radii: np.zeros(len(radii)), "is positive"),
        (
            "a",
            lambda density, radii: np.eye(len(radii))[0] * (density.min() < 0.5),
            "Most of small pale spots",
        ),
        ("b", side_by_side, "add up to 1"),
        ("b", halved, "decides on the granular kinds"),
        ("b", no_second_chance, "decides on the granular kinds"),
        ("c", by_sum, "another order"),
        ("c", by_sorted_pixels, "another order"),
        ("c", turned_only, "A mirrored image is found"),
        ("c", as_they_are, "turned by 90 degrees"),
    ],
)
def test_the_checkers_find_the_common_mistakes(letter, wrong, hint):
    assert hint in missed(f"20-{letter}", wrong)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.skipif(not ZHENG.is_dir(), reason="no ../shared/data/leukocytes")
def test_the_recorded_granules_of_real_cells_are_those_that_are_measured():
    table = pd.read_csv(ZHENG / "labels.csv")
    columns = [n.startswith("cytoplasm") and n[-1] in "12" for n in white_cells.GRANULARITY]
    values = []
    for name in table["file"]:
        image = loading.read_image(ZHENG / name)
        parts = segmentation.segment_cell(image)
        found = white_cells.granularity(image, parts.nucleus, parts.cytoplasm)
        values.append(found[columns].sum())
    area = roc_auc_score(table["kind"].isin(white_cells.GRANULAR), values)
    (record,) = (one for one in recorded.read("20") if one.title.startswith("Granules"))
    assert record.figures[0].value == pytest.approx(area, abs=0.01)
