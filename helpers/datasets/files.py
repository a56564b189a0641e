"""The files of a data folder: listed, checked and hashed once, and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from helpers.base import arguments, progress
from helpers.base.errors import DatasetError
from helpers.base.files import locked, read_sealed, sealed, write_text
from helpers.base.image_files import IMAGE_ENDINGS, is_black, open_file, open_image
from helpers.base.settings import artifacts_folder

#: Endings of images that the course does not read.
OTHER_IMAGE_ENDINGS = {
    ".avif", ".czi", ".dcm", ".dng", ".gif", ".heic", ".heif", ".j2k", ".jp2", ".jxl", ".lif",
    ".mrxs", ".nd2", ".ndpi",
    ".pbm", ".pgm", ".pnm", ".ppm", ".scn", ".svs", ".tga", ".vsi", ".webp",
}  # fmt: skip
#: Folders of thumbnails, waste bins and the like (lower case), besides hidden ones.
SYSTEM_FOLDERS = {
    "__macosx", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
    "$recycle.bin", "recycler", "recycled", "system volume information", "lost+found",
    "thumbs", "thumbnail", "thumbnails",
}  # fmt: skip
#: Endings of tables that the course does not read.
OTHER_TABLE_ENDINGS = {".tsv", ".xls", ".xlsx", ".xlsm", ".ods", ".numbers"}
ARCHIVE_ENDINGS = {".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"}
SYSTEM_NAMES = {"thumbs.db", ".ds_store", "desktop.ini", "ehthumbs.db", "icon\r"}
UNFINISHED_ENDINGS = {".crdownload", ".download", ".filepart", ".part", ".partial", ".tmp"}
#: Why a table is named in the report of a data set that has no use for it.
NO_TABLE_OF_IT = "table that this data set does not use"
#: The reason of what is reported of a table and is no file.
NAMES_NO_IMAGE = "row that names no image"
_THUMBNAIL = re.compile(r"(^|[_\-. ])thumb(nail)?s?([_\-. ]|$)", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SAVE_EVERY = 2000  # files
_CACHE_VERSION = 6

# The course writes these beside the images that it draws: their recipe, its checksum, a lock.
_OWN_NOTES = re.compile(r"\.?phantom(s|_fields)(_finished)?\.(json|lock|json\.sums)")
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
        Path from the data folder, with ``/``, fit to be displayed: see :func:`readable_name`.
    size, mtime_ns, ctime_ns : int
        Bytes; times in nanoseconds: of the last change of the content, which tools may set,
        and of the file's entry, which also changes when it is moved.
    """

    path: str
    relative: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0

    @property
    def stamp(self) -> list[int]:
        """What differs when another file has taken the place of this one."""
        return [self.size, self.mtime_ns, self.ctime_ns]

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
    black : bool
        Whether every pixel is black.
    """

    problem: str
    width: int = 0
    height: int = 0
    black: bool = False


def readable_name(name: str) -> str:
    """Return a file name as text that can be displayed, stored and compared.

    Bytes that are not UTF-8 are taken for Latin-1, as older systems wrote names. Line
    breaks and other control characters are replaced.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(name).decode("latin-1")
    return _CONTROL.sub("\ufffd", name)


def scan(folder: str | os.PathLike, masks: bool = False) -> tuple[list[File], list[LeftOut]]:
    """Find every file below `folder`, in an order that does not depend on the disk.

    Parameters
    ----------
    folder : path-like
    masks : bool
        Whether images with ``mask`` in their name are included.

    Returns
    -------
    files : list of File
        Files with the ending of an image, and label tables (``.csv``, ``.xyc``); also a
        ``.csv`` that cannot be opened, for the reader may need it.
    left_out : list of (path, reason)
        Every other file: what is no image by its ending, system files, notebook check
        points, masks, archives, thumbnails, broken links, pipes. Of a hidden or system
        folder, and of one that was listed already, only the folder is named.
    """
    files: list[File] = []
    left_out: list[LeftOut] = []
    root = os.path.abspath(folder)
    above = os.path.join(os.path.realpath(root), "")
    seen: set[str] = set()
    links: list[tuple[str, str]] = []  # to folders, which may lie in the tree themselves

    def walk(directory: str, prefix: str) -> None:
        real = os.path.realpath(directory)
        if real in seen or (prefix and above.startswith(os.path.join(real, ""))):
            left_out.append((prefix.rstrip("/"), "link to a folder that is listed elsewhere"))
            return
        seen.add(real)
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            left_out.append((prefix.rstrip("/") or ".", f"cannot be opened ({error.strerror})"))
            return
        if os.path.basename(directory) == ".ipynb_checkpoints":
            names = [prefix + readable_name(entry.name) for entry in entries]
            reason = "notebook check point"
            left_out.extend((name, reason) for name in names or [prefix.rstrip("/")])
            return
        for entry in entries:
            if _OWN_NOTES.fullmatch(entry.name):
                continue
            relative = prefix + readable_name(entry.name)
            try:
                status = entry.stat()
            except OSError as error:
                if _is_table(file := File(entry.path, relative, 0, 0)):
                    files.append(file)
                else:
                    left_out.append((relative, f"cannot be opened ({error.strerror})"))
                continue
            if stat.S_ISDIR(status.st_mode):
                if _is_system_folder(entry.name):
                    left_out.append((relative, "hidden or system folder"))
                elif entry.is_symlink():
                    links.append((entry.path, relative + "/"))
                else:
                    walk(entry.path, relative + "/")
                continue
            times = status.st_mtime_ns, status.st_ctime_ns
            file = File(entry.path, relative, status.st_size, *times)
            reason = _reason_by_name(file)
            if _is_table(file):
                files.append(file)
            elif not stat.S_ISREG(status.st_mode):
                left_out.append((relative, "a pipe, a socket or a device, not a file"))
            elif reason and not (masks and reason == "mask"):
                left_out.append((relative, reason))
            elif file.ending in IMAGE_ENDINGS or file.ending == ".xyc":
                files.append(file)
            else:
                left_out.append((relative, "not an image by its ending"))

    walk(root, "")
    while links:
        walk(*links.pop(0))
    files.sort(key=lambda file: file.relative)
    return files, sorted(left_out)


