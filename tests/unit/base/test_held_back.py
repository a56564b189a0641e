"""Silence when libraries start, and only that."""

from __future__ import annotations

import os
import re
import tempfile

import pytest

from helpers.base import runtime


def test_known_lines_are_dropped_and_others_passed_on(capfd):
    with runtime.held_back(re.compile(rb"chatter")):
        os.write(2, b"chatter 1\nsomething else\nchatter 2\n")
    assert capfd.readouterr().err == "something else\n"


def test_after_an_error_every_line_is_passed_on(capfd):
    def fail():
        os.write(2, b"chatter\n")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), runtime.held_back(re.compile(rb"chatter")):
        fail()
    assert capfd.readouterr().err == "chatter\n"


def test_without_a_folder_for_temporary_files_nothing_is_held_back(capfd, monkeypatch):
    def full():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with runtime.held_back(re.compile(rb"chatter")):
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == "chatter\n"
