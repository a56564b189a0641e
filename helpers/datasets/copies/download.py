"""Download of the data sets that are on Kaggle; for the others, how to get them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from helpers.base.errors import DatasetError
from helpers.base.files import begin, told

#: Kaggle handles of each data set, the most complete copy first.
SOURCES = {
    "cnmc": ("andrewmvd/leukemia-classification", "avk256/cnmc-leukemia"),
    "taleqani": ("mehradaria/leukemia",),
}
#: Where to get a data set with a browser.
BY_HAND = {
    "cnmc": (
        "https://www.kaggle.com/datasets/andrewmvd/leukemia-classification or "
        "https://doi.org/10.7937/tcia.2019.dc64i46r"
    ),
    "taleqani": "https://www.kaggle.com/datasets/mehradaria/leukemia",
}
ALL_IDB = """\
ALL-IDB is given on request and may not be passed on, so no program can fetch it.
1. Ask the University of Milan, Department of Computer Science: https://homes.di.unimi.it/scotti/all/
   (a signed form from an institution; they answer with a link).
2. Unpack so that one folder holds, in any sub-folders,
     ALL_IDB1/im/Im001_1.jpg ... and ALL_IDB1/xyc/Im001_1.xyc ...   (108 fields, blasts marked)
   or
     ALL_IDB2/img/Im001_1.tif ...                                  (260 single cells)
   Where both are there, the cells of IDB2 are used: they were cut out of IDB1's fields.
3. Run with DATASET=all_idb and DATA_DIR set to that folder."""
SNAM = """\
SN-AM (CC BY 3.0) lies in The Cancer Imaging Archive, which hands it out through a browser.
1. Open https://doi.org/10.7937/tcia.2019.of2w8lxr and, under Data Access, download the images
   of both classes, ALL and MM, with their masks (large packages come by IBM Aspera Connect).
2. Unpack so that one folder holds, in any sub-folders, the names as they are:
     ALL_1.bmp ... ALL_29.bmp, ALL_ref, ALL_ALL_extra_images and MM_1.bmp ... MM_30.bmp  (fields)
     ALL_1_nucleus_mask.bmp, ALL_1_background_mask.bmp, some ALL_1_cyto_mask.bmp ...   (masks)
   A mask belongs beside its image, or anywhere else below that folder under its own name.
3. Run with DATASET=snam and DATA_DIR set to that folder. Check it first:
     course data snam THAT_FOLDER
Without it, chapter 12 draws fields of its own: `course data phantom_fields --out FOLDER`."""
_TRIES = 4


def fetch(name: str, out: str | os.PathLike | None = None, handle: str | None = None) -> Path:
    """Fetch a data set from Kaggle and return the folder that holds it.

    A finished download is used again, an interrupted one continues where it stopped.
    kagglehub shows its progress. On Colab nothing is fetched: Kaggle's copy is
    mounted, read-only, and the result is the mounted folder.

    Parameters
    ----------
    name : str
        ``cnmc`` or ``taleqani``.
    out : path-like, optional
        Where to keep it; kagglehub's own cache if not given. Ignored on Colab
        and in Kaggle's notebooks, which mount the data set.
    handle : str, optional
        ``owner/name`` of another copy on Kaggle.

    Raises
    ------
    DatasetError
        When no source can be reached; the message says where to fetch it by hand.
    """
    if name not in SOURCES:
        raise DatasetError(f"{name} cannot be fetched by a program; see `course data {name}`.")
    failures = []
    with told(Path(out or _cache()).expanduser().absolute() / name), _cache_at(out):
        for source in (handle,) if handle else SOURCES[name]:
            try:
                return _fetch(source)
            except Exception as error:  # kagglehub and requests raise many classes
                if _is_refused(error):
                    raise
                failures.append(f"{source}: {_in_short(error)}")
                if _is_temporary(error) and getattr(error, "response", None) is None:
                    break  # no connection: the other sources are on the same host
    raise DatasetError(
        f"The data set {name} could not be fetched ({'; '.join(failures)}). Run the command again "
        f"to go on where it stopped, or fetch it by hand from {BY_HAND[name]}, unpack it, and "
        "set DATA_DIR to the folder."
    )


def _fetch(source: str) -> Path:
    import kagglehub

    for attempt in range(1, _TRIES):
        try:
            return Path(kagglehub.dataset_download(source))
        except Exception as error:
            if _is_refused(error) or not _is_temporary(error):
                raise
            wait = 2**attempt
            print(f"{_in_short(error)}; going on in {wait} s (try {attempt + 1} of {_TRIES}).")
            time.sleep(wait)
    return Path(kagglehub.dataset_download(source))


def _is_temporary(error: Exception) -> bool:
    """Return whether trying again may help: the connection broke, or the server is busy."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status == 429 or status >= 500
    # requests' ConnectionError, Timeout and ChunkedEncodingError derive from OSError.
    return isinstance(error, OSError) and not isinstance(error, PermissionError)


def _is_refused(error: Exception) -> bool:
    """Return whether the disk has no room for the download."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def _cache() -> str:
    """Return the folder in which kagglehub keeps its downloads."""
    return os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub"


def _in_short(error: Exception) -> str:
    """Return the first line of an error's message, at most 160 characters."""
    host = re.search(r"ConnectionPool\(host='([^']+)'", str(error))
    if host:
        return f"no connection to {host[1]}"
    first, *_ = [*str(error).strip().splitlines(), ""]
    return f"{type(error).__name__}: {first}".removesuffix(": ")[:160]


@contextlib.contextmanager
def _cache_at(out: str | os.PathLike | None) -> Iterator[None]:
    """Let kagglehub keep its downloads in `out`; None leaves its own cache.

    kagglehub's option for this, `output_dir`, refuses a folder with an interrupted
    download, whereas its cache continues one.
    """
    before, new = os.environ.get("KAGGLEHUB_CACHE"), []
    try:
        if out is not None:
            folder = Path(out).expanduser().absolute()
            new = [path for path in (folder, *folder.parents) if not path.exists()]
            begin(folder, lambda: folder.mkdir(exist_ok=True))
            os.environ["KAGGLEHUB_CACHE"] = str(folder)
        yield
    finally:
        for path in new:
            with contextlib.suppress(OSError):  # only what is empty goes
                path.rmdir()
        os.environ.pop("KAGGLEHUB_CACHE", None)
        if before is not None:
            os.environ["KAGGLEHUB_CACHE"] = before
