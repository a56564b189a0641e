"""Each command that writes says in one sentence where it cannot."""

import os
import sys

import pytest

from helpers.course import cli
from tests import minicourse

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")

COMMANDS = (
    *(f"{name} --root ROOT --build PLACE" for name in ("run", "book", "verify", "pdf", "clean")),
    "run --grid --recipes scratch --root ROOT --build PLACE",
    "student --root ROOT --out PLACE",
    "grade ROOT/notebooks/01_lines.ipynb --root ROOT --out PLACE",
    "data phantom --profile smoke --out PLACE",
    "data phantom_fields --profile smoke --out PLACE",
    "data cnmc --out PLACE",
    "data verify COPY --out PLACE",
    "app --data PLACE --port 0",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return minicourse.make(tmp_path_factory.mktemp("places") / "course")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/proc/new", "/proc/new/deep", "FILE/new"])
@pytest.mark.parametrize("command", COMMANDS)
def test_place_where_nothing_can_be_made_is_told(
    command, place, root, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "UID_11_10_1_all.bmp").write_bytes(b"x")
    place = place.replace("FILE", str(tmp_path / "file"))
    words = command.replace("ROOT", str(root)).replace("COPY", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["course", *words.replace("PLACE", place).split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err.strip()
    assert ended.value.code == 2
    assert str(tmp_path / "file") in told or "/proc/new" in told
    assert len(told.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "kept"


def test_course_that_cannot_be_written_to_is_told(root, tmp_path, monkeypatch, capsys):
    """A lock cannot be made directly in /proc: no command waits there for ever."""
    monkeypatch.setattr(sys, "argv", ["course", "run", "--root", str(root), "--build", "/proc"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.startswith("/proc/.lock cannot be written")
