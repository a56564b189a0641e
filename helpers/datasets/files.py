"""The files of a data folder: listed, checked and hashed once, and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from helpers.base.files import locked, read_sealed, sealed, write_text
from helpers.base.image_files import IMAGE_ENDINGS, sniff
from helpers.base.settings import artifacts_folder

#: Endings of images that the course does not read.
OTHER_IMAGE_ENDINGS = {
    ".avif", ".dcm", ".gif", ".heic", ".heif", ".jp2", ".ndpi", ".ppm", ".svs", ".tga", ".webp",
}  # fmt: skip
#: Folders of thumbnails, waste bins and the like, besides those that begin with a dot.
SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
ARCHIVE_ENDINGS = {".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"}
SYSTEM_NAMES = {"thumbs.db", ".ds_store", "desktop.ini", "ehthumbs.db"}
_SAVE_EVERY = 2000  # files
_CACHE_VERSION = 3

#: A file that is left out, and the reason.
LeftOut = tuple[str, str]


@dataclass(frozen=True, slots=True)
class File:
    """One file below a data folder.

    Attributes
    ----------
    path : str
        Absolute path.
    relative : str
        Path from the data folder, with ``/``.
    size, mtime_ns : int
        Bytes; time of the last change in nanoseconds.
    """

    path: str
    relative: str
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.relative.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def ending(self) -> str:
        """The ending in lower case, with its dot."""
        return os.path.splitext(self.name)[1].lower()

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders between the data folder and the file."""
        return PurePosixPath(self.relative).parts[:-1]


class Content(NamedTuple):
    """What an image file contains, by its header.

    Attributes
    ----------
    problem : str
        Why it cannot be used, or ``""``.
    width, height : int
        In pixels; 0 when unknown.
    """

    problem: str
    width: int = 0
    height: int = 0


def scan(
    folder: str | os.PathLike, masks: bool = False, every_file: bool = False
) -> tuple[list[File], list[LeftOut]]:
    """Find every file below `folder`, in an order that does not depend on the disk.

    Parameters
    ----------
    folder : path-like
    masks : bool
        Whether images with ``mask`` in their name are included.
    every_file : bool
        Whether files that are neither images nor tables by their ending are named
        in `left_out`; otherwise they are passed over in silence.

    Returns
    -------
    files : list of File
        Files with the ending of an image, and label tables (``.csv``, ``.xyc``).
    left_out : list of (path, reason)
        Files that look like images but are not, or that do not belong to the
        data: system files, notebook checkpoints, masks, archives, broken links.
    """
    files: list[File] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()

    def walk(directory: str, prefix: str) -> None:
        real = os.path.realpath(directory)
        if real in seen:  # a link to a folder above
            return
        seen.add(real)
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            left_out.append((prefix.rstrip("/") or ".", f"cannot be opened ({error.strerror})"))
            return
        if os.path.basename(directory) == ".ipynb_checkpoints":
            names = [prefix + entry.name for entry in entries] or [prefix.rstrip("/")]
            left_out.extend((name, "notebook check point") for name in names)
            return
        for entry in entries:
            relative = prefix + entry.name
            try:
                if entry.is_dir():
                    hidden = entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS
                    if hidden and entry.name != ".ipynb_checkpoints":
                        left_out.append((relative, "hidden or system folder"))
                    else:
                        walk(entry.path, relative + "/")
                    continue
                status = entry.stat()
            except OSError as error:
                left_out.append((relative, f"cannot be opened ({error.strerror})"))
                continue
            reason = _reason_by_name(entry.name)
            if reason and not (masks and reason == "mask"):
                left_out.append((relative, reason))
                continue
            file = File(entry.path, relative, status.st_size, status.st_mtime_ns)
            if file.ending in IMAGE_ENDINGS or file.ending in {".csv", ".xyc"}:
                files.append(file)
            elif every_file:
                left_out.append((relative, "not an image by its ending"))

    walk(os.path.abspath(folder), "")
    files.sort(key=lambda file: file.relative)
    return files, sorted(left_out)


def _reason_by_name(name: str) -> str:
    lower = name.lower()
    if lower in SYSTEM_NAMES or lower.startswith("._"):
        return "system file"
    if lower.startswith("."):
        return "hidden file"
    ending = os.path.splitext(lower)[1]
    if ending in ARCHIVE_ENDINGS:
        return "archive, to be unpacked first"
    if ending in OTHER_IMAGE_ENDINGS:
        return "image of a kind that the course cannot read; save it as PNG"
    if ending in IMAGE_ENDINGS and "mask" in lower:
        return "mask"
    return ""


