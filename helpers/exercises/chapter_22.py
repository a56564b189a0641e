"""The checkers of the exercises of chapter 22: repaired programs, and a check of figures."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from helpers.exercises.checking import Point, checker


@checker("22-a")
def training_only(answer: Callable) -> Iterator[Point]:
    """Check a function that augments the right one of three sets of images."""
    rng = np.random.default_rng(17)
    parts = {name: rng.integers(0, 256, (4, 5, 5, 3)) for name in ("train", "val", "test")}
    before = {name: images.copy() for name, images in parts.items()}
    output = answer(parts, lambda images: images[:, ::-1])
    right_keys = isinstance(output, dict) and sorted(output) == sorted(before)
    yield right_keys, "The result has the three sets."
    yield len(output["train"]) == 8, "The training set has each image and its mirror image."
    halves = [(output["train"][:4], 1), (output["train"][4:], -1)]
    yield (
        all(np.array_equal(half, before["train"][:, ::step]) for half, step in halves),
        "Its images come first, then the mirrored ones.",
    )
    for name, use in (("val", "decide when to stop"), ("test", "judge the result")):
        yield (
            np.array_equal(output[name], before[name]),
            f"The images that {use} look like the images of later patients.",
        )
    same = all(np.array_equal(parts[name], before[name]) for name in before)
    yield same, "The images that it was given are unchanged: it works on a copy."


@checker("22-b")
def only_images(answer: Callable) -> Iterator[Point]:
    """Check a function that counts the images of each class in a folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, count in (("all", 5), ("hem", 3)):
            (folder / label).mkdir()
            for index in range(count):
                (folder / label / f"{index}.bmp").write_bytes(b"BM")
        clean = answer(folder)
        yield isinstance(clean, dict), "It returns a dictionary."
        yield clean == {"all": 5, "hem": 3}, "A clean folder is counted right."
        (folder / "all" / "9.BMP").write_bytes(b"BM")
        yield answer(folder) == {"all": 6, "hem": 3}, "A file name that ends in capitals counts."
        hidden = folder / "all" / ".ipynb_checkpoints"
        hidden.mkdir()
        result = answer(folder)
        yield result.get("all") == 6, "A folder among the images does not count as an image."
        (hidden / "0-checkpoint.bmp").write_bytes(b"BM")
        (folder / "hem" / "._1.bmp").write_bytes(b"BM")
        (folder / "hem" / "notes.txt").write_text("not an image")
        result = answer(folder)
        yield result.get("all") == 6, "Copies in a hidden folder do not count: do not look there."
        yield result.get("hem") == 3, "Hidden files and text files do not count."
        (folder / ".ipynb_checkpoints").mkdir()
        yield sorted(answer(folder)) == ["all", "hem"], "A hidden folder is not a class."


