"""The command line: ``course``, or ``python -m helpers``.

Everything but typer is imported inside the commands, so that ``course --help``
answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from helpers.base.errors import CourseError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run, check and publish White-Blood-Cell Cancer Classification with CNNs.",
)

Dataset = Annotated[str, typer.Option(help="phantom, cnmc, taleqani, all_idb, snam or folders.")]
Profile = Annotated[str, typer.Option(help="smoke, quick or full.")]
Seed = Annotated[int, typer.Option(help="From which every random choice follows.")]
DataDir = Annotated[str, typer.Option(help="Folder of a real data set.")]
Positive = Annotated[str, typer.Option(help="With folders: the folder of the positive class.")]
Only = Annotated[
    list[str] | None, typer.Option(help="A chapter by number or name; may be given again.")
]
Jobs = Annotated[int, typer.Option(help="Chapters that run at a time.")]
Force = Annotated[bool, typer.Option("--force", help="Run also what is up to date.")]
Timeout = Annotated[int | None, typer.Option(help="Longest time of one cell, in seconds.", min=1)]
Build = Annotated[
    Path | None, typer.Option(help="Where executed copies and the book go; _build by default.")
]
Root = Annotated[Path | None, typer.Option(help="The clone; by default the one you are in.")]


@app.command()
def run(
    dataset: Dataset = "phantom",
    profile: Profile = "quick",
    seed: Seed = 24,
    data_dir: DataDir = "",
    positive: Positive = "",
    only: Only = None,
    jobs: Jobs = 1,
    force: Force = False,
    cell_timeout: Timeout = None,
    build: Build = None,
    root: Root = None,
) -> None:
    """Execute the chapters whose cells, parameters, helpers, versions or data changed."""
    from helpers.course import project, runner

    course = project.find(root, build)
    chosen = project.parameters(dataset, profile, seed, data_dir, positive)
    with _stoppable(), runner.locked(course):
        _run(course, chosen, only, jobs, force, cell_timeout)


@app.command()
def book(
    dataset: Dataset = "phantom",
    profile: Profile = "quick",
    seed: Seed = 24,
    data_dir: DataDir = "",
    positive: Positive = "",
    only: Only = None,
    jobs: Jobs = 1,
    force: Force = False,
    cell_timeout: Timeout = None,
    build: Build = None,
    root: Root = None,
) -> None:
    """Execute what is stale, then publish the book in _build/html."""
    from helpers.course import book as publisher
    from helpers.course import project, runner

    course = project.find(root, build)
    chosen = project.parameters(dataset, profile, seed, data_dir, positive)
    with _stoppable(), runner.locked(course):
        _run(course, chosen, only, jobs, force, cell_timeout)
        publisher.build(course, chosen)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Tell whoever presses Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nStopped. The next run goes on from here.", file=sys.stderr)
        raise typer.Exit(130) from None


def _run(course, chosen, only, jobs, force, cell_timeout) -> None:
    """Run the stale chapters; end with status 1 and the story when one failed."""
    from helpers.course import runner

    results = runner.run_chapters(
        course, chosen, only=only or (), jobs=jobs, force=force, cell_timeout=cell_timeout
    )
    story = runner.failures(results)
    if story:
        print(f"\n{story}", file=sys.stderr)
        failed = sum(bool(result.failure) for result in results)
        print(f"\n{failed} of {len(results)} chapters failed.", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def status(
    dataset: Dataset = "phantom",
    profile: Profile = "quick",
    seed: Seed = 24,
    data_dir: DataDir = "",
    positive: Positive = "",
    build: Build = None,
    root: Root = None,
) -> None:
    """Tell which chapters are up to date and how long they took."""
    from helpers.course import banner, project, runner

    course = project.find(root, build)
    chosen = project.parameters(dataset, profile, seed, data_dir, positive)
    for state in runner.states(course, chosen):
        took = banner.duration(state.record["seconds"]) if state.record else ""
        print(f"{state.chapter.name:<32} {took:>14}  {'; '.join(state.reasons) or 'up to date'}")


@app.command()
def check(root: Root = None) -> None:
    """Check the chapters as they stand in notebooks/: format, anatomy, exercises, figures."""
    from helpers.course import checks, project

    course = project.find(root)
    problems = checks.check_sources(course)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems in {len(course.chapters)} chapters.", file=sys.stderr)
        raise typer.Exit(1)
    print(f"{len(course.chapters)} chapters are sound.")


@app.command()
def student(
    out: Annotated[Path, typer.Option(help="Folder that it goes to.")] = Path("student-edition"),
    root: Root = None,
) -> None:
    """Write a student edition: the same chapters without their solutions."""
    from helpers.course.editions import write_student_edition

    written = write_student_edition(out, root)
    print(f"{len(written)} files are in {out}.")


@app.command()
def repository(
    url: Annotated[
        str, typer.Argument(help="https://github.com/owner/name; says it, if left out.")
    ] = "",
    root: Root = None,
) -> None:
    """Put your repository's address wherever the course needs one (Colab buttons, set-up cells)."""
    from helpers.course import repository as place

    if not url:
        print(place.url(root))
        return
    changed = place.set_repository(url, root)
    print(f"The address is set in {len(changed)} files." if changed else "It was set already.")


@app.command()
def bench(
    words: Annotated[
        str, typer.Option("--only", help="Only benchmarks whose names hold these words.")
    ] = "",
    root: Root = None,
) -> None:
    """Run the benchmarks and keep their figures as JSON in _build/benchmarks."""
    from helpers.course import bench as benchmarks
    from helpers.course import project

    raise typer.Exit(benchmarks.run(project.find(root), words))


# The group of `course data ...` has a module of its own.
if importlib.util.find_spec("helpers.course.data"):
    app.add_typer(importlib.import_module("helpers.course.data").app, name="data")


def main() -> None:
    """Run the command line; bad input is one sentence and exit status 2."""
    try:
        app()
    except CourseError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
