"""A process that adds and verifies cells, and writes down what the store has confirmed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from helpers.app.records import Verdict
from helpers.app.store import Store
from tests.unit.app.samples import cell, picture


def write(folder: Path, log: Path, number: int, turns: int) -> None:
    """Add pictures, some of which other writers add too, and verify each first cell."""
    store = Store(folder)
    with open(log, "a", buffering=1) as lines:
        for turn in range(turns):
            seed = turn if turn % 3 == 0 else 1000 * (number + 1) + turn
            ids = store.add(picture(seed), f"{number}-{turn}", [cell(), cell("HEM")], "m", "M")
            digest = store.get(ids[0]).image
            lines.writelines(f"added {made} {digest}\n" for made in ids)
            store.verify(ids[0], Verdict("agree", comment=f"{number}-{turn}"))
            lines.write(f"verified {ids[0]} {number}-{turn}\n")


def die_in_the_middle(folder: Path, content: bytes) -> None:
    """Be killed when half of a picture is written."""

    def half(path: Path, content: bytes) -> None:
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    Path.write_bytes = half
    Store(folder).add(content, "a", [cell()], "m", "M")
