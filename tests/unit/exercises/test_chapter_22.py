"""The bugs on the page of chapter 22 are bugs, the solutions repair them, the checks know both."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from helpers.exercises.checking import exercises
from helpers.studies import papers
from tests.unit.chapter_page import verdict

PAGE = Path(__file__).parents[3] / "notebooks" / "22_reproducing_the_papers.ipynb"
CELLS = nbformat.read(PAGE, as_version=4).cells
NAMES = [bug.exercise for bug in papers.BUGS]


def parts(name):
    """Return the buggy function and the solution of an exercise, as they stand on the page."""
    start = next(
        place
        for place, cell in enumerate(CELLS)
        if cell.cell_type == "markdown" and f"### Exercise {name}:" in cell.source
    )
    code = [cell for cell in CELLS[start:] if cell.cell_type == "code"]
    solution = next(cell for cell in code if "solution" in cell.metadata.get("tags", []))
    names = {"np": np, "check": lambda *_: None}
    exec(code[0].source, names)
    title = re.search(r"(?m)^def (\w+)\(", code[0].source)[1]
    buggy = names[title]
    exec(solution.source, names)
    return buggy, names["answer"]


@pytest.mark.parametrize("name", NAMES)
def test_the_bug_is_found_and_its_repair_accepted(name):
    buggy, repaired = parts(name)
    assert buggy is not repaired
    assert verdict(name, buggy) == "not solved yet."
    assert verdict(name, repaired) == "solved."
    assert verdict(name, ...).startswith("not answered yet")


def test_every_exercise_has_a_bug():
    assert exercises("22") == NAMES


def widest(mask):
    import cv2

    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    boxes = [cv2.boundingRect(contour) for contour in contours]
    return max(boxes, key=lambda box: box[2] + 3 * (box[2] > 80))


def last(mask):
    import cv2

    found = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    return cv2.boundingRect(found[-1])


def in_place(parts, turn):
    parts["train"] = np.concatenate([parts["train"], turn(parts["train"])])
    return parts


def mean_of_batches(predict, images, truth, batch):
    rows = [slice(start, start + batch) for start in range(0, len(images), batch)]
    return np.mean([np.mean((predict(images[r]) >= 0.5) == truth[r]) for r in rows])


def full_batches(predict, images, truth, batch):
    count = len(images) // batch * batch
    return mean_of_batches(predict, images[:count], truth[:count], batch)


def first_subjects(subjects, seed):
    names = np.unique(subjects)
    return np.isin(subjects, names[: len(names) // 5])


def by_ending(folder):
    return {label.name: len(list(label.rglob("*.bmp"))) for label in folder.iterdir()}


WRONG = {
    "22-a": [
        lambda scores, classes: [classes[int(s[0] < 0.5)] for s in scores],
        lambda scores, classes: [classes[int(s[0] > 0.5)] for s in scores],
        lambda scores, classes: [("hem", "all")[int(s[0] >= 0.5)] for s in scores],
    ],
    "22-b": [
        lambda network, image: float(network.predict(image[None] / 127.5 - 1)[0, 0]),
        lambda network, image: network.predict(image[None]),
        lambda network, image: 0.8,
    ],
    "22-c": [last, widest, lambda mask: (20, 30, 40, 25)],
    "22-d": [by_ending, lambda folder: {"all": 5, "hem": 3}],
    "22-e": [
        first_subjects,
        lambda subjects, seed: np.isin(subjects, np.random.default_rng().permutation(20)[:4]),
        lambda subjects, seed: np.zeros(len(subjects), dtype=bool),
    ],
    "22-f": [
        lambda experiments: (max(experiments, key=experiments.get), 0.8),
        lambda experiments: max((v[0], n) for n, v in experiments.items())[::-1],
    ],
    "22-g": [
        in_place,
        lambda parts, turn: {name: turn(images) for name, images in parts.items()},
        lambda parts, turn: dict(parts),
    ],
    "22-h": [mean_of_batches, full_batches, lambda predict, images, truth, batch: 0.8],
}


@pytest.mark.parametrize("name", NAMES)
def test_other_wrong_answers_are_told_from_right_ones(name):
    for place, wrong in enumerate(WRONG[name]):
        assert verdict(name, wrong) == "not solved yet.", place
    assert verdict(name, 17) == "not solved yet."


def test_other_right_answers_are_accepted():
    right = {
        "22-a": lambda scores, classes: [
            classes[1] if s >= 0.5 else classes[0] for s in np.ravel(scores)
        ],
        "22-b": lambda network, image: network.predict(image[np.newaxis])[0][0],
        "22-f": lambda tried: next(
            (name, test)
            for name, (val, test) in tried.items()
            if val == max(v for v, _ in tried.values())
        ),
        "22-h": lambda predict, images, truth, batch: np.concatenate(
            [
                (predict(images[s : s + batch]) >= 0.5) == truth[s : s + batch]
                for s in range(0, len(images), batch)
            ]
        ).mean(),
    }
    for name, answer in right.items():
        assert verdict(name, answer) == "solved.", name
