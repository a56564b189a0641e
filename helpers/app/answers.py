"""What the model says about one cell, and what is known about the model: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Vote(NamedTuple):
    """What one member of the ensemble says about a cell.

    Attributes
    ----------
    name : str
        The member's name in its run record.
    probability : float
        Of the positive class, calibrated, from 0 to 1.
    """

    name: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """What the model says about one cell.

    Attributes
    ----------
    box : tuple of int, or None
        Top, left, bottom and right of the crop in the picture, in pixels; None for the
        whole picture.
    crop : numpy.ndarray
        uint8 RGB, shape (size, size, 3): what the model saw.
    label : str
        The class; ``""`` when there is no answer.
    probability : float
        Of the positive class, calibrated; nan when there is no answer.
    threshold : float
        The label is the positive class when the probability is at least this.
    reliability : str
        How often validation cells with such a probability were positive, in a sentence.
    votes : tuple of Vote
        One for each member of the ensemble.
    distance : float
        How unlike the training cells this one is: 1 is the 99th percentile of the
        validation cells.
    warnings : tuple of str
        Sentences, the gravest first.
    """

    box: tuple[int, int, int, int] | None
    crop: np.ndarray
    label: str
    probability: float
    threshold: float
    reliability: str
    votes: tuple[Vote, ...]
    distance: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ModelFacts:
    """What a person reads before choosing a model.

    Attributes
    ----------
    key : str
        Folder name of the run; safe in an address.
    name, dataset, profile, split, trained : str
        From the run record; `trained` is a date.
    seed : int
    classes : tuple of two str
        The negative and the positive class.
    size : int
        Side of the images that the model takes, in pixels.
    people : str
        How many subjects it was trained and validated on, in words.
    figures : dict of str to str
        Figures on validation subjects with their intervals, ready to be read.
    members : tuple of str
        Names of the networks that vote.
    notes : tuple of str
        Sentences that a person must read before any answer: the network collapsed, it was
        trained on drawn cells, its probabilities are not calibrated.
    card : str
        The model card, in Markdown.
    """

    key: str
    name: str
    dataset: str
    profile: str
    seed: int
    split: str
    classes: tuple[str, str]
    size: int
    trained: str
    people: str
    figures: dict[str, str]
    members: tuple[str, ...]
    notes: tuple[str, ...]
    card: str


@dataclass(frozen=True)
class Refused:
    """A run on disk that cannot stand behind the app.

    Attributes
    ----------
    key, name : str
        As in :class:`ModelFacts`.
    reason : str
        A sentence.
    """

    key: str
    name: str
    reason: str


def named(label: str) -> str:
    """Return a class as it is written in running text: short ones are abbreviations."""
    return label.upper() if len(label) < 4 else label
