"""Chi-square selection of the k best features (chapter 12).

A selection uses the labels, so it is *fitted* like a classifier. It belongs inside
the pipeline, where it sees the training images only.
"""

from __future__ import annotations

import numpy as np
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.utils.validation import check_X_y

from helpers.base.errors import ModelError


class ChiSquareSelection(SelectKBest):
    """Keep the `k` features whose sums differ most between the classes, by chi-square.

    scikit-learn's ``SelectKBest(chi2, k=k)`` with errors in one sentence. The sum of a
    feature in each class is compared with the sum to expect if the feature did not depend
    on the class: ``sum((observed - expected)**2 / expected)``. This treats a feature as a
    count, so no value may be negative; for pixel values it is a ranking and not a test.

    Parameters
    ----------
    k : int
        How many features are kept.

    Attributes
    ----------
    scores_ : numpy.ndarray of float
        Chi-square of each feature, shape (n_features,); 0 where a feature is always 0.
    support_ : numpy.ndarray of bool
        Which features are kept, shape (n_features,).

    Raises
    ------
    ModelError
        In :meth:`fit`: when a number is below 0, there is only one class, or `k`
        is not from 1 to the number of features.

    References
    ----------
    Liu, Setiono 1995, doi:10.1109/TAI.1995.479783.
    """

    score_func = staticmethod(chi2)

    def __init__(self, k: int = 500):
        self.k = k

    def fit(self, X: np.ndarray, y: np.ndarray) -> ChiSquareSelection:
        """Score the features of `X`, shape (n, n_features), by the classes `y`, shape (n,)."""
        numbers, labels = check_X_y(X, y)
        if len(np.unique(labels)) < 2:
            raise ModelError(
                f"The {len(labels)} labels are all of one class, {labels[0]}: "
                "chi-square compares classes."
            )
        if numbers.min() < 0:
            raise ModelError(
                f"Negative values in data: the lowest number is {numbers.min():g}, but chi-square "
                "treats sums as counts and needs every feature non-negative; give it raw pixels, "
                "or scale to 0..1 first."
            )
        whole = isinstance(self.k, int | np.integer) and not isinstance(self.k, bool)
        if not whole or not 1 <= self.k <= numbers.shape[1]:
            raise ModelError(
                f"k is {self.k!r}, but must be a whole number from 1 to the number of features, "
                f"{numbers.shape[1]}."
            )
        super().fit(X, y)
        self.scores_ = np.nan_to_num(self.scores_, nan=0.0)
        return self

    @property
    def support_(self) -> np.ndarray:
        """Return which features are kept."""
        return self.get_support()

    def __sklearn_tags__(self) -> object:
        """Tell scikit-learn's own checks that labels and non-negative numbers are needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = False
        return tags
