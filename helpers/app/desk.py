"""Takes in images one group at a time: read, ask the model, keep."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from starlette.concurrency import run_in_threadpool

from helpers.app import pictures, uploads
from helpers.app.answers import Answer, ModelFacts, Refused
from helpers.app.records import NewCell, Record
from helpers.app.service import Service, available
from helpers.app.store import Store
from helpers.base.errors import AppError, CourseError

_MOST_IN_A_GROUP, _MOST_PIXELS_IN_A_GROUP = 64, 40_000_000
_REMEMBERED = 512


@dataclass(frozen=True)
class Upload:
    """A file as it came: its name is a text, never a path."""

    name: str
    content: bytes


@dataclass
class Taken:
    """What became of a file.

    Attributes
    ----------
    name : str
        The file's.
    cells : list of int
        The kept cells.
    problem : str
        Why it could not be used, in a sentence, or ``""``.
    """

    name: str
    cells: list[int] = field(default_factory=list)
    problem: str = ""


class Desk:
    """The store, the model in use, and the queue in front of it.

    Parameters
    ----------
    store : Store
    artifacts : pathlib.Path
        Where the course keeps trained models.
    service : Service, optional
        The model in use.
    limits : uploads.Limits
    """

    def __init__(
        self,
        store: Store,
        artifacts: Path,
        service: Service | None = None,
        limits: uploads.Limits | None = None,
    ):
        self.store, self.artifacts, self.service = store, artifacts, service
        self.limits = limits or uploads.Limits()
        self._turn = asyncio.Lock()  # first come, first served
        self._seen: OrderedDict[tuple, Answer] = OrderedDict()
        self._facts: dict[str, ModelFacts | Refused | None] = {}
        self._lock = threading.Lock()

    async def take(self, files: Sequence[Upload], subject: str, kind: str) -> list[Taken]:
        """Answer files and keep them; a file that cannot be used gets a sentence instead.

        Raises
        ------
        AppError
            When no model is in use.
        """
        service = self.service
        if service is None:
            raise AppError("No model is in use. Choose one on the page Models.")
        taken = [Taken(file.name) for file in files]
        waiting = list(zip(files, taken, strict=True))
        keeping = []
        try:
            while waiting:
                async with self._turn:
                    found = await run_in_threadpool(self._answer, service, waiting, kind)
                keep = run_in_threadpool(self._keep, service, found, subject)
                keeping.append(asyncio.create_task(keep))  # the disk is slow: meanwhile, go on
        finally:
            await asyncio.gather(*keeping)
        return taken

    def _answer(self, service: Service, waiting: list, kind: str) -> list:
        """Answer the first few of the waiting files: as many as are decoded at a time."""
        read, pixels = [], 0
        while waiting and len(read) < _MOST_IN_A_GROUP and pixels < _MOST_PIXELS_IN_A_GROUP:
            file, taken = waiting.pop(0)
            try:
                read.append((file, taken, uploads.read(file.content, self.limits)))
                pixels += read[-1][2].shape[0] * read[-1][2].shape[1]
            except CourseError as error:
                taken.problem = str(error)
        answers = service.classify([picture for *_, picture in read], kind) if read else []
        return [(file, taken, cells) for (file, taken, _), cells in zip(read, answers, strict=True)]

    def _keep(self, service: Service, found: list, subject: str) -> None:
        for file, taken, answers in found:
            try:
                taken.cells = self.store.add(
                    file.content,
                    file.name,
                    [_new_cell(answer) for answer in answers],
                    service.facts.key,
                    service.facts.name,
                    subject,
                )
            except CourseError as error:
                taken.problem = str(error)
            self._remember(_digest(file.content), service.facts.key, answers)

    async def seen(self, record: Record) -> Answer:
        """Return what the model saw and said of a kept cell, from memory or by asking again.

        Raises
        ------
        AppError
            When another model answered than the one in use.
        """
        service = self.service
        if known := self._remembered(record):
            return known
        if service is None or record.model != service.facts.key:
            raise AppError(f"{record.model_name} answered this cell. Choose it on the page Models.")
        async with self._turn:
            return await run_in_threadpool(self._ask_again, service, record)

    def _ask_again(self, service: Service, record: Record) -> Answer:
        for kind in ("auto", "cell", "field"):
            picture = uploads.read(self.store.image(record.image), self.limits)
            self._remember(record.image, record.model, service.classify([picture], kind)[0])
            if known := self._remembered(record):
                return known
        raise AppError("The model does not find this cell in its picture any more.")

    async def explain(self, record: Record) -> np.ndarray:
        """Return the Grad-CAM map of a kept cell, from 0 to 1."""
        answer = await self.seen(record)
        service = self.service
        if service is None or record.model != service.facts.key:
            raise AppError(f"{record.model_name} answered this cell. Choose it on the page Models.")
        async with self._turn:
            return await run_in_threadpool(service.explain, answer.crop)

    async def use(self, key: str) -> None:
        """Load another model; the one in use answers until it is there.

        Raises
        ------
        AppError
            When no run has this key, or it cannot be loaded.
        """
        if self.facts(key) is None:
            raise AppError("There is no such model.")
        self.service = await run_in_threadpool(Service.load, key, self.artifacts)

    def facts(self, key: str) -> ModelFacts | None:
        """Return what is known about a model, None if it cannot be used (any more)."""
        if self.service and self.service.facts.key == key:
            return self.service.facts
        if key not in self._facts:
            known = {one.key: one for one in available(self.artifacts)}
            self._facts[key] = known.get(key)
        found = self._facts[key]
        return found if isinstance(found, ModelFacts) else None

    def _remembered(self, record: Record) -> Answer | None:
        with self._lock:
            return self._seen.get((record.image, record.model, record.cell.box))

    def _remember(self, image: str, model: str, answers: Sequence[Answer]) -> None:
        with self._lock:
            for answer in answers:
                self._seen[image, model, answer.box] = answer
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _new_cell(answer: Answer) -> NewCell:
    return NewCell(
        answer.box,
        answer.label,
        answer.probability,
        answer.threshold,
        answer.distance,
        answer.warnings,
        answer.votes,
        pictures.thumbnail(answer.crop),
        answer.reliability,
    )
