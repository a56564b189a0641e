"""Predictions of a catalog and of one file agree; the papers' two bugs stay out."""

import cv2
import numpy as np
import pandas as pd
import pytest

from helpers import catalog, explaining
from helpers.base.errors import ImageError, ModelError, PredictionsError, TrainingError
from helpers.datasets.files import sha256_of
from helpers.images import loading as images
from helpers.models import custom_cnn
from helpers.predictions.table import load_predictions, save_predictions
from helpers.training import zoo

SIZE = 32
NAMES = ("hem", "all")


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Cells on black: the positive ones have a bright nucleus."""
    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        positive = number % 2 == 1
        frame = np.zeros((120, 120, 3), dtype=np.uint8)
        centre = tuple(int(value) for value in rng.integers(50, 70, 2))
        cv2.circle(frame, centre, 35, (90, 40, 80), -1)
        cv2.circle(frame, centre, 18, (200, 150, 190) if positive else (90, 50, 80), -1)
        path = folder / f"cell_{number:02d}.bmp"
        cv2.imwrite(str(path), frame)
        row = {"image_id": path.stem, "path": str(path), "sha256": sha256_of(path)}
        rows.append({**row, "label": "all" if positive else "hem", "subject": f"s{number // 4}"})
    return catalog.make(rows, positive="all")


@pytest.fixture(scope="module")
def trained(frames, tmp_path_factory):
    """A tiny model that tells the two kinds of frames apart."""
    import keras

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))
        pixels = np.array(images.load_images(frames, SIZE))
    model = custom_cnn.build(SIZE, dropout=0)
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", jit_compile=False)
    model.fit(pixels, catalog.target(frames)[:, np.newaxis], epochs=8, batch_size=8, verbose=0)
    return model


@pytest.fixture
def predictions(trained, frames, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    return zoo.predict(trained, frames)


@pytest.mark.slow
def test_predictions_follow_the_catalog(predictions, frames):
    assert list(predictions) == ["image_id", "subject", "label", "positive", "split", "score"]
    assert list(predictions["image_id"]) == list(frames["image_id"])
    assert predictions["score"].between(0, 1).all()
    positive = predictions["label"] == "all"
    assert predictions["score"][positive].min() > 0.5 > predictions["score"][~positive].max()


@pytest.mark.slow
def test_one_file_gets_the_score_that_it_gets_in_the_catalog(trained, predictions, frames):
    """Neither argmax over one probability nor a second division by 255."""
    answers = [zoo.predict_file(trained, path, NAMES) for path in frames["path"]]
    assert [answer.score for answer in answers] == pytest.approx(
        list(predictions["score"]), abs=1e-5
    )
    assert [answer.label for answer in answers] == list(frames["label"])
    assert {answer.label for answer in answers} == {"all", "hem"}


def test_the_papers_bugs_would_be_seen(trained, predictions, frames, tmp_path, monkeypatch):
    """What the tests above hold off does change the result."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    pixels = np.array(images.load_images(frames, SIZE))
    scores = trained.predict_on_batch(pixels)
    assert set(np.argmax(scores, axis=1)) == {0}
    twice = trained.predict_on_batch(pixels / 255)[:, 0]
    assert np.abs(twice - predictions["score"]).max() > 0.1


def test_a_threshold_and_names_are_taken(trained, frames):
    path = frames["path"].iloc[0]
    score = zoo.predict_file(trained, path, NAMES).score
    answer = zoo.predict_file(trained, path, classes=("benign", "malignant"), threshold=score)
    assert answer == ("malignant", score)


def test_batches_do_not_change_scores(trained, frames, predictions, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    other = zoo.predict(trained, frames, images.load_images(frames, SIZE))
    assert list(other["score"]) == pytest.approx(list(predictions["score"]), abs=1e-5)


def test_predictions_come_back_from_csv_as_they_were(predictions, tmp_path):
    subjects = [f"{number:02d}" for number in range(len(predictions))]  # not 0, 1, 2
    predictions["subject"] = pd.Series(subjects, dtype=object)
    path = tmp_path / "deep" / "predictions.csv"
    save_predictions(path, predictions)
    pd.testing.assert_frame_equal(load_predictions(path), predictions)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "does not contain valid predictions"),
        ("image_id,label\na,all\n", "lack the columns"),
        ("image_id,subject,label,positive,split,score\na,1,all,1,test,nan\n", "not probabilities"),
        (
            "image_id,subject,label,positive,split,score\na,1,all,1,test,0.1\na,1,all,1,test,0.2\n",
            "repeat",
        ),
    ],
)
def test_a_csv_that_holds_no_predictions_is_named(tmp_path, content, message):
    path = tmp_path / "broken.csv"
    path.write_text(content)
    with pytest.raises(PredictionsError, match=rf"broken\.csv.*{message}"):
        load_predictions(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(PredictionsError, match=r"none\.csv does not exist"):
        load_predictions(tmp_path / "none.csv")
    with pytest.raises(TrainingError, match=r"none\.keras is not there"):
        zoo.load_model(tmp_path / "none.keras")


@pytest.mark.slow
def test_a_model_comes_back_and_a_broken_one_is_refused(trained, frames, tmp_path):
    path = tmp_path / "tiny.keras"
    trained.save(path)
    loaded = zoo.load_model(path)
    file = frames["path"].iloc[1]
    assert zoo.predict_file(loaded, file, NAMES) == zoo.predict_file(trained, file, NAMES)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"tiny\.keras is damaged .*run the chapter"):
        zoo.load_model(path)


