"""The settings of a run: data set, profile, seed and folders."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from helpers.base.errors import CourseError
from helpers.base.files import begin, told

#: The data sets: each is a module of this name, so another one is one file more.
DATASETS = tuple(
    sorted(
        path.stem for path in (Path(__file__).parents[1] / "datasets" / "readers").glob("[a-z]*.py")
    )
)
DEFAULT_SEED = 24
#: Environment variable: a folder that outlasts the machine (Google Drive), for finished results.
KEEP = "COURSE_KEEP"
#: The folders of a run that go there: small, and slow to make again.
_KEPT = ("runs", "predictions", "tuning", "own", "cards")
#: NumPy and Keras take no larger one.
LARGEST_SEED = 2**32 - 1


class SettingsError(CourseError, ValueError):
    """A data set, a profile or a folder that the course does not know."""


@dataclass(frozen=True)
class Profile:
    """How much of everything a run uses.

    Attributes
    ----------
    name : str
        ``smoke`` (tests), ``quick`` (a laptop, a free Colab) or ``full`` (a GPU).
    images : int or None
        At most this many images are loaded; None for all of them.
    phantoms, subjects : int
        How many phantom frames are drawn, of how many subjects.
    size : int
        Side of the square images in pixels.
    epochs, patience, batch_size : int
        Longest training, epochs without a better `val_loss` before it stops,
        images in a step.
    resamples : int
        Bootstrap resamples behind an interval.
    precision : str
        ``float32``, or ``mixed``: half precision on a GPU (bfloat16 if it supports
        that, else float16) with float32 weights. ``bfloat16`` and ``float16`` are
        used on any device. `$COURSE_PRECISION` overrides this.
    xla : bool
        Compile with XLA if there is a GPU. `$COURSE_XLA` (0 or 1) overrides this.
    devices : str
        ``one``, or ``all``: each batch is divided among all GPUs. `$COURSE_DEVICES`
        overrides this.
    """

    name: str
    images: int | None
    phantoms: int
    subjects: int
    size: int
    epochs: int
    patience: int
    batch_size: int
    resamples: int
    precision: str = "float32"
    xla: bool = True
    devices: str = "one"


PROFILES = {
    "smoke": Profile("smoke", 160, 160, 16, 48, 2, 2, 32, 200),
    "quick": Profile("quick", 1200, 1200, 40, 96, 8, 3, 32, 1000),
    "full": Profile("full", None, 6400, 60, 224, 100, 5, 32, 2000, "mixed", True, "all"),
}


@dataclass(frozen=True)
class Settings:
    """The checked parameters of a chapter; :func:`read` returns them."""

    dataset: str
    profile: Profile
    seed: int
    data_dir: Path | None
    artifacts: Path
    positive: str = ""

    def folder(self, *names: str) -> Path:
        """Return a folder for this data set, profile and seed; create it if it is missing.

        Where `$COURSE_KEEP` names a folder, those of finished results are links into it.
        """
        run = self.artifacts / f"{self.dataset}-{self.profile.name}-{self.seed}"
        path, keep = run.joinpath(*names), os.environ.get(KEEP)
        with told(path):
            if keep and names and names[0] in _KEPT:
                _link(run / names[0], Path(keep).expanduser().absolute() / run.name / names[0])
            begin(path, lambda: path.mkdir(exist_ok=True))
        return path

    def as_dict(self) -> dict:
        """Return the settings as plain values, as they are stored in a run record."""
        return {
            "dataset": self.dataset,
            "profile": asdict(self.profile),
            "seed": self.seed,
            "data_dir": None if self.data_dir is None else str(self.data_dir),
            "positive": self.positive,
        }


def _link(local: Path, kept: Path) -> None:
    """Make the folder `local` a link to the folder `kept`, which gets what was in it."""
    if local.is_symlink():
        if local.readlink() == kept:
            return
        local.unlink()
    with told(kept):
        begin(kept, lambda: kept.mkdir(exist_ok=True))
    if local.is_dir():
        shutil.copytree(local, kept, dirs_exist_ok=True)
        shutil.rmtree(local)
    local.parent.mkdir(parents=True, exist_ok=True)
    local.symlink_to(kept, target_is_directory=True)


def read(
    dataset: str = "phantom",
    profile: str = "quick",
    seed: int = DEFAULT_SEED,
    data_dir: str | os.PathLike | None = None,
    positive: str = "",
) -> Settings:
    """Check a chapter's parameters and return them as :class:`Settings`.

    Parameters
    ----------
    dataset : str
        One of `DATASETS`.
    profile : str
        One of ``smoke``, ``quick``, ``full``.
    seed : int
        Seed of every random choice in the chapter.
    data_dir : path-like, optional
        Folder of any other data set; empty or None for the phantoms.
    positive : str
        With ``folders``: the name of the class folder that is the positive class.

    Raises
    ------
    SettingsError
        When a name is unknown, the folder does not exist, it or `positive` does not belong to
        the data set, or Keras is set to channels first.
    """
    check_dataset(dataset, positive, data_dir)
    _check_channels()
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise SettingsError(
            f"SEED is {seed!r}, but must be a whole number from 0 to {LARGEST_SEED}."
        )
    if data_dir and not isinstance(data_dir, str | os.PathLike):
        raise SettingsError(f"DATA_DIR is {data_dir!r}, but must be the path of a folder.")
    folder = Path(os.path.expanduser(data_dir)).resolve() if data_dir else None
    if folder is not None and not folder.is_dir():
        raise SettingsError(f"DATA_DIR is {folder}, but no folder is there.")
    computing = _computing(profile_of(profile))
    return Settings(dataset, computing, seed, folder, artifacts_folder(), positive)


def check_dataset(
    dataset: str, positive: str = "", data_dir: str | os.PathLike | None = None
) -> None:
    """Raise SettingsError when a data set is unknown, or `positive` or a folder is not for it."""
    if dataset not in DATASETS:
        raise SettingsError(f"DATASET is {dataset!r}, but must be one of {', '.join(DATASETS)}.")
    if positive is not None and not isinstance(positive, str):
        raise SettingsError(f"POSITIVE is {positive!r}, but must be the name of one class.")
    if positive and dataset != "folders":
        raise SettingsError(
            f"POSITIVE is {positive!r}, but the data set {dataset} knows its positive class: "
            "POSITIVE is for the data set folders alone."
        )
    if data_dir and dataset == "phantom":
        others = ", ".join(name for name in DATASETS if name != "phantom")
        raise SettingsError(
            f"DATA_DIR is {str(data_dir)!r}, but DATASET is 'phantom', whose cells the course "
            f"draws: set DATASET to the data set of that folder ({others}), or leave DATA_DIR out."
        )


def _check_channels() -> None:
    """Raise SettingsError where Keras has or will have the channels first; do not import it."""
    keras = sys.modules.get("keras")
    try:
        found = (
            json.loads(_keras_json().read_text(encoding="utf-8")).get("image_data_format")
            if keras is None
            else keras.config.image_data_format()
        )
    except (OSError, ValueError, AttributeError):  # no file, or nothing that Keras would read
        return
    if found == "channels_first":
        raise SettingsError(
            f"Keras is set to {found!r} (image_data_format in {_keras_json()}), but the course's "
            'images have their channels last: write "channels_last" there and restart the notebook.'
        )


def _keras_json() -> Path:
    """Return the file of Keras' own settings; it need not exist."""
    home = os.environ.get("KERAS_HOME", os.path.join("~", ".keras"))
    return Path(os.path.expanduser(home)) / "keras.json"


