"""The files of a data folder: found, looked into, hashed once and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import filelock

from helpers.base.files import write_text
from helpers.base.settings import artifacts_folder

IMAGE_ENDINGS = {
    ".bmp": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
ARCHIVE_ENDINGS = {".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"}
SYSTEM_NAMES = {"thumbs.db", ".ds_store", "desktop.ini", "ehthumbs.db"}
# Reading a file's end, a JPEG or PNG that was cut off lacks its closing mark.
_TAIL = 4096
_HEAD = 65536
_SAVE_EVERY = 2000
_CACHE_VERSION = 1

#: A file that is left out, and why.
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


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds, told from its first and last bytes.

    Attributes
    ----------
    problem : str
        Why it cannot be used, or ``""``.
    width, height : int
        In pixels; 0 where the head does not tell.
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
        Whether images with ``mask`` in their name are wanted too.
    every_file : bool
        Whether files that are neither images nor tables by their ending are named
        in `left_out`; otherwise they are passed over in silence.

    Returns
    -------
    files : list of File
        Files with an image's ending, and label tables (``.csv``, ``.xyc``).
    left_out : list of (path, reason)
        What only looks like an image or lies beside them by accident: system
        files, notebook check points, masks, archives, links that lead nowhere.
    """
    files: list[File] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()

    def walk(directory: str, prefix: str) -> None:
        real = os.path.realpath(directory)
        if real in seen:  # a link that leads back up
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
                    if entry.name not in {".git", "__MACOSX"}:
                        walk(entry.path, relative + "/")
                    elif entry.name == "__MACOSX":
                        left_out.append((relative, "system file"))
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
    ending = os.path.splitext(lower)[1]
    if ending in ARCHIVE_ENDINGS:
        return "archive, to be unpacked first"
    if ending in IMAGE_ENDINGS and "mask" in lower:
        return "mask"
    return ""


