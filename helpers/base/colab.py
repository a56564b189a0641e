"""The last step of the chapters' set-up cell, which has found or installed this package."""

from __future__ import annotations

import os
from pathlib import Path

from helpers import __version__
from helpers.base import runtime
from helpers.base.settings import KEEP

#: Where Colab shows the files of a Google Drive.
DRIVE = Path("/content/drive/MyDrive")


def ready(version: str, keep: bool = False) -> None:
    """Say in one line what the chapter runs on; warn when it is of another version.

    Parameters
    ----------
    version : str
        The version of the course that the notebook belongs to.
    keep : bool
        Keep finished runs and predictions in Google Drive, if there is one.
    """
    if version != __version__:
        print(
            f"This notebook belongs to version {version} of the course, but the installed package "
            f"is {__version__}: results may differ or fail; take both from the same edition."
        )
    if keep and DRIVE.is_dir():
        os.environ[KEEP] = str(DRIVE / "wbc-cancer-course")
        print(f"Finished runs are kept in {os.environ[KEEP]}.")
    elif keep:
        print("KEEP_IN_DRIVE has no effect here: it needs Colab with your Google Drive.")
    gpu = runtime.gpu()
    fit = "PROFILE may be quick or full" if gpu else "PROFILE should be quick, or smoke for a try"
    print(f"Ready: helpers {__version__} on {gpu or 'a CPU'}; {fit}.")
