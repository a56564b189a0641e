"""Image files of all kinds, drawn in memory, and damaged copies of them.

Run as a program, it opens damaged copies and compares each with what Pillow reads:
``python -m tests.unit.images.image_kinds COUNT SEED``.
"""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from functools import cache

import cv2
import numpy as np
import tifffile
from PIL import Image

from helpers.base.image_files import _silent_libtiff

HEIGHT, WIDTH = 18, 21
_RNG = np.random.default_rng(10)
#: What the files show: noise, so that no pixel can take the place of another.
COLOR = _RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = COLOR[..., 0]
DEEP = _RNG.integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
DEEP[0, 0] = 65535
ALPHA = _RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
TWO = (GREY > 127).astype(np.uint8) * 255


def as_grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None], 3, axis=2)


def on_black(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.round(color * (alpha[..., None] / 255.0)).astype(np.uint8)


def saved(mode: str | Image.Image, kind: str, **more) -> bytes:
    """Return the picture in one of Pillow's modes, as a file that Pillow wrote."""
    image = mode if isinstance(mode, Image.Image) else in_mode(mode)
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def in_mode(mode: str) -> Image.Image:
    color = Image.fromarray(COLOR)
    if mode == "RGBA":
        return Image.fromarray(np.dstack([COLOR, ALPHA]))
    if mode == "LA":
        return Image.fromarray(np.dstack([GREY, ALPHA]))
    if mode == "L":
        return Image.fromarray(GREY)
    if mode == "1":
        return Image.fromarray(TWO).convert("1", dither=Image.Dither.NONE)
    if mode == "P":
        return color.quantize(16, dither=Image.Dither.NONE)
    if mode == "I;16":
        return Image.fromarray(DEEP[..., 0])
    return color.convert(mode)


def tiff(array: np.ndarray, **more) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **more)
    return stream.getvalue()


def opencv(array: np.ndarray, ending: str) -> bytes:
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(array.shape[2]) if array.ndim == 3 else None
    code = cv2.imencode(ending, array[..., order] if order else array)[1]
    return code.tobytes()


def bmp(bits: int, rows: bytes, coding: int = 0, height: int = HEIGHT, **more) -> bytes:
    """Return a BMP with a header of 40 bytes, or 12 (OS/2) or 108 (with masks)."""
    size, masks = more.get("size", 40), more.get("masks", b"")
    palette = more.get("palette", b"")
    start = 14 + size + (len(masks) if size == 40 else 0) + len(palette)
    if size == 12:
        header = struct.pack("<IHHHH", 12, WIDTH, height, 1, bits)
    else:
        colors = more.get("colors", 0)
        fields = (size, WIDTH, height, 1, bits, coding, len(rows), 2835, 2835, colors, 0)
        header = struct.pack("<IiiHHIIiiII", *fields)
        header += masks.ljust(size - 40, b"\0") if size > 40 else masks
    total = start + len(rows)
    return b"BM" + struct.pack("<IHHI", total, 0, 0, start) + header + palette + rows


def bmp_rows(array: np.ndarray) -> bytes:
    """Return the rows from the bottom up, each filled to four bytes."""
    rows = [row.tobytes() for row in array[::-1]]
    return b"".join(row + bytes(-len(row) % 4) for row in rows)


def rle8(grey: np.ndarray) -> bytes:
    runs = b"".join(b"".join(bytes((1, value)) for value in row) + b"\0\0" for row in grey[::-1])
    return runs + b"\0\1"


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 8
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        check = zlib.crc32(name + data)
        parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", check))
    return b"".join(parts)


