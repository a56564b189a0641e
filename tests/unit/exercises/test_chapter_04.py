"""The checkers of chapter 04 know right from wrong and say why; its speck map follows OpenCV."""

import ast

import cv2
import numpy as np
import pytest

from helpers.exercises.checking import exercises
from helpers.images import cropping
from tests.unit.chapter_page import code_cells, missed, solutions, verdict


@pytest.fixture(scope="module")
def page():
    """Return the functions that chapter 04 defines."""
    names = {"np": np, "cv2": cv2}
    for cell in code_cells("04"):
        if not {"setup", "solution"} & set(cell.metadata.get("tags", [])):
            tree = ast.parse(cell.source)
            tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
            exec(compile(tree, "chapter 04", "exec"), names)
    return names


@pytest.fixture(scope="module")
def frame():
    """A frame with an ellipse whose top row is 40, brighter towards its middle."""
    mask = cv2.ellipse(np.zeros((150, 150), np.uint8), (75, 75), (50, 35), 0, 0, 360, 1, -1)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    noise = np.random.default_rng(0).integers(0, 40, (150, 150, 3))
    bright = 80 + 3 * np.minimum(depth, 35)[..., None] + noise
    return (bright * mask[..., None]).astype(np.uint8)


def noisy(frame):
    _, encoded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 15])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def test_speck_below_the_top_of_the_cell_is_the_first_contour(page, frame):
    assert [page["speck_is_first"](frame, row, 5) for row in (5, 30, 44, 75, 140)] == [
        *(False, False),
        *(True, True, True),
    ]


def test_window_keeps_the_scale_and_the_centre(page, frame):
    seen = page["window"](frame, 120)
    assert seen.shape == (120, 120, 3)
    box = cropping.find_cell(seen)
    assert (box.width, box.height) == cropping.find_cell(frame)[2:]
    assert abs(box.x + box.width // 2 - 60) <= 1
    assert abs(box.y + box.height // 2 - 60) <= 1


def test_all_solutions_are_right(page, frame):
    given = {"frame": frame, "noisy": noisy(frame)}
    answers = solutions("04", **page, **given)
    assert sorted(answers) == exercises("04")
    for name, answer in answers.items():
        context = given.values() if name == "04-c" else ()
        assert verdict(name, answer, *context) == "solved."


def box_share(frame):
    box = cropping.find_cell(frame)
    return box.width * box.height / frame[..., 0].size


def first_share(frame):
    mask = (frame.max(axis=2) > 0).astype(np.uint8)
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    return max(cv2.boundingRect(contours[0])[2:]) ** 2 / mask.size


def areas_of(frame):
    mask = (frame.max(axis=2) > 0).astype(np.uint8)
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    return [cv2.contourArea(contour) for contour in contours]


def one_sided_margin(frame, margin):
    return np.pad(cropping.crop_to_cell(frame), ((margin, 0), (margin, 0), (0, 0)))


def stretched_margin(frame, margin):
    square = np.pad(cropping.crop_to_cell(frame), ((margin, margin), (margin, margin), (0, 0)))
    return cv2.resize(square[1:-1], square.shape[:2]) if margin else square


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        (
            "04-a",
            lambda frame: cropping.crop_to_cell(frame)[..., 0].size,
            "You seem to count pixels",
        ),
        ("04-a", box_share, "You seem to count the box alone"),
        ("04-a", first_share, "A speck below the cell"),
        ("04-a", 0.3, "It is a function"),
        ("04-b", one_sided_margin, "plus twice the margin"),
        ("04-b", stretched_margin, "unchanged and in the middle"),
        ("04-d", lambda frame: len(areas_of(frame)) > 1, "A speck is not a second cell"),
        ("04-d", lambda frame: sum(areas_of(frame)) > 1.3 * max(areas_of(frame)), "Several small"),
        ("04-d", lambda frame: len(areas_of(frame)), "returns True or False"),
    ],
)
def test_wrong_answer_is_told_what_is_wrong(name, answer, says):
    assert says in missed(name, answer)


@pytest.mark.parametrize(
    ("answer", "says"),
    [(0, "noise in the background"), (150, "rim of the cell"), (12.5, "a whole number")],
)
def test_wrong_threshold_is_told_what_is_wrong(answer, says, frame):
    assert says in missed("04-c", answer, frame, noisy(frame))
