"""The fields of chapters 12 and 22: SN-AM's own where it is given, otherwise drawn, and said so."""

from pathlib import Path

import pytest

from helpers.base import settings
from helpers.studies import marrow


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path))

    def make(dataset, folder=None):
        return settings.Settings(dataset, settings.PROFILES["smoke"], 24, folder, tmp_path)

    return make


@pytest.mark.slow
def test_fields_are_drawn_once_and_another_data_set_is_told(given, capsys):
    drawn = marrow.fields(given("phantom"))
    assert "PHANTOM FIELDS" not in capsys.readouterr().out
    other = marrow.fields(given("cnmc"))
    assert "cnmc has no plasma cells" in capsys.readouterr().out
    assert other.equals(drawn)
    # SN-AM's own folder is read where it stands.
    folder = Path(drawn["path"].iloc[0]).parent
    own = marrow.fields(given("snam", folder))
    assert set(own["path"]) == set(drawn["path"])
    assert "PHANTOM FIELDS" not in capsys.readouterr().out
    # Two laboratories are always drawn, and say nothing a second time.
    two = marrow.fields(given("snam", folder), two_laboratories=True)
    assert capsys.readouterr().out == ""
    assert not set(two["path"]) & set(own["path"])
