"""Bytes of an image file to its pixels, told apart by content and refused by name."""

from __future__ import annotations

import os
import struct
import threading
from typing import NamedTuple

import cv2
import numpy as np

from helpers.base.errors import ImageError


class Desk(threading.local):
    """Memory that a thread uses again for each image: to get it anew costs more than to fill it."""

    def __init__(self) -> None:
        self.content = np.empty(1 << 20, np.uint8)
        self.planes = [np.empty((0, 0), np.uint8)] * 3
        self.square = np.empty(0, np.uint8)

    def read(self, path: str | os.PathLike) -> np.ndarray:
        """Return the bytes of a file, valid until the next call."""
        end = 0
        try:
            file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                while count := _read_into(file, self.content[end:]):
                    end += count
                    if end < self.content.size:  # less than was asked for: the file's end
                        break
                    self.content = np.concatenate([self.content, np.empty_like(self.content)])
            finally:
                os.close(file)
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error
        return self.content[:end]

    def memory(self, size: int) -> np.ndarray:
        """Return that many bytes to write over, which :meth:`read` writes over, too."""
        if self.content.size < size:
            self.content = np.empty(size, np.uint8)
        return self.content[:size]

    def planes_of(self, height: int, width: int) -> list[np.ndarray]:
        """Return three planes of that height and width to write over."""
        if self.planes[0].shape != (height, width):
            self.planes = [np.empty((height, width), np.uint8) for _ in range(3)]
        return self.planes

    def square_of(self, side: int) -> np.ndarray:
        """Return a square, shape (side, side, 3), to write over."""
        if self.square.size < side * side * 3:
            self.square = np.empty(side * side * 3, np.uint8)
        return self.square[: side * side * 3].reshape(side, side, 3)


def _read_into(file: int, memory: np.ndarray) -> int:
    """Fill `memory` from an open file; return how many bytes there were."""
    if hasattr(os, "readv"):  # without Python's file object, which costs as much as 50 kB
        return os.readv(file, [memory])
    with open(file, "rb", buffering=0, closefd=False) as unbuffered:  # Windows
        return unbuffered.readinto(memory.data) or 0


def decode(content: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """Return the file's pixels as BGR uint8; of a plain BMP as a view of `content`."""
    kind = _kind(content)
    if kind is None:
        raise ImageError(f"{path} is no BMP, JPEG, PNG or TIFF image: {_found(content)}.")
    header = _bmp_header(content) if kind == "BMP" else None
    if _ends_early(content, kind, header):
        raise ImageError(
            f"{path} is a {kind} image that ends too early, after {content.size:,} bytes: "
            "fetch it again."
        )
    if header and header.plain:
        rows = content[header.start : header.end].reshape(header.height, header.stride)
        pixels = rows[:, : header.width * 3].reshape(header.height, header.width, 3)
        return pixels[::-1]  # the last row comes first in the file
    try:
        image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(
            f"{path} is a {kind} image of {content.size:,} bytes that cannot be decoded: "
            "it is damaged or of a rare kind."
        )
    return _bgr(image, path)


class _BmpHeader(NamedTuple):
    start: int  # of the pixels, in bytes
    stride: int  # of a row, in bytes
    width: int
    height: int  # without its sign
    plain: bool  # 24 bits a pixel, last row first, not compressed

    @property
    def end(self) -> int:
        return self.start + self.stride * self.height


def plain_bmp(content: bytes) -> _BmpHeader | None:
    """Return the header of a BMP file whose pixels :func:`decode` takes as they lie, else None."""
    header = _bmp_header(content) if content.startswith(b"BM") else None
    return header if header and header.plain else None


def _bmp_header(content: np.ndarray | bytes) -> _BmpHeader | None:
    """Return the header of an uncompressed BMP file, None of any other or a broken one."""
    if len(content) < 54:
        return None
    start, length, width, height, _, bits, packing = struct.unpack_from("<IIiiHHI", content, 10)
    if length < 40 or packing not in (0, 3) or width <= 0 or height == 0:
        return None
    plain = bits == 24 and packing == 0 and height > 0
    return _BmpHeader(start, (width * bits + 31) // 32 * 4, width, abs(height), plain)


def _kind(content: np.ndarray) -> str | None:
    start = content[:8].tobytes()
    kinds = {
        b"BM": "BMP",
        b"\xff\xd8\xff": "JPEG",
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"II*\0": "TIFF",
        b"MM\0*": "TIFF",
    }
    return next((kind for sign, kind in kinds.items() if start.startswith(sign)), None)


def _found(content: np.ndarray) -> str:
    if content.size == 0:
        return "it is empty"
    start = content[:64].tobytes()
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer to a file in git-lfs, run `git lfs pull` to fetch what it points to"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page, as a download behind a login gives"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        return f"it is text of {content.size:,} bytes that begins with {start[:30].decode()!r}"
    return f"its {content.size:,} bytes begin with {start[:8]!r}"


def _ends_early(content: np.ndarray, kind: str, header: _BmpHeader | None) -> bool:
    """Return whether the end is missing: most decoders silently fill it up."""
    if kind == "JPEG":
        return b"\xff\xd9" not in content[-4096:].tobytes()
    if kind == "PNG":
        return b"IEND" not in content[-4096:].tobytes()
    return kind == "BMP" and (
        content.size < 54 or (header is not None and content.size < header.end)
    )


def _bgr(image: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError(
            f"{path} holds {image.dtype} values, but the course reads images of 8 or 16 bits."
        )
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        color, alpha = image[..., :3].astype(np.uint16), image[..., 3:].astype(np.uint16)
        return ((color * alpha + 127) // 255).astype(np.uint8)
    return image
