"""Training that can be killed, repeated and traced.

:func:`fit` does what Keras' ``fit`` does with ``EarlyStopping`` on `val_loss` and with
``ModelCheckpoint`` for the best epoch. It also saves after each epoch all that it needs
to continue. A training with the same recipe, images, seed and code is done once,
and then loaded. The loss is taken on the logits; a network that collapsed
(:mod:`helpers.training.collapse`) is trained once more.
"""

from __future__ import annotations

import gc
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import code, progress, provenance
from helpers.base.errors import TrainingError
from helpers.base.files import (
    atomic_path,
    checksum,
    kept,
    read_sealed,
    sealed,
    unchanged,
    write_csv,
    write_json,
)
from helpers.base.settings import Profile, Settings
from helpers.models.layers import layers_of, use_logits, use_probability
from helpers.predictions.collapse import COLLAPSED, same_scores
from helpers.training import collapse, compute, inputs
from helpers.training.batches import feed, train_pass, validation_pass

if TYPE_CHECKING:
    import keras

#: Columns of a run's history.
HISTORY = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
#: File name of an epoch.
_CHECKPOINT = "epoch-{:04d}.keras"
#: Further runs that a training starts are its stages: it speaks for them.
_running = threading.local()


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes
    ----------
    model : keras.Model
        With the weights of the epoch with the lowest `val_loss`.
    history : pandas.DataFrame
        One row per epoch: `epoch` (from 1), `loss`, `accuracy`, `val_loss`, `val_accuracy`.
    record : dict
        What was trained, on which data, how, where and how fast; as in ``record.json``.
    folder : pathlib.Path
        Holds ``best.keras``, ``history.csv`` and ``record.json``.
    """

    model: keras.Model
    history: pd.DataFrame
    record: dict
    folder: Path


def fit(
    model: keras.Model,
    catalog: pd.DataFrame,
    images: np.ndarray,
    settings: Settings,
    name: str,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    patience: int | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> Run:
    """Train a copy of `model` on the split ``train``; ``val`` decides when to stop.

    Parameters
    ----------
    model : keras.Model
        From raw 0..255 RGB, or from features, to one probability by a last sigmoid; it is
        not changed.
    catalog : pandas.DataFrame
        With `split` set; the rows ``train`` and ``val`` are used.
    images : numpy.ndarray
        uint8, shape (n, size, size, 3), in the order of the catalog; a memory
        map is read one batch at a time. Or their features, float32, shape (n, d).
        Or features of v versions of each image, shape (n, v, d), the image itself
        first: each epoch then trains on one version of each image, drawn at random.
    settings : Settings
        Seed, folder, and the defaults of the next three parameters.
    name : str
        The run's folder has this name and a hash of all that the run depends on.
    epochs, batch_size, patience : int, optional
        The most epochs, images in a step, epochs without a lower `val_loss` after
        which it stops; by default the profile's.
    learning_rate : float
    optimizer : str
        ``adam`` (Kingma & Ba 2015, arXiv 1412.6980), ``rmsprop`` or ``sgd``.
    class_weight : mapping of int to float, optional
        Weights of the classes 0 and 1 in the loss.

    Returns
    -------
    Run
        Loaded when the same training was finished before. A training that was
        killed continues after its last finished epoch, with the same result. When a
        step does not fit into memory, it prints a note and continues with half the images;
        the record's ``batch_size`` is the final one. A network that collapsed is trained
        once more, from new weights and another seed, at a tenth of the rate: then the record's
        ``retried`` says so in a sentence, which is printed. If that fails too, so does
        ``collapsed``, which is added to :data:`COLLAPSED`. Otherwise both are "".

    Raises
    ------
    TrainingError
        When an argument is not as above, images, model and catalog do not belong together, a
        split is missing or holds one class, the model does not end in a sigmoid or cannot be
        saved, or the loss is not finite.
    """
    recipe = inputs.recipe(
        settings,
        name,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        patience=patience,
        class_weight=class_weight,
    )
    catalog = catalogs.check(catalog)
    train, val = inputs.rows(model, catalog, images)
    profile = settings.profile
    facts = {
        "recipe": recipe,
        "model": provenance.model_facts(model),
        "data": {
            "rows": catalogs.fingerprint(catalog, catalogs.TRAINED_ON),
            "pixels": provenance.digest(images),
            "train": len(train),
            "val": len(val),
        },
        "code": code.version(__name__),
        "software": provenance.keras_version(),
    }

    def train_in(folder: Path, started: dict) -> dict:
        started["classes"] = catalogs.class_names(catalog)
        with compute.devices(profile) as started["devices"]:
            return _train(model, catalog, images, train, val, folder, started)

    run = kept_run(name, facts, settings, train_in)
    for leftover in (*run.folder.glob("epoch-*.keras"), *run.folder.glob("state.json")):
        leftover.unlink(missing_ok=True)  # not earlier: without a record they are needed
    return run


def kept_run(
    name: str, facts: dict, settings: Settings, train: Callable[[Path, dict], dict]
) -> Run:
    """Return the run that `facts` determine, loaded when it was finished before.

    Parameters
    ----------
    name : str
        The run's folder has this name and a hash of the facts.
    facts : dict
        Plain values: all that the run depends on.
    settings : Settings
        Where the folder is; they are copied to the record.
    train : callable
        From the folder and the beginning of the record to the whole record. It leaves
        ``best.keras`` and ``history.csv`` in the folder.

    Returns
    -------
    Run
        What its record says about a collapse is told, unless the run is a stage of another.
    """
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    folder = settings.folder("runs", f"{name}-{key}")
    started = {"name": name, "key": key, **facts, "settings": settings.as_dict()}

    def make(record: Path) -> None:
        write_json(record, train(folder, started))

    stage, _running.now = getattr(_running, "now", False), True
    try:
        run = kept(folder / "record.json", _load, make, also=("best.keras", "history.csv"))
    finally:
        _running.now = stage
    if not stage:
        _tell(run.record)
    return run


def _tell(record: dict) -> None:
    """Print what happened in a training that collapsed, and note it for the banner."""
    retried, collapsed = record.get("retried"), record.get("collapsed")
    for sentence in filter(None, (retried, collapsed)):
        print(sentence)
    if collapsed and collapsed not in COLLAPSED:
        COLLAPSED.append(collapsed)


def _load(path: Path) -> Run | None:
    """Return the finished run with the record `path`, None where there is none."""
    import keras

    record = read_sealed(path)
    try:
        history = pd.read_csv(path.with_name("history.csv"), dtype=str)
    except (OSError, ValueError):
        return None
    if not record:
        return None
    for column in history:  # by Python's float: exact with every version of pandas
        kind = int if column in ("stage", "epoch") else float
        history[column] = [kind(value) for value in history[column]]
    model = keras.saving.load_model(path.with_name("best.keras"), compile=False)
    model.compile(
        loss="binary_crossentropy",
        metrics=["accuracy"],
        jit_compile=compute.jit(Profile(**record["settings"]["profile"])),
    )
    return Run(model, history, record, path.parent)


def _train(
    model: keras.Model,
    catalog: pd.DataFrame,
    images: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    folder: Path,
    started: dict,
) -> dict:
    """Train until `val_loss` no longer falls, again if it collapsed; return the record."""
    import keras

    recipe = started["recipe"]
    target = np.zeros((len(catalog), 1), dtype=np.float32)
    used = np.concatenate([train, val])
    target[used, 0] = catalogs.target(catalog.iloc[used])
    state, copy = _resume(model, folder, started)
    bar = progress.bar(total=recipe["epochs"], initial=state["epoch"], unit="epoch")
    while state["epoch"] < min(recipe["epochs"], state["best"] + recipe["patience"]):
        begin = time.perf_counter()
        row = None
        try:
            row, seconds = _epoch(copy, images, target, train, val, started, state)
        except Exception as error:
            if not compute.out_of_memory(error):
                raise
            if state["batch_size"] == 1:
                raise TrainingError(
                    "Not even one image fits into the device's memory: use smaller images or "
                    "a smaller network."
                ) from error
        if row is None:  # outside of `except`, where the error would keep the arrays in memory
            batch_size, copy = state["batch_size"] // 2, None
            print(f"Out of memory: going on with {batch_size} images in a step.")
            gc.collect()
            state, copy = _resume(model, folder, started)
            state["batch_size"] = batch_size
            continue
        _keep(copy, state, row, seconds, time.perf_counter() - begin, folder)
        bar.set_postfix(val_loss=f"{row['val_loss']:.3f}", refresh=False)
        bar.update()
    bar.close()
    file = folder / _CHECKPOINT.format(state["best"])
    file.stat()  # the folder may have been emptied; `kept` then begins again
    best = keras.saving.load_model(file, compile=False)
    reason = state["same_scores"] or collapse.stands_still(
        [row["val_loss"] for row in state["history"]]
    )
    if not reason and state["kernels"] and collapse.kernels(best) == state["kernels"]:
        reason = "its weights did not move"
    if reason and not state["retried"]:
        again = {"seed": state["seed"] + 1000, "learning_rate": state["learning_rate"] / 10}
        again["retried"] = (
            f"{started['name']} collapsed ({reason}), so it was trained once more, with seed "
            f"{again['seed']} and a learning rate of {again['learning_rate']:g}."
        )
        # Killed from here on, it goes on with the second try.
        begin = {**_begin(recipe), "batch_size": state["batch_size"]}
        write_json(folder / "state.json", sealed({**begin, **again}))
        return _train(model, catalog, images, train, val, folder, started)
    return _finish(best, reason, state, folder, started, len(train))


def _epoch(
    model: keras.Model,
    images: np.ndarray,
    target: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    started: dict,
    state: dict,
) -> tuple[dict, float]:
    """Train and validate one epoch; return a row of the history and the seconds of training."""
    recipe, devices = started["recipe"], started["devices"]
    epoch = state["epoch"]
    compute.rewind_random_layers(model, epoch)
    order = np.random.default_rng([state["seed"], epoch]).permutation(train)
    # Several devices share each batch evenly; images left over are used in another epoch.
    size = -(-state["batch_size"] // devices) * devices
    order, val = (rows[: max(1, len(rows) // devices) * devices] for rows in (order, val))
    versions = None
    if images.ndim == 3:
        draws = np.random.default_rng([state["seed"], epoch, 1])
        versions = draws.integers(images.shape[1], size=len(images))
    begin = time.perf_counter()
    batches = feed(images, target, order, size, recipe["class_weight"], versions, True)
    trained = train_pass(model, batches, size)
    seconds = time.perf_counter() - begin
    logits = validation_pass(model, feed(images, target, val, size), size)
    truth = target[val, 0]
    row = {
        "epoch": epoch + 1,
        **{column: float(trained[column]) for column in ("loss", "accuracy")},
        "val_loss": float(np.mean(np.logaddexp(0, logits) - truth * logits) + sum(model.losses)),
        "val_accuracy": float(np.mean((logits > 0) == truth)),
        "same_scores": same_scores(logits, truth),
    }
    if not np.isfinite([row["loss"], row["val_loss"]]).all():
        raise TrainingError(
            f"In epoch {epoch + 1} the loss is no longer a number: "
            f"lower the learning rate (it is {state['learning_rate']})."
        )
    return row, seconds


def _begin(recipe: dict) -> dict:
    """Return the state before the first epoch."""
    lists = {"history": [], "seconds": [], "epoch_seconds": []}
    options = {name: recipe[name] for name in ("batch_size", "seed", "learning_rate")}
    start = {"epoch": 0, "best": 0, "same_scores": "", "retried": "", "files": {}}
    return {**start, **lists, **options}


def _resume(model: keras.Model, folder: Path, started: dict) -> tuple[dict, keras.Model]:
    """Return state and compiled model after the last finished epoch, or before the first."""
    import keras

    recipe = started["recipe"]
    state = _whole_state(folder) or _begin(recipe)
    if state["epoch"]:
        return state, keras.saving.load_model(folder / _CHECKPOINT.format(state["epoch"]))
    # Of a training killed in its first epoch, that collapsed, or whose files were damaged since.
    for stale in folder.glob("epoch-*.keras"):
        stale.unlink()
    # A copy through a file: the caller's model is not changed, and a model that cannot
    # be saved raises now and not after hours of training.
    try:
        with atomic_path(folder / _CHECKPOINT.format(0), flush=False) as path:
            model.save(path)
        copy = keras.saving.load_model(folder / _CHECKPOINT.format(0), compile=False)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise _not_saved(model, error) from error
    if state["retried"]:
        collapse.redraw(copy, state["seed"])
    state["kernels"] = collapse.kernels(copy)
    use_logits(copy)
    if recipe["precision"] != "float32":
        compute.set_precision(copy, recipe["precision"])
    copy.compile(
        optimizer=compute.optimizer(
            recipe["optimizer"], state["learning_rate"], recipe["precision"]
        ),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0)],
        jit_compile=compute.jit(Profile(**started["settings"]["profile"])),
    )
    copy.optimizer.build(copy.trainable_variables)  # else Keras traces the step twice
    return state, copy


def _not_saved(model: keras.Model, error: Exception) -> TrainingError:
    kinds = {type(layer) for layer in layers_of(model).values()}
    keras_own = {kind for kind in kinds if kind.__module__.split(".")[0] == "keras"}
    own = {kind.__name__ for kind in kinds if kind not in keras_own or kind.__name__ == "Lambda"}
    reason = f"it has layers of the kind {', '.join(sorted(own))}" if own else str(error)
    reason = " ".join(reason.split())[:200].rstrip(".")
    return TrainingError(
        f"{model.name} cannot be saved and loaded again, which training needs ({reason}): use "
        "layers of Keras, or classes with @keras.saving.register_keras_serializable()."
    )


def _whole_state(folder: Path) -> dict | None:
    """Return what is stored of a training, None if a file of it is missing or damaged."""
    state = read_sealed(folder / "state.json")
    return state if state and unchanged(folder, state.get("files", {"": ""})) else None


def _keep(
    model: keras.Model, state: dict, row: dict, seconds: float, all_seconds: float, folder: Path
) -> None:
    """Save the finished epoch: its file first, then the state that names it, then clean up."""
    lowest = min((past["val_loss"] for past in state["history"]), default=np.inf)
    state["epoch"] = row["epoch"]
    if row["val_loss"] < lowest:
        state["best"], state["same_scores"] = row["epoch"], row["same_scores"]
    state["history"].append(row)
    state["seconds"].append(round(seconds, 3))
    state["epoch_seconds"].append(round(all_seconds, 3))
    last = _CHECKPOINT.format(state["epoch"])
    with atomic_path(folder / last, flush=False) as path:  # `_resume` looks at the checksum
        model.save(path)
        state["files"][last] = checksum(path)
    needed = {_CHECKPOINT.format(state[epoch]) for epoch in ("epoch", "best")}
    state["files"] = {name: state["files"][name] for name in needed}
    write_json(folder / "state.json", sealed(state))
    for file in folder.glob("*.keras"):
        if file.name not in needed:
            file.unlink()


def _finish(
    best: keras.Model, reason: str, state: dict, folder: Path, started: dict, images: int
) -> dict:
    """Write the best model, with its sigmoid and in float32; return the record, written last."""
    use_probability(best)
    compute.set_precision(best, "float32")
    with atomic_path(folder / "best.keras") as path:
        best.save(path)
    write_csv(folder / "history.csv", pd.DataFrame(state["history"], columns=HISTORY))
    # The first epoch also compiles.
    steady = state["seconds"][1:] or state["seconds"]
    return {
        **started,
        "best_epoch": state["best"],
        "epochs": state["epoch"],
        "batch_size": state["batch_size"],
        "collapsed": f"{started['name']} collapsed: {reason}." if reason else "",
        "retried": state["retried"],
        "epoch_seconds": state["epoch_seconds"],
        "images_per_second": round(images / float(np.median(steady)), 1),
        "environment": provenance.environment(),
    }
