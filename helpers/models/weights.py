"""Where a backbone's ImageNet weights come from: a folder, Keras' cache, the network, or nowhere.

They are looked for in `$WEIGHTS_DIR`, then in Keras' own cache
(`$KERAS_HOME/models`), then downloaded; with none of these a network starts
from random weights, and page and run record say so. A file is believed only
when its checksum, where Keras publishes one, and the shapes of its arrays fit.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import time
import urllib.request
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base.errors import ModelError
from helpers.base.files import atomic_path

if TYPE_CHECKING:
    import keras

#: One sentence for each pretrained backbone that this process used, for the page's banner.
WEIGHTS_USED: list[str] = []

_HOST = "https://storage.googleapis.com/tensorflow/"
#: Seconds without an answer, and seconds in all, after which a download is given up.
CONNECT_LIMIT, DOWNLOAD_LIMIT = 5, 180


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
        Of the file's bytes; empty for random weights.
    backbone : str
        As in :data:`helpers.models.transfer.REGISTRY`.
    """

    path: Path | None
    source: str
    sha256: str
    backbone: str = ""

    def as_dict(self) -> dict:
        """Return plain values, as a run record keeps them: the file's name, not its folder."""
        return {**asdict(self), "path": None if self.path is None else self.path.name}

    def __str__(self) -> str:
        if self.path is None:
            return f"{self.backbone}: RANDOM weights, not pretrained"
        where = {"folder": "$WEIGHTS_DIR", "cache": "Keras' cache", "download": "download"}
        return f"{self.backbone}: ImageNet, from {where[self.source]}, sha256 {self.sha256[:12]}"


@dataclass(frozen=True)
class _Release:
    """What Keras publishes for one backbone without its top.

    Attributes
    ----------
    file, folder : str
        Name and place on Keras' host.
    md5 : str
        Of the file; empty where Keras publishes none.
    others : tuple of str
        Further names under which the same arrays are kept, in Keras' newer format.
    """

    file: str
    folder: str
    md5: str = ""
    others: tuple[str, ...] = ()