def test_a_file_that_carries_code_is_not_run(tmp_path):
    import keras

    image = keras.Input((SIZE, SIZE, 3))
    mean = keras.layers.Lambda(lambda x: x.mean((1, 2, 3), keepdims=True)[..., 0], (1,))(image)
    keras.Model(image, mean).save(tmp_path / "foreign.keras")
    with pytest.raises(TrainingError, match=r"foreign\.keras cannot be loaded"):
        zoo.load_model(tmp_path / "foreign.keras")


@pytest.mark.parametrize("last", [None, "relu", "softmax"])
def test_what_is_no_probability_is_never_returned_as_one(frames, tmp_path, last):
    import keras

    image = keras.Input((SIZE, SIZE, 3))
    answer = keras.layers.Dense(1, last)(keras.layers.Flatten()(image))
    model = keras.Model(image, answer, name="foreign")
    model.save(tmp_path / "foreign.keras")
    for ask in (
        lambda: zoo.predict_file(model, frames["path"].iloc[0], NAMES),
        lambda: zoo.predict(model, frames),
        lambda: zoo.load_model(tmp_path / "foreign.keras"),
    ):
        with pytest.raises(ModelError, match=r"foreign ends in .*one sigmoid"):
            ask()


@pytest.mark.slow
def test_a_network_without_shapes_or_with_damaged_weights_is_told(trained, frames, tmp_path):
    import keras

    keras.Sequential([keras.layers.Dense(1, "sigmoid")]).save(tmp_path / "unbuilt.keras")
    with pytest.raises(ModelError, match="is not built"):
        zoo.load_model(tmp_path / "unbuilt.keras")
    damaged = keras.models.clone_model(trained)
    damaged.set_weights([weight * np.nan for weight in trained.get_weights()])
    with pytest.raises(ModelError, match="weights that are no numbers"):
        zoo.predict_file(damaged, frames["path"].iloc[0], NAMES)
    inner = [keras.layers.Flatten(), keras.layers.Dense(2), keras.layers.Dense(1, "sigmoid")]
    damaged = keras.Sequential([keras.Input((SIZE, SIZE, 3)), *inner])
    inner[1].kernel.assign(np.full(inner[1].kernel.shape, 3e38))  # what comes out is infinite
    inner[2].kernel.assign([[1], [-1]])
    with pytest.raises(ModelError, match="gives 1 of 1 images a score that is no probability"):
        zoo.predict_file(damaged, frames["path"].iloc[0], NAMES)


@pytest.mark.slow
def test_a_kernel_of_nan_behind_a_relu_is_told(trained, frames, tmp_path):
    """A ReLU turns NaN into 0, so that the score would be an innocent 0.5."""
    import keras

    damaged = keras.models.clone_model(trained)
    damaged.set_weights(trained.get_weights())
    kernel = damaged.get_layer("conv2").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    damaged.save(tmp_path / "damaged.keras")
    for ask in (
        lambda: zoo.predict_file(damaged, frames["path"].iloc[0], NAMES),
        lambda: zoo.predict(damaged, frames),
        lambda: zoo.load_model(tmp_path / "damaged.keras"),
        lambda: explaining.logits(damaged, np.zeros((SIZE, SIZE, 3), np.uint8)),
    ):
        with pytest.raises(ModelError, match=r"NaN or infinite\), first in '.*conv2/kernel'"):
            ask()


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"path": None}, ImageError, "path of an image must be text .* is None"),
        ({"path": ""}, ImageError, "must name a file"),
        ({"path": "no\0file"}, ImageError, "must name a file"),
        ({"path": 3}, ImageError, "path of an image must be text .* is 3"),
        ({"classes": ("a", "a")}, TrainingError, "two different names"),
        ({"classes": ("a", "")}, TrainingError, "two different names"),
        ({"classes": ("a", "b", "a")}, TrainingError, "two different names"),
        ({"classes": "ab"}, TrainingError, "list of names"),
        ({"classes": None}, TrainingError, "list of names"),
        ({"classes": (0, 1)}, TrainingError, "list of names"),
        ({"threshold": 2}, TrainingError, "threshold must be a number from 0 to 1, but is 2"),
        ({"threshold": float("nan")}, TrainingError, "threshold must be a number"),
        ({"threshold": None}, TrainingError, "threshold must be a number"),
        ({"model": None}, ModelError, "must be a keras.Model"),
    ],
)
def test_what_predict_file_cannot_use_is_told(trained, frames, change, error, sentence):
    sound = {"model": trained, "path": frames["path"].iloc[0], "classes": NAMES}
    with pytest.raises(error, match=sentence):
        zoo.predict_file(**{**sound, **change})


@pytest.mark.parametrize("content", [b"", b"no network", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_network_is_not_called_missing(tmp_path, content):
    (tmp_path / "net.keras").write_bytes(content)
    with pytest.raises(TrainingError, match=r"net\.keras is damaged .*or is no saved network"):
        zoo.load_model(tmp_path / "net.keras")
    for path in (None, "", 3):
        with pytest.raises(TrainingError, match="path of a model must"):
            zoo.load_model(path)


def test_other_models_and_images_are_refused(trained, frames):
    import keras

    two = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    with pytest.raises(ModelError, match=r"\(None, 2\).*one probability"):
        zoo.predict(two, frames)
    with pytest.raises(TrainingError, match=r"float32 of shape \(40, 32, 32, 3\)"):
        zoo.predict(trained, frames, np.zeros((40, SIZE, SIZE, 3), dtype=np.float32))
    with pytest.raises(TrainingError, match=r"shape \(3, 32, 32, 3\)"):
        zoo.predict(trained, frames, np.zeros((3, SIZE, SIZE, 3), dtype=np.uint8))