@checker("22-c")
def every_image_once(answer: Callable) -> Iterator[Point]:
    """Check a function that scores a model on all images, batch by batch."""
    sizes: list[int] = []

    def predict(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return (np.asarray(batch) > 0).astype(float)

    # The model is right on the first images and wrong on the others.
    truth = np.ones(1000, dtype=int)
    images = np.where(np.arange(1000) < 800, 1, -1)
    result = float(answer(predict, images, truth, 40))
    if np.isclose(result, 1.0):
        yield False, f"Of 1,000 images you seem to score {sum(sizes)}; score all of them."
    else:
        yield np.isclose(result, 0.8), "The accuracy of a thousand images is right."
    yield max(sizes, default=0) <= 40, "No batch is larger than asked for."
    sizes.clear()
    truth, images = np.ones(45, dtype=int), np.where(np.arange(45) < 40, 1, -1)
    with warnings.catch_warnings():  # the next line reports a mean over no images
        warnings.simplefilter("ignore", RuntimeWarning)
        result = float(answer(predict, images, truth, 40))
    yield sum(sizes) == 45, "Each image is scored once, also those of a small last batch."
    if np.isclose(result, 0.5):
        yield False, "You seem to average the batches; a small last batch must count less."
    else:
        yield np.isclose(result, 40 / 45), "Each image counts the same."


@checker("22-d")
def can_be_together(answer: Callable) -> Iterator[Point]:
    """Check a function that says whether three rounded figures can come from two counts."""
    given = answer(10, 10, (0.85, 0.9, 0.8), 2)
    yield isinstance(given, bool | np.bool_), "It returns True or False."
    cases = (
        (True, "figures that come from 9 of 10 and 8 of 10", (10, 10, (0.85, 0.9, 0.8), 2)),
        (False, "a sensitivity of 0.85 cannot come from 10 images", (10, 20, (0.8, 0.85, 0.8), 2)),
        (False, "nor can such a specificity", (20, 10, (0.8, 0.8, 0.85), 2)),
        (
            False,
            "each figure alone is possible, but an accuracy lies between the other two",
            (10, 10, (0.95, 0.9, 0.8), 2),
        ),
        (False, "the classes are not equally large", (30, 10, (0.85, 0.9, 0.8), 2)),
        (
            True,
            "the same with the accuracy of these classes",
            (30, 10, (0.875, 0.9, 0.8), 3),
        ),
        (True, "rounded figures: a third", (3, 3, (0.5, 0.333, 0.667), 3)),
        (False, "the same with one decimal more than was rounded", (3, 3, (0.5, 0.3330, 0.667), 4)),
        (True, "a last digit 5 may be rounded to either side", (8, 8, (0.5, 0.38, 0.62), 2)),
        (True, "several counts fit one figure", (1000, 500, (0.83, 0.9, 0.7), 2)),
    )
    for expected, sentence, case in cases:
        yield bool(answer(*case)) is expected, f"It is right: {sentence}.", expected


@checker("22-e")
def whole_study(answer: Callable) -> Iterator[Point]:
    """Check a function that splits, chooses and reports, on drawn features of drawn subjects."""
    rng = np.random.default_rng(22)
    subjects = rng.permutation(np.repeat([f"S{number:02}" for number in range(30)], 6))
    truth = np.array([int(name[1:]) % 2 for name in subjects])
    numbers = rng.normal(size=(len(truth), 8)) + 0.4 * truth[:, None]
    names = ("train", "val", "test")
    together = shares = unmoved = judged = True
    reacts = False
    for seed in range(6):
        found = answer(numbers.copy(), truth.copy(), subjects.copy(), seed)
        keys = isinstance(found, dict) and sorted(found) == ["C", "part", "test", "val"]
        if not keys:
            yield False, "The result has part, C, val and test, and nothing else."
        part = np.asarray(found["part"])
        if part.shape != truth.shape or set(part) != set(names):
            yield False, 'Each image is in "train", "val" or "test", and none is empty.'
        who = [set(subjects[part == name]) for name in names]
        together &= sum(map(len, who)) == len(set(subjects))
        shares &= all(0.1 <= (part == name).mean() <= 0.3 for name in names[1:])
        for name in names[1:]:  # all heads now have all images of this part right, or all wrong
            moved = numbers.copy()
            moved[part == name] = 1e6 * (2 * truth[part == name] - 1)[:, None]
            again = answer(moved, truth.copy(), subjects.copy(), seed)
            judged &= again[name] in (0, 1)
            if name == "test":
                unmoved &= np.array_equal(again["part"], part) and again["C"] == found["C"]
                unmoved &= bool(np.isclose(again["val"], found["val"]))
            else:
                reacts |= again["C"] != found["C"]
    yield together, "No subject has images in two parts: deal subjects, not images."
    yield shares, "About a fifth of the images is for val, and about a fifth for test."
    yield unmoved, "With other features of the test images, C and the accuracy on val are the same."
    yield reacts, "With other features of the val images, another C can be the best."
    yield judged, "val and test are the accuracies on these images."
