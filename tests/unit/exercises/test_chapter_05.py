"""Chapter 05: its plain network is the course's, it runs on anybody's folder, its checkers know."""

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.special import expit

from helpers import training
from helpers.base import settings
from helpers.models import custom_cnn
from tests.unit.chapter_page import code_cells, missed, run, solutions, verdict
from tests.unit.squares import make_squares

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet
SIDE = 64


@pytest.fixture(scope="module")
def build():
    return run("05", "def build(")["build"]


def settings_of(layer):
    """Return what a layer does; its name, its first weights and its type of numbers aside."""
    aside = {"name", "kernel_initializer", "seed", "dtype"}
    return {key: value for key, value in layer.get_config().items() if key not in aside}


@pytest.mark.parametrize("size", [54, 96, 224])
def test_the_network_of_the_page_has_the_layers_of_the_one_that_is_shipped(build, size):
    plain, shipped = build(size), custom_cnn.build(size)
    assert plain.count_params() == shipped.count_params()
    ours, theirs = plain.layers, shipped.layers[1:]  # a Sequential does not list its input
    for one, other in zip(ours, theirs, strict=True):
        assert type(one) is type(other)
        assert one.output.shape == other.output.shape
        assert one.count_params() == other.count_params()
    assert [settings_of(layer) for layer in ours[:-1]] == [
        settings_of(layer) for layer in theirs[:-1]
    ]
    assert ours[-1].activation is keras.activations.linear
    assert theirs[-1].activation is keras.activations.sigmoid


