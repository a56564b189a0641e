import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from helpers import datasets
from helpers.base.errors import DatasetError
from helpers.base.settings import Profile
from helpers.datasets.drawn import folder, frames
from helpers.datasets.drawn.brushes import filled
from helpers.datasets.drawn.frame_cell import TRAITS, draw_cell
from helpers.datasets.drawn.frames import Recipe
from helpers.datasets.drawn.optics import Style
from tests.unit.redrawn import redrawn_frame

TINY = Profile("tiny", 48, 48, 12, 48, 1, 1, 8, 10)


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.bmp"))
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return frames.draw(tmp_path_factory.mktemp("phantoms"), TINY, seed=24)


@pytest.fixture
def remembered(drawn, monkeypatch):
    """Frames are those of `drawn` and not drawn again: what is tested is the folder."""

    def look_up(row):
        frame = cv2.imread(str(drawn / row.path))[:, :, ::-1]
        return SimpleNamespace(frame=np.ascontiguousarray(frame))

    monkeypatch.setattr(frames, "_arguments", lambda recipe, row: (row,))
    monkeypatch.setattr(frames, "draw_cell", look_up)


def test_the_plan_keeps_cnmcs_proportions():
    for profile, count, subjects in (("smoke", 160, 16), ("quick", 1200, 40), ("full", 6400, 60)):
        plan = frames.plan(frames.recipe_of(profile))
        assert len(plan) == count
        assert plan["image_id"].is_unique
        assert plan["path"].is_unique
        assert plan["subject"].nunique() == subjects
        assert (plan.groupby("subject")["label"].nunique() == 1).all()
        assert (plan.groupby("subject")["fold"].nunique() == 1).all()
        assert set(plan["fold"]) == {"fold_0", "fold_1", "fold_2"}
        assert plan.groupby("label")["subject"].nunique().min() >= 6
        assert abs((plan["label"] == "all").mean() - 7272 / 10661) < 0.01
        sizes = plan["subject"].value_counts()
        assert sizes.min() >= 2
        assert sizes.max() >= 5 * sizes.median() or profile == "smoke"


def test_two_subjects_of_one_class_in_two_folds_share_frames():
    for profile in ("smoke", "quick", "full"):
        plan = frames.plan(frames.recipe_of(profile)).set_index("image_id")
        copies = plan[plan["source"] != plan.index]
        sources = plan.loc[copies["source"]]
        assert len(copies) >= 2
        assert copies["subject"].nunique() == sources["subject"].nunique() == 1
        assert set(copies["subject"]) != set(sources["subject"])
        assert set(copies["label"]) == set(sources["label"])
        assert not set(copies["fold"]) & set(sources["fold"])
        assert (sources["source"] == sources.index).all()