def _is_table(file: File) -> bool:
    return file.ending == ".csv" and not _reason_by_name(file)


def _is_system_folder(name: str) -> bool:
    hidden = name.startswith(".") and name != ".ipynb_checkpoints"
    return hidden or name.lower() in SYSTEM_FOLDERS


def _reason_by_name(file: File) -> str:
    lower = file.name.lower()
    if lower in SYSTEM_NAMES or lower.startswith(("._", "~$")):
        return "system file"
    if lower.startswith("."):
        return "hidden file"
    if file.ending in ARCHIVE_ENDINGS:
        return "archive, to be unpacked first"
    if file.ending in UNFINISHED_ENDINGS:
        return "unfinished download or temporary file"
    if file.ending in OTHER_IMAGE_ENDINGS:
        return "image of a kind that the course cannot read; save it as PNG"
    if file.ending in OTHER_TABLE_ENDINGS:
        return "table of a kind that the course cannot read; save it as CSV"
    if file.ending in IMAGE_ENDINGS and _THUMBNAIL.search(file.stem):
        return "thumbnail"
    if file.ending in IMAGE_ENDINGS and "mask" in lower:
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
        The image is decoded: what is sound here, :func:`helpers.images.load_images` can read.
    """
    try:
        with open_file(path) as file:
            found = open_image(file)
            black = not found.problem and is_black(file, found)
    except OSError as error:
        return Content(
            error.strerror if error.errno == 0 else f"cannot be opened ({error.strerror})"
        )
    problem = found.problem
    if found.format and found.format != IMAGE_ENDINGS.get(os.path.splitext(path)[1].lower()):
        problem = f"{found.format} inside, against its name"
    return Content(problem, found.width, found.height, black)


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Memory:
    """What is known about the files of one data folder, kept between runs.

    A file is checked and hashed again when its size or one of its times has
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
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
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
            entry = self._known.get(self._key(file))
            if entry is None or entry["stamp"] != file.stamp:
                self._known[self._key(file)] = {"stamp": file.stamp}
            if what not in self._known[self._key(file)]:
                todo.append(file)
        paths = [file.path for file in todo]
        with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as threads:
            bar = {"desc": "Reading", "unit": "file", "delay": 5}
            results = progress.bar(threads.map(compute, paths), total=len(paths), **bar)
            for count, (file, value) in enumerate(zip(todo, results, strict=True), start=1):
                self._known[self._key(file)][what] = value
                if count % _SAVE_EVERY == 0:
                    self._write()
        if todo:
            self._write()
        return [self._known[self._key(file)][what] for file in files]

    def _key(self, file: File) -> str:
        """Return the exact path: two names may look the same."""
        return file.path.removeprefix(self.folder).lstrip(os.sep)

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
    content, sha256 = entry.get("content", ["", 0, 0, False]), entry.get("sha256", "0" * 64)
    return (
        isinstance(content, list)
        and [type(part) for part in content] == [str, int, int, bool]
        and isinstance(sha256, str)
        and len(sha256) == 64
    )


def absolute(folder: str | os.PathLike) -> Path:
    """Return `folder` as an absolute path, ``~`` expanded."""
    try:
        return Path(os.path.abspath(os.path.expanduser(Path(folder))))
    except TypeError as error:
        raise DatasetError(f"A folder must be a path, but is {arguments.shown(folder)}.") from error
