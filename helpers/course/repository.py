"""Where the course's repository lives: said once, set everywhere.

``[project.urls] Repository`` in ``pyproject.toml`` is the truth. The same
address stands in the chapters' set-up cells, the book's launch buttons, the
README and the citation file, because those are read where ``pyproject.toml``
is not (on Colab, on a phone); :func:`set_repository` keeps them the same.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from helpers.base.errors import CourseError
from helpers.base.files import write_text
from helpers.course.project import find

#: The address before the course has one. Nothing published links to it.
PLACEHOLDER = "https://github.com/OWNER/REPOSITORY"

_HOST = "https://github.com/"
# Files that may carry the address, as patterns from the root.
_PLACES = (
    "pyproject.toml",
    "_config.yml",
    "README.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "book/*.md",
    "notebooks/*.ipynb",
)


class RepositoryError(CourseError, ValueError):
    """An address that is none of a GitHub repository, or a clone that does not say its own."""


def url(root: str | Path | None = None) -> str:
    """Return the repository's address as ``pyproject.toml`` says it.

    Parameters
    ----------
    root : path-like, optional
        The clone; by default the one around the working directory.

    Raises
    ------
    RepositoryError
        When ``pyproject.toml`` does not say it.
    """
    path = _root(root) / "pyproject.toml"
    try:
        urls = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["urls"]
        return urls["Repository"]
    except (OSError, KeyError) as error:
        raise RepositoryError(f"{path} has no Repository under [project.urls].") from error


def is_placeholder(address: str) -> bool:
    """Return whether `address` is the one that stands in until the course has its own."""
    return address == PLACEHOLDER


def set_repository(address: str, root: str | Path | None = None) -> list[Path]:
    """Put `address` in place of the present one everywhere; return the files that changed.

    Parameters
    ----------
    address : str
        As the browser shows it: ``https://github.com/owner/name``; a trailing
        slash or ``.git`` is left out.
    root : path-like, optional
        The clone; by default the one around the working directory.

    Raises
    ------
    RepositoryError
        When it is not the address of a GitHub repository (Colab opens notebooks
        from there), or ``pyproject.toml`` does not say the present one.
    """
    new = _normal(address)
    folder = _root(root)
    old_name = url(folder).removeprefix(_HOST)
    new_name = new.removeprefix(_HOST)
    # "github.com/o/n" in an address, "colab.research.google.com/github/o/n" in a launch link.
    pattern = re.compile(rf"(github(?:\.com)?/){re.escape(old_name)}(?![\w-]|\.(?!git\b)\w)")
    changed = {}
    for place in _PLACES:
        for path in sorted(folder.glob(place)):
            text = path.read_text(encoding="utf-8")
            put = pattern.sub(lambda found: found[1] + new_name, text)
            if put != text:
                changed[path] = put
    # The truth last: a run that is stopped before can be started again.
    for path in sorted(changed, key=lambda p: p.name == "pyproject.toml"):
        write_text(path, changed[path])
    return list(changed)


def _normal(address: str) -> str:
    plain = address.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(rf"{re.escape(_HOST)}[A-Za-z0-9-]+/[A-Za-z0-9._-]+", plain):
        raise RepositoryError(
            f"{address!r} is not the address of a GitHub repository; "
            f"it looks like {_HOST}owner/name."
        )
    return plain


def _root(root: str | Path | None) -> Path:
    return find(root).root
