"""What chapter 17 shows is what helpers have, nothing leaks, its checkers know right from wrong."""

import ast
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.morphology import disk

from helpers import datasets, images
from helpers.cells import features, segmentation
from helpers.datasets.drawn import frames
from helpers.exercises.checking import exercises
from tests.conftest import SHARED
from tests.unit.chapter_page import code_cells, solutions, verdict
from tests.unit.redrawn import redrawn_frame

CELLS = code_cells("17")


def page(*texts, **names):
    """Define what the cells that hold the texts define: their functions and models."""
    names = {"np": np, "pd": pd, "ndimage": ndimage, "SEED": 24, "PROFILE": "smoke", **names}
    for text in texts:
        tree = ast.parse(next(cell.source for cell in CELLS if text in cell.source))
        tree.body = [node for node in tree.body if _defines(node)]
        exec(compile(tree, "chapter 17", "exec"), names)
    return names


def _defines(node):
    """What else a cell does needs the data set."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in ("even", "trees", "models")
    return isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)


@pytest.fixture(scope="module")
def cells():
    recipe = frames.recipe_of("smoke")
    names = frames.plan(recipe)["image_id"]
    return [redrawn_frame(recipe, names.iloc[place]) for place in (3, 33, 66, 99, 132)]


def test_dice_on_the_page_is_that_of_helpers():
    dice = page("def dice")["dice"]
    rng = np.random.default_rng(5)
    for density in (0, 0.1, 0.5, 1):
        a, b = rng.random((2, 20, 30)) < density
        assert dice(a, b) == segmentation.dice(a, b)
    assert dice(a, ~a) == segmentation.dice(a, ~a) == 0


def test_circularity_on_the_page_is_that_of_helpers(cells):
    circularity = page("def circularity")["circularity"]
    for cell in cells:
        found = features.measure(cell.frame, cell.nucleus, cell.cytoplasm)
        assert circularity(cell.nucleus) == pytest.approx(found["nucleus_circularity"])
        whole = cell.nucleus | cell.cytoplasm
        assert circularity(whole) == pytest.approx(found["cell_circularity"])


def test_masked_contrast_on_the_page_is_what_one_counts_by_hand(cells):
    source = next(cell.source for cell in CELLS if "graycomatrix(" in cell.source)
    source = re.sub(r"(?m)^(image|nucleus) = .*$", "", source)
    cell = cells[0]
    names = {"np": np, "image": cell.frame, "nucleus": cell.nucleus}
    exec(source, names)
    levels = (cell.frame[..., 1] // 8).astype(float)
    both = cell.nucleus[:, :-1] & cell.nucleus[:, 1:]
    expected = np.mean(np.diff(levels, axis=1)[both] ** 2)
    found = names["graycoprops"](names["inside"], "contrast")[0, 0]
    assert found == pytest.approx(expected)


def test_the_page_finds_nuclei_of_phantoms_in_two_simple_ways(cells):
    names = page("def colour_clusters", rgb2lab=rgb2lab)
    names = page("def nucleus_cluster", "def cleaned", "def classes_of_green", **names)
    for method in ("colour_clusters", "classes_of_green"):
        scores = []
        for cell in cells:
            groups, middles = names[method](cell.frame)
            mask = names["cleaned"](groups == names["nucleus_cluster"](groups, middles))
            scores.append(segmentation.dice(mask, cell.nucleus))
        assert np.median(scores) > 0.85, method


def test_the_page_parts_what_touches_and_nothing_else():
    parted = page("def parted")["parted"]
    y, x = np.mgrid[:80, :140]
    left, right = np.hypot(x - 45, y - 40) < 30, np.hypot(x - 93, y - 40) < 28
    assert parted(left).max() == 1
    numbers = parted(left | right)
    assert numbers.max() == 2
    assert segmentation.dice(numbers == numbers[40, 45], left) > 0.97


@pytest.fixture(scope="module")
def judges():
    """The page's pipelines and its cross-validation."""
    names = page("def pipeline", "def out_of_fold")
    for name in ("forest", "boosting"):
        names["models"][name].set_params(n_estimators=8)
    return names


def material(seed=5, n=60):
    rng = np.random.default_rng(seed)
    numbers = pd.DataFrame(rng.normal(size=(n, 6)), columns=list("abcdef"))
    numbers.iloc[::7, 2] = np.nan
    target = (numbers["a"] + rng.normal(size=n) > 0).to_numpy(np.int8)
    return numbers, target, np.arange(n) // 3 % 3


