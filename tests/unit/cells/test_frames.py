"""A chapter on frames gets those of its data set, or drawn ones where there are only fields."""

import numpy as np
import pandas as pd
from PIL import Image

from helpers import datasets
from helpers.cells.frames import load_frames


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
