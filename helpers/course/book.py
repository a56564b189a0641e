"""Builds the HTML book from the executed chapters and publishes the complete book or nothing."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.base.errors import RunError
from helpers.base.files import checksum, told, unchanged, write_json, write_text
from helpers.base.settings import DATASETS
from helpers.course import banner, checks, colab, messages, repository, staleness, subset
from helpers.course.executor import copy_path
from helpers.course.project import Parameters, Project, read_toc, title_of
from helpers.course.runner import State, states

#: File in the published folder with the run, the hash of what the book was built from, and
#: the checksums of its files.
SEAL = ".course.json"
#: What the folds of cells with these tags are called, closed and open.
_FOLDS = {
    "setup": ("Set-up: finds or installs the course's helpers", "Hide the set-up"),
    "solution": ("Show the solution", "Hide the solution"),
}
#: What an exercise says until a student has answered it: no reader of the page needs that.
_UNANSWERED = re.compile(r"\s*Exercise \d\d-[a-z]: not answered yet\.[^\n]*\s*")


def build(project: Project, run: Parameters, only: list[str] | tuple[str, ...] = ()) -> None:
    """Publish the book of a run in ``_build/html``, unless it is published already.

    With `only`, numbers or names of chapters, the book holds these chapters alone. Every
    chapter of the book must have been executed with its current cells and helpers, and
    every page must pass :func:`helpers.course.checks.check_executed`. The book is
    built in another folder, where warnings count as errors, and replaces the old
    one only when it is complete.

    Raises
    ------
    RunError
        When a chapter is missing or stale, a check fails, or the build does.
    """
    chosen = project.select(only)
    chapters = [state for state in states(project, run) if state.chapter in chosen]
    missing = [f"{s.chapter.name} ({'; '.join(s.reasons)})" for s in chapters if s.reasons]
    if missing:
        raise RunError(
            f"The book is not published: {len(missing)} of {len(chapters)} chapters have no "
            f"up-to-date executed copy for {run.key}: {', '.join(missing)}."
        )
    seal = _seal(project, run, chapters)
    _recover(project.html)
    if _is_published(project.html, seal):
        print(f"The book is up to date: {project.html / 'index.html'}")
        return
    pages = {
        s.chapter.name: page(
            staleness.read_notebook(s.chapter.path),
            staleness.read_notebook(copy_path(project, run, s.chapter)),
            s.record,
        )
        for s in chapters
    }
    problems = [
        f"{name}: {problem}"
        for name, notebook in pages.items()
        for problem in checks.check_executed(notebook)
    ]
    if problems:
        raise RunError("The book is not published:\n  " + "\n  ".join(problems))
    for name, notebook in pages.items():
        for note in checks.messages_shown(notebook):
            print(f"  {name}: {note}")
    work = project.build / ".book"
    shutil.rmtree(work, ignore_errors=True)
    try:
        with told(project.build):
            _stage(project, pages, chapters, work / "source")
            built = _sphinx(work)
            (built / ".nojekyll").touch()  # else GitHub Pages drops folders that begin with _
            files = sorted(path for path in built.rglob("*") if path.is_file())
            sums = {str(path.relative_to(built)): checksum(path) for path in files}
            write_json(built / SEAL, {**seal, "files": sums})
            _publish(built, project.html)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"The book is ready: {project.html / 'index.html'}")
    if len(chapters) < len(project.chapters):
        print(subset.sentence([state.chapter for state in chapters]))


def _stage(project: Project, pages: dict[str, dict], held: list[State], folder: Path) -> None:
    """Write everything that the book is built from into `folder`."""
    import yaml

    from helpers.datasets import origins

    folder.mkdir(parents=True)
    chapters = [state.chapter for state in held]
    absent = subset.absent(project, chapters)
    config = (project.root / "_config.yml").read_text(encoding="utf-8")
    write_text(folder / "_config.yml", _staged_config(config, absent))
    toc = subset.contents(
        read_toc(project.root / "_toc.yml"), {chapter.name for chapter in chapters}
    )
    write_text(folder / "_toc.yml", yaml.safe_dump(toc, sort_keys=False, allow_unicode=True))
    shutil.copytree(project.root / "book", folder / "book")
    titles = {name: title_of(notebook) for name, notebook in pages.items()}
    status = banner.status_page([state.record for state in held], titles)
    write_text(folder / "book" / "status.md", status)
    titled = []
    if subset.lacking(project, chapters):
        titled = [str(toc.get("root", "")).removesuffix(".md"), "book/status"]
    notice = rf"\g<0>\n\n:::{{note}}\n{subset.sentence(chapters)}\n:::\n"
    for path in folder.glob("book/*.md"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in absent:
            path.unlink()
            continue
        # As long as there is no address, no line names it.
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        text = "".join(line for line in lines if repository.PLACEHOLDER not in line)
        if name == "book/datasets":  # a data set that the instructor has added
            new = [dataset for dataset in DATASETS if f"`{dataset}`" not in text]
            text = "\n".join([text, *map(origins.section, new)])
        if name in titled:
            text = re.sub(r"(?m)^# .+$", notice, text, count=1)
        write_text(path, text)
    (folder / "notebooks").mkdir()
    for name, notebook in pages.items():
        text = json.dumps(notebook, ensure_ascii=False, indent=1)
        write_text(folder / "notebooks" / f"{name}.ipynb", text + "\n")


def page(source: dict, executed: dict, record: dict) -> dict:
    """Return the notebook to publish: the current text, the run's outputs, the banner.

    Parameters
    ----------
    source, executed, record : dict
        The author's notebook, its executed copy (same code cells) and the run record.
    """
    ran = iter([cell for cell in executed["cells"] if cell["cell_type"] == "code"])
    cells = []
    for cell in copy.deepcopy(colab.without_links(source["cells"])):
        cells.append(cell)
        if cell["cell_type"] != "code":
            cell["source"] = colab.relative(staleness.source_of(cell))
            continue
        twin = next(ran)
        outputs = messages.without_noise(twin["outputs"])
        outputs = [o for o in outputs if not _UNANSWERED.fullmatch("".join(o.get("text", "")))]
        cell |= {"outputs": outputs, "execution_count": twin["execution_count"]}
        if "setup" in staleness.tags_of(cell):
            # Readers of the page do not need it: it is folded, with what it prints.
            cell["metadata"]["tags"] = [*staleness.tags_of(cell), "hide-cell"]
        for tag in _FOLDS.keys() & set(staleness.tags_of(cell)):
            show, hide = _FOLDS[tag]
            cell["metadata"]["mystnb"] = {"code_prompt_show": show, "code_prompt_hide": hide}
        if "parameters" in staleness.tags_of(cell):
            injected = next(ran)
            if _differs(cell, record):
                cells.append(_shown(injected, record))
    text = banner.banner(record)
    notice = {"cell_type": "markdown", "id": "run-banner", "metadata": {}, "source": text}
    return {**source, "cells": [cells[0], notice, *cells[1:]]}


def _differs(cell: dict, record: dict) -> bool:
    """Return whether the run had other parameters than the chapter's own."""
    own = checks.assigned(staleness.source_of(cell))
    return any(value not in ("", own.get(name)) for name, value in record["parameters"].items())


