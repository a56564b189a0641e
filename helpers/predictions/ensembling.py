"""Rules that combine the predictions of several models, from their tables alone.

Every rule takes tables of predictions by model name, aligns them by `image_id`
and returns one table of predictions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import PredictionsError
from helpers.predictions import calibration
from helpers.predictions.alignment import Aligned, Tables, align

#: Folds of subjects for the scores of the rows that a stacking is fitted on.
_FOLDS = 5


def majority_vote(tables: Tables) -> pd.DataFrame:
    """Return the share of the models that vote for the positive class.

    A model votes for the positive class from a score of 0.5 up. A tie is decided by
    the mean score: half a vote is added or taken away, so that of four models two
    against two give 0.625 or 0.375, never 0.5.
    """
    aligned = align(tables)
    models = len(aligned.names)
    votes = aligned.predicted_positive.sum(axis=0).astype(float)
    tied = 2 * votes == models
    votes[tied] += np.where(_mean(aligned.scores)[tied] >= 0.5, 0.5, -0.5)
    return aligned.rows.assign(score=votes / models)


def soft_vote(tables: Tables, weights: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return the (weighted) mean of the models' scores.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    weights : mapping of str to float, optional
        By model name; not negative, not all zero; they are divided by their sum.
        Equal by default.

    Raises
    ------
    PredictionsError
        When the tables cannot be aligned or the weights are not valid.
    """
    aligned = align(tables)
    if weights is None:
        return aligned.rows.assign(score=_mean(aligned.scores))
    if not isinstance(weights, Mapping) or set(weights) != set(aligned.names):
        found = list(weights) if isinstance(weights, Mapping) else arguments.shown(weights)
        raise PredictionsError(
            f"There are weights for {found}, but predictions of {aligned.names}."
        )
    given = [weights[name] for name in aligned.names]
    values = arguments.array("The weights", given, PredictionsError, missing=True)
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise PredictionsError(
            f"The weights are {values.tolist()}, but must be numbers, none negative and not all "
            "zero."
        )
    return aligned.rows.assign(score=_mean(aligned.scores, values / values.sum()))


def fit_weights(tables: Tables, split: str = "val") -> dict[str, float]:
    """Return the weights of a soft vote with the smallest log loss on a split.

    Both classes have the same weight in the loss, however many images they have.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    split : str
        The rows that the weights are fitted on. Not ``train``, where the models have
        seen the truth, and not ``test``, which evaluates the result.

    Returns
    -------
    dict of str to float
        By model name; not negative, their sum is 1. The problem is convex: there are no
        better weights, but there may be others with the same loss.

    Raises
    ------
    PredictionsError
        When the tables cannot be aligned or have no row of the split, or it is ``test``.
    """
    from scipy.optimize import minimize

    aligned, truth, inside = _fitting_rows(tables, split)
    truth, scores = truth[inside], aligned.scores[:, inside]
    of_truth = np.clip(np.where(truth == 1, scores, 1 - scores), calibration.CLIP, 1)
    importance = 1 / np.bincount(truth, minlength=2)[truth]
    importance /= importance.sum()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ of_truth
        return -importance @ np.log(mixed), -(of_truth / mixed) @ importance

    models = len(aligned.names)
    equal = np.full(models, 1 / models)
    result = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * models,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 500},
    ).x
    result = np.where(result > 1e-6, result, 0)
    # If the search fails, equal weights or a single model may be better.
    best = min((result / result.sum(), equal, *np.eye(models)), key=lambda w: loss(w)[0])
    return dict(zip(aligned.names, best.tolist(), strict=True))


