"""What chapter 18 shows is what helpers have, nothing leaks, its checkers know right from wrong."""

import ast
import contextlib
import io
import pickle
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import datasets, images
from helpers.cells import features
from helpers.datasets.drawn import frames
from helpers.exercises.checking import exercises
from helpers.predictions import metrics
from tests.conftest import SHARED
from tests.unit.chapter_page import code_cells, functions, missed, solutions, told, verdict
from tests.unit.evaluation_tables import table
from tests.unit.redrawn import redrawn_frame

CELLS = code_cells("18")
SKLEARN = {
    "sk": sk,
    "StandardScaler": StandardScaler,
    "KNeighborsClassifier": KNeighborsClassifier,
    "cross_val_predict": cross_val_predict,
    "make_pipeline": make_pipeline,
}


def page(*texts, **names):
    """Define what the cells that hold the texts define: their functions and models."""
    names = {"np": np, "pd": pd, "sk": sk, "SEED": 24, "PROFILE": "smoke", **names}
    for text in texts:
        tree = ast.parse(next(cell.source for cell in CELLS if text in cell.source))
        tree.body = [node for node in tree.body if _defines(node)]
        exec(compile(tree, "chapter 18", "exec"), names)
    return names


def _defines(node):
    """What else a cell does needs the data set."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in ("even", "models")
    return isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)


@pytest.fixture(scope="module")
def cells():
    recipe = frames.recipe_of("smoke")
    names = frames.plan(recipe)["image_id"]
    return [redrawn_frame(recipe, names.iloc[place]) for place in (3, 33, 66, 99, 132)]


@pytest.mark.slow
def test_the_five_numbers_on_the_page_are_those_of_helpers(cells):
    names = page("def circularity", "def measure")
    for cell in cells:
        whole = cell.nucleus | cell.cytoplasm
        found = features.measure(cell.frame, cell.nucleus, cell.cytoplasm)
        for name, value in names["measure"](cell.frame, cell.nucleus, whole).items():
            assert value == pytest.approx(found[name], rel=1e-6), name
        assert names["circularity"](whole) == pytest.approx(found["cell_circularity"])


def test_four_directions_measure_round_shapes_well_and_straight_edges_badly(capsys):
    names = page("def circularity")
    exec(next(cell.source for cell in CELLS if "shapes = {" in cell.source), names)
    wrong = {
        name: names["circularity"](mask) - true
        for name, (mask, true) in names["shapes"].items()
        if true
    }
    assert max(abs(wrong["disc"]), abs(wrong["ellipse, 2 to 1"])) < 0.02
    assert wrong["square"] > 0.05  # its perimeter comes out too short
    assert wrong["square, turned"] < -0.03  # and this one too long
    assert "perimeter of the square: 374 pixels instead of 396" in capsys.readouterr().out


def test_masked_contrast_on_the_page_is_what_one_counts_by_hand(cells):
    source = next(cell.source for cell in CELLS if "graycomatrix(" in cell.source)
    cell = cells[0]
    names = {"np": np, "image": cell.frame, "nucleus": cell.nucleus}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(source, names)
    levels = (cell.frame[..., 1] // 8).astype(float)
    both = cell.nucleus[:, :-1] & cell.nucleus[:, 1:]
    expected = np.mean(np.diff(levels, axis=1)[both] ** 2)
    found = names["graycoprops"](names["inside"], "contrast")[0, 0]
    assert found == pytest.approx(expected)


@pytest.fixture(scope="module")
def judges():
    """The page's pipelines and its cross-validation."""
    names = page("models = {", "def pipeline", "def out_of_fold")
    for name in ("forest", "boosting"):
        names["models"][name].set_params(n_estimators=8)
    return names


def material(seed=5, n=60):
    rng = np.random.default_rng(seed)
    numbers = pd.DataFrame(rng.normal(size=(n, 6)), columns=list("abcdef"))
    numbers.iloc[::7, 2] = np.nan
    target = (numbers["a"] + rng.normal(size=n) > 0).to_numpy(np.int8)
    return numbers, target, np.arange(n) // 3 % 3


@pytest.mark.slow
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


def test_a_fold_that_leaves_one_class_to_learn_from_gets_no_score(judges):
    numbers, _, folds = material()
    scores, fitted = judges["out_of_fold"](
        judges["pipeline"](judges["models"]["logistic"]), numbers, (folds == 1).astype(int), folds
    )
    assert np.isnan(scores[folds == 1]).all()
    assert not np.isnan(scores[folds != 1]).any()
    assert sorted(fitted) == [0, 2]