def _shown(cell: dict, record: dict) -> dict:
    """Return the cell of injected parameters without the folders of the machine it ran on."""
    text = staleness.source_of(cell)
    if folder := record["parameters"]["DATA_DIR"]:
        # papermill writes letters beyond ASCII as escapes.
        for written in (folder, folder.encode("unicode_escape").decode()):
            text = text.replace(written, f".../{Path(folder).name}")
    return {
        "cell_type": "code",
        "id": "injected-parameters",
        "metadata": {"tags": ["injected-parameters"]},
        "source": text,
        "outputs": [],
        "execution_count": cell["execution_count"],
    }


def _staged_config(config: str, absent: dict[str, str] | None = None) -> str:
    """Return the settings with which the book is built.

    Links to the pages that are `absent` (page -> title) become text: see
    :class:`helpers.course.links.UnlinkAbsent`.

    Execution is off, because the chapters were executed already. There are no buttons
    while the repository's address is the placeholder: they would lead nowhere. With an
    address, the book says that it is published on the repository's GitHub Pages, unless
    ``html.baseurl`` names another place.
    """
    import yaml

    values = repository.config_of(config)
    values["execute"] = {**values.get("execute", {}), "execute_notebooks": "off"}
    if absent:
        sphinx = values.setdefault("sphinx", {})
        sphinx["config"] = {**sphinx.get("config", {}), "absent_pages": absent}
        extensions = sphinx.setdefault("extra_extensions", [])
        extensions += {"helpers.course.links"} - set(extensions)
    address = values.get("repository", {}).get("url", repository.PLACEHOLDER)
    html = values.setdefault("html", {})
    if address == repository.PLACEHOLDER:
        values.pop("repository", None)
        values.get("launch_buttons", {}).pop("colab_url", None)
        values["html"] = {k: v for k, v in html.items() if not k.startswith("use_")}
    else:
        html["baseurl"] = repository.places(address, values).book
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _sphinx(work: Path) -> Path:
    """Build ``work/source`` without any cache and return the folder of HTML.

    With the cache of a failed build, Sphinx would not repeat its warnings, and the
    next build of the same broken page would succeed.
    """
    command = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["--path-output", str(work), "--warningiserror", "--keep-going", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", command, "build", str(work / "source"), *options],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONHASHSEED": "0", "NO_COLOR": "1", "PYTHONUTF8": "1"},
        cwd=work,
    )
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if done.returncode and os.strerror(number) in done.stderr:
            raise OSError(number, os.strerror(number))
    log = work.parent / "book.log"
    write_text(log, done.stdout + done.stderr)
    html = work / "_build" / "html"
    if done.returncode or not (html / "index.html").is_file():
        plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).replace(f"{work / 'source'}/", "")
        lines = [line for line in plain.splitlines() if re.search(r"WARNING|ERROR|rror:", line)]
        report = "\n  ".join(lines[:20] or plain.strip().splitlines()[-10:])
        raise RunError(f"The book is not published, its pages have errors:\n  {report}\nLog: {log}")
    return html


