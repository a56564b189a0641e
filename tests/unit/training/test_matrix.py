"""On no backend and in no precision a network collapses, and each starts near ln 2.

The wider table (sizes, seeds) is made by hand:
``python -m tests.unit.training.test_matrix --size 96 --seeds 10``.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
PRECISIONS = ("float32", "bfloat16", "float16")
FIRST_LOSS = 0.2  # how far from ln 2 the loss of the first batch may be


def first_loss(model, images, target):
    """Return the loss of a new network on a batch, in training mode as the first step has it."""
    import keras

    score = keras.ops.convert_to_numpy(model(images[:32].astype("float32"), training=True))
    return float(-np.log(np.where(target[:32, None] > 0, score, 1 - score)).mean())


def phantoms(profile, size, images=None):
    """Return phantoms split at random, their pixels and the truth."""
    from helpers import catalog, datasets
    from helpers import images as image_files
    from helpers.catalog import splitting

    table = datasets.load("phantom", None, profile)
    if images is not None:
        table = table.sample(images, random_state=1).reset_index(drop=True)
    table = splitting.split_at_random(table, seed=1)
    return table, np.asarray(image_files.load_images(table, size)), catalog.target(table)


def train_cnn(course, table, pixels, target, seed, epochs):
    """Return what became of one custom CNN."""
    from sklearn.metrics import roc_auc_score

    from helpers import training
    from helpers.models import custom_cnn
    from helpers.training import zoo

    size, val = pixels.shape[1], np.flatnonzero(table["split"] == "val")
    model = custom_cnn.build(size, seed)
    run = training.fit(
        model, table, pixels, dataclasses.replace(course, seed=seed), "cnn",
        epochs=epochs, patience=epochs, batch_size=32,
    )  # fmt: skip
    scores = zoo.predict(run.model, table.iloc[val].reset_index(drop=True), pixels[val])["score"]
    return {
        "first": first_loss(model, pixels, target),
        "auc": float(roc_auc_score(target[val], scores)),
        "retried": run.record["retried"],
        "collapsed": run.record["collapsed"],
    }


def heads_and_networks(course, precisions):
    """Yield a row for the custom CNN, the DCNN and every recipe, and for each precision.

    Frozen features are computed once. Every other head trains on them in float32, and each kind
    of head once in the other precisions. The narrowest backbone is also trained as a whole.
    """
    from helpers.base import settings
    from helpers.models import custom_cnn, dcnn, transfer, weights
    from helpers.predictions import collapse
    from helpers.training import compute, frozen
    from helpers.training import runs as training

    random, bodies, seen = weights.Weights(None, "random", ""), {}, set()

    def fit(model, images, name, precision):
        profile = dataclasses.replace(settings.PROFILES["smoke"], precision=precision)
        options = {"epochs": 3, "patience": 3, "batch_size": 64}  # one shape: compiled once
        run = training.fit(
            model, table, images, dataclasses.replace(course, profile=profile), name, **options
        )
        return run.record["retried"] or run.record["collapsed"]

    table, pixels, target = phantoms("smoke", 48, 48)
    for precision in precisions:
        model = custom_cnn.build(48)
        dead = fit(model, pixels, "custom_cnn", precision)
        yield "custom_cnn", precision, first_loss(model, pixels, target), dead
    train, val = (np.flatnonzero(table["split"] == part) for part in ("train", "val"))
    for precision in precisions:
        model = dcnn.build(48)
        first = first_loss(model, pixels, target)
        if precision != "float32":
            compute.set_precision(model, f"mixed_{precision}")
        dcnn.train(model, pixels, target, train, val, iterations=20, batch_size=16)
        score = model.predict_on_batch(pixels[val])[:, 0].astype(float)
        dead = collapse.same_scores(np.log(score / (1 - score)), target[val])
        yield "dcnn", precision, first, dead
    for name, recipe in transfer.RECIPES.items():
        recipe = transfer.for_profile(recipe, "smoke")
        size = max(32, transfer.REGISTRY[recipe.backbone].minimum)
        key = recipe.backbone, recipe.cut, recipe.pooling
        if key not in bodies:
            file = course.folder("features") / f"matrix-{'-'.join(key)}.npy"
            if not file.exists():  # the second backend takes the features of the first
                _, images, _ = phantoms("smoke", size, 48)
                body = transfer.build(recipe, size, 24, random)
                np.save(file, frozen.features(body, table, images=images))
            bodies[key] = np.load(file)
        for precision in precisions:
            whose = key if precision == "float32" else ()
            same = *whose, recipe.head, recipe.dropout, precision
            if same not in seen:  # in smoke, some recipes differ in nothing
                seen.add(same)
                head = transfer.head(recipe, bodies[key].shape[1:], 24)
                dead = fit(head, bodies[key], name, precision)
                yield name, precision, first_loss(head, bodies[key], target), dead
    recipe = transfer.RECIPES["mobilenetv2_from_block10"]
    recipe = transfer.for_profile(recipe, "smoke")
    for precision in precisions:
        model = transfer.build(recipe, 48, 24, random)
        transfer.set_trainable(model, recipe.stages[-1].trainable)
        dead = fit(model, pixels, "whole", precision)
        yield "mobilenetv2_035 as a whole", precision, first_loss(model, pixels, target), dead


def faults(rows):
    """Return the rows whose network is collapsed or starts far from ln 2; each ends so."""
    return [row for row in rows if row[-1] or abs(row[-2] - np.log(2)) > FIRST_LOSS]


def wider(course, given):
    """Yield a row for the custom CNN of one size, for each precision and seed."""
    table, pixels, target = phantoms("quick", given.size, given.images)
    for precision in given.precisions:
        profile = dataclasses.replace(course.profile, precision=precision)
        here = dataclasses.replace(course, profile=profile)
        for seed in range(given.seeds):
            with contextlib.redirect_stdout(io.StringIO()):
                row = train_cnn(here, table, pixels, target, seed, given.epochs)
            dead = bool(row["retried"] or row["collapsed"])
            yield "custom_cnn", given.size, precision, seed, row["auc"], row["first"], dead


def main(arguments=None):
    """Print the rows as JSON, one a line; end with an error where one of them is a fault."""
    parser = argparse.ArgumentParser(description="Collapsed or not, by size, precision and seed.")
    parser.add_argument("--size", type=int, help="custom CNN only; by default the CI's matrix")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    given = parser.parse_args(arguments)
    from helpers.base import settings

    course, rows = settings.read("phantom", "smoke"), []
    table = wider(course, given) if given.size else heads_and_networks(course, given.precisions)
    for row in table:
        print(json.dumps(row), flush=True)
        rows.append(row)
    assert rows
    assert faults(rows) == []


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return tmp_path_factory.mktemp("matrix")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_no_recipe_collapses_on_any_backend_in_any_precision(backend, artifacts):
    if backend == "jax":
        pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.training.test_matrix"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "COURSE_ARTIFACTS": str(artifacts)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len({row[0] for row in rows if row[1] == "float32"}) > 15
    assert {tuple(row[:2]) for row in rows} >= {("dcnn", precision) for precision in PRECISIONS}


def test_a_collapsed_network_ends_the_table_with_an_error(monkeypatch):
    good, dead, far = ("a", 0.7, False), ("b", 0.7, True), ("c", 2.1, False)
    assert faults([good, dead, far]) == [dead, far]
    monkeypatch.setattr(sys.modules[__name__], "wider", lambda *_: iter([good, dead]))
    with pytest.raises(AssertionError):
        main(["--size", "48"])
    monkeypatch.setattr(sys.modules[__name__], "wider", lambda *_: iter([good]))
    main(["--size", "48"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("COURSE_ARTIFACTS", folder)
        main()
