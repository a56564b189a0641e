"""Where a backbone's ImageNet weights come from: a folder, Keras' cache, a download, or nowhere.

Files are searched in `$WEIGHTS_DIR`, then in Keras' own cache (`$KERAS_HOME/models`), then
downloaded. Without any of these a network starts from random weights, and the page and the
run record say so. A file is used only when its checksum, where one is known, and the shapes
of its arrays are right.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base.errors import ModelError
from helpers.base.files import FileError, atomic_path

if TYPE_CHECKING:
    import keras

#: One sentence for each pretrained backbone that this process used, for the page's banner.
WEIGHTS_USED: list[str] = []

_HOST = "https://storage.googleapis.com/tensorflow/keras-applications/"
#: Seconds without an answer from the host after which a download is given up.
TIME_LIMIT = 5


@dataclass(frozen=True)
class Weights:
    """Where the weights of one backbone come from.

    Attributes
    ----------
    path : pathlib.Path or None
        The file; None for random weights.
    source : str
        ``folder`` ($WEIGHTS_DIR), ``cache`` (Keras'), ``download`` or ``random``.
    sha256 : str
        Of the file; empty for random weights.
    backbone : str
        As in :data:`helpers.models.transfer.REGISTRY`.
    """

    path: Path | None
    source: str
    sha256: str
    backbone: str = ""

    def as_dict(self) -> dict:
        """Return plain values, as a run record stores them: the file's name without its folder."""
        return {**asdict(self), "path": None if self.path is None else self.path.name}

    def __str__(self) -> str:
        if self.path is None:
            return f"{self.backbone}: RANDOM weights, not pretrained"
        where = {"folder": "$WEIGHTS_DIR", "cache": "Keras' cache", "download": "download"}
        return f"{self.backbone}: ImageNet, from {where[self.source]}, sha256 {self.sha256[:12]}"


# Names as in keras/src/applications of Keras 3.8 to 3.15.
_ORDER = "_weights_tf_dim_ordering_tf_kernels_"
#: The files that hold the weights of a backbone without its top. The first is on Keras' host, in
#: the folder before it; others hold the same arrays in Keras' newer format.
_FILES = {
    "resnet50": ("resnet", f"resnet50{_ORDER}notop.h5"),
    "mobilenetv2": (
        "mobilenet_v2",
        f"mobilenet_v2{_ORDER}1.0_224_no_top.h5",
        "mobilenet_v2_1.0_224_notop.weights.h5",
    ),
    "mobilenetv2_035": (
        "mobilenet_v2",
        f"mobilenet_v2{_ORDER}0.35_224_no_top.h5",
        "mobilenet_v2_0.35_224_notop.weights.h5",
    ),
    "mobilenet": ("mobilenet", "mobilenet_1_0_224_tf_no_top.h5"),
    "xception": ("xception", f"xception{_ORDER}notop.h5"),
    "inceptionv3": ("inception_v3", f"inception_v3{_ORDER}notop.h5"),
    "vgg16": ("vgg16", f"vgg16{_ORDER}notop.h5"),
    "efficientnetv2b0": ("efficientnet_v2", "efficientnetv2-b0_notop.h5"),
}
#: Checksums by file: md5 as Keras publishes them (none for the MobileNets), sha256 of the course.
_HASHES = {
    f"resnet50{_ORDER}notop.h5": "md5:4d473c1dd8becc155b73f8504c6f6626",
    f"xception{_ORDER}notop.h5": "md5:b0042744bf5b25fce3cb969f33bebb97",
    f"inception_v3{_ORDER}notop.h5": "md5:bcbd6486424b2319ff4ef7d526e38f63",
    f"vgg16{_ORDER}notop.h5": "md5:6d6bbae143d832006294945121d1f1fc",
    "efficientnetv2-b0_notop.h5": "md5:893217f2bb855e2983157299931e43ff",
    "mobilenet_v2_0.35_224_notop.weights.h5": (
        "sha256:04af0032331eca800a501cbd14b1861ef1d07bfa5728325084bbe295e7ffaecb"
    ),
}


def find(backbone: str) -> Weights:
    """Return what :func:`look` finds, and note it for the banner of the page.

    The first time that a process finds no weights, a note about random weights is printed.
    """
    result = look(backbone)
    _note(result)
    return result


def look(backbone: str) -> Weights:
    """Return where the ImageNet weights of a backbone are, downloaded if need be.

    Parameters
    ----------
    backbone : str
        A name of :data:`helpers.models.transfer.REGISTRY`.

    Returns
    -------
    Weights
        Its source is ``random`` when there are none.

    Raises
    ------
    ModelError
        When the backbone is unknown, or a file in `$WEIGHTS_DIR` or the cache is damaged.
    """
    if backbone not in _FILES:
        raise ModelError(f"No weights are known for {backbone!r}; known: {', '.join(_FILES)}.")
    folders = {"folder": _given_folder(), "cache": _cache()}
    files = [
        (source, folder / name)
        for source, folder in folders.items()
        if folder is not None
        for name in _FILES[backbone][1:]
    ]
    result = Weights(None, "random", "", backbone)
    source, path = next((pair for pair in files if pair[1].is_file()), ("", None))
    if path is None:
        source, path = "download", _download(backbone)
    if path is not None:
        result = Weights(path, source, _verify(path, path.name), backbone)
    return result


def load_into(model: keras.Model, weights: Weights) -> None:
    """Load the file into a whole backbone without top; random weights change nothing.

    Raises
    ------
    ModelError
        When the arrays in the file are not those of the model.
    """
    if weights.path is None:
        return
    try:
        with warnings.catch_warnings():
            # Keras 3.15 also looks for layers where older files have none, and warns.
            warnings.filterwarnings("ignore", "Skipping nested container")
            model.load_weights(weights.path)
    except Exception as error:
        text = " ".join(str(error).split())
        raise ModelError(
            f"{weights.path} does not hold the weights of {weights.backbone}: {text[:200]} "
            "Remove the file, or replace it by the right one."
        ) from error


def _verify(path: Path, name: str) -> str:
    """Return the sha256 of the weight file that is called `name`; raise when it is damaged."""
    stat = path.stat()
    return _verify_once(path, name, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _verify_once(path: Path, name: str, size: int, changed: int) -> str:
    """Do the same; read the file again only when its size or its time of change differs."""
    import h5py

    kind, _, expected = _HASHES.get(name, "").partition(":")
    actual = _file_hash(path, kind) if kind else ""
    if actual != expected:
        raise ModelError(
            f"{path} is not the file that its name says, or not all of it: its {kind} is "
            f"{actual[:12]}... and should be {expected[:12]}...; remove it and fetch it again."
        )
    try:
        with h5py.File(path) as file:
            file.visit(lambda name: None)
    except OSError as error:
        raise ModelError(
            f"{path} is not a whole HDF5 file ({size} bytes): remove it and fetch it again."
        ) from error
    return _file_hash(path, "sha256")


def _file_hash(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _given_folder() -> Path | None:
    """Return `$WEIGHTS_DIR`; a relative path starts in the working directory or the clone."""
    given = os.environ.get("WEIGHTS_DIR")
    if not given:
        return None
    folder = Path(given).expanduser()
    # The variable is often set in the clone, while a chapter runs in the folder of the notebooks.
    for base in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (base / folder).is_dir():
            return base / folder
    raise ModelError(f"WEIGHTS_DIR is {given}, but no folder is there.")


def _cache() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".keras") / "models"


@functools.lru_cache(maxsize=64)
def _download(backbone: str) -> Path | None:
    """Return the file downloaded into Keras' cache, None if that fails; tried once a process."""
    if os.environ.get("COURSE_OFFLINE", "0") not in ("", "0"):
        return None
    folder, name, *_ = _FILES[backbone]
    path = _cache() / name
    with warnings.catch_warnings():
        # pooch imports a progress bar for notebooks, which warns where ipywidgets is missing.
        warnings.simplefilter("ignore")
        import pooch
    # The bar is for a terminal; on a page it would be an output.
    download = pooch.HTTPDownloader(sys.stderr.isatty(), chunk_size=2**18, timeout=TIME_LIMIT)
    try:
        with atomic_path(path) as temporary:
            download(f"{_HOST}{folder}/{name}", str(temporary), None)
            _verify(temporary, name)  # so that a login page of a network is not stored
    except FileError as error:
        reason = getattr(error.__cause__, "strerror", "")
        print(f"NOTE: {name} cannot be stored ({reason}): set KERAS_HOME to a folder with room.")
        return None
    except (OSError, ModelError):  # no network, refused, too slow, or another file
        return None
    return path


def _note(weights: Weights) -> None:
    """Note the weights for the banner; the first time that they are random, print it."""
    first = not any("RANDOM" in used for used in WEIGHTS_USED)
    if str(weights) not in WEIGHTS_USED:
        WEIGHTS_USED.append(str(weights))
    if first and weights.path is None:
        print(
            f"NOTE: no ImageNet weights of {weights.backbone} were found; it starts from RANDOM "
            "weights.\nWhat it learns shows the method and no more. Set WEIGHTS_DIR to a folder "
            f"that holds\n{_FILES[weights.backbone][1]}, or connect to the network."
        )
