"""What the web app keeps: pictures as files, each one once; cells and verdicts in SQLite.

::

    records.sqlite          cells, their small pictures, every verdict
    images/ab/ab12....png   each uploaded file, unchanged, named after its SHA-256
    unrecorded/             pictures that a start found without a record
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers.app.answers import Vote
from helpers.app.records import VERDICTS, NewCell, Record, Verdict
from helpers.base.errors import AppError
from helpers.base.files import FileError, atomic_path, locked

#: The version of a database is the number of these that it has seen: append, never change.
_MIGRATIONS = (
    """
    CREATE TABLE images (sha256 TEXT PRIMARY KEY, ending TEXT NOT NULL);
    CREATE TABLE cells (
        id INTEGER PRIMARY KEY AUTOINCREMENT, created TEXT NOT NULL,
        image TEXT NOT NULL REFERENCES images (sha256), name TEXT NOT NULL, subject TEXT NOT NULL,
        model TEXT NOT NULL, model_name TEXT NOT NULL, label TEXT NOT NULL, probability REAL,
        threshold REAL, distance REAL, reliability TEXT NOT NULL, box TEXT NOT NULL,
        warnings TEXT NOT NULL, votes TEXT NOT NULL);
    CREATE INDEX cells_image ON cells (image);
    CREATE TABLE thumbnails (
        cell INTEGER PRIMARY KEY REFERENCES cells (id), content BLOB NOT NULL);
    CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT, cell INTEGER NOT NULL REFERENCES cells (id),
        verdict TEXT NOT NULL, label TEXT NOT NULL, comment TEXT NOT NULL, reader TEXT NOT NULL,
        created TEXT NOT NULL);
    CREATE INDEX verdicts_cell ON verdicts (cell);
    CREATE VIEW records AS
        SELECT cells.*, coalesce(verdict, 'none') AS verdict,
            coalesce(verdicts.label, '') AS right_label, coalesce(comment, '') AS comment,
            coalesce(reader, '') AS reader, coalesce(verdicts.created, '') AS verified,
            coalesce(verdicts.id, 0) AS verdict_id
        FROM cells LEFT JOIN verdicts
            ON verdicts.id = (SELECT max(id) FROM verdicts WHERE cell = cells.id);
    """,
)
_ENDINGS = {b"BM": ".bmp", b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"II": ".tif", b"MM": ".tif"}
#: The store's own files: no others are moved or removed.
_OWN = re.compile(r"\.?([0-9a-f]{64})(-[0-9a-f]{12})?\.(bmp|jpg|png|tif)")
# Control characters, and those that turn the direction of the text behind them.
_HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_WAIT = 30  # seconds, for another process that writes
_LARGEST = 2**63 - 1  # of SQLite's whole numbers


class Page(NamedTuple):
    """Some records, how many fit the filters, and `after` of the next page (None: no more)."""

    records: list[Record]
    total: int
    next: int | None


class Agreement(NamedTuple):
    """Labels of the model (rows) against those of the newest verdicts, and a sentence."""

    confusion: pd.DataFrame
    summary: str


class Store:
    """Records in one folder, shared by threads and processes.

    A call that returns has stored what it was given; the process may be killed at any later
    moment. A picture's file is written before its record is committed, while the database is
    locked for other writers. So a file without a record is of a call that did not return: the next
    start moves it out of the way.

    Parameters
    ----------
    folder : path-like
        Made if missing.

    Raises
    ------
    AppError
        When the folder cannot be used, or its database is damaged, of a newer version, or lost.
        Nothing is deleted then. Every method raises it when the disk is full.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._path = self.folder / "records.sqlite"
        self._lock = threading.RLock()
        with self._told(), locked(self.folder / ".records.lock"):
            # Checked first: SQLite removes the log beside an empty database.
            lost = not self._path.exists() or not self._path.stat().st_size
            if lost and any(self._files()):
                raise AppError(
                    f"{self.folder} holds images, but their records are lost: {self._path.name} "
                    "is missing or empty. Put back a copy of it, or choose another folder."
                )
            self._db = sqlite3.connect(
                self._path, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._db.row_factory = sqlite3.Row
            try:
                self._open()
                self._sweep(self._files())
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the database; nothing is lost without it."""
        with self._lock:
            self._db.close()

    def add(
        self,
        content: bytes,
        name: str,
        cells: Sequence[NewCell],
        model: str,
        model_name: str,
        subject: str = "",
    ) -> list[int]:
        """Store a picture and its cells, all or nothing, and return the ids of the cells.

        Parameters
        ----------
        content : bytes
            The file as it was uploaded; a file that is there already is not written again.
        name : str
            Its name there, at most 255 characters of which are kept.
        cells : sequence of NewCell
            At least one.
        model, model_name : str
        subject : str
            The person the picture is of; ``""`` when unknown.
        """
        ending = ending_of(content)
        if not cells:
            raise AppError("Nothing was stored: the picture has no cell.")
        digest = hashlib.sha256(content).hexdigest()
        name = _line("name", name[:255])
        row = (_now(), digest, name, _line("subject", subject), model, model_name)
        path = self._file(digest, ending)
        try:
            with self._writing():
                if not path.exists():
                    with atomic_path(path) as temporary:
                        temporary.write_bytes(content)
                self._run("INSERT OR IGNORE INTO images VALUES (?, ?)", digest, ending)
                return [self._insert(row, cell) for cell in cells]
        except BaseException:
            with contextlib.suppress(AppError):
                self._sweep([path], remove=True)
            raise

    def verify(self, cell: int, verdict: Verdict) -> Record:
        """Store a verdict about a cell and return the record; earlier verdicts are kept."""
        with self._writing():
            label = self.get(cell).cell.label
            given = _line("label", verdict.label)
            right = {"agree": label, "unsure": ""}.get(verdict.verdict, given)
            if verdict.verdict not in VERDICTS:
                raise AppError(f"A verdict is one of {', '.join(VERDICTS)}.")
            if verdict.verdict == "agree" and not label:
                raise AppError("The model gave no answer here: there is nothing to agree with.")
            if verdict.verdict == "disagree" and right in ("", label):
                raise AppError("Who disagrees must name the right label, another than the model's.")
            texts = _text("comment", verdict.comment, 5000), _line("reader", verdict.reader)
            values = (cell, verdict.verdict, right, *texts, _now())
            self._run("INSERT INTO verdicts VALUES (NULL, ?, ?, ?, ?, ?, ?)", *values)
            return self.get(cell)

    def get(self, cell: int) -> Record:
        """Return the record of a cell."""
        return _record(self._one("SELECT * FROM records WHERE id = ?", cell))

    def thumbnail(self, cell: int) -> bytes:
        """Return the small picture of a cell."""
        return self._one("SELECT content FROM thumbnails WHERE cell = ?", cell)["content"]

    def verdicts(self, cell: int) -> list[Verdict]:
        """Return all verdicts about a cell, the newest first."""
        self.get(cell)
        sql = "SELECT verdict, label, comment, reader, created FROM verdicts WHERE cell = ?"
        return [Verdict(*row) for row in self._run(f"{sql} ORDER BY id DESC", cell)]

    def image(self, sha256: str) -> bytes:
        """Return the bytes of an uploaded file."""
        row = self._one("SELECT * FROM images WHERE sha256 = ?", sha256)
        with self._told():
            return self._file(row["sha256"], row["ending"]).read_bytes()

    def page(
        self,
        *,
        newest_first: bool = True,
        after: int | None = None,
        count: int = 50,
        **filters: str | bool,
    ) -> Page:
        """Return some of the records that fit all filters.

        Parameters
        ----------
        newest_first : bool
        after : int, optional
            ``Page.next`` of the page before.
        count : int
            At most 500.
        **filters
            `label` (the model's), `verdict` (the newest; ``none``: not verified), `model` (its
            key), `since` and `until` (days in UTC, such as ``2026-11-27``, both included), and
            `disagreement`: True finds cells to which any reader has ever given another label.
        """
        where, values = _where(**filters)
        total = self._one(f"SELECT count(*) AS n FROM records WHERE {where}", *values)["n"]
        order, sign = ("DESC", "<") if newest_first else ("ASC", ">")
        if after is not None:
            where += f" AND id {sign} ?"
            values.append(min(max(after, 0), _LARGEST))
        count = min(max(count, 1), 500)
        sql = f"SELECT * FROM records WHERE {where} ORDER BY id {order} LIMIT ?"
        rows = self._run(sql, *values, count + 1)
        records = [_record(row) for row in rows[:count]]
        return Page(records, total, records[-1].id if len(rows) > count else None)

    def choices(self) -> dict[str, dict[str, str]]:
        """Return what `label` and `model` can be filtered by: each value and its name."""
        labels = self._run("SELECT DISTINCT label FROM cells WHERE label <> '' ORDER BY label")
        models = self._run("SELECT model, max(model_name) FROM cells GROUP BY model ORDER BY model")
        return {"label": {row[0]: row[0] for row in labels}, "model": dict(map(tuple, models))}

    def table(self, **filters: str | bool) -> pd.DataFrame:
        """Return the records that fit the filters of :meth:`page`, oldest first, as a table."""
        where, values = _where(**filters)
        rows = self._run(f"SELECT * FROM records WHERE {where} ORDER BY id", *values)
        names = [name for (name,) in self._run("SELECT name FROM pragma_table_info('records')")]
        return pd.DataFrame(map(tuple, rows), columns=names)

    def agreement(self, model: str = "") -> Agreement:
        """Compare a model, or all of them together, with the newest verdicts."""
        table = self.table(model=model)
        known = table[table["verdict"].isin(("agree", "disagree"))]
        rows = known["label"].replace("", "no answer").rename("model")
        confusion = pd.crosstab(rows, known["right_label"].rename("reader"))
        agreed, unsure = ((table["verdict"] == one).sum() for one in ("agree", "unsure"))
        share = f" ({agreed / len(known):.0%})" if len(known) else ""
        summary = f"Readers agree on {agreed:,} of {len(known):,} cells that they labelled{share}"
        summary += f" and are unsure of {unsure:,}; {(table['verdict'] == 'none').sum():,} wait."
        return Agreement(confusion, summary)

    def _insert(self, row: tuple, cell: NewCell) -> int:
        values = (
            *row,
            cell.label,
            *map(float, (cell.probability, cell.threshold, cell.distance)),
            cell.reliability,
            json.dumps([int(edge) for edge in cell.box]) if cell.box else "",
            json.dumps(list(cell.warnings)),
            json.dumps([(name, float(probability)) for name, probability in cell.votes]),
        )
        sql = "INSERT INTO cells VALUES (NULL" + ", ?" * len(values) + ")"
        made = self._db.execute(sql, values).lastrowid
        self._run("INSERT INTO thumbnails VALUES (?, ?)", made, cell.thumbnail)
        return made

    def _open(self) -> None:
        """Check the database before anything is written, and bring it to today's version."""
        version = self._run("PRAGMA user_version")[0][0]
        if version > len(_MIGRATIONS):
            raise AppError(
                f"{self._path} was written by a newer version of the course: update the course, "
                "or choose another folder."
            )
        faults = self._run("PRAGMA integrity_check(1)")[0][0]
        if faults != "ok":
            raise self._damaged(faults)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._run(f"PRAGMA {pragma}")
        with self._writing():
            for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
                for statement in script.split(";"):
                    self._run(statement)
                self._run(f"PRAGMA user_version = {number}")

    def _sweep(self, paths: Iterable[Path], remove: bool = False) -> None:
        """Take those of the store's files that belong to no record out of `images/`.

        Whole ones are moved, not removed: the database may be an old copy that was put back.
        """
        aside = self.folder / "unrecorded"
        with self._writing():  # so that no other process is between its file and its record
            known = {f"{digest}{ending}" for digest, ending in self._run("SELECT * FROM images")}
            for path in paths:
                if path.name not in known:
                    if remove or path.name.startswith("."):
                        path.unlink(missing_ok=True)
                    else:
                        aside.mkdir(exist_ok=True)
                        path.replace(aside / path.name)

    def _files(self) -> Iterator[Path]:
        return (path for path in self.folder.glob("images/??/*") if _OWN.fullmatch(path.name))

    def _file(self, digest: str, ending: str) -> Path:
        return self.folder / "images" / digest[:2] / f"{digest}{ending}"

    def _run(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._told(), self._lock:
            return self._db.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: object) -> sqlite3.Row:
        whole = [value for value in values if isinstance(value, int)]
        rows = self._run(sql, *values) if all(0 <= value <= _LARGEST for value in whole) else []
        if not rows:
            raise AppError(f"There is no record {str(values[0])[:80]!r}.")
        return rows[0]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Commit what the block writes, all or nothing; one thread of one process at a time."""
        with self._told(), self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say in one sentence what is wrong with the disk or the database."""
        try:
            yield
        except OSError as error:
            cause = error.__cause__ if isinstance(error, FileError) else error
            raise self._refused(getattr(cause, "strerror", None) or str(error)) from error
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged(str(error)) from error
            if not isinstance(error, sqlite3.OperationalError):
                raise  # a mistake of the course
            busy = f"another program has been writing there for {_WAIT} seconds"
            raise self._refused(busy if code == sqlite3.SQLITE_BUSY else str(error)) from error

    def _damaged(self, reason: str) -> AppError:
        return AppError(
            f"{self._path} is damaged ({reason}). Nothing was changed or deleted: put back a copy "
            "of it, or choose another folder."
        )

    def _refused(self, reason: str) -> AppError:
        return AppError(
            f"{self.folder} cannot be used ({reason}). Nothing that was stored before is lost: "
            "make room there and try again, or choose another folder in which you may write."
        )


def ending_of(content: bytes) -> str:
    """Return the ending that fits the first bytes of an image file, such as ``.png``."""
    for mark, ending in _ENDINGS.items():
        if content.startswith(mark):
            return ending
    raise AppError("Nothing was stored: the file is no BMP, JPEG, PNG or TIFF.")


def _where(
    label: str = "",
    verdict: str = "",
    model: str = "",
    since: str = "",
    until: str = "",
    disagreement: bool = False,
) -> tuple[str, list[object]]:
    """Return the condition of SQL for the filters of :meth:`Store.page`, and its values."""
    if verdict not in ("", "none", *VERDICTS):
        raise AppError(f"The filter verdict is one of none, {', '.join(VERDICTS)}.")
    try:
        since, until = (day and date.fromisoformat(day).isoformat() for day in (since, until))
    except ValueError:
        raise AppError("The filters since and until are days such as 2026-11-27.") from None
    tests = {
        "label = ?": label,
        "verdict = ?": verdict,
        "model = ?": model,
        "substr(created, 1, 10) >= ?": since,
        "substr(created, 1, 10) <= ?": until,
    }
    tests = {test: value for test, value in tests.items() if value}
    other = "EXISTS (SELECT 1 FROM verdicts WHERE cell = records.id AND verdict = 'disagree')"
    return " AND ".join(["1", *tests, *([other] if disagreement else [])]), list(tests.values())


def _record(row: sqlite3.Row) -> Record:
    numbers = (row[name] for name in ("probability", "threshold", "distance"))
    cell = NewCell(
        tuple(json.loads(row["box"])) if row["box"] else None,
        row["label"],
        *(float("nan") if number is None else number for number in numbers),
        tuple(json.loads(row["warnings"])),
        tuple(Vote(*vote) for vote in json.loads(row["votes"])),
        reliability=row["reliability"],
    )
    names = ("verdict", "right_label", "comment", "reader", "verified")
    verdict = None if row["verdict"] == "none" else Verdict(*(row[name] for name in names))
    plain = {name: row[name] for name in ("id", "image", "name", "subject", "created")}
    return Record(
        **plain, cell=cell, model=row["model"], model_name=row["model_name"], verdict=verdict
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(what: str, text: str) -> str:
    """Return a text that fits into one line of a table."""
    return " ".join(_text(what, text, 255).split())


def _text(what: str, text: str, most: int) -> str:
    """Return a text that can be stored and shown, AppError if it is longer than `most`."""
    if len(text) > most:
        raise AppError(f"The {what} has {len(text):,} characters; at most {most:,} can be stored.")
    return _HIDDEN.sub("\ufffd", text.encode("utf-8", "replace").decode()).strip()
