"""The data sets of the course: one call reads any of them into a catalog.

``load("phantom")`` draws its own images; the others are read from a folder, in
any of their common layouts. Each reader says itself which of its classes is positive.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict

import pandas as pd

from helpers import catalog as catalogs
from helpers.base import arguments, code
from helpers.base.errors import CatalogError, DatasetError
from helpers.base.files import printable
from helpers.base.settings import (
    DATASETS,
    DEFAULT_SEED,
    LARGEST_SEED,
    Profile,
    Settings,
    artifacts_folder,
    check_dataset,
    profile_of,
)
from helpers.catalog import splitting
from helpers.catalog.table import UNLABELLED
from helpers.datasets import files as data_files
from helpers.datasets.files import IMAGE_ENDINGS, File, LeftOut
from helpers.datasets.origins import NEEDS, origin
from helpers.datasets.origins import reader as _reader
from helpers.datasets.sampling import take

__all__ = ["DatasetError", "load", "load_with_report"]


def load(
    name: str | Settings,
    data_dir: str | os.PathLike | None = None,
    profile: str | Profile = "quick",
    seed: int = DEFAULT_SEED,
    positive: str = "",
) -> pd.DataFrame:
    """Return the catalog of a data set, and print one line if files were left out.

    Parameters
    ----------
    name : str or Settings
        The name of a module in ``helpers/datasets/readers``: ``phantom``, ``cnmc``, ..., or
        ``folders`` for the user's own images, one folder per class. A chapter's :class:`Settings`
        contain all the other arguments.
    data_dir : path-like, optional
        Folder of a real data set, searched with all its sub-folders.
    profile : str or Profile
        Limits how many images are loaded.
    seed : int
        Seed of the choice of those images (and of the drawn phantoms).
    positive : str
        With ``folders``, the name of the class that is the positive one. The other
        data sets know theirs.

    Returns
    -------
    pandas.DataFrame
        A catalog (``helpers.catalog.COLUMNS``). Apart from `path` it depends
        only on the names and bytes of the files, not on where the folder is.

    Raises
    ------
    DatasetError
        When the folder is missing or holds no image of the data set, a table beside the
        images cannot be read, no class is called `positive`, an argument is of another
        kind, or a chapter's settings are given and a class has too few people or images
        for its splits (:func:`helpers.catalog.splitting.require_enough`).
    SettingsError
        When the name or the profile is unknown, `positive` is given to a data set that
        knows its positive class, or a folder to the phantoms, which the course draws.

    See Also
    --------
    load_with_report : Names each file that was left out.
    """
    catalog, report = load_with_report(name, data_dir, profile, seed, positive)
    lines = [*report.attrs["notes"], *([summary(report)] if len(report) else [])]
    for line in lines:
        print(printable(line))
    return catalog


def load_with_report(
    name: str | Settings,
    data_dir: str | os.PathLike | None = None,
    profile: str | Profile = "quick",
    seed: int = DEFAULT_SEED,
    positive: str = "",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the catalog as :func:`load` does, and a table of the files left out.

    Returns
    -------
    catalog : pandas.DataFrame
    report : pandas.DataFrame
        Columns `path` (relative to `data_dir`) and `reason`: each file that is neither an
        image of the catalog nor a table that was read. It does not list images that
        were left out only because of the profile's limit.
        ``report.attrs["notes"]`` is a list of what else a reader must know.
    """
    of_chapter = isinstance(name, Settings)
    if of_chapter:
        settings, name = name, name.dataset
        data_dir, profile, seed = settings.data_dir, settings.profile, settings.seed
        positive = settings.positive
    arguments.string("POSITIVE (positive)", positive or "", DatasetError)
    check_dataset(name, positive, data_dir)
    arguments.whole("SEED (seed)", seed, DatasetError, 0, LARGEST_SEED)
    profile = profile_of(profile)
    most = profile.images
    if name == "phantom":
        data_dir, most = _drawn(profile, seed), None
    if not data_dir:
        raise DatasetError(
            f"The data set {name} needs a folder: set DATA_DIR (data_dir) to it; {_where(name)}."
        )
    folder = data_files.absolute(data_dir)
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} is not a folder: set DATA_DIR (data_dir) to one; {_where(name)}."
        )
    reader = _reader(name)
    files, left_out = data_files.scan(folder, getattr(reader, "MASKS", False))
    memory = data_files.Memory(folder)
    given = (positive,) if name == "folders" else ()
    rows, unfit = _check_rows(name, reader.read(files, *given))
    rows, broken = _sound(rows, memory, reader.SIZES, getattr(reader, "BLACK", ""))
    rows, repeated = _once_each(rows, memory)
    rows, unusable = reader.settle(rows, memory) if hasattr(reader, "settle") else (rows, [])
    left_out = {*left_out, *unfit, *broken, *repeated, *unusable}
    left_out = sorted({*left_out, *_forgotten(files, rows, left_out)})
    report = pd.DataFrame(left_out, columns=["path", "reason"], dtype=object)
    if not rows:
        raise DatasetError(_nothing_found(name, folder, files, report))
    if positive and not any(row["positive"] == 1 for row in rows):
        raise DatasetError(
            f"No image of the class {positive!r} (POSITIVE) can be used. {summary(report)}"
        )
    notes = reader.notes(rows) if hasattr(reader, "notes") else []
    if most is not None and len(rows) > most:
        labelled = [row for row in rows if row["label"] != UNLABELLED]
        blank = len(rows) - len(labelled)
        aside = f" (the {blank:,} unlabelled ones are left aside)" if blank else ""
        notes.append(
            f"The profile {profile.name} takes {most:,} of {len(rows):,} images, evenly over "
            f"classes and subjects{aside}."
        )
        rows = take(labelled or rows, most, seed)
    for row, digest in zip(rows, memory.hashes(row["file"] for row in rows), strict=True):
        row["path"], row["sha256"] = row.pop("file").path, digest
        row.pop("label_source", None)
        if hasattr(reader, "group_of"):
            row["group"] = reader.group_of(row["subject"])
    if hasattr(reader, "link"):
        reader.link(rows)
    report.attrs["notes"] = notes
    catalog = catalogs.make(rows)
    if of_chapter and name != "phantom":
        try:
            splitting.require_enough(catalog)
        except CatalogError as error:
            limit = [note for note in notes if note.startswith("The profile ")]
            raise DatasetError(" ".join([str(error), *limit])) from error
    return catalog, report


