"""What the chapters of *White-Blood-Cell Cancer Classification with CNNs* import.

The way through is always the same: data set, catalog, images, model,
predictions, report. ``CONTRIBUTING.md`` is the map of the rooms.
"""

__version__ = "0.1.0"

from helpers.base import runtime

runtime.quieten_tensorflow()
runtime.share_gpu()
