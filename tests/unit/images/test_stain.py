"""Stain normalisation: against torchstain itself, and against what each method promises."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import ImageError
from helpers.datasets.drawn import frames as drawn_frames
from helpers.datasets.drawn import leukocytes
from helpers.images import stain
from tests.conftest import ROOT, SHARED
from tests.unit.redrawn import redrawn_frame

RECIPE = drawn_frames.Recipe(60, 12, 24)
FRAMES = sorted((SHARED / "cnmc").rglob("*.bmp"))


@pytest.fixture(scope="module")
def frames():
    """Return two frames each of six subjects, and the subjects."""
    plan = drawn_frames.plan(RECIPE)
    plan = plan[plan["source"] == plan["image_id"]].groupby("subject").head(2)[:12]
    images = [redrawn_frame(RECIPE, name).frame[::2, ::2] for name in plan["image_id"]]
    return images, plan["subject"].to_numpy()


def lit(images):
    """Return where each image is not black."""
    return [image.any(axis=2) for image in images]


def fitted(images, method="reinhard"):
    return stain.Normaliser(method).fit(images, lit(images))


def transformed(normaliser, image):
    return normaliser.transform(image, image.any(axis=2))


def lab(image, mask=None):
    """Return L*, a*, b* of the cell pixels by scikit-image: the reference implementation."""
    from skimage.color import rgb2lab

    cell = image.any(axis=2) if mask is None else mask
    return rgb2lab(image[cell][:, None])[:, 0]


def spread(images, subjects):
    """Return the standard deviation over subjects of their mean L*, a*, b*."""
    means = np.array([lab(image).mean(axis=0) for image in images])
    return np.array([means[subjects == name].mean(axis=0) for name in np.unique(subjects)]).std(0)


@pytest.mark.parametrize("method", stain.METHODS)
def test_the_reference_itself_hardly_changes(frames, method):
    image = frames[0][0]
    result = transformed(fitted([image], method), image)
    cell = image.any(axis=2)
    error = np.abs(result.astype(int) - image)[cell]
    # Macenko keeps two dyes; what of a colour is neither of them is lost.
    assert error.mean() < {"reinhard": 0.6, "macenko": 4}[method]
    assert result.dtype == np.uint8


@pytest.mark.parametrize("method", stain.METHODS)
def test_black_ground_stays_black_and_the_cell_does_not_become_ground(frames, method):
    images, _ = frames
    normaliser = fitted(images[:3], method)
    for image in images:
        before = image.copy()
        result = transformed(normaliser, image)
        assert np.array_equal(result.any(axis=2), image.any(axis=2))
        assert np.array_equal(image, before)


def test_reinhard_gives_every_cell_the_means_and_deviations_of_the_reference(frames):
    images, _ = frames
    normaliser = fitted(images[:4])
    for image in images[4:]:
        found = lab(transformed(normaliser, image))
        assert np.allclose(found.mean(axis=0), normaliser.reference_["means"], atol=0.8)
        assert np.allclose(found.std(axis=0), normaliser.reference_["deviations"], atol=0.8)


def test_several_references_count_as_the_mean_of_each(frames):
    images, _ = frames
    found = fitted(images[:4]).reference_
    each = [lab(image) for image in images[:4]]
    assert np.allclose(found["means"], np.mean([one.mean(0) for one in each], axis=0), atol=0.02)
    assert np.allclose(found["deviations"], np.mean([one.std(0) for one in each], 0), atol=0.02)


@pytest.mark.parametrize("method", stain.METHODS)
def test_a_marked_test_image_leaves_no_trace_in_what_was_fitted(frames, method):
    images, _ = frames
    normaliser = fitted(images[:2], method)
    before = {name: values.copy() for name, values in normaliser.reference_.items()}
    plain = transformed(normaliser, images[3])
    marked = images[2].copy()
    marked[marked.any(axis=2)] //= 3
    marked[marked.any(axis=2) & (np.indices(marked.shape[:2])[0] % 7 == 0)] = (250, 20, 20)
    transformed(normaliser, marked)
    for name, values in normaliser.reference_.items():
        assert np.array_equal(values, before[name])
    assert np.array_equal(transformed(normaliser, images[3]), plain)


def test_it_is_torchstain_on_the_cell_pixels(frames):
    from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

    images, _ = frames
    # Fewer pixels than Macenko's sample, so that all are used.
    one, other = images[0][::2, ::2], images[5][::2, ::2]
    for method, theirs in (
        ("reinhard", NumpyReinhardNormalizer()),
        ("macenko", NumpyMacenkoNormalizer()),
    ):
        pixels = [image[image.any(axis=2)][:, None] for image in (one, other)]
        theirs.fit(pixels[0])
        wanted = theirs.normalize(pixels[1])
        wanted = (wanted[0] if method == "macenko" else wanted)[:, 0].astype(int)
        result = transformed(fitted([one], method), other)
        found = result[other.any(axis=2)].astype(int)
        # float32 against float64 may fall on two sides of a whole number
        assert np.abs(found - wanted).max() <= 1
        assert (found != wanted).mean() < 0.01


def test_a_mask_is_the_only_thing_that_changes_on_bright_ground():
    cells = leukocytes.make(2, 2, seed=3, kinds=["lymphocyte"])
    masks = cells.nuclei | cells.cytoplasms
    normaliser = stain.Normaliser().fit(cells.images[:1], masks[:1])
    result = normaliser.transform(cells.images[1], masks[1])
    assert np.array_equal(result[~masks[1]], cells.images[1][~masks[1]])
    found = lab(result, masks[1])
    assert np.allclose(found.mean(axis=0), normaliser.reference_["means"], atol=0.8)


def test_differences_between_subjects_shrink_on_phantoms(frames):
    images, subjects = frames
    normaliser = fitted(images[:2])
    after = [transformed(normaliser, image) for image in images]
    assert (spread(after, subjects) < 0.25 * spread(images, subjects)).all()


@pytest.mark.realdata
@pytest.mark.skipif(not FRAMES, reason="no ../shared/data/cnmc")
def test_differences_between_subjects_shrink_on_real_frames():
    from helpers.images import loading as files

    frames = [files.read_image(path)[::2, ::2] for path in FRAMES[::3]]
    subjects = np.array([path.stem.split("_")[1] for path in FRAMES[::3]])
    normaliser = fitted(frames[:3])
    after = [transformed(normaliser, frame) for frame in frames]
    assert (spread(after, subjects) < 0.25 * spread(frames, subjects)).all()


def test_one_map_for_a_slide_keeps_what_differs_between_its_cells(frames):
    images, _ = frames
    slide = images[:3]
    normaliser = fitted(images[6:7])
    together = normaliser.transform_together(slide, lit(slide))
    pixels = np.concatenate([lab(image) for image in together])
    assert np.allclose(pixels.mean(axis=0), normaliser.reference_["means"], atol=0.8)
    alone = np.ptp([lab(transformed(normaliser, image)).mean(axis=0) for image in slide], axis=0)
    kept = np.ptp([lab(image).mean(axis=0) for image in together], axis=0)
    assert (kept > 3 * alone).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(stain.METHODS))
def test_any_coloured_cell_gives_a_sound_image(seed, method):
    rng = np.random.default_rng(seed)
    image = np.zeros((24, 24, 3), np.uint8)
    middle = rng.uniform(30, 200, 3)
    own = middle + rng.normal(0, rng.uniform(5, 40), (16, 16, 3))
    image[4:20, 4:20] = own.clip(1, 255)
    reference = np.zeros_like(image)
    reference[4:20, 4:20] = rng.integers(1, 200, (16, 16, 3))
    result = transformed(fitted([reference], method), image)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert np.array_equal(result.any(axis=2), image.any(axis=2))


def test_bad_input_is_told_in_one_sentence(frames):
    image = frames[0][0]
    with pytest.raises(ImageError, match="must be one of reinhard, macenko"):
        stain.Normaliser("vahadane")
    with pytest.raises(ImageError, match="call fit"):
        transformed(stain.Normaliser(), image)
    with pytest.raises(ImageError, match="Only 0 pixels"):
        fitted(np.zeros((1, 20, 20, 3), np.uint8))
    with pytest.raises(ImageError, match="uint8"):
        fitted([image.astype(float)])
    with pytest.raises(ImageError, match="The mask has shape"):
        stain.Normaliser().fit([image], [np.ones((3, 3), bool)])
    with pytest.raises(ImageError, match="2 images and 1 masks"):
        stain.Normaliser().fit([image, image], [image.any(axis=2)])
    with pytest.raises(ImageError, match="no images"):
        stain.Normaliser().fit([], [])
    flat = np.zeros((30, 30, 3), np.uint8)
    flat[5:25, 5:25] = (100, 60, 120)
    for method, sentence in (("reinhard", "no spread"), ("macenko", "Two dyes cannot")):
        with pytest.raises(ImageError, match=sentence):
            fitted([flat], method)
    glass = np.where(flat > 0, 240, 0).astype(np.uint8)
    with pytest.raises(ImageError, match="took up dye"):
        fitted([glass], "macenko")


@pytest.mark.slow
def test_neither_torch_nor_tensorflow_is_imported():
    code = (
        "import sys, numpy as np\nfrom helpers.images import stain\n"
        "assert 'torchstain' not in sys.modules\n"
        "image = np.zeros((20, 20, 3), np.uint8)\n"
        "image[2:18, 2:18] = np.random.default_rng(1).integers(1, 200, (16, 16, 3))\n"
        "mask = image.any(axis=2)\n"
        "for method in stain.METHODS:\n"
        "    stain.Normaliser(method).fit([image], [mask]).transform(image, mask)\n"
        "print([name for name in ('torch', 'tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("method", stain.METHODS)
def test_speed(benchmark, method):
    frame = redrawn_frame(RECIPE, drawn_frames.plan(RECIPE)["image_id"][0]).frame
    normaliser = fitted([frame], method)
    benchmark(normaliser.transform, frame, frame.any(axis=2))