def summary(report: pd.DataFrame, names: int = 3) -> str:
    """Return one line that counts the files left out by reason, with the first names."""
    parts = []
    for reason, group in report.groupby("reason"):
        first = ", ".join(path.rpartition("/")[2] for path in group["path"].iloc[:names])
        more = ", ..." if len(group) > names else ""
        parts.append(f"{len(group):,} {reason} ({first}{more})")
    rows = int((report["reason"] == data_files.NAMES_NO_IMAGE).sum())
    counts = {"file": len(report) - rows, "row": rows}
    nouns = [f"{count:,} {noun}{'s' * (count > 1)}" for noun, count in counts.items() if count]
    verb = "was" if len(report) == 1 else "were"
    return f"{' and '.join(nouns)} {verb} left out: {'; '.join(parts)}."


def _where(name: str) -> str:
    """Say where the folder of a data set comes from."""
    about = origin(name)
    return about.get or f"it comes from {about.source}"


def _drawn(profile: Profile, seed: int) -> os.PathLike:
    from helpers.datasets.drawn import frames

    recipe = frames.recipe_of(profile, seed)
    # Named after the recipe and the code, so that new code draws anew.
    name = f"{recipe.phantoms}-{recipe.subjects}-{recipe.seed}-{code.version(frames.__name__)}"
    return frames.draw(artifacts_folder() / "phantoms" / name, profile, seed)