def interlaced() -> bytes:
    """Return COLOR as an interlaced PNG, which neither Pillow nor OpenCV writes."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1))  # fmt: skip
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in COLOR[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def with_chunk(content: bytes, name: bytes, data: bytes) -> bytes:
    """Return a PNG with one more chunk before its pixels."""
    chunks = png_chunks(content)
    place = [kind for kind, _ in chunks].index(b"IDAT")
    return png_of([*chunks[:place], (name, data), *chunks[place:]])


def with_tags(content: bytes, values: dict[int, int]) -> bytes:
    """Return a little-endian TIFF in which tags of one short number have other values."""
    changed, left = bytearray(content), dict(values)
    (place,) = struct.unpack_from("<I", content, 4)
    for entry in range(place + 2, place + 2 + 12 * struct.unpack_from("<H", content, place)[0], 12):
        (tag,) = struct.unpack_from("<H", content, entry)
        if tag in left:
            struct.pack_into("<H", changed, entry + 8, left.pop(tag))
    assert not left
    return bytes(changed)


@cache
def kinds() -> dict[str, tuple[bytes, np.ndarray | None]]:
    """Return files and what each shows; None where the course may refuse, by name."""
    palette = in_mode("P").convert("RGB")
    shown = np.asarray(palette)
    key = bytes(np.array(COLOR[3, 4], ">u2").tobytes())
    keyed = COLOR.copy()
    keyed[(COLOR[3, 4] == COLOR).all(axis=2)] = 0
    clear = np.zeros_like(ALPHA)
    greys = b"".join(bytes((value, value, value, 0)) for value in range(256))
    bgr, bgra = COLOR[..., ::-1], np.dstack([COLOR[..., ::-1], ALPHA])
    r, g, b = (COLOR[..., i].astype(np.uint16) for i in range(3))
    five = (r >> 3) << 11 | (g >> 2) << 5 | b >> 3
    five_six = np.dstack(
        [(five >> 11) * 255 // 31, (five >> 5 & 63) * 255 // 63, (five & 31) * 255 // 31]
    ).astype(np.uint8)
    masks565 = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    masks8888 = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    high = (DEEP >> 8).astype(np.uint8)
    moved = Image.fromarray(np.roll(COLOR, 5, axis=0))
    turned = Image.Exif()
    turned[0x0112] = 6
    files: dict[str, tuple[bytes, np.ndarray | None]] = {
        "plain.bmp": (saved("RGB", "BMP"), COLOR),
        "grey.bmp": (saved("L", "BMP"), as_grey(GREY)),
        "two.bmp": (saved("1", "BMP"), as_grey(TWO)),
        "palette.bmp": (saved("P", "BMP"), shown),
        "os2.bmp": (bmp(24, bmp_rows(bgr), size=12), COLOR),
        "top-down.bmp": (bmp(24, bmp_rows(bgr[::-1]), height=-HEIGHT), COLOR),
        "32 bits.bmp": (bmp(32, bmp_rows(bgra)), COLOR),
        "alpha.bmp": (bmp(32, bmp_rows(bgra), 3, size=108, masks=masks8888),
                      on_black(COLOR, ALPHA)),
        "clear.bmp": (bmp(32, bmp_rows(np.dstack([bgr, clear])), 3, size=108, masks=masks8888),
                      None),
        "16 bits.bmp": (bmp(16, bmp_rows(five), 3, masks=masks565), five_six),
        "rle8.bmp": (bmp(8, rle8(GREY), 1, palette=greys), as_grey(GREY)),
        "two of 256.bmp": (bmp(8, bmp_rows(TWO // 255), palette=greys[:4] + greys[-4:], colors=2),
                           None),
        "plain.png": (saved("RGB", "PNG"), COLOR),
        "opencv.png": (opencv(COLOR, ".png"), COLOR),
        "grey.png": (saved("L", "PNG"), as_grey(GREY)),
        "two.png": (saved("1", "PNG"), as_grey(TWO)),
        "palette.png": (saved("P", "PNG"), shown),
        "palette key.png": (saved("P", "PNG", transparency=3), None),
        "palette alpha.png": (saved("P", "PNG", transparency=bytes(range(0, 160, 10))), None),
        "alpha.png": (saved("RGBA", "PNG"), on_black(COLOR, ALPHA)),
        "grey alpha.png": (saved("LA", "PNG"), on_black(as_grey(GREY), ALPHA)),
        "clear.png": (saved(Image.fromarray(np.dstack([COLOR, clear])), "PNG"), None),
        "key.png": (with_chunk(saved("RGB", "PNG"), b"tRNS", key), keyed),
        "deep.png": (opencv(DEEP, ".png"), high),
        "deep grey.png": (saved("I;16", "PNG"), as_grey(high[..., 0])),
        "deep key.png": (with_chunk(opencv(DEEP, ".png"), b"tRNS", bytes(6)), None),
        "deep alpha.png": (opencv(np.dstack([DEEP, ALPHA.astype(np.uint16) * 257]), ".png"),
                           on_black(high, ALPHA)),
        "dark.png": (opencv(DEEP >> 4, ".png"), None),
        "interlaced.png": (interlaced(), COLOR),
        "animated.png": (saved("RGB", "PNG", save_all=True, append_images=[moved]), COLOR),
        "profile.png": (saved("RGB", "PNG", icc_profile=bytes(200)), COLOR),
        "plain.jpg": (saved("RGB", "JPEG", quality=100, subsampling=0), COLOR),
        "turned.jpg": (saved("RGB", "JPEG", quality=100, subsampling=0, exif=turned), COLOR),
        "progressive.jpg": (saved("RGB", "JPEG", quality=100, subsampling=0, progressive=True),
                            COLOR),
        "optimised.jpg": (saved("L", "JPEG", quality=100, optimize=True), as_grey(GREY)),
        "several.jpg": (saved("RGB", "MPO", quality=100, subsampling=0, save_all=True,
                              append_images=[moved]), COLOR),
        "rgb.jpg": (saved("RGB", "JPEG", quality=100, keep_rgb=True), COLOR),
        "tail.jpg": (saved("RGB", "JPEG", quality=100, subsampling=0) + bytes(5000), COLOR),
        "print.jpg": (saved("CMYK", "JPEG"), None),
        "plain.tif": (saved("RGB", "TIFF"), COLOR),
        "opencv.tif": (opencv(COLOR, ".tif"), COLOR),
        "grey.tif": (saved("L", "TIFF"), as_grey(GREY)),
        "two.tif": (saved("1", "TIFF"), as_grey(TWO)),
        "fax.tif": (saved("1", "TIFF", compression="group4"), as_grey(TWO)),
        "palette.tif": (saved("P", "TIFF"), shown),
        "alpha.tif": (saved("RGBA", "TIFF"), on_black(COLOR, ALPHA)),
        "alpha lzw.tif": (saved("RGBA", "TIFF", compression="tiff_lzw"), on_black(COLOR, ALPHA)),
        "opencv alpha.tif": (opencv(np.dstack([COLOR, ALPHA]), ".tif"), on_black(COLOR, ALPHA)),
        "grey alpha.tif": (saved("LA", "TIFF"), on_black(as_grey(GREY), ALPHA)),
        "multiplied.tif": (
            tiff(np.dstack([on_black(COLOR, ALPHA), ALPHA]), photometric="rgb",
                 extrasamples=["assocalpha"]),
            on_black(COLOR, ALPHA),
        ),
        "fourth.tif": (tiff(np.dstack([COLOR, ALPHA]), photometric="rgb",
                            extrasamples=["unspecified"]), COLOR),
        "turned.tif": (saved("RGB", "TIFF", exif=turned), COLOR),
        "turned lzw.tif": (saved("RGB", "TIFF", exif=turned, compression="tiff_lzw"), COLOR),
        "turned deep.tif": (saved("I;16", "TIFF", exif=turned), as_grey(high[..., 0])),
        "negative.tif": (tiff(GREY, photometric="miniswhite"), as_grey(255 - GREY)),
        "deep.tif": (tiff(DEEP, photometric="rgb"), high),
        "deep opencv.tif": (opencv(DEEP, ".tif"), high),
        "deep motorola.tif": (tiff(DEEP, photometric="rgb", byteorder=">"), high),
        "deep motorola deflate.tif": (tiff(DEEP, photometric="rgb", byteorder=">",
                                           compression="zlib"), high),
        "deep grey.tif": (tiff(DEEP[..., 0]), as_grey(high[..., 0])),
        "deep grey motorola.tif": (tiff(DEEP[..., 0], byteorder=">"), as_grey(high[..., 0])),
        "deep grey motorola deflate.tif": (tiff(DEEP[..., 0], byteorder=">", compression="zlib"),
                                           as_grey(high[..., 0])),
        "deep predicted.tif": (tiff(DEEP, photometric="rgb", compression="zlib", predictor=2),
                               high),
        "deep negative.tif": (tiff(DEEP[..., 0], photometric="miniswhite"), None),
        "deep planes.tif": (tiff(np.moveaxis(DEEP, 2, 0), photometric="rgb",
                                 planarconfig="separate"), None),
        "deep planes deflate.tif": (tiff(np.moveaxis(DEEP, 2, 0), photometric="rgb",
                                         planarconfig="separate", compression="zlib"), None),
        "dark.tif": (tiff(DEEP >> 4, photometric="rgb"), None),
        "dark grey.tif": (tiff(DEEP[..., 0] >> 4), None),
        "planes.tif": (tiff(np.moveaxis(COLOR, 2, 0), photometric="rgb",
                            planarconfig="separate"), COLOR),
        "planes deflate.tif": (tiff(np.moveaxis(COLOR, 2, 0), photometric="rgb",
                                    planarconfig="separate", compression="zlib"), COLOR),
        "planes negative.tif": (with_tags(saved("L", "TIFF"), {262: 0, 284: 2}), None),
        "planes alpha.tif": (
            tiff(np.moveaxis(np.dstack([on_black(COLOR, ALPHA), ALPHA]), 2, 0), photometric="rgb",
                 planarconfig="separate", extrasamples=["assocalpha"]),
            None,
        ),
        "tiles.tif": (tiff(COLOR, photometric="rgb", tile=(16, 16)), COLOR),
        "tiles deflate.tif": (tiff(COLOR, photometric="rgb", tile=(16, 16), compression="zlib"),
                              COLOR),
        "tiles planes.tif": (tiff(np.moveaxis(COLOR, 2, 0), photometric="rgb", tile=(16, 16),
                                  planarconfig="separate"), COLOR),
        "tiles deep.tif": (tiff(DEEP, photometric="rgb", tile=(16, 16)), high),
        "strips.tif": (tiff(COLOR, photometric="rgb", rowsperstrip=5), COLOR),
        "big.tif": (tiff(COLOR, photometric="rgb", bigtiff=True), COLOR),
        "pages.tif": (tiff(np.stack([COLOR, COLOR[::-1]]), photometric="rgb"), COLOR),
        "private.tif": (tiff(COLOR, photometric="rgb", extratags=[(34118, "s", 0, "SEM", True)]),
                        COLOR),
        "float.tif": (tiff(COLOR.astype(np.float32), photometric="rgb"), None),
        "float grey.tif": (tiff(GREY.astype(np.float32)), None),
        "signed.tif": (tiff(GREY.astype(np.int16) - 100), None),
        "signed 8.tif": (tiff((GREY // 2).astype(np.int8)), None),
        "long.tif": (tiff(GREY.astype(np.uint32)), None),
        "print.tif": (saved("CMYK", "TIFF"), None),
        "lab.tif": (saved("LAB", "TIFF"), None),
        "ycbcr.tif": (saved("YCbCr", "TIFF"), None),
    }  # fmt: skip
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        more = {"quality": 100} if compression == "jpeg" else {}
        content = saved("RGB", "TIFF", compression=compression, **more)
        files[f"{compression}.tif"] = (content, COLOR)
    return files


#: Kinds that are refused, with a word of the reason; any other is read.
REFUSED = {
    "clear.bmp": "transparent everywhere",
    "two of 256.bmp": "rare kind of BMP",
    "clear.png": "transparent everywhere",
    "deep key.png": "transparent colour",
    "dark.png": "nearly black",
    "print.jpg": "CMYK",
    "deep negative.tif": "rare kind of TIFF",
    "deep planes.tif": "rare kind of TIFF",
    "deep planes deflate.tif": "rare kind of TIFF",
    "dark.tif": "nearly black",
    "dark grey.tif": "nearly black",
    "planes alpha.tif": "rare kind of TIFF",
    "planes negative.tif": "rare kind of TIFF",
    "float.tif": "no readable",
    "float grey.tif": "floating-point",
    "signed.tif": "signed values",
    "signed 8.tif": "signed",
    "long.tif": "32-bit",
    "print.tif": "CMYK",
    "lab.tif": "Lab",
    "ycbcr.tif": "YCbCr|cut off",
}


# -- damage -------------------------------------------------------------------------------------


def damaged(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """Return the file with one kind of damage, or two."""
    changed = bytearray(content)
    is_png = content.startswith(b"\x89PNG")
    for _ in range(rng.choice((1, 1, 2))):
        size = len(changed)
        if size < 40:
            break
        where = rng.choice((rng.randrange(size), rng.randrange(40), size - 1 - rng.randrange(40)))
        what = rng.randrange(8)
        if what == 0:
            changed[where] ^= 1 << rng.randrange(8)
        elif what == 1:
            for _ in range(rng.choice((3, 20))):
                changed[rng.randrange(size)] = rng.randrange(256)
        elif what == 2:
            del changed[where:]
        elif what == 3:
            changed[where:where] = rng.randbytes(rng.choice((1, 7, 300)))
        elif what == 4:
            del changed[where : where + rng.choice((1, 4, 60))]
        elif what == 5:
            end = min(size, where + rng.choice((4, 40, 200)))
            changed[where:end] = bytes(end - where)
        elif what == 6:  # a number in the header
            number = rng.choice((0, 1, 2, 3, 5, 8, 16, 255, 40_000, 2**31 - 1, 2**32 - 1))
            form = rng.choice(("<H", ">H", "<I", ">I"))
            where = min(where, size - 4)
            struct.pack_into(form, changed, where, number % 2 ** (8 * struct.calcsize(form)))
        else:
            end = min(len(other), where + rng.choice((8, 80)))
            changed[where : where + max(0, end - where)] = other[where:end]
    if is_png and rng.random() < 0.6:  # else its checksums tell at once
        return png_of([(name, bytes(data)) for name, data in png_chunks(bytes(changed))])
    return bytes(changed)


def by_pillow(content: bytes, most: int) -> np.ndarray | None:
    """Return what Pillow reads, as the course promises it: RGB, 8 bits, on black, not turned."""
    try:
        with (
            warnings.catch_warnings(),
            _silent_libtiff(),
            tempfile.TemporaryFile() as file,
        ):
            warnings.simplefilter("ignore")
            file.write(content)
            file.seek(0)
            image = Image.open(file, formats=("BMP", "JPEG", "PNG", "TIFF"))
            if image.width * image.height > most:
                return None
            turn = image.getexif().get(0x0112, 1) if image.format == "TIFF" else 1
            image.load()
            back = {
                2: Image.Transpose.FLIP_LEFT_RIGHT,
                3: Image.Transpose.ROTATE_180,
                4: Image.Transpose.FLIP_TOP_BOTTOM,
                5: Image.Transpose.TRANSPOSE,
                6: Image.Transpose.ROTATE_90,
                7: Image.Transpose.TRANSVERSE,
                8: Image.Transpose.ROTATE_270,
            }
            if turn in back:
                image = image.transpose(back[turn])
            if image.mode.startswith("I;16"):
                return as_grey((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode == "La":
                image = image.convert("LA")
            if image.mode in ("CMYK", "LAB", "YCbCr", "I", "F"):
                return None
            pixels = np.asarray(image.convert("RGBA"))
            return on_black(pixels[..., :3], pixels[..., 3])
    except Exception:
        return None


def compare(count: int, seed: int) -> dict[str, int]:
    """Return how many damaged files were read as Pillow reads them, refused, or neither."""
    from helpers.base.errors import ImageError
    from helpers.base.image_files import MOST_PIXELS
    from helpers.datasets.files import look_into
    from helpers.images import read_image

    rng = random.Random(seed)
    files = [(name, content) for name, (content, _) in kinds().items()]
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            name, content = files[number % len(files)]
            ending = name.rpartition(".")[2]
            other = rng.choice([one for label, one in files if label.endswith(ending)])
            content = damaged(content, rng, other)
            path = f"{folder}/{number}.{ending}"
            with open(path, "wb") as file:
                file.write(content)
            try:
                image = read_image(path)
            except ImageError:
                image = None
            problem, *_, black = look_into(path)
            if black != (image is not None and not image.any()):
                found[f"{number} {name}: black, or not"] += 1
            if (image is None) != bool(problem) and "against its name" not in problem:
                found[f"{number} {name}: load says {problem!r}, load_images does not"] += 1
            if image is None:
                found["refused"] += 1
                continue
            expected = by_pillow(content, MOST_PIXELS)
            if expected is None:
                found[f"{number} {name}: read, but Pillow does not"] += 1
            elif expected.shape != image.shape or (np.abs(image - expected.astype(int)) > 1).any():
                found[f"{number} {name}: another picture"] += 1
            else:
                found["equal"] += 1
    return dict(found)


if __name__ == "__main__":
    print(json.dumps(compare(int(sys.argv[1]), int(sys.argv[2]))))