def look_into(path: str | os.PathLike) -> Content:
    """Check that a file is a complete image of the format that its name promises.

    Parameters
    ----------
    path : path-like
        A file with one of the endings of `IMAGE_ENDINGS`.

    Returns
    -------
    Content
        Only the header is read, no pixels are decoded.
    """
    try:
        with open(path, "rb") as file:
            info = sniff(file)
    except OSError as error:
        return Content(f"cannot be opened ({error.strerror})")
    problem = info.problem
    if info.format and info.format != IMAGE_ENDINGS.get(os.path.splitext(path)[1].lower()):
        problem = f"{info.format} inside, against its name"
    return Content(problem, info.width, info.height)


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Memory:
    """What is known about the files of one data folder, kept between runs.

    A file is checked and hashed again when its size or modification time has
    changed. The store is one JSON file in the artifacts folder, replaced as a
    whole under a lock: if a process is killed, the previous store remains; two
    processes add to each other's entries; a damaged store is begun anew.

    Parameters
    ----------
    folder : path-like
        The data folder.
    trust : bool
        False reads every file again, and stores the new results.
    """

    def __init__(self, folder: str | os.PathLike, trust: bool = True):
        self.folder = os.path.abspath(folder)
        name = hashlib.sha256(self.folder.encode()).hexdigest()[:16]
        self.store = artifacts_folder() / "hashes" / f"{name}.json"
        self._known = self._read() if trust else {}

    def contents(self, files: Iterable[File]) -> list[Content]:
        """Return the :class:`Content` of each file, in order."""
        return [Content(*entry) for entry in self._recall(list(files), "content", look_into)]

    def hashes(self, files: Iterable[File]) -> list[str]:
        """Return the SHA-256 of each file, in order."""
        return self._recall(list(files), "sha256", sha256_of)

    def _recall(self, files: list[File], what: str, compute: Callable[[str], object]) -> list:
        """Return what is stored under the key `what` for each file; compute what is missing."""
        todo = []
        for file in files:
            entry = self._known.get(file.relative)
            if entry is None or entry["stamp"] != [file.size, file.mtime_ns]:
                self._known[file.relative] = {"stamp": [file.size, file.mtime_ns]}
            if what not in self._known[file.relative]:
                todo.append(file)
        paths = [file.path for file in todo]
        with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as threads:
            bar = {"desc": "Reading", "unit": "file", "delay": 5, "leave": False}
            results = tqdm(threads.map(compute, paths), total=len(paths), **bar)
            for count, (file, value) in enumerate(zip(todo, results, strict=True), start=1):
                self._known[file.relative][what] = value
                if count % _SAVE_EVERY == 0:
                    self._write()
        if todo:
            self._write()
        return [self._known[file.relative][what] for file in files]

    def _read(self) -> dict[str, dict]:
        try:
            stored = read_sealed(self.store) or {}
            if stored["version"] != _CACHE_VERSION or stored["folder"] != self.folder:
                return {}
            return {name: entry for name, entry in stored["files"].items() if _is_entry(entry)}
        except (KeyError, TypeError, AttributeError):
            return {}

    def _write(self) -> None:
        # A file modified just now may change again without a new modification time, as the
        # clock of a disk is coarse. Such files are not stored; git does the same.
        settled = time.time_ns() - 2_000_000_000
        mine = {name: entry for name, entry in self._known.items() if entry["stamp"][1] < settled}
        # On a read-only disk nothing is stored, and files are hashed in every run.
        with contextlib.suppress(OSError), locked(f"{self.store}.lock"):
            merged = self._read()
            for name, entry in mine.items():
                same = merged.get(name, {}).get("stamp") == entry["stamp"]
                merged[name] = {**merged[name], **entry} if same else entry
            stored = {"version": _CACHE_VERSION, "folder": self.folder, "files": merged}
            write_text(self.store, json.dumps(sealed(stored)))


def _is_entry(entry: object) -> bool:
    """Return whether a stored entry has the form that this version writes."""
    if not isinstance(entry, dict) or not isinstance(entry.get("stamp"), list):
        return False
    content, sha256 = entry.get("content", ["", 0, 0]), entry.get("sha256", "0" * 64)
    return (
        isinstance(content, list)
        and [type(part) for part in content] == [str, int, int]
        and isinstance(sha256, str)
        and len(sha256) == 64
    )


def absolute(folder: str | os.PathLike) -> Path:
    """Return `folder` as an absolute path, ``~`` expanded."""
    return Path(os.path.abspath(Path(folder).expanduser()))