# Names and checksums as in keras/src/applications of Keras 3.8 to 3.15.
_APPLICATIONS = "keras-applications/"
_ORDER = "_weights_tf_dim_ordering_tf_kernels_"
_RELEASES = {
    "resnet50": _Release(
        f"resnet50{_ORDER}notop.h5",
        f"{_APPLICATIONS}resnet/",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "mobilenetv2": _Release(
        f"mobilenet_v2{_ORDER}1.0_224_no_top.h5",
        f"{_APPLICATIONS}mobilenet_v2/",
        others=("mobilenet_v2_1.0_224_notop.weights.h5",),
    ),
    "mobilenetv2_035": _Release(
        f"mobilenet_v2{_ORDER}0.35_224_no_top.h5",
        f"{_APPLICATIONS}mobilenet_v2/",
        others=("mobilenet_v2_0.35_224_notop.weights.h5",),
    ),
    "mobilenet": _Release("mobilenet_1_0_224_tf_no_top.h5", f"{_APPLICATIONS}mobilenet/"),
    "xception": _Release(
        f"xception{_ORDER}notop.h5",
        f"{_APPLICATIONS}xception/",
        "b0042744bf5b25fce3cb969f33bebb97",
    ),
    "inceptionv3": _Release(
        f"inception_v3{_ORDER}notop.h5",
        f"{_APPLICATIONS}inception_v3/",
        "bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "vgg16": _Release(
        f"vgg16{_ORDER}notop.h5",
        f"{_APPLICATIONS}vgg16/",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "efficientnetv2b0": _Release(
        "efficientnetv2-b0_notop.h5",
        f"{_APPLICATIONS}efficientnet_v2/",
        "893217f2bb855e2983157299931e43ff",
    ),
}
#: sha256 of files in Keras' newer format that the course knows.
_KNOWN = {
    "mobilenet_v2_0.35_224_notop.weights.h5": (
        "04af0032331eca800a501cbd14b1861ef1d07bfa5728325084bbe295e7ffaecb"
    ),
}


def find(backbone: str, alpha: float | None = None) -> Weights:
    """Return where the ImageNet weights of a backbone are, downloaded if need be.

    Parameters
    ----------
    backbone : str
        A name of :data:`helpers.models.transfer.REGISTRY`.
    alpha : float, optional
        Width of a MobileNetV2, 1.0 or 0.35; by default as the name says.

    Returns
    -------
    Weights
        Noted in ``WEIGHTS_USED``, from where it gets onto the
        page's banner. The first time in a process that nothing is found, a
        note about random weights is printed.

    Raises
    ------
    ModelError
        When the backbone is unknown, or a file in `$WEIGHTS_DIR` or the cache
        is not the one that its name says.
    """
    if alpha is not None and backbone.startswith("mobilenetv2"):
        widths = {1.0: "mobilenetv2", 0.35: "mobilenetv2_035"}
        if alpha not in widths:
            raise ModelError(f"alpha is {alpha!r}, but the course has MobileNetV2 of 1.0 or 0.35.")
        backbone = widths[alpha]
    if backbone not in _RELEASES:
        raise ModelError(f"No weights are known for {backbone!r}; known: {', '.join(_RELEASES)}.")
    release = _RELEASES[backbone]
    found = None
    given = _given_folder()
    for source, folder in [*([("folder", given)] if given else []), ("cache", _cache())]:
        for name in (release.file, *release.others):
            if found is None and (folder / name).is_file():
                path = folder / name
                found = Weights(path, source, _checked(path, release), backbone)
    if found is None and (path := _download(release)) is not None:
        found = Weights(path, "download", _checked(path, release), backbone)
    if found is None:
        found = Weights(None, "random", "", backbone)
    _note(found)
    return found


def load_into(model: keras.Model, weights: Weights) -> None:
    """Load the file into a whole backbone without top; random weights leave it as it is.

    Raises
    ------
    ModelError
        When the arrays in the file are not those of the model.
    """
    if weights.path is None:
        return
    try:
        with warnings.catch_warnings():
            # Keras 3.15 looks for the layers in one more place, where older files have none.
            warnings.filterwarnings("ignore", "Skipping nested container")
            model.load_weights(weights.path)
    except Exception as error:
        text = " ".join(str(error).split())
        raise ModelError(
            f"{weights.path} does not hold the weights of {weights.backbone}: {text[:200]} "
            "Remove the file, or put the right one there."
        ) from error


def _checked(path: Path, release: _Release, name: str = "") -> str:
    """Return the sha256 of a sound file, whose name is or will be `name`; raise where it is not."""
    name = name or path.name
    stat = path.stat()
    sha256, md5 = _digests(path, stat.st_size, stat.st_mtime_ns)
    wanted = _KNOWN.get(name)
    kind, is_, should = ("sha256", sha256, wanted) if wanted else ("md5", md5, release.md5)
    if (name == release.file or wanted) and should and is_ != should:
        raise ModelError(
            f"{path} is not the file that its name says, or not all of it: its {kind} is "
            f"{is_[:12]}... and should be {should[:12]}...; remove it and fetch it again."
        )
    try:
        import h5py

        with h5py.File(path) as file:
            file.visit(lambda name: None)
    except OSError as error:
        raise ModelError(
            f"{path} is not a whole HDF5 file ({stat.st_size} bytes): remove it and fetch it again."
        ) from error
    return sha256


@functools.lru_cache(maxsize=64)
def _digests(path: Path, size: int, changed: int) -> tuple[str, str]:
    """Return sha256 and md5; read again only when size or time of change differ."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(2**22):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def _given_folder() -> Path | None:
    """Return `$WEIGHTS_DIR`; one that is not absolute is meant from here or from the clone."""
    given = os.environ.get("WEIGHTS_DIR")
    if not given:
        return None
    folder = Path(given).expanduser()
    # A chapter runs in the folder of the notebooks, and who sets the variable in another one.
    for base in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (base / folder).is_dir():
            return base / folder
    raise ModelError(f"WEIGHTS_DIR is {given}, but no folder is there.")


def _cache() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".keras") / "models"


@functools.lru_cache(maxsize=64)
def _download(release: _Release) -> Path | None:
    """Return the file fetched into Keras' cache; None where that fails, asked once a process."""
    if os.environ.get("COURSE_OFFLINE", "0") not in ("", "0"):
        return None
    path = _cache() / release.file
    end = time.monotonic() + DOWNLOAD_LIMIT
    try:
        url = f"{_HOST}{release.folder}{release.file}"
        with (
            urllib.request.urlopen(url, timeout=CONNECT_LIMIT) as answer,
            atomic_path(path) as temporary,
            open(temporary, "wb") as file,
        ):
            while block := answer.read(2**18):
                if time.monotonic() > end:
                    raise TimeoutError
                file.write(block)
            size = answer.headers.get("Content-Length")
            if size is not None and file.tell() != int(size):
                raise OSError(f"{file.tell()} of {size} bytes came")
            file.flush()
            _checked(temporary, release, path.name)  # a page to log in at is not kept
    # No network, refused, too slow, something else sent: all the same to a reader.
    except (OSError, http.client.HTTPException, ModelError):
        return None
    return path


def _note(weights: Weights) -> None:
    """Put it on the banner's list and, the first time, say loudly that weights are random."""
    new = str(weights) not in WEIGHTS_USED
    if new:
        WEIGHTS_USED.append(str(weights))
    if new and weights.path is None:
        print(
            f"NOTE: no ImageNet weights of {weights.backbone} were found; it starts from RANDOM "
            "weights.\nWhat it learns shows the method and no more. Set WEIGHTS_DIR to a folder "
            f"that holds\n{_RELEASES[weights.backbone].file}, or connect to the network."
        )
