"""Phantoms with one trait changed: the rest is the same to the last pixel."""

import re

import cv2
import numpy as np
import pytest

from helpers.base import code
from helpers.base.errors import DatasetError
from helpers.base.files import write_json
from helpers.datasets.drawn import frames, pairs


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """Frames of a small set, by their paths; only the folder's mark is written."""
    folder = tmp_path_factory.mktemp("phantoms")
    recipe = frames.recipe_of("smoke", 24)
    stamp = {"phantoms": recipe.phantoms, "subjects": recipe.subjects, "seed": recipe.seed}
    write_json(folder / frames.MARKER, {**stamp, "code": code.version(frames.__name__)})
    table = frames.plan(recipe)
    return [folder / path for path in table["path"].iloc[[0, 5, 40, 120, 150]]]


def differs(a, b, by=0):
    return np.abs(a.frame.astype(int) - b.frame).max(axis=-1) > by


@pytest.mark.slow
@pytest.mark.parametrize("trait", pairs.CHANGEABLE)
def test_without_a_shift_it_is_the_very_frame(some, trait):
    for path in some[:2]:
        assert not differs(pairs.change(path, trait, 0), frames.truth(path)).any()


@pytest.mark.slow
@pytest.mark.parametrize("trait", pairs.CHANGEABLE)
def test_only_the_trait_changes(some, trait):
    changed = 0
    for path in some:
        before, after = frames.truth(path), pairs.change(path, trait, -2)
        moved = differs(before, after, by=4)
        changed += moved.any()
        # The cut-out, and with it the crop, stays the same.
        np.testing.assert_array_equal(before.frame.any(axis=-1), after.frame.any(axis=-1))
        assert after.label == before.label
        assert after.parameters["radius"] == before.parameters["radius"]
        if trait in ("nucleoli", "openness"):
            assert moved[before.nucleus].sum() >= 0.95 * moved.sum()
        if trait == "basophilia":
            # The cytoplasm that lies over the nucleus takes a small part in it.
            much = np.abs(before.frame.astype(int) - after.frame).mean(axis=-1)
            deep = cv2.erode(before.nucleus.astype("uint8"), np.ones((25, 25))) > 0
            assert much[deep].mean() < much[before.cytoplasm].mean() / 3
        if trait == "filling":
            assert after.parameters["nucleus_area"] < before.parameters["nucleus_area"]
    assert changed >= 3


@pytest.mark.slow
def test_nucleoli_come_and_go_whole(some):
    for path in some:
        count = frames.truth(path).parameters["nucleoli"]
        none, all_four = (pairs.change(path, "nucleoli", shift) for shift in (-5, 5))
        spots = differs(none, frames.truth(path), by=3)
        assert spots.any() == (count > 0)
        # Those that were there stay in their places when others come.
        assert (differs(none, all_four, by=2) | ~spots).all()


def test_what_cannot_be_changed_is_refused(some, tmp_path):
    with pytest.raises(DatasetError, match="only filling, openness, nucleoli, basophilia"):
        pairs.change(some[0], "size", 1)
    with pytest.raises(DatasetError, match=re.escape(frames.MARKER)):
        pairs.change(tmp_path / "UID_1_1_1_all.bmp", "openness", 1)
    with pytest.raises(DatasetError, match="UID_999_1_1_all"):
        pairs.change(some[0].with_name("UID_999_1_1_all.bmp"), "openness", 1)


def test_only_phantoms_can_be_drawn_again(some, tmp_path):
    assert pairs.redrawable([some[0], tmp_path / "photo.png", some[1]]).tolist() == [
        True,
        False,
        True,
    ]
    assert pairs.redrawable([]).shape == (0,)
