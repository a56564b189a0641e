"""The small GAN: any side, the same result from the same seed, and nobody moves out of turn."""

import numpy as np
import pytest

from helpers.base.errors import ModelError
from helpers.models import gan

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
SIDE = 13


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)


def pair(seed=24):
    return gan.generator(SIDE, seed), gan.discriminator(SIDE, seed)


def weights(model):
    return [np.array(weight) for weight in model.get_weights()]


def test_an_odd_side_is_drawn_and_judged():
    draw, judge = pair()
    drawn = gan.sample(draw, 70)  # more than one batch
    assert drawn.shape == (70, SIDE, SIDE, 3)
    assert drawn.dtype == np.uint8
    assert judge.predict_on_batch(drawn / 255).shape == (70, 1)
    np.testing.assert_array_equal(drawn[:5], gan.sample(draw, 5))


def test_a_training_changes_both_and_is_the_same_again(images):
    results = []
    for _ in range(2):
        draw, judge = pair()
        before = weights(draw), weights(judge)
        history = gan.train(draw, judge, images, 3)
        assert not any(map(np.array_equal, before[0], weights(draw)))
        assert not all(map(np.array_equal, before[1], weights(judge)))
        results.append((history, weights(draw)))
    assert results[0][0] == results[1][0]
    assert all(map(np.array_equal, results[0][1], results[1][1]))
    assert [row["step"] for row in results[0][0]] == [3]


def test_the_judge_learns_only_from_its_own_steps(images):
    """With a learning rate of zero it stays as it was, though the generator learns through it."""
    draw, judge = pair()
    before, drawn = weights(judge), gan.sample(draw, 4)
    gan.train(draw, judge, images, 2, judge_rate=0.0)
    assert all(map(np.array_equal, before, weights(judge)))
    assert not np.array_equal(drawn, gan.sample(draw, 4))


def test_an_easy_judge_is_fooled(images):
    """A generator that learns fast against a judge that does not move is soon taken for real."""
    draw, judge = pair()
    history = gan.train(draw, judge, images, 2 * gan.EVERY, rate=5e-3, judge_rate=0.0)
    assert len(history) == 2
    assert history[1]["loss"] < history[0]["loss"]


def test_one_is_told_how_it_goes(images):
    seen = []
    gan.train(*pair(), images, gan.EVERY + 1, watch=lambda step, draw: seen.append(step))
    assert seen == [0, gan.EVERY]


def test_what_does_not_fit_is_refused(images):
    with pytest.raises(ModelError, match="float64 of shape"):
        gan.train(*pair(), images / 255, 1)
    with pytest.raises(ModelError, match="at least 8 pixels, got 5"):
        gan.generator(5)
