"""What the app says about a cell: known answers, warnings, and networks that it refuses."""

import concurrent.futures
import json
import time
import zipfile

import cv2
import numpy as np
import pytest

from helpers import images
from helpers.app import prepare, saved_runs, service
from helpers.app.answers import ModelFacts, Refused
from helpers.base.errors import AppError
from helpers.predictions import metrics
from helpers.studies import lineup
from helpers.training import zoo
from tests.conftest import SHARED

pytestmark = pytest.mark.slow


def _validation(trained, key):
    """Return the catalog of the small networks, and the mean of their scores on validation."""
    run = saved_runs.get(key, trained)
    table = lineup.catalog(run.course(trained))
    pixels = images.load_images(table, run.size)
    voting = saved_runs.members(run, saved_runs.find(trained))
    models = [zoo.load_model(one.folder / "best.keras") for one in voting]
    scores = np.mean([zoo.predict(model, table, pixels)["score"] for model in models], axis=0)
    return table, pixels, scores


def test_runs_of_the_same_rows_vote(loaded):
    assert loaded.facts.members == ("custom_cnn-subject", "other-subject")
    assert loaded.facts.people == "7 subjects trained, 2 validated"


def test_facts_say_what_it_was_trained_on(loaded):
    assert any("drawn cells" in note for note in loaded.facts.notes)
    assert loaded.facts.split == "subject"
    assert loaded.facts.classes == ("hem", "all")
    assert "over 2 subjects" in loaded.facts.figures["AUC (validation)"]
    assert loaded.facts.card.startswith("# ")
    assert "The vote of custom_cnn-subject and other-subject." in loaded.facts.card


def test_the_listing_says_the_same_as_the_loaded_network(loaded, trained):
    assert loaded.facts in service.available(trained)


def test_the_auc_is_that_of_the_vote(loaded, trained):
    table, _, scores = _validation(trained, loaded.facts.key)
    rows = zoo.prediction_tables.make(table, scores)
    auc = metrics.auc(rows[rows["split"] == "val"])
    assert loaded.facts.figures["AUC (validation)"].startswith(f"{auc:.2f}")


def test_reliability_is_a_count_of_validation_cells(loaded, trained):
    table, pixels, _ = _validation(trained, loaded.facts.key)
    val = np.flatnonzero(table["split"] == "val")
    found = loaded.classify_crops(pixels[val]).probability
    for probability in found[:3]:
        low = int(probability * 5) / 5
        inside = (found >= low) & (found < low + 0.2)
        positive = int(table["positive"].to_numpy()[val][inside].sum())
        said = loaded._known.reliability(float(probability), "all")
        assert said.startswith(f"Of {inside.sum()} validation cells with {low:g} to")
        assert f", {positive} " in said


@pytest.mark.parametrize(
    ("probability", "says"),
    [
        (0.1, "Of 5 validation cells with 0 to 0.2, 2 were ill."),
        (0.2, "No validation cell had a probability from 0.2 to 0.4."),
        (0.5, "The only validation cell with 0.4 to 0.6 was ill."),
        (0.7, "Of 8 validation cells with 0.6 to 0.8, 1 was ill."),
        (1.0, "Of 9 validation cells with 0.8 to 1, 9 were ill."),
    ],
)
def test_reliability_in_words(probability, says):
    counted = prepare.Reference(
        np.ones(2), cells=np.array([5, 0, 1, 8, 9]), positives=np.array([2, 0, 1, 1, 9])
    )
    assert counted.reliability(probability, "ill") == says


def test_noise_lies_farther_away_than_training_cells(loaded, trained):
    table, pixels, _ = _validation(trained, loaded.facts.key)
    noise = np.random.default_rng(0).integers(0, 256, pixels[:8].shape, dtype=np.uint8)
    known = loaded.classify_crops(pixels[table["split"] == "train"]).distance
    assert loaded.classify_crops(noise).distance.min() > np.percentile(known, 99)
    val = loaded.classify_crops(pixels[table["split"] == "val"]).distance
    assert np.percentile(val, 99) == pytest.approx(1, rel=1e-4)


def test_the_order_of_a_batch_changes_nothing(loaded, frames):
    crops = np.stack([images.prepare(frame, loaded.facts.size) for frame in frames])
    order = np.random.default_rng(1).permutation(len(crops))
    straight, mixed = loaded.classify_crops(crops), loaded.classify_crops(crops[order])
    for one, other in zip(straight, mixed, strict=True):
        np.testing.assert_allclose(one[..., order], other, rtol=1e-4)


def test_alone_or_among_others_the_answer_is_the_same(loaded, frames):
    together = loaded.classify(frames)
    for frame, among in zip(frames[:4], together, strict=False):
        (alone,) = loaded.classify([frame])[0]
        assert alone.box == among[0].box
        assert alone.label == among[0].label
        assert alone.probability == pytest.approx(among[0].probability, rel=1e-4)
        np.testing.assert_array_equal(alone.crop, among[0].crop)