def stack(tables: Tables, split: str = "val") -> pd.DataFrame:
    """Return the predictions of a logistic regression on the models' logits.

    The rows of `split` are scored by regressions that were fitted without their
    subjects, in five folds; where the other folds have one class only, by the soft
    vote. All other rows are scored by the regression on the whole split. Both classes
    have the same weight.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    split : str
        The rows that the regression is fitted on, as in :func:`fit_weights`.

    Raises
    ------
    PredictionsError
        When the tables cannot be aligned, or the split has no row or one class only, or is
        ``test``.

    References
    ----------
    Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    aligned, truth, inside = _fitting_rows(tables, split)
    fitting, others = np.flatnonzero(inside), np.flatnonzero(~inside)
    if len(set(truth[fitting])) < 2:
        raise PredictionsError(
            f"The split {split!r} has only {sorted(set(aligned.rows['label'].iloc[fitting]))}: "
            "a regression needs two classes."
        )
    logits = calibration.logit(aligned.scores).T
    subjects = aligned.rows["subject"].iloc[fitting]
    parts = [(fitting, others)]
    if (folds := min(_FOLDS, subjects.nunique())) > 1:
        for rest, fold in GroupKFold(folds).split(fitting, groups=subjects):
            parts.append((fitting[rest], fitting[fold]))
    score = _mean(aligned.scores)
    for fitted, scored in parts:
        if len(scored) and len(set(truth[fitted])) == 2:
            model = LogisticRegression(class_weight="balanced", max_iter=5000)
            model.fit(logits[fitted], truth[fitted])
            score[scored] = model.predict_proba(logits[scored])[:, 1]
    return aligned.rows.assign(score=score)


def fuzzy_rank(tables: Tables, form: str = "fused") -> pd.DataFrame:
    """Return the fuzzy-rank fusion of the models, in one of its two published forms.

    With the probability p of a class by a model, R1 = 1 - exp(-(p-1)^2/2) and
    R2 = 1 - tanh((p-1)^2/2). RS is the sum of R1 R2 over the models, CCF is 1 minus
    the mean of p, and FS = RS CCF.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    form : str
        ``fused``: the class with the smallest FS wins, as in the paper;
        ``rank``: the class with the smallest RS wins, as in the authors' program.

    Returns
    -------
    pandas.DataFrame
        The score is the share of the negative class in the sum of both FS (or RS). It is
        not a probability, but at least 0.5 where the positive class wins.

    Raises
    ------
    PredictionsError
        When the tables cannot be aligned or the form is unknown.

    References
    ----------
    Manna et al. 2021, doi:10.1038/s41598-021-93783-8.
    """
    arguments.one_of("form", form, ("fused", "rank"), PredictionsError)
    scores = (aligned := align(tables)).scores
    average = _mean(scores)

    def rank(p: np.ndarray, mean: np.ndarray) -> np.ndarray:
        distance = (p - 1) ** 2 / 2
        ranks = (1 - np.exp(-distance)) * (1 - np.tanh(distance))
        total = np.sort(ranks, axis=0).sum(axis=0)  # the same for every order of the models
        return total * (1 - mean) if form == "fused" else total

    positive, negative = rank(scores, average), rank(1 - scores, 1 - average)
    # Rounded, so that the last bit of a sum does not decide between equal classes.
    return aligned.rows.assign(score=(negative / (negative + positive)).round(12))


def _mean(scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the (weighted) mean over the models, float64, shape (images,).

    It is summed in order of size and rounded to 15 decimals, so that neither the order
    of the models nor the last bit of a sum decides whether a mean reaches 0.5.
    """
    if len(scores) == 1:
        return scores[0].copy()
    if weights is None:
        weights = np.full(len(scores), 1 / len(scores))
    parts = np.sort(weights[:, np.newaxis] * scores, axis=0)
    return np.clip(parts.sum(axis=0).round(15), 0, 1)


def _fitting_rows(tables: Tables, split: str) -> tuple[Aligned, np.ndarray, np.ndarray]:
    """Return the aligned tables, the truth and which rows are in the split, bool (images,)."""
    if isinstance(split, str) and split == "test":
        raise PredictionsError(
            "An ensemble must not be fitted on the split 'test', which only judges: "
            "fit it on 'val'."
        )
    aligned = align(tables)
    splits = aligned.rows["split"].to_numpy(dtype=object)
    inside = splits == split if isinstance(split, str) else np.zeros(len(splits), bool)
    if not inside.any():
        raise PredictionsError(
            f"No row is in the split {arguments.shown(split)}, only in {sorted(set(splits))}: "
            "give the whole tables, not the test rows alone."
        )
    return aligned, aligned.truth(), inside