def look_into(path: str | os.PathLike) -> Content:
    """Tell from a file's first and last bytes whether it is the image that its name says.

    Parameters
    ----------
    path : path-like
        A file with one of the endings of `IMAGE_ENDINGS`.

    Returns
    -------
    Content
        Nothing is decoded: a few kilobytes are read.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(512)
            size = os.fstat(stream.fileno()).st_size
            kind = _kind(head)
            if kind == "JPEG":
                head += stream.read(_HEAD - len(head))
            stream.seek(max(0, size - _TAIL))
            tail = stream.read(_TAIL)
    except OSError as error:
        return Content(f"cannot be opened ({error.strerror})")
    if not size:
        return Content("empty file")
    if head.startswith(b"version https://git-lfs"):
        return Content("git-lfs pointer")
    if not kind:
        text = not head.translate(None, bytes(range(32, 127)) + b"\t\r\n")
        return Content("text, not an image" if text else "not an image inside")
    expected = IMAGE_ENDINGS.get(os.path.splitext(path)[1].lower())
    if kind != expected:
        return Content(f"{kind} inside, against its name")
    width, height = _dimensions(kind, head)
    if kind == "BMP":
        offset, row = struct.unpack("<I", head[10:14])[0], (width * _bits(head) + 31) // 32 * 4
        compression = struct.unpack("<I", head[30:34])[0]
        complete = compression not in (0, 3) or size >= offset + row * height
    else:
        ends = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(kind, b"")
        complete = ends in tail
    return Content("" if complete else "cut off before its end", width, height)


def _kind(head: bytes) -> str:
    if head.startswith(b"BM") and len(head) >= 54:
        return "BMP"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    return ""


def _bits(head: bytes) -> int:
    return struct.unpack("<H", head[28:30])[0]


def _dimensions(kind: str, head: bytes) -> tuple[int, int]:
    if kind == "BMP":
        width, height = struct.unpack("<ii", head[18:26])
        return abs(width), abs(height)
    if kind == "PNG" and len(head) >= 24:
        return struct.unpack(">II", head[16:24])
    place = 2
    while kind == "JPEG" and place + 9 < len(head) and head[place] == 0xFF:
        mark, length = head[place + 1], struct.unpack(">H", head[place + 2 : place + 4])[0]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return 0, 0


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Memory:
    """What was found out about the files of one data folder, kept between runs.

    A file is looked into and hashed again when its size or its time of change
    is another. The store is one JSON file in the artifacts folder, replaced as
    a whole under a lock: a killed process leaves the one before, two processes
    add to each other's, a damaged one is started afresh.

    Parameters
    ----------
    folder : path-like
        The data folder.
    progress : bool
        Show a bar while many files are hashed.
    trust : bool
        False reads every file again, and remembers what it finds.
    """

    def __init__(self, folder: str | os.PathLike, progress: bool = False, trust: bool = True):
        self.folder = os.path.abspath(folder)
        name = hashlib.sha256(self.folder.encode()).hexdigest()[:16]
        self.store = artifacts_folder() / "hashes" / f"{name}.json"
        self.progress = progress
        self._known = self._read() if trust else {}

    def contents(self, files: Iterable[File]) -> list[Content]:
        """Return the :class:`Content` of each file, in order."""
        return [Content(*found) for found in self._recall(list(files), "content", _content)]

    def hashes(self, files: Iterable[File]) -> list[str]:
        """Return the SHA-256 of each file, in order."""
        return self._recall(list(files), "sha256", lambda file: sha256_of(file.path))

    def _recall(self, files: list[File], what: str, find: Callable[[File], object]) -> list:
        todo = []
        for file in files:
            entry = self._known.get(file.relative)
            if entry is None or entry["stamp"] != [file.size, file.mtime_ns]:
                self._known[file.relative] = {"stamp": [file.size, file.mtime_ns]}
            if what not in self._known[file.relative]:
                todo.append(file)
        with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as threads:
            found = zip(todo, threads.map(find, todo), strict=True)
            if self.progress and what == "sha256":
                from tqdm import tqdm

                bar = {"desc": "Hashing", "unit": "file", "delay": 5, "leave": False}
                found = tqdm(found, total=len(todo), **bar)
            for count, (file, value) in enumerate(found, start=1):
                self._known[file.relative][what] = value
                if count % _SAVE_EVERY == 0:
                    self._write()
        if todo:
            self._write()
        return [self._known[file.relative][what] for file in files]

    def _read(self) -> dict[str, dict]:
        try:
            stored = json.loads(self.store.read_text(encoding="utf-8"))
            if stored["version"] != _CACHE_VERSION or stored["folder"] != self.folder:
                return {}
            return {name: one for name, one in stored["files"].items() if _is_entry(one)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self) -> None:
        # A file that changed a moment ago may change again within the clock's
        # tick: it is not remembered, as git does not trust such a one either.
        settled = time.time_ns() - 2_000_000_000
        mine = {name: one for name, one in self._known.items() if one["stamp"][1] < settled}
        # Without a place to write (a read-only disk) files are hashed each time.
        with contextlib.suppress(OSError):
            self.store.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{self.store}.lock", timeout=60):
                merged = self._read()
                for name, entry in mine.items():
                    same = merged.get(name, {}).get("stamp") == entry["stamp"]
                    merged[name] = {**merged[name], **entry} if same else entry
                stored = {"version": _CACHE_VERSION, "folder": self.folder, "files": merged}
                write_text(self.store, json.dumps(stored))


def _is_entry(one: object) -> bool:
    """Tell whether a stored entry has the shape that this version writes."""
    if not isinstance(one, dict) or not isinstance(one.get("stamp"), list):
        return False
    content, sha256 = one.get("content", ["", 0, 0]), one.get("sha256", "0" * 64)
    return (
        isinstance(content, list)
        and [type(part) for part in content] == [str, int, int]
        and isinstance(sha256, str)
        and len(sha256) == 64
    )


def _content(file: File) -> tuple[str, int, int]:
    found = look_into(file.path)
    return found.problem, found.width, found.height


def absolute(folder: str | os.PathLike) -> Path:
    """Return `folder` as an absolute path, ``~`` expanded."""
    return Path(os.path.abspath(Path(folder).expanduser()))
