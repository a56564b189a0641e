"""The kernel inception distance: near 0 for one source, above for a shifted one, unbiased."""

import numpy as np
import pytest

from helpers.base.errors import TrainingError
from helpers.training import kid


def normal(count, shift=0.0, seed=0, columns=6):
    return np.random.default_rng(seed).normal(shift, 1, (count, columns))


def test_a_set_is_near_itself_and_far_from_a_shifted_one():
    one = normal(400)
    itself, shifted = kid.distance(one, one), kid.distance(one, one + 1)
    assert abs(itself) < 0.1
    assert shifted > 1
    assert kid.distance(one, one + 2) > shifted
    assert kid.distance(one, one + 1) == pytest.approx(kid.distance(one + 1, one))


def test_it_is_the_formula_pair_by_pair():
    one, other = normal(5, columns=3), normal(4, 0.5, 1, 3)

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    def mean(rows, columns, same):
        return np.mean([
            kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(columns)
            if not (same and i == j)
        ])  # fmt: skip

    expected = mean(one, one, True) + mean(other, other, True) - 2 * mean(one, other, False)
    assert kid.distance(one, other) == pytest.approx(expected)


def test_two_samples_of_one_source_have_no_distance_on_average():
    found = [kid.distance(normal(20, seed=2 * n), normal(30, seed=2 * n + 1)) for n in range(300)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0 < max(found)


def test_what_cannot_be_compared_is_refused():
    for one, other in (
        (normal(5), normal(5, columns=4)), (normal(1), normal(5)), (normal(5)[0], normal(5)),
    ):  # fmt: skip
        with pytest.raises(TrainingError, match="at least two rows"):
            kid.distance(one, other)
    with pytest.raises(TrainingError, match="uint8"):
        kid.features(np.zeros((2, 8, 8, 3)))


@pytest.mark.slow
def test_brighter_images_are_farther_away(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DIR", str(tmp_path))  # random weights do for this
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (40, 31, 31, 3), dtype=np.uint8)
    seen = kid.features(np.concatenate([images, images[20:] + 100]))
    assert seen.ndim == 2
    assert len(seen) == 60
    same = kid.distance(seen[:20], seen[20:40])
    assert kid.distance(seen[:20], seen[40:]) > 10 * abs(same)
