"""Processes that prepare images side by side, for builds of thousands.

Threads cannot share this work: each of its steps is done before a second thread
has got hold of Python's lock. A process costs a quarter of a second to start,
and this one goes on preparing meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from helpers.base.errors import ImageError
from helpers.images.preparing import prepare_part, single_threaded_opencv

#: From this many images on, further processes are worth their start.
WORTH = 3000
_PART = 256  # images that a process takes at once
_BATCH = 64  # of these are in memory


def write(
    path: str | os.PathLike,
    rows: Sequence[tuple[str, str]],
    size: int,
    crop: bool,
    workers: int,
    progress: Callable[[int], object],
) -> list[ImageError]:
    """Append the images of all rows to the file `path`, in their order.

    Parameters
    ----------
    path : path-like
        An array's file that holds its header and nothing else.
    rows : sequence of (path, transform)
    size, crop
        As in :func:`helpers.images.load_images`.
    workers : int
        Processes at work, this one among them.
    progress : callable
        Is told how many more images are there.

    Returns
    -------
    list of ImageError
        Empty when every image is written; else what is wrong with the first
        row, in the rows' order, that cannot be used.
    """
    start = os.path.getsize(path)
    waiting = deque((first, rows[first : first + _PART]) for first in range(0, len(rows), _PART))
    problems: dict[int, str] = {}
    given_back: list[tuple[int, Sequence[tuple[str, str]]]] = []
    lock = threading.Lock()

    def done(count: int, found: list) -> None:
        with lock:
            progress(count)
            problems.update(found)
            if found:  # parts are taken in order: whatever may come before is at work already
                waiting.clear()

    def hand_on(process: subprocess.Popen) -> None:
        part = None
        try:
            process.stdout.readline()  # it is ready
            while True:
                part = waiting.popleft()
                job = [str(path), start, part[0], part[1], size, crop]
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()
                found = json.loads(process.stdout.readline())
                done(len(part[1]), found)
                part = None
        except IndexError:  # nothing is waiting any more
            pass
        except (OSError, ValueError):  # it died: its part is done here
            if part is not None:
                given_back.append(part)

    processes = [_start() for _ in range(min(workers, len(waiting)) - 1)]
    threads = [threading.Thread(target=hand_on, args=(p,), daemon=True) for p in processes]
    try:
        for thread in threads:
            thread.start()
        with single_threaded_opencv():
            while waiting:
                try:
                    first, part = waiting.popleft()
                except IndexError:
                    break
                done(len(part), _write_part(path, start, first, part, size, crop))
            for thread in threads:
                thread.join()
            for first, part in given_back:
                done(len(part), _write_part(path, start, first, part, size, crop))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [ImageError(problems[min(problems)])] if problems else []


def _start() -> subprocess.Popen:
    home = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    return subprocess.Popen(
        [sys.executable, "-m", "helpers.images.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, known)))},
    )


def _write_part(
    path: str | os.PathLike,
    start: int,
    first: int,
    rows: Sequence[tuple[str, str]],
    size: int,
    crop: bool,
) -> list[tuple[int, str]]:
    """Write the rows' images to their places in the file; return (row, problem) of bad ones."""
    found = []
    with open(path, "r+b") as file:
        for begin in range(0, len(rows), _BATCH):
            images, problems = prepare_part(rows[begin : begin + _BATCH], size, crop)
            file.seek(start + (first + begin) * images[0].nbytes)
            file.write(images)
            found += [(first + begin + i, str(p)) for i, p in enumerate(problems) if p is not None]
    return found


def _serve() -> None:
    cv2.setNumThreads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_write_part(*json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
