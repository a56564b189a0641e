"""What the tests of the grid give to workers: processes that import it by its name."""

import os
import signal
import threading
import time
from pathlib import Path

from helpers.base.errors import TrainingError
from helpers.base.settings import artifacts_folder


def key(trial):
    return f"{trial.recipe.replace(' ', '-')}-{trial.fold}-{trial.seed}"


def note(text):
    """Leave an empty file, whose name tells what was begun, and by whom."""
    folder = artifacts_folder() / "begun"
    folder.mkdir(exist_ok=True)
    (folder / f"{time.time_ns()} {text} {os.getpid()} {os.getppid()}").touch()


def begun():
    """Return of every trial that was begun its key, the process that trains, and its worker."""
    names = sorted(path.name.split() for path in (artifacts_folder() / "begun").glob("*"))
    return [(name, int(own), int(worker)) for _, name, own, worker in names]


def compute(trial):
    """Pretend to train."""
    note(key(trial))
    print("what a training prints")
    time.sleep(0.2)
    figures = {"auc": trial.fold + trial.seed / 10, "balanced_accuracy": 0.5}
    return {"val": figures, "test": {**figures, "auc": 99}, "note": ""}


def compute_and_be_killed(trial):
    """Be killed once the result is stored, perhaps before it is handed over."""
    path = artifacts_folder() / "grid" / f"{key(trial)}.json"
    threading.Thread(target=_end_after, args=[path]).start()
    return compute(trial)


def _end_after(path: Path):
    while not path.exists():
        time.sleep(0.0001)
    os.kill(os.getppid(), signal.SIGKILL)


def refuse(trial):
    """Fail on the trials of fold 1, each seed in its own way."""
    if trial.fold == 1:
        raise TrainingError("No image.") if trial.seed == 0 else ZeroDivisionError("division\nby 0")
    return compute(trial)


def kill_the_worker(trial):
    """Kill the process of the worker, as a machine without memory does."""
    note(key(trial))
    os.kill(os.getpid(), signal.SIGKILL)
