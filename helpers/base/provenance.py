"""The origin of a result: versions of software, device, commit, model and pixels."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

_PACKAGES = ("keras", "tensorflow", "jax", "numpy", "opencv-python-headless", "h5py")


def environment() -> dict:
    """Return versions, Keras backend, device, cores and commit, as values that JSON can store."""
    return {
        "python": platform.python_version(),
        "versions": versions(_PACKAGES),
        "backend": keras_version()["backend"],
        "device": device(),
        "cores": os.cpu_count(),
        "commit": commit(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    result = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            result[name] = importlib.metadata.version(name)
    return result


def keras_version() -> dict:
    """Return the version of Keras and the backend that it runs on."""
    import keras

    return {"keras": keras.__version__, "backend": keras.backend.backend()}


def has_gpu() -> bool:
    """Return whether the backend of Keras computes on a GPU (or TPU)."""
    return _accelerator() is not None


def spares_xla() -> bool:
    """Return whether networks run without XLA: TensorFlow's on a CPU.

    There, XLA makes a small network two to three times slower. JAX without it computes
    one operation after the other, which is ten times slower.
    """
    return keras_version()["backend"] == "tensorflow" and not has_gpu()


def device() -> str:
    """Return the name of the device that Keras computes on (``"CPU"`` or the GPU's name)."""
    return _accelerator() or f"CPU ({platform.machine()})"


def commit(root: Path | None = None) -> str | None:
    """Return the commit of the clone at `root` (by default, the clone of this code), or None.

    It has 40 digits, and ``+`` if tracked files differ from it. For code that pip
    installed, it is the installed commit.
    """
    clone = root or Path(__file__).resolve().parents[2]
    # The helpers may be installed inside another project's repository.
    if (clone / ".git").exists():
        # Without any tag, `describe` gives the hash alone.
        words = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        command = ["git", "-C", str(clone), *words]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip()
    try:
        text = importlib.metadata.distribution("wbc-cancer-course").read_text("direct_url.json")
        return json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except importlib.metadata.PackageNotFoundError:
        return None


def model_facts(model: keras.Model) -> dict:
    """Return facts that distinguish a model from others: name, architecture and weights."""
    config = model.get_config()
    text = json.dumps(config, sort_keys=True, default=str)
    # Keras numbers unnamed layers within a session: the same layer may be dense or dense_3.
    for index, name in enumerate(dict.fromkeys(_names(config))):
        text = text.replace(f'"{name}"', f'"#{index}"')
    weights = hashlib.sha256()
    for weight in model.get_weights():
        weights.update(np.ascontiguousarray(weight).tobytes())
    return {
        "name": re.sub(r"_\d+$", "", model.name),
        "parameters": model.count_params(),
        "config": hashlib.sha256(text.encode()).hexdigest()[:16],
        "weights": weights.hexdigest()[:16],
    }


def digest(images: np.ndarray) -> str:
    """Return a hash of an array of images, 16 hexadecimal digits."""
    digest = hashlib.sha256(str(images.shape).encode())
    digest.update(np.ascontiguousarray(images))
    return digest.hexdigest()[:16]


def _accelerator() -> str | None:
    backend = keras_version()["backend"]
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return None
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    if backend == "jax":
        import jax

        first = jax.devices()[0]
        return None if first.platform == "cpu" else first.device_kind
    return None


def _names(config: object) -> Iterator[str]:
    """Yield every `name` in the configuration of a model, however deeply nested."""
    if isinstance(config, dict):
        if isinstance(config.get("name"), str):
            yield config["name"]
        config = [config[key] for key in sorted(config, key=str)]
    if isinstance(config, list | tuple):
        for part in config:
            yield from _names(part)
