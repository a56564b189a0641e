"""What chapter 17 shows is what helpers have, and its checkers know right from wrong."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.filters import threshold_multiotsu, threshold_otsu
from skimage.measure import label
from skimage.morphology import h_maxima
from skimage.segmentation import watershed
from sklearn.cluster import KMeans

from helpers.cells import segmentation
from helpers.datasets.drawn import frames
from helpers.exercises.checking import exercises
from tests.unit.chapter_page import functions, missed, solutions, told, verdict
from tests.unit.redrawn import redrawn_frame

LIBRARIES = {
    "np": np,
    "ndimage": ndimage,
    "rgb2lab": rgb2lab,
    "KMeans": KMeans,
    "threshold_multiotsu": threshold_multiotsu,
    "label": label,
    "h_maxima": h_maxima,
    "watershed": watershed,
    "SEED": 24,
}


@pytest.fixture(scope="module")
def cells():
    recipe = frames.recipe_of("smoke")
    names = frames.plan(recipe)["image_id"]
    return [redrawn_frame(recipe, names.iloc[place]) for place in (3, 33, 66, 99, 132)]


def test_dice_on_the_page_is_that_of_helpers():
    dice = functions("17", "dice", **LIBRARIES)["dice"]
    rng = np.random.default_rng(5)
    for density in (0, 0.1, 0.5, 1):
        a, b = rng.random((2, 20, 30)) < density
        assert dice(a, b) == segmentation.dice(a, b)
    assert dice(a, ~a) == segmentation.dice(a, ~a) == 0


@pytest.mark.slow
def test_the_page_finds_nuclei_of_phantoms_in_two_simple_ways(cells):
    wanted = "colour_clusters", "nucleus_cluster", "cleaned", "nucleus_of", "classes_of_green"
    page = functions("17", *wanted, **LIBRARIES)
    scores = {"k-means": [], "multi-Otsu": []}
    for cell in cells:
        classes, levels = page["classes_of_green"](cell.frame)
        mask = page["cleaned"](classes == page["nucleus_cluster"](classes, levels))
        scores["multi-Otsu"].append(segmentation.dice(mask, cell.nucleus))
        scores["k-means"].append(segmentation.dice(page["nucleus_of"](cell.frame), cell.nucleus))
    for method, values in scores.items():
        assert np.median(values) > 0.85, method


def test_the_page_parts_what_touches_and_nothing_else():
    parted = functions("17", "parted", **LIBRARIES)["parted"]
    y, x = np.mgrid[:80, :140]
    left, right = np.hypot(x - 45, y - 40) < 30, np.hypot(x - 93, y - 40) < 28
    assert parted(left).max() == 1
    numbers = parted(left | right)
    assert numbers.max() == 2
    assert segmentation.dice(numbers == numbers[40, 45], left) > 0.97
    assert parted(np.zeros((9, 9), bool)).max() == 0


def test_the_solutions_solve_the_exercises():
    answers = solutions("17", ndimage=ndimage)
    assert sorted(answers) == exercises("17")
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", told(name, answer)


def test_otsu_by_hand_is_that_of_a_library():
    otsu = solutions("17", ndimage=ndimage)["17-b"]
    rng = np.random.default_rng(3)
    for _ in range(20):
        levels = np.concatenate([rng.normal(60, 9, 500), rng.normal(rng.integers(90, 200), 15, 90)])
        levels = np.clip(levels, 0, 255).astype(np.uint8)
        assert otsu(levels) == threshold_otsu(levels)


def by_corner(mask, smallest):
    whole = ndimage.binary_fill_holes(mask)
    pieces, _ = ndimage.label(whole, np.ones((3, 3)))
    large = np.bincount(pieces.ravel()) >= smallest
    large[0] = False
    return large[pieces]


def filled_last(mask, smallest):
    pieces, _ = ndimage.label(mask)
    large = np.bincount(pieces.ravel()) >= smallest
    large[0] = False
    return ndimage.binary_fill_holes(large[pieces])


def with_ground(mask, smallest):
    whole = ndimage.binary_fill_holes(mask)
    pieces, _ = ndimage.label(whole)
    return (np.bincount(pieces.ravel()) >= smallest)[pieces]


def by_means(levels):
    """Halfway between the means: what k-means with two clusters would do in one step."""
    return int(levels.min() / 2 + levels.max() / 2)


def unweighted(levels):
    """Variances that are added without their numbers of pixels."""
    flat = levels.ravel().astype(float)
    return int(
        min(np.unique(flat)[:-1], key=lambda t: flat[flat <= t].var() + flat[flat > t].var())
    )


def one_too_high(levels):
    return solutions("17", ndimage=ndimage)["17-b"](levels) + 1


def more_than_pieces(found, truth):
    """Counts the nuclei only, and compares the numbers."""
    counts = [len(np.unique(one)) - 1 for one in (found, truth)]
    missed, invented = max(0, counts[1] - counts[0]), max(0, counts[0] - counts[1])
    return {"missed": missed, "invented": invented, "merged": 0, "split": 0}


def any_overlap(found, truth):
    """Takes one common pixel for most of a nucleus."""
    pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), truth.ravel(), strict=True) if a and b}
    seen_found, seen_true = {a for a, _ in pairs}, {b for _, b in pairs}
    partners = [[sum(p[side] == one for p in pairs) for one in {p[side] for p in pairs}]
                for side in (0, 1)]  # fmt: skip
    return {
        "missed": len(set(np.unique(truth)) - {0} - seen_true),
        "invented": len(set(np.unique(found)) - {0} - seen_found),
        "merged": sum(count > 1 for count in partners[0]),
        "split": sum(count > 1 for count in partners[1]),
    }


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("17-a", by_corner, "touch only at a corner"),
        ("17-a", filled_last, "filled before it is measured"),
        ("17-a", with_ground, "background is not a piece"),
        ("17-a", lambda mask, smallest: mask, "hole is filled"),
        ("17-b", by_means, "smaller within-class variance"),
        ("17-b", unweighted, "unequal sizes"),
        ("17-b", one_too_high, "smaller within-class variance"),
        ("17-b", lambda levels: int(levels.max()), "between the groups"),
        ("17-b", lambda levels: 0.5, "one whole number"),
        ("17-c", more_than_pieces, "are merged"),
        ("17-c", any_overlap, "two fifths"),
        ("17-c", lambda found, truth: 3, "dictionary with the four names"),
    ],
)
def test_the_checkers_find_the_common_mistakes(name, wrong, hint):
    assert hint in missed(name, wrong)
