"""Batches have one shape: for another one, a network would be compiled again."""

import numpy as np
import pytest

from helpers.training import batches

pytest.importorskip("keras")

IMAGES = np.arange(23 * 12, dtype=np.uint8).reshape(23, 2, 2, 3)
TARGET = (np.arange(23) % 2).astype(np.float32)[:, np.newaxis]


class Model:
    """Answers with an image's first number, and notes the shapes that it is given."""

    def __init__(self):
        self.shapes = set()

    def predict_on_batch(self, images):
        self.shapes.add(images.shape)
        return images.reshape(len(images), -1)[:, :1].astype(np.float32)


def test_the_last_batch_of_a_training_is_filled_up_with_the_first_images():
    rows = np.random.default_rng(0).permutation(23)[:19]
    fed = batches.feed(IMAGES, TARGET, rows, 8, whole=True)
    assert [len(fed[index][0]) for index in range(len(fed))] == [8, 8, 8]
    images, target = fed[2]
    filled = np.sort([*rows[16:], *rows[:5]])
    np.testing.assert_array_equal(images, IMAGES[filled])
    np.testing.assert_array_equal(target, TARGET[filled])


@pytest.mark.parametrize("count", [5, 8, 16])
def test_what_has_one_shape_already_is_left_alone(count):
    rows = np.arange(count)
    fed = batches.feed(IMAGES, TARGET, rows, 8, whole=True)
    images = np.concatenate([fed[index][0] for index in range(len(fed))])
    np.testing.assert_array_equal(images, IMAGES[:count])


@pytest.mark.parametrize(("count", "shapes"), [(5, {5}), (8, {8}), (19, {8})])
def test_every_image_is_validated_once_in_batches_of_one_shape(count, shapes):
    model, rows = Model(), np.arange(23)[-count:]
    fed = batches.feed(IMAGES, TARGET, rows, 8)
    answers = batches.validation_pass(model, fed, 8)
    np.testing.assert_array_equal(answers, IMAGES[rows, 0, 0, 0])
    assert {shape[0] for shape in model.shapes} == shapes
