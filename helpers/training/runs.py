"""Training that can be killed, repeated and traced.

:func:`fit` does what Keras' ``fit`` does with ``EarlyStopping`` on `val_loss`
and the best checkpoint kept, epoch by epoch, and keeps after each epoch all it
needs to go on. What was trained once, of the same recipe, images, seed and
code, is loaded and not trained again.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import code, provenance
from helpers.base.errors import TrainingError
from helpers.base.files import atomic_path, kept, write_csv, write_json
from helpers.base.settings import Profile, Settings
from helpers.training import compute

if TYPE_CHECKING:
    import keras

#: Columns of a run's history.
HISTORY = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
#: Random draws that one layer may make in an epoch before it meets the next epoch's.
_DRAWS = 2**20
#: Bytes of features that are put together in memory for an epoch.
_IN_MEMORY = 2**28


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes
    ----------
    model : keras.Model
        As it was after the epoch with the lowest `val_loss`.
    history : pandas.DataFrame
        One row an epoch: `epoch` (from 1), `loss`, `accuracy`, `val_loss`, `val_accuracy`.
    record : dict
        What was trained on what, with what, where and how fast; as in ``record.json``.
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
    """Train a copy of `model` on the split ``train``, stop it by ``val``.

    Parameters
    ----------
    model : keras.Model
        From raw 0..255 RGB, or from features, to one probability; stays as it is.
    catalog : pandas.DataFrame
        With `split` set; the rows ``train`` and ``val`` are used.
    images : numpy.ndarray
        uint8, shape (n, size, size, 3), row by row the catalog's images; a
        memory map is read one batch at a time. Or features of them, float32,
        shape (n, d); or (n, v, d) of v versions of each image, the image itself
        first: each epoch then trains on one drawn version of each.
    settings : Settings
        Seed, folder, and what the next four parameters are if not given.
    name : str
        What the run's folder is called, followed by a hash of all it depends on.
    epochs, batch_size, patience : int, optional
        Longest training, images in a step, epochs without a lower `val_loss`
        before it stops; by default the profile's.
    learning_rate : float
    optimizer : str
        ``adam`` (Kingma & Ba 2015, arXiv 1412.6980), ``rmsprop`` or ``sgd``.
    class_weight : mapping of int to float, optional
        What an image of class 0 or 1 weighs in the loss.

    Returns
    -------
    Run
        Loaded where this very training was finished before. A training that
        was killed goes on after its last finished epoch, to the same result.
        Where a step's images do not fit into memory, it says so and goes on with
        half as many; the record's ``batch_size`` is what it ended with.

    Raises
    ------
    TrainingError
        When images and catalog do not belong together, a split is missing or
        holds one class, or the loss is no longer a number.
    """
    profile = settings.profile
    recipe = {
        "optimizer": optimizer,
        "loss": "binary_crossentropy",
        "epochs": profile.epochs if epochs is None else epochs,
        "batch_size": profile.batch_size if batch_size is None else batch_size,
        "learning_rate": learning_rate,
        "patience": profile.patience if patience is None else patience,
        "class_weight": None if class_weight is None else {k: class_weight[k] for k in (0, 1)},
        "seed": settings.seed,
        "precision": compute.policy(profile),
    }
    train, val = _check(catalog, images, recipe)
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
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    folder = settings.folder("runs", f"{name}-{key}")

    def make(record: Path) -> None:
        started = {"name": name, "key": key, **facts, "settings": settings.as_dict()}
        started["classes"] = catalogs.class_names(catalog)
        with compute.devices(profile) as started["devices"]:
            write_json(record, _train(model, catalog, images, train, val, folder, started))

    run = kept(folder / "record.json", finished, make)
    for leftover in (*folder.glob("epoch-*.keras"), *folder.glob("state.json")):
        leftover.unlink(missing_ok=True)  # only now: until the record stands, they may be needed
    return run


def finished(record: Path) -> Run | None:
    """Return the run whose record is `record`, None where it is not finished."""
    return load(record.parent) if record.is_file() else None


def load(folder: str | os.PathLike) -> Run:
    """Return the finished run that :func:`fit` left in `folder`.

    Raises
    ------
    TrainingError
        When there is none, or it is not finished.
    """
    import keras

    folder = Path(folder)
    if not (folder / "record.json").is_file():
        raise TrainingError(f"{folder} holds no finished run: record.json is missing.")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    history = pd.read_csv(folder / "history.csv", dtype=str)
    for column in history:  # by Python's float: exact whatever the version of pandas
        kind = int if column in ("stage", "epoch") else float
        history[column] = [kind(value) for value in history[column]]
    return Run(keras.saving.load_model(folder / "best.keras"), history, record, folder)


def _check(
    catalog: pd.DataFrame, images: np.ndarray, recipe: dict
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows to train on and of those to stop by."""
    catalogs.check(catalog)
    if len(images) != len(catalog):
        raise TrainingError(
            f"There are {len(images)} images but {len(catalog)} rows in the catalog: "
            "load the images of this very catalog."
        )
    pixels = images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3
    if not pixels and not (images.dtype == np.float32 and images.ndim in (2, 3)):
        raise TrainingError(
            f"The images are {images.dtype} of shape {images.shape}; the course's models take "
            "uint8 of shape (n, size, size, 3) and scale it themselves."
        )
    if recipe["optimizer"] not in compute.OPTIMIZERS:
        raise TrainingError(
            f"The optimizer is {recipe['optimizer']!r}, but must be one of "
            f"{', '.join(compute.OPTIMIZERS)}."
        )
    for setting in ("epochs", "batch_size", "patience"):
        if recipe[setting] < 1:
            raise TrainingError(f"{setting} is {recipe[setting]}, but must be at least 1.")
    rows = [np.flatnonzero(catalog["split"] == split) for split in ("train", "val")]
    for split, part in zip(("train", "val"), rows, strict=True):
        if not len(part):
            raise TrainingError(
                f"No row of the catalog is in the split {split!r}: split it first "
                "(helpers.catalog.splitting)."
            )
    if len(set(catalogs.target(catalog.iloc[rows[0]]))) < 2:
        only = sorted(set(catalog["label"].iloc[rows[0]]))
        raise TrainingError(f"The training split holds only {only}: a network needs both classes.")
    return rows[0], rows[1]


