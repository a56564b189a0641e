"""SN-AM: masks that are no images, roles, links, and the crops of cells and of empty ground."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from helpers import catalog as catalogs
from helpers import datasets
from helpers.base.errors import CellError, DatasetError
from helpers.catalog import splitting
from helpers.cells import field_crops
from helpers.course.data import app
from helpers.datasets.drawn import fields as drawn_fields
from helpers.datasets.drawn.fields import Recipe
from helpers.datasets.readers import snam
from tests.unit.redrawn import redrawn_field

FEW = Recipe(3, 5, 40, 0.2)


@functools.cache
def redrawn(name):
    """Return the truth about a drawn field."""
    return redrawn_field(FEW, name)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return drawn_fields.draw(tmp_path_factory.mktemp("snam"), FEW)


@pytest.fixture(autouse=True)
def _own_artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))


@pytest.fixture
def catalog(drawn):
    return datasets.load_with_report("snam", drawn)[0]


def picture(path: Path, side=(64, 48), discs=((20, 20, 6),), glass=230) -> Path:
    """Write a field of bright glass with dark discs (x, y, radius) on it."""
    image = np.full((side[1], side[0], 3), glass, np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (x, y), radius, (140, 50, 90), -1)
    return _write(path, image)


def mask(path: Path, side=(64, 48), discs=((20, 20, 6),), white=255, ground=0) -> Path:
    image = np.full((side[1], side[0]), ground, np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (x, y), radius, white, -1)
    return _write(path, image)


def _write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix.lower()
    path.write_bytes(cv2.imencode(ending, image)[1].tobytes())
    return path


# Reading the folder


@pytest.mark.slow
def test_masks_are_no_images_and_roles_are_told(drawn, tmp_path, capsys):
    catalog = datasets.load("snam", drawn)
    out = capsys.readouterr().out
    assert "phantoms, drawn by the course" in out
    assert "3 of 10 fields are reference or extra images" in out
    assert "MM_5_also_ref_image" in out
    plan = drawn_fields.plan(FEW).set_index("name")
    assert set(catalog["image_id"]) == set(plan.index)
    found = catalog.set_index("image_id")
    assert (found["role"] == plan["role"].reindex(found.index)).all()
    assert (found["label"] == plan["label"].reindex(found.index)).all()
    assert (found["subject"] == found.index).all()
    assert (found["group"] == found.index).all()
    assert found["nucleus_mask"].ne("").all()
    assert (found["cytoplasm_mask"].ne("") == plan["cytoplasm"].reindex(found.index)).all()
    for row in found.itertuples():
        assert row.nucleus_mask == row.path.replace(".bmp", "_nucleus_mask.bmp")
        assert row.background_mask == row.path.replace(".bmp", "_background_mask.bmp")
    assert catalogs.sides(catalog) == (["all"], ["mm"])
    catalogs.write(tmp_path / "catalog.csv", catalog)
    assert (catalogs.read(tmp_path / "catalog.csv") == catalog).all(axis=None)


def test_nested_mirrors_other_endings_and_cases_give_the_same_fields(tmp_path):
    picture(tmp_path / "B-ALL/B-ALL/all_1.BMP")
    mask(tmp_path / "B-ALL/masks/ALL_1_Nucleus_Mask.png")
    picture(tmp_path / "MM/mm_2.png", discs=((30, 30, 7),))
    mask(tmp_path / "MM/MM_2_nucleus_mask.bmp", discs=((30, 30, 7),))
    picture(tmp_path / "MM/MM_5_also_ref_image.bmp", discs=((30, 20, 7),))
    mask(tmp_path / "MM/MM_5_nucleus_mask.bmp", discs=((30, 20, 7),))
    shutil.copytree(tmp_path / "MM", tmp_path / "copy" / "MM")
    picture(tmp_path / "ALL_ALL_extra_images/ALL_31.bmp", glass=200)
    catalog, report = datasets.load_with_report("snam", tmp_path)
    found = catalog.set_index("image_id")
    assert found["role"].to_dict() == {
        "ALL_1": "field",
        "ALL_31": "extra",
        "MM_2": "field",
        "MM_5_also_ref_image": "reference",
    }
    names = {name: Path(path).name for name, path in found["nucleus_mask"].items()}
    assert names == {
        "ALL_1": "ALL_1_Nucleus_Mask.png",
        "ALL_31": "",
        "MM_2": "MM_2_nucleus_mask.bmp",
        "MM_5_also_ref_image": "MM_5_nucleus_mask.bmp",
    }
    assert all(
        Path(row.nucleus_mask).parent == Path(row.path).parent
        for row in found.itertuples()
        if row.label == "mm"
    )
    second_mask = "mask of an image that was left out, or its second mask"
    assert sorted(report["reason"]) == [second_mask] * 2 + ["second copy"] * 2


def test_masks_without_images_and_unfit_masks_are_named(tmp_path):
    for number in (1, 2, 3):
        picture(tmp_path / f"ALL_{number}.bmp", glass=200 + number)
    mask(tmp_path / "ALL_1_nucleus_mask.bmp", side=(32, 24))
    (tmp_path / "ALL_2_nucleus_mask.bmp").write_bytes(b"")
    mask(tmp_path / "ALL_3_outline_mask.bmp")
    mask(tmp_path / "MM_9_nucleus_mask.bmp")
    picture(tmp_path / "ALL_3 (1).bmp")
    picture(tmp_path / "holiday.bmp")
    catalog, report = datasets.load_with_report("snam", tmp_path)
    assert catalog["image_id"].tolist() == ["ALL_1", "ALL_2", "ALL_3"]
    assert catalog["nucleus_mask"].tolist() == ["", "", ""]
    assert dict(zip(report["path"], report["reason"], strict=True)) == {
        "ALL_1_nucleus_mask.bmp": "mask of 32x24 pixels, its image has 64x48",
        "ALL_2_nucleus_mask.bmp": "empty file",
        "ALL_3_outline_mask.bmp": "mask of no known kind",
        "MM_9_nucleus_mask.bmp": "mask without its image",
        "ALL_3 (1).bmp": "not named as an SN-AM field",
        "holiday.bmp": "not named as an SN-AM field",
    }


def test_a_field_without_a_mask_is_announced(tmp_path, capsys):
    picture(tmp_path / "ALL_1.bmp")
    picture(tmp_path / "MM_1.bmp", glass=200)
    mask(tmp_path / "MM_1_nucleus_mask.bmp")
    datasets.load("snam", tmp_path)
    out = capsys.readouterr().out
    assert "phantoms" not in out
    assert "1 of 2 fields has no nucleus mask (ALL_1): the course segments" in out


def test_wrong_folders_are_told_in_one_sentence(tmp_path, drawn):
    with pytest.raises(DatasetError, match=r"needs a folder.*course data snam"):
        datasets.load("snam")
    with pytest.raises(DatasetError, match="is not a folder"):
        datasets.load("snam", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"ALL_1.bmp and MM_1.bmp.*the folder is empty"):
        datasets.load("snam", tmp_path / "empty")
    mask(tmp_path / "masks" / "ALL_1_nucleus_mask.bmp")
    with pytest.raises(DatasetError, match="1 mask without its image"):
        datasets.load("snam", tmp_path / "masks")
    picture(tmp_path / "other" / "WBC-Benign-001.jpg")
    with pytest.raises(DatasetError, match="It looks like the data set taleqani"):
        datasets.load("snam", tmp_path / "other")
    with pytest.raises(DatasetError, match="It looks like the data set snam"):
        datasets.load("taleqani", drawn)


def test_fields_with_the_same_bytes_are_one_group(tmp_path):
    picture(tmp_path / "ALL_4.bmp")
    shutil.copy(tmp_path / "ALL_4.bmp", tmp_path / "ALL_ref.bmp")
    picture(tmp_path / "MM_1.bmp", glass=200)
    groups = datasets.load("snam", tmp_path).set_index("image_id")["group"].to_dict()
    assert groups == {"ALL_4": "ALL_4+ALL_ref", "ALL_ref": "ALL_4+ALL_ref", "MM_1": "MM_1"}


def test_one_file_under_both_classes_is_left_out_and_named(tmp_path):
    picture(tmp_path / "ALL_1.bmp")
    mask(tmp_path / "ALL_1_nucleus_mask.bmp")
    shutil.copy(tmp_path / "ALL_1.bmp", tmp_path / "MM_2.bmp")
    picture(tmp_path / "MM_1.bmp", glass=200)
    catalog, report = datasets.load_with_report("snam", tmp_path)
    assert catalog["image_id"].tolist() == ["MM_1"]
    assert dict(zip(report["path"], report["reason"], strict=True)) == {
        "ALL_1.bmp": "same bytes as MM_2, of another class",
        "ALL_1_nucleus_mask.bmp": "mask of an image that was left out, or its second mask",
        "MM_2.bmp": "same bytes as ALL_1, of another class",
    }


def test_the_catalog_depends_on_files_and_not_on_where_they_lie(drawn, tmp_path, catalog):
    moved = tmp_path / "moved" / "deep"
    shutil.copytree(drawn, moved)
    other = datasets.load_with_report("snam", moved.parent)[0]
    places = ["path", *snam.KINDS]
    assert other.drop(columns=places).equals(catalog.drop(columns=places))


# Crops


@pytest.mark.slow
def test_crops_are_a_catalog_and_recover_the_drawn_cells(catalog):
    table, images = field_crops.crops(catalog, size=48)
    catalogs.check(table)
    assert images.shape == (len(table), 48, 48, 3)
    assert images.dtype == np.uint8
    assert table["image_id"].iloc[0] == "ALL_1_c01"
    assert set(table["subject"]) == set(catalog.loc[catalog["role"] == "field", "image_id"])
    assert (table["group"] == table["subject"]).all()
    assert (table["source"] == "mask").all()
    assert (table["width"] == table["height"]).all()
    assert table["sha256"].is_unique
    extra = found = 0
    for name, boxes in table.groupby("subject"):
        field = redrawn(name)
        whole = field.table[field.table["whole"]]
        x, y = boxes["x"] + boxes["width"] / 2, boxes["y"] + boxes["height"] / 2
        for cell in whole.itertuples():
            box = boxes.iloc[int(np.argmin(np.hypot(x - cell.x, y - cell.y)))]
            inside = field.cells == cell.cell
            part = inside[box.y : box.y + box.height, box.x : box.x + box.width]
            assert part.sum() > 0.85 * inside.sum()
            found += 1
        extra += len(boxes) - len(whole) - int((whole["nuclei"] == 2).sum())
    assert found == FEW.cells
    assert abs(extra) <= 1  # a nucleus of a twin that touches the other


def test_a_crop_is_what_stands_in_its_box(catalog):
    table, images = field_crops.crops(catalog, size=40)
    for place in (0, len(table) // 2, len(table) - 1):
        row = table.iloc[place]
        field = cv2.imread(row["path"])[:, :, ::-1]
        box = field[row.y : row.y + row.height, row.x : row.x + row.width]
        assert np.array_equal(
            cv2.resize(box, (40, 40), interpolation=cv2.INTER_AREA), images[place]
        )


@pytest.mark.slow
def test_split_and_group_go_over_to_the_crops(catalog):
    fields = splitting.split_by_subject(catalog[catalog["role"] == "field"], nearest=True)
    table, _ = field_crops.crops(fields, size=32)
    assert (table.groupby("group")["split"].nunique() == 1).all()
    splits = fields.set_index("image_id")["split"]
    assert (table["split"] == splits.loc[table["subject"]].to_numpy()).all()


@pytest.mark.slow
def test_reference_and_extra_fields_give_no_crops(catalog):
    table, _ = field_crops.crops(catalog, size=32)
    others = {"ALL_ref", "ALL_ALL_extra_images", "MM_5_also_ref_image"}
    assert not others & set(table["subject"])
    with pytest.raises(CellError, match="no row of the role 'field'"):
        field_crops.crops(catalog[catalog["role"] != "field"], size=32)


def test_crops_are_made_once_and_anew_when_a_mask_changes(tmp_path, monkeypatch):
    picture(tmp_path / "d/ALL_1.bmp", discs=((20, 20, 6), (45, 30, 6)))
    path = mask(tmp_path / "d/ALL_1_nucleus_mask.bmp", discs=((20, 20, 6), (45, 30, 6)))
    catalog = datasets.load("snam", tmp_path / "d")
    table, images = field_crops.crops(catalog, size=16)
    assert table["image_id"].tolist() == ["ALL_1_c01", "ALL_1_c02"]
    monkeypatch.setattr(field_crops, "_boxes", None)  # a second call cuts nothing out
    again, same = field_crops.crops(catalog, size=16)
    assert again.equals(table)
    assert np.array_equal(same, images)
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    mask(path)
    assert len(field_crops.crops(catalog, size=16)[0]) == 1


def test_a_damaged_or_half_written_store_is_made_again(tmp_path):
    picture(tmp_path / "d/ALL_1.bmp")
    mask(tmp_path / "d/ALL_1_nucleus_mask.bmp")
    catalog = datasets.load("snam", tmp_path / "d")
    _, images = field_crops.crops(catalog, size=16)
    images = np.array(images)
    folder = tmp_path / "artifacts" / "crops"
    for kept in folder.glob("*.npz"):
        kept.write_bytes(kept.read_bytes()[:20])
        assert np.array_equal(field_crops.crops(catalog, size=16)[1], images)


@pytest.mark.slow
def test_order_and_bytes_do_not_depend_on_the_catalogs_order(catalog):
    table, images = field_crops.crops(catalog, size=24)
    first = np.array(images)
    shutil.rmtree(field_crops.artifacts_folder() / "crops")
    shuffled = catalog.sample(frac=1, random_state=1)
    again, same = field_crops.crops(shuffled, size=24)
    assert again.equals(table)
    assert np.array_equal(same, first)


def test_touching_nuclei_are_parted_and_specks_left_out(tmp_path):
    discs = ((30, 30, 10), (48, 30, 10), (80, 70, 10), (100, 20, 2))
    picture(tmp_path / "d/MM_1.bmp", (120, 100), discs)
    mask(tmp_path / "d/MM_1_nucleus_mask.bmp", (120, 100), discs)
    table, _ = field_crops.crops(datasets.load("snam", tmp_path / "d"), size=24)
    middles = list(
        zip(table["x"] + table["width"] // 2, table["y"] + table["height"] // 2, strict=True)
    )
    assert len(middles) == 3
    for (x, y), (a, b, _) in zip(middles, discs, strict=False):
        assert abs(x - a) <= 2
        assert abs(y - b) <= 2


def test_a_cell_that_the_border_cuts_is_left_out(tmp_path):
    discs = ((0, 50, 10), (60, 12, 10), (80, 60, 10))
    picture(tmp_path / "d/MM_1.bmp", (120, 100), discs)
    mask(tmp_path / "d/MM_1_nucleus_mask.bmp", (120, 100), discs)
    catalog = datasets.load("snam", tmp_path / "d")
    assert len(field_crops.crops(catalog, size=24)[0]) == 2


def test_any_way_to_paint_a_mask_is_understood(tmp_path):
    plain = field_crops.read_mask(mask(tmp_path / "a.bmp"))
    assert plain.sum() == pytest.approx(np.pi * 36, rel=0.15)
    for path in (
        mask(tmp_path / "b.bmp", white=1),
        mask(tmp_path / "c.png", white=0, ground=255),
        mask(tmp_path / "d.png", white=120, ground=10),
        _write(tmp_path / "e.bmp", plain[..., None] * np.uint8([140, 50, 90])),
    ):
        assert np.array_equal(field_crops.read_mask(path), plain)
    assert not field_crops.read_mask(mask(tmp_path / "f.bmp", discs=())).any()
    assert not field_crops.read_mask(mask(tmp_path / "g.bmp", discs=(), ground=255)).any()


@pytest.mark.slow
def test_fields_without_a_mask_are_segmented(drawn, tmp_path):
    for name in ("ALL_1", "MM_1"):
        shutil.copy(drawn / f"{name}.bmp", tmp_path / f"{name}.bmp")
    table, _ = field_crops.crops(datasets.load("snam", tmp_path), size=32)
    assert (table["source"] == "segmentation").all()
    for name, boxes in table.groupby("subject"):
        field = redrawn(name).table
        x, y = boxes["x"] + boxes["width"] / 2, boxes["y"] + boxes["height"] / 2
        near = [
            np.hypot(x - c.x, y - c.y).min() < c.radius for c in field[field["whole"]].itertuples()
        ]
        assert np.mean(near) >= 0.8


def test_a_mask_of_another_size_stops_the_crops_by_name(tmp_path, drawn, catalog):
    small = mask(tmp_path / "small_mask.bmp")
    broken = catalog.assign(nucleus_mask=str(small))
    with pytest.raises(CellError, match=r"small_mask\.bmp has 64x48 pixels.*has 512x384"):
        field_crops.crops(broken)
    gone = catalog.assign(nucleus_mask=str(tmp_path / "gone_mask.bmp"))
    with pytest.raises(CellError, match=r"gone_mask\.bmp cannot be read"):
        field_crops.crops(gone)


def test_a_field_without_any_cell_is_told_and_none_at_all_stops(tmp_path, capsys):
    picture(tmp_path / "d/MM_1.bmp")
    mask(tmp_path / "d/MM_1_nucleus_mask.bmp")
    picture(tmp_path / "d/MM_2.bmp", discs=(), glass=200)
    mask(tmp_path / "d/MM_2_nucleus_mask.bmp", discs=())
    picture(tmp_path / "d/MM_3.bmp", discs=(), glass=210)  # and without a mask
    catalog = datasets.load("snam", tmp_path / "d")
    capsys.readouterr()
    for _ in range(2):  # from disk, too
        table, _ = field_crops.crops(catalog, size=16)
        assert capsys.readouterr().out == "2 fields hold no cell and give no crop: MM_2, MM_3.\n"
    assert set(table["subject"]) == {"MM_1"}
    with pytest.raises(CellError, match="None of the 2 fields holds a cell, first MM_2"):
        field_crops.crops(catalog[catalog["image_id"] != "MM_1"])


def test_a_catalog_of_another_data_set_is_refused(catalog):
    with pytest.raises(CellError, match=r"datasets.load\('snam'"):
        field_crops.crops(catalog.drop(columns=["nucleus_mask", "role"]))
    for size in (0, -3, 2.5, True, "64"):
        with pytest.raises(CellError, match="size"):
            field_crops.crops(catalog, size=size)


@pytest.mark.slow
def test_backgrounds_hold_no_white_cell(catalog):
    table, images = field_crops.backgrounds(catalog, size=32)
    assert images.shape == (len(table), 32, 32, 3)
    assert table["image_id"].iloc[0] == "ALL_1_b01"
    assert set(table["width"]) == {48}
    assert table.groupby("subject").size().max() == 6
    for name, boxes in table.groupby("subject"):
        cells = redrawn(name).cells
        for box in boxes.itertuples():
            assert not cells[box.y : box.y + box.height, box.x : box.x + box.width].any()
    other, _ = field_crops.backgrounds(catalog, size=32, seed=25)
    assert not other[["x", "y"]].equals(table[["x", "y"]])
    again, same = field_crops.backgrounds(catalog, size=32)
    assert again.equals(table)
    assert np.array_equal(same, images)


def test_a_crowded_field_has_no_room_for_a_background(tmp_path):
    discs = [(x, y, 5) for x in range(8, 64, 14) for y in range(8, 48, 14)]
    picture(tmp_path / "d/MM_1.bmp", discs=discs)
    mask(tmp_path / "d/MM_1_nucleus_mask.bmp", discs=discs)
    with pytest.raises(CellError, match="has room"):
        field_crops.backgrounds(datasets.load("snam", tmp_path / "d"))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 119), st.integers(0, 89), st.integers(3, 12)),
        min_size=0,
        max_size=6,
    )
)
def test_boxes_of_any_mask_are_squares_inside_the_field_around_a_nucleus(discs):
    image = np.zeros((90, 120), np.uint8)
    for x, y, radius in discs:
        cv2.circle(image, (x, y), radius, 1, -1)
    labels = field_crops._parted(image)
    assert np.array_equal(labels > 0, image > 0)
    present = np.unique(labels[labels > 0])
    assert np.array_equal(present, np.arange(1, len(present) + 1))
    for x, y, side in field_crops._boxes(labels, image.shape):
        assert 0 <= x <= x + side <= 120
        assert 0 <= y <= y + side <= 90
        assert image[y : y + side, x : x + side].any()


def test_large_masks_are_looked_at_in_a_smaller_size():
    small = np.zeros((192, 256), np.uint8)
    cv2.circle(small, (100, 90), 12, 1, -1)
    large = np.kron(small, np.ones((10, 10), np.uint8))
    reduced = field_crops._reduced(large)
    assert max(reduced.shape) == 1000
    ((x, y, side),) = field_crops._boxes(field_crops._parted(reduced), large.shape)
    assert abs(x + side / 2 - 1005) < 10
    assert abs(y + side / 2 - 905) < 10
    assert abs(side - field_crops.MARGIN * 250) < 15


# The command


@pytest.mark.slow
def test_the_command_tells_how_to_get_it_and_what_is_there(drawn, tmp_path, monkeypatch):
    told = CliRunner().invoke(app, ["snam"])
    assert told.exit_code == 0
    for word in ("10.7937/tcia.2019.of2w8lxr", "nucleus_mask", "DATASET=snam"):
        assert word in told.output
    seen = CliRunner().invoke(app, ["snam", str(drawn)])
    assert "MM  field        4   with 4 nucleus masks" in seen.output
    out = tmp_path / "fields"
    monkeypatch.setitem(drawn_fields.SIZES, "smoke", (2, 3, 14, 0.15))
    made = CliRunner().invoke(app, ["phantom_fields", "--out", str(out), "--profile", "smoke"])
    assert "7 phantom fields are in" in made.output
    assert len(pd.Series(list(out.glob("*_nucleus_mask.bmp")))) == 7


@pytest.mark.slow
def test_benchmark_of_cropping(benchmark, catalog):
    def crop():
        shutil.rmtree(field_crops.artifacts_folder() / "crops", ignore_errors=True)
        return field_crops.crops(catalog, size=64)

    table, _ = benchmark.pedantic(crop, rounds=3, warmup_rounds=1)
    assert len(table) >= FEW.cells
