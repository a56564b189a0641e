"""The folders of a clone: its root, its chapters in their order, its build folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from helpers.base import settings
from helpers.base.errors import RunError


@dataclass(frozen=True)
class Chapter:
    """One notebook of the course.

    Attributes
    ----------
    name : str
        File name without ending: ``05_custom_cnn``.
    path : pathlib.Path
        The notebook as its author wrote it, without outputs.
    """

    name: str
    path: Path

    @property
    def number(self) -> str:
        """The two digits in front, ``06``."""
        return self.name[:2]


@dataclass(frozen=True)
class Parameters:
    """The parameters of a run, which every chapter gets."""

    dataset: str = "phantom"
    profile: str = "quick"
    seed: int = settings.DEFAULT_SEED
    data_dir: str = ""
    positive: str = ""

    @property
    def key(self) -> str:
        """Name of the run's folder: ``phantom-quick-24``."""
        return f"{self.dataset}-{self.profile}-{self.seed}"

    def injected(self) -> dict[str, str | int]:
        """Return the values by the names they have in a chapter's parameters cell."""
        return {
            "DATASET": self.dataset,
            "PROFILE": self.profile,
            "SEED": self.seed,
            "DATA_DIR": self.data_dir,
            "POSITIVE": self.positive,
        }


def parameters(
    dataset: str = "phantom",
    profile: str = "quick",
    seed: int = settings.DEFAULT_SEED,
    data_dir: str | os.PathLike | None = None,
    positive: str = "",
) -> Parameters:
    """Check the parameters once, before any kernel starts, and return them.

    Raises
    ------
    helpers.base.settings.SettingsError
        When one of them is unknown, or a real data set comes without its folder.
    DatasetError
        When the folder does not hold the data set, or no class of it has the name `positive`.
    """
    checked = settings.read(dataset, profile, seed, data_dir, positive)
    if checked.data_dir is None and dataset != "phantom":
        raise settings.SettingsError(
            f"The data set {dataset!r} needs DATA_DIR, the folder with its files."
        )
    folder = "" if checked.data_dir is None else str(checked.data_dir)
    if folder:
        from helpers import datasets  # imports pandas

        datasets.load_with_report(checked)  # as the chapters do
    return Parameters(dataset, profile, seed, folder, positive)


@dataclass(frozen=True)
class Project:
    """A clone of the course.

    Parameters
    ----------
    root : pathlib.Path
        The folder with ``_toc.yml``.
    build : pathlib.Path
        Where executed copies and the book go.
    """

    root: Path
    build: Path

    @cached_property
    def chapters(self) -> tuple[Chapter, ...]:
        """The chapters in the order of ``_toc.yml``."""
        chapters = []
        for name in toc_files(self.root / "_toc.yml"):
            if not name.startswith("notebooks/"):
                continue
            path = self.root / f"{name.removesuffix('.ipynb')}.ipynb"
            if not path.is_file():
                raise RunError(f"_toc.yml names {name}, but there is no file {path}.")
            if not re.match(r"\d\d_", path.name):
                raise RunError(f"The file name of the chapter {path} must begin like 06_.")
            chapters.append(Chapter(path.stem, path))
        if not chapters:
            raise RunError(f"{self.root / '_toc.yml'} names no chapter under notebooks/.")
        return tuple(chapters)

    def select(self, words: list[str] | tuple[str, ...] = ()) -> tuple[Chapter, ...]:
        """Return the chapters given by number, name or a part of the name; all without words.

        Raises
        ------
        RunError
            When a word matches no chapter, or more than one.
        """
        chosen = set()
        for word in words:
            plain = Path(word).name.removesuffix(".ipynb")
            exact = [c for c in self.chapters if plain in (c.name, c.number, c.number.lstrip("0"))]
            fits = exact or [c for c in self.chapters if plain and plain in c.name]
            if len(fits) != 1:
                names = ", ".join(c.name for c in fits or self.chapters)
                what = "matches more than one chapter" if fits else "matches no chapter"
                raise RunError(f"{word!r} {what}: {names}.")
            chosen.add(fits[0].name)
        return tuple(c for c in self.chapters if not words or c.name in chosen)

    def executed(self, run: Parameters) -> Path:
        """Return the folder of a run's executed copies and records."""
        return self.build / "executed" / run.key

    @property
    def artifacts(self) -> Path:
        """The folder of cached results: ``$COURSE_ARTIFACTS``, else ``artifacts`` in the clone."""
        given = os.environ.get("COURSE_ARTIFACTS")
        return Path(given).expanduser().resolve() if given else self.root / "artifacts"

    @property
    def html(self) -> Path:
        """The published book."""
        return self.build / "html"

    @property
    def lock(self) -> Path:
        """The file with every pinned version."""
        return self.root / "requirements.lock"

    @cached_property
    def helpers(self) -> Path:
        """The folder of the helpers that chapters import: the clone's, else the installed one."""
        own = self.root / "helpers"
        return own if own.is_dir() else Path(settings.__file__).parents[1]


def find(root: str | os.PathLike | None = None, build: str | os.PathLike | None = None) -> Project:
    """Return the clone at `root`, else around the working directory, else of this package.

    Raises
    ------
    RunError
        When no ``_toc.yml`` is there: an installed package alone has no chapters; or when
        the book would be built over the clone's own files.
    """
    beside = Path(settings.__file__).resolve().parents[2]
    folder = Path(root).resolve() if root else settings.course_root() or beside
    if not (folder / "_toc.yml").is_file():
        raise RunError(
            f"{folder} is not a clone of the course (it has no _toc.yml): "
            "change into the clone and try again."
        )
    target = folder / "_build" if build is None else Path(build).resolve()
    own = [folder / part for part in ("book", "helpers", "notebooks", "tests")]
    if folder.is_relative_to(target) or any(target.is_relative_to(part) for part in own):
        raise RunError(
            f"--build is {str(build)!r}, which stands for {target}, where the course's own files "
            "are: name another folder, or leave it out for _build."
        )
    return Project(folder, target)


def read_toc(path: Path) -> dict:
    """Return what a Jupyter Book table of contents says.

    Raises
    ------
    RunError
        When it cannot be read as one.
    """
    import yaml

    try:
        toc = yaml.safe_load(path.read_text(encoding="utf-8"))
        toc_names(toc)
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        odd = isinstance(error, TypeError | AttributeError)
        reason = "it needs lists of files" if odd else " ".join(str(error).split())
        raise RunError(f"{path} cannot be read as a table of contents: {reason}.") from error
    return toc


def toc_names(node: dict) -> list[str]:
    """Return the files that (a part of) a table of contents names, in reading order."""
    keys = ("parts", "chapters", "sections")
    below = [entry for key in keys for entry in node.get(key) or []]  # all may be taken out
    own = [str(node[key]) for key in ("root", "file") if key in node]
    return own + [name for entry in below for name in toc_names(entry)]


def toc_files(path: Path) -> list[str]:
    """Return the files that a Jupyter Book table of contents names, in reading order."""
    return toc_names(read_toc(path))


def title_of(notebook: dict) -> str:
    """Return the title in a notebook's first cell."""
    first = "".join(notebook["cells"][0]["source"])
    title = re.search(r"(?m)^#\s+(.+?)\s*$", first)
    if not title:
        raise RunError("A chapter's first cell must begin with a title: '# ...'.")
    return title[1]
