"""The command line: ``course``, or ``python -m helpers``.

Everything but typer is imported inside the commands, to keep ``course --help`` fast.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from helpers import __version__
from helpers.base.errors import CourseError
from helpers.base.settings import DATASETS
from helpers.course import data

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run, check and publish White-Blood-Cell Cancer Classification with CNNs.",
)

Dataset = Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")]
Profile = Annotated[str, typer.Option(help="smoke, quick or full.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
DataDir = Annotated[str, typer.Option(help="Folder of a real data set.")]
Positive = Annotated[str, typer.Option(help="With folders: the folder of the positive class.")]
Only = Annotated[
    list[str] | None, typer.Option(help="A chapter by number or name; may be repeated.")
]
More = Annotated[
    list[str] | None, typer.Argument(metavar="CHAPTER", help="The same: --only 01 05 07.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Chapters or trials at a time; by default as many as cores and memory allow."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run also the chapters that are up to date.")]
Timeout = Annotated[int | None, typer.Option(help="Longest time of one cell, in seconds.", min=1)]
Build = Annotated[
    Path | None, typer.Option(help="Where executed copies and the book go; _build by default.")
]
_GRID = "Trials of recipes (with --grid)"
Grid = Annotated[
    bool,
    typer.Option("--grid", rich_help_panel=_GRID, help="Run trials instead of chapters, on Dask."),
]
Table = Annotated[
    Path | None,
    typer.Option(rich_help_panel=_GRID, help="Table with commas: recipe, fold, seed, settings."),
]
Recipes = Annotated[
    str, typer.Option(rich_help_panel=_GRID, help="In place of a table: recipes, with commas.")
]
Folds = Annotated[int, typer.Option(rich_help_panel=_GRID, help="Folds of the people.")]
Seeds = Annotated[
    str, typer.Option(rich_help_panel=_GRID, help="With --recipes: seeds of training, with commas.")
]
Scheduler = Annotated[
    str, typer.Option(rich_help_panel=_GRID, help="Address of a Dask scheduler: tcp://host:8786.")
]
Test = Annotated[
    bool, typer.Option("--test", rich_help_panel=_GRID, help="Show the test figures too.")
]
Root = Annotated[Path | None, typer.Option(help="The clone; by default the one you are in.")]


@app.command("book", help="Execute the stale chapters, then publish the book in _build/html.")
@app.command("run")
def execute(
    context: typer.Context,
    more: More = None,
    dataset: Dataset = "phantom",
    profile: Profile = "quick",
    seed: Seed = 24,
    data_dir: DataDir = "",
    positive: Positive = "",
    only: Only = None,
    jobs: Jobs = None,
    force: Force = False,
    cell_timeout: Timeout = None,
    build: Build = None,
    root: Root = None,
    grid: Grid = False,
    table: Table = None,
    recipes: Recipes = "",
    folds: Folds = 5,
    seeds: Seeds = "0,1,2",
    scheduler: Scheduler = "",
    test: Test = False,
) -> None:
    """Execute the chapters whose cells, parameters, helpers, versions or data changed."""
    from helpers.base.errors import RunError
    from helpers.course import book, project, runner

    course = project.find(root, build)
    only = [*(only or ()), *(more or ())]
    if not grid and (table or recipes or scheduler or test):
        raise RunError("--table, --recipes, --scheduler and --test need --grid.")
    if table and seeds != "0,1,2":
        raise RunError("--seeds belongs to --recipes; a table has its own column: seed.")
    if grid and (context.info_name == "book" or bool(table) == bool(recipes)):
        raise RunError("--grid belongs to course run, with either --table or --recipes.")
    if grid and (only or force or cell_timeout):
        raise RunError("--only, --force and --cell-timeout are for chapters, not for --grid.")
    chosen = project.parameters(dataset, profile, seed, data_dir, positive)
    try:
        with runner.locked(course):
            if grid:
                from helpers.course import grid as grids

                defaults = {**dataclasses.asdict(chosen), "folds": folds}
                defaults["data_seed"] = defaults.pop("seed")
                jobs = runner.at_a_time(chosen, jobs)
                options = scheduler, jobs, test
                if not grids.run_grid(course, table, recipes, seeds, defaults, *options):
                    raise typer.Exit(1)
                return
            results = runner.run_chapters(
                course, chosen, only=only, jobs=jobs, force=force, cell_timeout=cell_timeout
            )
            failures = [result.failure for result in results if result.failure]
            if failures:
                print("", *failures, sep="\n\n", file=sys.stderr)
                print(f"\n{len(failures)} of {len(results)} chapters failed.", file=sys.stderr)
                raise typer.Exit(1)
            if context.info_name == "book":
                book.build(course, chosen, only)
    except KeyboardInterrupt:
        print("\nStopped. The next run continues from here.", file=sys.stderr)
        raise typer.Exit(130) from None


@app.command()
def verify(
    more: More = None,
    dataset: Dataset = "phantom",
    profile: Profile = "quick",
    seed: Seed = 24,
    data_dir: DataDir = "",
    positive: Positive = "",
    only: Only = None,
    jobs: Jobs = None,
    cell_timeout: Timeout = None,
    build: Build = None,
    root: Root = None,
) -> None:
    """Run the executed chapters once more, by nbval: every text output must come out the same."""
    from helpers.course import project, runner
    from helpers.course import verify as again

    course = project.find(root, build)
    chosen = project.parameters(dataset, profile, seed, data_dir, positive)
    try:
        with runner.locked(course):
            verdicts = again.verify(
                course,
                chosen,
                only=[*(only or ()), *(more or ())],
                jobs=jobs,
                cell_timeout=cell_timeout,
            )
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        raise typer.Exit(130) from None
    different = [verdict for verdict in verdicts if verdict.differences]
    if different:
        print(
            f"{len(different)} of {len(verdicts)} chapters came out differently.", file=sys.stderr
        )
        raise typer.Exit(1)
    print("All chapters came out the same.")


@app.command()
def pdf(
    more: More = None,
    only: Only = None,
    solutions: Annotated[
        bool, typer.Option("--solutions", help="With the solutions and the answers of the quiz.")
    ] = False,
    build: Build = None,
    root: Root = None,
) -> None:
    """Print the published book by Chromium: one PDF of each chapter and one of the book."""
    from helpers.course import pdf as printing
    from helpers.course import project, runner

    course = project.find(root, build)
    with runner.locked(course):
        files = printing.build(course, [*(only or ()), *(more or ())], solutions)
    print(f"{course.html / 'pdf'}: {', '.join(file.name for file in files)}")


@app.command()
def slides(
    chapter: Annotated[str, typer.Argument(help="A chapter by number or name.")],
    dataset: Dataset = "phantom",
    profile: Profile = "quick",
    seed: Seed = 24,
    data_dir: DataDir = "",
    positive: Positive = "",
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; by default in _build/slides.")
    ] = None,
    build: Build = None,
    root: Root = None,
) -> None:
    """Write slides of an executed chapter: its headings, figures and questions, in one file."""
    from helpers.course import project
    from helpers.course import slides as deck

    course = project.find(root, build)
    chosen = project.parameters(dataset, profile, seed, data_dir, positive)
    print(f"The slides are in {deck.build(course, chosen, chapter, out)}.")


@app.command()
def clean(
    older_than: Annotated[
        float | None, typer.Option(help="Remove what was not used for this many days.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="Keep at most this many GB; what was used last stays.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    build: Build = None,
    root: Root = None,
) -> None:
    """Remove artifacts (what is computed once and kept), the least recently used first."""
    from helpers.course import clean as cleaning
    from helpers.course import project, runner

    course = project.find(root, build)
    with runner.locked(course):  # a run reads artifacts that no lock holds
        cleaning.clean(course.artifacts, older_than, limit, dry_run)


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
    """Say which chapters are up to date and how long they took."""
    from helpers.course import banner, project, runner

    course = project.find(root, build)
    chosen = project.parameters(dataset, profile, seed, data_dir, positive)
    for state in runner.states(course, chosen):
        took = banner.duration(state.record["seconds"]) if state.record else ""
        print(f"{state.chapter.name:<32} {took:>14}  {'; '.join(state.reasons) or 'up to date'}")
        for sentence in (state.record or {}).get("collapsed", []):
            print(f"    {sentence}")


@app.command()
def check(root: Root = None) -> None:
    """Check the chapters in notebooks/: format, parts, exercises, figures."""
    from helpers.course import checks, project

    course = project.find(root)
    problems = checks.check_sources(course)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems in {len(course.chapters)} chapters.", file=sys.stderr)
        raise typer.Exit(1)
    print(f"{len(course.chapters)} chapters have no problems.")


@app.command("new-chapter")
def new_chapter(
    name: Annotated[str, typer.Argument(help="cell_borders, or with a number 23_cell_borders.")],
    title: Annotated[str, typer.Option(help="Its title; by default the name in words.")] = "",
    root: Root = None,
) -> None:
    """Write a new chapter from the template: notebook, checkers and test, and list it."""
    from helpers.course import project, template

    course = project.find(root)
    for path in template.new_chapter(course, name, title):
        print(f"  {path.relative_to(course.root)}")
    print("The chapter works. Replace its text by your own, part by part; then: course check")


@app.command()
def student(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("student-edition"),
    root: Root = None,
) -> None:
    """Write a student edition: the same chapters without their solutions."""
    from helpers.course.editions import write_student_edition

    written = write_student_edition(out, root)
    print(f"{len(written)} files are in {out}.")


@app.command()
def grade(
    returned: Annotated[
        Path, typer.Argument(help="A notebook, or a folder: a notebook, folder or zip a student.")
    ],
    out: Annotated[Path, typer.Option(help="The table of marks; it is continued.")] = Path(
        "marks.csv"
    ),
    chapter: Annotated[str, typer.Option(help="Mark this chapter only (number or name).")] = "",
    jobs: Annotated[int | None, typer.Option(help="Notebooks at a time.", min=1)] = None,
    cell_timeout: Annotated[
        int, typer.Option(help="Longest time of an answer, and of its check, in seconds.", min=1)
    ] = 60,
    memory: Annotated[float, typer.Option(help="Memory of an answer, in GB.", min=0.1)] = 4,
    force: Annotated[bool, typer.Option("--force", help="Mark again what was marked.")] = False,
    root: Root = None,
) -> None:
    """Mark returned notebooks: their answers, run in your own copy of the chapter."""
    from helpers.base.files import locked
    from helpers.course import grading, project

    course = project.find(root)
    waiting = "Another `course grade` works in this folder; waiting for it."
    try:
        with locked(course.build / ".grade.lock", waiting):
            table, look = grading.grade(
                course,
                returned,
                out,
                only=chapter,
                jobs=jobs,
                cell_timeout=cell_timeout,
                memory=memory,
                force=force,
            )
    except KeyboardInterrupt:
        print("\nStopped. The next run continues from here.", file=sys.stderr)
        raise typer.Exit(130) from None
    print(grading.summary(table))
    print(f"The marks are in {out}.")
    if look:
        print(f"{look} notebooks need a look: see their reasons there.", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def repository(
    url: Annotated[
        str, typer.Argument(help="https://github.com/owner/name; without it, print the address.")
    ] = "",
    root: Root = None,
) -> None:
    """Set your repository's address in every file that needs it (Colab buttons, set-up cells)."""
    from helpers.course import repository as addresses

    if not url:
        print(addresses.url(root))
        return
    changed = addresses.set_repository(url, root)
    count = f"{len(changed)} file{'s' * (len(changed) != 1)}"
    if addresses.url(root) == addresses.PLACEHOLDER:
        print(f"The address is taken out of {count}." if changed else "No address is set.")
    else:
        print(f"The address is set in {count}." if changed else "It was set already.")
        print(f"On Colab, chapters install the tag v{__version__}: push it with your next commit.")


