"""Any tree of files: each is an image of the catalog or named in the report, never both."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import catalog as catalogs
from helpers import datasets, images
from helpers.base.errors import DatasetError
from helpers.course import project
from helpers.datasets.files import look_into, readable_name, scan
from tests.unit.images import image_kinds

#: For each reader: sound names, and the side of its images.
NAMES = {
    "cnmc": (("fold_0/all/UID_{n}_1_1_all", "fold_1/hem/UID_H{n}_1_1_hem", "all/UID_9{n}_2_1_all",
              "C-NMC_test_final_phase_data/{n}"), 450),
    "taleqani": (("Original/Benign/WBC-Benign-{n:03d}", "Original/Pro/WBC-Malignant-Pro-{n:03d}",
                  "Segmented/Pro/WBC-Malignant-Pro-{n:03d}"), 224),
    "all_idb": (("img/Im{n:03d}_0", "img/Im{n:03d}_1"), 40),
    "snam": (("ALL/ALL_{n}", "MM/MM_{n}", "MM/MM_{n}_nucleus_mask", "ALL/ALL_{n}_bg_mask",
              "MM/ALL_{n}_edge_mask"), 40),
    "folders": (("sick/{n}", "sick/old/{n}", "well/{n}", "{n}", "sick/{n}_mask"), 40),
}  # fmt: skip
ENDINGS = (".png", ".PNG", ".bmp", ".jpg", ".JPEG", ".jfif", ".tif", ".tiff", ".dib")
#: Names that the world has, some of them bytes that are not UTF-8.
STRANGE = (
    b".hidden.png", b"._1.png", b"Thumbs.db", b".DS_Store", b"desktop.ini", b"~$table.csv",
    b"1_thumb.jpg", b"thumbnail.png", b"SYNOPHOTO_THUMB_XL.jpg", b"1.png.part", b"2.jpg.crdownload",
    b"3.tmp", b"a.webp", b"b.heic", b"slide.svs", b"data.zip", b"caf\xe9.png", b"caf\xc3\xa9.png",
    "cafe\u0301.png".encode(), b"two\nlines.png", b"tab\t.bmp", b" .png", b"x.png ", b"x..png",
    b"no_ending", b"A.PNG", b"a.png", b"a" * 251 + b".png", b"readme.txt", b"labels.csv",
    b"Im001_1.xyc", b"|<b>.png", b"'quoted\".png", b"phantomless.json", "\u202e.png".encode(),
    "\U0001f52c.png".encode(), b"-rf.png", b"CON.png", b"%s.png", b"\xff\xfe.tif", b"x.png.txt",
)  # fmt: skip
FOLDERS = (b"", b"@eaDir", b"__MACOSX", b"$RECYCLE.BIN", b".Trash-0", b".ipynb_checkpoints",
           b"#recycle", b"Thumbnails", b"x.bmp", b"ordner\xfc", b"deep/er/still", b"lost+found",
           b"System Volume Information", b"sick", b"Sick ")  # fmt: skip


def content(rng: random.Random, side: int, ending: str) -> bytes:
    """Return a sound image mostly, else a damaged one or none."""
    kind = {"P": "PNG", "B": "BMP", "D": "BMP", "J": "JPEG", "T": "TIFF"}[ending.upper()[1]]
    what = rng.random()
    if what < 0.1:
        return rng.choice((b"", b"\0" * 900, b"<html>", b"a,b\n1,2\n", b"version https://git-lfs"))
    if what < 0.2:
        code = rng.choice([code for code, _ in image_kinds.kinds().values()])
        return image_kinds.damaged(code, rng, code) if rng.random() < 0.5 else code
    image = Image.fromarray(np.full((side, side, 3), rng.randrange(40, 250), np.uint8))
    image.putpixel((3, 3), tuple(rng.choices(range(256), k=3)))
    code = image_kinds.saved(image, kind)
    return code[: rng.randrange(len(code))] if what < 0.25 else code


def grow(root: Path, name: str, seed: int) -> None:
    """Fill a folder with the images of a data set and with all that may lie beside them."""
    rng = random.Random(f"{name} {seed}")
    patterns, side = NAMES[name]
    base = os.fsencode(root)
    made: list[bytes] = []

    def place(relative: bytes) -> bytes | None:
        path = os.path.join(base, relative)
        if os.path.lexists(path):
            return None
        os.makedirs(os.path.dirname(path), exist_ok=True)
        made.append(path)
        return path

    for number in range(1, 14):
        ending = rng.choice(ENDINGS)
        relative = rng.choice(patterns).format(n=number) + ending
        if path := place(relative.encode()):
            with open(path, "wb") as file:
                file.write(content(rng, side, ending))
    for number, pattern in enumerate(patterns[:2], start=50):  # two sound ones at least
        image = np.full((side, side, 3), number, np.uint8)
        with open(place(f"{pattern.format(n=number)}.png".encode()), "wb") as file:
            file.write(image_kinds.opencv(image, ".png"))
    for strange in rng.sample(STRANGE, 16):
        if path := place(os.path.join(rng.choice(FOLDERS), strange)):
            with open(path, "wb") as file:
                file.write(content(rng, side, ".png"))
    if path := place(b"sick/pipe.png"):
        os.mkfifo(path)
    if path := place(b"sick/socket.bmp"):
        with socket.socket(socket.AF_UNIX) as server:
            here = os.getcwd()
            os.chdir(os.path.dirname(path))  # the name of a socket has at most 107 bytes
            try:
                server.bind(b"socket.bmp")
            finally:
                os.chdir(here)
    links = {
        b"well/loop": base,
        b"broken.png": b"nowhere",
        b"sick/up": b"/",
        b"again": os.path.join(base, b"sick"),
        b"self.png": b"self.png",
        b"sick/link.png": rng.choice(made),
        b"zero.png": b"/dev/zero",
    }
    for link, target in links.items():
        if path := place(link):
            os.symlink(target, path)


def leaves(root: Path) -> dict[str, str]:
    """Return the readable relative name of everything below `root` but plain folders."""
    found = {}
    for folder, folders, files in os.walk(root):
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        for file in [*files, *links]:
            path = os.path.join(folder, file)
            found[path] = "/".join(map(readable_name, Path(path).relative_to(root).parts))
    return found


def is_named(name: str, report: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in report)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_in_the_catalog_or_in_the_report(tmp_path, monkeypatch, name, seed):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    root = tmp_path / "data"
    grow(root, name, seed)
    positive = {"positive": "sick"} if name == "folders" else {}
    try:
        catalog, report = datasets.load_with_report(name, root, "full", **positive)
    except DatasetError as error:  # a table of one's own that holds no table
        table = root / str(error).partition(".csv")[0]
        table.with_name(f"{table.name}.csv").unlink()
        catalog, report = datasets.load_with_report(name, root, "full", **positive)
    used = {value for column in catalog for value in catalog[column] if isinstance(value, str)}
    named = set(report["path"])
    assert report["reason"].str.len().min() > 3
    for path, relative in leaves(root).items():
        ending = os.path.splitext(path)[1].lower()
        if os.path.isdir(path):  # a link: its folder is listed under one name
            assert is_named(relative, named), relative
        elif ending in (".csv", ".xyc"):
            assert path not in used
        else:
            assert (path in used) != is_named(relative, named), relative
    # What load takes, load_images can read, and a catalog survives the disk.
    assert images.readable(catalog, crop=False)[1].empty
    assert all(look_into(path).problem == "" for path in catalog["path"])
    catalogs.write(tmp_path / "catalog.csv", catalog)
    again = catalogs.read(tmp_path / "catalog.csv")
    pd.testing.assert_frame_equal(again, catalog, check_dtype=False)


def test_run_and_load_find_the_same_classes(tmp_path, monkeypatch):
    """Before any chapter starts, `run` refuses a class of which no file can be read."""
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    (tmp_path / "data" / "sick").mkdir(parents=True)
    (tmp_path / "data" / "well").mkdir()
    image = image_kinds.opencv(image_kinds.COLOR, ".png")
    (tmp_path / "data" / "well" / "1.png").write_bytes(image)
    (tmp_path / "data" / "sick" / "1.png").write_bytes(image[:-60])
    for call in (
        lambda: datasets.load("folders", tmp_path / "data", positive="sick"),
        lambda: project.parameters("folders", "smoke", 24, tmp_path / "data", "sick"),
    ):
        with pytest.raises(DatasetError, match=r"No image of the class 'sick'.*1 cut off|damaged"):
            call()


def test_a_link_above_the_data_or_out_of_them_is_no_way_to_the_whole_disk(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.png").write_bytes(b"x")
    (tmp_path / "data" / "disk").symlink_to("/")
    (tmp_path / "data" / "up").symlink_to("..")
    (tmp_path / "data" / "other").symlink_to(tmp_path / "other")
    files, left_out = scan(tmp_path / "data")
    assert [file.relative for file in files] == ["other/1.png"]
    reason = "link to a folder that is listed elsewhere"
    assert left_out == [("disk", reason), ("up", reason)]
