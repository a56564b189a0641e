"""What chapter 03 shows is what helpers have; its checkers know right from wrong and say why."""

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import catalog as catalogs
from helpers.catalog import augmentation, balancing
from helpers.exercises.checking import exercises
from tests.unit.chapter_page import code_cells, missed, solutions, verdict


@pytest.fixture(scope="module")
def page():
    """Return the functions that chapter 03 defines, and the line that computes class weights."""
    names = {"np": np, "SEED": 24, "blast": np.repeat([0, 1], [44, 19])}
    for cell in code_cells("03"):
        lines = [line for line in cell.source.splitlines() if line != "import keras"]
        tree = ast.parse("\n".join(lines))
        tree.body = [node for node in tree.body if _defines(node)]
        if "setup" not in cell.metadata.get("tags", []):
            exec(compile(tree, "chapter 03", "exec"), names)
    return names


def _defines(node):
    """What else a cell does needs the data set."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "weights"
    return isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)


def test_class_weights_of_the_page_are_those_of_the_helper(page):
    rows = [
        {"image_id": str(n), "path": "/x", "label": "ab"[n >= 44], "positive": int(n >= 44)}
        for n in range(63)
    ]
    catalog = catalogs.make(rows).assign(split="train")
    assert page["weights"] == pytest.approx(balancing.class_weights(catalog))


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_batches_of_the_page_are_those_of_the_helper(page, few, many, epoch):
    targets = np.repeat([0, 1], [few, many])
    shown = list(page["half_and_half"](targets, 8, 24, epoch))
    np.testing.assert_array_equal(shown, list(balancing.balanced_batches(targets, 8, 24, epoch)))


def test_copies_of_the_page_are_those_of_the_helper():
    source = next(cell.source for cell in code_cells("03") if "copies = {" in cell.source)
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if ast.unparse(node).startswith("copies = ")]
    names = {"np": np, "pixels": np.random.default_rng(0).integers(0, 256, (1, 5, 5, 3))}
    exec(compile(tree, "chapter 03", "exec"), names)
    expected = ["identity", *balancing.PAPER_TRANSFORMS]
    for shown, transform in zip(names["copies"].values(), expected, strict=True):
        np.testing.assert_array_equal(shown, augmentation.apply(names["pixels"][0], transform))


def test_numbers_of_the_page_ignore_orientation_and_notice_blur(page):
    import cv2

    ellipse = np.zeros((64, 64), np.uint8)
    cv2.ellipse(ellipse, (32, 30), (24, 16), 30, 0, 360, 1, -1)
    noise = np.random.default_rng(0).integers(100, 220, (64, 64, 3), dtype=np.uint8)
    image = noise * ellipse[..., None]
    numbers = page["describe"](image)
    turned = page["describe"](np.ascontiguousarray(np.rot90(image)))
    np.testing.assert_allclose(turned, numbers, rtol=1e-3, atol=1e-3)
    soft = page["describe"](cv2.GaussianBlur(image, (0, 0), 1))
    assert soft[2] < 0.9 * numbers[2]  # the finest band


def test_corrected_scores_are_those_of_bayes_rule(page):
    # Two bells one unit apart: the posterior at one prevalence follows from that at another.
    def posterior(x, share):
        return 1 / (1 + (1 - share) / share * np.exp(0.5 - x))

    x = np.linspace(-3, 4, 8)
    corrected = page["correct"](posterior(x, 0.5), seen=0.5, real=0.1)
    np.testing.assert_allclose(corrected, posterior(x, 0.1))


def test_precision_of_the_page_is_counted(page):
    # 20 positives of which 15 are found, 80 negatives of which 8 are called positive.
    assert page["precision_at"](0.2, 0.75, 0.9) == pytest.approx(15 / 23)


def test_all_solutions_are_right(page):
    answers = solutions("03", math=page["math"])
    assert sorted(answers) == exercises("03")
    assert {name: verdict(name, answer) for name, answer in answers.items()} == dict.fromkeys(
        answers, "solved."
    )


def only_copies(table):
    return {name for name in table["transform"] if name != "identity"}


def in_one_class_only(table):
    counts = table.groupby("transform")["label"].nunique()
    return set(counts[counts == 1].index)


@pytest.mark.parametrize(
    ("name", "answer", "told"),
    [
        ("03-a", (860, 3, 4), "As many images"),
        ("03-a", (757, 6, 7), "neither of the two old sizes"),
        ("03-a", (430, 4, 5), "You seem to count the originals"),
        ("03-a", (430, 3.17, 4), "half a copy"),
        ("03-a", (430, 3, 5), "differ by at most one"),
        ("03-b", lambda positive, negative: np.log(positive / negative), "mind the sign"),
        ("03-b", lambda positive, negative: 0.0, "Where positives are rare"),
        ("03-b", lambda positive, negative: np.log10(negative / positive), "natural logarithm"),
        ("03-c", lambda table: list(table["transform"]), "returns a set"),
        ("03-c", only_copies, "in whatever numbers"),
        ("03-c", in_one_class_only, "With three classes"),
        ("03-c", lambda table: set(table["transform"]), "What every class has"),
    ],
)
def test_wrong_answer_is_told_what_is_wrong(name, answer, told):
    assert told in missed(name, answer)