def _publish(built: Path, html: Path) -> None:
    """Replace `html` by `built`; a kill between the two renames leaves ``html.old``."""
    old = html.with_name(f"{html.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if html.exists():
        os.replace(html, old)
    os.replace(built, html)
    shutil.rmtree(old, ignore_errors=True)


def _recover(html: Path) -> None:
    """Put the former book back if a run was killed between the two renames of `_publish`."""
    old = html.with_name(f"{html.name}.old")
    if old.is_dir() and not html.exists():
        os.replace(old, html)
    shutil.rmtree(old, ignore_errors=True)


def _is_published(html: Path, seal: dict) -> bool:
    """Return whether the book of `seal` is in `html`, with all its files as they were built."""
    try:
        published = json.loads((html / SEAL).read_text(encoding="utf-8"))
        files = published.pop("files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return published == seal and unchanged(html, files)


def _seal(project: Project, run: Parameters, chapters: list[State]) -> dict:
    """Return the run and a hash of everything that the book is built from, with this package."""
    files = [project.root / "_config.yml", project.root / "_toc.yml", project.lock]
    files += [state.chapter.path for state in chapters]
    files += sorted(path for path in (project.root / "book").rglob("*") if path.is_file())
    files += sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\x1e" + path.read_bytes())
    for state in chapters:
        digest.update(json.dumps(state.record, sort_keys=True).encode())
    return {"run": run.key, "inputs": digest.hexdigest()}
