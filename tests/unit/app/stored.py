"""What the tests of the app's store share: pictures, and looks at what lies in its folder."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from helpers.app.store import Store
from tests.unit.app.samples import picture

PICTURES = [picture(0), picture(1, "BMP"), picture(2, "JPEG"), picture(3, "TIFF")]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("images/*/*"))


def hashes(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def all_of(store: Store, count: int = 3, **filters) -> list[int]:
    """Return the ids that paging through all records gives."""
    ids, page = [], store.page(count=count, **filters)
    while True:
        ids += [record.id for record in page.records]
        assert page.total >= len(ids)
        if page.next is None:
            assert page.total == len(ids)
            return ids
        page = store.page(count=count, after=page.next, **filters)


def sound(folder: Path) -> None:
    """Assert that every record has its file, every file its record, and the database is whole."""
    with closing(sqlite3.connect(folder / "records.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = database.execute("SELECT sha256, ending FROM images ORDER BY 1").fetchall()
        lonely = "SELECT count(*) FROM images WHERE sha256 NOT IN (SELECT image FROM cells)"
        assert database.execute(lonely).fetchone() == (0,)
    assert files(folder) == [digest + ending for digest, ending in rows]
    for path in folder.glob("images/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
