"""Figures and intervals of models that tell more than two classes apart.

A table of such predictions has the columns `image_id`, `subject`, `label`,
`split` and one `score_<class>` for each class; the scores of a row sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers import _resampling, catalog, metrics
from helpers._alignment import last_largest
from helpers.metrics import METHOD, MetricsError

#: Figures by name. `macro_` is the plain mean over classes, `weighted_` that by their images;
#: the AUC of a class is that of its score against all the others.
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "macro_auc")
_LEAD = "score_"


def classes(predictions: pd.DataFrame) -> list[str]:
    """Return the classes that have a score, negative ones first."""
    names = [str(name)[len(_LEAD) :] for name in predictions if str(name).startswith(_LEAD)]
    return catalog.classes(pd.DataFrame({"label": names}))


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return `predictions` as it is when it is sound, raise otherwise.

    Raises
    ------
    MetricsError
        As :func:`helpers.metrics.check`; and when there are fewer than two
        score columns, the scores of a row do not sum to 1, or a label has no score.
    """
    names = classes(predictions)
    if len(names) < 2:
        raise MetricsError(
            f"Predictions of several classes have a column score_<class> each; "
            f"found {list(predictions.columns)}."
        )
    for name in names:
        metrics.check(predictions.assign(score=predictions[_LEAD + name]))
    total = predictions[[_LEAD + name for name in names]].to_numpy(dtype=float).sum(axis=1)
    wrong = np.abs(total - 1) > 1e-3
    if wrong.any():
        row = int(np.argmax(wrong))
        raise MetricsError(
            f"The scores of {int(wrong.sum())} images do not sum to 1, first "
            f"{predictions['image_id'].iloc[row]!r} with {total[row]:.4g}."
        )
    strange = sorted(set(predictions["label"]) - set(names))
    if strange:
        raise MetricsError(f"No score speaks for the labels {strange}; scored are {names}.")
    return predictions


def predicted(predictions: pd.DataFrame) -> np.ndarray:
    """Return the class with the highest score of each image; of equal ones the last in order.

    So a tie is a call for the positive class, as a binary score of one half is.
    """
    names = classes(check(predictions))
    return np.array(names, dtype=object)[_called(predictions, names)]


def confusion_counts(predictions: pd.DataFrame) -> pd.DataFrame:
    """Count images by true class (rows) and predicted class (columns)."""
    names = classes(check(predictions))
    cell = len(names) * _truth(predictions, names) + _called(predictions, names)
    counts = np.bincount(cell, minlength=len(names) ** 2).reshape(len(names), -1)
    return pd.DataFrame(counts, index=names, columns=names)


def to_binary(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with one `score`: the sum over the positive classes."""
    names = classes(check(predictions))
    positive = catalog.positive_classes(pd.DataFrame({"label": names}))
    score = predictions[[_LEAD + name for name in positive]].sum(axis=1).clip(0, 1)
    return predictions[list(metrics.COLUMNS[:-1])].assign(score=score)


def report(
    predictions: pd.DataFrame,
    metrics: Iterable[str] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    by: str = "subject",
    seed: int = 24,
    method: str = METHOD,
) -> pd.DataFrame:
    """Return a table of figures with their intervals: `metric`, `value`, `low`, `high`.

    As :func:`helpers.metrics.report`, of names in :data:`METRICS`. A figure
    that needs an image of each class is NaN without.
    """
    names = list(METRICS if metrics is None else metrics)
    cluster, draws = draw(predictions, resamples, level, by, seed, method)
    found = study(predictions, names, cluster, draws, method=method)
    rows = [(name, found[name].value, *found[name].interval(level, method)) for name in names]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])


def draw(
    predictions: pd.DataFrame, resamples: int, level: float, by: str, seed: int, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return clusters and draws, as :func:`helpers.metrics.draw`."""
    first = predictions[_LEAD + classes(check(predictions))[0]]
    return metrics.draw(predictions.assign(score=first), resamples, level, by, seed, method)


def study(
    predictions: pd.DataFrame,
    names: Iterable[str],
    cluster: np.ndarray,
    draws: np.ndarray,
    threshold: float = 0.5,
    method: str = METHOD,
) -> dict[str, _resampling.Resampled]:
    """Return the named figures with all that their intervals need; there is no threshold."""
    names = list(names)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise MetricsError(f"There is no figure {unknown[0]!r}; known are {', '.join(METRICS)}.")
    labels, count = classes(check(predictions)), draws.shape[1]
    truth, called = _truth(predictions, labels), _called(predictions, labels)
    weights = [draws, np.ones((1, count), dtype=np.int64)]
    if method == "bca":
        weights.append(_resampling.without_one(count))
    stacked = np.concatenate(weights)
    counts = _resampling.sums(len(labels) * truth + called, len(labels) ** 2, cluster, stacked)
    found = _from_counts(counts.reshape(-1, len(labels), len(labels)))
    if "macro_auc" in names:
        areas = [
            _resampling.areas(
                predictions[_LEAD + label].to_numpy(dtype=float),
                (truth == place).astype(np.int64),
                cluster,
                stacked,
            )[0]
            for place, label in enumerate(labels)
        ]
        found["macro_auc"] = np.mean(areas, axis=0)
    least = _resampling.freedom(truth, cluster, range(len(labels)))
    drawn, whole = len(draws), _resampling.freedom(truth, cluster)
    scarcest = np.bincount(truth, minlength=len(labels)).min()
    of_all = {"accuracy", "weighted_f1"}  # the others rest on every class alike
    return {
        name: _resampling.Resampled(
            float(found[name][drawn]),
            found[name][:drawn],
            whole if name in of_all else least,
            (0, 1),
            0.5 / ((len(truth) if name in of_all else scarcest) + 1),
            found[name][drawn + 1 :],
        )
        for name in names
    }


def _truth(predictions: pd.DataFrame, names: list[str]) -> np.ndarray:
    return predictions["label"].map({name: k for k, name in enumerate(names)}).to_numpy(np.int64)


def _called(predictions: pd.DataFrame, names: list[str]) -> np.ndarray:
    return last_largest(predictions[[_LEAD + name for name in names]].to_numpy(dtype=float))


def _from_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures that counts give; counts[b, true, predicted] in resample b."""
    right = np.einsum("bkk->bk", counts)
    images, calls = counts.sum(axis=2), counts.sum(axis=1)
    total = images.sum(axis=1)
    with np.errstate(invalid="ignore"):
        f1 = 2 * right / (images + calls)
        return {
            "accuracy": right.sum(axis=1) / total,
            "balanced_accuracy": (right / images).mean(axis=1),
            "macro_f1": f1.mean(axis=1),
            # A class without images weighs nothing, whatever its F1.
            "weighted_f1": (np.where(images > 0, f1, 0) * images).sum(axis=1) / total,
        }
