"""Compares a copy of C-NMC with the index of the release, file by file."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass

import pandas as pd

from helpers.base.errors import DatasetError
from helpers.datasets import files as data_files
from helpers.datasets.copies.index import PARTS, cnmc_index
from helpers.datasets.files import IMAGE_ENDINGS, File, Memory

#: Every status of a file, the most serious first, and what it means.
STATUSES = {
    "altered": "have a release file's name but other bytes",
    "misplaced": "lie in the folder of another class or fold",
    "missing": "of the release are not there",
    "renamed": "hold a release file under another name",
    "second copy": "hold a release file that is there already",
    "extra": "are not of the release",
    "intact": "are the release's, byte for byte",
}
_PART_NAMES = {"train": "training", "prelim": "preliminary test", "final": "final test"}


@dataclass(frozen=True)
class Verification:
    """The result of :func:`verify`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per file, missing ones included: `status` (of `STATUSES`), `path`
        (relative to the folder; ``""`` when missing), `release` (the file's path in
        the release, or ``""``), `detail`.
    parts : pandas.DataFrame
        For each part of the release its number of `files`, and how many of them are
        `there` and unchanged, in any folder and under any name.
    """

    table: pd.DataFrame
    parts: pd.DataFrame

    @property
    def sound(self) -> bool:
        """Whether no file is altered or misplaced; files may be missing."""
        return not self.table["status"].isin(["altered", "misplaced"]).any()

    @property
    def complete(self) -> bool:
        """Whether each file of the release is there and unchanged."""
        return bool((self.parts["there"] == self.parts["files"]).all())

    def lines(self, names: int | None = 5) -> list[str]:
        """Return the result as lines to print, with at most `names` files of each status."""
        there, total = self.parts["there"].sum(), self.parts["files"].sum()
        state = "all intact" if self.sound else "NOT ALL INTACT"
        kind = "complete" if self.complete else "partial"
        lines = [f"{there:,} of {total:,} files of the release are there, {state} ({kind} copy)."]
        for part in self.parts.itertuples():
            lines.append(f"  {_PART_NAMES[part.Index]:<17}{part.there:>7,} of {part.files:,}")
        for status, meaning in STATUSES.items():
            rows = self.table[self.table["status"] == status]
            if status == "missing" and names is not None:
                # For a part that is missing completely, the line with its number is enough.
                index = cnmc_index()
                absent = index["part"].isin(self.parts.index[self.parts["there"] == 0])
                rows = rows[~rows["release"].str.startswith(tuple(set(index["folder"][absent])))]
            if status == "intact" or rows.empty:
                continue
            lines.append(f"{len(rows):,} files {meaning} ({status}):")
            shown = rows if names is None else rows.head(names)
            for row in shown.itertuples():
                detail = f"  [{row.detail}]" if row.detail else ""
                lines.append(f"  {row.path or row.release}{detail}")
            if len(rows) > len(shown):
                lines.append(f"  ... and {len(rows) - len(shown):,} more")
        return lines


def verify(folder: str | os.PathLike) -> Verification:
    """Read every file below `folder` and compare it with the index of the C-NMC release.

    Parameters
    ----------
    folder : path-like
        Any copy or part of the release, in any layout.

    Returns
    -------
    Verification

    Raises
    ------
    DatasetError
        When the folder is missing, or holds nothing of the release.
    """
    folder = data_files.absolute(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: give the one that holds the copy of C-NMC.")
    index = cnmc_index()
    index["release"] = index["folder"] + "/" + index["name"]
    files, left_out = data_files.scan(folder)
    files = [file for file in files if file.ending in IMAGE_ENDINGS]
    hashes = Memory(folder, trust=False).hashes(files)
    rows = _compare(files, hashes, index)
    rows += [("extra", path, "", reason) for path, reason in left_out]
    named = {release for _, _, release, _ in rows}
    if named <= {""}:
        raise DatasetError(
            f"Nothing in {folder} is of the C-NMC release: {len(files):,} images were looked at; "
            "expected names like UID_11_1_2_all.bmp."
        )
    rows += [("missing", "", path, "") for path in index["release"] if path not in named]
    rows.sort(key=lambda row: (list(STATUSES).index(row[0]), *row[1:]))
    table = pd.DataFrame(rows, columns=["status", "path", "release", "detail"], dtype=object)
    unchanged = table["release"][table["status"].isin(["intact", "renamed", "misplaced"])]
    index["there"] = index["release"].isin(unchanged)
    parts = index.groupby("part")["there"].agg(files="size", there="sum").loc[list(PARTS)]
    return Verification(table, parts)


def _compare(
    files: list[File], hashes: list[str], index: pd.DataFrame
) -> list[tuple[str, str, str, str]]:
    """Return (status, path, release, detail) of each file."""
    by_name = {}
    by_hash = defaultdict(list)
    for entry in index.itertuples():
        by_name[entry.part, entry.name.lower()] = entry
        by_hash[entry.sha256].append(entry)
    rows: list[tuple[str, str, str, str]] = []
    others = []
    there: set[str] = set()
    for file, digest in sorted(zip(files, hashes, strict=True), key=lambda one: one[0].relative):
        entry = by_name.get((_part(file), file.name.lower()))
        if entry is None or digest != entry.sha256:
            others.append((file, digest, entry))
            continue
        wrong = _wrong_folder(file, entry.label, entry.fold)
        status = "misplaced" if wrong else "intact"
        if entry.release in there:
            status = "second copy"
        there.add(entry.release)
        rows.append((status, file.relative, entry.release, wrong))
    # A file with another name counts only if no file has the name in the release.
    for file, digest, entry in others:
        if same := [one.release for one in by_hash[digest]]:
            free = [release for release in same if release not in there]
            there.update(free[:1])
            status = "renamed" if free else "second copy"
            rows.append((status, file.relative, (free or same)[0], ""))
        elif entry is not None:
            detail = data_files.look_into(file.path).problem
            if not detail and file.size != entry.size:
                detail = f"{file.size:,} bytes instead of {entry.size:,}"
            rows.append(("altered", file.relative, entry.release, detail or "other content"))
        else:
            rows.append(("extra", file.relative, "", data_files.look_into(file.path).problem))
    return rows


def _part(file: File) -> str:
    """Return the part of the release to which a file's name and folder belong."""
    if not file.stem.isdigit():
        return "train"
    named = re.findall(r"prelim|final", "/".join(file.folders).lower())
    if named:
        return named[-1]
    return "prelim" if file.size < 1_000_000 else "final"


def _wrong_folder(file: File, label: str, fold: str) -> str:
    """Return what is wrong where a folder's name is that of another class or fold."""
    folders = [part.lower() for part in file.folders]
    if folders and folders[-1] in {"all", "hem"} - {label} and label in {"all", "hem"}:
        return f"is {label}, lies in {folders[-1]}"
    named = [part[-1] for part in folders if re.fullmatch(r"fold_?[0-2]", part)]
    if fold and named and named[-1] != fold:
        return f"is of fold {fold}, lies in fold {named[-1]}"
    return ""
