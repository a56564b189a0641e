"""Rules that make one prediction of several models', from tables of predictions alone.

Every rule takes tables of predictions by model name, lines them up by `image_id`
and returns one table of the same kind. Binary tables have `score`, the probability
of the positive class; those of more classes one `score_<class>` for each, which sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.base.errors import PredictionsError
from helpers.predictions.alignment import Aligned, Tables, align, last_largest, mean
from helpers.predictions.table import make

__all__ = [
    "PredictionsError",
    "align",
    "bag",
    "fit_weights",
    "fuzzy_rank",
    "majority_vote",
    "out_of_fold",
    "soft_vote",
    "stack",
]

#: Probabilities are kept this far from 0 and 1 before a logarithm is taken.
_EDGE = 1e-6


def majority_vote(tables: Tables, ties: str = "mean") -> pd.DataFrame:
    """Return the share of the models that vote for each class.

    A model votes for its most probable class; of equally probable ones for the
    last, so that a binary score of 0.5 is a vote for the positive class.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    ties : str
        Who wins where several classes have the most votes: ``mean``, the one with
        the highest mean probability (if that is equal too, the last);
        ``positive``, the last class; ``negative``, the first one. Half a vote is
        then moved to the winner, in equal parts from those that it was tied with: of
        four models two against two give 0.625 or 0.375, never 0.5.
    """
    if ties not in ("mean", "positive", "negative"):
        raise PredictionsError(f"ties is {ties!r}, but must be 'mean', 'positive' or 'negative'.")
    aligned = align(tables)
    models, _, classes = aligned.probabilities.shape
    voted = last_largest(aligned.probabilities)
    votes = (voted[..., np.newaxis] == np.arange(classes)).sum(axis=0).astype(float)
    leading = votes == votes.max(axis=1, keepdims=True)
    liking = {
        "mean": mean(aligned.probabilities),
        "positive": np.broadcast_to(np.arange(1.0, classes + 1), votes.shape),
        "negative": np.broadcast_to(np.arange(classes, 0.0, -1), votes.shape),
    }[ties]
    winner = last_largest(np.where(leading, liking, -1.0))
    tied = leading.sum(axis=1)
    for row in np.flatnonzero(tied > 1):
        votes[row, leading[row]] -= 0.5 / (tied[row] - 1)
        votes[row, winner[row]] += 0.5 / (tied[row] - 1) + 0.5
    return aligned.table(votes / models)


def soft_vote(
    tables: Tables, weights: Mapping[str, float] | Sequence[float] | None = None
) -> pd.DataFrame:
    """Return the mean of the models' probabilities, each with its weight.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    weights : mapping of str to float, or sequence of float, optional
        None negative, not all zero; they are divided by their sum. Equal by default.
    """
    aligned = align(tables)
    if weights is None:
        return aligned.table(mean(aligned.probabilities))
    if isinstance(weights, Mapping):
        if set(weights) != set(aligned.names):
            raise PredictionsError(
                f"There are weights for {sorted(weights)}, but predictions of "
                f"{sorted(aligned.names)}."
            )
        weights = [weights[name] for name in aligned.names]
    weights = np.asarray(weights, dtype=float)
    sound = weights.shape == (len(aligned.names),) and np.isfinite(weights).all()
    if not sound or (weights < 0).any() or weights.sum() <= 0:
        raise PredictionsError(
            f"The weights are {weights.tolist()}, but must be one for each of the "
            f"{len(aligned.names)} models, none negative and not all zero."
        )
    return aligned.table(mean(aligned.probabilities, weights / weights.sum()))


def fit_weights(tables: Tables, split: str = "val", balanced: bool = True) -> dict[str, float]:
    """Return the weights of a soft vote with the lowest log loss on a split.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    split : str
        The rows that are looked at, ``val``: in ``train`` the models have seen the answers,
        and what was fitted on ``test`` cannot be judged there.
    balanced : bool
        Let each class count the same, however many images it has.

    Returns
    -------
    dict of str to float
        By model, none negative, with sum 1. The problem is convex, so there is no
        better set of weights; where several are equally good, one of them.
    """
    from scipy.optimize import minimize

    aligned, truth, inside = _fitting_rows(tables, split)
    of_truth = aligned.probabilities[:, inside, truth[inside]]
    of_truth = np.clip(of_truth, _EDGE, 1)
    count = _importance(truth[inside], balanced)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ of_truth
        return -count @ np.log(mixed), -(of_truth / mixed) @ count

    models = len(aligned.names)
    equal = np.full(models, 1 / models)
    found = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * models,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 500},
    ).x
    found = np.where(found > 1e-6, found, 0)
    # Should the search fail, no start is given away.
    best = min((found / found.sum(), equal, *np.eye(models)), key=lambda w: loss(w)[0])
    return dict(zip(aligned.names, best.tolist(), strict=True))


def stack(
    tables: Tables,
    fit_on: str = "val",
    folds: int = 5,
    strength: float = 1.0,
    balanced: bool = True,
    seed: int = 24,
) -> pd.DataFrame:
    """Return what a logistic regression on the models' logits makes of them.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    fit_on : str
        The split that it is fitted on, ``val``; or ``train`` where the tables come
        from :func:`out_of_fold`, whose training rows were not seen by who scored them.
    folds : int
        The rows that it is fitted on are themselves scored by regressions that saw
        none of their subjects, in so many folds. Where the other folds hold one
        class only, by the soft vote.
    strength : float
        Inverse of the penalty (``C``); a large one lets the weights run.
    balanced, seed
        As in :func:`fit_weights`; the seed deals the folds.

    References
    ----------
    Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1.
    """
    aligned, truth, inside = _fitting_rows(tables, fit_on)
    rows = np.flatnonzero(inside)
    if len(set(truth[rows])) < 2:
        raise PredictionsError(
            f"The split {fit_on!r} holds only {sorted(set(aligned.rows['label'].iloc[rows]))}: "
            "a regression needs two classes."
        )
    inputs = _logits(aligned)
    classes = aligned.probabilities.shape[2]

    def scores(fitted: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            C=strength, class_weight="balanced" if balanced else None, max_iter=5000
        ).fit(inputs[fitted], truth[fitted])
        result = np.zeros((len(wanted), classes))
        if len(wanted):
            result[:, model.classes_] = model.predict_proba(inputs[wanted])
        return result

    stacked = np.zeros(aligned.probabilities.shape[1:])
    others = np.flatnonzero(~inside)
    stacked[others] = scores(rows, others)
    fold = _deal(aligned.rows["subject"].to_numpy()[rows], folds, seed)
    for number in np.unique(fold):
        here, fitted = rows[fold == number], rows[fold != number]
        if len(set(truth[fitted])) > 1:
            stacked[here] = scores(fitted, here)
        else:
            stacked[here] = mean(aligned.probabilities[:, here])
    return aligned.table(stacked)


def fuzzy_rank(tables: Tables, form: str = "fused") -> pd.DataFrame:
    """Return the fuzzy-rank fusion of the models, in one of its two published forms.

    With the probability p of a class by a model, R1 = 1 - exp(-(p-1)^2/2) and
    R2 = 1 - tanh((p-1)^2/2). RS is the sum of R1 R2 over the models, CCF is 1 minus
    the mean of p, and FS = RS CCF.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
    form : str
        ``fused``: the class with the least FS, as the paper writes it;
        ``rank``: the class with the least RS, as its authors' program does.

    Returns
    -------
    pandas.DataFrame
        Scores that are no probabilities, but order the classes as FS or RS do, the least
        first: (sum of F - F) / ((classes - 1) sum of F). Rows sum to 1.

    References
    ----------
    Manna et al. 2021, doi:10.1038/s41598-021-93783-8.
    """
    if form not in ("fused", "rank"):
        raise PredictionsError(f"form is {form!r}, but must be 'fused' or 'rank'.")
    aligned = align(tables)
    distance = (aligned.probabilities - 1) ** 2 / 2
    ranks = (1 - np.exp(-distance)) * (1 - np.tanh(distance))
    fused = np.sort(ranks, axis=0).sum(axis=0)
    if form == "fused":
        fused = fused * (1 - mean(aligned.probabilities))
    total = fused.sum(axis=1, keepdims=True)
    scores = (total - fused) / ((fused.shape[1] - 1) * total)
    return aligned.table(np.round(scores, 12))  # not the last bit decides between equals


def bag(
    table: pd.DataFrame,
    fit: Callable[[np.ndarray], np.ndarray],
    bags: int = 10,
    seed: int = 24,
) -> dict[str, pd.DataFrame]:
    """Return the predictions of one model fitted on several draws of the training subjects.

    Parameters
    ----------
    table : pandas.DataFrame
        `image_id`, `subject`, `label`, `positive`, `split`, and `group` where subjects are linked.
    fit : callable
        From the positions of the rows to fit on (a subject drawn twice stands there
        twice) to the scores of all rows: shape (n,), of the positive class.
    bags : int
        Each draws as many training subjects as there are, with replacement. A draw
        that lacks a class of the training rows is drawn again.
    seed : int
        Of the draws.

    Returns
    -------
    dict of str to pandas.DataFrame
        ``bag 1``, ...: binary predictions, to be combined by any rule.

    References
    ----------
    Breiman 1996, doi:10.1007/BF00058655. Whole subjects are drawn because
    their cells are alike: a draw of cells would hardly differ from the next.
    """
    train = _training_rows(table)
    if bags < 1:
        raise PredictionsError(f"bags is {bags}, but must be at least 1.")
    groups = _groups(table).iloc[train].to_numpy()
    labels = table["label"].iloc[train].to_numpy()
    members = {name: train[groups == name] for name in pd.unique(groups)}
    names, wanted = list(members), set(labels)
    rng = np.random.default_rng(seed)
    made = {}
    for number in range(1, bags + 1):
        for _ in range(1000):
            drawn = rng.integers(len(names), size=len(names))
            rows = np.sort(np.concatenate([members[names[place]] for place in drawn]))
            if set(table["label"].iloc[rows]) == wanted:
                break
        else:
            raise PredictionsError(
                f"In 1000 draws of {len(names)} training subjects none held all of "
                f"{sorted(wanted)}: there are too few subjects to bag."
            )
        made[f"bag {number}"] = make(table, fit(rows))
    return made


def out_of_fold(
    table: pd.DataFrame,
    fit: Callable[[np.ndarray], np.ndarray],
    folds: int = 5,
    seed: int = 24,
) -> pd.DataFrame:
    """Return predictions whose training rows were scored without their subjects.

    Arguments are those of :func:`bag`. The rows of ``val`` and ``test`` are scored by a
    model fitted on all of ``train``.

    Raises
    ------
    PredictionsError
        When there are fewer than two groups of subjects in training.
    """
    train = _training_rows(table)
    fold = _deal(_groups(table).iloc[train].to_numpy(), folds, seed)
    if len(np.unique(fold)) < 2:
        raise PredictionsError("There is one training subject only: nothing can be held out.")
    scores = np.array(fit(train), dtype=float)
    for number in np.unique(fold):
        held = train[fold == number]
        scores[held] = np.asarray(fit(train[fold != number]))[held]
    return make(table, scores)


def _fitting_rows(tables: Tables, split: str) -> tuple[Aligned, np.ndarray, np.ndarray]:
    aligned = align(tables)
    inside = (aligned.rows["split"] == split).to_numpy()
    if not inside.any():
        raise PredictionsError(
            f"No row is in the split {split!r}, only in {sorted(set(aligned.rows['split']))}: "
            "give the whole tables, not the test rows alone."
        )
    return aligned, aligned.truth(), inside


def _importance(truth: np.ndarray, balanced: bool) -> np.ndarray:
    """Return what each row counts in a loss, with sum 1."""
    if not balanced:
        return np.full(len(truth), 1 / len(truth))
    classes, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
    return 1 / (len(classes) * counts[place])


def _logits(aligned: Aligned) -> np.ndarray:
    """Return the inputs of a stacking: log odds of binary scores, else log probabilities."""
    safe = np.clip(aligned.probabilities, _EDGE, 1 - _EDGE)
    if aligned.classes is None:
        return (np.log(safe[..., 1]) - np.log(safe[..., 0])).T
    return np.log(safe).transpose(1, 0, 2).reshape(len(aligned.rows), -1)


def _groups(table: pd.DataFrame) -> pd.Series:
    return table["group" if "group" in table else "subject"].astype(str)


def _training_rows(table: pd.DataFrame) -> np.ndarray:
    train = np.flatnonzero(table["split"] == "train")
    if not len(train):
        raise PredictionsError("No row is in the split 'train': split the catalog first.")
    return train


def _deal(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row, all rows of a group in one; the largest groups go first."""
    if folds < 2:
        raise PredictionsError(f"folds is {folds}, but must be at least 2.")
    names, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    filled, fold = np.zeros(min(folds, len(names))), np.zeros(len(names), dtype=int)
    for group in order:
        fold[group] = int(np.argmin(filled))
        filled[fold[group]] += counts[group]
    return fold[place]
