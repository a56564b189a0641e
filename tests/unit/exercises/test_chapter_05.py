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
    ],
    "05-d": [
        lambda losses, val_losses, scores: "overfits",
        lambda losses, val_losses, scores: "overfits" if val_losses[-1] > losses[-1] else "fine",
        lambda losses, val_losses, scores: (
            "collapsed" if np.ptp(losses) == 0
            else "still learning" if val_losses[-1] == min(val_losses) else "overfits"
        ),
    ],
}  # fmt: skip


def test_the_solutions_solve_the_exercises(build):
    answers = solutions("05", build=build, keras=keras, layers=keras.layers)
    assert set(answers) == {*WRONG, "05-c"}
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."


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

    for wrong, hint in (
        (build, "There is no Flatten in it."),
        (with_sigmoid, "no sigmoid or other function behind the last layer"),
        (lambda size: size, "It returns a new Keras network for each size."),
        (lambda size: build(54), "The mean of each map is taken."),
    ):
        assert hint in missed("05-c", wrong)