def _check_rows(name: str, result: tuple) -> tuple[list[dict], list[LeftOut]]:
    """Return what a reader returned; raise DatasetError where it is not what the splits rely on."""
    at_fault = f"The function read in helpers/datasets/readers/{name}.py returns"
    if not isinstance(result, tuple) or [type(part) for part in result] != [list, list]:
        kind = type(result).__name__
        raise DatasetError(
            f"{at_fault} a {kind}, but must return two lists: rows, left_out. {NEEDS}"
        )
    rows, left_out = result
    first: dict[str, File] = {}
    for row in rows:
        lacks = [key for key in ("image_id", "label", "subject", "fold", "file")
                 if row.get(key) is None]  # fmt: skip
        if lacks:
            raise DatasetError(f"{at_fault} a row without {' and '.join(lacks)}: {row}. {NEEDS}")
        file = row["file"]
        if not isinstance(file, File):
            raise DatasetError(
                f"{at_fault} a row whose entry file is {file!r}, but must be the File. {NEEDS}"
            )
        other = first.setdefault(row["image_id"], file)
        if other.stem.casefold() != file.stem.casefold():
            raise DatasetError(
                f"{at_fault} the same image_id, {row['image_id']!r}, for {other.relative} and "
                f"{file.relative}: each image needs one of its own, such as file.stem. {NEEDS}"
            )
    return rows, left_out


def _sound(
    rows: list[dict], memory: data_files.Memory, sizes: tuple | None, black: str
) -> tuple[list[dict], list[LeftOut]]:
    """Return the rows whose file holds an image of a size that the data set has.

    `black`, if given, is the reason for which an image without light is left out.
    """
    good, left_out = [], []
    contents = memory.contents(row["file"] for row in rows)
    for row, content in zip(rows, contents, strict=True):
        problem = content.problem or (black if content.black else "")
        shape = content.width, content.height
        if not problem and sizes and shape != (0, 0) and shape not in sizes:
            allowed = " or ".join(f"{width}x{height}" for width, height in sizes)
            problem = f"{shape[0]}x{shape[1]} pixels, not {allowed}"
        if problem:
            left_out.append((row["file"].relative, problem))
        else:
            good.append(row)
    return good, left_out


def _forgotten(files: list[File], rows: list[dict], left_out: set[LeftOut]) -> list[LeftOut]:
    """Return the images that are neither in `rows` nor left out: masks of what was left out."""
    named = {path for path, _ in left_out}
    taken = {value for row in rows for value in row.values() if isinstance(value, str)}
    taken |= {row["file"].path for row in rows}
    return [
        (file.relative, "mask of an image that was left out, or its second mask")
        for file in files
        if file.ending in IMAGE_ENDINGS and file.path not in taken and file.relative not in named
    ]


def _once_each(rows: list[dict], memory: data_files.Memory) -> tuple[list[dict], list[LeftOut]]:
    """Return one row for each image id: preferably one with a fold, then the first by path."""
    kept: dict[str, dict] = {}
    left_out: list[LeftOut] = []
    for row in sorted(rows, key=lambda row: (not row["fold"], row["file"].relative)):
        first = kept.setdefault(row["image_id"], row)
        if first is not row:
            one, other = memory.hashes([first["file"], row["file"]])
            reason = "second copy" if one == other else "second file of that name, other bytes"
            left_out.append((row["file"].relative, reason))
    return list(kept.values()), left_out


def _fits(name: str, files: list[File]) -> bool:
    """Return whether some of the files are images of a data set; a half-written one has none."""
    with contextlib.suppress(Exception):
        return bool(_check_rows(name, _reader(name).read(files))[0])
    return False


def _nothing_found(name: str, folder: os.PathLike, files: list[File], report: pd.DataFrame) -> str:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        if file.ending in IMAGE_ENDINGS:
            groups["/".join(file.folders) or ".", file.ending].append(file.name)
    if groups:
        (parent, ending), names = max(groups.items(), key=lambda group: len(group[1]))
        nearest = f"found {len(names):,} {ending} files in {parent}, such as {names[0]}"
    else:
        nearest = "found no image file" if os.listdir(folder) else "the folder is empty"
    others = [other for other in DATASETS if other not in (name, "phantom", "folders")]
    likely = [other for other in others if files and _fits(other, files)]
    hint = f" It looks like the data set {likely[0]}." if likely else ""
    left = f" {summary(report)}" if len(report) else ""
    return (
        f"No image of {name} was found in {folder}: expected {_reader(name).EXPECTED}; "
        f"{nearest}.{hint}{left}"
    )
