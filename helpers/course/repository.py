"""The address of the course's repository, in every file that names it.

``[project.urls] Repository`` in ``pyproject.toml`` decides. The same address is in
the chapters' set-up cells, the book's launch buttons, the README and the citation
file, which are read without ``pyproject.toml`` (on Colab, on a phone);
:func:`set_repository` changes all of them together.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from helpers.base.errors import RunError
from helpers.base.files import FileError, write_text
from helpers.course import colab
from helpers.course.project import find, toc_files

#: Stands for the address until it is set. Nothing published links to it.
PLACEHOLDER = "https://github.com/OWNER/REPOSITORY"

_HOST = "https://github.com/"
# Files that may contain the address, as patterns from the root.
_FILES = (
    "pyproject.toml",
    "_config.yml",
    "README.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "book/*.md",
)
# The line of the README with the button for Colab.
_README = re.compile(r"(?m)^<!-- colab -->.*$")


def url(root: str | Path | None = None) -> str:
    """Return the repository's address from ``pyproject.toml``.

    Parameters
    ----------
    root : path-like, optional
        The clone; by default the one around the working directory.

    Raises
    ------
    RunError
        When ``pyproject.toml`` has none, or cannot be read.
    """
    path = find(root).root / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    except (OSError, KeyError, TypeError) as error:
        raise RunError(f"{path} has no Repository under [project.urls].") from error
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({error}): correct it.") from error


def places(address: str, config: dict) -> colab.Places:
    """Return where the links of chapters lead.

    Parameters
    ----------
    address : str
        The repository's address.
    config : dict
        The content of ``_config.yml``. Where its ``html.baseurl`` names no other place, the
        book is on the repository's GitHub Pages.
    """
    if address == PLACEHOLDER:
        return colab.Places()
    owner, name = address.removeprefix(_HOST).split("/")
    book = (config.get("html") or {}).get("baseurl") or f"https://{owner.lower()}.github.io/{name}/"
    branch = (config.get("repository") or {}).get("branch", "main")
    return colab.Places(address, branch, book.rstrip("/") + "/")


def places_of(root: Path) -> colab.Places:
    """Return where the links of a clone's chapters lead."""
    config = root / "_config.yml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    return places(url(root), config_of(text))


def config_of(text: str) -> dict:
    """Return what ``_config.yml`` says; raise RunError where it is not a file of settings."""
    import yaml

    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"_config.yml cannot be read ({reason}): correct it.") from error
    if not isinstance(values, dict):
        raise RunError(f"_config.yml must hold settings, but holds {values!r}: correct it.")
    return values


def set_repository(address: str, root: str | Path | None = None) -> list[Path]:
    """Replace the current address by `address` in every file; return the files that changed.

    The chapters get what Colab needs (:mod:`helpers.course.colab`), also when the address stays.

    Parameters
    ----------
    address : str
        As the browser shows it: ``https://github.com/owner/name``; a slash or
        ``.git`` at the end is ignored.
    root : path-like, optional
        As in :func:`url`.

    Raises
    ------
    RunError
        When it is not the address of a GitHub repository (Colab opens notebooks
        from there), ``pyproject.toml`` has no address yet, or a file cannot be read or written.
    """
    plain = address.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(rf"{re.escape(_HOST)}[A-Za-z0-9-]+/[A-Za-z0-9._-]+", plain):
        raise RunError(
            f"{address!r} is not the address of a GitHub repository; "
            f"it looks like {_HOST}owner/name."
        )
    folder = find(root).root
    names = toc_files(folder / "_toc.yml")
    listed = [folder / f"{name.removesuffix('.ipynb')}.ipynb" for name in names]
    notebooks = sorted(folder.glob("notebooks/*.ipynb"))
    chapters = [path for path in listed if path in notebooks]
    alone = [[path] for path in notebooks if path not in chapters]  # no page leads on to them
    leads = places(plain, {})
    old_name = url(folder).removeprefix(_HOST)
    new_name = plain.removeprefix(_HOST)
    # "github.com/o/n" in an address, "colab.research.google.com/github/o/n" in a launch link.
    pattern = re.compile(rf"(github(?:\.com)?/){re.escape(old_name)}(?![\w-]|\.(?!git\b)\w)")
    changed = {}
    for name in _FILES:
        for path in sorted(folder.glob(name)):
            try:
                old = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise RunError(
                    f"{path} cannot be read: {error}; the address was not set."
                ) from error
            new = pattern.sub(lambda match: match[1] + new_name, old)
            if name == "_config.yml":
                leads = places(plain, config_of(new))
            if name == "README.md":
                button = (
                    f" {leads.badge(chapters[0].stem)}" if leads.repository and chapters else ""
                )
                new = _README.sub(f"<!-- colab -->{button}", new)
            if new != old:
                changed[path] = new
    for group in (chapters, *alone):
        for path, notebook, new in colab.dressed(group, leads):
            before, text = (json.dumps(n, indent=1, ensure_ascii=False) for n in (notebook, new))
            text = pattern.sub(lambda match: match[1] + new_name, text)
            if text != before:
                changed[path] = text + "\n"
    # pyproject.toml last: after an interruption, it still has the old address to replace.
    for path in sorted(changed, key=lambda p: p.name == "pyproject.toml"):
        try:
            write_text(path, changed[path])
        except FileError as error:
            reason = getattr(error.__cause__, "strerror", None) or str(error)
            raise RunError(
                f"{path} cannot be written ({reason}): the address is not set everywhere yet; let "
                "that file be written, then run the same command again."
            ) from error
    return list(changed)