def test_nothing_of_the_held_out_images_is_in_what_was_fitted(judges):
    """Planted in one fold: wild values and turned labels. Models of that fold do not know."""
    numbers, target, folds = material()
    planted, turned = numbers.copy(), target.copy()
    planted[folds == 2] = 1e9
    turned[folds == 2] = 1 - turned[folds == 2]
    assert len(judges["models"]) == 7
    for name, model in judges["models"].items():
        model = judges["pipeline"](model)
        _, clean = judges["out_of_fold"](model, numbers, target, folds)
        _, marked = judges["out_of_fold"](model, planted, turned, folds)
        assert pickle.dumps(clean[2]) == pickle.dumps(marked[2]), name
        # the marker is one: models that were trained on it are others
        assert pickle.dumps(clean[0]) != pickle.dumps(marked[0]), name


def test_every_image_is_judged_once_from_0_to_1(judges):
    numbers, target, folds = material()
    for name, model in judges["models"].items():
        scores, fitted = judges["out_of_fold"](judges["pipeline"](model), numbers, target, folds)
        assert sorted(fitted) == [0, 1, 2]
        assert ((scores >= 0) & (scores <= 1)).all(), name
        assert scores[target == 1].mean() > scores[target == 0].mean(), name


def test_the_solutions_solve_the_exercises():
    answers = solutions("17", ndimage=ndimage)
    assert sorted(answers) == exercises("17")
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", name


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


def any_pair(grey, mask):
    inside = np.where(mask, grey, 0).astype(float)
    return float(np.mean(np.diff(inside, axis=1) ** 2))


def one_inside(grey, mask):
    either = mask[:, :-1] | mask[:, 1:]
    return float(np.mean(np.diff(grey.astype(float), axis=1)[either] ** 2))


def wrapped(grey, mask):
    both = mask[:, :-1] & mask[:, 1:]
    steps = (grey[:, 1:] - grey[:, :-1]).astype(float)
    return float(np.mean(steps[both] ** 2)) if both.any() else float("nan")


def together(train, test):
    both = np.concatenate([train, test])
    spread = np.where(both.std(axis=0) > 0, both.std(axis=0), 1)
    return (train - both.mean(axis=0)) / spread, (test - both.mean(axis=0)) / spread


def each_by_itself(train, test):
    spread = [np.where(part.std(axis=0) > 0, part.std(axis=0), 1) for part in (train, test)]
    return (train - train.mean(axis=0)) / spread[0], (test - test.mean(axis=0)) / spread[1]


def with_zero(train, test):
    return (train - train.mean(0)) / train.std(0), (test - train.mean(0)) / train.std(0)


def in_place(train, test):
    mean, spread = train.mean(axis=0), np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
    train -= mean
    test -= mean
    return train / spread, test / spread


def not_taken_apart(density, radii):
    from skimage.morphology import opening

    return np.array([(density - opening(density, disk(radius))).mean() for radius in radii])


@pytest.mark.parametrize(
    ("letter", "wrong"),
    [
        ("a", by_corner),
        ("a", filled_last),
        ("a", with_ground),
        ("a", lambda mask, smallest: mask),
        ("b", any_pair),
        ("b", one_inside),
        ("b", wrapped),
        ("b", 3.0),
        ("c", together),
        ("c", each_by_itself),
        ("c", with_zero),
        ("c", in_place),
        ("d", lambda lab, means, deviations: lab - lab.mean(0) + means),
        ("d", lambda lab, m, s: (lab - lab.mean()) / lab.std() * s + m),
        ("e", not_taken_apart),
        ("e", lambda density, radii: np.zeros(len(radii))),
    ],
)
def test_the_checkers_find_the_common_mistakes(letter, wrong):
    assert verdict(f"05-{letter}", wrong) != "solved."


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "most"), [("cnmc", 6), ("taleqani", 3)])
def test_real_images_have_features_within_reason(name, most, monkeypatch, tmp_path):
    if not (SHARED / name).is_dir():
        pytest.skip(f"no real images of {name}: {SHARED / name} is missing")
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    catalog = datasets.load(name, SHARED / name, "smoke", 24)
    catalog = catalog.iloc[:: max(1, len(catalog) // most)].reset_index(drop=True)
    found = features.table(catalog)
    assert (found["problem"] == "").all()
    first = images.read_image(catalog["path"].iloc[0])
    assert images.is_frame(first) == (name == "cnmc")
    assert found["nucleus_area"].between(50, first[..., 0].size / 2).all()
    assert found["nucleus_to_cell"].between(0.1, 1).all()
    assert found["nucleus_circularity"].between(0.2, 1.1).all()
    assert found[list(features.NAMES)].notna().mean().mean() > 0.95