@app.command("app")
def serve(
    data_folder: Annotated[
        Path, typer.Option("--data", help="Folder in which images and records are kept.")
    ] = Path("app-data"),
    model: Annotated[
        str, typer.Option(help="Key or folder of a run; by default the newest one.")
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on; another needs --auth.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(help="By default 7860 or the next free one.", min=0, max=65535)
    ] = None,
    auth: Annotated[
        str, typer.Option(help="A name; its password is asked for, or in COURSE_APP_PASSWORD.")
    ] = "",
) -> None:
    """Start the web app: upload cells, see the model's answers and their reasons, verify them."""
    from helpers.base.errors import AppError
    from helpers.base.settings import artifacts_folder

    try:
        from helpers.app import serving
    except ModuleNotFoundError as error:
        raise AppError(f"There is no {error.name} here: pip install -e '.[app]'") from error
    serving.serve(data_folder, model, host, port, auth, artifacts_folder())


@app.command()
def predict(
    path: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", help="One image, or many.")],
    model: Annotated[
        str, typer.Option(help="Folder name of a run; by default the newest network.")
    ] = "",
    kind: Annotated[str, typer.Option(help="What a picture shows: auto, cell or field.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what a trained network thinks of images. Teaching only, not for diagnosis."""
    from helpers.app import predicting
    from helpers.base import settings

    raise typer.Exit(predicting.predict(path, model, kind, as_json, settings.artifacts_folder()))


app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line; on bad input, print one sentence and exit with status 2."""
    for stream in (sys.stdout, sys.stderr):  # a file name may have letters that a terminal has not
        stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except CourseError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
