"""How many cells are segmented and measured a second. Run with ``--benchmark-enable``."""

import pytest
from PIL import Image

from helpers import catalog
from helpers.cells import features, segmentation
from helpers.datasets.drawn import frames as phantom
from tests.unit.redrawn import redrawn_frame

CELLS = 160


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A catalog of phantoms as files."""
    folder = tmp_path_factory.mktemp("cells")
    recipe = phantom.recipe_of("smoke")
    rows = []
    for name in phantom.plan(recipe)["image_id"][:CELLS:4]:
        path = folder / f"{name}.bmp"
        Image.fromarray(redrawn_frame(recipe, name).frame).save(path)
        rows += [{"image_id": f"{name}_{i}", "path": path, "label": "all"} for i in range(4)]
    return catalog.make(rows)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.slow
def test_read_segment_and_measure(benchmark, cells, workers):
    benchmark.extra_info["cells"] = len(cells)
    found = benchmark(features._build, cells, "cell", workers)
    assert (found["problem"] == "").all()


@pytest.mark.parametrize("step", ["segment", "measure"])
def test_one_cell(benchmark, step):
    recipe = phantom.recipe_of("smoke")
    image = redrawn_frame(recipe, phantom.plan(recipe)["image_id"][0]).frame
    parts = segmentation.segment_cell(image)
    if step == "segment":
        benchmark(segmentation.segment_cell, image)
    else:
        benchmark(features.measure, image, parts.nucleus, parts.cytoplasm)
