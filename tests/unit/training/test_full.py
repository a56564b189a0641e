"""What only `full` does, on a CPU with few images: its side, its stages, half precision."""

import dataclasses

import numpy as np
import pytest

from helpers import datasets, training
from helpers import images as image_files
from helpers.base import settings
from helpers.catalog import balancing, splitting
from helpers.models import custom_cnn, transfer
from helpers.training import zoo

IMAGES = 32


@pytest.fixture
def full(tmp_path, monkeypatch):
    """Return the settings of `full` in bfloat16, as on a GPU, with one epoch, and a catalog."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("COURSE_OFFLINE", "1")
    table = datasets.load("phantom", None, "smoke").sample(IMAGES, random_state=1)
    course = settings.read("phantom", "full")
    profile = dataclasses.replace(course.profile, precision="bfloat16", epochs=1)
    assert (profile.size, profile.devices, profile.xla) == (224, "all", True)
    course = dataclasses.replace(course, profile=profile)
    return course, splitting.split_at_random(table.reset_index(drop=True), seed=1)


@pytest.mark.slow
def test_the_custom_cnn_at_the_side_of_full(full):
    course, table = full
    run = training.fit(
        custom_cnn.build(course.profile.size, course.seed),
        table,
        image_files.load_images(table, course.profile.size),
        course,
        "custom_cnn",
        class_weight=balancing.class_weights(table),
    )
    check(run, table)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50_cut_all", "mobilenetv2_from_block10"])
def test_a_recipe_with_all_its_stages_at_the_side_of_full(full, name):
    course, table = full
    recipe = transfer.for_profile(transfer.RECIPES[name], course.profile)
    assert recipe == transfer.RECIPES[name]
    stages = tuple(dataclasses.replace(stage, epochs=1) for stage in recipe.stages)
    run = zoo.load_or_train(dataclasses.replace(recipe, stages=stages), table, course, name)
    assert run.record["stages"][-1]["trainable"] == recipe.stages[-1].trainable != "head"
    check(run, table)


def check(run, table):
    assert run.record["recipe"].get("precision", run.record.get("precision")) == "mixed_bfloat16"
    assert np.isfinite(run.history[["loss", "val_loss"]]).all(axis=None)
    assert abs(run.history["loss"].iloc[0] - np.log(2)) < 0.3
    assert (run.record["collapsed"], run.record["retried"]) == ("", "")
    assert {layer.compute_dtype for layer in run.model.layers} == {"float32"}
    assert zoo.predict(run.model, table)["score"].std() > 0