@pytest.mark.slow
def test_files_are_bmp_files_as_in_cnmc(drawn):
    plan = frames.plan(frames.recipe_of(TINY))
    assert set(digests(drawn)) == set(plan["path"])
    for path in plan["path"][:6]:
        assert (drawn / path).stat().st_size == 608_454
        image = cv2.imread(str(drawn / path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (450, 450, 3)
        assert image.dtype == np.uint8


@pytest.mark.slow
def test_byte_identical_files_are_the_planned_ones(drawn):
    plan = frames.plan(frames.recipe_of(TINY))
    found = digests(drawn)
    assert len(set(found.values())) == plan["source"].nunique() < len(plan)


@pytest.mark.slow
def test_bytes_follow_from_the_seed_and_not_from_the_cores(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "cores", lambda: 1)
    assert digests(frames.draw(tmp_path / "one", TINY, seed=24)) == digests(drawn)
    recipe, other = frames.recipe_of(TINY, 24), frames.recipe_of(TINY, 25)
    first, second = (redrawn_frame(r, frames.plan(r)["image_id"][0]).frame for r in (recipe, other))
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_the_truth_belongs_to_the_file(drawn):
    plan = frames.plan(frames.recipe_of(TINY))
    for row in plan.iloc[::9].itertuples():
        known = frames.truth(drawn / row.path)
        image = cv2.imread(str(drawn / row.path))[:, :, ::-1]
        assert np.array_equal(known.frame, image)
        assert known.label == row.label
        assert np.array_equal(
            known.frame, redrawn_frame(frames.recipe_of(TINY, 24), row.image_id).frame
        )


@pytest.mark.slow
@pytest.mark.parametrize("label", ["all", "hem"])
def test_masks_lie_in_the_cut_out_and_do_not_overlap(label):
    for seed in range(12):
        cell = draw_cell(label, Style(), np.random.default_rng(seed))
        inside = cell.frame.max(axis=2) > 0
        assert cell.nucleus.dtype == cell.cytoplasm.dtype == bool
        assert not (cell.nucleus & cell.cytoplasm).any()
        assert not ((cell.nucleus | cell.cytoplasm) & ~inside).any()
        assert (cell.nucleus | cell.cytoplasm).sum() > 0.75 * inside.sum()
        ratio = cell.nucleus.sum() / (cell.nucleus.sum() + cell.cytoplasm.sum())
        assert cell.parameters["nucleus_to_cell"] == pytest.approx(ratio)
        assert 0.4 < ratio <= 1
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert abs((rows[0] + rows[-1]) / 2 - 224.5) <= 1
        assert abs((columns[0] + columns[-1]) / 2 - 224.5) <= 1
        assert rows[0] > 0
        assert columns[0] > 0


@pytest.mark.slow
def test_classes_differ_as_haematologists_say():
    def someone(number):
        """Return the style of one of many people, whose cells differ within a class."""
        own = np.random.default_rng([2, number]).standard_normal(len(TRAITS))
        return Style(traits={name: 0.6 * z for name, z in zip(TRAITS, own, strict=True)})

    cells = {
        label: [
            draw_cell(label, someone(s), np.random.default_rng([1, s])).parameters for s in people
        ]
        for label, people in (("all", range(40)), ("hem", range(40, 80)))
    }
    for name in ("radius", "nucleus_to_cell", "nucleoli", "openness"):
        blasts, normal = ([p[name] for p in cells[label]] for label in ("all", "hem"))
        assert np.mean(blasts) > np.mean(normal), name
        assert np.median(blasts) <= np.max(normal), name


def test_the_notes_of_the_course_beside_the_images_are_no_files_left_out(drawn, capsys):
    assert any(path.name.startswith(".") for path in drawn.iterdir())  # lock, checksum
    table = datasets.load("cnmc", drawn)
    assert len(table) == len(list(drawn.rglob("*.bmp")))
    assert "left out" not in capsys.readouterr().out


def test_a_finished_folder_is_left_as_it_is(drawn):
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*.bmp")}
    assert frames.draw(drawn, TINY, seed=24) == drawn
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*.bmp")} == before


def test_a_folder_names_its_recipe_and_the_code_of_the_module_that_draws(drawn):
    for name in ("phantoms.json", "phantoms_finished.json"):
        marker = json.loads((drawn / name).read_text())
        assert len(marker.pop("files", range(48))) == 48
        assert marker == {
            "phantoms": 48,
            "subjects": 12,
            "seed": 24,
            "code": folder.code.version("helpers.datasets.drawn.frames"),
        }


def test_two_at_once_are_safe(drawn, remembered, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: frames.draw(tmp_path, TINY, seed=24), range(2)))
    assert digests(tmp_path) == digests(drawn)


def test_a_stopped_drawing_is_completed(drawn, remembered, tmp_path, monkeypatch):
    write, count = frames._write, iter(range(100))

    def stop(*arguments):
        if next(count) == 10:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(frames, "_write", stop)
        patch.setattr(folder, "cores", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            frames.draw(tmp_path, TINY, seed=24)
    assert not (tmp_path / "phantoms_finished.json").exists()
    whole = sorted(tmp_path.rglob("*.bmp"))
    assert 1 < len(whole) < 48
    (whole[0].parent / ".UID_half.bmp").write_bytes(b"BM")
    whole[1].write_bytes(b"BM")
    assert digests(frames.draw(tmp_path, TINY, seed=24)) == digests(drawn)


@pytest.mark.slow
def test_processes_draw_the_same_and_a_killed_one_is_made_up_for(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "PROCESSES_FROM", 1)
    monkeypatch.setattr(folder, "cores", lambda: 2)
    here = os.getpid()

    def dying(where, recipe, row):
        if os.getpid() != here and any(where.rglob("UID_*.bmp")):
            os._exit(9)
        frames._write(where, recipe, row)

    for name, draw in (("whole", frames._write), ("killed", dying)):
        frames._SET.draw_once(tmp_path / name, frames.recipe_of(TINY, 24), draw)
        assert digests(tmp_path / name) == digests(drawn)


@pytest.mark.slow
def test_a_killed_process_leaves_no_half_drawn_file(tmp_path):
    code = (
        "import sys; from helpers.datasets.drawn import frames; frames.draw(sys.argv[1], 'smoke')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=os.getcwd())
    deadline = time.monotonic() + 30
    while not any(tmp_path.rglob("UID_*.bmp")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    files = list(tmp_path.rglob("UID_*.bmp"))
    assert files
    assert all(path.stat().st_size == frames.FRAME_BYTES for path in files)
    assert not (tmp_path / "phantoms_finished.json").exists()


@pytest.mark.slow
def test_frames_of_an_older_version_are_drawn_anew(drawn, remembered, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(folder.code, "version", lambda *_: "older")
        frames.draw(tmp_path, TINY, seed=24)
    first = min(tmp_path.rglob("*.bmp"))
    first.write_bytes(first.read_bytes()[::-1])
    with pytest.raises(DatasetError, match="another version"):
        frames.truth(first)
    assert digests(frames.draw(tmp_path, TINY, seed=24)) == digests(drawn)


def test_a_folder_half_redrawn_is_finished_for_no_version(remembered, tmp_path, monkeypatch):
    def draw_as(version):
        with monkeypatch.context() as patch:
            patch.setattr(folder.code, "version", lambda *_: version)
            frames.draw(tmp_path, TINY, seed=24)

    def interrupted(*_):
        raise KeyboardInterrupt

    draw_as("older")
    before = set(tmp_path.rglob("*.bmp"))
    with monkeypatch.context() as patch:
        patch.setattr(frames, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            draw_as("newer")
    assert not list(tmp_path.rglob("*.bmp"))
    draw_as("older")  # the code was changed back: the old marker must not count
    assert set(tmp_path.rglob("*.bmp")) == before


def test_what_is_not_ours_is_left_alone(drawn, tmp_path):
    kept = tmp_path / "C-NMC_Leukemia" / "real.bmp"
    kept.parent.mkdir()
    kept.write_bytes(b"BM")
    with pytest.raises(DatasetError, match=r"did not draw, such as real\.bmp"):
        frames.draw(tmp_path, TINY)
    assert kept.read_bytes() == b"BM"
    with pytest.raises(DatasetError, match="other phantoms"):
        frames.draw(drawn, TINY, seed=25)
    with pytest.raises(DatasetError, match="No phantom is called"):
        frames.truth(drawn / "UID_0_0_0_all.bmp")
    with pytest.raises(DatasetError, match="is no phantom"):
        frames.truth(kept)
    with pytest.raises(DatasetError, match="cannot be drawn"):
        frames.plan(Recipe(20, 8, 24))
    with pytest.raises(ValueError, match="'all' or 'hem'"):
        draw_cell("mm", Style(), np.random.default_rng(0))


def test_a_filled_polygon_has_its_area():
    square = np.array([[10, 10], [30, 10], [30, 40], [10, 40]], float)
    assert filled(square, 64).sum() == pytest.approx(21 * 31, rel=0.05)


def test_benchmark_of_drawing(benchmark, tmp_path):
    if benchmark.disabled:
        pytest.skip("measured with --benchmark-enable")
    profile = Profile("timed", 64, 64, 16, 48, 1, 1, 8, 10)
    folders = (tmp_path / str(number) for number in range(100))
    benchmark.pedantic(lambda: frames.draw(next(folders), profile), rounds=3, warmup_rounds=1)
    assert 64 / benchmark.stats.stats.min >= 60