@pytest.mark.slow
def test_compile_and_fit_as_on_the_page_do_what_the_course_does(build, tmp_path, monkeypatch):
    """One epoch of one batch, where no random order plays a part: loss and weights agree."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    course = settings.read("phantom", "smoke")
    table, images = make_squares()
    images = images.repeat(2, axis=1).repeat(2, axis=2)
    rows = {part: np.flatnonzero(table["split"] == part) for part in ("train", "val")}
    target = (table["label"] == "all").to_numpy(dtype=int)
    shipped = custom_cnn.build(SIDE, dropout=0)
    count = len(rows["train"])
    done = training.fit(shipped, table, images, course, "one", epochs=1, batch_size=count)

    plain = build(SIDE, dropout=0)
    plain.set_weights(shipped.get_weights())
    cell = next(c.source for c in code_cells("05") if "stop = keras.callbacks" in c.source)
    asked = cell[cell.index("model.compile(") : cell.index("stop = ")]
    exec(asked, {"keras": keras, "model": plain})
    log = plain.fit(
        images[rows["train"]], target[rows["train"]], epochs=1, batch_size=count, verbose=0,
        validation_data=(images[rows["val"]], target[rows["val"]]),
    )  # fmt: skip
    for name, values in log.history.items():
        assert values == pytest.approx(list(done.history[name]), abs=1e-4), name
    for one, other in zip(plain.get_weights(), done.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    scores = expit(plain.predict_on_batch(images))
    np.testing.assert_allclose(scores, done.model.predict_on_batch(images), atol=1e-3)


def test_parameters_are_counted_as_keras_counts(build):
    (cell,) = (c.source for c in code_cells("05") if "def count_parameters" in c.source)
    page = {}
    exec(cell.split("\n\n\n")[0], page)
    for size in (54, 96, 224):
        assert page["count_parameters"](size) == build(size).count_params()


def test_the_loss_by_hand_has_no_slope_where_the_score_is_clipped():
    (cell,) = (c.source for c in code_cells("05") if "Chain rule" in c.source)
    page = {"np": np}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(cell[: cell.index("figure, axes")], page)
    z, (clipped, logit) = page["z"], page["slopes"].values()
    assert (clipped[z > 17] == 0).all()
    np.testing.assert_allclose(clipped[z < 16], logit[z < 16], rtol=1e-6)
    numeric = np.gradient(page["by_hand"]["from the logit"].astype(float), z.astype(float))
    np.testing.assert_allclose(logit, numeric, atol=0.03)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Sixty images of many sizes and two kinds in folders that the course never heard of."""
    rng = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("own") / "Kép 2"
    for number in range(60):
        name, ring = [("żółte", False), ("Große runde", True)][number % 2]
        side, high = rng.integers(70, 160, 2)
        image = rng.integers(120, 200, (high, side, 3), dtype=np.uint8)
        colour = (90, 20, 120) if ring else (160, 60, 60)
        cv2.circle(image, (int(side) // 2, int(high) // 2), 24, colour, 5 if ring else -1)
        ending = (".png", ".JPG", ".tif", ".bmp")[number % 4]
        (folder / name).mkdir(parents=True, exist_ok=True)
        coded = cv2.imencode(ending.lower(), image)[1]
        (folder / name / f"{number}{ending}").write_bytes(coded.tobytes())
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "żółte" / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.slow
def test_the_cells_on_your_own_data_train_judge_and_keep_a_network(strangers):
    cells = [cell.source for cell in code_cells("05")]
    start = next(i for i, source in enumerate(cells) if source.startswith("own = example"))
    imports = [line for source in cells[:start] for line in source.splitlines()
               if line.startswith(("import ", "from "))]  # fmt: skip
    page = {}
    exec("\n".join(imports), page)
    exec(next(source for source in cells if "def build(" in source), page)
    end = next(i for i, source in enumerate(cells) if "mine.save(" in source)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        for source in cells[start : end + 1]:
            path = f"Path({str(strangers)!r})"
            exec(source.replace("own = example", f"own = {path}"), page)
    told = told.getvalue()
    assert "60 images, 30 of class Große runde" in told
    assert "is above always naming the larger class" in told.replace("\n", " ")
    assert page["right"] >= 15
    kept = Path(page["kept"])
    assert kept.is_file()
    again = keras.saving.load_model(kept).predict(page["photos"][page["last"]], verbose=0)[:, 0]
    assert ((again >= 0) == page["truth"][page["last"]]).sum() == page["right"]


def stops_by_the_epoch_before(losses, patience):
    """The usual mistake: whatever is lower than one epoch before starts the count again."""
    waited = 0
    for epoch in range(2, len(losses) + 1):
        waited = 0 if losses[epoch - 1] < losses[epoch - 2] else waited + 1
        if waited >= patience:
            return int(np.argmin(losses[:epoch])) + 1, epoch
    return int(np.argmin(losses)) + 1, len(losses)


def never_forgives(losses, patience):
    """All bad epochs are counted, not those in a row."""
    best = bad = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        bad += loss > losses[best]
        if bad >= patience:
            return best + 1, epoch + 1
    return best + 1, len(losses)


def diagnosis(better=lambda losses, best: losses[-1] < losses[best], spread=np.ptp, limit=0.01):
    def diagnose(losses, val_losses, scores):
        if spread(scores) < limit:
            return "collapsed"
        best = int(val_losses.argmin())
        if best == len(val_losses) - 1:
            return "still learning"
        return "overfits" if better(losses, best) else "unstable"

    return diagnose


WRONG = {
    "05-a": [
        lambda model, image, threshold: "negative",
        lambda model, image, threshold: ("negative", "positive")[
            int(np.argmax(model.predict(image[np.newaxis])))
        ],
        lambda model, image, threshold: (
            "positive" if model.predict(image[np.newaxis] / 255)[0, 0] >= threshold else "negative"
        ),
        lambda model, image, threshold: (
            "positive" if model.predict(image[np.newaxis])[0, 0] > threshold else "negative"
        ),
    ],
    "05-b": [
        lambda losses, patience: (int(np.argmin(losses)) + 1, len(losses)),
        lambda losses, patience: (int(np.argmin(losses)), len(losses) - 1),
        lambda losses, patience: min(losses),
        stops_by_the_epoch_before,
        never_forgives,
    ],
    "05-d": [
        lambda losses, val_losses, scores: "overfits",
        lambda losses, val_losses, scores: "overfits" if val_losses[-1] > losses[-1] else "fine",
        lambda losses, val_losses, scores: (
            "collapsed" if np.ptp(losses) == 0
            else "still learning" if val_losses[-1] == min(val_losses) else "overfits"
        ),
        diagnosis(better=lambda losses, best: losses[-1] < losses[-2]),
        diagnosis(better=lambda losses, best: losses[-1] < losses[0]),
        diagnosis(better=lambda losses, best: losses[-1] == min(losses)),
        diagnosis(spread=np.std),
        diagnosis(limit=0.3),
        diagnosis(limit=0.03),
    ],
}  # fmt: skip


@pytest.mark.slow
def test_the_solutions_solve_the_exercises(build):
    answers = solutions("05", build=build, keras=keras, layers=keras.layers)
    assert set(answers) == {*WRONG, "05-c"}
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."
    assert verdict("05-d", diagnosis()) == "solved."
    assert (
        verdict(
            "05-b",
            lambda losses, patience: (  # an array, as the page says
                answers["05-b"](losses, patience) if losses.argmin() >= 0 else None
            ),
        )
        == "solved."
    )


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_told_from_right_ones(name):
    for place, wrong in enumerate(WRONG[name]):
        assert verdict(name, wrong) == "not solved yet.", place


HINTS = {
    "05-a": {1: "argmax of one number is always 0", 2: "it scales them itself"},
    "05-b": {0: "after the stop nothing is seen", 1: "Epochs are counted from 1"},
    "05-d": {2: "equal scores, though the losses fall"},
}


@pytest.mark.parametrize("name", HINTS)
def test_a_wrong_answer_is_told_what_to_look_at(name):
    for place, hint in HINTS[name].items():
        assert hint in missed(name, WRONG[name][place])


@pytest.mark.slow
def test_a_network_that_is_not_lighter_is_told_from_one_that_is(build):
    def with_sigmoid(size):
        light = [layer for layer in build(size).layers if layer.name.startswith(("conv", "max"))]
        fresh = [type(layer).from_config(layer.get_config()) for layer in light]
        ends = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "sigmoid")]
        return keras.Sequential([keras.Input((size, size, 3)), *fresh, *ends])

    def used_again(size):
        """The layers of a network, which have their weights already."""
        kept = [layer for layer in build(size).layers if layer.name[:7] != "flatten"]
        last = 1 + max(place for place, layer in enumerate(kept) if "pool" in layer.name)
        ends = [keras.layers.GlobalAveragePooling2D(), *kept[last:]]
        return keras.Sequential([keras.Input((size, size, 3)), *kept[:last], *ends])

    def another(size):
        eight = [keras.layers.Conv2D(8, 3, activation="relu") for _ in range(4)]
        ends = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
        scaling = keras.layers.Rescaling(1 / 64, offset=-1)
        return keras.Sequential([keras.Input((size, size, 3)), scaling, *eight, *ends])

    for wrong, hint in (
        (build, "There is no Flatten in it."),
        (with_sigmoid, "All other layers of our network"),
        (lambda size: light(size, last="sigmoid"), "no sigmoid or other function behind the last"),
        (lambda size: size, "It returns a new Keras network for each size."),
        (lambda size: build(54), "The mean of each map is taken."),
        (used_again, "Your function raised this in answer(108)"),
        (another, "All other layers of our network"),
        (lambda size: light(size, first=8), "as many kernels and units"),
        (lambda size: light(size, scale=None), "scales them as ours does"),
        (lambda size: light(size, scale=lambda x: x / 255), "scales them as ours does"),
        (lambda size: light(size, pool=2), "pools as ours does"),
    ):
        assert hint in missed("05-c", wrong)
    assert verdict("05-c", lambda size: light(size)) == "solved."
    assert verdict("05-c", lambda size: light(size, scale=lambda x: x / 64 - 1)) == "solved."


def light(size, first=32, scale="layer", pool=3, last=None):
    """Return the network of exercise 05-c, written by hand."""
    layers = keras.layers
    image = x = keras.Input((size, size, 3))
    if scale is not None:
        x = layers.Rescaling(1 / 64, offset=-1)(x) if scale == "layer" else scale(x)
    for filters, side in ((first, 3), (64, pool), (128, 3), (256, 2)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(side)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.LayerNormalization(epsilon=1e-6, center=False, scale=False)(x)
    x = layers.Dropout(0.3)(layers.Dense(256, activation="relu")(x))
    return keras.Model(image, layers.Dense(1, activation=last)(x))
