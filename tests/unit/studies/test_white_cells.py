"""Two stages: granules are measured rightly, each stage does its part, nothing leaks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from helpers.base.errors import StudyError
from helpers.datasets.drawn import leukocytes
from helpers.studies import white_cells

RADII = white_cells.RADII


@pytest.fixture(scope="module")
def cells(leukocyte_cells):
    return leukocyte_cells


@pytest.fixture(scope="module")
def seen(cells):
    """Return true granularity, and small images in the place of a network's features."""
    granules = [
        white_cells.granularity(*one)
        for one in zip(cells.images, cells.nuclei, cells.cytoplasms, strict=True)
    ]
    small = [cv2.resize(i, (12, 12), interpolation=cv2.INTER_AREA).ravel() for i in cells.images]
    return white_cells.Description(np.array(granules), np.array(small, np.float32))


@pytest.fixture(scope="module")
def halves(cells):
    test = cells.catalog["subject"].isin(["p03", "p04"]).to_numpy()
    return ~test, test, cells.catalog["label"].to_numpy()


def dotted(radius, colour):
    """Return a pale disc with dots of one radius and colour on it, and its mask."""
    image = np.full((128, 128, 3), 230, np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    cv2.circle(mask, (64, 64), 32, 1, -1)
    for x in range(44, 90, 20):
        for y in range(44, 90, 20):
            cv2.circle(image, (x, y), radius, colour, -1)
    return image, mask > 0


def test_dots_are_found_at_their_radius_or_the_one_above():
    empty = np.zeros((128, 128), bool)
    for radius, expected in ((1, (1, 2)), (2, (2, 3)), (3, (3, 4)), (5, (6,))):
        image, mask = dotted(radius, (90, 90, 90))
        found = white_cells.granularity(image, empty, mask).reshape(2, 3, -1)
        places = [RADII.index(one) for one in expected]  # a drawn circle may be a pixel smaller
        assert np.isin(np.argmax(found, axis=2), places).all()
        # Corners of a drawn circle are smaller spots.
        assert (found[..., places].sum(axis=2) > 0.6 * found.sum(axis=2)).all()
        assert np.allclose(found[0], found[1])  # all of the cell is cytoplasm


def test_a_larger_sieve_keeps_no_more_than_a_smaller_one(cells):
    # OpenCV's ellipses are not made of one another, and the spectrum then dips below zero.
    for one in zip(cells.images[::7], cells.nuclei[::7], cells.cytoplasms[::7], strict=True):
        assert white_cells.granularity(*one).min() >= -1e-6


def test_red_dots_take_up_green_and_blue_light_only():
    image, mask = dotted(2, (230, 100, 90))
    empty = np.zeros_like(mask)
    red, green, blue = white_cells.granularity(image, empty, mask).reshape(2, 3, -1)[0]
    assert red.max() < 0.01 < green.max() < blue.max()


def test_granularity_does_not_depend_on_the_scale_or_place_of_the_image(cells):
    image, nucleus, cytoplasm = cells.images[3], cells.nuclei[3], cells.cytoplasms[3]
    before = white_cells.granularity(image, nucleus, cytoplasm)
    wide = [np.pad(a, ((9, 30), (21, 4)) + ((0, 0),) * (a.ndim - 2), mode="edge")
            for a in (image, nucleus, cytoplasm)]  # fmt: skip
    assert np.allclose(white_cells.granularity(*wide), before, atol=1e-5)
    large = cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC)
    masks = [
        cv2.resize(mask.astype(np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST) > 0
        for mask in (nucleus, cytoplasm)
    ]
    assert np.allclose(white_cells.granularity(large, *masks), before, atol=0.02)


def test_granules_tell_eosinophils_and_basophils(seen, halves):
    train, test, labels = halves
    system = white_cells.TwoStage(trees=40).fit(seen[train], labels[train])
    first = system.granules_.predict(seen[test].granularity)
    truth = np.where(np.isin(labels[test], white_cells.GRANULAR), labels[test], white_cells.OTHER)
    assert (first == truth).mean() >= 0.9
    called = system.predict(seen[test])
    assert set(called) <= set(leukocytes.KINDS)
    assert (called == labels[test]).mean() >= 0.8
    # Each stage has the last word on its own.
    granular = np.isin(first, white_cells.GRANULAR)
    assert np.array_equal(called[granular], first[granular])
    assert not np.isin(called[~granular], white_cells.GRANULAR).any()


@pytest.mark.parametrize("look_at", ["granularity", "cnn", "both"])
def test_one_stage(seen, halves, look_at):
    train, test, labels = halves
    system = white_cells.OneStage(look_at, trees=40).fit(seen[train], labels[train])
    assert (system.predict(seen[test]) == labels[test]).mean() >= 0.5


def test_the_same_seed_gives_the_same_answers(seen, halves):
    train, test, labels = halves
    one, other = (
        white_cells.TwoStage(3, 20).fit(seen[train], labels[train]).predict(seen[test])
        for _ in range(2)
    )
    assert np.array_equal(one, other)


def test_nothing_of_the_test_images_is_in_what_was_fitted(seen, halves):
    train, test, labels = halves
    marked = white_cells.Description(seen.granularity.copy(), seen.cnn.copy())
    marked.granularity[test], marked.cnn[test] = 1e6, 1e6
    for table, fitted in (
        (marked, white_cells.TwoStage(trees=10).fit(marked[train], labels[train])),
        (seen, white_cells.TwoStage(trees=10).fit(seen[train], labels[train])),
    ):
        assert table[train].granularity.max() < 10
        scaler = fitted.granules_.named_steps["standardscaler"]
        logs = np.log(np.maximum(seen.granularity[train], 0) + 1e-3)
        assert np.allclose(scaler.mean_, logs.mean(axis=0))
        assert fitted.granules_[-1].n_features_in_ == len(white_cells.GRANULARITY)
        tops = [tree.tree_.threshold.max() for tree in fitted.shapes_[-1].estimators_]
        assert max(tops) <= 255


def test_an_image_without_a_found_cell_still_gets_an_answer(seen, halves):
    train, test, labels = halves
    holes = white_cells.Description(seen.granularity.copy(), seen.cnn)
    holes.granularity[np.flatnonzero(test)[:2]] = np.nan
    holes.granularity[np.flatnonzero(train)[:2]] = np.nan
    for system in (white_cells.TwoStage(trees=10), white_cells.OneStage(trees=10)):
        called = system.fit(holes[train], labels[train]).predict(holes[test])
        assert set(called) <= set(leukocytes.KINDS)


def test_bad_input_is_told_in_one_sentence(seen, halves):
    train, _, labels = halves
    image, mask = dotted(2, (0, 0, 0))
    with pytest.raises(StudyError, match="mark no cell"):
        white_cells.granularity(image, mask & False, mask & False)
    with pytest.raises(StudyError, match="The masks are"):
        white_cells.granularity(image[1:], mask, mask)
    with pytest.raises(StudyError, match="uint8 RGB"):
        white_cells.describe(image)
    with pytest.raises(StudyError, match="80 images and 3 labels"):
        white_cells.TwoStage().fit(seen, labels[:3])
    with pytest.raises(StudyError, match="two stages need"):
        white_cells.TwoStage().fit(seen[train], np.full(train.sum(), "monocyte"))
    with pytest.raises(StudyError, match="look_at"):
        white_cells.OneStage("colour")
    for system in (white_cells.TwoStage(), white_cells.OneStage()):
        with pytest.raises(NotFittedError, match="not fitted"):
            system.predict(seen)


@pytest.mark.slow
def test_from_images_to_kinds_with_a_network(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    images, labels = cells.images[::4], cells.catalog["label"].to_numpy()[::4]
    described = white_cells.describe(images)
    assert described.granularity.shape == (20, len(white_cells.GRANULARITY))
    # A row depends on its own image alone (a batch of another size rounds differently).
    alone = white_cells.describe(images[5:6])
    assert np.array_equal(alone.granularity[0], described.granularity[5])
    assert np.allclose(alone.cnn[0], described.cnn[5], atol=1e-3)
    system = white_cells.TwoStage(trees=20).fit(described, labels)
    assert (system.predict(described) == labels).mean() > 0.9


def test_speed(benchmark, cells):
    benchmark(white_cells.granularity, cells.images[0], cells.nuclei[0], cells.cytoplasms[0])
