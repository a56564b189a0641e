"""The checkers of the exercises of chapter 22: repaired functions."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from helpers.exercises.checking import Network, Point, Required, checker


@checker("22-a")
def one_probability(answer: Callable) -> Iterator[Point]:
    """Check a function from scores and two class names to the names."""
    scores = np.array([[0.9], [0.2], [0.5], [0.49]], dtype=np.float32)
    result = list(answer(scores.copy(), ("hem", "all")))
    yield len(result) == 4, "There is one name for each image."
    yield "all" in result, "A high score is no longer called by the first name."
    yield "hem" in result, "A low score is still called by the first name."
    yield result == ["all", "hem", "all", "hem"], "From one half up, the second name is given."
    result = list(answer(np.array([[0.1]]), ("benign", "malignant")))
    yield result == ["benign"], "It also works for other names and a single image."


@checker("22-b")
def scaled_once(answer: Callable) -> Iterator[Point]:
    """Check a function that asks a network with its own scaling about one raw image."""
    image = np.full((6, 6, 3), 204, dtype=np.uint8)
    before, network = image.copy(), Network(lambda image: image.mean() / 255)
    score = answer(network, image)
    yield len(network.seen) == 1, "The network is called once."
    if not network.seen:
        return
    given = network.seen[0]
    yield given.shape == (1, 6, 6, 3), "It is given a batch of one image."
    yield float(given.max()) == 204, "It is given the original brightness of the image."
    yield np.ndim(score) == 0 and np.isclose(score, 0.8), "It returns the score as a number."
    yield np.array_equal(image, before), "The image that it was given is unchanged."


@checker("22-c")
def the_largest(answer: Callable) -> Iterator[Point]:
    """Check a function from a mask to the box (x, y, width, height) of its largest piece."""
    cases = (
        ("one cell alone", [(20, 30, 40, 25)]),
        ("a speck below the cell", [(20, 10, 40, 25), (70, 90, 3, 3)]),
        ("a speck above the cell", [(20, 50, 40, 25), (70, 4, 3, 3)]),
        ("specks on all sides", [(30, 30, 30, 35), (2, 2, 3, 2), (90, 5, 2, 3), (5, 92, 4, 2)]),
        ("a long thread is not the largest", [(30, 30, 30, 35), (2, 90, 90, 2)]),
    )
    for sentence, boxes in cases:
        mask = np.zeros((100, 100), dtype=np.uint8)
        for x, y, width, height in boxes:
            mask[y : y + height, x : x + width] = 255
        result = tuple(int(number) for number in answer(mask.copy()))
        yield result == boxes[0], f"It is right: {sentence}."


@checker("22-d")
def only_images(answer: Callable) -> Iterator[Point]:
    """Check a function that counts the images of each class in a folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, count in (("all", 5), ("hem", 3)):
            (folder / label).mkdir()
            for index in range(count):
                (folder / label / f"{index}.bmp").write_bytes(b"BM")
        yield answer(folder) == {"all": 5, "hem": 3}, "A clean folder is counted right."
        (folder / "all" / "9.BMP").write_bytes(b"BM")
        yield answer(folder) == {"all": 6, "hem": 3}, "A file name that ends in capitals counts."
        hidden = folder / "all" / ".ipynb_checkpoints"
        hidden.mkdir()
        result = answer(folder)
        yield result.get("all") == 6, "A hidden folder is not an image."
        (hidden / "0-checkpoint.bmp").write_bytes(b"BM")
        (folder / "hem" / "._1.bmp").write_bytes(b"BM")
        (folder / "hem" / "notes.txt").write_text("not an image")
        result = answer(folder)
        yield result.get("all") == 6, "Files in a hidden folder do not count."
        yield result.get("hem") == 3, "Hidden files and text files do not count."
        (folder / ".ipynb_checkpoints").mkdir()
        yield sorted(answer(folder)) == ["all", "hem"], "A hidden folder is not a class."


@checker("22-e")
def whole_subjects(answer: Callable) -> Iterator[Point]:
    """Check a function from each image's subject and a seed to which images are for the test."""
    subjects = np.repeat([f"S{number}" for number in range(20)], np.arange(3, 23))
    subjects = np.random.default_rng(17).permutation(subjects)
    test = np.asarray(answer(subjects.copy(), 1))
    fits = test.shape == subjects.shape and test.dtype == bool
    yield Required(fits, "There is one True or False for each image.")
    yield not set(subjects[test]) & set(subjects[~test]), "No subject is on both sides."
    yield len(set(subjects[test])) == 4, "A fifth of the subjects is in the test set."
    yield np.array_equal(test, answer(subjects.copy(), 1)), "The same seed gives the same split."
    others = [np.asarray(answer(subjects.copy(), seed)) for seed in (2, 3, 4)]
    yield (
        any(not np.array_equal(test, other) for other in others),
        "Another seed changes the split.",
    )


@checker("22-f")
def chosen_on_validation(answer: Callable) -> Iterator[Point]:
    """Check a function from experiments to the chosen one and the figure to report."""
    cases = (
        ("the best in validation is chosen", {"a": (0.9, 0.8), "b": (0.8, 0.95)}, ("a", 0.8)),
        ("its test figure is reported", {"a": (0.7, 0.9), "b": (0.85, 0.6)}, ("b", 0.6)),
        (
            "of equally good experiments the first is taken",
            {"a": (0.8, 0.7), "b": (0.8, 0.9)},
            ("a", 0.7),
        ),
        ("a single experiment is chosen", {"only": (0.5, 0.4)}, ("only", 0.4)),
    )
    for sentence, experiments, expected in cases:
        yield tuple(answer(dict(experiments))) == expected, f"It is right: {sentence}."


@checker("22-g")
def training_only(answer: Callable) -> Iterator[Point]:
    """Check a function that augments the right one of three sets of images."""
    rng = np.random.default_rng(17)
    parts = {name: rng.integers(0, 256, (4, 5, 5, 3)) for name in ("train", "val", "test")}
    before = {name: images.copy() for name, images in parts.items()}
    output = answer(parts, lambda images: images[:, ::-1])
    yield Required(sorted(output) == sorted(before), "The result has the three sets.")
    yield len(output["train"]) == 8, "The training set has each image and its mirror image."
    mirrored = np.concatenate([before["train"], before["train"][:, ::-1]])
    yield (
        np.array_equal(output["train"], mirrored),
        "Its images come first, then the mirrored ones.",
    )
    yield np.array_equal(output["val"], before["val"]), "The validation set is as it was."
    yield np.array_equal(output["test"], before["test"]), "The test set is as it was."
    same = all(np.array_equal(parts[name], before[name]) for name in before)
    yield same, "The images that it was given are unchanged."


@checker("22-h")
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
    yield not np.isclose(result, 1.0), "The images after the twentieth batch count too."
    yield np.isclose(result, 0.8), "The accuracy of a thousand images is right."
    yield max(sizes) <= 40, "No batch is larger than asked for."
    sizes.clear()
    truth, images = np.ones(45, dtype=int), np.where(np.arange(45) < 40, 1, -1)
    with warnings.catch_warnings():  # the next line reports a mean over no images
        warnings.simplefilter("ignore", RuntimeWarning)
        result = float(answer(predict, images, truth, 40))
    yield sum(sizes) == 45, "Each image is scored once, also those of a small last batch."
    yield np.isclose(result, 40 / 45), "A small last batch counts less than a full batch."
