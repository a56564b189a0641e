"""The public functions that take what a user gives them, and sound arguments for each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from tests.unit.strange import N, catalog, images, predictions, tables, unsplit

#: The modules that take tables, arrays or numbers of a user. `group_search` and `resampling`
#: are the inner works of `splitting` and `metrics`, which hand them what is checked.
MODULES = (
    "catalog.table",
    "catalog.splitting",
    "catalog.balancing",
    "catalog.augmentation",
    "predictions.table",
    "predictions.alignment",
    "predictions.collapse",
    "predictions.metrics",
    "predictions.comparing",
    "predictions.calibration",
    "predictions.curves",
    "predictions.diversity",
    "predictions.ensembling",
    "predictions.thresholds",
    "report.cards",
    "report.interactive",
    "report.plots",
    "report.plots_evaluation",
    "report.tables",
    "explaining.shortcuts",
    "studies.baselines",
    "studies.papers",
)
#: What only the course's own code calls, with arguments that it made itself.
INNER = {"collapse.same_scores", "collapse.note", "metrics.draw", "metrics.resample",
         "plots.draw_curves", "plots.draw_band", "plots.use_style", "plots.columns_of",
         "cards.write"}  # fmt: skip


#: What the command line or the course's own code gives, and switches.
GIVEN = {"settings", "record", "traces", "nearest", "experiments"}


def open_to_users(name: str, arguments: dict[str, object]) -> list[str]:
    """Return the arguments of a function that a user may get wrong."""
    writes = name.rpartition(".")[2] in ("write", "save_predictions")
    return [key for key in arguments if key not in GIVEN and not (writes and key == "path")]


def _rates() -> pd.DataFrame:
    grid = np.linspace(0.1, 0.9, 5)
    return pd.DataFrame({"threshold": grid, "sensitivity": 1 - grid, "specificity": grid})


def _forest() -> pd.DataFrame:
    return pd.DataFrame(
        {"model": ["a", "b"], "value": [0.5, 0.6], "low": 0.4, "high": [0.7, np.nan]}
    )


def _history() -> pd.DataFrame:
    names = ["loss", "accuracy", "val_loss", "val_accuracy"]
    return pd.DataFrame({"epoch": [1, 2, 3], **{name: [0.5, 0.4, 0.3] for name in names}})


def _prevalences() -> pd.DataFrame:
    names = [f"{name}{end}" for name in ("ppv", "npv") for end in ("", "_low", "_high")]
    return pd.DataFrame({"prevalence": [0.01, 0.1], **{name: [0.2, 0.4] for name in names}})


def sound(folder: Path) -> dict[str, Callable[[], object]]:
    """Return a maker of a sound argument for each name, or for ``module.function.name``."""
    from helpers.base import settings

    course = settings.Settings("phantom", settings.PROFILES["smoke"], 24, None, folder)
    (folder / "sound").mkdir(exist_ok=True)
    catalogs.write(folder / "sound" / "catalog.csv", catalog())
    from helpers.predictions import save_predictions

    save_predictions(folder / "sound" / "predictions.csv", predictions())
    values: dict[str, Callable[[], object]] = {
        "catalog": unsplit,
        "balancing.catalog": catalog,
        "audit_leakage.catalog": catalog,
        "require_enough.catalog": lambda: pd.concat(
            [unsplit(), unsplit().assign(image_id=[f"j{row}" for row in range(N)])]
        ).reset_index(drop=True),
        "table.catalog": catalog,
        "cards.catalog": catalog,
        "table.rows": catalog,
        "table.make.positive": lambda: "all",
        "truth.column": lambda: catalog()["positive"],
        "columns": lambda: ("sha256",),
        "table.read.path": lambda: folder / "sound" / "catalog.csv",
        "load_predictions.path": lambda: folder / "sound" / "predictions.csv",
        "read_predictions.path": lambda: folder / "sound" / "predictions.csv",
        "write.path": lambda: folder / "written.csv",
        "save_predictions.path": lambda: folder / "written.csv",
        "seed": lambda: 24,
        "epoch": lambda: 0,
        "targets": lambda: [0, 1, 1, 0],
        "batch_size": lambda: 4,
        "fractions": lambda: (0.5, 0.25, 0.25),
        "nearest": lambda: True,
        "tolerance": lambda: 0.05,
        "k": lambda: 2,
        "test_fold": lambda: "2",
        "val_fold": lambda: "1",
        "across": lambda: "split",
        "image": lambda: images()[0],
        "transform": lambda: "rot90",
        "predictions": predictions,
        "first": predictions,
        "second": lambda: predictions(0.1),
        "validation": lambda: predictions(split="val"),
        "check_fitting.predictions": lambda: predictions(split="val"),
        "tables": tables,
        "plots.by_name.tables": tables,
        "same": lambda: ["label"],
        "threshold": lambda: 0.5,
        "metric": lambda: "auc",
        "metrics": lambda: ["auc", "accuracy"],
        "resamples": lambda: 20,
        "by": lambda: "subject",
        "method": lambda: "t",
        "what": lambda: "A curve",
        "count": lambda: 5,
        "score": lambda: np.linspace(0, 1, 5),
        "kind": lambda: "roc",
        "points": lambda: 11,
        "weights": lambda: {"a": 1.0, "b": 2.0},
        "split": lambda: "val",
        "table.make.split": lambda: "test",
        "form": lambda: "fused",
        "scores": lambda: np.linspace(0, 1, N),
        "sensitivity": lambda: 0.9,
        "specificity": lambda: 0.9,
        "prevalence": lambda: 0.1,
        "thresholds": lambda: [0.2, 0.5],
        "name": lambda: "net",
        "settings": lambda: course,
        "description": lambda: "a network",
        "source": lambda: "ImageNet",
        "record": lambda: {},
        "traces": lambda: False,
        "text": lambda: "# A card",
        "rates": _rates,
        "index": lambda: 3,
        "class_colours.table": predictions,
        "images": images,
        "cells_inside.images": lambda: images()[:0],  # as many as there are paths
        "titles": lambda: ["title"] * N,
        "columns.image_grid": lambda: 5,
        "image_grid.columns": lambda: 5,
        "width": lambda: 7.5,
        "colours": lambda: ["#000000"] * N,
        "history": _history,
        "forest.table": _forest,
        "forest.name": lambda: "model",
        "xlabel": lambda: "AUC",
        "group": lambda: None,
        "reference": lambda: 0.5,
        "names": lambda: 60,
        "who": lambda: "subjects",
        "prevalence.table": _prevalences,
        "mark": lambda: 0.1,
        "value": lambda: "text",
        "number.value": lambda: 0.5,
        "low": lambda: 0.4,
        "high": lambda: 0.6,
        "explained.table": _rates,
        "heads": lambda: ["a", "b"],
        "templates.table.rows": lambda: [[1, 2]],
        "paths": lambda: [],
        "ground": lambda: "grey",
        "share": lambda: 0.5,
        "target": lambda: np.arange(N) % 2,
        "plant_stain.split": lambda: ["train", "test"] * (N // 2),
        "strength": lambda: 0.1,
        "pixels": images,
        "papers.value": lambda: 0.9,
        "papers.images": lambda: 100,
        "digits": lambda: 3,
        "accuracy": lambda: 0.9,
        "experiments": lambda: True,
    }
    return values


def functions() -> dict[str, Callable]:
    """Return every public function of :data:`MODULES`, by ``module.function``."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"helpers.{name}")
        for each, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                key = f"{name.partition('.')[2]}.{each}"
                inner = each.startswith("_") or key in INNER
                if not inner and set(inspect.signature(value).parameters) - GIVEN:
                    found[f"{name}.{each}"] = value
    return found


def arguments(name: str, function: Callable, makers: dict[str, Callable]) -> dict[str, object]:
    """Return sound arguments of a function: the most special maker of each one's name."""
    _, module, short = name.split(".")
    result = {}
    for parameter in inspect.signature(function).parameters:
        for key in (f"{module}.{short}.{parameter}", f"{short}.{parameter}",
                    f"{module}.{parameter}", parameter):  # fmt: skip
            if key in makers:
                result[parameter] = makers[key]()
                break
        else:
            raise AssertionError(
                f"tests/unit/public_functions.py knows no sound {parameter!r} of {name}"
            )
    return result
