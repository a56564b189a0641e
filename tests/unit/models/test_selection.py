"""Chi-square selection: known answers, a reference, and nothing learned from the test split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from helpers.base.errors import CourseError, ModelError
from helpers.models.selection import ChiSquareSelection

BYTES = arrays.arrays(np.uint8, (12, 9))


def by_hand(values, labels):
    result = 0.0
    for label in np.unique(labels):
        expected = values.sum() * np.mean(labels == label)
        result += (values[labels == label].sum() - expected) ** 2 / expected
    return result


def test_the_score_is_the_one_computed_by_hand():
    labels = np.array([0, 0, 1, 1, 1])
    table = np.array([[4, 1], [6, 1], [0, 1], [0, 1], [0, 1]])
    selection = ChiSquareSelection(1).fit(table, labels)
    assert selection.scores_ == pytest.approx([(10 - 4) ** 2 / 4 + 6**2 / 6, 0])
    assert selection.get_support().tolist() == [True, False]
    assert selection.transform(table).tolist() == [[4], [6], [0], [0], [0]]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(BYTES, st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_it_keeps_the_k_best_of_scikit_learns_score(table, k, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1], 6))
    selection = ChiSquareSelection(k).fit(table, labels)
    wanted = np.nan_to_num(chi2(table, labels)[0])
    assert np.array_equal(selection.scores_, wanted)
    for column in np.flatnonzero(table.sum(axis=0)):
        assert selection.scores_[column] == pytest.approx(by_hand(table[:, column] * 1.0, labels))
    assert selection.support_.sum() == k == selection.transform(table).shape[1]
    rest = wanted[~selection.support_]
    assert not len(rest) or rest.max() <= wanted[selection.support_].min()


@settings(max_examples=40, deadline=None)
@given(BYTES, st.integers(1, 9), st.permutations(range(12)))
def test_the_order_of_the_rows_does_not_matter(table, k, order):
    labels = np.repeat([0, 1], 6)
    one = ChiSquareSelection(k).fit(table, labels)
    other = ChiSquareSelection(k).fit(table[list(order)], labels[list(order)])
    assert np.array_equal(one.support_, other.support_)


def test_it_agrees_with_scikit_learns_own_selection():
    rng = np.random.default_rng(0)
    table, labels = rng.integers(0, 256, (40, 300)), np.repeat([0, 1], 20)
    theirs = SelectKBest(chi2, k=25).fit(table, labels).get_support()
    assert np.array_equal(ChiSquareSelection(25).fit(table, labels).get_support(), theirs)


@pytest.mark.parametrize(
    ("table", "k", "sentence"),
    [
        ([[1, -2], [3, 4]], 1, "lowest number is -2.*non-negative"),
        ([[1, 2], [3, 4]], 3, "k is 3.*from 1 to the number of features, 2"),
        ([[1, 2], [3, 4]], 0, "k is 0"),
        ([[1, 2], [3, 4]], 0.5, "k is 0.5"),
        ([[1, 2], [3, 4]], True, "k is True"),
    ],
)
def test_what_it_cannot_do_is_told_in_one_sentence(table, k, sentence):
    with pytest.raises(ModelError, match=sentence) as told:
        ChiSquareSelection(k).fit(table, [0, 1])
    assert isinstance(told.value, CourseError)
    assert isinstance(told.value, ValueError)
    with pytest.raises(ModelError, match="2 labels are all of one class, 1"):
        ChiSquareSelection(1).fit([[1, 2], [3, 4]], [1, 1])
    assert "\n" not in str(told.value)


def test_it_is_a_step_like_any_other_of_scikit_learn():
    rng = np.random.default_rng(1)
    table, labels = rng.integers(0, 256, (60, 40)), np.repeat([0, 1], 30)
    table[labels == 1, 7] += 300
    pipeline = make_pipeline(ChiSquareSelection(1), LogisticRegression())
    search = GridSearchCV(pipeline, {"chisquareselection__k": [1, 5]}, cv=3).fit(table, labels)
    assert search.best_score_ == 1
    assert clone(ChiSquareSelection(5)).k == 5
    names = ChiSquareSelection(1).fit(table, labels).get_feature_names_out()
    assert names.tolist() == ["x7"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_scikit_learns_own_checks_hold():
    estimator_checks.check_estimator(ChiSquareSelection(1))


def test_a_marker_in_the_test_split_leaves_no_trace():
    rng = np.random.default_rng(2)
    table, labels = rng.integers(0, 200, (80, 30)).astype(float), np.tile([0, 1], 40)
    train, test = np.arange(60), np.arange(60, 80)
    marked, turned = table.copy(), labels.copy()
    marked[test, 11] = 255 * labels[test]
    turned[test] = 1 - labels[test]

    def fitted(table, labels, rows):
        return make_pipeline(ChiSquareSelection(5), LogisticRegression(max_iter=5000)).fit(
            table[rows], labels[rows]
        )

    before = fitted(table, labels, train)
    for one, other in ((marked, labels), (marked, turned)):
        after = fitted(one, other, train)
        assert np.array_equal(after[0].scores_, before[0].scores_)
        assert np.array_equal(after[0].support_, before[0].support_)
        assert np.array_equal(after[1].coef_, before[1].coef_)
    # The same marker is found at once where it was looked at.
    assert fitted(marked, labels, np.arange(80))[0].scores_.argmax() == 11
    assert not before[0].support_[11] or before[0].scores_.argmax() != 11
