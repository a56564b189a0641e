"""Answers about cells, from a network that was loaded once: it knows no page and no store."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage, special

from helpers import images as image_files
from helpers.app import prepare, saved_runs
from helpers.app.answers import Answer, ModelFacts, Refused, Vote, named
from helpers.app.saved_runs import SavedRun
from helpers.base import arguments
from helpers.base.errors import AppError, CellError, CourseError, ExplainError
from helpers.base.settings import Profile, Settings
from helpers.images import cropping
from helpers.predictions import calibration

#: How the cells of a picture are found.
KINDS = ("auto", "cell", "field")
#: From this calibrated probability up the answer is the positive class.
THRESHOLD = 0.5
#: What is trained where no network is: half a minute on two cores, and better than guessing.
SMALL = Profile("small", 800, 800, 200, 64, 12, 4, 16, 200)
_ONE_CELL = 1 / 30  # of a picture: a nucleus in its middle that is as large shows one cell
_ANOTHER_SIZE = 1.25  # times larger or smaller than 99 of 100 training cells


class Found(NamedTuple):
    """A cell in a picture: its box, its square for the network, and what is wrong with it."""

    box: tuple[int, int, int, int] | None
    crop: np.ndarray
    warnings: tuple[str, ...]
    none: bool = False


class Scores(NamedTuple):
    """Of n crops: probabilities (n,), those of each member (members, n), distances (n,)."""

    probability: np.ndarray
    members: np.ndarray
    distance: np.ndarray


def available(artifacts: Path) -> list[ModelFacts | Refused]:
    """Return the networks that can be chosen, the newest first, then the refused, with reasons.

    Only records are read. A network that was loaded once before is described in full.
    """
    runs, listed = saved_runs.find(artifacts), []
    for run in runs:
        if run.reason:
            listed.append(Refused(run.key, run.name, run.reason))
            continue
        voting = saved_runs.members(run, runs)
        listed.append(_facts(voting, prepare.words_of(voting, artifacts)))
    return listed


def train_small(artifacts: Path, progress: Callable[[str], object] = print) -> str:
    """Train a small network on drawn cells and return its key: less than a minute.

    Parameters
    ----------
    artifacts : pathlib.Path
        ``$COURSE_ARTIFACTS``, where the drawn images go too.
    progress : callable
        Is told in a sentence what is being done.
    """
    from helpers.studies import lineup

    course = Settings("phantom", SMALL, 24, None, Path(artifacts))
    progress(f"No trained network is here. Drawing {SMALL.phantoms} cells to train a small one.")
    table = lineup.catalog(course, "subject")
    progress(
        f"Training on {(table['split'] == 'train').sum()} cells, at most {SMALL.epochs} times."
    )
    lineup.network(course, "subject")
    newest = max(course.folder("runs").glob("*/record.json"), key=lambda path: path.stat().st_mtime)
    return newest.parent.name


class Service:
    """A network of the course, or a vote of several, ready to answer.

    Threads may share it: one computes at a time.

    Attributes
    ----------
    facts : ModelFacts
    """

    def __init__(
        self, facts: ModelFacts, networks: Sequence[prepare.Network], known: prepare.Reference
    ):
        self.facts, self._networks, self._known = facts, networks, known
        self._lock = threading.Lock()
        for step in prepare.STEPS:  # compiled now, not when somebody waits
            self.classify_crops(np.zeros((step, facts.size, facts.size, 3), np.uint8))

    @classmethod
    def load(
        cls, key: str | Path, artifacts: Path, progress: Callable[[str], object] = print
    ) -> Service:
        """Load a network without running any code in its file.

        Parameters
        ----------
        key : str or pathlib.Path
            Of :func:`available`; or, as a Path, the folder of a run.
        artifacts : pathlib.Path
        progress : callable
            Is told in a sentence what takes long.

        Raises
        ------
        AppError
            When there is no such run, or it cannot be used.
        TrainingError, ModelError
            When its file is damaged.
        """
        run = saved_runs.get(key, artifacts)
        runs = saved_runs.members(run, saved_runs.find(artifacts))
        progress(f"Loading {' and '.join(one.name for one in runs)}.")
        networks = [prepare.Network(one) for one in runs]
        known = prepare.reference(runs, networks, artifacts, progress)
        return cls(_facts(runs, known.words), networks, known)

    def classify_crops(self, crops: np.ndarray) -> Scores:
        """Return what the networks say about squares, uint8 of shape (n, size, size, 3)."""
        crops, size = arguments.pixels(crops, AppError), self.facts.size
        if crops.shape[1:3] != (size, size):
            raise AppError(f"The crops must be of {size}x{size} pixels: classify makes them.")
        with self._lock:
            outputs = [network(crops) for network in self._networks]
        scores = np.stack([output.scores for output in outputs])
        logits = calibration.logit(np.vstack([scores.mean(axis=0), scores]))
        calibrated = special.expit(logits / self._known.temperatures[:, np.newaxis])
        distance = self._known.distances(outputs[0].features)
        return Scores(calibrated[0], calibrated[1:], distance)

    def classify(self, pictures: Sequence[np.ndarray], kind: str = "auto") -> list[list[Answer]]:
        """Return the answers for each picture: one for each cell that is found in it.

        Parameters
        ----------
        pictures : sequence of numpy.ndarray
            uint8 RGB, of any sizes.
        kind : str
            ``cell``: one cell in the middle; ``field``: many cells; ``auto``: a cell cut out on
            black is one cell. A photograph is classified whole if the network was trained so;
            else its cells are found and cut out: the one in the middle if it is large, or all.

        Raises
        ------
        AppError
            When the kind is unknown, or a picture is not uint8 RGB.
        """
        arguments.one_of("kind", kind, KINDS, AppError)
        found = [self._cells(picture, kind) for picture in pictures]
        crops = [cell.crop for cells in found for cell in cells]
        if not crops:
            return []
        scores = self.classify_crops(np.stack(crops))
        rows = iter(range(len(crops)))
        return [[self._answer(cell, scores, next(rows)) for cell in cells] for cells in found]

    def explain(self, crop: np.ndarray) -> np.ndarray:
        """Return Grad-CAM's map of an answer's crop for the class that it was given.

        Returns
        -------
        numpy.ndarray
            float32, shape (size, size), from 0 to 1, which is the strongest part; all 0 where
            nothing speaks for the class.
        """
        from helpers.explaining import maps
        from helpers.models.layers import layers_of

        positive = bool(self.classify_crops(crop[np.newaxis]).probability[0] >= THRESHOLD)
        model = self._networks[0].model
        try:
            layer = maps.feature_layer(model)
        except ExplainError:  # of another architecture: its last convolution
            paths = [path for path, one in layers_of(model).items() if "Conv" in type(one).__name__]
            layer = paths[-1] if paths else None
        with self._lock:
            drawn = maps.grad_cam(model, crop, layer, positive=positive)
        return drawn / drawn.max() if drawn.max() > 0 else drawn

    def _answer(self, cell: Found, scores: Scores, row: int) -> Answer:
        known = self._known
        if cell.none:
            return Answer(None, cell.crop, "", np.nan, THRESHOLD, "", (), np.nan, cell.warnings)
        probability, distance = float(scores.probability[row]), float(scores.distance[row])
        warnings = list(cell.warnings)
        if distance > 1:
            warnings.insert(
                0,
                "It is unlike the training cells: 99 in 100 validation cells are nearer to them "
                f"(its distance is {np.ceil(100 * distance) / 100:.2f}; theirs is at most 1).",
            )
        if prepare.sharpness(cell.crop) < known.sharp:
            warnings.append("It is out of focus: 99 in 100 training cells are sharper.")
        top, left, bottom, right = cell.box
        side, (low, high) = max(bottom - top, right - left), known.sides
        if not low / _ANOTHER_SIZE <= side <= high * _ANOTHER_SIZE:
            warnings.append(
                f"It is of another size than in training: its longer side has {side} pixels, those "
                f"of training had {low:.0f} to {high:.0f}."
            )
        names = self.facts.members
        return Answer(
            box=cell.box,
            crop=cell.crop,
            label=self.facts.classes[int(probability >= THRESHOLD)],
            probability=probability,
            threshold=THRESHOLD,
            reliability=known.reliability(probability, named(self.facts.classes[1])),
            votes=tuple(map(Vote, names, map(float, scores.members[:, row]))),
            distance=distance,
            warnings=tuple(warnings),
        )

    def _cells(self, picture: np.ndarray, kind: str) -> list[Found]:
        """Find the cells of a picture; at least one entry, which may say that there is none."""
        cropping.require_rgb(picture, "An answer", AppError)
        frame = image_files.is_frame(picture)
        try:
            if frame and kind != "field":
                return [self._frame(picture)]
            if not self._known.on_black and kind != "field":  # trained on whole photographs
                height, width = picture.shape[:2]
                side = min(height, width)
                top, left = (height - side) // 2, (width - side) // 2
                box = top, left, top + side, left + side
                return [Found(box, image_files.prepare(picture, self.facts.size), ())]
            if cells := self._segmented(picture, kind):
                return cells
            problem = ""
        except CourseError as error:
            problem = f" {error}"
        crop = image_files.prepare(picture, self.facts.size, crop=False)
        return [Found(None, crop, (f"No cell was found.{problem}",), none=True)]

    def _frame(self, picture: np.ndarray) -> Found:
        x, y, width, height = cropping.find_cell(picture)
        box = y, x, y + height, x + width
        return Found(box, image_files.prepare(picture, self.facts.size), _clipped(box, picture))

    def _segmented(self, picture: np.ndarray, kind: str) -> list[Found]:
        """Cut the cells of a photograph out, on black if the network was trained so."""
        from helpers.cells import segmentation

        cells = np.zeros(picture.shape[:2], int)
        if kind != "field":
            with contextlib.suppress(CellError):
                one = segmentation.segment_cell(picture)
                if one.nucleus.mean() >= _ONE_CELL:
                    cells = one.cells
        if kind == "field" or (kind == "auto" and not cells.any()):
            cells = segmentation.segment_field(picture).cells
        found = []
        for number, place in enumerate(ndimage.find_objects(cells), start=1):
            if place is None:
                continue
            box = *(side.start for side in place), *(side.stop for side in place)
            part = picture[place]
            if self._known.on_black:
                part = part * (cells[place] == number)[..., np.newaxis]
            crop = image_files.prepare(part, self.facts.size, crop=False)
            found.append(Found(box, crop, _clipped(box, picture)))
        return found


def _clipped(box: tuple[int, int, int, int], picture: np.ndarray) -> tuple[str, ...]:
    top, left, bottom, right = box
    height, width = picture.shape[:2]
    if top > 0 and left > 0 and bottom < height and right < width:
        return ()
    return ("It touches the border of the picture: a part of it may be missing.",)


def _facts(runs: Sequence[SavedRun], words: dict) -> ModelFacts:
    """Return what a person reads about a vote, with the words of its reference, if it has any."""
    run = runs[0]
    record, data = run.record, run.record["data"]
    settings = record["settings"]
    notes = []
    if collapsed := words.get("collapsed") or record.get("collapsed"):
        notes.append(f"{collapsed} Its answers mean nothing.")
    if settings["dataset"] in saved_runs.DRAWN:
        notes.append(
            "It was trained on drawn cells: what it says about a photograph means nothing."
        )
    if record.get("weights", {}).get("source") == "random":
        notes.append("Its backbone started from random weights: no ImageNet weights were there.")
    if "problem" in words:
        notes.append(
            "Its probabilities are not calibrated, and it is unknown how unlike its training cells "
            f"a cell is (the distance): {words['problem'].rstrip('.')}."
        )
    if guesses := words.get("guesses"):
        notes.append(guesses)
    split = words.get("split") or ("random" if "random" in run.name else "")
    if split == "random":
        notes.append(
            "It was validated on other images of the same people, so its figures are too good."
        )
    counts = f"{data.get('train', '?')} images trained, {data.get('val', '?')} validated"
    accuracy = {"accuracy (validation)": f"{run.accuracy():.2f}"}
    facts = ModelFacts(
        key=run.key,
        name=run.name,
        dataset=settings["dataset"],
        profile=settings["profile"]["name"],
        seed=settings["seed"],
        split=split or ("subject" if "subject" in run.name else ""),
        classes=tuple(record["classes"]),
        size=run.size,
        trained=f"{run.trained:%Y-%m-%d}",
        people=words.get("people", counts),
        figures=words.get("figures", accuracy),
        members=tuple(one.name for one in runs),
        notes=tuple(notes),
        card=words.get("card", ""),
    )
    return facts if facts.card else dataclasses.replace(facts, card=_short_card(facts))


def _short_card(facts: ModelFacts) -> str:
    """Return what is known without the images, as Markdown."""
    lines = [f"# {facts.name}", "", *(f"{note}\n" for note in facts.notes)]
    lines += [f"- {name}: {value}" for name, value in facts.figures.items()]
    lines += [f"- data: {facts.dataset}, {facts.people}", f"- classes: {', '.join(facts.classes)}"]
    return "\n".join([*lines, "", "Teaching only, not for diagnosis.", ""])