def test_threads_get_their_own_answers(loaded, frames):
    expected = [loaded.classify([frame])[0][0].probability for frame in frames]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda frame: loaded.classify([frame])[0][0], frames * 3))
    assert [one.probability for one in found] == pytest.approx(expected * 3, rel=1e-4)


def test_a_frame_is_cropped_as_in_training(loaded, frames):
    (answer,) = loaded.classify(frames[:1])[0]
    np.testing.assert_array_equal(answer.crop, images.prepare(frames[0], loaded.facts.size))
    top, left, bottom, right = answer.box
    assert frames[0][top:bottom, left:right].any()
    outside = frames[0].copy()
    outside[top:bottom, left:right] = 0
    assert outside.any(axis=2).mean() < 0.01
    assert [vote.name for vote in answer.votes] == list(loaded.facts.members)
    assert 0 <= answer.probability <= 1


def _warnings(loaded, picture, kind="auto"):
    return [" ".join(answer.warnings) for answer in loaded.classify([picture], kind)[0]]


def test_warnings(loaded, frames):
    frame = frames[0]
    assert "No cell was found" in _warnings(loaded, np.zeros_like(frame))[0]
    top, left, bottom, right = loaded.classify([frame])[0][0].box
    cell = frame[top:bottom, left:right]
    cut = np.zeros_like(frame)
    cut[: bottom - top, 100 : 100 + right - left] = cell
    assert "touches the border" in _warnings(loaded, cut)[0]
    assert "touches the border" not in _warnings(loaded, frame)[0]
    assert "out of focus" in _warnings(loaded, cv2.GaussianBlur(frame, (0, 0), 12))[0]
    small = cv2.resize(frame, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    assert "another size" in _warnings(loaded, small)[0]
    noise = np.random.default_rng(0).integers(1, 256, frame.shape, dtype=np.uint8)
    lit = frame.any(axis=2, keepdims=True)
    assert "unlike the training cells" in _warnings(loaded, noise * lit)[0]


def test_no_cell_is_no_answer(loaded):
    glass = np.full((200, 240, 3), 230, np.uint8)
    for kind in service.KINDS:
        (answer,) = loaded.classify([glass], kind)[0]
        assert (answer.label, answer.votes, answer.box) == ("", (), None)
        assert np.isnan(answer.probability)
    assert loaded.classify([np.zeros((3, 2, 3), np.uint8)])[0][0].label == ""


def test_the_cells_of_a_field_are_answered_one_by_one(loaded):
    from helpers.datasets.drawn import fields
    from tests.unit.redrawn import redrawn_field

    recipe = fields.Recipe(3, 5, 49, 0.25)
    image = redrawn_field(recipe, fields.plan(recipe)["name"].iloc[0]).image
    answers = loaded.classify([image])[0]
    assert len(answers) > 1
    boxes = [answer.box for answer in answers]
    assert len(set(boxes)) == len(boxes)
    assert all(answer.crop.shape == (32, 32, 3) for answer in answers)
    assert loaded.classify([image], "field")[0][0].box == boxes[0]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("pattern", "cells"), [("leukocytes/zheng_?/*[0-9].png", 1), ("taleqani/**/*.jpg", 2)]
)
def test_real_photographs(loaded, pattern, cells):
    """Of one leukocyte, nearly all give one cell; of a field, nearly all give several."""
    paths = sorted(SHARED.glob(pattern))
    if not paths:
        pytest.skip(f"no real images: {SHARED}/{pattern} is missing")
    some = [images.read_image(path) for path in paths[:: max(1, len(paths) // 20)][:20]]
    counts = np.array([len(answers) for answers in loaded.classify(some)])
    assert np.mean(counts == 1 if cells == 1 else counts >= 2) >= 0.8, counts


@pytest.mark.realdata
def test_real_frames(loaded):
    paths = sorted(SHARED.glob("cnmc/**/*.bmp"))
    if not paths:
        pytest.skip(f"no real images: {SHARED}/cnmc is missing")
    for path in paths[:: max(1, len(paths) // 10)][:10]:
        frame = images.read_image(path)
        (answer,) = loaded.classify([frame])[0]
        assert answer.label
        np.testing.assert_array_equal(answer.crop, images.prepare(frame, 32))


def test_explain(loaded, frames):
    crop = loaded.classify(frames[:1])[0][0].crop
    drawn = loaded.explain(crop)
    assert drawn.shape == crop.shape[:2]
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() in (0, 1)


def test_wrong_arguments_are_refused(loaded, frames):
    with pytest.raises(AppError, match="kind"):
        loaded.classify(frames[:1], "film")
    with pytest.raises(AppError, match="RGB"):
        loaded.classify([frames[0][..., 0]])
    with pytest.raises(AppError, match="32x32"):
        loaded.explain(frames[0])


def test_without_its_images_a_network_is_not_calibrated(artifacts, monkeypatch):
    for kept in (artifacts / "app").iterdir():
        kept.unlink()
    for path in artifacts.glob("*/runs/*/record.json"):
        record = json.loads(path.read_text())
        record["data"]["rows"] = "0" * 16
        path.write_text(json.dumps(record))
    key = service.available(artifacts)[0].key
    loaded = service.Service.load(key, artifacts, str)
    assert any("not calibrated" in note for note in loaded.facts.notes)
    crop = np.zeros((1, 32, 32, 3), np.uint8)
    assert np.isnan(loaded.classify_crops(crop).distance[0])
    frame = np.zeros((90, 90, 3), np.uint8)
    cv2.circle(frame, (45, 45), 30, (150, 60, 160), -1)
    (answer,) = loaded.classify([frame])[0]
    assert answer.label
    assert "not calibrated" in answer.reliability
    assert answer.warnings == ()


def test_a_damaged_reference_is_measured_again(artifacts):
    key = service.available(artifacts)[0].key
    (kept,) = (artifacts / "app").glob(f"{key}*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert "AUC (validation)" not in service.available(artifacts)[0].figures
    told = []
    loaded = service.Service.load(key, artifacts, told.append)
    assert "AUC (validation)" in loaded.facts.figures
    assert any("Measuring" in one for one in told)


def test_a_collapsed_network_votes_alone_and_says_so(artifacts):
    path = next(artifacts.glob("*/runs/other*/record.json"))
    record = json.loads(path.read_text())
    record["collapsed"] = "other-subject collapsed: all its scores are 0.500."
    path.write_text(json.dumps(record))
    facts = {one.name: one for one in service.available(artifacts)}
    assert facts["custom_cnn-subject"].members == ("custom_cnn-subject",)
    assert facts["other-subject"].members == ("other-subject",)
    assert "collapsed" in facts["other-subject"].notes[0]


def _plant(path, change):
    """Change the architecture in a saved network."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    config = json.loads(parts["config.json"])
    change(config["config"]["layers"])
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)


def _code(layers):
    layers[1]["class_name"] = "Lambda"


def _features(layers):
    layers[0]["config"]["batch_shape"] = [None, 1280]


def _oblong(layers):
    layers[0]["config"]["batch_shape"] = [None, 32, 64, 3]


def _five_numbers(layers):
    layers[-1]["config"]["activation"] = "softmax"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_code, "code"),
        (_features, "features"),
        (_oblong, "square"),
        (_five_numbers, "probability"),
    ],
)
def test_what_cannot_stand_behind_the_app_is_listed_with_its_reason(artifacts, change, says):
    path = next(artifacts.glob("*/runs/other*/best.keras"))
    _plant(path, change)
    usable, refused = service.available(artifacts)
    assert isinstance(usable, ModelFacts)
    assert usable.members == ("custom_cnn-subject",)
    assert isinstance(refused, Refused)
    assert says in refused.reason
    with pytest.raises(AppError, match=says):
        service.Service.load(refused.key, artifacts, str)


def test_planted_code_does_not_run(artifacts, tmp_path, monkeypatch):
    """Keras itself refuses a file with code, even if the listing did not see it."""
    import keras

    mark = tmp_path / "ran.npy"
    path = next(artifacts.glob("*/runs/other*/best.keras"))
    image = keras.Input((32, 32, 3))
    planted = keras.layers.Lambda(lambda x, mark=str(mark): (np.save(mark, 1), x)[1])(image)
    flat = keras.layers.Flatten()(planted)
    keras.Model(image, keras.layers.Dense(1, "sigmoid")(flat)).save(path)
    mark.unlink(missing_ok=True)
    monkeypatch.setattr(saved_runs, "_network", lambda path: (32, ""))
    with pytest.raises(Exception, match=r"[Ll]ambda"):
        service.Service.load(path.parent.name, artifacts, str)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["record.json", "best.keras", "history.csv"])
def test_damaged_runs_are_listed(artifacts, name):
    path = next(artifacts.glob(f"*/runs/other*/{name}"))
    path.write_bytes(path.read_bytes()[:30])
    refused = service.available(artifacts)[1]
    assert isinstance(refused, Refused)
    assert "damaged" in refused.reason or "lacks facts" in refused.reason


def test_unknown_keys_are_refused(trained):
    for key in ("", "..", "custom_cnn", "../../etc/passwd", "runs/x"):
        with pytest.raises(AppError, match="no trained network"):
            service.Service.load(key, trained, str)


def test_a_run_can_be_named_by_its_folder(loaded, trained):
    folder = next(trained.glob(f"*/runs/{loaded.facts.key}"))
    assert service.Service.load(folder, trained, str).facts == loaded.facts
    with pytest.raises(AppError, match="no trained network"):
        service.Service.load(str(folder), trained, str)


def test_the_small_network_is_better_than_the_majority(tmp_path, monkeypatch):
    """And two cores train it in less than a minute, with progress."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))
    told, began = [], time.process_time()
    key = service.train_small(tmp_path, told.append)
    assert time.process_time() - began < 100
    assert len(told) == 2
    assert [facts.key for facts in service.available(tmp_path)] == [key]
    table, _, scores = _validation(tmp_path, key)
    val = (table["split"] == "val").to_numpy()
    truth = table["positive"].to_numpy(dtype=float)[val]
    assert np.mean((scores[val] >= 0.5) == truth) > max(truth.mean(), 1 - truth.mean()) + 0.03
