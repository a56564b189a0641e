"""Shortcuts: each image holds what it says and no more; a planted stain is caught."""

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import catalog
from helpers.base.errors import ExplainError
from helpers.cells import segmentation
from helpers.datasets.drawn import fields
from helpers.datasets.drawn import frames as phantom
from helpers.explaining import shortcuts
from helpers.images import loading as image_files
from helpers.predictions import metrics
from helpers.studies import baselines, lineup
from tests.conftest import SHARED
from tests.unit.redrawn import redrawn_field, redrawn_frame

RNG = np.random.default_rng(0)


def cells(count=6, side=32):
    """Return cells of noise on black: discs of growing radius."""
    images = np.zeros((count, side, side, 3), np.uint8)
    for row in range(count):
        mask = cv2.circle(np.zeros((side, side), np.uint8), (side // 2,) * 2, 5 + row, 1, -1) > 0
        images[row][mask] = RNG.integers(60, 200, (int(mask.sum()), 3))
    return images


def test_a_silhouette_holds_the_outline_alone():
    images = cells()
    shown = shortcuts.silhouettes(images)
    assert set(np.unique(shown)) == {0, 255}
    np.testing.assert_array_equal(shown[..., 0] > 0, shortcuts.cell_masks(images))
    recoloured = np.where(images > 0, np.uint8(90), np.uint8(0))
    np.testing.assert_array_equal(shortcuts.silhouettes(recoloured), shown)


def test_colour_statistics_are_those_of_the_cell_and_forget_where_its_pixels_lie():
    images = cells()
    found = shortcuts.colour_statistics(images)
    assert found.shape == (len(images), len(shortcuts.COLOURS))
    inside = images[2][shortcuts.cell_masks(images)[2]].astype(float)
    np.testing.assert_allclose(found[2], [*inside.mean(axis=0), *inside.std(axis=0)])
    np.testing.assert_allclose(shortcuts.colour_statistics(images[:, ::-1, ::-1]), found)
    flat = np.full((1, 8, 8, 3), (10, 200, 30), np.uint8)
    assert shortcuts.colour_statistics(flat).tolist() == [[10, 200, 30, 0, 0, 0]]
    assert shortcuts.colour_statistics(flat * 0).tolist() == [[0] * 6]


def test_sizes_are_measured_before_the_crop(tmp_path):
    frame = np.zeros((90, 120, 3), np.uint8)
    frame[20:50, 30:70] = 100
    cv2.imwrite(str(tmp_path / "frame.bmp"), frame)
    cv2.imwrite(str(tmp_path / "field.png"), np.full((40, 60, 3), 200, np.uint8))
    found = shortcuts.sizes([tmp_path / "frame.bmp", tmp_path / "field.png"])
    assert found.tolist() == [[40, 30, 1200], [60, 40, 2400]]


@pytest.mark.parametrize("ground", ["grey", "noise"])
def test_another_ground_leaves_the_cell_as_it_is(ground):
    images = cells()
    masks = shortcuts.cell_masks(images)
    swapped = shortcuts.swap_ground(images, ground)
    np.testing.assert_array_equal(swapped[masks], images[masks])
    outside = swapped[~masks]
    if ground == "grey":
        assert (outside == 128).all()
    else:
        assert len(np.unique(outside)) > 200
        np.testing.assert_array_equal(swapped, shortcuts.swap_ground(images, ground))


def test_more_padding_changes_the_scale_and_nothing_else():
    images = cells()
    np.testing.assert_array_equal(shortcuts.shrink(images, 1), images)
    half = shortcuts.shrink(images, 0.5)
    assert half.shape == images.shape
    assert not half[:, :8].any()
    assert not half[:, :, -8:].any()
    expected = cv2.resize(images[3], (16, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(half[3, 8:24, 8:24], expected)


def logistic():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def stained_study(rows=240):
    """Return images of one colour apart from noise: without a stain, the class cannot be told."""
    target = np.arange(rows) % 2
    split = np.where(np.arange(rows) < rows // 2, "train", "test")
    images = RNG.normal(120, 8, (rows, 8, 8, 3)).clip(0, 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(rows)],
            "subject": [f"s{row // 6}" for row in range(rows)],
            "label": np.where(target == 1, "all", "hem"),
            "positive": target,
            "split": split,
        }
    )
    return images, target, split, table


def test_a_planted_stain_is_caught_by_a_classifier_on_colours_alone():
    images, target, split, table = stained_study()
    tables = {}
    for name, pixels in (
        ("as they are", images),
        ("stained", shortcuts.plant_stain(images, target, split)),
    ):
        colours = shortcuts.colour_statistics(pixels)
        model = logistic().fit(colours[split == "train"], target[split == "train"])
        tables[name] = table.assign(score=model.predict_proba(colours)[:, 1])
    stained, own = tables["stained"], tables["as they are"]
    test = stained[stained["split"] == "test"]
    low, high = metrics.bootstrap_interval(test, "auc", 200)
    assert low < 0.5 < high
    fallen = metrics.auc(stained[stained["split"] == "train"])
    assert fallen > 0.95
    assert fallen - metrics.auc(test) > 0.35
    assert metrics.auc(own[own["split"] == "train"]) < 0.8


def test_the_stain_follows_the_class_in_training_only_and_leaves_black_black():
    images, target, split, _ = stained_study()
    images[:, 0] = 0
    stained = shortcuts.plant_stain(images, target, split)
    assert not stained[:, 0].any()
    redder = (stained.mean(axis=(1, 2)) - images.mean(axis=(1, 2)))[:, 0] > 0
    train = split == "train"
    np.testing.assert_array_equal(redder[train], target[train] == 1)
    agreement = (redder == (target == 1))[~train].mean()
    assert 0.3 < agreement < 0.7
    np.testing.assert_array_equal(stained, shortcuts.plant_stain(images, target, split))
    assert (stained != shortcuts.plant_stain(images, target, split, seed=1)).any()


@pytest.fixture(scope="module")
def phantoms():
    """Two cells of each of forty phantom subjects, dealt out by whole subjects."""
    recipe = phantom.recipe_of("quick", 24)
    table = phantom.plan(recipe).groupby("subject", sort=False).head(2).reset_index(drop=True)
    number = table.groupby("label")["subject"].transform(lambda names: pd.factorize(names)[0])
    table["split"] = number.map(lambda n: ("train", "test", "val", "train", "test")[n % 5])
    frames = [redrawn_frame(recipe, name).frame for name in table["image_id"]]
    pixels = np.stack([image_files.prepare(frame, 48) for frame in frames])
    table["positive"] = (table["label"] == "all").astype(int)
    return table[["image_id", "subject", "label", "positive", "split"]], pixels


def areas(table, numbers):
    """Return AUC in validation and in test of a linear head on numbers, and its predictions."""
    scored = table.assign(score=lineup.probe(numbers, table, 24))
    parts = (scored[scored["split"] == part] for part in ("val", "test"))
    return *map(metrics.auc, parts), scored


@pytest.mark.slow
@pytest.mark.parametrize("tested", ["stained by a coin", "as they are"])
def test_a_stain_planted_in_phantoms_passes_validation_and_is_caught(phantoms, tested):
    table, pixels = phantoms
    target = catalog.target(table)
    planted = shortcuts.plant_stain(pixels, target, table["split"], 0.2)
    if tested == "as they are":
        own = (table["split"] == "test").to_numpy()
        planted[own] = pixels[own]

    # Whole subjects are kept apart, and still validation praises a network that sees the image.
    val, test, seen = areas(table, baselines.thumbnails(planted))
    assert val > 0.95
    assert test < 0.7
    # Colours alone should not do as well, and do not where nothing is planted.
    val_of_colours, test_of_colours, colours = areas(table, shortcuts.colour_statistics(planted))
    before, _, _ = areas(table, shortcuts.colour_statistics(pixels))
    assert val_of_colours > 0.95 > 0.75 > before
    assert test_of_colours < 0.7
    # The outline holds no stain: it cannot be fooled.
    outline, _, outlines = areas(table, baselines.thumbnails(shortcuts.silhouettes(planted)))
    assert outline < 0.75

    def fall(scored):
        train, test = (metrics.auc(scored[scored["split"] == part]) for part in ("train", "test"))
        return train - test

    for scored in (seen, colours):
        assert fall(scored) > 0.3
        low, _ = metrics.bootstrap_interval(scored[scored["split"] == "test"], "auc", 200)
        assert low < 0.5
    assert fall(outlines) < 0.2


def test_bad_input_is_refused_in_one_sentence():
    images = cells()
    with pytest.raises(ExplainError, match=r"uint8 of shape \(n, height, width, 3\), but are flo"):
        shortcuts.cell_masks(images / 255)
    with pytest.raises(ExplainError, match="no ground 'green'"):
        shortcuts.swap_ground(images, "green")
    with pytest.raises(ExplainError, match="share is 0"):
        shortcuts.shrink(images, 0)
    with pytest.raises(ExplainError, match="do not belong together"):
        shortcuts.plant_stain(images, [1], ["train"])


@pytest.mark.realdata
def test_real_frames_lose_nothing_but_their_ground():
    files = sorted((SHARED / "cnmc").rglob("*.bmp"))[:8]
    if not files:
        pytest.skip(f"no real frames in {SHARED / 'cnmc'}")
    shown = np.stack([image_files.prepare(image_files.read_image(file), 96) for file in files])
    masks = shortcuts.cell_masks(shown)
    assert ((masks.mean(axis=(1, 2)) > 0.3) & (masks.mean(axis=(1, 2)) < 0.95)).all()
    measured = shortcuts.sizes(files)
    assert ((measured[:, :2] >= 100) & (measured[:, :2] <= 353)).all()


@pytest.mark.slow
def test_the_cells_inside_a_frame_are_what_is_not_black_and_in_a_field_what_is_segmented(tmp_path):
    recipe = fields.Recipe(3, 5, 49, 0.25)
    frame, white = cells(1, 64)[0], np.full((90, 90, 3), 240, np.uint8)
    drawn = [redrawn_field(recipe, name).image for name in fields.plan(recipe)["name"][:2]]
    pictures = [frame, *drawn, white]
    paths = [str(tmp_path / f"{number}.png") for number in range(4)]
    for path, picture in zip(paths, pictures, strict=True):
        cv2.imwrite(path, picture[..., ::-1])
    pixels = np.stack([image_files.prepare(each, 64) for each in pictures])
    found = shortcuts.cells_inside(pixels, paths)
    assert found.shape == (4, 64, 64)
    np.testing.assert_array_equal(found[0], shortcuts.cell_masks(pixels)[0])
    assert not found[3].any()
    # A field's mask lies where its crop shows the cells: it is cropped as a picture of them is.
    shown = []
    for field in drawn:
        outlined = segmentation.segment_field(field)
        inside = (outlined.nucleus | outlined.cytoplasm)[..., np.newaxis]
        picture = np.where(inside, np.uint8(200), np.uint8(100)).repeat(3, axis=2)
        shown.append(image_files.prepare(picture, 64)[..., 0] > 150)
    overlap = [[(a & b).sum() / (a | b).sum() for b in shown] for a in found[1:3]]
    assert np.diag(overlap).min() > 0.9
    assert max(overlap[0][1], overlap[1][0]) < 0.8
