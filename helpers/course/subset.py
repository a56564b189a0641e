"""A book of some chapters: its table of contents, what it lacks, and the sentence that says so."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.course.project import Chapter, Project, title_of, toc_files
from helpers.course.staleness import read_notebook


def contents(toc: dict, chosen: set[str]) -> dict:
    """Return a table of contents without the chapters that are not in `chosen`.

    Parameters
    ----------
    toc : dict
        What ``_toc.yml`` says.
    chosen : set of str
        Names of chapters: ``05_custom_cnn``. Other pages stay; parts without a page go.
    """
    result = dict(toc)
    for key in ("parts", "chapters", "sections"):
        if key not in toc:
            continue
        entries = [contents(entry, chosen) for entry in toc[key] or [] if _stays(entry, chosen)]
        result[key] = [e for e in entries if "file" in e or e.get("chapters")]
    return result


def _stays(entry: dict, chosen: set[str]) -> bool:
    name = str(entry.get("file", ""))
    return not name.startswith("notebooks/") or Path(name).name.removesuffix(".ipynb") in chosen


def absent(project: Project, chapters: list[Chapter]) -> dict[str, str]:
    """Return the title of each page of the clone that a book of `chapters` does not hold.

    Pages are named as Sphinx does: ``notebooks/03_balancing``, ``book/capstone``.
    """
    held = {f"notebooks/{chapter.name}" for chapter in chapters}
    listed = {name.removesuffix(".md") for name in toc_files(project.root / "_toc.yml")}
    titles = {}
    for path in sorted((project.root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if f"notebooks/{path.stem}" not in held:
            title = title_of(read_notebook(path))
            titles[f"notebooks/{path.stem}"] = f"{path.name[:2]} {title}"
    for path in sorted((project.root / "book").glob("*.md")):
        if f"book/{path.stem}" not in listed:
            heading = re.search(r"(?m)^#\s+(.+?)\s*$", path.read_text(encoding="utf-8"))
            titles[f"book/{path.stem}"] = heading[1] if heading else path.stem
    return titles


def lacking(project: Project, chapters: list[Chapter]) -> bool:
    """Return whether the clone has, or a page of it names, a chapter that is not in `chapters`."""
    named = {path.name[:2] for path in (project.root / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    for path in (project.root / "book").glob("*.md"):
        named |= set(re.findall(r"notebooks/(\d\d)_", path.read_text(encoding="utf-8")))
    return bool(named - {chapter.number for chapter in chapters})


def sentence(chapters: list[Chapter]) -> str:
    """Return which chapters a book holds, on the page.

    Examples
    --------
    >>> sentence(project.select(["01", "02", "03", "07"]))  # doctest: +SKIP
    'This book holds chapters 01 to 03 and 07.'
    """
    runs: list[list[int]] = []
    for number in sorted(int(chapter.number) for chapter in chapters):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = []
    for run in runs:
        long = len(run) > 2
        words += [f"{run[0]:02d} to {run[-1]:02d}"] if long else [f"{n:02d}" for n in run]
    listed = " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
    return f"This book holds chapter{'s' * (len(chapters) > 1)} {listed}."
