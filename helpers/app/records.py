"""What the web app keeps of one cell and of what readers say about it: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.app.answers import Vote

#: What a reader can say about a cell. As a filter, ``none`` finds cells without a verdict.
VERDICTS = ("agree", "disagree", "unsure")


@dataclass(frozen=True)
class NewCell:
    """A cell to be stored: what :class:`helpers.app.answers.Answer` says, without pixels.

    Attributes
    ----------
    box, label, probability, threshold, distance, warnings, votes, reliability
        As in `Answer`.
    thumbnail : bytes
        A small PNG or JPEG. A record is read without it:
        see :meth:`helpers.app.store.Store.thumbnail`.
    """

    box: tuple[int, int, int, int] | None
    label: str
    probability: float
    threshold: float
    distance: float
    warnings: tuple[str, ...] = ()
    votes: tuple[Vote, ...] = ()
    thumbnail: bytes = b""
    reliability: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a reader says about a cell.

    Attributes
    ----------
    verdict : str
        One of :data:`VERDICTS`.
    label : str
        The right one. With ``agree`` the store writes the model's, with ``unsure`` ``""``.
    comment, reader : str
    created : str
        ISO 8601, UTC; written by the store.
    """

    verdict: str
    label: str = ""
    comment: str = ""
    reader: str = ""
    created: str = ""


@dataclass(frozen=True)
class Record:
    """A stored cell.

    Attributes
    ----------
    id : int
        Grows with time.
    image : str
        SHA-256 of the uploaded file.
    name : str
        The name of that file: text to be shown, never a path.
    subject : str
        ``""`` when unknown.
    cell : NewCell
    model, model_name : str
        The model's key and its name.
    created : str
        ISO 8601, UTC.
    verdict : Verdict or None
        The newest.
    """

    id: int
    image: str
    name: str
    subject: str
    cell: NewCell
    model: str
    model_name: str
    created: str
    verdict: Verdict | None