def profile_of(name: str | Profile) -> Profile:
    """Return the profile called `name`; a :class:`Profile` is returned as it is."""
    if isinstance(name, Profile):
        return name
    if not isinstance(name, str) or name not in PROFILES:
        raise SettingsError(f"PROFILE is {name!r}, but must be one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def _computing(profile: Profile) -> Profile:
    """Return the profile changed by the environment variables about computing."""
    choices = {
        "precision": ("float32", "mixed", "bfloat16", "float16"),
        "xla": ("0", "1"),
        "devices": ("one", "all"),
    }
    for field, allowed in choices.items():
        name = f"COURSE_{field.upper()}"
        value = os.environ.get(name)
        if not value:
            continue
        if value not in allowed:
            raise SettingsError(f"{name} is {value!r}, but must be one of {', '.join(allowed)}.")
        profile = replace(profile, **{field: value == "1" if field == "xla" else value})
    return profile


def artifacts_folder() -> Path:
    """Return the folder of cached results.

    ``$COURSE_ARTIFACTS`` if set; in a clone of the course its ``artifacts``
    folder; elsewhere (Colab) ``artifacts`` in the working directory.
    """
    if os.environ.get("COURSE_ARTIFACTS"):
        return Path(os.environ["COURSE_ARTIFACTS"]).expanduser().resolve()
    clone = course_root()
    return (clone or Path.cwd()) / "artifacts"


def course_root() -> Path | None:
    """Return the clone that contains the working directory, or None."""
    start = Path.cwd().resolve()
    for folder in (start, *start.parents):
        if (folder / "_toc.yml").is_file() and (folder / "helpers").is_dir():
            return folder
    return None
