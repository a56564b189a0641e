"""The picture on the README is drawn from a run, and says what it shows."""

import importlib.util

import pytest

from tests.conftest import ROOT

spec = importlib.util.spec_from_file_location("cover", ROOT / "book" / "cover.py")
cover = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cover)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_artifacts(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "cover-artifacts"
    monkeypatch.setenv("COURSE_ARTIFACTS", str(folder))


def test_accuracies_are_computed_for_both_ways_to_split_and_come_out_the_same():
    found = cover.accuracies("smoke", splits=2)
    assert found["way"].value_counts().to_dict() == dict.fromkeys(cover.WAYS, 2)
    assert ((found["low"] <= found["accuracy"]) & (found["accuracy"] <= found["high"])).all()
    assert found.equals(cover.accuracies("smoke", splits=2))


def test_picture_is_small_and_wide(tmp_path):
    import cv2

    path = cover.draw(tmp_path / "cover.png", profile="smoke")
    height, width = cv2.imread(str(path)).shape[:2]
    assert 2.5 < width / height < 4
    assert path.stat().st_size < 300_000