def test_a_feature_of_two_values_separates_as_scikit_learn_says():
    separation = functions("18", "separation", np=np, sk=sk)["separation"]
    values, truth = np.array([1.0, 2, 3, 4, np.nan]), np.array([1, 1, 0, 0, 1])
    assert separation(values, truth) == 1
    assert np.isnan(separation(values, np.zeros(5)))


@pytest.mark.parametrize("chapter", ["14", "18"])
def test_the_mean_within_folds_on_the_page_is_the_one_of_other_chapters(chapter):
    rng = np.random.default_rng(3)
    fold, target, scores = rng.integers(0, 5, 60), rng.integers(0, 2, 60), rng.uniform(0, 1, 60)
    target[fold == 2] = 1  # a fold of one class
    shown = functions(chapter, "mean_within", np=np, sk=sk, target=target)["mean_within"]
    found = table(target, scores).assign(fold=fold)
    assert shown(scores, fold) == pytest.approx(metrics.auc_within(found))


def test_your_own_table_is_judged_by_people_and_without_a_column_of_people(tmp_path, judges):
    shown = functions(
        "18", "judge_features", np=np, pd=pd, sk=sk, StratifiedGroupKFold=StratifiedGroupKFold,
        LogisticRegression=LogisticRegression, cross_val_predict=cross_val_predict,
        pipeline=judges["pipeline"],
    )["judge_features"]  # fmt: skip
    numbers, target, _ = material(n=120)
    own = numbers.assign(
        subject=[f"Ü{place // 4}" for place in range(120)],
        label=np.where(target == 1, "große", "żółte"),
        note="text",
    )
    file = tmp_path / "Kép 2.csv"
    own.to_csv(file, index=False)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        scores = shown(file, "große")
    assert "30 subjects, 6 features" in text.getvalue()
    assert f"AUC {sk.roc_auc_score(target, scores):.3f} pooled, " in text.getvalue()
    assert sk.roc_auc_score(target, scores) > 0.7
    own.drop(columns="subject").to_csv(file, index=False)
    with contextlib.redirect_stdout(text):
        shown(file, "große")
    assert "No column 'subject'" in text.getvalue()
    assert "120 subjects, 6 features" in text.getvalue()


@pytest.mark.slow
def test_the_solutions_solve_the_exercises():
    answers = solutions("18", **SKLEARN)
    assert sorted(answers) == exercises("18")
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved.", told(name, answer)


def with_one_less(train, test):
    """Standardise with the deviation that divides by n - 1, as pandas does."""
    mean, spread = train.mean(axis=0), train.std(axis=0, ddof=1)
    spread = np.where(spread > 0, spread, 1)
    return (train - mean) / spread, (test - mean) / spread


def test_either_standard_deviation_is_right():
    assert verdict("18-b", with_one_less) == "solved."


@pytest.mark.slow
@pytest.mark.parametrize("kind", [set, frozenset, list, np.array, pd.Series, pd.Index])
def test_the_two_names_may_come_in_any_collection(kind):
    best = solutions("18", **SKLEARN)["18-c"]
    assert verdict("18-c", lambda *given: kind(list(best(*given)))) == "solved."


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


def _best(numbers, target, score):
    return max(combinations(numbers.columns, 2), key=lambda pair: score(numbers[list(pair)]))


def random_folds(numbers, target, subjects):
    def score(part):
        model = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
        cut = KFold(5, shuffle=True, random_state=1)
        found = cross_val_predict(model, part, target, cv=cut, method="predict_proba")[:, 1]
        return sk.roc_auc_score(target, found)

    return _best(numbers, target, score)


def best_singles(numbers, target, subjects):
    areas = {name: sk.roc_auc_score(target, numbers[name]) for name in numbers}
    return sorted(areas, key=lambda name: -max(areas[name], 1 - areas[name]))[:2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("18-a", any_pair, "Pixels beside a gap"),
        ("18-a", one_inside, "Pixels outside have no influence"),
        ("18-a", wrapped, "unlike uint8"),
        ("18-a", 3.0, "It is a function"),
        ("18-b", together, "the same numbers"),
        ("18-b", each_by_itself, "the same numbers"),
        ("18-b", with_zero, "constant feature"),
        ("18-b", in_place, "unchanged"),
        ("18-c", random_folds, "names the person"),
        ("18-c", best_singles, "judged together"),
        ("18-b", lambda train, test: (train - train.mean(0), test - train.mean(0)), "deviation 1"),
        ("18-c", lambda numbers, target, subjects: ("a", "a"), "two different columns"),
        ("18-c", lambda numbers, target, subjects: "ab", "two different columns"),
    ],
)
def test_the_checkers_find_the_common_mistakes(name, wrong, hint):
    assert hint in missed(name, wrong)


@pytest.mark.slow
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
