"""A copy of C-NMC held against the release's index, file by file."""

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

#: What a file can be, the grave ones first; the sentence tells what it means.
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
    """What :func:`verify` found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a file, those of the release that are missing among them:
        `status` (of `STATUSES`), `path` (from the folder; ``""`` when missing),
        `release` (the file's path in the release, or ``""``), `detail`.
    parts : pandas.DataFrame
        For each part of the release how many files it has and how many of
        them are `there`, whole, wherever they lie and whatever they are called.
    """

    table: pd.DataFrame
    parts: pd.DataFrame

    @property
    def sound(self) -> bool:
        """Whether the copy, be it a part of the release, holds nothing altered or misplaced."""
        return not self.table["status"].isin(["altered", "misplaced"]).any()

    @property
    def complete(self) -> bool:
        """Whether each file of the release is there, whole."""
        return bool((self.parts["there"] == self.parts["files"]).all())

    def _absent(self) -> list[str]:
        """Return the folders of the parts of which no file is there."""
        index = cnmc_index()
        absent = self.parts.index[self.parts["there"] == 0]
        return sorted(set(index[index["part"].isin(absent)]["folder"]))

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
            if status == "intact" or rows.empty:
                continue
            if status == "missing" and names is not None:
                # The line of a part that is missing altogether says it all.
                rows = rows[~rows["release"].str.startswith(tuple(self._absent()))]
            if rows.empty:
                continue
            lines.append(f"{len(rows):,} files {meaning} ({status}):")
            shown = rows if names is None else rows.head(names)
            for row in shown.itertuples():
                detail = f"  [{row.detail}]" if row.detail else ""
                lines.append(f"  {row.path or row.release}{detail}")
            if len(rows) > len(shown):
                lines.append(f"  ... and {len(rows) - len(shown):,} more")
        return lines


def verify(folder: str | os.PathLike, progress: bool = False) -> Verification:
    """Read every file below `folder` and hold it against the index of the C-NMC release.

    Parameters
    ----------
    folder : path-like
        Any copy or part of the release, in any layout.
    progress : bool
        Show a bar when it takes more than some seconds.

    Returns
    -------
    Verification

    Raises
    ------
    DatasetError
        When the folder is not there, or nothing in it is of the release.
    """
    folder = data_files.absolute(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: give the one that holds the copy of C-NMC.")
    index = cnmc_index()
    found, left_out = data_files.scan(folder)
    found = [file for file in found if file.ending in IMAGE_ENDINGS]
    hashes = Memory(folder, progress=progress, trust=False).hashes(found)
    table = _compare(found, hashes, index)
    table += [("extra", path, "", reason) for path, reason in left_out]
    reached = {release for _, _, release, _ in table}
    if reached <= {""}:
        raise DatasetError(
            f"Nothing in {folder} is of the C-NMC release: {len(found):,} images were looked at; "
            "expected names like UID_11_1_2_all.bmp."
        )
    release = index["folder"] + "/" + index["name"]
    table += [("missing", "", path, "") for path in release if path not in reached]
    table = pd.DataFrame(table, columns=["status", "path", "release", "detail"], dtype=object)
    rank = table["status"].map(list(STATUSES).index)
    table = table.assign(rank=rank).sort_values(["rank", "path", "release"], ignore_index=True)
    whole = table[table["status"].isin(["intact", "renamed", "misplaced"])]["release"]
    index["there"] = release.isin(set(whole)).to_numpy()
    parts = index.groupby("part")["there"].agg(files="size", there="sum").loc[list(PARTS)]
    return Verification(table.drop(columns="rank"), parts)


def _compare(
    found: list[File], hashes: list[str], index: pd.DataFrame
) -> list[tuple[str, str, str, str]]:
    """Return (status, path, release, detail) of each file that was found."""
    by_name: dict[tuple[str, str], int] = {}
    by_hash: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(index.itertuples()):
        by_name[row.part, row.name.lower()] = place
        by_hash[row.sha256].append(place)
    sizes = index["size"].to_numpy()
    truth = index["sha256"].to_numpy()
    release = (index["folder"] + "/" + index["name"]).to_numpy()
    labels, folds = index["label"].to_numpy(), index["fold"].to_numpy()

    table: list[tuple[str, str, str, str]] = []
    strangers: list[tuple[File, str]] = []
    whole: set[int] = set()
    for file, digest in sorted(zip(found, hashes, strict=True), key=lambda one: one[0].relative):
        place = by_name.get((_part(file), file.name.lower()))
        if place is None or digest != truth[place]:
            strangers.append((file, digest))
            continue
        wrong = _wrong_folder(file, labels[place], folds[place])
        status = "second copy" if place in whole else "misplaced" if wrong else "intact"
        whole.add(place)
        table.append((status, file.relative, release[place], wrong))
    for file, digest in strangers:
        same = by_hash.get(digest, [])
        place = by_name.get((_part(file), file.name.lower()))
        if same:
            free = [one for one in same if one not in whole]
            status = "renamed" if free else "second copy"
            whole.update(free[:1])
            table.append((status, file.relative, release[(free or same)[0]], ""))
        elif place is not None:
            detail = data_files.look_into(file.path).problem
            if not detail and file.size != sizes[place]:
                detail = f"{file.size:,} bytes instead of {sizes[place]:,}"
            table.append(("altered", file.relative, release[place], detail or "other content"))
        else:
            table.append(("extra", file.relative, "", ""))
    return table


def _part(file: File) -> str:
    """Return the part that a file's name and folder speak for."""
    if not file.stem.isdigit():
        return "train"
    named = re.findall(r"prelim|final", "/".join(file.folders).lower())
    if named:
        return named[-1]
    return "prelim" if file.size < 1_000_000 else "final"


def _wrong_folder(file: File, label: str, fold: str) -> str:
    """Say what is wrong when a folder's name speaks for another class or fold."""
    folders = [part.lower() for part in file.folders]
    if folders and folders[-1] in {"all", "hem"} - {label} and label in {"all", "hem"}:
        return f"is {label}, lies in {folders[-1]}"
    named = [part[-1] for part in folders if re.fullmatch(r"fold_?[0-2]", part)]
    if fold and named and named[-1] != fold:
        return f"is of fold {fold}, lies in fold {named[-1]}"
    return ""
