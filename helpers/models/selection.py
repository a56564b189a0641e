"""Choosing among many numbers: chi-square selection of the k best (chapter 12).

A selection looks at the labels, so it is *fitted*, like a classifier, and
belongs inside the pipeline, where it sees the training images alone.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin, chi2
from sklearn.utils.validation import check_is_fitted, check_X_y

from helpers.base.errors import ModelError


class ChiSquareSelection(SelectorMixin, BaseEstimator):
    """Keep the `k` features whose sums differ most between the classes, by chi-square.

    Of each feature, the sum in each class is held against the sum that the class
    would have if the feature did not care: ``sum((observed - expected)**2 /
    expected)``. That treats a feature as a count, hence nothing below 0; for
    pixel values it is a ranking and no test.

    Parameters
    ----------
    k : int
        How many features are kept.

    Attributes
    ----------
    scores_ : numpy.ndarray of float
        Chi-square of each feature, shape (n_features,); 0 for one that is 0 everywhere.
    support_ : numpy.ndarray of bool
        Which are kept, shape (n_features,). Of equal ones the first.
    n_features_in_ : int
        How many features there were.

    Raises
    ------
    ModelError
        In :meth:`fit`: when a number is below 0, there is one class alone, or `k`
        is not from 1 to the number of features.

    References
    ----------
    Liu, Setiono 1995, doi:10.1109/TAI.1995.479783.
    """

    def __init__(self, k: int = 500):
        self.k = k

    def fit(self, X: np.ndarray, y: np.ndarray) -> ChiSquareSelection:
        """Score the features of `X`, shape (n, n_features), by the classes `y`, shape (n,)."""
        X, y = check_X_y(X, y)
        if len(np.unique(y)) < 2:
            raise ModelError(
                f"The {len(y)} labels are all of one class, {y[0]}: chi-square compares classes."
            )
        if X.min() < 0:
            raise ModelError(
                f"Negative values in data: the lowest number is {X.min():g}, but chi-square takes "
                "sums for counts and needs every feature non-negative; give it raw pixels, or "
                "scale to 0..1 first."
            )
        whole = isinstance(self.k, int | np.integer) and not isinstance(self.k, bool)
        if not whole or not 1 <= self.k <= X.shape[1]:
            raise ModelError(
                f"k is {self.k!r}, but must be a whole number from 1 to the number of features, "
                f"{X.shape[1]}."
            )
        self.n_features_in_ = X.shape[1]
        self.scores_ = np.nan_to_num(chi2(X, y)[0], nan=0.0)
        self.support_ = np.zeros(X.shape[1], dtype=bool)
        # Stable, so that equal scores do not depend on how a machine sorts.
        self.support_[np.argsort(-self.scores_, kind="stable")[: self.k]] = True
        return self

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self, "support_")
        return self.support_

    def _more_tags(self) -> dict:  # of scikit-learn before 1.6
        return {"requires_y": True, "requires_positive_X": True}

    def __sklearn_tags__(self) -> object:
        """Tell scikit-learn's own checks that labels and non-negative numbers are needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.positive_only = True
        return tags
