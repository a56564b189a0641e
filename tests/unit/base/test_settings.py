"""Settings stop a chapter before Keras does: channels first in the user's keras.json."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from helpers.base import settings


@pytest.fixture
def file(monkeypatch, tmp_path):
    """Return the keras.json of a process that has not imported Keras."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    return tmp_path / "keras.json"


def test_channels_first_is_refused_with_the_file_and_what_to_write(file):
    file.write_text(json.dumps({"image_data_format": "channels_first"}))
    with pytest.raises(settings.SettingsError) as refused:
        settings.read()
    assert str(file) in str(refused.value)
    assert "'channels_first'" in str(refused.value)
    assert 'write "channels_last"' in str(refused.value)
    assert "keras" not in sys.modules


def test_the_file_in_the_home_folder_is_read_where_no_other_is_named(file, monkeypatch):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(settings.os.path, "expanduser", lambda path: str(path).replace("~", "HOME"))
    assert settings._keras_json().as_posix() == "HOME/.keras/keras.json"


@pytest.mark.parametrize(
    "text", ['{"image_data_format": "channels_last"}', "{}", "[]", "not JSON", None]
)
def test_any_other_file_is_left_to_keras(file, text):
    if text is not None:
        file.write_text(text)
    assert settings.read().dataset == "phantom"


@pytest.mark.parametrize(("found", "refused"), [("channels_last", False), ("channels_first", True)])
def test_what_the_running_keras_says_counts_more_than_the_file(file, monkeypatch, found, refused):
    other = {"channels_last": "channels_first", "channels_first": "channels_last"}[found]
    file.write_text(json.dumps({"image_data_format": other}))
    config = SimpleNamespace(image_data_format=lambda: found)
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(config=config))
    if refused:
        with pytest.raises(settings.SettingsError, match="channels_first"):
            settings.read()
    else:
        settings.read()
