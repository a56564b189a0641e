"""``course data``: fetch, draw and check the data sets."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from helpers.base.errors import RunError
from helpers.base.settings import DEFAULT_SEED, course_root

app = typer.Typer(help="Fetch, draw and check the data sets.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option(help="Folder to keep it in; else kagglehub's cache.")]
Source = Annotated[str | None, typer.Option(help="Another copy on Kaggle, as owner/name.")]


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A copy of C-NMC, or a part of one.")],
    everything: Annotated[bool, typer.Option("--all", help="List every file.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the whole list to this CSV file.")] = None,
    complete: Annotated[bool, typer.Option(help="Fail also if files are missing.")] = False,
) -> None:
    """Compare a copy of C-NMC with the index of the release.

    Exit status 1 if a file is altered or in the wrong folder. Missing files are
    allowed, unless --complete is given.
    """
    from helpers.base.files import check_replaceable, write_csv
    from helpers.datasets.copies import verify as checks

    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise RunError(f"--out is {str(out)!r}, but must be a CSV file in a folder that exists.")
    if out is not None:
        check_replaceable(out, ".csv", b"status,path,release,detail")
    result = checks.verify(folder)
    typer.echo("\n".join(result.lines(None if everything else 5)))
    if out is not None:
        write_csv(out, result.table)
        typer.echo(f"All {len(result.table):,} lines are in {out}.")
    if not result.sound or (complete and not result.complete):
        raise typer.Exit(1)


@app.command()
def cnmc(
    out: Out = None,
    source: Source = None,
    check: Annotated[
        bool, typer.Option("--verify", help="Compare each file with the release's index.")
    ] = False,
) -> None:
    """Fetch C-NMC 2019 (about 10 GB, CC BY 3.0) from Kaggle; on Colab its mounted copy is taken."""
    from helpers.datasets.copies import download

    folder = download.fetch("cnmc", out, source)
    typer.echo(f"C-NMC is in {folder}.")
    if check:
        typer.echo("Checking each file against the release's index.")
        verify(folder)
    else:
        typer.echo("No file was checked: with --verify each is compared with the release's index.")
    _next_step("cnmc", folder)


@app.command()
def taleqani(out: Out = None, source: Source = None) -> None:
    """Fetch the Taleqani fields from Kaggle and count them."""
    from helpers import datasets
    from helpers.datasets.copies import download

    folder = download.fetch("taleqani", out, source)
    counts = datasets.load("taleqani", folder, "full")["label"].value_counts().sort_index()
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    typer.echo(f"{counts.sum():,} fields in {folder}: {listed}.")
    _next_step("taleqani", folder)


@app.command("all_idb")
def all_idb() -> None:
    """Say how to get ALL-IDB, which its owners send on request only."""
    from helpers.datasets.copies import download

    typer.echo(download.ALL_IDB)


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="Folder to draw into.")],
    profile: Annotated[str, typer.Option(help="smoke, quick or full: how many to draw.")] = "quick",
    seed: Annotated[int, typer.Option(help="Other seed, other cells.")] = DEFAULT_SEED,
) -> None:
    """Draw phantoms: cells drawn by the course itself, with C-NMC's folders and file names."""
    from helpers.datasets.drawn import frames

    folder = frames.draw(out, profile, seed)
    count = sum(1 for _ in Path(folder).rglob("UID_*.bmp"))
    typer.echo(f"{count:,} phantoms are in {folder}.")


@app.command()
def snam(
    folder: Annotated[Path | None, typer.Argument(help="A copy of SN-AM, to be counted.")] = None,
) -> None:
    """Say how to get SN-AM from TCIA; with a folder, say what it contains."""
    from helpers import datasets
    from helpers.datasets.copies import download

    if folder is None:
        typer.echo(download.SNAM)
        return
    catalog = datasets.load("snam", folder, "full")
    for (label, role), fields in catalog.groupby(["label", "role"], sort=True):
        masks = ", ".join(
            f"{(fields[column] != '').sum()} {column.replace('_', ' ')}s"
            for column in ("nucleus_mask", "background_mask", "cytoplasm_mask")
        )
        typer.echo(f"{label.upper():<4}{role:<10}{len(fields):>4}   with {masks}")
    _next_step("snam", folder)


@app.command("phantom_fields")
def phantom_fields(
    out: Annotated[Path, typer.Option(help="Folder to draw into.")],
    profile: Annotated[str, typer.Option(help="smoke, quick or full: how many to draw.")] = "quick",
    seed: Annotated[int, typer.Option(help="Other seed, other fields.")] = DEFAULT_SEED,
    laboratories: Annotated[
        bool, typer.Option("--laboratories", help="ALL and MM from two laboratories.")
    ] = False,
) -> None:
    """Draw phantom fields: smears with masks, drawn by the course itself, with SN-AM's names."""
    from helpers.datasets.drawn import fields

    folder = fields.draw(out, profile, seed, laboratories)
    count = len(fields.plan(fields.recipe_of(profile, seed, laboratories)))
    typer.echo(f"{count} phantom fields are in {folder}.")
    _next_step("snam", folder)


def _next_step(name: str, folder: Path) -> None:
    """Print what to do with the data: in a clone for `make`, elsewhere for a notebook."""
    if course_root() is None:
        typer.echo("Now put these lines into a cell below *What to run*, and go on from there:")
        typer.echo(f"DATASET = {name!r}\nDATA_DIR = {str(folder)!r}")
        return
    quoted = shlex.quote(str(folder).replace("$", "$$"))  # for the shell, and for make
    typer.echo(f"Now: make book DATASET={name} DATA_DIR={quoted} PROFILE=quick")
