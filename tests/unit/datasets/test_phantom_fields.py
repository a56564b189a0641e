"""Phantom fields: SN-AM's names and masks, a known truth, classes that overlap."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import DatasetError
from helpers.datasets.drawn import fields, folder
from helpers.datasets.drawn.field_cell import draw_cell, platelet, red_cell
from helpers.datasets.drawn.fields import Recipe
from helpers.datasets.drawn.optics import Style
from tests.unit.redrawn import redrawn_field

TINY = Recipe(2, 5, 36, 0.2)


def digests(root):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("*.bmp"))
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return fields.draw(tmp_path_factory.mktemp("fields"), TINY)


def test_the_plan_is_sn_ams():
    for profile, count, cells in (("smoke", 13, 70), ("quick", 61, 424), ("full", 61, 424)):
        plan = fields.plan(fields.recipe_of(profile))
        assert len(plan) == count
        assert plan["name"].is_unique
        ordinary = plan[plan["role"] == "field"]
        assert ordinary["cells"].sum() == cells
        assert abs(ordinary.groupby("label")["cells"].sum().diff().iloc[-1]) <= 1
        assert ordinary["cells"].between(2, 14).all()
        roles = plan.set_index("name")["role"]
        assert roles["ALL_ref"] == roles["MM_5_also_ref_image"] == "reference"
        assert roles["ALL_ALL_extra_images"] == "extra"
        assert "MM_5" not in roles
        assert plan["cytoplasm"].any()
        assert not plan["cytoplasm"].all()


@pytest.mark.slow
def test_masks_lie_beside_images_and_have_their_size(drawn):
    plan = fields.plan(TINY)
    names = {path.name for path in drawn.glob("*.bmp")}
    expected = {f"{name}.bmp" for name in plan["name"]}
    expected |= {
        f"{name}_{kind}_mask.bmp" for name in plan["name"] for kind in ("nucleus", "background")
    }
    expected |= {f"{name}_cyto_mask.bmp" for name in plan.loc[plan["cytoplasm"], "name"]}
    assert names == expected
    for path in drawn.glob("*.bmp"):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels.shape[:2] == (384, 512)
        if "mask" in path.name:
            assert set(np.unique(pixels)) <= {0, 255}
        else:
            assert pixels.shape == (384, 512, 3)


@pytest.mark.slow
def test_the_truth_belongs_to_the_file(drawn):
    for name in ("ALL_1", "MM_5_also_ref_image"):
        field = redrawn_field(TINY, name)
        assert np.array_equal(field.image, cv2.imread(str(drawn / f"{name}.bmp"))[:, :, ::-1])
        mask = cv2.imread(str(drawn / f"{name}_nucleus_mask.bmp"), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(field.nuclei > 0, mask > 0)
        assert (field.cells[field.nuclei > 0] == field.nuclei[field.nuclei > 0]).all()
        assert not (field.background & (field.cells > 0)).any()
        assert 0.3 < field.background.mean() < 0.97
        whole = field.table[field.table["whole"]]
        plan = fields.plan(TINY).set_index("name")
        assert len(whole) == plan["cells"][name]
        height, width = field.cells.shape
        for cell in whole.itertuples():
            inside = field.cells == cell.cell
            rows, columns = np.nonzero(inside)
            assert rows.min() > 0
            assert columns.min() > 0
            assert rows.max() < height - 1
            assert columns.max() < width - 1
            assert abs(columns.mean() - cell.x) < 4
            assert abs(rows.mean() - cell.y) < 4


def test_nuclei_are_darker_than_cytoplasm_and_glass_is_brightest():
    for name in ("ALL_1", "ALL_2", "MM_1", "MM_2"):
        field = redrawn_field(TINY, name)
        green = field.image[..., 1]
        nucleus = green[field.nuclei > 0].mean()
        cytoplasm = green[(field.cells > 0) & (field.nuclei == 0)].mean()
        assert nucleus + 15 < cytoplasm < green[field.background].mean() - 15


def test_bytes_follow_from_the_seed(drawn):
    other = Recipe(2, 5, 36, 0.2, seed=25)
    first, second = (redrawn_field(recipe, "MM_1").image for recipe in (TINY, other))
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_a_finished_folder_is_left_as_it_is_and_a_stopped_one_completed(
    drawn, tmp_path, monkeypatch
):
    before = {path: path.stat().st_mtime_ns for path in drawn.glob("*.bmp")}
    assert fields.draw(drawn, TINY) == drawn
    assert {path: path.stat().st_mtime_ns for path in drawn.glob("*.bmp")} == before

    write, count = fields._write, iter(range(100))

    def stop(*arguments):
        if next(count) == 3:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(fields, "_write", stop)
    monkeypatch.setattr(folder, "cores", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        fields.draw(tmp_path, TINY)
    monkeypatch.undo()
    assert not (tmp_path / "phantom_fields_finished.json").exists()
    (tmp_path / ".ALL_1-half.bmp").write_bytes(b"BM")
    with ThreadPoolExecutor(2) as pool:  # and two at once are safe
        list(pool.map(lambda _: fields.draw(tmp_path, TINY), range(2)))
    assert digests(tmp_path) == digests(drawn)


def test_fields_of_an_older_version_are_drawn_anew(drawn, tmp_path, monkeypatch):
    old = Recipe(1, 1, 4, 0.1)
    monkeypatch.setattr(folder.code, "version", lambda *_: "older")
    fields.draw(tmp_path, old)
    monkeypatch.undo()
    path = tmp_path / "ALL_1.bmp"
    path.write_bytes(b"BM")
    fields.draw(tmp_path, old)
    assert cv2.imread(str(path)).shape == (192, 256, 3)


def test_what_is_not_ours_is_left_alone(drawn, tmp_path):
    kept = tmp_path / "ALL_1.bmp"
    kept.write_bytes(b"BM")
    with pytest.raises(DatasetError, match="did not draw"):
        fields.draw(tmp_path, TINY)
    assert kept.read_bytes() == b"BM"
    with pytest.raises(DatasetError, match="other phantom fields"):
        fields.draw(drawn, TINY.__class__(2, 5, 36, 0.2, laboratories=True))
    with pytest.raises(DatasetError, match="cells in 2 fields"):
        fields.plan(Recipe(2, 2, 100, 0.2))
    with pytest.raises(DatasetError, match="cannot be drawn"):
        fields.plan(Recipe(0, 2, 10, 0.2))
    with pytest.raises(ValueError, match="'all' or 'mm'"):
        draw_cell("hem", 24, Style(), np.random.default_rng(0))


def auc(values, positive):
    values, positive = np.asarray(values, float), np.asarray(positive, bool)
    higher = values[positive][:, None] - values[~positive][None, :]
    return (higher > 0).mean() + (higher == 0).mean() / 2


def test_plasma_cells_differ_from_lymphoblasts_as_textbooks_say_and_overlap():
    cells = [
        (label, draw_cell(label, 12, Style(), np.random.default_rng([number, label == "mm"])))
        for label in ("all", "mm")
        for number in range(60)
    ]
    mm = [label == "mm" for label, _ in cells]
    for name, low, high in (
        ("nucleus_to_cell", 0.0, 0.12),
        ("nucleoli", 0.02, 0.3),
        ("offset", 0.85, 1.0),
        ("clock", 0.85, 1.0),
        ("basophilia", 0.65, 0.95),
        ("halo", 0.7, 0.98),
    ):
        assert low <= auc([cell.parameters[name] for _, cell in cells], mm) <= high, name
    assert 0.1 < auc([cell.nucleus.sum() for _, cell in cells], mm) < 0.4
    twins = [cell.parameters["nuclei"] == 2 for _, cell in cells]
    assert sum(np.array(twins) & mm) >= 1
    assert not (np.array(twins) & ~np.array(mm)).any()


def test_empty_glass_tells_the_classes_apart_only_where_laboratories_differ():
    def glass(laboratories):
        recipe = Recipe(12, 12, 80, 0.05, laboratories=laboratories)
        looks, plan = fields._looks(recipe), fields.plan(recipe)
        warm = [looks[name].glass[0] / looks[name].glass[2] for name in plan["name"]]
        return auc(warm, plan["label"] == "mm")

    assert 0.3 < glass(False) < 0.7
    assert glass(True) > 0.97


@settings(max_examples=25, deadline=None)
@given(
    label=st.sampled_from(["all", "mm"]),
    radius=st.floats(6, 60),
    seed=st.integers(0, 10_000),
    strength=st.floats(0.6, 1.6),
)
def test_any_cell_has_its_nucleus_inside_and_clean_glass_around(label, radius, seed, strength):
    cell = draw_cell(label, radius, Style(strength=strength), np.random.default_rng(seed))
    assert not (cell.nucleus & ~cell.cell).any()
    assert cell.nucleus.any()
    edge = np.ones(cell.cell.shape, bool)
    edge[1:-1, 1:-1] = False
    assert not (cell.cell & edge).any()
    assert cell.density[edge].max() < 0.05 * max(1, strength)  # the halo is stained as strongly
    assert cell.density.min() >= 0
    ratio = cell.nucleus.sum() / cell.cell.sum()
    assert cell.parameters["nucleus_to_cell"] == pytest.approx(ratio)
    assert 0.15 < ratio < 1
    assert 1 <= cv2.connectedComponents(cell.cell.astype(np.uint8))[0] - 1 <= 1


def test_red_cells_and_platelets_take_light_away():
    rng = np.random.default_rng(0)
    pale, full = red_cell(rng, 14, 0.9, 0.0), red_cell(rng, 14, 0.0, 0.0)
    middle = len(pale) // 2
    assert pale[middle, middle].max() < 0.5 * full[middle, middle].max()
    for patch in (pale, full, platelet(rng, 3)):
        assert patch.dtype == np.float32
        assert patch.min() >= 0
        assert patch[0].max() < 0.02


def test_benchmark_of_drawing_fields(benchmark, tmp_path):
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    folders = (tmp_path / str(number) for number in range(100))
    recipe = Recipe(4, 4, 60, 0.25)
    benchmark.pedantic(lambda: fields.draw(next(folders), recipe), rounds=3, warmup_rounds=1)
