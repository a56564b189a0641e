"""A chapter on frames gets those of its data set, or drawn ones where there are only fields."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import datasets
from helpers.cells.frames import load_frames, show_fields
from helpers.datasets.drawn import fields


def test_drawn_frames_are_given_where_the_images_are_fields(tmp_path, monkeypatch, capsys):
    drawn = pd.DataFrame({"path": ["drawn"]})
    monkeypatch.setattr(datasets, "load", lambda *_: drawn)
    frame = np.zeros((90, 90, 3), np.uint8)
    frame[30:60, 30:60] = 150
    catalogs = {}
    for name, image in (("frame", frame), ("field", np.full_like(frame, 200))):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
        catalogs[name] = pd.DataFrame({"path": [str(tmp_path / f"{name}.png")]})
    assert load_frames(catalogs["frame"]) is catalogs["frame"]
    assert "frames: one cell on black ground" in capsys.readouterr().out
    assert load_frames(catalogs["field"]) is drawn
    assert "drawn cells are shown instead" in capsys.readouterr().out


@pytest.mark.slow
def test_a_field_of_many_cells_is_told_from_one_large_cell(tmp_path):
    field, _ = fields.example()
    frame = np.zeros((90, 90, 3), np.uint8)
    frame[30:60, 30:60] = 150
    y, x = np.mgrid[-64:64, -64:64]
    crop = np.full((128, 128, 3), (225, 210, 215), np.uint8)  # one cell on bright ground
    crop[np.hypot(x, y) < 45] = (190, 170, 210)
    crop[np.hypot(x, y) < 32] = (95, 40, 130)
    for name, image, expected in (("field", field, True), ("frame", frame, False),
                                  ("crop", crop, False)):  # fmt: skip
        Image.fromarray(image).save(tmp_path / f"{name}.png")
        catalog = pd.DataFrame({"path": [str(tmp_path / f"{name}.png")] * 7})
        assert show_fields(catalog) is expected, name
