"""`course app` as a person starts it, with the small network that it trains itself."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 300  # seconds until an app answers: it may train a network first


class App:
    """A running app: its address, and a client for each person who asks it."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.printed = process, ""
        late = threading.Timer(_PATIENCE, process.kill)
        late.start()
        for line in process.stdout:
            self.printed += line
            if "Ctrl-C" in line:
                break
        late.cancel()
        found = re.search(r"http://\S+", self.printed)
        assert found, f"the app did not start:\n{self.printed}"
        self.url = found.group()
        # What it prints from now on must not fill the pipe.
        self._rest = threading.Thread(target=self._read, daemon=True)
        self._rest.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.printed += line

    def client(self, number: int = 1) -> httpx.Client:
        """Return the client of person `number`, who has an address of their own."""
        way = httpx.HTTPTransport(local_address=f"127.0.0.{number}")
        return httpx.Client(base_url=self.url, transport=way, timeout=60)

    def stop(self) -> str:
        """Press Ctrl-C; return everything that the app printed."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, self.printed
        self._rest.join(10)
        return self.printed


@contextlib.contextmanager
def running(artifacts: Path, data: Path, *words: str) -> Iterator[App]:
    """Start an app on a free port, and end it if the test did not."""
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", "app", "--data", str(data), "--port", "0", *words],
        cwd=ROOT,
        env={**os.environ, "COURSE_ARTIFACTS": str(artifacts), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A process in the background ignores Ctrl-C, and so do its children: not this one.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield App(process)
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory) -> Path:
    """Artifacts with the network that an app trains where it finds none.

    Set COURSE_APP_ARTIFACTS to a folder to keep it from one session to the next.
    """
    kept = os.environ.get("COURSE_APP_ARTIFACTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("artifacts")
    if list(folder.glob("*/runs/*/record.json")):
        return folder
    with running(folder, tmp_path_factory.mktemp("first")) as app:
        assert "train a small one" in app.printed
        assert app.stop().rstrip().endswith("Stopped.")
    return folder


@pytest.fixture(scope="module")
def app(artifacts, tmp_path_factory) -> Iterator[App]:
    """One app for the tests of a module, with a folder of its own."""
    with running(artifacts, tmp_path_factory.mktemp("data")) as app:
        yield app
