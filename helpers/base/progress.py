"""One progress bar for everything that takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def bar(items: Iterable | None = None, **options: Any) -> tqdm:
    """Return a bar with the time left, in a terminal or in a notebook that a person has open.

    It is written to standard error and cleared at its end. There is none in a log, nor in the
    kernels of `course run`, which sets ``TQDM_DISABLE``.

    Parameters
    ----------
    items : iterable, optional
        What to go through; without it, call ``update``.
    **options
        Those of tqdm.
    """
    from tqdm import tqdm

    options = {"delay": 1, "leave": False, **options}
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is None:  # no notebook: only where a terminal shows it
        options["disable"] = None
    return tqdm(items, **options)