def _train(
    model: keras.Model,
    catalog: pd.DataFrame,
    images: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    folder: Path,
    started: dict,
) -> dict:
    """Train until it is time to stop; return what the record tells of it."""
    from tqdm import tqdm

    recipe = started["recipe"]
    target = np.zeros((len(catalog), 1), dtype=np.float32)
    used = np.concatenate([train, val])
    target[used, 0] = catalogs.target(catalog.iloc[used])
    state, copy = _resume(model, folder, started)
    # A bar for who watches in a terminal; nothing on a page.
    bar = tqdm(total=recipe["epochs"], initial=state["epoch"], unit="epoch", disable=None)
    while state["epoch"] < recipe["epochs"] and not _stopped(state, recipe):
        begin = time.perf_counter()
        try:
            row, seconds = _epoch(copy, images, target, train, val, started, state)
        except Exception as error:
            if not compute.out_of_memory(error):
                raise
            row = None
            if state["batch_size"] == 1:
                raise TrainingError(
                    "Not even one image fits into the device's memory: use smaller images or "
                    "a smaller network."
                ) from error
        if row is None:  # outside of `except`, which holds on to what filled the memory
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
    return _finish(state, folder, started, len(train))


def _epoch(
    model: keras.Model,
    images: np.ndarray,
    target: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    started: dict,
    state: dict,
) -> tuple[dict, float]:
    """Train one epoch and judge it; return the history's row and the seconds of training."""
    recipe, devices = started["recipe"], started["devices"]
    epoch = state["epoch"]
    _rewind_random_layers(model, epoch)
    order = np.random.default_rng([recipe["seed"], epoch]).permutation(train)
    # Several devices share each batch evenly; what is left over comes in another epoch.
    size = -(-state["batch_size"] // devices) * devices
    order, val = (rows[: max(1, len(rows) // devices) * devices] for rows in (order, val))
    versions = None
    if images.ndim == 3:
        draws = np.random.default_rng([recipe["seed"], epoch, 1])
        versions = draws.integers(images.shape[1], size=len(images))
    begin = time.perf_counter()
    batches = feed(images, target, order, size, recipe["class_weight"], versions)
    log = _train_pass(model, batches, size)  # in the order drawn above, from seed and epoch
    seconds = time.perf_counter() - begin
    score = _judge_pass(model, feed(images, target, val, size))
    row = {
        "epoch": epoch + 1,
        **{column: float(log[column]) for column in ("loss", "accuracy")},
        **{f"val_{column}": float(score[column]) for column in ("loss", "accuracy")},
    }
    if not np.isfinite([row["loss"], row["val_loss"]]).all():
        raise TrainingError(
            f"In epoch {epoch + 1} the loss is no longer a number: "
            f"lower the learning rate (it is {recipe['learning_rate']})."
        )
    return row, seconds


def feed(
    images: np.ndarray,
    target: np.ndarray,
    rows: np.ndarray,
    batch_size: int,
    class_weight: Mapping[int, float] | None = None,
    versions: np.ndarray | None = None,
) -> keras.utils.PyDataset:
    """Return the batches of one pass through `rows`, each read when its turn comes.

    Parameters
    ----------
    images : numpy.ndarray
        As in :func:`fit`, or a memory map of it.
    target : numpy.ndarray
        float32, shape (n, 1).
    rows : numpy.ndarray
        Which, in the order of the pass.
    batch_size : int
        The last batch may be smaller.
    class_weight : mapping of int to float, optional
        As in :func:`fit`.
    versions : numpy.ndarray of int, optional
        Which version of each image, shape (n,), where there are several; by
        default the first, the image itself.
    """
    import keras

    weight = None
    if class_weight is not None:
        weight = np.where(target[:, 0] > 0, class_weight[1], class_weight[0]).astype(np.float32)

    class Batches(keras.utils.PyDataset):
        """Slices of the array."""

        def __len__(self) -> int:
            return -(-len(rows) // batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
            # Within a batch the order is free, and in the file's order reading is faster.
            batch = np.sort(rows[index * batch_size : (index + 1) * batch_size])
            if images.ndim == 3:
                part = images[batch, 0 if versions is None else versions[batch]]
            else:
                part = images[batch]
            if weight is None:
                return np.asarray(part), target[batch]
            return np.asarray(part), target[batch], weight[batch]

    return Batches()


def _train_pass(model: keras.Model, batches: keras.utils.PyDataset, size: int) -> dict:
    """Train on the batches in their order; return loss and accuracy."""
    given = {"x": batches}
    if (arrays := _in_memory(batches)) is not None:  # Keras reads small arrays far sooner
        given = dict(zip(("x", "y", "sample_weight"), arrays, strict=False), batch_size=size)
    log = model.fit(**given, epochs=1, shuffle=False, verbose=0).history
    return {name: values[-1] for name, values in log.items()}


def _judge_pass(model: keras.Model, batches: keras.utils.PyDataset) -> dict:
    """Return loss and accuracy on the batches."""
    if (arrays := _in_memory(batches)) is None:
        return model.evaluate(batches, verbose=0, return_dict=True)
    model.reset_metrics()
    return model.test_on_batch(*arrays, return_dict=True)


def _in_memory(batches: keras.utils.PyDataset) -> list[np.ndarray] | None:
    """Return the batches put together where they are features and few enough, else None."""
    first = batches[0][0]
    if first.ndim != 2 or first.nbytes * len(batches) > _IN_MEMORY:
        return None
    parts = zip(*(batches[place] for place in range(len(batches))), strict=True)
    return [np.concatenate(part) for part in parts]


def _resume(model: keras.Model, folder: Path, started: dict) -> tuple[dict, keras.Model]:
    """Return state and compiled model after the last finished epoch, or before the first."""
    import keras

    if (folder / "state.json").is_file():
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return state, keras.saving.load_model(folder / _checkpoint(state["epoch"]))
    for stale in folder.glob("epoch-*.keras"):  # of a training killed in its first epoch
        stale.unlink()
    # Through a file, like after a kill: the caller's model stays as it is, and a
    # model that cannot be saved says so before hours of training, not after.
    model.save(folder / _checkpoint(0))
    copy = keras.saving.load_model(folder / _checkpoint(0), compile=False)
    recipe = started["recipe"]
    if recipe["precision"] != "float32":
        compute.set_precision(copy, recipe["precision"])
    copy.compile(
        optimizer=compute.optimizer(
            recipe["optimizer"], recipe["learning_rate"], recipe["precision"]
        ),
        loss=recipe["loss"],
        metrics=["accuracy"],
        jit_compile=compute.jit(Profile(**started["settings"]["profile"])),
    )
    state = {"epoch": 0, "best": 0, "history": [], "seconds": [], "epoch_seconds": []}
    return {**state, "batch_size": recipe["batch_size"]}, copy


def _stopped(state: dict, recipe: dict) -> bool:
    return state["epoch"] - state["best"] >= recipe["patience"] and state["epoch"] > 0


def _keep(
    model: keras.Model, state: dict, row: dict, seconds: float, all_seconds: float, folder: Path
) -> None:
    """Keep the finished epoch: its file first, then the state that names it, then tidy up."""
    lowest = min((past["val_loss"] for past in state["history"]), default=np.inf)
    state["epoch"] = row["epoch"]
    state["best"] = row["epoch"] if row["val_loss"] < lowest else state["best"]
    state["history"].append(row)
    state["seconds"].append(round(seconds, 3))
    state["epoch_seconds"].append(round(all_seconds, 3))
    with atomic_path(folder / _checkpoint(state["epoch"])) as path:
        model.save(path)
    write_json(folder / "state.json", state)
    write_csv(folder / "history.csv", pd.DataFrame(state["history"], columns=HISTORY))
    wanted = {_checkpoint(state["epoch"]), _checkpoint(state["best"])}
    for file in folder.glob("*.keras"):
        if file.name not in wanted:
            file.unlink()


def _finish(state: dict, folder: Path, started: dict, images: int) -> dict:
    """Leave the best model and the history; return the record, which comes last."""
    if not (folder / "best.keras").is_file() or (folder / _checkpoint(state["best"])).is_file():
        with atomic_path(folder / "best.keras") as path:
            _finished_model(folder / _checkpoint(state["best"]), path, started["recipe"])
    write_csv(folder / "history.csv", pd.DataFrame(state["history"], columns=HISTORY))
    # The first epoch also compiles.
    steady = state["seconds"][1:] or state["seconds"]
    return {
        **started,
        "best_epoch": state["best"],
        "epochs": state["epoch"],
        "batch_size": state["batch_size"],
        "epoch_seconds": state["epoch_seconds"],
        "images_per_second": round(images / float(np.median(steady)), 1),
        "environment": provenance.environment(),
    }


def _finished_model(checkpoint: Path, path: Path, recipe: dict) -> None:
    """Write the checkpoint to `path` as a model that computes in float32."""
    if recipe["precision"] == "float32":
        shutil.copyfile(checkpoint, path)
        return
    import keras

    model = keras.saving.load_model(checkpoint, compile=False)
    compute.set_precision(model, "float32")
    model.save(path)


def _rewind_random_layers(model: keras.Model, epoch: int) -> None:
    """Set dropout and the like to draws of this epoch, whatever was drawn before."""
    import keras

    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            seed = int(keras.ops.convert_to_numpy(variable)[0])
            variable.assign(np.array([seed, epoch * _DRAWS], dtype=np.uint32))


def _checkpoint(epoch: int) -> str:
    return f"epoch-{epoch:04d}.keras"
