"""The bugs on the page of chapter 22 are bugs, the solutions repair them, the checks know both."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import catalog as catalogs
from helpers.base import settings
from helpers.catalog import splitting
from helpers.exercises.checking import exercises
from helpers.studies import lineup, paper_systems, papers
from tests.unit.chapter_page import functions, run, solutions, told, verdict
from tests.unit.studies.test_paper_systems import smears

PAGE = Path(__file__).parents[3] / "notebooks" / "22_reproducing_the_papers.ipynb"
SKLEARN = {
    "LogisticRegression": LogisticRegression,
    "StandardScaler": StandardScaler,
    "make_pipeline": make_pipeline,
}
CELLS = nbformat.read(PAGE, as_version=4).cells
NAMES = ["22-a", "22-b", "22-c", "22-d", "22-e"]
HUNT = ["22-a", "22-b", "22-c", "22-e"]


def parts(name):
    """Return name, buggy function and solution of an exercise, as they stand on the page."""
    start = next(
        place
        for place, cell in enumerate(CELLS)
        if cell.cell_type == "markdown" and f"### Exercise {name} (" in cell.source
    )
    code = [cell for cell in CELLS[start:] if cell.cell_type == "code"]
    solution = next(cell for cell in code if "solution" in cell.metadata.get("tags", []))
    names = {**SKLEARN, "np": np, "check": lambda *_: None}
    exec(code[0].source, names)
    title = re.search(r"(?m)^def (\w+)\(", code[0].source)[1]
    buggy = names[title]
    exec(solution.source, names)
    return title, buggy, names["answer"]


@pytest.mark.slow
@pytest.mark.parametrize("name", HUNT)
def test_the_bug_is_found_and_its_repair_accepted(name):
    title, buggy, repaired = parts(name)
    assert repaired.__name__ == title
    assert buggy is not repaired
    assert verdict(name, buggy) == "not solved yet."
    assert verdict(name, repaired) == "solved."
    assert verdict(name, ...).startswith("not answered yet")


@pytest.mark.slow
def test_every_exercise_has_its_checker_and_its_solution():
    assert exercises("22") == NAMES
    for name, answer in solutions("22", **SKLEARN).items():
        assert verdict(name, answer) == "solved.", name


def in_place(parts, turn):
    parts["train"] = np.concatenate([parts["train"], turn(parts["train"])])
    return parts


def mean_of_batches(predict, images, truth, batch):
    rows = [slice(start, start + batch) for start in range(0, len(images), batch)]
    return np.mean([np.mean((predict(images[r]) >= 0.5) == truth[r]) for r in rows])


def full_batches(predict, images, truth, batch):
    count = len(images) // batch * batch
    return mean_of_batches(predict, images[:count], truth[:count], batch)


def by_ending(folder):
    return {label.name: len(list(label.rglob("*.bmp"))) for label in folder.iterdir()}


def no_rounding(positives, negatives, figures, digits):
    accuracy, sensitivity, specificity = figures
    return bool(
        np.isclose(sensitivity * positives % 1, 0)
        and np.isclose(specificity * negatives % 1, 0)
        and min(sensitivity, specificity) <= accuracy <= max(sensitivity, specificity)
    )


def each_alone(positives, negatives, figures, digits):
    def possible(figure, images):
        return bool(papers.possible_counts(figure, images, digits))

    accuracy, sensitivity, specificity = figures
    return (
        possible(accuracy, positives + negatives)
        and possible(sensitivity, positives)
        and possible(specificity, negatives)
    )


def study(people=True, inside=True, by="val"):
    """Return the study of exercise 22-e with some of its mistakes repaired."""

    def repaired(numbers, truth, subjects, seed):
        rng = np.random.default_rng(seed)
        units = subjects if people else np.arange(len(subjects))
        order = rng.permutation(np.unique(units))
        kinds = np.array(["train"] * 3 + ["val", "test"])[np.arange(len(order)) % 5]
        where = dict(zip(order.tolist(), kinds, strict=True))
        part = np.array([where[unit] for unit in units.tolist()])
        if not inside:
            numbers = StandardScaler().fit_transform(numbers)
        x, y = ({name: each[part == name] for name in set(part)} for each in (numbers, truth))
        tried = []
        for strength in (0.001, 0.1, 10):
            head = LogisticRegression(C=strength)
            head = make_pipeline(StandardScaler(), head) if inside else head
            head.fit(x["train"], y["train"])
            scores = {name: head.score(x[name], y[name]) for name in x}
            tried.append((scores[by], scores, strength))
        _, scores, strength = max(tried, key=lambda one: one[0])
        return {"part": part, "C": strength, "val": scores["val"], "test": scores["test"]}

    return repaired


WRONG = {
    "22-a": [
        in_place,
        lambda parts, turn: {name: turn(images) for name, images in parts.items()},
        lambda parts, turn: dict(parts),
    ],
    "22-b": [by_ending, lambda folder: {"all": 5, "hem": 3}, lambda folder: 8],
    "22-c": [mean_of_batches, full_batches, lambda predict, images, truth, batch: 0.8],
    "22-d": [no_rounding, each_alone, lambda *_: True],
    "22-e": [study(people=False), study(inside=False), study(by="test"), study(by="train")],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_other_wrong_answers_are_told_from_right_ones(name):
    for place, wrong in enumerate(WRONG[name]):
        assert verdict(name, wrong) == "not solved yet.", place
    assert verdict(name, 17) == "not solved yet."


@pytest.mark.slow
def test_other_right_answers_are_accepted():
    def by_counts(positives, negatives, figures, digits):
        found = (
            papers.possible_counts(figure, images, digits)
            for figure, images in zip(figures[1:], (positives, negatives), strict=True)
        )
        hits, spared = map(np.array, found)
        shares = np.add.outer(hits, spared) / (positives + negatives)
        return bool((np.abs(shares - figures[0]) <= 0.5 * 10.0**-digits + 1e-9).any())

    right = {
        "22-c": lambda predict, images, truth, batch: np.concatenate(
            [
                (predict(images[s : s + batch]) >= 0.5) == truth[s : s + batch]
                for s in range(0, len(images), batch)
            ]
        ).mean(),
        "22-d": by_counts,
        "22-e": study(),
    }
    for name, answer in right.items():
        assert verdict(name, answer) == "solved.", name


@pytest.mark.slow
def test_the_feedback_names_the_mistake():
    _, buggy, _ = parts("22-c")
    assert "Of 1,000 images you seem to score 800" in told("22-c", buggy)
    assert "You seem to average the batches" in told("22-c", mean_of_batches)
    assert "✗ No subject has images in two parts" in told("22-e", study(people=False))
    assert "✗ With other features of the test images" in told("22-e", study(inside=False))


def test_headings_and_text_of_the_hunt_do_not_name_the_mistakes():
    hunted = [
        cell.source
        for cell in CELLS
        if cell.cell_type == "markdown" and "### Exercise" in cell.source
    ]
    for words in ("hidden", "checkpoint", "800 training", "validation set", "scaler", "leak"):
        assert not any(words in text for text in hunted), words


def test_the_count_check_on_the_page_is_the_one_that_ships():
    shown = functions("22", "possible_counts", np=np)["possible_counts"]
    for share, images, digits in ((0.9348, 2133, 4), (0.9348, 100, 4), (0.965, 57, 3), (1, 1, 2)):
        assert shown(share, images, digits).tolist() == papers.possible_counts(
            share, images, digits
        )


def test_the_folds_on_the_page_are_those_that_ship(tmp_path, monkeypatch):
    course = settings.Settings("phantom", settings.PROFILES["smoke"], 24, None, tmp_path)
    table = smears(18)
    numbers = np.random.default_rng(1).normal(size=(len(table), 6))
    numbers[:, 0] += catalogs.target(table)
    monkeypatch.setattr(lineup, "catalog", lambda *_: table)
    monkeypatch.setattr(lineup, "features", lambda *_: numbers)
    monkeypatch.setattr(lineup, "backbone_features", lambda *_: numbers)
    page = run(
        "22", "head = make_pipeline", "def out_of_fold", everyone=table, lineup=lineup,
        course=course, SEED=24, np=np, pd=pd,
    )  # fmt: skip
    for split, scores in (("random", page["by_image"]), ("subject", page["by_person"])):
        assert np.allclose(paper_systems.in_folds(course, "mobilenet", split)["score"], scores)


def test_the_two_checks_on_the_page_of_the_capstone_do_what_it_says(capsys):
    page = (PAGE.parents[1] / "book" / "capstone.md").read_text(encoding="utf-8")
    split = splitting.split_by_subject(smears(20).assign(split=""), nearest=True)
    names = {"catalog": split}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    assert "Empty DataFrame" in capsys.readouterr().out
    shuffled = catalogs.check(names["shuffled"])
    moved = (shuffled["label"] != split["label"]).groupby(split["split"]).mean()
    assert moved["train"] > 0
    assert moved[["val", "test"]].eq(0).all()
    assert shuffled.groupby("subject")["label"].nunique().eq(1).all()
